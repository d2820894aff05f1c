//! A task's state in the kernel, and the record the task iterator writes of it.

use bytemuck::{Pod, Zeroable};

use crate::counters::Counters;

/// Bits of [`TaskState::flags`] and [`TaskRecord::flags`].
pub struct TaskFlags;

impl TaskFlags {
    /// The thread-group leader.
    pub const LEADER: u32 = 1;
    /// A kernel thread.
    pub const KERNEL: u32 = 1 << 1;
    /// The last thread of a process that ended before any collection knew it: nobody waits to be told of its end.
    pub const UNKNOWN: u32 = 1 << 3;
    /// The memory fields of the record are filled.
    pub const MEMORY: u32 = 1 << 4;
    /// Lived before the programs were attached: what it used until then is in no book.
    pub const OLDER: u32 = 1 << 5;
    /// In uninterruptible sleep when recorded.
    pub const BLOCKED: u32 = 1 << 6;
    /// On a CPU or in a run queue when recorded.
    pub const RUNNABLE: u32 = 1 << 7;
    /// The task that reads the iterator.
    pub const READER: u32 = 1 << 8;
}

/// What the kernel side remembers of a task, in task storage (or in a hash by pid on kernels before 5.12).
///
/// Only the task's own path (fork, exec, switch-out, exit) writes it, except for the `split_*` fields,
/// which the iterator and the cgroup hook fill and then publish by `split_valid`, and for `changes`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TaskState {
    /// Counters at the last change of (cgroup, executable): what came after is not yet in a book.
    pub mark: Counters,
    /// Counters when a move to `split_cgroup` was noticed from outside.
    pub split: Counters,
    /// `task_struct.cgroups` at the last look, compared only. 0 until the state is complete: written last.
    pub css: u64,
    /// Cgroup id that owns the time since `mark`.
    pub cgroup: u64,
    /// Executable id.
    pub exe: u64,
    /// Executable id of the book, [`crate::EXE_OTHER`] beyond the bound.
    pub book_exe: u64,
    /// Start of the group leader, ns since boot: with tgid the process's identity.
    pub leader_start: u64,
    /// Start of this task, ns since boot.
    pub start: u64,
    /// `task_struct.cgroups` of the noticed move.
    pub split_css: u64,
    /// Cgroup id of the noticed move.
    pub split_cgroup: u64,
    /// `run_delay` at the last switch-out.
    pub wait_seen: u64,
    /// Monotonic time at which an uninterruptible sleep began; 0 when none lasts.
    pub blocked_since: u64,
    /// Length of the sleep that just ended, run-queue wait after it included.
    pub blocked_pending: u64,
    /// Uninterruptible sleep so far.
    pub blocked_ns: u64,
    /// Monotonic time at which a reclaim stall began; 0 when none lasts.
    pub reclaim_since: u64,
    /// Reclaim stalls so far.
    pub reclaim_ns: u64,
    /// Number of reclaim stalls.
    pub reclaims: u64,
    /// Traced wait (only where the kernel keeps no `run_delay`).
    pub wait_ns: u64,
    /// Monotonic time of being queued (traced wait only); 0 when not queued.
    pub queued_since: u64,
    /// Slot of the cgroup's histogram.
    pub slot: u32,
    /// [`TaskFlags`].
    pub flags: u32,
    /// 1 once `split*` is complete.
    pub split_valid: u32,
    /// 1 once a collection has seen the task: user space knows its process. Written by the iterator alone.
    pub seen: u16,
    /// Of a thread that has run a guest by KVM: 1 + number of the virtual CPU; else 0.
    pub kvm_vcpu: u16,
    /// How often its (cgroup, executable) has changed, a move counted as soon as it is noticed. A process begins
    /// at 0, a thread with the number of the one that made it.
    pub changes: u32,
    /// Of a virtual CPU: the slot of its own histogram; 0 for all other tasks. Written by the iterator alone.
    pub vcpu: u32,
    /// Of a virtual CPU: cgroup of the task that ran on its CPU right before it; 0 after an idle one.
    pub ran_before: u64,
    /// When that one had come onto the CPU, by the run queue's clock.
    pub ran_since: u64,
    /// Of a virtual CPU that was preempted: cgroup of the task that got its CPU; else 0.
    pub taken_by: u64,
}
// With the kernel's 72 bytes before it, it fills an allocation of 512: one byte more would cost twice as much.
const _: () = assert!(size_of::<TaskState>() == 440);

/// What a [`TaskRecord`] stands for.
pub struct RecordKind;

impl RecordKind {
    /// A living task: `raw` is its life, `since` what belongs to `cgroup` and is in no book yet.
    pub const TASK: u32 = 0;
    /// Part of a living task's time that belongs to the cgroup it has just left; only `since` counts.
    pub const PART: u32 = 1;
    /// Once per process that is older than the agent: `raw` is what its dead threads had used by then.
    pub const BASE: u32 = 2;
}

/// One record of the task iterator.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TaskRecord {
    /// Counters of the task's whole life.
    pub raw: Counters,
    /// Counters since the last change of (cgroup, executable).
    pub since: Counters,
    /// Start of the group leader, ns since boot.
    pub leader_start: u64,
    /// Cgroup id.
    pub cgroup: u64,
    /// Executable id.
    pub exe: u64,
    /// Executable id of the book.
    pub book_exe: u64,
    /// Resident file pages.
    pub file_pages: i64,
    /// Resident anonymous pages.
    pub anon_pages: i64,
    /// Resident shared-memory pages.
    pub shmem_pages: i64,
    /// Pages in swap.
    pub swap_pages: i64,
    /// Hugetlb memory in base pages (`mm_struct.hugetlb_usage`).
    pub hugetlb_pages: u64,
    /// Virtual size in pages (`mm_struct.total_vm`).
    pub virtual_pages: u64,
    /// Peak resident pages so far (`mm_struct.hiwater_rss` or `signal_struct.maxrss`).
    pub peak_pages: u64,
    /// When it was queued, by the run queue's clock, ns; 0 when it is not queued. For the reading task itself
    /// (flag `READER`): when it last came onto its CPU.
    pub queued_ns: u64,
    /// Task id.
    pub pid: u32,
    /// Thread-group id.
    pub tgid: u32,
    /// Thread-group id of the parent.
    pub ppid: u32,
    /// [`RecordKind`].
    pub kind: u32,
    /// [`TaskFlags`].
    pub flags: u32,
    /// Threads of the group (`signal_struct.nr_threads`).
    pub threads: u32,
    /// [`TaskState::changes`].
    pub changes: u32,
    /// [`TaskState::kvm_vcpu`].
    pub kvm_vcpu: u32,
    /// `task_struct.comm`.
    pub comm: [u8; 16],
}
const _: () = assert!(size_of::<TaskRecord>() == 400);

/// A virtual CPU's thread, as user space found it. Its id is the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Vcpu {
    /// Start of its group's leader, ns since boot: the id may be another thread's by now.
    pub leader_start: u64,
    /// Slot of its histogram.
    pub slot: u32,
    /// Always 0.
    pub pad: u32,
}
const _: () = assert!(size_of::<Vcpu>() == 16);

/// Who waited, and who ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Blame {
    /// Cgroup id of the virtual CPUs that waited.
    pub victim: u64,
    /// Cgroup id of the task that ran meanwhile; 0 where that was none, or nobody knows.
    pub culprit: u64,
}
const _: () = assert!(size_of::<Blame>() == 16);
