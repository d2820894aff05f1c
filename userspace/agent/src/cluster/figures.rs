//! metrics-server's figures: how much CPU time was used over which window, and how large the working set was when.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use podscope_cluster::Quantity;
use podscope_cluster::kubelet::{Reading, Resource, Whose};
use podscope_cluster::metrics::{NodeMetrics, PodMetrics, Taken};

const NS_PER_MS: u64 = 1_000_000;

/// CPU use over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// CPUs on average.
    pub cores: f64,
    /// Begin of the window, ns since the Unix epoch.
    pub begin_ns: u64,
    /// Its end.
    pub end_ns: u64,
}

/// What is said of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// CPU use, where two readings are known.
    pub cpu: Option<Rate>,
    /// Bytes of working set, and when, ns since the Unix epoch.
    pub working_set: Option<(u64, u64)>,
}

/// What is said of all, with the readings from which the next rates are taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By whom it is about.
    pub all: HashMap<Whose, Figure>,
    readings: HashMap<Whose, Reading>,
}

/// Since the Unix epoch; 0 before it.
pub(super) fn unix_ns(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Figures {
    /// The kubelet's counters become rates, as metrics-server makes them: from the last two readings at different times.
    /// `now_ns` stands for the time of a sample that has none, or an impossible one.
    pub fn of_kubelet(resource: Resource, before: &Self, now_ns: u64) -> Self {
        let given = |ms: i64| u64::try_from(ms).ok().filter(|&ms| ms > 0)?.checked_mul(NS_PER_MS);
        let time = |ms: i64| given(ms).unwrap_or(now_ns);
        let mut new = Self::default();
        for (whose, reading) in resource.readings {
            let last = before.readings.get(&whose);
            let known = before.all.get(&whose).and_then(|figure| figure.cpu);
            let (mut cpu, mut kept) = (None, reading);
            if let (Some((seconds, at)), Some((earlier, then))) = (reading.cpu, last.and_then(|last| last.cpu)) {
                let (begin_ns, end_ns) = (time(then), time(at));
                if end_ns > begin_ns && seconds >= earlier {
                    let cores = (seconds - earlier) / ((end_ns - begin_ns) as f64 / 1e9);
                    cpu = Some(Rate { cores, begin_ns, end_ns });
                } else if end_ns == begin_ns {
                    // The kubelet has not read it again since.
                    (cpu, kept.cpu) = (known, Some((earlier, then)));
                }
            }
            let working_set = reading.working_set.map(|(bytes, at)| (bytes, time(at)));
            new.all.insert(whose.clone(), Figure { cpu, working_set });
            new.readings.insert(whose, kept);
        }
        new
    }

    /// From metrics.k8s.io. A pod is what its containers are together.
    pub fn of_api(node: &NodeMetrics, pods: &[PodMetrics]) -> Self {
        let mut new = Self::default();
        new.all.insert(Whose::Node, figure(&node.taken, node.usage.cpu, node.usage.memory));
        for PodMetrics { metadata, taken, containers } in pods {
            let sum = |amount: fn(&podscope_cluster::Amounts) -> Option<Quantity>| {
                let each = containers.iter().filter_map(|container| amount(&container.usage)).map(Quantity::nanos);
                (!containers.is_empty()).then(|| Quantity::from_nanos(each.fold(0, i128::saturating_add)))
            };
            let (namespace, pod) = (metadata.namespace.clone(), metadata.name.clone());
            for container in containers {
                let (namespace, pod) = (namespace.clone(), pod.clone());
                let whose = Whose::Container { namespace, pod, container: container.name.clone() };
                new.all.insert(whose, figure(taken, container.usage.cpu, container.usage.memory));
            }
            let whole = figure(taken, sum(|usage| usage.cpu), sum(|usage| usage.memory));
            new.all.insert(Whose::Pod { namespace, pod }, whole);
        }
        new
    }
}

fn figure(taken: &Taken, cpu: Option<Quantity>, memory: Option<Quantity>) -> Figure {
    let end_ns = unix_ns(taken.timestamp);
    let begin_ns = end_ns.saturating_sub(taken.window.as_nanos() as u64);
    Figure {
        cpu: cpu.map(|cpu| Rate { cores: cpu.as_f64(), begin_ns, end_ns }),
        working_set: memory.and_then(Quantity::whole).map(|bytes| (bytes, end_ns)),
    }
}

#[cfg(test)]
mod tests;
