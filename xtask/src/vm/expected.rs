//! What is expected of every kernel: the one table that guests are held against.

use super::kernels::KERNELS;

/// What a probe is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Attached.
    Up,
    /// Off, with a reason that contains this.
    Off(&'static str),
    /// Absent, with a reason that contains this.
    Absent(&'static str),
}

use Expected::{Absent, Off, Up};

const COUNTED: Expected = Off("the kernel itself counts run-queue waits");

/// A test loads the module and sees that it is attached then.
const LATER: Expected = Off("kvm is not loaded");

/// Every probe on every kernel, in the order of [`KERNELS`].
#[rustfmt::skip]
pub const PROBES: &[(&str, [Expected; KERNELS.len()])] = &[
    //                                5.10     6.1      6.12     7.2
    ("sched_switch",                  [Up,      Up,      Up,      Up]),
    ("sched_wakeup",                  [COUNTED, COUNTED, COUNTED, COUNTED]),
    ("sched_wakeup_new",              [COUNTED, COUNTED, COUNTED, COUNTED]),
    ("sched_process_fork",            [Up,      Up,      Up,      Up]),
    ("sched_process_exec",            [Up,      Up,      Up,      Up]),
    ("sched_process_exit",            [Up,      Up,      Up,      Up]),
    ("cgroup_mkdir",                  [Up,      Up,      Up,      Up]),
    ("cgroup_rmdir",                  [Up,      Up,      Up,      Up]),
    ("cgroup_rename",                 [Up,      Up,      Up,      Up]),
    ("cgroup_attach_task",            [Up,      Up,      Up,      Up]),
    ("mark_victim",                   [Up,      Up,      Up,      Up]),
    ("mm_vmscan_direct_reclaim_begin", [Up,     Up,      Up,      Up]),
    ("mm_vmscan_direct_reclaim_end",  [Up,      Up,      Up,      Up]),
    ("mm_vmscan_memcg_reclaim_begin", [Up,      Up,      Up,      Up]),
    ("mm_vmscan_memcg_reclaim_end",   [Up,      Up,      Up,      Up]),
    ("kvm_entry",                     [LATER,   LATER,   LATER,   LATER]),
    ("kvm_vcpu_wakeup",               [LATER,   LATER,   LATER,   LATER]),
    ("kvm_exit",                      [LATER,   LATER,   LATER,   LATER]),
    ("task",                          [Up,      Up,      Up,      Up]),
];

impl Expected {
    /// Whether a probe of that state and reason is as expected.
    pub(crate) fn is_met(self, state: &str, reason: &str) -> bool {
        match self {
            Up => state == "up",
            Off(because) => state == "off" && reason.contains(because),
            Absent(because) => state == "absent" && reason.contains(because),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_its_reason_is_not_expected() {
        assert!(Up.is_met("up", "") && !Up.is_met("off", ""));
        assert!(COUNTED.is_met("off", "the kernel itself counts run-queue waits"));
        assert!(!COUNTED.is_met("off", "left out by --without-probe"));
        assert!(!COUNTED.is_met("absent", "the kernel itself counts run-queue waits"));
        assert!(!Absent("no such hook").is_met("absent", "cannot attach"));
    }

    #[test]
    fn every_program_stands_in_the_table_once() {
        let mut names: Vec<_> = PROBES.iter().map(|(name, _)| *name).collect();
        let mut programs = podscope_catalog::attribute::PROGRAM.values.to_vec();
        names.sort_unstable();
        programs.sort_unstable();
        assert_eq!(names, programs);
    }
}
