//! The task iterator: one pass over all living tasks at collection time, one record each.

use aya_ebpf::helpers::generated::bpf_seq_write;
use podscope_abi::{Control, Counters, RecordKind, TaskFlags, TaskRecord};

use crate::books::{note_move, place, void_split};
use crate::error::{Error, settle_quietly};
use crate::kernel::task::{DEAD, NOLOAD, Task, UNINTERRUPTIBLE};
use crate::kernel::{copied, current_pid, member, mm, now_ns, signal};
use crate::maps::{CONTROL, RECORD, offset};
use crate::process::adopt;
use crate::state::{TaskStateRef, find};
use crate::vcpu;

/// `struct bpf_iter__task` (kernel/bpf/task_iter.c); iterators from 5.8.
#[repr(C)]
struct IterTask {
    meta: *const IterMeta,
    task: *const u8,
}

/// `struct bpf_iter_meta` (include/linux/bpf.h).
#[repr(C)]
struct IterMeta {
    seq: *mut aya_ebpf::bindings::seq_file,
}

/// Called for each task of the reader's pid namespace, and once more with null at the end.
#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
extern "C" fn task(ctx: *const IterTask) -> i32 {
    // SAFETY: the kernel passes a context of this type.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return 0;
    }
    // SAFETY: as above.
    let seq = unsafe { (*meta).seq };
    settle_quietly(try_task(seq, Task(task)))
}

#[inline(always)]
fn try_task(seq: *mut aya_ebpf::bindings::seq_file, task: Task) -> Result<(), Error> {
    if task.state() & DEAD != 0 {
        return Ok(());
    }
    let state = match find(task) {
        Some(state) if state.get().css != 0 => state,
        _ => {
            let baseline = CONTROL.get(Control::BASELINE).copied().unwrap_or(0);
            adopt(task, baseline == 0 || task.start() < baseline)?
        }
    };
    vcpu::note(task, state);
    let seen = state.get().seen == 1;
    if state.has(TaskFlags::UNKNOWN) {
        // Its book gets all of it at its last switch-out.
        return Ok(());
    }
    let record = RECORD.get_ptr_mut(0).ok_or(Error::NotCounted)?;
    // SAFETY: a live per-CPU map value; one reader at a time, and the program does not leave its CPU.
    let record = unsafe { &mut *record };
    identify(task, state, record);
    measure(task, state, record);

    if !seen && state.has(TaskFlags::OLDER) && state.has(TaskFlags::LEADER) {
        let raw = record.raw;
        record.kind = RecordKind::BASE;
        record.raw = signal::dead_threads(task.signal());
        write(seq, record);
        record.raw = raw;
    }
    divide(task, state, seq, record);
    record.changes = state.get().changes;
    record.kvm_vcpu = state.get().kvm_vcpu.into();
    record.kind = RecordKind::TASK;
    if write(seq, record) {
        state.change().seen = 1;
    }
    Ok(())
}

/// Who the task is.
#[inline(always)]
fn identify(task: Task, state: TaskStateRef, record: &mut TaskRecord) {
    let it = state.get();
    record.pid = task.pid();
    record.tgid = task.tgid();
    record.ppid = task.parent().tgid();
    record.leader_start = it.leader_start;
    record.exe = it.exe;
    record.flags = it.flags;
    record.threads = signal::threads(task.signal());
    record.comm = copied(task.0, offset!(comm));
}

/// What it has used and holds.
#[inline(always)]
fn measure(task: Task, state: TaskStateRef, record: &mut TaskRecord) {
    let it = state.get();
    record.raw = task.counters(state);
    let queued = task.on_rq();
    record.queued_ns = 0;
    if queued {
        record.flags |= TaskFlags::RUNNABLE;
        record.queued_ns = if task.on_cpu() { 0 } else { task.last_queued() };
        if current_pid() == record.pid {
            record.flags |= TaskFlags::READER;
            record.queued_ns = task.last_arrival();
        }
    } else if it.blocked_since != 0 && task.state() & (UNINTERRUPTIBLE | NOLOAD) == UNINTERRUPTIBLE {
        record.flags |= TaskFlags::BLOCKED;
        record.raw.blocked_ns += now_ns().saturating_sub(it.blocked_since);
    }
    let mm = task.mm();
    if mm.is_null() {
        return;
    }
    record.flags |= TaskFlags::MEMORY;
    record.file_pages = mm::pages(mm, mm::FILE);
    record.anon_pages = mm::pages(mm, mm::ANON);
    record.shmem_pages = mm::pages(mm, mm::SHMEM);
    record.swap_pages = mm::pages(mm, mm::SWAP);
    record.hugetlb_pages = mm::hugetlb(mm);
    record.virtual_pages = member(mm, offset!(total_vm));
    record.peak_pages = member(mm, offset!(hiwater_rss));
}

/// Divides the time since the mark between the cgroup that the task has left and the one it is in.
#[inline(always)]
fn divide(task: Task, state: TaskStateRef, seq: *mut aya_ebpf::bindings::seq_file, record: &mut TaskRecord) {
    let css_set = task.css_set() as u64;
    record.cgroup = state.get().cgroup;
    record.book_exe = state.get().book_exe;
    if css_set == state.get().css {
        void_split(state);
        subtract(&mut record.since, &record.raw, &state.get().mark);
        return;
    }
    if state.get().split_valid == 0 || state.get().split_css != css_set {
        let raw = record.raw;
        note_move(task, state, &raw);
    }
    let it = state.get();
    subtract(&mut record.since, &it.split, &it.mark);
    record.kind = RecordKind::PART;
    write(seq, record);
    record.cgroup = it.split_cgroup;
    (_, record.book_exe) = place(it.split_cgroup, it.exe);
    subtract(&mut record.since, &record.raw, &it.split);
}

/// `to = now − mark`, without a copy on the stack.
#[inline(always)]
fn subtract(to: &mut Counters, now: &Counters, mark: &Counters) {
    let (to, now, mark) =
        ((&raw mut *to).cast::<u64>(), (&raw const *now).cast::<u64>(), (&raw const *mark).cast::<u64>());
    for i in 0..Counters::LEN {
        // SAFETY: all three are `Counters`, which are LEN times u64.
        unsafe { to.add(i).write(now.add(i).read().saturating_sub(mark.add(i).read())) };
    }
}

/// Writes the record; when the buffer is full the kernel calls the program again for the same task.
#[inline(always)]
fn write(seq: *mut aya_ebpf::bindings::seq_file, record: &TaskRecord) -> bool {
    // SAFETY: `record` is a live map value of that size.
    unsafe { bpf_seq_write(seq, (&raw const *record).cast(), size_of::<TaskRecord>() as u32) == 0 }
}
