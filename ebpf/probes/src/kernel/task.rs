//! `struct task_struct` (include/linux/sched.h).

use podscope_abi::Counters;

use super::{member, pointer};
use crate::maps::offset;
use crate::state::TaskStateRef;

/// `TASK_UNINTERRUPTIBLE`.
pub(crate) const UNINTERRUPTIBLE: u32 = 0x2;
/// `TASK_DEAD`.
pub(crate) const DEAD: u32 = 0x80;
/// `TASK_NOLOAD`: with `TASK_UNINTERRUPTIBLE` it is `TASK_IDLE`, an idle kernel thread.
pub(crate) const NOLOAD: u32 = 0x400;
/// `PF_KTHREAD`.
const KTHREAD: u32 = 0x0020_0000;

/// A task.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) *const u8);

/// Members read by dereference.
macro_rules! members {
    ($($name:ident -> $type:ty;)*) => {
        $(#[inline(always)] pub(crate) fn $name(self) -> $type { member(self.0, offset!($name)) })*
    };
}

impl Task {
    members! {
        pid -> u32;
        tgid -> u32;
        state -> u32;
        start -> u64;
        run -> u64;
        run_delay -> u64;
        last_queued -> u64;
        last_arrival -> u64;
    }

    /// The first four bytes of its name.
    #[inline(always)]
    pub(crate) fn name_begins(self) -> u32 {
        member(self.0, offset!(comm))
    }

    /// Whether it is queued or running. Only the low byte: the member is an `int`, but a byte on 7.2.
    #[inline(always)]
    pub(crate) fn on_rq(self) -> bool {
        member::<u8>(self.0, offset!(on_rq)) != 0
    }

    /// Whether it is on a CPU now. Only the low byte, as [`Self::on_rq`].
    #[inline(always)]
    pub(crate) fn on_cpu(self) -> bool {
        member::<u8>(self.0, offset!(on_cpu)) != 0
    }

    #[inline(always)]
    pub(crate) fn group_leader(self) -> Task {
        Task(pointer(self.0, offset!(group_leader)))
    }

    #[inline(always)]
    pub(crate) fn parent(self) -> Task {
        Task(pointer(self.0, offset!(real_parent)))
    }

    #[inline(always)]
    pub(crate) fn mm(self) -> *const u8 {
        pointer(self.0, offset!(mm))
    }

    #[inline(always)]
    pub(crate) fn signal(self) -> *const u8 {
        pointer(self.0, offset!(signal))
    }

    #[inline(always)]
    pub(crate) fn css_set(self) -> *const u8 {
        pointer(self.0, offset!(cgroups))
    }

    #[inline(always)]
    pub(crate) fn comm_address(self) -> *const u8 {
        self.0.wrapping_add(offset!(comm) as usize)
    }

    #[inline(always)]
    pub(crate) fn is_leader(self) -> bool {
        self.pid() == self.tgid()
    }

    #[inline(always)]
    pub(crate) fn is_kernel_thread(self) -> bool {
        member::<u32>(self.0, offset!(task_flags)) & KTHREAD != 0
    }

    /// Whether the sleep it last fell into was an uninterruptible one; true where the kernel does not tell.
    #[inline(always)]
    pub(crate) fn slept_uninterruptibly(self) -> bool {
        let mask = offset!(load_mask);
        mask == 0 || u32::from(member::<u8>(self.0, offset!(load_byte))) & mask != 0
    }

    /// What the kernel counts for the task, with what the programs have traced for it.
    #[inline(always)]
    pub(crate) fn counters(self, state: TaskStateRef) -> Counters {
        let at = self.0;
        Counters {
            run_ns: self.run(),
            user_ns: member(at, offset!(utime)),
            system_ns: member(at, offset!(stime)),
            wait_ns: if offset!(trace_wait) == 1 { state.get().wait_ns } else { self.run_delay() },
            blocked_ns: state.get().blocked_ns,
            switches_voluntary: member(at, offset!(nvcsw)),
            switches_involuntary: member(at, offset!(nivcsw)),
            migrations: member(at, offset!(migrations)),
            faults_minor: member(at, offset!(min_flt)),
            faults_major: member(at, offset!(maj_flt)),
            read_bytes: member(at, offset!(read_bytes)),
            write_bytes: member(at, offset!(write_bytes)),
            read_calls: member(at, offset!(read_calls)),
            write_calls: member(at, offset!(write_calls)),
            reclaim_ns: state.get().reclaim_ns,
            reclaims: state.get().reclaims,
        }
    }
}
