//! What `/status` and `/top` answer, as JSON for people and for `podscope top`.

use std::collections::BTreeMap;
use std::sync::Arc;

use podscope_abi::{Counters, Loss};
use serde::Serialize;

use crate::accounting::{Accounting, Container, ContainerKey, Process, ProcessKey};
use crate::attribution::{Attribution, Identity};
use crate::detail::Detail;
use crate::kernel::text;
use crate::publish::Names;
use crate::status::{Board, Kind, State};
use crate::vm::{Machines, Role};

/// The answer of `/status`.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// The agent's.
    pub version: &'static str,
    /// This node.
    pub node: &'a str,
    /// Release of the kernel.
    pub kernel: String,
    /// Of the agent, seconds.
    pub uptime_s: u64,
    /// Seconds.
    pub interval_s: f64,
    /// So far.
    pub collections: u64,
    /// Milliseconds.
    pub last_collection_ms: f64,
    /// Living.
    pub processes: usize,
    /// Known.
    pub containers: usize,
    /// Processes without a pod's name, by reason.
    pub unattributed: BTreeMap<&'static str, u64>,
    /// What the kernel side could not keep, by reason.
    pub losses: BTreeMap<&'static str, u64>,
    /// What the agent itself left out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Set where not all processes of the host can be seen.
    pub namespace_note: Option<String>,
    /// Whether every context switch is looked at, and what is missing where not.
    pub scheduling_detail: &'a Detail,
    /// Kernel programs.
    pub probes: Vec<Part>,
    /// What is read and written.
    pub sources: Vec<Part>,
    /// Capabilities kept after attaching.
    pub capabilities: &'a [String],
    /// OTLP points by result, where OTLP is on.
    pub export: Option<BTreeMap<&'static str, u64>>,
}

/// A part and its state.
#[derive(Debug, Serialize)]
pub struct Part {
    name: String,
    #[serde(flatten)]
    state: State,
}

/// The parts of a kind.
pub fn parts(board: &Board, kind: Kind) -> Vec<Part> {
    let of_kind = board.all().into_iter().filter(|((k, _), _)| *k == kind);
    of_kind.map(|((_, name), state)| Part { name, state }).collect()
}

/// Losses by name.
pub fn losses(counts: [u64; Loss::ALL.len()]) -> BTreeMap<&'static str, u64> {
    Loss::ALL.iter().zip(counts).map(|(loss, count)| (loss.name(), count)).collect()
}

/// The answer of `/top`.
#[derive(Debug, Serialize)]
pub struct Top<'a> {
    node: &'a str,
    time_ms: u64,
    interval_s: f64,
    /// Processes that are not listed.
    truncated: usize,
    containers: Vec<TopContainer>,
}

#[derive(Debug, Serialize)]
struct TopContainer {
    namespace: Option<Arc<str>>,
    pod: Option<Arc<str>>,
    pod_uid: Option<Arc<str>>,
    container: Arc<str>,
    container_id: Option<Arc<str>>,
    image: Option<Arc<str>>,
    vm: Option<String>,
    totals: Totals,
    processes: Vec<TopProcess>,
    /// Of the VM whose emulator runs in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vcpus: Vec<TopVcpu>,
    other: Option<Totals>,
}

#[derive(Debug, Serialize)]
struct TopVcpu {
    id: u32,
    totals: Totals,
}

#[derive(Debug, Serialize)]
struct TopProcess {
    pid: u32,
    ppid: u32,
    executable: Arc<str>,
    comm: String,
    /// What it is there for, in a VM's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    threads: u32,
    uptime_s: f64,
    totals: Totals,
}

/// Rates over the last interval and lifetime sums.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Totals {
    cpu_cores: f64,
    wait_cores: f64,
    /// Missing where it is not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_cores: Option<f64>,
    memory_bytes: u64,
    peak_bytes: Option<u64>,
    faults_per_s: f64,
    switches_per_s: f64,
    cpu_s: f64,
    wait_s: f64,
}

impl Totals {
    fn new(delta: &Counters, total: &Counters, interval_s: f64) -> Self {
        let rate = |value: u64| if interval_s > 0.0 { value as f64 / interval_s } else { 0.0 };
        Self {
            cpu_cores: rate(delta.run_ns) / 1e9,
            wait_cores: rate(delta.wait_ns) / 1e9,
            blocked_cores: Some(rate(delta.blocked_ns) / 1e9),
            faults_per_s: rate(delta.faults_minor + delta.faults_major),
            switches_per_s: rate(delta.switches_voluntary + delta.switches_involuntary),
            cpu_s: total.run_ns as f64 / 1e9,
            wait_s: total.wait_ns as f64 / 1e9,
            memory_bytes: 0,
            peak_bytes: None,
        }
    }
}

impl Top<'_> {
    /// The same without uninterruptible sleep, where that is not measured.
    #[must_use]
    pub fn without_blocked(mut self) -> Self {
        for container in &mut self.containers {
            let processes = container.processes.iter_mut().map(|process| &mut process.totals);
            let vcpus = container.vcpus.iter_mut().map(|vcpu| &mut vcpu.totals);
            for totals in processes.chain(vcpus).chain([&mut container.totals]).chain(&mut container.other) {
                totals.blocked_cores = None;
            }
        }
        self
    }
}

/// Everything that `/top` shows, with at most `limit` processes a container; the rest of it is one line.
pub fn top<'a>(
    node: &'a str,
    accounting: &Accounting,
    attribution: &Attribution,
    names: &Names,
    machines: &Machines,
    page: u64,
    limit: usize,
) -> Top<'a> {
    let now = accounting.now;
    let interval_s = accounting.previous.map_or(0.0, |p| now.unix_ns.saturating_sub(p.unix_ns) as f64 / 1e9);
    let mut by_container: BTreeMap<&ContainerKey, Vec<(&ProcessKey, &Process)>> = BTreeMap::new();
    for (key, process) in &accounting.processes {
        if let Some(owner) = accounting.owner(process.cgroup) {
            by_container.entry(owner).or_default().push((key, process));
        }
    }
    let mut truncated = 0;
    let containers = accounting
        .containers
        .iter()
        .map(|(container_key, container)| {
            let mut processes = by_container.remove(container_key).unwrap_or_default();
            processes.sort_by_key(|(key, process)| (std::cmp::Reverse(process.delta.run_ns), key.tgid));
            let listed = processes.len().min(limit);
            truncated += processes.len() - listed;
            let mut entry = describe(attribution.identity(container_key), container_key);
            entry.totals = Totals::new(&container.delta, &container.sums, interval_s);
            let pages: u64 = processes.iter().map(|(_, process)| process.memory.resident()).sum();
            entry.totals.memory_bytes = pages * page;
            entry.other = Some(others(container, &processes[..listed], pages * page, page, interval_s));
            entry.processes = processes[..listed]
                .iter()
                .map(|(key, process)| TopProcess {
                    pid: key.tgid,
                    ppid: process.ppid,
                    executable: names.get(&process.exe).cloned().unwrap_or_else(|| "_unknown".into()),
                    comm: text(&process.comm),
                    role: machines.role(container_key, process.exe).map(Role::name),
                    threads: process.threads,
                    uptime_s: now.boot_ns.saturating_sub(key.start) as f64 / 1e9,
                    totals: process_totals(process, page, interval_s),
                })
                .collect();
            let vcpus = machines.emulated_in(container_key).into_iter().flat_map(|machine| machine.threads.vcpus());
            entry.vcpus = vcpus
                .map(|(id, vcpu)| TopVcpu { id, totals: Totals::new(&vcpu.growth, &vcpu.used, interval_s) })
                .collect();
            entry
        })
        .collect();
    Top { node, time_ms: now.unix_ns / 1_000_000, interval_s, truncated, containers }
}

fn process_totals(process: &Process, page: u64, interval_s: f64) -> Totals {
    Totals {
        memory_bytes: process.memory.resident() * page,
        peak_bytes: (!process.kernel).then_some(process.memory.peak * page),
        ..Totals::new(&process.delta, &process.total, interval_s)
    }
}

/// What the container's total has beyond the listed processes: those not listed and those that ended.
fn others(
    container: &Container,
    listed: &[(&ProcessKey, &Process)],
    memory: u64,
    page: u64,
    interval_s: f64,
) -> Totals {
    let mut delta = Counters::ZERO;
    listed.iter().for_each(|(_, process)| delta.add(&process.delta));
    let listed_memory: u64 = listed.iter().map(|(_, process)| process.memory.resident() * page).sum();
    let mut rest = Totals::new(&container.delta.since(&delta), &container.remainder, interval_s);
    rest.memory_bytes = memory.saturating_sub(listed_memory);
    rest
}

fn describe(identity: &Identity, key: &ContainerKey) -> TopContainer {
    let mut entry = TopContainer {
        namespace: None,
        pod: None,
        pod_uid: None,
        container: "host".into(),
        container_id: None,
        image: None,
        vm: None,
        totals: Totals::default(),
        processes: Vec::new(),
        vcpus: Vec::new(),
        other: None,
    };
    match key {
        ContainerKey::Host => return entry,
        ContainerKey::Container(id) => {
            entry.container = id.get(..12).unwrap_or(id).into();
            entry.container_id = Some(Arc::clone(id));
        }
        ContainerKey::Pod(uid) => {
            entry.container = "(pod)".into();
            entry.pod_uid = Some(Arc::clone(uid));
        }
    }
    let pod = match identity {
        Identity::Named(meta) => {
            entry.container = Arc::clone(&meta.name);
            entry.image = (!meta.image.is_empty()).then(|| Arc::clone(&meta.image));
            Some(&meta.pod)
        }
        Identity::Pod(pod) => Some(pod),
        Identity::ByPath { pod, .. } => {
            entry.pod_uid = pod.clone();
            None
        }
        Identity::Host | Identity::Waiting => None,
    };
    if let Some(pod) = pod {
        entry.namespace = Some(Arc::clone(&pod.namespace));
        entry.pod = Some(Arc::clone(&pod.name));
        entry.pod_uid = Some(Arc::clone(&pod.uid));
        entry.vm = pod.vm().map(|vm| format!("{}/{}", vm.namespace, vm.name));
    }
    entry
}
