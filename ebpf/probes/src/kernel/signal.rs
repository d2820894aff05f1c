//! `struct signal_struct` (include/linux/sched/signal.h).

use podscope_abi::Counters;

use super::{copied, member};
use crate::maps::offset;

/// Threads that have not begun to exit. `atomic_t`, which is not dereferenced.
#[inline(always)]
pub(crate) fn live(signal: *const u8) -> u32 {
    copied(signal, offset!(signal_live))
}

/// Threads of the group.
#[inline(always)]
pub(crate) fn threads(signal: *const u8) -> u32 {
    member(signal, offset!(signal_threads))
}

/// Peak resident pages; set when the last thread begins to exit.
#[inline(always)]
pub(crate) fn peak_pages(signal: *const u8) -> u64 {
    member(signal, offset!(signal_maxrss))
}

/// CPU time of children that were waited for, and of theirs: user and system, ns.
#[inline(always)]
pub(crate) fn children(signal: *const u8) -> (u64, u64) {
    (member(signal, offset!(signal_cutime)), member(signal, offset!(signal_cstime)))
}

/// What the group's dead threads had used.
#[inline(always)]
pub(crate) fn dead_threads(signal: *const u8) -> Counters {
    Counters {
        run_ns: member(signal, offset!(signal_run)),
        user_ns: member(signal, offset!(signal_utime)),
        system_ns: member(signal, offset!(signal_stime)),
        wait_ns: 0,
        blocked_ns: 0,
        switches_voluntary: member(signal, offset!(signal_nvcsw)),
        switches_involuntary: member(signal, offset!(signal_nivcsw)),
        migrations: 0,
        faults_minor: member(signal, offset!(signal_min_flt)),
        faults_major: member(signal, offset!(signal_maj_flt)),
        read_bytes: member(signal, offset!(signal_read_bytes)),
        write_bytes: member(signal, offset!(signal_write_bytes)),
        read_calls: member(signal, offset!(signal_read_calls)),
        write_calls: member(signal, offset!(signal_write_calls)),
        reclaim_ns: 0,
        reclaims: 0,
    }
}
