//! Other people's programs: where they come from, how they are run.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::agent::{free_address, get};
use super::lab::{self, Lab};
use crate::setup::compile_kernel_program;
use crate::setup::packages::{self, unpacked};
use crate::{cmd, run};

const LIMIT: Duration = Duration::from_secs(60);
const EMPTY: &str = include_str!("empty.rs.in");

/// A program that runs beside the measurement; dropping it ends it.
pub(super) struct Peer {
    child: Child,
}

impl Peer {
    fn start(mut command: Command) -> Result<Self> {
        let child = command.stderr(Stdio::null()).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start `{}`", cmd::show(&command)))? })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = run::end(&mut self.child, false) {
            eprintln!("{error:#}");
        }
    }
}

/// bpftool, which prints what the kernel knows of programs and maps.
pub(super) fn bpftool() -> Result<PathBuf> {
    cmd::find("bpftool").context("bpftool is not installed")
}

/// Installs what is run from the distribution.
pub(super) fn install(lab: &Lab) -> Result<()> {
    packages::ensure(&lab.cache, packages::BENCH)
}

/// An empty program on the hook of context switches.
pub(super) fn empty(lab: &Lab) -> Result<Peer> {
    let object = lab.cache.path("bench/empty.o");
    if !object.exists() {
        compile_kernel_program(&lab.cache.rustc(), &lab.cache.linker(), EMPTY, &object)?;
    }
    let mut command = cmd::command(lab.program("examples/attach"), [object]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = Peer::start(command)?;
    let mut line = String::new();
    let out = peer.child.stdout.take().context("the empty program's loader has no output")?;
    BufReader::new(out).read_line(&mut line).context("cannot read from the empty program's loader")?;
    if line.trim() == "attached" { Ok(peer) } else { bail!("the empty program cannot be attached") }
}

/// runqlat of libbpf-tools: a histogram of run-queue waits of the whole host.
pub(super) fn runqlat(lab: &Lab) -> Result<Peer> {
    let program = unpacked(&lab.cache, "libbpf-tools")?.join("usr/sbin/runqlat");
    let mut command = cmd::command(program, ["3600", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let peer = Peer::start(command)?;
    lab.wait("attaching runqlat", LIMIT, || {
        Ok(super::bpf::programs(peer.pid())?.iter().any(|program| program.name == "sched_switch"))
    })?;
    lab.pause(Duration::from_millis(300))?;
    Ok(peer)
}

/// prometheus-process-exporter with a group for each process.
pub(super) struct ProcessExporter {
    pub(super) peer: Peer,
    address: String,
    _config: tempfile::NamedTempFile,
}

impl ProcessExporter {
    pub(super) fn start(lab: &Lab, flags: &[&str]) -> Result<Self> {
        let program = unpacked(&lab.cache, "prometheus-process-exporter")?.join("usr/bin/prometheus-process-exporter");
        let config = tempfile::NamedTempFile::new().context("cannot write the process exporter's configuration")?;
        let rule = "process_names:\n  - name: \"{{.Comm}}:{{.PID}}\"\n    cmdline: ['.+']\n";
        std::fs::write(config.path(), rule).context("cannot write the process exporter's configuration")?;
        let address = free_address()?;
        let mut command = cmd::command(program, ["-web.listen-address", &address, "-config.path"]);
        command.arg(config.path()).args(flags).stdin(Stdio::null()).stdout(Stdio::null());
        let exporter = Self { peer: Peer::start(command)?, address, _config: config };
        // The first scrape finds all processes, which costs more than those that follow.
        lab.wait("the process exporter's first page", LIMIT, || Ok(exporter.scrape().is_ok()))?;
        Ok(exporter)
    }

    pub(super) fn scrape(&self) -> Result<String> {
        get(&self.address, "/metrics")
    }
}

/// A benchmark whose wall clock is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Two processes on one CPU that wake each other (`perf bench sched pipe`): two switches for each operation.
    PingPong,
    /// 400 processes that send to each other (`perf bench sched messaging`): the caches are cold at every switch.
    Messaging,
    /// Processes that are started on one CPU and end at once.
    Starts,
}

impl Load {
    /// Those that are made of context switches.
    pub(super) const SWITCHES: [Self; 2] = [Self::PingPong, Self::Messaging];
    pub(super) const ALL: [Self; 3] = [Self::PingPong, Self::Messaging, Self::Starts];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PingPong => "ping-pong on one CPU",
            Self::Messaging => "400 processes, cold caches",
            Self::Starts => "a process's start and end on one CPU",
        }
    }

    /// What the time of a run is divided by.
    pub(super) fn operations(self) -> f64 {
        match self {
            Self::PingPong => 100_000.0,
            Self::Messaging => 1.0,
            Self::Starts => 400.0,
        }
    }

    /// Runs it and returns its time, seconds.
    ///
    /// It runs at the highest ordinary priority, so that other work on the host hardly shows in its wall clock.
    pub(super) fn run(self, lab: &Lab) -> Result<f64> {
        let mut command = cmd::command("nice", ["-n", "-20"]);
        if self != Self::Messaging {
            command.args(["taskset", "-c"]).arg((lab::cores() - 1).to_string());
        }
        let operations = self.operations().to_string();
        match self {
            Self::PingPong => command.args(["perf", "bench", "-f", "simple", "sched", "pipe", "-l", &operations]),
            Self::Messaging => {
                command.args(["perf", "bench", "-f", "simple", "sched", "messaging", "-g", "10", "-l", "200"])
            }
            Self::Starts => command.arg(lab.program("podscope-load")).args(["burst", &operations]),
        };
        let start = Instant::now();
        let said = cmd::output(&mut command)?;
        if self == Self::Starts {
            return Ok(start.elapsed().as_secs_f64());
        }
        let seconds = said.split_whitespace().last().and_then(|text| text.parse().ok());
        seconds.with_context(|| format!("`{}` printed no time: {said}", cmd::show(&command)))
    }
}
