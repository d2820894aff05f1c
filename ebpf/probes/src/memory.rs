//! Memory events: OOM kills and reclaim stalls.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podscope_abi::{EventHeader, EventKind, Loss, OomEvent};

use crate::error::{Error, settle};
use crate::kernel::task::Task;
use crate::kernel::{cgroup, copied, mm, now_ns};
use crate::maps::{EVENTS, offset};
use crate::state::{find, find_current};

/// `mark_victim(struct task_struct *task, uid_t uid)` or, on older kernels, `mark_victim(int pid)`;
/// BTF tracepoint from 5.5.
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn mark_victim(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_mark_victim(&ctx))
}

#[inline(always)]
fn try_mark_victim(ctx: &BtfTracePointContext) -> Result<(), Error> {
    let mut event = OomEvent {
        header: EventHeader { kind: EventKind::OOM, detail: 0, time_ns: now_ns() },
        cgroup: 0,
        exe: 0,
        leader_start: 0,
        resident_pages: 0,
        tgid: 0,
        pad: 0,
        comm: [0; 16],
    };
    if offset!(victim_has_task) == 1 {
        let task = Task(ctx.arg::<*const u8>(0));
        event.header.detail = task.pid();
        event.tgid = task.tgid();
        event.leader_start = task.group_leader().start();
        event.cgroup = cgroup::id_of_css_set(task.css_set());
        event.resident_pages = mm::resident(task.mm());
        event.comm = copied(task.0, offset!(comm));
        if let Some(state) = find(task) {
            event.exe = state.get().exe;
        }
    } else {
        event.header.detail = ctx.arg::<u32>(0);
    }
    EVENTS.output::<OomEvent>(event, 0).map_err(|_| Error::Lost(Loss::Event))
}

/// Declares the hooks at both ends of a reclaim stall.
macro_rules! reclaim {
    ($(#[$doc:meta])* $begin:ident, $end:ident) => {
        $(#[$doc])*
        #[btf_tracepoint]
        pub(crate) fn $begin(ctx: BtfTracePointContext) -> i32 {
            settle(&ctx, try_begin())
        }

        $(#[$doc])*
        #[btf_tracepoint]
        pub(crate) fn $end(ctx: BtfTracePointContext) -> i32 {
            settle(&ctx, try_end())
        }
    };
}

reclaim!(
    /// `mm_vmscan_direct_reclaim_{begin,end}`, arguments unused; BTF tracepoints from 5.5.
    mm_vmscan_direct_reclaim_begin, mm_vmscan_direct_reclaim_end
);
reclaim!(
    /// `mm_vmscan_memcg_reclaim_{begin,end}`, arguments unused; BTF tracepoints from 5.5. What a container's
    /// limit causes.
    mm_vmscan_memcg_reclaim_begin, mm_vmscan_memcg_reclaim_end
);

#[inline(always)]
fn try_begin() -> Result<(), Error> {
    let state = find_current().ok_or(Error::NotCounted)?;
    state.change().reclaim_since = now_ns();
    Ok(())
}

#[inline(always)]
fn try_end() -> Result<(), Error> {
    let state = find_current().ok_or(Error::NotCounted)?;
    let it = state.change();
    if it.reclaim_since != 0 {
        it.reclaim_ns += now_ns().saturating_sub(it.reclaim_since);
        it.reclaims += 1;
        it.reclaim_since = 0;
    }
    Ok(())
}
