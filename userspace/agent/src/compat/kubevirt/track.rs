//! The tracked processes: which they are, whose, and what /proc says of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use podscope_catalog::{Entity, id};

use super::Settings;
use super::target::Targets;
use crate::accounting::points::Points;
use crate::accounting::{Accounting, ContainerKey, ProcessKey};
use crate::attribution::{Attribution, Identity};
use crate::proc_self::{Stat, text};
use crate::publish::Names;
use crate::runtime::PodMeta;
use crate::snapshot::{Attributes, Resource, ResourceAttribute};
use crate::status::{Board, Kind, State};

/// Command lines read per collection at most; the others have their turn in the next ones.
const READ_AT_ONCE: usize = 512;

/// Finds the tracked processes of each collection.
#[derive(Debug)]
pub struct Tracker {
    targets: Targets,
    host: Arc<str>,
    board: Board,
    /// Whether a process is tracked, while it runs one executable.
    known: HashMap<(ProcessKey, u64), bool>,
}

/// What one process has used, as far as the older metrics tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    user_ns: u64,
    system_ns: u64,
    /// Bytes: virtual, resident, shared, data and stack.
    memory: [u64; 4],
}

/// The labels `domain` and `process`.
type Labels = (String, String);

impl Tracker {
    /// `board`: says whether a container runtime answers.
    pub fn new(settings: &Settings, board: Board) -> Self {
        Self { targets: settings.targets.clone(), host: Arc::clone(&settings.host), board, known: HashMap::new() }
    }

    /// The resources of a collection. A process that ends meanwhile is left out, the others stay. `proc`: where procfs
    /// is mounted.
    pub fn update(
        &mut self,
        accounting: &Accounting,
        attribution: &Attribution,
        names: &Names,
        proc: &Path,
    ) -> Vec<Resource> {
        let runtime = self.board.get(Kind::Source, "runtime").is_some_and(|state| state == State::Up);
        let mut known = std::mem::take(&mut self.known);
        let mut room = READ_AT_ONCE;
        let mut found = Vec::new();
        for (key, process) in accounting.processes.iter().filter(|(_, process)| process.threads > 0 && !process.kernel)
        {
            let (Some(name), Some(owner)) = (names.get(&process.exe), accounting.owner(process.cgroup)) else {
                continue;
            };
            let tracked = match known.remove(&(*key, process.exe)) {
                Some(tracked) => tracked,
                None if room == 0 => continue,
                None => {
                    room -= 1;
                    self.asks_for(proc, key.tgid)
                }
            };
            self.known.insert((*key, process.exe), tracked);
            if tracked
                && let Some(domain) = domain(owner, attribution, key.tgid, runtime)
                && let Some(reading) = Reading::of(proc, key.tgid)
            {
                tracing::debug!(pid = key.tgid, process = %name, domain, "tracked for the older tool's page");
                found.push(((domain, name.to_string()), reading));
            }
        }
        resources(&self.host, found.into_iter())
    }

    /// Whether a target asks for a process; one that has just ended is asked for by none.
    fn asks_for(&self, proc: &Path, pid: u32) -> bool {
        let cmdline = std::fs::read(proc.join(pid.to_string()).join("cmdline")).unwrap_or_default();
        self.targets.find(&cmdline).is_some()
    }
}

/// The VM's name by the pod's annotation, else the pod's name; where no runtime says either, the process's number.
/// `None` outside of pods, and while the runtime is being asked.
fn domain(owner: &ContainerKey, attribution: &Attribution, pid: u32, runtime: bool) -> Option<String> {
    let of_pod =
        |pod: &PodMeta| pod.domain.as_ref().filter(|domain| !domain.is_empty()).unwrap_or(&pod.name).to_string();
    match attribution.identity(owner) {
        Identity::Named(meta) => Some(of_pod(&meta.pod)),
        Identity::Pod(pod) => Some(of_pod(pod)),
        Identity::ByPath { .. } => Some(pid.to_string()),
        Identity::Host if !runtime => Some(pid.to_string()),
        Identity::Host | Identity::Waiting => None,
    }
}

impl Reading {
    /// Reads `stat` and `statm` of a process; `None` once it has ended.
    pub fn of(proc: &Path, pid: u32) -> Option<Self> {
        let (user_ns, system_ns) = Stat::of(proc, &pid.to_string()).cpu_ns()?;
        let statm = text(proc, &format!("{pid}/statm"));
        let page = rustix::param::page_size() as u64;
        let fields: Vec<&str> = statm.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at)?.parse::<u64>().ok()?.checked_mul(page);
        Some(Self { user_ns, system_ns, memory: [field(0)?, field(1)?, field(2)?, field(5)?] })
    }

    fn add(&mut self, other: &Self) {
        self.user_ns = self.user_ns.saturating_add(other.user_ns);
        self.system_ns = self.system_ns.saturating_add(other.system_ns);
        for (sum, bytes) in self.memory.iter_mut().zip(other.memory) {
            *sum = sum.saturating_add(bytes);
        }
    }
}

/// One resource for each pair of labels: processes that share them are summed.
pub(super) fn resources(host: &str, found: impl Iterator<Item = (Labels, Reading)>) -> Vec<Resource> {
    let mut sums: BTreeMap<Labels, Reading> = BTreeMap::new();
    found.for_each(|(labels, reading)| sums.entry(labels).or_default().add(&reading));
    let resource = |((domain, process), sum): (Labels, Reading)| {
        let [size, resident, shared, data] = sum.memory;
        let mut points = Points::default();
        points.seconds(id::KUBEVIRT_CPU_TIME, 0, sum.user_ns).seconds(id::KUBEVIRT_CPU_TIME, 1, sum.system_ns);
        // The older tool calls data and stack dirty.
        for (kind, bytes) in [size, resident, shared, data, data].into_iter().enumerate() {
            points.int(id::KUBEVIRT_MEMORY_AMOUNT, kind, bytes);
        }
        Resource {
            entity: Entity::KubevirtProcess,
            attributes: Arc::new(Attributes::new(vec![
                ResourceAttribute::label("domain", domain),
                ResourceAttribute::label("host", host),
                ResourceAttribute::label("process", process),
            ])),
            start_ns: 0,
            kernel_start_ns: 0,
            ended: false,
            points: points.finish(),
        }
    };
    sums.into_iter().map(resource).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field by field against ps, which reads the same kernel by its own parser.
    #[test]
    fn a_reading_is_what_ps_says() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // Until it sleeps, it is still being loaded.
        let asleep = || text(Path::new("/proc"), &format!("{}/stat", child.id())).contains(") S ");
        while !asleep() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let reading = Reading::of(Path::new("/proc"), child.id()).unwrap();
        let ps = std::process::Command::new("ps").args(["-o", "vsz=,rss=", "-p", &child.id().to_string()]).output();
        let ps = String::from_utf8(ps.expect("this test needs ps: apt-get install procps").stdout).unwrap();
        let ps: Vec<u64> = ps.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap() * 1024).collect();
        let [size, resident, shared, data] = reading.memory;
        assert_eq!(size, ps[0]);
        assert!(resident.abs_diff(ps[1]) < 1 << 20, "{resident} B, ps says {} B", ps[1]);
        assert!(shared <= resident && data > 0 && data < size);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Reading::of(Path::new("/proc"), child.id()), None);
    }

    #[test]
    fn processes_of_one_name_in_one_pod_are_summed() {
        let labels = |domain: &str| (domain.to_owned(), "qemu-kvm".to_owned());
        let reading = Reading { user_ns: 1_500_000_000, system_ns: 10_000_000, memory: [4, 3, 2, 1] };
        let found = [(labels("moon"), reading), (labels("sun"), reading), (labels("moon"), reading)];
        let resources = resources("node-1", found.into_iter());
        let domain = |at: usize| resources[at].attributes.text("domain").unwrap().to_owned();
        assert_eq!([domain(0), domain(1)], ["moon", "sun"]);
        let values: Vec<_> = resources[0].points.iter().map(|point| format!("{:?}", point.value)).collect();
        assert_eq!(values, ["Double(3.0)", "Double(0.02)", "Int(8)", "Int(6)", "Int(4)", "Int(2)", "Int(2)"]);
    }
}
