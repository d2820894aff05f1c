//! The additive counters of a task, and the books they are closed into.

use bytemuck::{Pod, Zeroable};

/// Declares [`Counters`] once: its fields, and the arithmetic that has to touch each of them.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What a task has used; every field only grows while a task lives.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct Counters { $($(#[$doc])* pub $field: u64,)* }

        impl Counters {
            /// All zero.
            pub const ZERO: Self = Self { $($field: 0,)* };

            /// `self − earlier`, per field, never below zero.
            #[inline(always)]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field),)* }
            }

            /// Adds `other` to each field, stopping at the type's bound.
            #[inline(always)]
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)*
            }

            /// The smaller of both, per field.
            #[inline(always)]
            pub fn min(&self, other: &Self) -> Self {
                Self { $($field: if self.$field < other.$field { self.$field } else { other.$field },)* }
            }

            /// The larger of both, per field.
            #[inline(always)]
            pub fn max(&self, other: &Self) -> Self {
                Self { $($field: if self.$field > other.$field { self.$field } else { other.$field },)* }
            }
        }
    };
}

counters! {
    /// Time on a CPU, ns (`task_struct.se.sum_exec_runtime`).
    run_ns,
    /// User time by the kernel's accounting, ns (`task_struct.utime`); only its ratio to `system_ns` is used.
    user_ns,
    /// System time by the kernel's accounting, ns (`task_struct.stime`).
    system_ns,
    /// Time runnable but not running, ns (`task_struct.sched_info.run_delay`), throttling and preemption included.
    wait_ns,
    /// Time in uninterruptible sleep, ns (traced; `TASK_IDLE` excluded).
    blocked_ns,
    /// Voluntary context switches (`task_struct.nvcsw`).
    switches_voluntary,
    /// Involuntary context switches (`task_struct.nivcsw`).
    switches_involuntary,
    /// Moves to another CPU (`task_struct.se.nr_migrations`).
    migrations,
    /// Page faults served without I/O (`task_struct.min_flt`).
    faults_minor,
    /// Page faults that needed I/O (`task_struct.maj_flt`).
    faults_major,
    /// Bytes fetched from storage (`task_struct.ioac.read_bytes`).
    read_bytes,
    /// Bytes sent towards storage (`task_struct.ioac.write_bytes`).
    write_bytes,
    /// Read system calls (`task_struct.ioac.syscr`).
    read_calls,
    /// Write system calls (`task_struct.ioac.syscw`).
    write_calls,
    /// Time stalled in direct or memory-cgroup reclaim, ns (traced).
    reclaim_ns,
    /// Stalls in direct or memory-cgroup reclaim (traced).
    reclaims,
}
const _: () = assert!(size_of::<Counters>() == Counters::LEN * 8);

impl Counters {
    /// Number of counters: seen as memory, they are an array of so many `u64`.
    pub const LEN: usize = 16;
}

/// Whose book: a cgroup and an executable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct BookKey {
    /// Inode of the cgroup directory in the hierarchy whose CPU counter we conserve against.
    pub cgroup: u64,
    /// Executable id, or [`crate::EXE_OTHER`].
    pub exe: u64,
}
const _: () = assert!(size_of::<BookKey>() == 16);

/// How processes came to and left a (cgroup, executable).
///
/// Started by fork + exec + move − ended by exit + exec + move = processes alive there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Lives {
    /// Began by fork.
    pub started_fork: u64,
    /// Became this executable by exec.
    pub started_exec: u64,
    /// Moved in from another cgroup.
    pub started_moved: u64,
    /// Exited.
    pub ended_exit: u64,
    /// Became another executable by exec.
    pub ended_exec: u64,
    /// Moved to another cgroup.
    pub ended_moved: u64,
}
const _: () = assert!(size_of::<Lives>() == 48);

/// What is closed for a (cgroup, executable): increments that no living task's `since` contains any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Book {
    /// Closed increments.
    pub sums: Counters,
    /// Process life cycle.
    pub lives: Lives,
}
const _: () = assert!(size_of::<Book>() == 176);

/// A process: thread-group id and start of its leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct ClosedKey {
    /// Start of the thread group's leader, ns since boot (`start_boottime`).
    pub start: u64,
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// Always 0.
    pub pad: u32,
}
const _: () = assert!(size_of::<ClosedKey>() == 16);

/// What the closed threads of a process used in their whole lives, and whether the process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Closed {
    /// Sums over closed threads.
    pub sums: Counters,
    /// At the end of the process: how often its time had changed its owner ([`crate::TaskState::changes`]).
    pub changes: u64,
    /// End of the process, ns since boot; 0 while it lives.
    pub ended_ns: u64,
    /// Peak resident size in pages (`signal_struct.maxrss`), set when the process ended.
    pub peak_pages: u64,
}
const _: () = assert!(size_of::<Closed>() == 152);
