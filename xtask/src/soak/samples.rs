//! What the agent holds, second by second, and whether that stays flat.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::page;
use crate::bench::agent::Agent;
use crate::bench::lab::median;
use crate::bench::proc;

/// What is looked at, in the order of [`Sample::values`].
pub(super) const CURVES: [Curve; 6] = [
    Curve { name: "resident", unit: "MB", slack: 1.0 },
    Curve { name: "descriptors", unit: "", slack: 2.0 },
    Curve { name: "threads", unit: "", slack: 1.0 },
    Curve { name: "books", unit: "", slack: 16.0 },
    Curve { name: "closed", unit: "", slack: 16.0 },
    Curve { name: "cgroups", unit: "", slack: 16.0 },
];
/// How much larger the last quarter may be than the second, besides a curve's slack.
const GROWTH: f64 = 0.05;

/// A figure over time.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// By how much the last quarter may be larger in any case.
    slack: f64,
}

/// All figures at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) values: [f64; CURVES.len()],
}

impl Sample {
    /// Looks at the agent from outside, and at its own count of map entries.
    pub(super) fn take(agent: &Agent, at: Duration) -> Result<Self> {
        let pid = agent.pid();
        let count = |folder: &str| -> Result<f64> {
            let path = format!("/proc/{pid}/{folder}");
            Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count() as f64)
        };
        let page = agent.metrics()?;
        let entries = |map| page::sum(&page, "podscope_agent_bpf_map_entries", &[("podscope_bpf_map", map)]);
        let resident = proc::resident(pid)?.0 / 1e6;
        let values = [resident, count("fd")?, count("task")?, entries("books"), entries("closed"), entries("cgroups")];
        Ok(Self { at, values })
    }
}

/// The median of a curve's second quarter, and that of its last one.
pub(super) fn quarters(samples: &[Sample], curve: usize) -> (f64, f64) {
    let part = |from: usize, to: usize| {
        let of = |quarter: usize| samples.len() * quarter / 4;
        let values: Vec<f64> = samples[of(from)..of(to)].iter().map(|sample| sample.values[curve]).collect();
        median(&values)
    };
    (part(1, 2), part(3, 4))
}

/// The curves that do not stay flat, in words.
pub(super) fn growing(samples: &[Sample]) -> Vec<String> {
    let verdict = |(index, curve): (usize, &Curve)| {
        let (early, late) = quarters(samples, index);
        let flat = late <= early * (1.0 + GROWTH) + curve.slack;
        (!flat).then(|| format!("{} grew from {early:.1} to {late:.1} {}", curve.name, curve.unit))
    };
    CURVES.iter().enumerate().filter_map(verdict).collect()
}

/// One line for each sample.
pub(super) fn csv(samples: &[Sample]) -> String {
    let head: Vec<&str> = CURVES.iter().map(|curve| curve.name).collect();
    let mut text = format!("seconds,{}\n", head.join(","));
    for sample in samples {
        let values: Vec<String> = sample.values.iter().map(|value| format!("{value:.6}")).collect();
        let values = values.iter().map(|value| value.trim_end_matches('0').trim_end_matches('.'));
        text.push_str(&format!("{},{}\n", sample.at.as_secs(), values.collect::<Vec<_>>().join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(u64) -> f64) -> Vec<Sample> {
        let sample = |second| Sample {
            at: Duration::from_secs(second),
            values: [resident(second), 20.0, 6.0, 100.0, 3.0, 40.0],
        };
        (0..400).map(sample).collect()
    }

    #[test]
    fn a_curve_that_settles_is_flat_and_one_that_goes_on_is_not() {
        // Grows in its first quarter only, and a single peak is no growth.
        let settles = samples(|second| if second == 390 { 900.0 } else { 20.0 + second.min(100) as f64 / 10.0 });
        assert_eq!(growing(&settles), [] as [&str; 0]);
        let leaks = samples(|second| 20.0 + second as f64 / 40.0);
        assert_eq!(growing(&leaks), ["resident grew from 23.7 to 28.7 MB"]);
    }

    #[test]
    fn samples_are_lines() {
        let text = csv(&samples(|second| second as f64 + 0.25)[..2]);
        let lines = [
            "seconds,resident,descriptors,threads,books,closed,cgroups",
            "0,0.25,20,6,100,3,40",
            "1,1.25,20,6,100,3,40",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }
}
