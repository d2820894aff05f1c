//! Scheduling detail: what is looked at in every context switch, and what is missing where that is switched off.
//!
//! Without it a switch costs next to nothing, and all that the kernel counts by itself is still exact: CPU time,
//! run-queue wait as a sum, switches, faults. What has to be traced is then absent, not zero.

use clap::ValueEnum;
use podscope_catalog::{MetricId, id};
use serde::Serialize;

use crate::snapshot::Resource;

/// Whether context switches are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Each one: histograms of run-queue wait, uninterruptible sleep.
    On,
    /// A thread's last one only.
    Off,
}

/// What every switch is looked at for.
const TRACED: [MetricId; 11] = [
    id::PROCESS_BLOCKED_TIME,
    id::EXECUTABLE_BLOCKED_TIME,
    id::CONTAINER_BLOCKED_TIME,
    id::CONTAINER_RUN_QUEUE_WAIT,
    id::VM_BLOCKED_TIME,
    id::VCPU_BLOCKED_TIME,
    id::VCPU_READY,
    id::CULPRIT_TIME,
    id::VM_EXITS,
    id::VCPU_EXITS,
    id::VCPU_STATE_TIME,
];
/// The same on a kernel that does not count run-queue wait by itself.
const WAITS: [MetricId; 6] = [
    id::PROCESS_RUN_QUEUE_WAIT_TIME,
    id::EXECUTABLE_RUN_QUEUE_WAIT_TIME,
    id::CONTAINER_RUN_QUEUE_WAIT_TIME,
    id::VM_RUN_QUEUE_WAIT_TIME,
    id::VM_THREAD_RUN_QUEUE_WAIT_TIME,
    id::VCPU_READY_TIME,
];

/// Scheduling detail as it is, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Whether every switch is looked at.
    on: bool,
    /// Names of the metrics that are missing.
    absent: Vec<&'static str>,
    #[serde(skip)]
    ids: Vec<MetricId>,
}

impl Detail {
    /// `kernel_counts_waits`: the kernel keeps each task's run-queue wait (`sched_info`).
    pub fn new(choice: Choice, kernel_counts_waits: bool) -> Self {
        let ids = match choice {
            Choice::On => Vec::new(),
            Choice::Off if kernel_counts_waits => TRACED.to_vec(),
            Choice::Off => [&TRACED[..], &WAITS[..]].concat(),
        };
        Self { on: choice == Choice::On, absent: ids.iter().map(|id| id.metric().name).collect(), ids }
    }

    /// Whether every switch is looked at.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Takes out what was not measured.
    pub fn leave_out(&self, resources: &mut [Resource]) {
        if self.on {
            return;
        }
        for resource in resources {
            resource.points.retain(|point| !self.ids.contains(&point.metric));
        }
    }
}

impl Default for Detail {
    fn default() -> Self {
        Self::new(Choice::On, true)
    }
}

#[cfg(test)]
mod tests {
    use podscope_catalog::Instrument;

    use super::*;
    use crate::snapshot::{Point, Value};

    #[test]
    fn what_is_traced_at_switches_is_absent_without_it() {
        let names = |choice, counts| Detail::new(choice, counts).absent;
        assert!(names(Choice::On, false).is_empty());
        let all = MetricId::all().map(|id| id.metric());
        let (mut traced, mut waits) = (Vec::new(), Vec::new());
        for metric in all {
            let kvm = [".exits", ".state.time", ".culprit.time"].iter().any(|end| metric.name.ends_with(end));
            if kvm || metric.name.ends_with(".blocked.time") || metric.instrument == Instrument::Histogram {
                traced.push(metric.name);
            } else if metric.name.ends_with(".run_queue.wait.time") || metric.name.ends_with(".ready.time") {
                waits.push(metric.name);
            }
        }
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(names(Choice::Off, true)), sorted(traced.clone()));
        assert_eq!(sorted(names(Choice::Off, false)), sorted([traced, waits].concat()));
    }

    #[test]
    fn points_that_were_not_measured_are_left_out() {
        let points = [id::PROCESS_BLOCKED_TIME, id::PROCESS_RUN_QUEUE_WAIT_TIME, id::PROCESS_CONTEXT_SWITCHES]
            .map(|metric| Point { metric, combination: 0, value: Value::Int(0) });
        let resource = Resource {
            entity: podscope_catalog::Entity::Process,
            attributes: Default::default(),
            start_ns: 0,
            kernel_start_ns: 0,
            ended: false,
            points: points.to_vec(),
        };
        let left = |detail: &Detail| {
            let mut resources = [resource.clone()];
            detail.leave_out(&mut resources);
            resources[0].points.len()
        };
        let lengths = [(Choice::On, false), (Choice::Off, true), (Choice::Off, false)]
            .map(|(choice, counts)| left(&Detail::new(choice, counts)));
        assert_eq!(lengths, [3, 2, 1]);
    }
}
