//! What `podscope-agent -M` prints: every metric there is, without privilege, cluster or kernel feature.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use podscope_catalog::{Entity, id, reference};

use crate::accounting::points::Points;
use crate::accounting::split::CpuSplit;
use crate::export::prometheus::{Families, Format, render};
use crate::own::Usage;
use crate::proc_self::{Stat, Status, text, value};
use crate::snapshot::{Attributes, Point, Resource, ResourceAttribute, Snapshot};

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
            render(&own(Path::new("/proc")), Format::Text004, Families::Every, &mut page);
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
    let start_ns = now_ns.saturating_sub(files.uptime_ns().unwrap_or(0));
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
            resource(Entity::Agent, Vec::new(), files.usage().points()),
        ],
        ..Snapshot::default()
    }
}

/// What is read of the own process; empty where unreadable.
struct Files {
    stat: Stat,
    status: Status,
    io: String,
    schedstat: String,
    uptime: String,
    descriptors: Option<u64>,
}

impl Files {
    fn read(proc: &Path) -> Self {
        Self {
            stat: Stat::read(proc),
            status: Status::read(proc),
            io: text(proc, "self/io"),
            schedstat: text(proc, "self/schedstat"),
            uptime: text(proc, "uptime"),
            // One of them is open only for the counting.
            descriptors: fs::read_dir(proc.join("self/fd"))
                .ok()
                .map(|entries| entries.count().saturating_sub(1) as u64),
        }
    }

    fn process_points(&self) -> Vec<Point> {
        let (stat, status) = (&self.stat, &self.status);
        let data = status.kilobytes("VmData").zip(status.kilobytes("VmStk")).map(|(data, stack)| data + stack);
        let children = stat.children_ns();
        let mut points = Points::default();
        points
            .known(id::PROCESS_MEMORY_USAGE, 0, status.resident())
            .known(id::PROCESS_MEMORY_VIRTUAL, 0, status.kilobytes("VmSize"))
            .known(id::PROCESS_MEMORY_PEAK, 0, status.kilobytes("VmHWM"))
            .known(id::PROCESS_MEMORY_TEXT, 0, status.kilobytes("VmExe"))
            .known(id::PROCESS_MEMORY_DATA, 0, data)
            .known_seconds(id::PROCESS_CHILDREN_CPU_TIME, 0, children.map(|(user, _)| user))
            .known_seconds(id::PROCESS_CHILDREN_CPU_TIME, 1, children.map(|(_, system)| system))
            .known(id::PROCESS_CONTEXT_SWITCHES, 0, status.value("voluntary_ctxt_switches"))
            .known(id::PROCESS_CONTEXT_SWITCHES, 1, status.value("nonvoluntary_ctxt_switches"))
            .known(id::PROCESS_PAGING_FAULTS, 0, stat.field(10))
            .known(id::PROCESS_PAGING_FAULTS, 1, stat.field(12))
            .known(id::PROCESS_THREAD_COUNT, 0, status.value("Threads"))
            .known(id::PROCESS_DISK_IO, 0, value(&self.io, "read_bytes"))
            .known(id::PROCESS_DISK_IO, 1, value(&self.io, "write_bytes"))
            .known(id::PROCESS_DISK_OPERATIONS, 0, value(&self.io, "syscr"))
            .known(id::PROCESS_DISK_OPERATIONS, 1, value(&self.io, "syscw"))
            .known(id::PROCESS_FILE_DESCRIPTOR_COUNT, 0, self.descriptors)
            .known_seconds(id::PROCESS_UPTIME, 0, self.uptime_ns())
            .known_seconds(id::PROCESS_RUN_QUEUE_WAIT_TIME, 0, self.schedstat(1));
        for (kind, key) in ["RssAnon", "RssFile", "RssShmem", "VmSwap", "HugetlbPages"].into_iter().enumerate() {
            points.known(id::PROCESS_MEMORY_KIND, kind, status.kilobytes(key));
        }
        if let Some(cpu) = self.cpu() {
            points.cpu(id::PROCESS_CPU_TIME, &cpu);
        }
        points.finish()
    }

    fn usage(&self) -> Usage {
        Usage { cpu: self.cpu(), resident: self.status.resident() }
    }

    /// The exact run time where the kernel gives it, split like the ticks.
    fn cpu(&self) -> Option<CpuSplit> {
        let (user, system) = self.stat.cpu_ns()?;
        let run = self.schedstat(0).filter(|&ns| ns > 0).unwrap_or(user.saturating_add(system));
        let mut cpu = CpuSplit::default();
        cpu.update(run, user, system);
        Some(cpu)
    }

    /// Time since the process started.
    fn uptime_ns(&self) -> Option<u64> {
        let up: f64 = self.uptime.split_ascii_whitespace().next()?.parse().ok()?;
        Some(((up * 1e9) as u64).saturating_sub(self.stat.start_ns()?))
    }

    /// A field of `schedstat`, ns.
    fn schedstat(&self, index: usize) -> Option<u64> {
        self.schedstat.split_ascii_whitespace().nth(index)?.parse().ok()
    }
}

/// The name of this very program.
pub(crate) fn executable() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "podscope-agent".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Value;
    use podscope_catalog::prometheus::family_name;
    use podscope_catalog::{METRICS, MetricId};

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
