//! Virtual machines: a switch between known virtual CPUs, an exit from KVM, and a collection with 200 machines.
//!
//! The machines are processes with an emulator's name, arguments and threads in cgroups of their own; only the guest
//! whose exits are counted is one of KVM's.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::collection::per_collection;
use super::lab::{Lab, cores, median};
use super::proc;
use super::row::{Row, Unit};
use super::tools;
use crate::cmd;
use crate::groups::Groups;

const MARK: u16 = 0x30;
const MACHINES: usize = 200;
const VCPUS: usize = 8;
/// Beyond the default, so that each virtual CPU finds room for its histogram.
const ROOM: [&str; 2] = ["--max-cgroups", "4096"];
const ROUNDS: usize = 5;
/// Two switches each.
const WAKES: f64 = 100_000.0;
const EXITS: f64 = 100_000.0;
const LIMIT: Duration = Duration::from_secs(60);
const WARM: Duration = Duration::from_secs(4);
/// At one collection a second.
const SPAN: Duration = Duration::from_secs(20);
/// An emulator's name, and one that says nothing.
const NAMES: [&str; 2] = ["qemu-system-x86_64", "worker"];
const EMPTY: &str = "an empty program";
const UNKNOWN: &str = "the same threads of a process that is no emulator";
const NOTHING: &str = "nothing attached";

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let mut rows = vec![switches(lab)?];
    match exits(lab) {
        Ok(of_exits) => rows.extend(of_exits),
        Err(error) if lab.ended() => return Err(error),
        // Most machines have no KVM.
        Err(error) => rows.push(Row::not_run("KVM exit", &error)),
    }
    rows.extend(collections(lab)?);
    Ok(rows)
}

/// The first two virtual CPUs of a machine wake each other on one CPU.
fn switches(lab: &Lab) -> Result<Row> {
    let _stats = Stats::on()?;
    let [mut known, mut unknown, mut empty] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (name, costs) in NAMES.into_iter().zip([&mut known, &mut unknown]) {
            let agent = Agent::start(lab, &ROOM)?;
            let mut machine = Guest::start(lab, name, "podscope-load", &["vcpus", "2"])?;
            watched(lab, &agent, if name == NAMES[0] { 2 } else { 0 })?;
            costs.push(per_switch(agent.pid(), &mut machine)?);
        }
        let (peer, mut machine) = (tools::empty(lab)?, Guest::start(lab, NAMES[1], "podscope-load", &["vcpus", "2"])?);
        empty.push(per_switch(peer.pid(), &mut machine)?);
    }
    Ok(Row::new("context switch between two virtual CPUs", Unit::Seconds, median(&known))
        .beside(UNKNOWN, median(&unknown))
        .beside(EMPTY, median(&empty)))
}

/// Run time of the scheduling programs of a process per switch, seconds.
fn per_switch(pid: u32, machine: &mut Guest) -> Result<f64> {
    let before = bpf::programs(pid)?;
    machine.order(&WAKES.to_string())?;
    let mut programs = bpf::since(&bpf::programs(pid)?, &before);
    programs.retain(|program| program.name.starts_with("sched_"));
    let switches: f64 = programs.iter().filter(|program| program.name == "sched_switch").map(|p| p.runs).sum();
    ensure!(switches >= 2.0 * WAKES, "only {switches} switches were counted");
    Ok(programs.iter().map(|program| program.seconds).sum::<f64>() / switches)
}

/// A guest that does nothing but leave: run time of the programs, and what it sees by its own clock.
fn exits(lab: &Lab) -> Result<[Row; 2]> {
    ensure!(Path::new("/dev/kvm").exists(), "there is no /dev/kvm");
    let order = format!("cpuid {EXITS}");
    let (mut programs, mut empty, mut times) = (Vec::new(), Vec::new(), [const { Vec::new() }; 2]);
    for _ in 0..ROUNDS {
        let stats = Stats::off()?;
        times[0].push(guest(lab)?.order(&order)? / EXITS);
        let agent = Agent::start(lab, &ROOM)?;
        let mut guest = guest(lab)?;
        watched(lab, &agent, 1)?;
        times[1].push(guest.order(&order)? / EXITS);
        drop(stats);
        let _stats = Stats::on()?;
        let before = bpf::programs(agent.pid())?;
        guest.order(&order)?;
        let mut runs = bpf::since(&bpf::programs(agent.pid())?, &before);
        runs.retain(|program| program.name.starts_with("kvm_"));
        let exits: f64 = runs.iter().filter(|program| program.name == "kvm_exit").map(|program| program.runs).sum();
        // A KVM that emulates its guest instruction by instruction has none.
        ensure!(exits >= EXITS, "{exits} exits of {EXITS}: KVM runs guests without the processor's help here");
        programs.push(runs.iter().map(|program| program.seconds).sum::<f64>() / exits);
        drop((agent, guest));
        let (peer, mut machine) = (tools::empty(lab)?, Guest::start(lab, NAMES[1], "podscope-load", &["vcpus", "2"])?);
        empty.push(per_switch(peer.pid(), &mut machine)?);
    }
    let [without, with] = times.each_ref().map(|times| median(times));
    Ok([
        Row::new("KVM exit and entry, both programs", Unit::Seconds, median(&programs))
            .beside(EMPTY, median(&empty))
            .note("of a guest that asks for CPUID again and again; the empty program is one run on another hook"),
        Row::new("wall clock of an exit, the agent at 1 Hz", Unit::Seconds, with).beside(NOTHING, without),
    ])
}

fn guest(lab: &Lab) -> Result<Guest> {
    let mut guest = Guest::start(lab, NAMES[0], "examples/tiny_guest", &[])?;
    let said = guest.line()?;
    ensure!(said == "ready", "the guest said {said:?}");
    Ok(guest)
}

/// The same threads as machines, and as processes that are none.
fn collections(lab: &Lab) -> Result<[Row; 3]> {
    let mut costs = Vec::new();
    for name in NAMES {
        let machines = Machines::start(lab, name)?;
        let agent = Agent::start(lab, &ROOM)?;
        watched(lab, &agent, if name == NAMES[0] { MACHINES * VCPUS } else { 0 })?;
        lab.pause(WARM)?;
        let cpu = per_collection(&agent, || lab.pause(SPAN))?;
        costs.push([cpu, agent.metrics()?.len() as f64, proc::resident(agent.pid())?.0]);
        drop((agent, machines));
    }
    let what = ["CPU of a collection", "Prometheus page", "resident memory"];
    let units = [Unit::Seconds, Unit::Bytes, Unit::Bytes];
    let row = |at: usize| {
        Row::new(format!("{}, {MACHINES} machines of {VCPUS} virtual CPUs", what[at]), units[at], costs[0][at])
            .beside("the same threads of processes that are no emulators", costs[1][at])
    };
    Ok([row(0), row(1), row(2)])
}

/// Waits until so many virtual CPUs have a histogram of their own.
fn watched(lab: &Lab, agent: &Agent, vcpus: usize) -> Result<()> {
    lab.wait("giving each virtual CPU its histogram", LIMIT, || {
        let page = agent.metrics()?;
        Ok(page.lines().filter(|line| line.starts_with("podscope_vm_vcpu_ready_seconds_count{")).count() >= vcpus)
    })
}

/// A program under another name, in a folder that goes with it.
fn renamed(lab: &Lab, name: &str, program: &str) -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (from, to) = (lab.program(program), folder.path().join(name));
    fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok((folder, to))
}

/// What an emulator is told of its guest.
fn arguments(index: usize) -> [String; 4] {
    ["-name".to_owned(), format!("guest=bench_vm{index},debug-threads=on"), "-m".to_owned(), "1024".to_owned()]
}

/// An emulator that takes orders, on one CPU; ends with this value.
struct Guest {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _groups: Groups,
    _folder: TempDir,
}

impl Guest {
    /// `program` under that name, in the cgroup of a container.
    fn start(lab: &Lab, name: &str, program: &str, words: &[&str]) -> Result<Self> {
        let (folder, program) = renamed(lab, name, program)?;
        let groups = Groups::make(MARK, 1)?;
        let mut command = cmd::command("nice", ["-n", "-20", "taskset", "-c"]);
        command.arg((cores() - 1).to_string()).arg(program).args(words).args(arguments(0));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start nice")?;
        for folder in groups.dirs(0) {
            let file = folder.join("cgroup.procs");
            fs::write(&file, child.id().to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let orders = child.stdin.take().context("the guest has no input")?;
        let answers = BufReader::new(child.stdout.take().context("the guest has no output")?);
        Ok(Self { child, orders, answers, _groups: groups, _folder: folder })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the guest does not answer")?;
        Ok(line.trim_end().to_owned())
    }

    /// Has it do something; how long that took by its own clock, seconds.
    fn order(&mut self, what: &str) -> Result<f64> {
        writeln!(self.orders, "{what}").context("the guest takes no orders")?;
        let said = self.line()?;
        let ns = said.split(' ').next_back().and_then(|ns| ns.parse::<f64>().ok());
        Ok(ns.with_context(|| format!("the guest said {said:?}"))? / 1e9)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Many emulators that sleep; they end with this value.
struct Machines {
    groups: Groups,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Machines {
    fn start(lab: &Lab, name: &str) -> Result<Self> {
        let (folder, program) = renamed(lab, name, "podscope-load")?;
        let mut machines = Self { groups: Groups::make(MARK, MACHINES)?, children: Vec::new(), _folder: folder };
        for index in 0..MACHINES {
            let own = arguments(index);
            let count = VCPUS.to_string();
            let words: Vec<&str> = ["vcpus", &count].into_iter().chain(own.iter().map(String::as_str)).collect();
            machines.children.push(machines.groups.start(index, &program, &words)?);
        }
        Ok(machines)
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.groups.clear();
        for child in &mut self.children {
            // Only the exit status would be lost.
            let _ = child.wait();
        }
    }
}
