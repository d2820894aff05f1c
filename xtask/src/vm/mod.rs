//! `cargo xtask vm`: the agent and its tests on other kernels, in guests.
//!
//! A guest is a kernel of Debian's and a file system made here, booted in QEMU without a disk or a network. It runs a
//! list of steps and says on its console what each answered; what that means is decided out here.

mod arch;
mod archive;
pub mod expected;
mod guest;
mod initramfs;
mod judge;
pub mod kernels;
mod programs;
pub mod records;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use self::arch::Arch;
use self::guest::Boot;
use self::initramfs::Step;
use self::kernels::{KERNELS, Kernel};
use self::programs::Programs;
use self::records::Records;
use self::report::Column;
use crate::driver::Driver;
use crate::setup::toolchain::Source;
use crate::setup::{self, Cache, packages, suite};

/// What guests need on top of a rig.
const NEEDS: &[packages::Need] = &[
    packages::apt("strip", "binutils"),
    packages::apt("xz", "xz-utils"),
    packages::apt("dash", "dash"),
    packages::apt("taskset", "util-linux"),
    packages::apt("find", "findutils"),
    packages::apt("ldd", "libc-bin"),
    packages::apt("/lib/systemd/systemd", "systemd"),
];
/// The tests of `userspace/agent/tests/kernel.rs` that take seconds.
const QUICK: &[&str] = &["closes_every_short_process_with_task_storage", "the_idle_task", "hooks::", "verifier::"];
/// Tests of the same file that have no place in a guest: they run a Python, or count on a machine that keeps time.
const NOT_IN_GUESTS: &[&str] = &["moved_again_and_again", "a_thread_that_moves_takes_nothing_along"];
/// Tests of `userspace/agent/tests/it`, the shorter first, that do not measure how quick something is: a guest is slow.
const CONTAINERS: &[&str] = &["a_private_cgroup_namespace", "what_processes_burn_is_what_their_cgroups_count"];

/// Where a guest has KVM's modules, in the order in which a test loads them.
const KVM_MODULES: &str = "/vm/kvm/irqbypass.ko:/vm/kvm/kvm.ko:/vm/kvm/kvm-amd.ko";

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
    /// Only these steps, divided by commas: status, kernel, it, kvm, complaints.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Architecture of the guests, this machine's where not given. Of another one there is only the short run.
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Write what the kernels said of hooks and programs into the committed table and its page.
    #[arg(long)]
    record: bool,
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

/// How QEMU runs a guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// In software: works everywhere.
    Tcg,
    /// In software, with one thread for all CPUs of the guest.
    TcgSingle,
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
    /// Version 2 alone, with systemd as the guest's first process.
    Systemd,
    /// Version 1 alone: version 2 is mounted nowhere.
    V1,
}

impl Groups {
    /// Those that a kernel is tried with.
    fn of(kernel: &Kernel, args: &Args) -> Vec<Self> {
        let oldest = KERNELS[0] == *kernel;
        let all = [(Self::V2, true), (Self::Systemd, !args.is_quick()), (Self::V1, oldest && !args.is_quick())];
        let driver = |groups: Self| args.driver.is_none_or(|one| one == groups.driver());
        all.into_iter().filter(|(groups, there)| *there && driver(*groups)).map(|(groups, _)| groups).collect()
    }

    fn driver(self) -> Driver {
        if self == Self::Systemd { Driver::Systemd } else { Driver::Cgroupfs }
    }

    /// The word on the guest's command line.
    fn word(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Systemd => "systemd",
            Self::V1 => "v1",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::V2 => "v2, cgroupfs",
            Self::Systemd => "v2, systemd",
            Self::V1 => "v1, cgroupfs",
        }
    }

    /// What is done in such a guest.
    fn steps(self, args: &Args, programs: &Programs) -> Result<Vec<Step>> {
        const COMPLAINTS: &str = "dmesg | grep -E 'BUG:|WARNING:|Oops|Call Trace' | head -20 || true";
        let test = |name: &'static str, only: &[&str]| -> Result<Step> {
            let program = programs.test(name)?.display();
            Ok(Step { name, command: format!("{program} --test-threads=1 --nocapture {}", only.join(" ")) })
        };
        let mut steps = vec![Step { name: "status", command: format!("/vm/status {}", programs.agent.display()) }];
        let all: Vec<&str> = NOT_IN_GUESTS.iter().flat_map(|name| ["--skip", name]).collect();
        // What the programs count does not depend on who makes the groups, but how those are called does.
        match self {
            _ if args.is_quick() => steps.push(test("kernel", QUICK)?),
            Self::Systemd => steps.push(test("it", &CONTAINERS[..1])?),
            Self::V2 | Self::V1 => steps.extend([test("kernel", &all)?, test("it", CONTAINERS)?]),
        }
        if self == Self::V2 && !args.is_quick() {
            let test = programs.test("it")?.display();
            let run = format!("{test} --test-threads=1 --nocapture --include-ignored kvm::");
            steps.push(Step { name: "kvm", command: format!("PODSCOPE_TEST_KVM_MODULES={KVM_MODULES} {run}") });
        }
        steps.push(Step { name: "complaints", command: COMPLAINTS.to_owned() });
        steps.retain(|step| args.only.is_empty() || args.only.iter().any(|name| name == step.name));
        Ok(steps)
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
    let arch = args.arch.map_or_else(Arch::host, Ok)?;
    packages::ensure(&cache, &arch.needs())?;
    let programs = Programs::build(arch)?;
    let base = initramfs::base(&cache, &programs)?;
    let (before, mut columns) = (Records::committed(), Vec::new());
    let mut records = before.clone();
    for (index, kernel) in KERNELS.iter().enumerate().filter(|(_, kernel)| args.wants(kernel)) {
        for groups in Groups::of(kernel, args) {
            columns.push(guest(args, &cache, &programs, &base, (index, kernel), groups, &mut records)?);
        }
    }
    print!("\n{}", report::table(&columns));
    let faults = report::faults(&columns);
    if !faults.is_empty() {
        bail!("not as expected:\n{faults}");
    }
    for change in records.changes(&before) {
        println!("changed: {change}");
    }
    if args.record { records.write() } else { Ok(()) }
}

impl Args {
    /// Containers need this machine's programs, which a guest of another architecture cannot run.
    fn is_quick(&self) -> bool {
        self.quick || self.arch.is_some_and(|arch| !arch.is_host())
    }

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
    records: &mut Records,
) -> Result<Column> {
    let unpacked = kernel.fetch(cache, programs.arch, args.fetch)?;
    let label = format!("{}-{}-{}", kernel.line, programs.arch.debian(), groups.word());
    let steps = groups.steps(args, programs)?;
    let environment = format!("export PODSCOPE_TEST_PATIENCE=5 {}={}\n", Driver::VARIABLE, groups.driver().name());
    let initramfs = initramfs::whole(base, &label, &unpacked, &environment, &steps)?;
    let boot = Boot {
        label: &label,
        image: &unpacked.image,
        initramfs: &initramfs,
        words: format!("podscope.cgroups={}", groups.word()),
        arch: programs.arch,
        accelerator: args.accelerator,
        limit: Duration::from_secs(args.limit),
    };
    println!("running {} with {}", unpacked.release, groups.title());
    let start = Instant::now();
    let transcript = boot.run().with_context(|| format!("cannot run the guest {label}"))?;
    let seconds = start.elapsed().as_secs();
    // Hooks and programs do not depend on what is mounted.
    if groups == Groups::V2 && programs.arch.is_host() {
        let said: Vec<&str> =
            ["kernel", "kvm"].iter().filter_map(|name| Some(transcript.step(name)?.text.as_str())).collect();
        // One of them alone does not have all facts of a kind.
        if said.len() == 2 {
            records.take(kernel.line, &said.concat());
        }
    }
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let cells = judge::judge(index, &transcript, &names);
    Ok(Column { title: [kernel.line.to_owned(), groups.title().to_owned()], seconds, cells })
}
