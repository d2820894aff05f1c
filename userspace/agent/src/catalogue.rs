//! What `podscope-agent -M` prints: every metric there is, without privilege, cluster or kernel feature.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use podscope_catalog::{Entity, MetricId, id, reference};

use crate::export::prometheus::{Families, Format, render_families};
use crate::snapshot::{Attributes, Point, Resource, ResourceAttribute, Snapshot, Value};

/// The forms of the catalogue (`--format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Prometheus text: HELP and TYPE of every metric, with samples of this very process where it has them.
    #[default]
    Prometheus,
    /// Aligned columns, for people.
    Table,
    /// An array of objects, for machines.
    Json,
    /// METRICS.md.
    Markdown,
}

/// The catalogue as text.
pub fn print(form: Form) -> String {
    match form {
        Form::Prometheus => {
            let mut page = Vec::new();
            render_families(&own(Path::new("/proc")), Format::Text004, Families::Every, &mut page);
            String::from_utf8_lossy(&page).into_owned()
        }
        Form::Table => reference::table(),
        Form::Json => reference::json(),
        Form::Markdown => reference::markdown(),
    }
}

/// A snapshot of the calling process alone, as a process and as the agent; what cannot be read is left out.
///
/// `proc`: where procfs is mounted. Reading is by /proc because the task iterator needs privilege; a process of one
/// thread has the same figures in both.
pub fn own(proc: &Path) -> Snapshot {
    let files = Files::read(proc);
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let start_ns = now_ns.saturating_sub((files.uptime().unwrap_or_default() * 1e9) as u64);
    let resource = |entity, list, points| Resource {
        entity,
        attributes: Arc::new(Attributes::new(list)),
        start_ns,
        kernel_start_ns: start_ns,
        ended: false,
        points,
    };
    let process = vec![
        ResourceAttribute::label("process.executable.name", executable()),
        ResourceAttribute::label_int("process.pid", i64::from(std::process::id())),
    ];
    Snapshot {
        time_ns: now_ns,
        resources: vec![
            resource(Entity::Process, process, files.process_points()),
            resource(Entity::Agent, Vec::new(), files.agent_points()),
        ],
    }
}

/// The texts of /proc/self; empty where unreadable.
struct Files {
    stat: String,
    status: String,
    io: String,
    schedstat: String,
    uptime: String,
    descriptors: Option<usize>,
}

/// Ticks per second in /proc (USER_HZ), the same on every architecture that has BTF.
const USER_HZ: f64 = 100.0;

impl Files {
    fn read(proc: &Path) -> Self {
        let text = |name| fs::read_to_string(proc.join(name)).unwrap_or_default();
        Self {
            stat: text("self/stat"),
            status: text("self/status"),
            io: text("self/io"),
            schedstat: text("self/schedstat"),
            uptime: text("uptime"),
            // One of them is open only for the counting.
            descriptors: fs::read_dir(proc.join("self/fd")).ok().map(|entries| entries.count().saturating_sub(1)),
        }
    }

    fn process_points(&self) -> Vec<Point> {
        let mut points = Points::default();
        points.cpu(id::PROCESS_CPU_TIME, self.cpu_seconds());
        points.int(id::PROCESS_MEMORY_USAGE, 0, self.resident());
        points.int(id::PROCESS_MEMORY_VIRTUAL, 0, self.kilobytes("VmSize"));
        points.int(id::PROCESS_MEMORY_PEAK, 0, self.kilobytes("VmHWM"));
        for (kind, key) in (0..).zip(["RssAnon", "RssFile", "RssShmem", "VmSwap", "HugetlbPages"]) {
            points.int(id::PROCESS_MEMORY_KIND, kind, self.kilobytes(key));
        }
        points.int(id::PROCESS_CONTEXT_SWITCHES, 0, value(&self.status, "voluntary_ctxt_switches"));
        points.int(id::PROCESS_CONTEXT_SWITCHES, 1, value(&self.status, "nonvoluntary_ctxt_switches"));
        points.int(id::PROCESS_PAGING_FAULTS, 0, self.stat_field(10));
        points.int(id::PROCESS_PAGING_FAULTS, 1, self.stat_field(12));
        points.int(id::PROCESS_THREAD_COUNT, 0, value(&self.status, "Threads"));
        points.int(id::PROCESS_DISK_IO, 0, value(&self.io, "read_bytes"));
        points.int(id::PROCESS_DISK_IO, 1, value(&self.io, "write_bytes"));
        points.int(id::PROCESS_DISK_OPERATIONS, 0, value(&self.io, "syscr"));
        points.int(id::PROCESS_DISK_OPERATIONS, 1, value(&self.io, "syscw"));
        points.int(id::PROCESS_FILE_DESCRIPTOR_COUNT, 0, self.descriptors.map(|count| count as i64));
        points.double(id::PROCESS_UPTIME, 0, self.uptime());
        points.double(id::PROCESS_RUN_QUEUE_WAIT_TIME, 0, self.schedstat(1));
        points.0
    }

    fn agent_points(&self) -> Vec<Point> {
        let mut points = Points::default();
        points.cpu(id::AGENT_CPU_TIME, self.cpu_seconds());
        points.int(id::AGENT_MEMORY_USAGE, 0, self.resident());
        points.0
    }

    /// User and system seconds: the exact run time where the kernel gives it, split like the ticks.
    fn cpu_seconds(&self) -> Option<[f64; 2]> {
        let user = self.stat_field(14)? as f64 / USER_HZ;
        let system = self.stat_field(15)? as f64 / USER_HZ;
        let ticks = user + system;
        let total = self.schedstat(0).filter(|&seconds| seconds > 0.0).unwrap_or(ticks);
        let system = if ticks > 0.0 { total * system / ticks } else { 0.0 };
        Some([total - system, system])
    }

    /// Bytes; hugetlb pages are not part of the kernel's resident size.
    fn resident(&self) -> Option<i64> {
        Some(self.kilobytes("VmRSS")? + self.kilobytes("HugetlbPages").unwrap_or(0))
    }

    /// Seconds since the process started.
    fn uptime(&self) -> Option<f64> {
        let up: f64 = self.uptime.split_ascii_whitespace().next()?.parse().ok()?;
        Some((up - self.stat_field(22)? as f64 / USER_HZ).max(0.0))
    }

    /// A field of `stat` by its number in proc(5); the name in field 2 may hold anything, a parenthesis too.
    fn stat_field(&self, number: usize) -> Option<i64> {
        let (_, after_name) = self.stat.rsplit_once(')')?;
        after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
    }

    /// A field of `schedstat`, ns, as seconds.
    fn schedstat(&self, index: usize) -> Option<f64> {
        let ns: u64 = self.schedstat.split_ascii_whitespace().nth(index)?.parse().ok()?;
        Some(ns as f64 / 1e9)
    }

    /// A size of `status`, as bytes.
    fn kilobytes(&self, key: &str) -> Option<i64> {
        value(&self.status, key)?.checked_mul(1024)
    }
}

fn executable() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "podscope-agent".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The first number on the line `key: number …`.
fn value(text: &str, key: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// Points in the making; a figure that is missing makes none.
#[derive(Default)]
struct Points(Vec<Point>);

impl Points {
    fn int(&mut self, metric: MetricId, combination: u8, value: Option<i64>) {
        self.0.extend(value.map(|value| Point { metric, combination, value: Value::Int(value) }));
    }

    fn double(&mut self, metric: MetricId, combination: u8, value: Option<f64>) {
        self.0.extend(value.map(|value| Point { metric, combination, value: Value::Double(value) }));
    }

    fn cpu(&mut self, metric: MetricId, seconds: Option<[f64; 2]>) {
        for (combination, seconds) in (0..).zip(seconds.into_iter().flatten()) {
            self.double(metric, combination, Some(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podscope_catalog::METRICS;
    use podscope_catalog::prometheus::family_name;

    fn value_of(snapshot: &Snapshot, metric: MetricId, combination: u8) -> f64 {
        let mut points = snapshot.resources.iter().flat_map(|r| &r.points);
        match points.find(|p| p.metric == metric && p.combination == combination).map(|p| &p.value) {
            Some(Value::Int(value)) => *value as f64,
            Some(Value::Double(value)) => *value,
            other => panic!("{}: {other:?}", metric.metric().name),
        }
    }

    #[test]
    fn every_metric_is_described() {
        let page = print(Form::Prometheus);
        for metric in METRICS {
            let name = family_name(metric);
            assert!(page.contains(&format!("# HELP {name} {}\n# TYPE {name} ", metric.description)), "{name}");
        }
        crate::export::prometheus::tests::assert_promtool_accepts(&page);
    }

    /// A process with hugetlb pages, whose name was chosen to mislead.
    #[test]
    fn figures_are_those_of_the_files() {
        let own = own(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/proc"));
        for (metric, combination, want) in [
            // 0.6 s of run time, split 40 to 10.
            (id::PROCESS_CPU_TIME, 0, 0.48),
            (id::PROCESS_CPU_TIME, 1, 0.12),
            (id::PROCESS_MEMORY_USAGE, 0, (3_456.0 + 2_048.0) * 1024.0),
            (id::PROCESS_MEMORY_VIRTUAL, 0, 10_240.0 * 1024.0),
            (id::PROCESS_MEMORY_PEAK, 0, 4_000.0 * 1024.0),
            (id::PROCESS_MEMORY_KIND, 1, 3_000.0 * 1024.0),
            (id::PROCESS_MEMORY_KIND, 4, 2_048.0 * 1024.0),
            (id::PROCESS_CONTEXT_SWITCHES, 0, 21.0),
            (id::PROCESS_CONTEXT_SWITCHES, 1, 22.0),
            (id::PROCESS_PAGING_FAULTS, 0, 310.0),
            (id::PROCESS_PAGING_FAULTS, 1, 12.0),
            (id::PROCESS_DISK_IO, 1, 8_192.0),
            (id::PROCESS_DISK_OPERATIONS, 0, 31.0),
            (id::PROCESS_UPTIME, 0, 78.0),
            (id::PROCESS_RUN_QUEUE_WAIT_TIME, 0, 0.003_111_951),
            (id::AGENT_CPU_TIME, 1, 0.12),
        ] {
            let got = value_of(&own, metric, combination);
            assert!((got - want).abs() < 1e-9 * want.max(1.0), "{}: {got}, expected {want}", metric.metric().name);
        }
    }

    #[test]
    fn missing_files_leave_points_out() {
        let own = own(Path::new("/nonexistent"));
        assert!(own.resources.iter().all(|resource| resource.points.is_empty()));
    }

    /// The kernel's other interface, through `ps`, agrees about this very process.
    #[test]
    fn figures_of_this_process_agree_with_ps() {
        let pid = std::process::id().to_string();
        let ps = std::process::Command::new("ps").args(["-o", "vsz=,rss=,etimes=", "-p", &pid]).output();
        let ps = String::from_utf8(ps.expect("this test needs ps: apt-get install procps").stdout).unwrap();
        let ps: Vec<f64> = ps.split_ascii_whitespace().map(|field| field.parse().unwrap()).collect();
        let own = own(Path::new("/proc"));
        // Other tests run beside this one and allocate.
        let near = |metric, want: f64| {
            let got = value_of(&own, metric, 0);
            assert!(got > want / 4.0 && got < want * 4.0, "{}: {got}, ps says {want}", metric.metric().name);
        };
        near(id::PROCESS_MEMORY_VIRTUAL, ps[0] * 1024.0);
        near(id::PROCESS_MEMORY_USAGE, ps[1] * 1024.0);
        assert!((value_of(&own, id::PROCESS_UPTIME, 0) - ps[2]).abs() < 3.0);
    }
}
