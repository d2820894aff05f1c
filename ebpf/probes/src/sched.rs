//! Context switches: the run-queue wait histogram, uninterruptible sleep, moves between cgroups, closing.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podscope_abi::histogram::{self, Place};

use crate::books::{add, follow_move, moves_are_open};
use crate::error::{Error, settle_quietly};
use crate::kernel::now_ns;
use crate::kernel::task::{DEAD, NOLOAD, Task, UNINTERRUPTIBLE};
use crate::maps::{WAITS, offset};
use crate::state::{TaskStateRef, find};
use crate::{process, vcpu};

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next[, unsigned int prev_state])`,
/// the last argument from 5.18; as a BTF tracepoint from 5.5. Runs with the run queue locked.
#[btf_tracepoint(function = "sched_switch")]
pub(crate) fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    if offset!(closing_only) == 1 {
        return settle_quietly(try_close_only(&ctx));
    }
    let (prev, next) = (Task(ctx.arg::<*const u8>(1)), Task(ctx.arg::<*const u8>(2)));
    settle_quietly(vcpu::note_before(prev, next))
        | settle_quietly(try_switch_out(&ctx, next))
        | settle_quietly(try_switch_in(next))
}

#[inline(always)]
fn try_switch_out(ctx: &BtfTracePointContext, next: Task) -> Result<(), Error> {
    let task = Task(ctx.arg::<*const u8>(1));
    let state = find(task).ok_or(Error::NotCounted)?;
    if state.get().css == 0 {
        return Err(Error::NotCounted);
    }
    follow_move(task, state);
    let waited = take_wait(task, state);
    let vcpu = state.get().vcpu;
    record_wait(if vcpu == 0 { state.get().slot } else { vcpu }, waited);

    let it = state.change();
    if it.blocked_pending != 0 {
        // The time from its wake-up to its CPU was run-queue wait, which `waited` is.
        it.blocked_ns += it.blocked_pending.saturating_sub(waited);
        it.blocked_pending = 0;
    }
    let left_as = left_as(ctx, task);
    if vcpu != 0 {
        vcpu::switch_out(task, state, waited, left_as == 0, next);
    }
    if left_as & DEAD != 0 {
        return process::close(task, state);
    }
    if left_as & (UNINTERRUPTIBLE | NOLOAD) == UNINTERRUPTIBLE {
        it.blocked_since = now_ns();
    } else if left_as == 0 && offset!(trace_wait) == 1 {
        it.queued_since = now_ns();
    }
    Ok(())
}

/// The scheduler state in which a task leaves its CPU. A preempted one is still runnable, whatever state it was about
/// to sleep in.
#[inline(always)]
fn left_as(ctx: &BtfTracePointContext, task: Task) -> u32 {
    if ctx.arg::<u64>(0) as u8 != 0 {
        0
    } else if offset!(switch_has_state) == 1 {
        ctx.arg::<u32>(3)
    } else {
        task.state()
    }
}

/// Without scheduling detail: the last switch-out, and each one while a task that was moved has not run since.
#[inline(always)]
fn try_close_only(ctx: &BtfTracePointContext) -> Result<(), Error> {
    let task = Task(ctx.arg::<*const u8>(1));
    let is_last = left_as(ctx, task) & DEAD != 0;
    if !is_last && !moves_are_open() {
        return Ok(());
    }
    let state = find(task).ok_or(Error::NotCounted)?;
    if state.get().css == 0 {
        return Err(Error::NotCounted);
    }
    follow_move(task, state);
    if is_last { process::close(task, state) } else { Ok(()) }
}

#[inline(always)]
fn try_switch_in(task: Task) -> Result<(), Error> {
    let trace_wait = offset!(trace_wait) == 1;
    if !trace_wait && !task.slept_uninterruptibly() {
        return Ok(());
    }
    let state = find(task).ok_or(Error::NotCounted)?;
    let it = state.change();
    if it.blocked_since != 0 {
        it.blocked_pending = now_ns().saturating_sub(it.blocked_since);
        it.blocked_since = 0;
    }
    if trace_wait && it.queued_since != 0 {
        it.wait_ns += now_ns().saturating_sub(it.queued_since);
        it.queued_since = 0;
    }
    Ok(())
}

/// Run-queue wait since the task's last switch-out.
#[inline(always)]
fn take_wait(task: Task, state: TaskStateRef) -> u64 {
    let total = if offset!(trace_wait) == 1 { state.get().wait_ns } else { task.run_delay() };
    let waited = total.saturating_sub(state.get().wait_seen);
    state.change().wait_seen = total;
    waited
}

#[inline(always)]
fn record_wait(slot: u32, ns: u64) {
    let Some(waits) = WAITS.get_ptr_mut(slot) else { return };
    // SAFETY: `waits` is a live map value; only addresses are taken, and the index is in bounds.
    unsafe {
        match histogram::place(ns) {
            Place::Zero => add(&raw mut (*waits).zero, 1),
            Place::Over => add(&raw mut (*waits).over, 1),
            Place::Bucket(index) => {
                if index < histogram::BUCKETS {
                    add((&raw mut (*waits).buckets).cast::<u64>().add(index), 1);
                }
            }
        }
        add(&raw mut (*waits).sum_ns, ns);
    }
}

/// `sched_wakeup(struct task_struct *p)`; attached only where the kernel keeps no `run_delay`.
#[btf_tracepoint(function = "sched_wakeup")]
pub(crate) fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    settle_quietly(try_queue(Task(ctx.arg::<*const u8>(0))))
}

/// `sched_wakeup_new(struct task_struct *p)`; attached only where the kernel keeps no `run_delay`.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub(crate) fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    settle_quietly(try_queue(Task(ctx.arg::<*const u8>(0))))
}

#[inline(always)]
fn try_queue(task: Task) -> Result<(), Error> {
    let state = find(task).ok_or(Error::NotCounted)?;
    let it = state.change();
    if it.queued_since == 0 {
        it.queued_since = now_ns();
    }
    Ok(())
}
