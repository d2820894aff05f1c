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
const TRACED: [MetricId; 8] = [
    id::PROCESS_BLOCKED_TIME,
    id::EXECUTABLE_BLOCKED_TIME,
    id::CONTAINER_BLOCKED_TIME,
    id::CONTAINER_RUN_QUEUE_WAIT,
    id::VM_BLOCKED_TIME,
    id::VCPU_BLOCKED_TIME,
    id::VCPU_READY,
    id::CULPRIT_TIME,
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
