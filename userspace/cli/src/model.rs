//! What an agent answers. Fields that are missing take their default and unknown ones are ignored, so that command and
//! agent may be of different versions.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Deserialize;

use crate::text::Text;

/// `GET /top`: what each container and its processes use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Top {
    /// Kubernetes node.
    pub node: Text,
    /// When the collection was made, ms since the Unix epoch.
    pub time_ms: u64,
    /// What the rates are averaged over, s.
    pub interval_s: f64,
    /// Containers left out because there are too many.
    pub truncated: u64,
    /// In no particular order.
    pub containers: Vec<Container>,
}

/// A container, or with neither pod nor id: the processes outside pods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Kubernetes namespace, where known.
    pub namespace: Option<Text>,
    /// Pod name, where known.
    pub pod: Option<Text>,
    /// Pod uid, where known.
    pub pod_uid: Option<Text>,
    /// Container name.
    pub container: Text,
    /// The runtime's id, where known.
    pub container_id: Option<Text>,
    /// Image, where known.
    pub image: Option<Text>,
    /// `namespace/name` of the KubeVirt machine that it runs.
    pub vm: Option<Text>,
    /// All its processes together, those that ended included.
    pub totals: Totals,
    /// The processes that use the most.
    pub processes: Vec<Process>,
    /// Virtual CPUs of the machine whose emulator runs in it; their waits are the time in which they were ready.
    pub vcpus: Vec<Vcpu>,
    /// The other processes together, those that ended included.
    pub other: Option<Totals>,
}

impl Container {
    /// `namespace/pod`, as much of it as is known; `None` outside pods.
    pub fn pod_name(&self) -> Option<String> {
        match (&self.namespace, &self.pod, &self.pod_uid) {
            (Some(namespace), Some(pod), _) => Some(format!("{namespace}/{pod}")),
            (None, Some(pod), _) => Some(pod.to_string()),
            (_, None, Some(uid)) => Some(format!("pod {uid}")),
            (_, None, None) => None,
        }
    }

    /// The container's name, or else the beginning of its id.
    pub fn name(&self) -> &str {
        match &self.container_id {
            Some(id) if self.container.is_empty() => id.get(..12).unwrap_or(id),
            _ => &self.container,
        }
    }
}

/// A virtual CPU.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Vcpu {
    /// Its number.
    pub id: u32,
    /// What its thread uses.
    pub totals: Totals,
}

/// A process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id on the node.
    pub pid: i64,
    /// Its parent.
    pub ppid: i64,
    /// Base name of its executable file.
    pub executable: Text,
    /// Its own name, cut at 15 bytes by the kernel.
    pub comm: Text,
    /// What it is there for, in a virtual machine's pod.
    pub role: Option<Text>,
    /// Threads.
    pub threads: u64,
    /// Since its start, s.
    pub uptime_s: f64,
    /// What it uses.
    pub totals: Totals,
}

impl Process {
    /// Its executable's name, or else its own.
    pub fn name(&self) -> &str {
        [&self.executable, &self.comm].into_iter().find(|name| !name.is_empty()).map_or("?", |name| name)
    }
}

/// What something uses: rates over the last interval and sums over its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// CPU time, s per s.
    pub cpu_cores: f64,
    /// Time spent runnable on a run queue, s per s.
    pub wait_cores: f64,
    /// Time spent in uninterruptible sleep, s per s; `None` where it is not measured.
    pub blocked_cores: Option<f64>,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// Largest resident memory so far, bytes.
    pub peak_bytes: Option<u64>,
    /// Page faults per s.
    pub faults_per_s: f64,
    /// Context switches per s.
    pub switches_per_s: f64,
    /// CPU time so far, s.
    pub cpu_s: f64,
    /// Run-queue wait so far, s.
    pub wait_s: f64,
}

impl AddAssign for Totals {
    /// Adds what can be added; a peak of several cannot be told from their peaks.
    fn add_assign(&mut self, other: Self) {
        self.cpu_cores += other.cpu_cores;
        self.wait_cores += other.wait_cores;
        self.blocked_cores = [self.blocked_cores, other.blocked_cores].into_iter().flatten().reduce(|a, b| a + b);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.peak_bytes = None;
        self.faults_per_s += other.faults_per_s;
        self.switches_per_s += other.switches_per_s;
        self.cpu_s += other.cpu_s;
        self.wait_s += other.wait_s;
    }
}

/// `GET /status`: what the agent is doing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The agent's version.
    pub version: Text,
    /// Kubernetes node.
    pub node: Text,
    /// Kernel release.
    pub kernel: Text,
    /// Since the agent's start, s.
    pub uptime_s: f64,
    /// Between two collections, s.
    pub interval_s: f64,
    /// Collections so far.
    pub collections: u64,
    /// What the last one took, ms.
    pub last_collection_ms: f64,
    /// Living processes.
    pub processes: u64,
    /// Living containers.
    pub containers: u64,
    /// Processes or time without an owner, by reason.
    pub unattributed: BTreeMap<Text, u64>,
    /// What the kernel side could not keep, by place.
    pub losses: BTreeMap<Text, u64>,
    /// What the agent itself left out, by reason.
    pub dropped: BTreeMap<Text, u64>,
    /// Set when only a part of the node's processes is visible.
    pub namespace_note: Option<Text>,
    /// What context switches are looked at for.
    pub scheduling_detail: Detail,
    /// Kernel programs.
    pub probes: Vec<Part>,
    /// What is read or written.
    pub sources: Vec<Part>,
    /// Capabilities that the agent still has.
    pub capabilities: Vec<Text>,
    /// OTLP export, where it is on.
    pub export: Option<Export>,
}

impl Status {
    /// The probes and sources that do not work.
    pub fn absent(&self) -> impl Iterator<Item = &Part> {
        self.probes.iter().chain(&self.sources).filter(|part| &*part.state == "absent")
    }
}

/// What context switches are looked at for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Metrics that are missing because it is switched off.
    pub absent: Vec<Text>,
}

/// A probe or source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Its name.
    pub name: Text,
    /// `up`, `off`, `absent`, or what a later agent may say.
    pub state: Text,
    /// Why it is not up.
    pub reason: Option<Text>,
}

/// Data points of the OTLP export so far.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Export {
    /// Taken by the receiver.
    pub sent: u64,
    /// Refused by the receiver.
    pub rejected: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
}
