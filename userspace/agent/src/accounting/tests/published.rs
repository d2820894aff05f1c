//! What a reader of cumulative streams with start times makes of what is published: increments, and zero where the
//! start is a new one. It must know everything exactly.

use std::collections::{HashMap, HashSet};

use podscope_abi::Counters;

use super::super::{Accounting, Container, ContainerKey, Ended, Outcome, Process, ProcessKey};

/// Who a process's stream is: what identifies it when it is published.
pub(super) type StreamKey = (ProcessKey, ContainerKey, u64);

/// A process's stream, over all its restarts.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    start_ns: u64,
    time_ns: u64,
    last: Counters,
    /// Sum of all increments.
    all: Counters,
}

#[derive(Default)]
pub(super) struct Published {
    streams: HashMap<StreamKey, Stream>,
    containers: HashMap<ContainerKey, Container>,
    /// Increments of all streams of a container.
    increments: HashMap<ContainerKey, Counters>,
    /// Series that ended with the last collection.
    pub(super) ended: Vec<Ended>,
}

/// No counter of `before` is larger than in `now`.
fn is_grown(now: &Counters, before: &Counters) -> bool {
    before.since(now) == Counters::ZERO
}

impl Published {
    /// Takes a collection.
    pub(super) fn take(&mut self, accounting: &Accounting, outcome: &Outcome) {
        let living = accounting.processes.iter();
        let ended = outcome.ended.iter().map(|ended| (&ended.key, &ended.process));
        let mut seen = HashSet::new();
        for (key, process) in living.chain(ended) {
            if let Some(stream) = self.take_process(key, process, accounting.now.unix_ns) {
                assert!(seen.insert(stream.clone()), "{stream:?} stands twice in one collection");
            }
        }
        for (key, container) in &accounting.containers {
            if let Some(before) = self.containers.insert(key.clone(), container.clone()) {
                check_growth(key, &before, container);
            }
            let mut sum = self.increments.get(key).copied().unwrap_or_default();
            sum.add(&container.remainder);
            assert_eq!(
                sum, container.sums,
                "{key:?}: streams and remainder are the sum {:?} {:?}",
                container.exported.run_ns, container.remainder.run_ns
            );
        }
        self.ended.clone_from(&outcome.ended);
    }

    fn take_process(&mut self, key: &ProcessKey, process: &Process, now: u64) -> Option<StreamKey> {
        let series = process.series.as_ref()?;
        let stream = (*key, series.container.clone(), series.exe);
        let before = self.streams.get(&stream).copied().unwrap_or_default();
        let published = series.published;
        let growth = if before.start_ns == series.start_ns {
            assert!(is_grown(&published, &before.last), "{stream:?} runs backwards");
            published.since(&before.last)
        } else {
            assert!(series.start_ns >= before.time_ns, "{stream:?} begins before it ended");
            published
        };
        let mut all = before.all;
        all.add(&growth);
        self.increments.entry(series.container.clone()).or_default().add(&growth);
        self.streams.insert(stream.clone(), Stream { start_ns: series.start_ns, time_ns: now, last: published, all });
        Some(stream)
    }

    /// No stream has more than what its process burned as this executable in this container. What arrives late of a
    /// thread that died while a collection read is its process's of then.
    pub(super) fn check(&self, truth: &HashMap<StreamKey, Counters>, late: &HashMap<ProcessKey, Counters>) {
        for (key, stream) in &self.streams {
            let mut burned = truth.get(key).copied().unwrap_or_default();
            burned.add(&late.get(&key.0).copied().unwrap_or_default());
            assert!(is_grown(&burned, &stream.all), "{key:?} has more than was burned there: {stream:?}, {burned:?}");
        }
    }

    /// A container begins anew; returns its last sums.
    pub(super) fn forget(&mut self, container: &ContainerKey) -> Option<Counters> {
        self.streams.retain(|(_, owner, _), _| owner != container);
        self.increments.remove(container);
        self.containers.remove(container).map(|container| container.sums)
    }
}

fn check_growth(key: &ContainerKey, before: &Container, now: &Container) {
    assert_eq!(before.start_ns, now.start_ns, "{key:?}");
    assert!(is_grown(&now.sums, &before.sums), "{key:?}: sums");
    assert!(is_grown(&now.remainder, &before.remainder), "{key:?}: remainder");
    let (cpu, cpu_before) = (now.remainder_cpu, before.remainder_cpu);
    assert!(cpu.user_ns >= cpu_before.user_ns && cpu.system_ns >= cpu_before.system_ns, "{key:?}: remainder");
    for (exe, before) in &before.executables {
        let now = &now.executables[exe];
        assert!(is_grown(&now.sums, &before.sums), "{key:?}: executable {exe}");
        assert!(now.cpu.user_ns >= before.cpu.user_ns && now.cpu.system_ns >= before.cpu.system_ns, "{key:?} {exe}");
        assert_eq!(super::super::container::lives_since(&before.lives, &now.lives), Default::default());
    }
}
