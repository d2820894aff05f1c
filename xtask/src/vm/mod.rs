//! `cargo xtask vm`: the agent and its tests on other kernels, in guests.
//!
//! A guest is a kernel of Debian's and a file system made here, booted in QEMU without a disk or a network. It runs a
//! list of steps and says on its console what each answered; what that means is decided out here.

mod archive;
pub mod expected;
mod guest;
mod initramfs;
mod judge;
pub mod kernels;
mod programs;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use self::guest::Boot;
use self::initramfs::Step;
use self::kernels::{KERNELS, Kernel};
use self::programs::Programs;
use self::report::Column;
use crate::setup::toolchain::Source;
use crate::setup::{self, Cache, packages, suite};

/// What guests need on top of a rig.
const NEEDS: &[packages::Need] = &[
    packages::apt("qemu-system-x86_64", "qemu-system-x86"),
    packages::apt("strip", "binutils"),
    packages::apt("xz", "xz-utils"),
    packages::apt("taskset", "util-linux"),
    packages::apt("find", "findutils"),
    packages::apt("ldd", "libc-bin"),
];
/// The tests of `userspace/agent/tests/kernel.rs` that take seconds.
const QUICK: &[&str] = &["closes_every_short_process_with_task_storage", "the_idle_task_is_no_process"];

/// What to run, and how.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Kernels, divided by commas: 5.10, 6.1, 6.12, 7.2, or all.
    #[arg(long, value_delimiter = ',', default_value = "all", value_parser = kernel_names)]
    kernel: Vec<String>,
    /// Only guests with this cgroup driver.
    #[arg(long, value_enum)]
    driver: Option<Driver>,
    /// Only what takes seconds: the probes, one measurement of conservation.
    #[arg(long)]
    quick: bool,
    /// Fetch the kernels anew.
    #[arg(long)]
    fetch: bool,
    /// How QEMU runs the guests' code.
    #[arg(long, value_enum, default_value_t = Accelerator::Tcg)]
    accelerator: Accelerator,
    /// Seconds that one guest may take.
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

/// Who makes the cgroups of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// The container runtime itself.
    Cgroupfs,
    /// systemd, the guest's first process.
    Systemd,
}

/// How QEMU runs a guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// In software: works everywhere.
    Tcg,
    /// By the host's processor.
    Kvm,
}

fn kernel_names(text: &str) -> Result<String, String> {
    let lines: Vec<&str> = KERNELS.iter().map(|kernel| kernel.line).collect();
    if text == "all" || lines.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("there are all, {}", lines.join(", ")))
    }
}

/// The cgroups that a guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Groups {
    /// Version 2 alone.
    V2,
    /// Version 1 alone: version 2 is mounted nowhere.
    V1,
}

impl Groups {
    /// Those that a kernel is tried with.
    fn of(kernel: &Kernel, args: &Args) -> Vec<Self> {
        let oldest = KERNELS[0] == *kernel;
        let all = [(Self::V2, Driver::Cgroupfs, true), (Self::V1, Driver::Cgroupfs, oldest && !args.quick)];
        let wanted =
            all.into_iter().filter(|(_, driver, there)| *there && args.driver.is_none_or(|one| one == *driver));
        wanted.map(|(groups, ..)| groups).collect()
    }

    /// The word on the guest's command line.
    fn word(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::V2 => "v2, cgroupfs",
            Self::V1 => "v1, cgroupfs",
        }
    }
}

/// Runs the guests one after the other and prints what came of them.
///
/// # Errors
/// When something cannot be fetched, compiled or booted, or a guest is not as expected.
pub fn vm(args: &Args) -> Result<()> {
    let cache = setup::setup(Source::Auto)?;
    setup::setup_rig(&cache)?;
    packages::ensure(&cache, NEEDS)?;
    packages::ensure(&cache, suite::NEEDS)?;
    let programs = Programs::build()?;
    let base = initramfs::base(&cache, &programs)?;
    let mut columns = Vec::new();
    for (index, kernel) in KERNELS.iter().enumerate().filter(|(_, kernel)| args.wants(kernel)) {
        for groups in Groups::of(kernel, args) {
            columns.push(guest(args, &cache, &programs, &base, (index, kernel), groups)?);
        }
    }
    print!("\n{}", report::table(&columns));
    let faults = report::faults(&columns);
    if faults.is_empty() { Ok(()) } else { bail!("not as expected:\n{faults}") }
}

impl Args {
    fn wants(&self, kernel: &Kernel) -> bool {
        self.kernel.iter().any(|name| name == "all" || name == kernel.line)
    }
}

fn guest(
    args: &Args,
    cache: &Cache,
    programs: &Programs,
    base: &Path,
    (index, kernel): (usize, &Kernel),
    groups: Groups,
) -> Result<Column> {
    let unpacked = kernel.fetch(cache, args.fetch)?;
    let label = format!("{}-{}", kernel.line, groups.word());
    let steps = steps(args, programs)?;
    let initramfs: PathBuf = initramfs::whole(base, &label, &unpacked, "", &steps)?;
    let boot = Boot {
        label: &label,
        image: &unpacked.image,
        initramfs: &initramfs,
        words: format!("podscope.cgroups={}", groups.word()),
        accelerator: args.accelerator,
        limit: Duration::from_secs(args.limit),
    };
    println!("running {} with {}", unpacked.release, groups.title());
    let start = Instant::now();
    let transcript = boot.run().with_context(|| format!("cannot run the guest {label}"))?;
    let seconds = start.elapsed().as_secs();
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let cells = judge::judge(index, &transcript, &names);
    Ok(Column { title: [kernel.line.to_owned(), groups.title().to_owned()], seconds, cells })
}

fn steps(args: &Args, programs: &Programs) -> Result<Vec<Step>> {
    const COMPLAINTS: &str = "dmesg | grep -E 'BUG:|WARNING:|Oops|lockup|stall|Call Trace' | head -20 || true";
    let tests = if args.quick { QUICK.join(" ") } else { String::new() };
    let kernel = format!("{} --test-threads=1 --nocapture {tests}", programs.test("kernel")?.display());
    let status = format!("/vm/status {}", programs.agent.display());
    Ok(vec![
        Step { name: "status", command: status },
        Step { name: "kernel", command: kernel },
        Step { name: "complaints", command: COMPLAINTS.to_owned() },
    ])
}
