//! The agent's own figures: what it costs, what it sees, what it lost, and which of its parts work.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use podscope_abi::Loss;
use podscope_catalog::{Attribute, MetricId, attribute, id};
use rustix::time::{ClockId, clock_gettime};

use crate::accounting::points::Points;
use crate::accounting::split::CpuSplit;
use crate::http::Refusal;
use crate::kernel::RunStats;
use crate::proc_self::{Stat, Status};
use crate::snapshot::{AttributeValue, Attributes, Point, ResourceAttribute};
use crate::status::{Kind, State};

/// What the agent's process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, living and ended.
    pub cpu: Option<CpuSplit>,
    /// Resident memory, bytes.
    pub resident: Option<u64>,
}

impl Usage {
    /// Reads both again. The run time is exact to the nanosecond; the kernel's ticks only divide it. `proc`: where
    /// procfs is mounted.
    ///
    /// # Errors
    /// When /proc cannot be read; what was known of CPU time stays, and is brought up to date once it can.
    pub fn refresh(&mut self, proc: &Path) -> std::io::Result<()> {
        let run = clock_gettime(ClockId::ProcessCPUTime);
        let run_ns = run.tv_sec.unsigned_abs() * 1_000_000_000 + run.tv_nsec.unsigned_abs();
        if let Some((user, system)) = Stat::read(proc).cpu_ns() {
            self.cpu.get_or_insert_default().update(run_ns, user, system);
        }
        self.resident = Status::read(proc).resident();
        std::fs::metadata(proc.join("self/status")).map(drop)
    }

    /// Its points alone.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Points::default();
        self.add_to(&mut points);
        points.finish()
    }

    fn add_to(&self, points: &mut Points) {
        if let Some(cpu) = &self.cpu {
            points.cpu(id::AGENT_CPU_TIME, cpu);
        }
        points.known(id::AGENT_MEMORY_USAGE, 0, self.resident);
    }
}

/// Part of a collection: an index into [`OwnFigures::phases_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the kernel's maps.
    Books,
    /// Running the task iterator.
    Tasks,
    /// Reading the files of cgroups.
    Cgroups,
    /// Reading /proc of exported processes.
    Proc,
    /// Adding up and making the snapshot.
    Account,
}

/// Everything the agent publishes about itself, to be filled by the collection. Arrays are in the order of the values
/// of the attribute they are divided by; counters run from the agent's start.
#[derive(Clone, Debug, Default)]
pub struct OwnFigures {
    /// CPU time and memory.
    pub usage: Usage,
    /// Length of the last collection's parts, by [`Phase`], ns.
    pub phases_ns: [u64; 5],
    /// Collections made.
    pub collections: u64,
    /// Collections skipped.
    pub collections_skipped: u64,
    /// Processes the last collection saw.
    pub processes: u64,
    /// Containers the last collection saw.
    pub containers: u64,
    /// Processes without a pod's name, by reason ([`crate::attribution::Unnamed`]).
    pub unattributed: [u64; 4],
    /// Cost of the kernel programs by name ([`crate::kernel::Kernel::run_stats`]).
    pub programs: HashMap<&'static str, RunStats>,
    /// States of all parts ([`crate::status::Board::all`]).
    pub states: BTreeMap<(Kind, String), State>,
    /// Entries in use of kernel maps, by the map's attribute value.
    pub map_entries: Vec<(&'static str, u64)>,
    /// Entries that kernel maps can hold, by the map's attribute value ([`crate::kernel::Kernel::capacities`]).
    pub map_capacities: Vec<(&'static str, u32)>,
    /// What the kernel programs could not keep ([`crate::kernel::Kernel::losses`]).
    pub losses: [u64; Loss::ALL.len()],
    /// OTLP requests by result.
    pub export_requests: [u64; 4],
    /// OTLP data points by result.
    pub export_points: [u64; 4],
    /// Questions to the Kubernetes API and the kubelet by what became of them ([`podscope_cluster::Outcome`]).
    pub kube_requests: [u64; podscope_cluster::Outcome::ALL.len()],
    /// HTTP requests answered.
    pub http_requests: u64,
    /// What the HTTP endpoint refused, by reason ([`crate::http::Refusal`]).
    pub http_refused: [u64; Refusal::ALL.len()],
    /// What was left out, by the attribute value of `podscope.drop.reason`.
    pub dropped: Vec<(&'static str, u64)>,
    /// CPU time that belongs to no container, ns.
    pub unowned_ns: u64,
}

/// The points of the agent.
pub fn points(figures: &OwnFigures) -> Vec<Point> {
    let mut points = Points::default();
    figures.usage.add_to(&mut points);
    for (phase, ns) in figures.phases_ns.into_iter().enumerate() {
        points.seconds(id::AGENT_COLLECTION_DURATION, phase, ns);
    }
    points
        .int(id::AGENT_COLLECTIONS, 0, figures.collections)
        .int(id::AGENT_COLLECTIONS_SKIPPED, 0, figures.collections_skipped)
        .int(id::AGENT_PROCESSES, 0, figures.processes)
        .int(id::AGENT_CONTAINERS, 0, figures.containers)
        .seconds(id::AGENT_UNOWNED_CPU_TIME, 0, figures.unowned_ns)
        .int(id::AGENT_HTTP_REQUESTS, 0, figures.http_requests);
    each(&mut points, id::AGENT_HTTP_REFUSED, &figures.http_refused);
    each(&mut points, id::AGENT_UNATTRIBUTED, &figures.unattributed);
    each(&mut points, id::AGENT_LOSSES, &figures.losses);
    each(&mut points, id::AGENT_EXPORT_REQUESTS, &figures.export_requests);
    each(&mut points, id::AGENT_EXPORT_POINTS, &figures.export_points);
    each(&mut points, id::AGENT_KUBE_REQUESTS, &figures.kube_requests);
    programs(&mut points, &figures.programs);
    states(&mut points, &figures.states);
    for &(map, entries) in &figures.map_entries {
        named(&mut points, id::AGENT_MAP_ENTRIES, &attribute::MAP, map, entries);
    }
    for &(map, capacity) in &figures.map_capacities {
        named(&mut points, id::AGENT_MAP_CAPACITY, &attribute::MAP, map, u64::from(capacity));
    }
    for &(reason, count) in &figures.dropped {
        named(&mut points, id::AGENT_DROPPED, &attribute::DROP, reason, count);
    }
    points.finish()
}

/// One point per value of the metric's attribute.
fn each(points: &mut Points, metric: MetricId, values: &[u64]) {
    for (at, value) in values.iter().enumerate() {
        points.int(metric, at, *value);
    }
}

/// The point of one value of the metric's attribute; a name that is none of its values makes no point.
fn named(points: &mut Points, metric: MetricId, attribute: &Attribute, name: &str, value: u64) {
    if let Some(at) = attribute.values.iter().position(|&value| value == name) {
        points.int(metric, at, value);
    }
}

/// Zeros everywhere mean that the kernel does not count, not that nothing ran.
fn programs(points: &mut Points, programs: &HashMap<&'static str, RunStats>) {
    if programs.values().all(|stats| stats.runs == 0) {
        return;
    }
    for (at, name) in attribute::PROGRAM.values.iter().enumerate() {
        if let Some(stats) = programs.get(name) {
            points.seconds(id::AGENT_BPF_RUN_TIME, at, stats.time.as_nanos() as u64);
            points.int(id::AGENT_BPF_RUNS, at, stats.runs);
        }
    }
}

/// What is switched off, or has not said anything yet, is neither up nor missing and makes no point.
fn states(points: &mut Points, states: &BTreeMap<(Kind, String), State>) {
    for ((kind, name), state) in states {
        let (metric, attribute) = match kind {
            Kind::Probe => (id::AGENT_PROBE_UP, &attribute::PROGRAM),
            Kind::Source => (id::AGENT_SOURCE_UP, &attribute::AGENT_SOURCE),
        };
        match state {
            State::Up => named(points, metric, attribute, name, 1),
            State::Absent { .. } => named(points, metric, attribute, name, 0),
            State::Off { .. } => {}
        }
    }
}

/// The attributes of the agent's resource.
///
/// `node`: the node's name, which also names the instance; empty where it is not known. `pairs`: those of
/// `OTEL_RESOURCE_ATTRIBUTES`, which go before the agent's own, except the node's name.
pub fn attributes(node: &str, pairs: &[(String, String)]) -> Attributes {
    let instance = if node.is_empty() { random_uuid() } else { node.to_owned() };
    let mut list = vec![
        ResourceAttribute::label("k8s.node.name", node),
        ResourceAttribute::text("service.name", "podscope-agent"),
        ResourceAttribute::text("service.version", env!("CARGO_PKG_VERSION")),
        ResourceAttribute::text("service.instance.id", instance),
    ];
    for (key, value) in pairs {
        match list.iter_mut().find(|attribute| attribute.key == key.as_str()) {
            Some(attribute) if attribute.label => {}
            Some(attribute) => attribute.value = AttributeValue::Text(value.as_str().into()),
            None => list.push(ResourceAttribute::text(key.clone(), value.as_str())),
        }
    }
    Attributes::new(list)
}

/// A UUID of version 4 (RFC 9562).
fn random_uuid() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use podscope_catalog::{Entity, ValueType};

    use super::*;
    use crate::snapshot::Value;
    use crate::status::Board;

    fn absent() -> State {
        State::Absent { reason: "not there".to_owned() }
    }

    fn numbers<const N: usize>(from: u64) -> [u64; N] {
        std::array::from_fn(|at| from + at as u64)
    }

    fn full() -> OwnFigures {
        let board = Board::default();
        for name in attribute::PROGRAM.values {
            board.set(Kind::Probe, name, if *name == "mark_victim" { absent() } else { State::Up });
        }
        for name in attribute::AGENT_SOURCE.values {
            board.set(Kind::Source, name, if *name == "kmsg" { absent() } else { State::Up });
        }
        let stats = |at: usize| RunStats { time: Duration::from_secs(at as u64), runs: 70 + at as u64 };
        let mut cpu = CpuSplit::default();
        cpu.update(4_000_000_000, 3, 1);
        OwnFigures {
            usage: Usage { cpu: Some(cpu), resident: Some(4096) },
            phases_ns: numbers(1_000_000_000),
            collections: 11,
            collections_skipped: 12,
            processes: 13,
            containers: 14,
            unattributed: numbers(20),
            programs: attribute::PROGRAM.values.iter().enumerate().map(|(at, &name)| (name, stats(at))).collect(),
            states: board.all(),
            map_entries: attribute::MAP.values.iter().map(|&name| (name, name.len() as u64)).collect(),
            map_capacities: attribute::MAP.values.iter().map(|&name| (name, 1000)).collect(),
            losses: numbers(30),
            export_requests: numbers(40),
            export_points: numbers(50),
            kube_requests: numbers(80),
            http_requests: 61,
            http_refused: numbers(62),
            dropped: attribute::DROP.values.iter().map(|&name| (name, name.len() as u64)).collect(),
            unowned_ns: 1_500_000_000,
        }
    }

    fn get(points: &[Point], metric: MetricId, value: &str) -> f64 {
        let point = points.iter().find(|point| {
            let mut values = metric.metric().combination(usize::from(point.combination)).map(|(_, value)| value);
            point.metric == metric && values.next().unwrap_or("") == value
        });
        match point.unwrap_or_else(|| panic!("no {} {value}", metric.metric().name)).value {
            Value::Int(value) => value as f64,
            Value::Double(value) => value,
            Value::Histogram(_) => panic!("a histogram"),
        }
    }

    #[test]
    fn every_metric_of_the_agent_has_all_its_points() {
        let points = points(&full());
        assert!(points.is_sorted_by(|a, b| (a.metric, a.combination) < (b.metric, b.combination)));
        assert!(points.iter().all(|point| point.metric.metric().entity == Entity::Agent));
        for metric in MetricId::all().filter(|metric| metric.metric().entity == Entity::Agent) {
            let of: Vec<_> = points.iter().filter(|point| point.metric == metric).collect();
            assert_eq!(of.len(), metric.metric().combinations(), "{}", metric.metric().name);
            let is_int = of.iter().all(|point| matches!(point.value, Value::Int(_)));
            assert_eq!(is_int, metric.metric().value == ValueType::Int, "{}", metric.metric().name);
        }
    }

    #[test]
    fn figures_stand_under_their_attribute_values() {
        let points = points(&full());
        for (metric, value, want) in [
            (id::AGENT_CPU_TIME, "user", 3.0),
            (id::AGENT_CPU_TIME, "system", 1.0),
            (id::AGENT_MEMORY_USAGE, "", 4096.0),
            (id::AGENT_COLLECTION_DURATION, "account", 1.000_000_004),
            (id::AGENT_COLLECTIONS_SKIPPED, "", 12.0),
            (id::AGENT_UNATTRIBUTED, "pod_without_container", 23.0),
            (id::AGENT_BPF_RUN_TIME, "sched_process_fork", 1.0),
            (id::AGENT_BPF_RUNS, "task", 88.0),
            (id::AGENT_PROBE_UP, "sched_switch", 1.0),
            (id::AGENT_PROBE_UP, "mark_victim", 0.0),
            (id::AGENT_SOURCE_UP, "kmsg", 0.0),
            (id::AGENT_SOURCE_UP, "btf", 1.0),
            (id::AGENT_MAP_ENTRIES, "cgroups", 7.0),
            (id::AGENT_EXPORT_REQUESTS, "sent", 40.0),
            (id::AGENT_EXPORT_POINTS, "dropped", 53.0),
            (id::AGENT_HTTP_REFUSED, "displaced", 63.0),
            (id::AGENT_DROPPED, "log_line", 8.0),
            (id::AGENT_UNOWNED_CPU_TIME, "", 1.5),
        ] {
            assert_eq!(get(&points, metric, value), want, "{} {value}", metric.metric().name);
        }
        for (at, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(get(&points, id::AGENT_LOSSES, loss.name()), 30.0 + at as f64);
        }
    }

    #[test]
    fn phases_are_the_attributes_values() {
        let phases = [Phase::Books, Phase::Tasks, Phase::Cgroups, Phase::Proc, Phase::Account];
        let names: Vec<_> = phases.iter().map(|phase| format!("{phase:?}").to_lowercase()).collect();
        assert_eq!(names, attribute::PHASE.values);
        assert_eq!(phases.map(|phase| phase as usize), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_off_or_not_counted_makes_no_point() {
        let mut figures = full();
        figures.programs.values_mut().for_each(|stats| *stats = RunStats::default());
        let off = State::Off { reason: "not wanted".to_owned() };
        figures.states = BTreeMap::from([((Kind::Source, "otlp".to_owned()), off)]);
        figures.map_entries = vec![("no such map", 1)];
        let points = points(&figures);
        for metric in
            [id::AGENT_BPF_RUNS, id::AGENT_BPF_RUN_TIME, id::AGENT_SOURCE_UP, id::AGENT_PROBE_UP, id::AGENT_MAP_ENTRIES]
        {
            assert!(points.iter().all(|point| point.metric != metric), "{}", metric.metric().name);
        }
    }

    /// Against a thread's own clock and the kernel's ticks.
    #[test]
    fn cpu_time_is_that_of_all_threads_living_and_ended() {
        let mut usage = Usage::default();
        usage.refresh(Path::new("/proc")).unwrap();
        let total = |usage: &Usage| usage.cpu.map(|cpu| cpu.user_ns + cpu.system_ns).unwrap();
        let before = total(&usage);
        let burn = || {
            let (started, own) = (Instant::now(), || clock_gettime(ClockId::ThreadCPUTime).tv_nsec);
            while own() < 60_000_000 {
                assert!(started.elapsed() < Duration::from_secs(60), "no CPU to be had");
            }
        };
        std::thread::spawn(burn).join().unwrap();
        usage.refresh(Path::new("/proc")).unwrap();
        assert!(total(&usage) - before >= 60_000_000);
        let (user, system) = Stat::read(Path::new("/proc")).cpu_ns().unwrap();
        // Two numbers cut to whole ticks, and other tests that run meanwhile.
        assert!((user + system).abs_diff(total(&usage)) < 500_000_000, "{user} + {system} against {}", total(&usage));
    }

    #[test]
    fn the_instance_is_the_node_or_random() {
        let named = attributes("node-1", &[]);
        assert_eq!(named.text("service.instance.id"), Some("node-1"));
        assert_eq!(named.text("service.name"), Some("podscope-agent"));
        let labels: Vec<_> = named.list.iter().filter(|attribute| attribute.label).map(|a| &*a.key).collect();
        assert_eq!(labels, Entity::Agent.labels());
        let random = attributes("", &[]).text("service.instance.id").unwrap().to_owned();
        let dashes: Vec<_> = random.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((random.len(), dashes, &random[14..15]), (36, vec![8, 13, 18, 23], "4"));
        assert!("89ab".contains(&random[19..20]), "{random}");
        assert_ne!(attributes("", &[]).text("service.instance.id"), Some(&*random));
    }

    #[test]
    fn given_attributes_go_before_our_own() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let pairs = [
            pair("service.name", "mine"),
            pair("k8s.cluster.name", "c"),
            pair("k8s.cluster.name", "d"),
            pair("k8s.node.name", "forged"),
        ];
        let attributes = attributes("node-1", &pairs);
        assert_eq!(attributes.text("service.name"), Some("mine"));
        assert_eq!(attributes.text("k8s.cluster.name"), Some("d"));
        assert_eq!(attributes.text("k8s.node.name"), Some("node-1"));
        assert_eq!(attributes.list.len(), 5);
    }
}
