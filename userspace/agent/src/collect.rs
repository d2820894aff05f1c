//! The collection: everything is read, accounted, attributed and published, on wall-clock multiples of the interval.

mod groups;
mod machines;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use foldhash::HashSet;
use podscope_abi::{BookKey, Loss};

use crate::accounting::{Accounting, Limits, Moment, Outcome, Policy};
use crate::attribution::{Attribution, Identity};
use crate::cgroup::{Layout, Reader, scan};
use crate::cluster;
use crate::compat::kubevirt::Tracker;
use crate::descriptors::{self, Schedule};
use crate::figures::GroupFigures;
use crate::gpu::Gpus;
use crate::kernel::{Event, Events, Kernel, boot_ns, monotonic_ns};
use crate::node::Node;
use crate::oom::{Kmsg, OomTracker};
use crate::own::{OwnFigures, Usage};
use crate::publish::{Names, Publisher};
use crate::snapshot::Snapshot;
use crate::status::{Board, Kind, State};
use crate::vm::Machines;
use crate::waits::Waits;

/// Directories a scan of the cgroup tree takes at most.
pub const MAX_GROUPS: usize = 65_536;
/// How long the name of a removed cgroup is remembered.
pub const GROUP_LINGER_NS: u64 = 600_000_000_000;
/// Least time between two scans.
const SCAN_NS: u64 = 10_000_000_000;
/// A scan is made at least so often, in case an event was lost.
const RESCAN_NS: u64 = 300_000_000_000;

/// What the answers of `/top` and `/status` are made from.
pub struct Shared {
    /// Sums.
    pub accounting: Accounting,
    /// Names.
    pub attribution: Attribution,
    /// Executables.
    pub names: Names,
    /// Virtual machines.
    pub machines: Machines,
    /// Figures of the last collection.
    pub last: Last,
}

/// Figures of the last collection.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// Length of each part, seconds, in the order of the attribute `podscope.collection.phase`.
    pub phases: [f64; 5],
    /// Processes without a pod's name, in the order of the attribute `podscope.unattributed.reason`.
    pub unattributed: [u64; 4],
    /// Entries in use: books, closed, cgroups.
    pub entries: [u64; 3],
    /// Kernel-side losses so far.
    pub losses: [u64; Loss::ALL.len()],
    /// What was left out so far, by the value of the attribute `podscope.drop.reason`; the log is not counted here.
    pub dropped: Vec<(&'static str, u64)>,
}

/// Reads, accounts and publishes.
pub struct Collector {
    kernel: Kernel,
    events: Events,
    layout: Layout,
    reader: Reader,
    publisher: Publisher,
    shared: Arc<Mutex<Shared>>,
    scanned_ns: Option<u64>,
    unnamed_groups: bool,
    /// Why the last reading of the living tasks failed.
    tasks_failed: Option<String>,
    waits: Waits,
    figures: GroupFigures,
    kmsg: Kmsg,
    oom_kills: OomTracker,
    descriptors: Schedule,
    usage: Usage,
    /// What was published last, for as long as anybody has it.
    published: Weak<Snapshot>,
    cluster: cluster::Handle,
    join: cluster::Join,
    tracker: Option<Tracker>,
    node: Node,
    gpus: Gpus,
}

/// What is read besides the kernel's tables and the cgroups.
pub struct Sources {
    /// The kernel's log.
    pub kmsg: Kmsg,
    /// The node.
    pub node: Node,
    /// What is known of the cluster.
    pub cluster: cluster::Handle,
    /// Puts that on what is collected.
    pub join: cluster::Join,
    /// GPUs.
    pub gpus: Gpus,
    /// Makes the resources of an older tool's page, where the agent stands in for one.
    pub tracker: Option<Tracker>,
}

impl Collector {
    /// Puts the parts together.
    pub fn new(
        kernel: Kernel,
        events: Events,
        layout: Layout,
        publisher: Publisher,
        attribution: Attribution,
        limits: Limits,
        Sources { kmsg, node, cluster, join, gpus, tracker }: Sources,
    ) -> Self {
        let shared = Shared {
            accounting: Accounting::new(limits),
            attribution,
            names: Names::default(),
            machines: Machines::default(),
            last: Last::default(),
        };
        Self {
            kernel,
            events,
            reader: Reader::new(&layout),
            layout,
            publisher,
            shared: Arc::new(Mutex::new(shared)),
            scanned_ns: None,
            unnamed_groups: true,
            tasks_failed: None,
            waits: Waits::default(),
            figures: GroupFigures::new(),
            kmsg,
            oom_kills: OomTracker::default(),
            descriptors: Schedule::default(),
            usage: Usage::default(),
            published: Weak::new(),
            cluster,
            join,
            tracker,
            node,
            gpus,
        }
    }

    /// Says what has been published.
    pub fn published(&mut self, snapshot: &Arc<Snapshot>) {
        self.published = Arc::downgrade(snapshot);
    }

    /// What `/top` and `/status` read.
    pub fn shared(&self) -> Arc<Mutex<Shared>> {
        Arc::clone(&self.shared)
    }

    /// The kernel programs.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Takes the events that have come; cheap, to be called between collections as well.
    pub fn drain_events(&mut self) {
        self.kernel.flush_log();
        let shared = Arc::clone(&self.shared);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic_ns();
        let Shared { accounting, attribution, .. } = &mut *shared;
        while let Some(event) = self.events.next_event() {
            match event {
                Event::CgroupNamed { id, path } => {
                    let path = self.layout.locate(id, &path).unwrap_or(&path);
                    attribution.tree.rename(id, path, now);
                    attribution.note_pod(id);
                }
                Event::CgroupRemoved { id } => {
                    attribution.tree.remove(id, now);
                    accounting.remove_cgroup(id);
                }
                Event::Oom(oom) => self.oom_kills.take(accounting.identify(oom), now),
            }
        }
    }

    /// One collection.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read; the next collection may do better.
    pub fn collect(&mut self) -> std::io::Result<Snapshot> {
        self.drain_events();
        let shared = Arc::clone(&self.shared);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { accounting, attribution, names, machines, last } = &mut *shared;
        let mut clock = Phases::start();
        let now = now();
        self.gpus.begin(&now);
        self.scan_groups(attribution, accounting, now.monotonic_ns);
        for renamed in attribution.refresh(now.monotonic_ns) {
            accounting.restart(&renamed);
            self.publisher.rename(&renamed, self.published.upgrade().as_deref(), &now);
            self.waits.restart(&renamed);
            machines.restart(&renamed);
        }

        self.kernel.follow_kvm(now.monotonic_ns);
        accounting.begin(now);
        machines.begin();
        last.entries[0] = self.kernel.books.for_each(|key, book| accounting.take_book(key, book))? as u64;
        self.kernel.reserve_books(last.entries[0])?;
        last.entries[1] = self.kernel.closed.for_each(|key, closed| accounting.take_closed(key, closed))? as u64;
        clock.end(0);
        let pass = accounting.pass;
        let tasks = self.kernel.tasks(|record| {
            accounting.take_task(record);
            machines.take_task(record, pass);
        });
        clock.end(1);

        let outcome = settle(accounting, attribution, now.monotonic_ns);
        self.unnamed_groups = outcome.unowned_processes > 0;
        self.retire(accounting, machines, &outcome, now.monotonic_ns);
        self.learn_names(accounting, names);
        self.follow_machines(machines, accounting, attribution, names);
        self.count_oom_kills(machines, accounting, attribution, names);
        attribution.retain(|container| accounting.containers.contains_key(container));
        last.unattributed = unattributed(accounting, attribution, outcome.unowned_processes);
        clock.end(4);
        // First of all, since it tells the names of block devices.
        self.node.refresh(&now);
        self.node.pods.refresh(accounting, attribution);
        self.count_descriptors(accounting, now.monotonic_ns);
        clock.end(3);
        let readings = self.read_groups(accounting, attribution, last);
        clock.end(2);
        let cluster = self.cluster.view();
        self.publisher.describe(self.join.workloads(&cluster));
        let of_node = self.publisher.node(&self.node, attribution, accounting.processes.len() as u64, &now);
        let of_gpus = self.publisher.gpus(&mut self.gpus, accounting, attribution, names, machines, &now);
        let mut resources =
            self.publisher.resources(accounting, attribution, names, machines, &outcome.ended, readings);
        resources.extend(of_node.into_iter().chain(of_gpus));
        self.join.join(&mut resources, &cluster, &now);
        let lingering = self.publisher.lingering(&resources, &now);
        last.losses = self.kernel.losses();
        last.dropped = self.dropped(accounting, attribution);
        clock.end(4);
        last.phases = clock.seconds;
        self.note_tasks(tasks.err());
        let tracker = self.tracker.as_mut();
        let tracked = tracker.map(|tracker| tracker.update(accounting, attribution, names, "/proc".as_ref()));
        Ok(Snapshot { time_ns: now.unix_ns, resources, lingering, tracked: tracked.unwrap_or_default() })
    }

    /// Says once that living tasks cannot be read. The books still tell of what has ended, and the cgroups of all.
    fn note_tasks(&mut self, error: Option<std::io::Error>) {
        let failed = error.map(|error| error.to_string());
        if failed != self.tasks_failed {
            match &failed {
                Some(error) => tracing::error!("living tasks cannot be read: {error}"),
                None => tracing::info!("living tasks are read again"),
            }
            self.tasks_failed = failed;
        }
    }

    /// Counts open descriptors of some of the published processes; each has its turn every 30 s.
    fn count_descriptors(&mut self, accounting: &mut Accounting, now: u64) {
        let published = accounting.processes.iter().filter(|(_, process)| process.series.is_some() && !process.kernel);
        for key in self.descriptors.due(published.map(|(key, _)| *key), now) {
            if let Some(process) = accounting.processes.get_mut(&key) {
                process.descriptors = descriptors::count("/proc".as_ref(), key.tgid).or(process.descriptors);
            }
        }
    }

    /// What the agent publishes about itself, as far as the collection knows it.
    pub fn own(&mut self, board: &Board) -> OwnFigures {
        let proc = match self.usage.refresh("/proc".as_ref()) {
            Ok(()) => State::Up,
            Err(error) => State::Absent {
                reason: format!(
                    "cannot read /proc/self/status: {error}; counts of descriptors and the agent's own CPU time and \
                     memory wait; is the host's /proc mounted?"
                ),
            },
        };
        board.set(Kind::Source, "proc", proc);
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &shared.last;
        let [books, closed, cgroups] = last.entries;
        OwnFigures {
            usage: self.usage,
            phases_ns: last.phases.map(|seconds| (seconds * 1e9) as u64),
            collections: shared.accounting.pass,
            processes: shared.accounting.processes.len() as u64,
            containers: shared.accounting.containers.len() as u64,
            unattributed: last.unattributed,
            programs: self.kernel.run_stats(),
            states: board.all(),
            map_entries: vec![("books", books), ("closed", closed), ("cgroups", cgroups)],
            map_capacities: self.kernel.capacities().to_vec(),
            losses: last.losses,
            dropped: last.dropped.clone(),
            unowned_ns: shared.accounting.unowned.run_ns,
            kube_requests: self.cluster.requests(),
            ..OwnFigures::default()
        }
    }

    fn dropped(&self, accounting: &Accounting, attribution: &Attribution) -> Vec<(&'static str, u64)> {
        let runtime = attribution.runtime().stats();
        let [devices, interfaces, filesystems] = self.node.dropped();
        let mut dropped = vec![
            ("process", accounting.processes_dropped),
            ("ended_series", self.publisher.lingering_dropped),
            ("cgroup_name", attribution.tree.dropped()),
            ("oom_kill", self.oom_kills.dropped()),
            ("kmsg_record", self.kmsg.lost()),
            ("container", runtime.evictions),
            ("label", runtime.truncated_labels),
            ("runtime_answer", runtime.malformed),
            ("runtime_request", runtime.requests_dropped),
            ("device", devices),
            ("interface", interfaces),
            ("filesystem", filesystems),
        ];
        dropped.extend(self.cluster.dropped());
        dropped.extend(self.gpus.dropped());
        dropped
    }

    /// Walks the cgroup tree where a name is missing, and now and then in case an event was lost.
    fn scan_groups(&mut self, attribution: &mut Attribution, accounting: &mut Accounting, now: u64) {
        let age = self.scanned_ns.map_or(u64::MAX, |scanned| now.saturating_sub(scanned));
        if age < SCAN_NS || (!self.unnamed_groups && age < RESCAN_NS) {
            return;
        }
        let found = match scan(&self.layout, MAX_GROUPS) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("cannot walk the cgroup tree: {error}");
                return;
            }
        };
        attribution.tree.adopt(&found, now, monotonic_ns());
        for (id, _) in &found.groups {
            attribution.note_pod(*id);
        }
        if self.scanned_ns.is_some() {
            let living: HashSet<u64> = attribution.tree.living().map(|(id, _)| id).collect();
            let gone: Vec<u64> = accounting.owners().map(|(id, _)| id).filter(|id| !living.contains(id)).collect();
            gone.into_iter().for_each(|id| accounting.remove_cgroup(id));
        }
        self.scanned_ns = Some(now);
    }

    /// Gives back what ended processes and removed cgroups have held in the kernel's maps.
    fn retire(&mut self, accounting: &Accounting, machines: &mut Machines, outcome: &Outcome, now: u64) {
        for key in &outcome.forget {
            self.kernel.closed.remove(key);
        }
        if !outcome.retired.is_empty() {
            let retired: HashSet<u64> = outcome.retired.iter().copied().collect();
            let mut keys: Vec<BookKey> = Vec::new();
            let listed = self.kernel.books.for_each(|key, _| {
                if retired.contains(&key.cgroup) {
                    keys.push(*key);
                }
            });
            if let Err(error) = listed {
                tracing::warn!("cannot list the books: {error}");
            }
            keys.iter().for_each(|key| self.kernel.books.remove(key));
            machines.forget(&retired).iter().for_each(|blame| self.kernel.blames.remove(blame));
            for cgroup in retired {
                self.kernel.cgroups.remove(&cgroup);
                self.waits.retire(&self.kernel, cgroup, now);
            }
        }
        self.waits.reuse(&mut self.kernel, now);
        self.waits.retain(|container| accounting.containers.contains_key(container));
    }

    /// Names of the executables that are in use; others are forgotten.
    fn learn_names(&self, accounting: &Accounting, names: &mut Names) {
        let of_containers = accounting.containers.values().flat_map(|c| c.executables.keys());
        let of_processes = accounting.processes.values().map(|p| &p.exe);
        let used: HashSet<u64> = of_containers.chain(of_processes).copied().collect();
        names.retain(|exe, _| used.contains(exe));
        for exe in used {
            if !names.contains_key(&exe)
                && let Some(name) = self.kernel.exe_name(exe)
            {
                names.insert(exe, name.into());
            }
        }
    }
}

fn settle(accounting: &mut Accounting, attribution: &mut Attribution, now: u64) -> Outcome {
    // The owner is asked for while the identities are read: both live in the attribution.
    let cell = std::cell::RefCell::new(attribution);
    accounting.finish(
        |cgroup| cell.borrow_mut().owner(cgroup, now),
        |container| match cell.borrow().identity(container) {
            Identity::Waiting => Policy::Wait,
            Identity::Named(meta) if meta.pod.is_virt_launcher() => Policy::All,
            _ => Policy::Top,
        },
    )
}

/// Processes without a pod's name, in the order of the attribute `podscope.unattributed.reason`.
fn unattributed(accounting: &Accounting, attribution: &Attribution, without_path: u64) -> [u64; 4] {
    use crate::attribution::Unnamed;
    let mut counts = [without_path, 0, 0, 0];
    for (key, container) in &accounting.containers {
        let reason = match attribution.unnamed(key) {
            Some(Unnamed::NoPath) => 0,
            Some(Unnamed::NoRuntime) => 1,
            Some(Unnamed::UnknownContainer) => 2,
            Some(Unnamed::Pod) => 3,
            None => continue,
        };
        counts[reason] += container.processes;
    }
    counts
}

/// This instant on all clocks.
pub fn now() -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { unix_ns: unix.as_nanos() as u64, boot_ns: boot_ns(), monotonic_ns: monotonic_ns() }
}

/// Times the parts of a collection.
struct Phases {
    seconds: [f64; 5],
    since: Instant,
}

impl Phases {
    fn start() -> Self {
        Self { seconds: [0.0; 5], since: Instant::now() }
    }

    fn end(&mut self, phase: usize) {
        self.seconds[phase] += self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
    }
}
