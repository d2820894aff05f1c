//! The life of processes: fork, exec, exit, and the closing of a task's books.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use podscope_abi::{Closed, ClosedKey, Counters, Loss, TaskFlags};

use crate::books::{add, add_since, assign, book, charge, executable, follow_move};
use crate::error::{Error, lose, settle};
use crate::kernel::task::Task;
use crate::kernel::{boot_ns, cgroup, signal};
use crate::maps::{CLOSED, EXITS, NOTHING_CLOSED, offset};
use crate::state::{TaskStateRef, create_for, find, forget};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`; BTF tracepoint from 5.5.
/// The child has not run yet.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_fork(Task(ctx.arg::<*const u8>(0)), Task(ctx.arg::<*const u8>(1))))
}

#[inline(always)]
fn try_fork(parent: Task, child: Task) -> Result<(), Error> {
    let state = create_for(child).ok_or(Error::Lost(Loss::TaskState))?;
    let css_set = child.css_set();
    let it = state.change();
    match find(parent) {
        Some(from) if from.get().css == css_set as u64 => {
            let from = from.get();
            (it.exe, it.book_exe, it.cgroup, it.slot) = (from.exe, from.book_exe, from.cgroup, from.slot);
        }
        from => {
            it.exe = from.map_or_else(|| executable(child), |from| from.get().exe);
            assign(state, cgroup::id_of_css_set(css_set));
        }
    }
    if it.flags & TaskFlags::LEADER == 0 {
        it.changes = find(parent).map_or(0, |from| from.get().changes);
    } else if let Some(book) = book(it.cgroup, it.book_exe) {
        // SAFETY: a live map value; only the address is taken.
        add(unsafe { &raw mut (*book).lives.started_fork }, 1);
    }
    it.css = css_set as u64;
    Ok(())
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`; BTF tracepoint from 5.5.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_exec(&ctx))
}

#[inline(always)]
fn try_exec(ctx: &BtfTracePointContext) -> Result<(), Error> {
    let task = Task(ctx.arg::<*const u8>(0));
    let state = find(task).ok_or(Error::NotCounted)?;
    if state.get().css == 0 {
        return Err(Error::NotCounted);
    }
    follow_move(task, state);
    let now = task.counters(state);
    charge(state, &now);
    let it = state.change();
    if let Some(book) = book(it.cgroup, it.book_exe) {
        // SAFETY: a live map value; only the address is taken.
        add(unsafe { &raw mut (*book).lives.ended_exec }, 1);
    }
    it.exe = executable(task);
    // A thread may have noticed fewer moves than its leader, for which it stands from now on.
    it.changes += if it.flags & TaskFlags::LEADER != 0 { 1 } else { 1 << 16 };
    debug!(ctx, "exec: pid {}, executable {:x}", task.pid(), it.exe);
    // A thread that executes takes over its group's pid and start.
    it.start = task.start();
    it.leader_start = task.group_leader().start();
    it.flags = (it.flags | TaskFlags::LEADER) & !TaskFlags::KERNEL;
    let cgroup = it.cgroup;
    assign(state, cgroup);
    if let Some(book) = book(it.cgroup, it.book_exe) {
        // SAFETY: as above.
        add(unsafe { &raw mut (*book).lives.started_exec }, 1);
    }
    Ok(())
}

/// `sched_process_exit(struct task_struct *p[, bool group_dead])`, the last argument from 6.18; BTF tracepoint
/// from 5.5. Before 6.16 the address space is already gone here; `signal_struct.maxrss` is set on all.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    settle(&ctx, try_exit(&ctx))
}

#[inline(always)]
fn try_exit(ctx: &BtfTracePointContext) -> Result<(), Error> {
    let task = Task(ctx.arg::<*const u8>(0));
    let state = find(task).ok_or(Error::NotCounted)?;
    if state.get().css == 0 {
        return Err(Error::NotCounted);
    }
    // Each thread, not only the last one: from here on it is not moved any more.
    follow_move(task, state);
    let signal = task.signal();
    let key = ClosedKey { start: state.get().leader_start, tgid: task.tgid(), pad: 0 };
    let last = if offset!(exit_has_group_dead) == 1 {
        ctx.arg::<u64>(1) as u8 != 0
    } else {
        signal::live(signal) == 0 && is_first_to_say(key, signal::threads(signal))
    };
    if !last {
        return Ok(());
    }
    let leader = find(task.group_leader()).unwrap_or(state);
    let it = leader.get();
    if let Some(book) = book(it.cgroup, it.book_exe) {
        // SAFETY: a live map value; only the address is taken.
        add(unsafe { &raw mut (*book).lives.ended_exit }, 1);
    }
    let known = leader.get().seen == 1 || signal::threads(signal) > 1;
    match closed(key, known)? {
        // SAFETY: a live map value; a process ends once.
        Some(closed) => unsafe {
            (*closed).peak_pages = signal::peak_pages(signal);
            (*closed).changes = u64::from(it.changes);
            (*closed).ended_ns = boot_ns();
        },
        None => state.change().flags |= TaskFlags::UNKNOWN,
    }
    Ok(())
}

/// Where several threads find the group dead, the first of them counts. One that is alone by now was not always:
/// others may have said so and released themselves. A thread that never shared its group needs no entry.
#[inline(always)]
fn is_first_to_say(key: ClosedKey, threads: u32) -> bool {
    if threads == 1 { EXITS.get_ptr(key).is_none() } else { EXITS.insert(key, 1, BPF_NOEXIST.into()).is_ok() }
}

/// The entry of a process; made where `make` says that somebody will read it.
#[inline(always)]
fn closed(key: ClosedKey, make: bool) -> Result<Option<*mut Closed>, Error> {
    if let Some(closed) = CLOSED.get_ptr_mut(key) {
        return Ok(Some(closed));
    }
    if !make {
        return Ok(None);
    }
    let _exists_or_full = CLOSED.insert(key, &NOTHING_CLOSED, BPF_NOEXIST.into());
    match CLOSED.get_ptr_mut(key) {
        Some(closed) => Ok(Some(closed)),
        None => Err(Error::Lost(Loss::Closed)),
    }
}

/// Closes the books of a task at its last switch-out: its counters are final only here.
///
/// Uses the task's own fields and its state alone: by now it may have released itself and its leader.
#[inline(never)]
pub(crate) fn close(task: Task, state: TaskStateRef) -> Result<(), Error> {
    let now = task.counters(state);
    charge(state, &now);
    let it = state.get();
    let key = ClosedKey { start: it.leader_start, tgid: task.tgid(), pad: 0 };
    // The last thread of a process that no collection has seen needs no entry: its (cgroup, executable) has all.
    let made = closed(key, it.flags & TaskFlags::UNKNOWN == 0);
    forget(task);
    if let Some(closed) = made? {
        // SAFETY: a live map value; only addresses are taken.
        unsafe {
            add_since(&raw mut (*closed).sums, &now, &Counters::ZERO);
        }
    }
    Ok(())
}

/// Takes a task on at its first sight by the iterator: it was there before the agent, or its fork was missed.
#[inline(always)]
pub(crate) fn adopt(task: Task, older: bool) -> Result<TaskStateRef, Error> {
    let state = create_for(task).ok_or(Error::Lost(Loss::TaskState))?;
    let it = state.change();
    it.exe = executable(task);
    let css_set = task.css_set();
    assign(state, cgroup::id_of_css_set(css_set));
    if older {
        it.flags |= TaskFlags::OLDER;
        it.mark = task.counters(state);
        it.wait_seen = it.mark.wait_ns;
    } else {
        lose(Loss::TaskState);
    }
    it.css = css_set as u64;
    Ok(state)
}
