//! The agent's own figures of the last minutes: what a counter was at an instant between two collections.

use std::collections::{HashMap, VecDeque};

use super::figures::Rate;

/// How far back it reaches; metrics-server's window is 15 s to a minute, and its figures are up to a minute old.
const REACH_NS: u64 = 240_000_000_000;
/// Least time between two samples that are kept.
const STEP_NS: u64 = 2_400_000_000;
/// A wall clock that moves so much against the other one was set.
const SET_NS: i64 = 200_000_000;

/// What a subject had used and held; what is not known is no number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    unix_ns: u64,
    /// CPU seconds so far.
    cpu: f64,
    /// Bytes.
    working_set: f64,
}

/// Samples by subject.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: HashMap<Box<str>, VecDeque<Sample>>,
    /// Wall clock less monotonic clock, at the last collection.
    offset_ns: Option<i64>,
    now_ns: u64,
}

impl History {
    /// A new collection. Where the wall clock was set, instants before it cannot be compared any more.
    pub(super) fn begin(&mut self, unix_ns: u64, monotonic_ns: u64) {
        let offset = unix_ns as i64 - monotonic_ns as i64;
        if self.offset_ns.replace(offset).is_some_and(|before| (offset - before).abs() > SET_NS) {
            self.samples.clear();
        }
        self.now_ns = unix_ns;
    }

    /// What a subject has now: CPU seconds, bytes.
    pub(super) fn note(&mut self, subject: &str, cpu: Option<f64>, working_set: Option<u64>) {
        let working_set = working_set.map_or(f64::NAN, |bytes| bytes as f64);
        let sample = Sample { unix_ns: self.now_ns, cpu: cpu.unwrap_or(f64::NAN), working_set };
        let Some(samples) = self.samples.get_mut(subject) else {
            self.samples.insert(subject.into(), VecDeque::from([sample]));
            return;
        };
        // The newest always stays; the one before it only if it is far enough from its own predecessor.
        if let [.., before, last] = samples.make_contiguous()
            && last.unix_ns.saturating_sub(before.unix_ns) < STEP_NS
        {
            samples.pop_back();
        }
        samples.push_back(sample);
        let oldest = self.now_ns.saturating_sub(REACH_NS);
        while samples.front().is_some_and(|sample| sample.unix_ns < oldest) {
            samples.pop_front();
        }
    }

    /// Forgets who was not noted in this collection.
    pub(super) fn end(&mut self) {
        let now_ns = self.now_ns;
        self.samples.retain(|_, samples| samples.back().is_some_and(|sample| sample.unix_ns == now_ns));
    }

    /// CPUs used on average over the same window; `None` where it is not wholly known.
    pub(super) fn cores(&self, subject: &str, window: &Rate) -> Option<f64> {
        let at = |unix_ns| self.at(subject, unix_ns, |sample| sample.cpu);
        let span = window.end_ns.checked_sub(window.begin_ns).filter(|&span| span > 0)?;
        let used = at(window.end_ns)? - at(window.begin_ns)?;
        Some((used / (span as f64 / 1e9)).max(0.0))
    }

    /// Bytes held at an instant.
    pub(super) fn working_set(&self, subject: &str, unix_ns: u64) -> Option<f64> {
        self.at(subject, unix_ns, |sample| sample.working_set)
    }

    /// A value at an instant, on the straight line between the samples around it.
    fn at(&self, subject: &str, unix_ns: u64, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.samples.get(subject)?;
        let behind = samples.partition_point(|sample| sample.unix_ns < unix_ns);
        let after = samples.get(behind)?;
        if after.unix_ns == unix_ns {
            return Some(value(after)).filter(|value| value.is_finite());
        }
        let before = samples.get(behind.checked_sub(1)?)?;
        let part = (unix_ns - before.unix_ns) as f64 / (after.unix_ns - before.unix_ns) as f64;
        let (from, to) = (value(before), value(after));
        Some(from + (to - from) * part).filter(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests;
