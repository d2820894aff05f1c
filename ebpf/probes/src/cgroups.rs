//! Cgroups that come, go, change their name, and tasks that are moved between them.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podscope_abi::event::PATH_MAX;
use podscope_abi::{CgroupEvent, EventHeader, EventKind, Loss};

use crate::books::{is_split, note_next_move, open_moves, void_split};
use crate::error::{Error, settle};
use crate::kernel::task::Task;
use crate::kernel::{cgroup, now_ns, signal};
use crate::maps::{EVENTS, offset};
use crate::state::find;

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`; BTF tracepoint from 5.5. Fires once per hierarchy.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub(crate) fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_report(&ctx, EventKind::CGROUP_MADE))
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`; BTF tracepoint from 5.5.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub(crate) fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_report(&ctx, EventKind::CGROUP_REMOVED))
}

/// `cgroup_rename(struct cgroup *cgrp, const char *path)`; BTF tracepoint from 5.5. Only v1 renames.
#[btf_tracepoint(function = "cgroup_rename")]
pub(crate) fn cgroup_rename(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_report(&ctx, EventKind::CGROUP_RENAMED))
}

#[inline(always)]
fn try_report(ctx: &BtfTracePointContext, kind: u32) -> Result<(), Error> {
    let group = ctx.arg::<*const u8>(0);
    let path = ctx.arg::<*const u8>(1);
    let hierarchy = cgroup::hierarchy(group);
    if hierarchy != offset!(hierarchy) {
        return Ok(());
    }
    let mut entry = EVENTS.reserve::<CgroupEvent>(0).ok_or(Error::Lost(Loss::Event))?;
    let event = entry.as_mut_ptr();
    // SAFETY: the reservation has the event's size; the helper writes at most PATH_MAX bytes of path.
    unsafe {
        (*event).header = EventHeader { kind, detail: hierarchy, time_ns: now_ns() };
        (*event).id = cgroup::id(group);
        let length = bpf_probe_read_kernel_str((&raw mut (*event).path).cast(), PATH_MAX as u32, path.cast());
        (*event).len = if length > 0 { length as u64 - 1 } else { 0 };
    }
    entry.submit(0);
    Ok(())
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`;
/// BTF tracepoint from 5.5. Fires after the move, once per thread group; the other threads are found moved at
/// their next switch-out or by the iterator. No thread of the group can fork or exit meanwhile.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_attach(&ctx))
}

#[inline(always)]
fn try_attach(ctx: &BtfTracePointContext) -> Result<(), Error> {
    let task = Task(ctx.arg::<*const u8>(2));
    let ours = cgroup::hierarchy(ctx.arg::<*const u8>(0)) == offset!(hierarchy);
    if ours && signal::threads(task.signal()) > 1 {
        open_moves();
    }
    let state = find(task).ok_or(Error::NotCounted)?;
    let css = state.get().css;
    // Back where it was: without switches in between what it used elsewhere is known only by the split.
    let was_away = offset!(closing_only) == 1 && is_split(state);
    if css == task.css_set() as u64 && !was_away {
        void_split(state);
    } else if css != 0 {
        let now = task.counters(state);
        note_next_move(task, state, &now);
    }
    Ok(())
}
