//! One part of the agent's work on a node of 2,000 processes in 50 containers, for counting its instructions: only
//! what `measured` calls is counted. `cargo xtask guard` runs each part and compares.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, bail};
use podscope_abi::{Book, BookKey, Closed, ClosedKey, Counters, Lives, RecordKind, TaskFlags, TaskRecord};
use podscope_agent::accounting::{Accounting, Limits, Moment, Policy};
use podscope_agent::attribution::Attribution;
use podscope_agent::cgroup::Tree;
use podscope_agent::detail::Detail;
use podscope_agent::export::otlp;
use podscope_agent::export::prometheus::{Families, Format, Page};
use podscope_agent::publish::{Names, Publisher, Readings};
use podscope_agent::runtime::{self, SocketChoice};
use podscope_agent::snapshot::Snapshot;
use podscope_agent::status::Board;
use podscope_agent::vm::Machines;

const CONTAINERS: u64 = 50;
const PROCESSES: u64 = 40;
const EXECUTABLES: u64 = 4;
/// Between two collections; after the first ones no container waits for its name any more.
const INTERVAL_NS: u64 = 11_000_000_000;
/// Collections before the first one that counts.
const WARM: u64 = 3;
/// Bytes of a Prometheus page that are rendered at a time.
const PIECE: usize = 64 * 1024;
/// Collections, or encodings, that count.
const ROUNDS: u64 = 3;

fn main() -> anyhow::Result<()> {
    let part = std::env::args().nth(1).context("usage: guard collection|attribution|prometheus|otlp")?;
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let _inside = tokio.enter();
    let mut node = Node::new();
    let warm: Vec<Arc<Snapshot>> = (0..WARM).map(|_| node.collect()).collect();
    match &*part {
        "collection" => measured(|| drop(black_box((0..ROUNDS).map(|_| node.collect()).collect::<Vec<_>>()))),
        "attribution" => {
            let paths = paths();
            measured(|| {
                black_box(attribute(&paths));
            });
        }
        "prometheus" => over(&mut node, &warm, |snapshot| {
            let mut page = Page::new(&**snapshot, Format::Text004, Families::WithPoints);
            let (mut piece, mut bytes) = (Vec::with_capacity(2 * PIECE), 0);
            loop {
                let more = page.write(&mut piece, PIECE);
                bytes += piece.len();
                piece.clear();
                if !more {
                    return Ok(bytes);
                }
            }
        })?,
        "otlp" => over(&mut node, &warm, |snapshot| Ok(otlp::encode(snapshot, false)?.len()))?,
        _ => bail!("no part {part}"),
    }
    Ok(())
}

/// What is counted: nothing outside of it.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Encodes the last of the `warm` snapshots, which keeps the resources' encoded forms, and then new ones, counted.
fn over(
    node: &mut Node,
    warm: &[Arc<Snapshot>],
    encode: impl Fn(&Arc<Snapshot>) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let warm = warm.last().context("no snapshot")?;
    anyhow::ensure!(encode(warm)? > 0, "nothing was encoded");
    for _ in 0..ROUNDS {
        let snapshot = node.collect();
        measured(|| encode(&snapshot).map(black_box))?;
    }
    Ok(())
}

/// The paths of containers' cgroups, as the kubelet and runtimes of each kind write them, and of the host's services.
fn paths() -> Vec<String> {
    let of = |index: u64| {
        let (pod, container) = (format!("0f6e1c52-7b1d-4f3e-9a55-{index:012x}"), format!("{:064x}", index + 1));
        let slice = pod.replace('-', "_");
        match index % 4 {
            0 => format!("/kubepods/burstable/pod{pod}/{container}"),
            1 => format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{container}.scope"
            ),
            2 => format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{container}.scope/init"),
            _ => format!("/system.slice/service-{index}.service"),
        }
    };
    (0..2000).map(of).collect()
}

/// Takes cgroups in, finds their owners, and asks for every owner in ten collections.
fn attribute(paths: &[String]) -> usize {
    let mut attribution = attribution();
    let ids = || 1..=paths.len() as u64;
    for (id, path) in ids().zip(paths) {
        attribution.tree.insert(id, path.as_str(), 0);
    }
    let mut found = 0;
    for pass in 0..10 {
        attribution.refresh(pass * INTERVAL_NS);
        found += ids().filter_map(|id| attribution.owner(id, pass * INTERVAL_NS)).count();
    }
    found
}

/// Names of cgroups without a runtime.
fn attribution() -> Attribution {
    let config = runtime::Config { socket: SocketChoice::None, ..runtime::Config::default() };
    Attribution::new(Tree::new(65_536, INTERVAL_NS), runtime::spawn(config, Board::default()))
}

/// What stands between the kernel's records and a snapshot, and the records.
struct Node {
    accounting: Accounting,
    attribution: Attribution,
    publisher: Publisher,
    names: Names,
    machines: Machines,
    pass: u64,
}

impl Node {
    fn new() -> Self {
        let mut attribution = attribution();
        for container in 0..CONTAINERS {
            let path =
                format!("/kubepods/burstable/pod0f6e1c52-7b1d-4f3e-9a55-{container:012x}/{:064x}", container + 1);
            attribution.tree.insert(container + 1, path, 0);
        }
        Self {
            accounting: Accounting::new(Limits::default()),
            attribution,
            publisher: Publisher::new("node-17.example.org", 4096, 120_000_000_000, Detail::default()),
            names: (1..=EXECUTABLES).map(|exe| (exe, format!("worker-{exe}").into())).collect(),
            machines: Machines::default(),
            pass: 0,
        }
    }

    /// A collection as the agent makes it. In each, one process of every container ends and another one begins.
    fn collect(&mut self) -> Arc<Snapshot> {
        self.pass += 1;
        let (pass, now) = (self.pass, self.now());
        self.attribution.refresh(now.monotonic_ns);
        let accounting = &mut self.accounting;
        accounting.begin(now);
        for container in 0..CONTAINERS {
            for exe in 0..=EXECUTABLES {
                let lives = Lives { started_fork: PROCESSES + pass, ended_exit: pass, ..Lives::default() };
                accounting.take_book(&BookKey { cgroup: container + 1, exe }, &Book { sums: used(pass, exe), lives });
            }
            let key = ClosedKey { start: pass, tgid: tgid(container, pass - 1), pad: 0 };
            let closed = Closed { sums: used(pass, 1), ended_ns: now.boot_ns, ..Closed::default() };
            accounting.take_closed(&key, &closed);
            for process in pass..pass + PROCESSES {
                let record = record(container, process, pass);
                accounting.take_task(&record);
                self.machines.take_task(&record, pass);
            }
        }
        let cell = RefCell::new(&mut self.attribution);
        let outcome = accounting.finish(|cgroup| cell.borrow_mut().owner(cgroup, now.monotonic_ns), |_| Policy::Top);
        let (attribution, readings) = (&self.attribution, Readings::default());
        let resources =
            self.publisher.resources(accounting, attribution, &self.names, &self.machines, &outcome.ended, readings);
        let lingering = self.publisher.lingering(&resources, &now);
        Arc::new(Snapshot { time_ns: now.unix_ns, resources, lingering, ..Snapshot::default() })
    }

    fn now(&self) -> Moment {
        let since = self.pass * INTERVAL_NS;
        Moment { unix_ns: 1_795_000_000_000_000_000 + since, boot_ns: 5_000_000_000_000 + since, monotonic_ns: since }
    }
}

fn tgid(container: u64, process: u64) -> u32 {
    (1000 + container * 10_000 + process) as u32
}

/// A process of one thread, as the iterator tells of it.
fn record(container: u64, process: u64, pass: u64) -> TaskRecord {
    let (pid, used) = (tgid(container, process), used(pass * (process % 7 + 1), process));
    TaskRecord {
        raw: used,
        since: used,
        leader_start: process + 1,
        cgroup: container + 1,
        exe: process % EXECUTABLES + 1,
        book_exe: process % EXECUTABLES + 1,
        anon_pages: (process % 11 * 100) as i64,
        pid,
        tgid: pid,
        ppid: 1,
        kind: RecordKind::TASK,
        flags: TaskFlags::LEADER | TaskFlags::MEMORY,
        threads: 1,
        ..bytemuck::Zeroable::zeroed()
    }
}

/// Counters that grow with `scale`.
fn used(scale: u64, seed: u64) -> Counters {
    let at = |unit: u64| unit * scale + seed;
    Counters {
        run_ns: at(1_234_567),
        user_ns: at(1_000_000),
        system_ns: at(200_000),
        wait_ns: at(56_789),
        switches_voluntary: at(11),
        switches_involuntary: at(2),
        faults_minor: at(90),
        read_bytes: at(4096),
        read_calls: at(5),
        ..Counters::ZERO
    }
}
