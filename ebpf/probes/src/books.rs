//! Charging: which (cgroup, executable) owns a task's time, and closing it there.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use podscope_abi::{
    Book, BookKey, CGROUP_OVERFLOW, Cgroup, Control, Counters, EXE_OTHER, EXES_PER_CGROUP, ExeName, Loss, TaskFlags,
};

use crate::error::lose;
use crate::kernel::task::Task;
use crate::kernel::{cgroup, mm};
use crate::maps::{BOOKS, CGROUPS, CONTROL, EXES, NAME, NO_BOOK, SLOTS, offset};
use crate::state::TaskStateRef;

/// Adds to a figure that other CPUs add to as well.
#[inline(always)]
pub(crate) fn add(to: *mut u64, value: u64) {
    if value != 0 {
        // SAFETY: `to` points into a map value, aligned; all writers use atomic adds.
        unsafe { atomic_add(to, value) };
    }
}

/// The target has no compare-and-swap, so the library offers no atomic arithmetic; relaxed and without a use of
/// its result the intrinsic becomes the one atomic instruction that every kernel has.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn atomic_add(to: *mut u64, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(to, value);
    }
}

#[cfg(not(target_arch = "bpf"))]
unsafe fn atomic_add(to: *mut u64, value: u64) {
    // SAFETY: as the caller promises.
    unsafe { core::sync::atomic::AtomicU64::from_ptr(to) }.fetch_add(value, core::sync::atomic::Ordering::Relaxed);
}

/// Adds `now − mark` to `sums`, per counter.
#[inline(always)]
pub(crate) fn add_since(sums: *mut Counters, now: &Counters, mark: &Counters) {
    let (sums, now, mark) = (sums.cast::<u64>(), (&raw const *now).cast::<u64>(), (&raw const *mark).cast::<u64>());
    for i in 0..Counters::LEN {
        // SAFETY: all three are `Counters`, which are LEN times u64.
        unsafe { add(sums.add(i), now.add(i).read().saturating_sub(mark.add(i).read())) };
    }
}

/// The book that owns the task's time now; the overflow book where it has gone or never fitted.
#[inline(always)]
pub(crate) fn book(cgroup: u64, exe: u64) -> Option<*mut Book> {
    let key = BookKey { cgroup, exe };
    if let Some(book) = BOOKS.get_ptr_mut(key) {
        return Some(book);
    }
    let _exists_or_full = BOOKS.insert(key, &NO_BOOK, BPF_NOEXIST.into());
    if let Some(book) = BOOKS.get_ptr_mut(key) {
        return Some(book);
    }
    lose(Loss::Book);
    BOOKS.get_ptr_mut(BookKey { cgroup: CGROUP_OVERFLOW, exe: EXE_OTHER })
}

/// Charges `now − mark` to the state's (cgroup, executable) and moves the mark.
#[inline(always)]
pub(crate) fn charge(state: TaskStateRef, now: &Counters) {
    let it = state.change();
    if let Some(book) = book(it.cgroup, it.book_exe) {
        // SAFETY: `book` is a live map value; only the address is taken.
        add_since(unsafe { &raw mut (*book).sums }, now, &it.mark);
    }
    it.mark = *now;
}

/// The entry of a cgroup, made with a histogram slot and the book of its rest where it is new.
#[inline(always)]
fn cgroup_entry(id: u64) -> Option<*mut Cgroup> {
    if let Some(entry) = CGROUPS.get_ptr_mut(id) {
        return Some(entry);
    }
    let slot = match SLOTS.pop() {
        Ok(Some(slot)) => slot,
        _ => {
            lose(Loss::Cgroup);
            0
        }
    };
    if CGROUPS.insert(id, Cgroup { slot, exes: 0 }, BPF_NOEXIST.into()).is_err() && slot != 0 {
        // Another CPU was first, or the map is full.
        let _full = SLOTS.push(slot, 0);
    }
    let _exists = BOOKS.insert(BookKey { cgroup: id, exe: EXE_OTHER }, &NO_BOOK, BPF_NOEXIST.into());
    CGROUPS.get_ptr_mut(id)
}

/// Histogram slot of a cgroup, and the executable under which its book for `exe` stands there.
///
/// Once given, the answer for a pair stays the same for as long as the books exist.
#[inline(always)]
pub(crate) fn place(cgroup: u64, exe: u64) -> (u32, u64) {
    let Some(entry) = cgroup_entry(cgroup) else {
        lose(Loss::Cgroup);
        return (0, EXE_OTHER);
    };
    // SAFETY: `entry` is a live map value; a race on `exes` lets at most one more per CPU through.
    let entry = unsafe { &mut *entry };
    let key = BookKey { cgroup, exe };
    if BOOKS.get_ptr(key).is_some() {
        return (entry.slot, exe);
    }
    if entry.exes < EXES_PER_CGROUP {
        if take_exe_book() && BOOKS.insert(key, &NO_BOOK, BPF_NOEXIST.into()).is_ok() {
            entry.exes += 1;
            return (entry.slot, exe);
        }
        // For good: a pair that shares the book of the rest now must not have one of its own later.
        entry.exes = EXES_PER_CGROUP;
        lose(Loss::Book);
    }
    (entry.slot, EXE_OTHER)
}

/// Whether another book may be made for an executable.
#[inline(always)]
fn take_exe_book() -> bool {
    let Some(left) = CONTROL.get_ptr_mut(Control::EXE_BOOKS) else { return false };
    // SAFETY: a live map value. On several CPUs at once it may fall a little below zero.
    if unsafe { left.read() } as i64 <= 0 {
        return false;
    }
    add(left, u64::MAX);
    true
}

/// Gives the task's time from now on to `cgroup` and the executable in the state.
#[inline(always)]
pub(crate) fn assign(state: TaskStateRef, cgroup: u64) {
    let it = state.change();
    it.cgroup = cgroup;
    (it.slot, it.book_exe) = place(cgroup, it.exe);
}

/// Notices that the task's `css_set` has changed: what it used until then stays with the old cgroup.
///
/// Called only where the task cannot run at the same time (its own switch-out, fork, exit), so that the mark
/// has one writer.
#[inline(always)]
pub(crate) fn follow_move(task: Task, state: TaskStateRef) {
    let css_set = task.css_set();
    if css_set as u64 == state.get().css {
        void_split(state);
        return;
    }
    moved(task, state, css_set);
}

/// Says that threads may have moved that nobody has noticed so far.
#[inline(always)]
pub(crate) fn open_moves() {
    if let Some(noticed) = CONTROL.get_ptr_mut(Control::MOVES_NOTICED) {
        add(noticed, 1);
    }
}

/// Whether a thread may have moved and not been switched out since.
#[inline(always)]
pub(crate) fn moves_are_open() -> bool {
    CONTROL.get(Control::MOVES_NOTICED) != CONTROL.get(Control::MOVES_FOLLOWED)
}

/// A task that was found moved is back where it was: what was noticed must not serve for a later move.
#[inline(always)]
pub(crate) fn void_split(state: TaskStateRef) {
    if state.get().split_valid != 0 {
        count_move(state, state.get().cgroup);
        let it = state.change();
        it.split_valid = 0;
        it.changes += 1;
    }
}

#[inline(never)]
fn moved(task: Task, state: TaskStateRef, css_set: *const u8) {
    let it = state.change();
    let cgroup = cgroup::id_of_css_set(css_set);
    count_move(state, cgroup);
    if cgroup != it.cgroup {
        if it.split_valid == 1 && it.split_css == css_set as u64 {
            settle_split(state);
        } else {
            let now = task.counters(state);
            charge(state, &now);
            it.changes += 1;
            assign(state, cgroup);
        }
    }
    it.css = css_set as u64;
    it.split_valid = 0;
}

/// Whether a move to another cgroup was noticed that is not settled yet.
#[inline(always)]
pub(crate) fn is_split(state: TaskStateRef) -> bool {
    let it = state.get();
    it.split_valid == 1 && it.split_cgroup != it.cgroup
}

/// Charges what the task used until its noticed move, and gives it to where it was noticed.
#[inline(always)]
fn settle_split(state: TaskStateRef) {
    let it = state.change();
    let split = it.split;
    charge(state, &split);
    assign(state, it.split_cgroup);
    it.css = it.split_css;
    it.split_valid = 0;
}

/// Counts a process's move, once: when its leader is first found in another cgroup than before, even asleep. To be
/// called before the split or the cgroup changes, which say where it was found last.
#[inline(never)]
fn count_move(state: TaskStateRef, to: u64) {
    let it = state.get();
    let from = if it.split_valid == 1 { it.split_cgroup } else { it.cgroup };
    if from == to || it.flags & TaskFlags::LEADER == 0 {
        return;
    }
    let (_, exe) = place(from, it.exe);
    if let Some(book) = book(from, exe) {
        // SAFETY: a live map value; only the address is taken.
        add(unsafe { &raw mut (*book).lives.ended_moved }, 1);
    }
    let (_, exe) = place(to, it.exe);
    if let Some(book) = book(to, exe) {
        // SAFETY: as above.
        add(unsafe { &raw mut (*book).lives.started_moved }, 1);
    }
}

/// [`note_move`] for where the task's own path waits: a move that was noticed before is settled first.
///
/// Where switches serve closing alone nothing else may have settled it, and the time between the two moves would be
/// charged to neither of the cgroups that it was published for.
#[inline(always)]
pub(crate) fn note_next_move(task: Task, state: TaskStateRef, now: &Counters) {
    if offset!(closing_only) == 1 && is_split(state) {
        settle_split(state);
    }
    note_move(task, state, now);
}

/// Publishes, from outside of the task's own path, how far its counters had come when it was found moved.
#[inline(always)]
pub(crate) fn note_move(task: Task, state: TaskStateRef, now: &Counters) {
    let it = &raw mut *state.change();
    let css_set = task.css_set();
    let cgroup = cgroup::id_of_css_set(css_set);
    count_move(state, cgroup);
    // SAFETY: live state; volatile, so that the compiler keeps the order in which the switch-out relies on it.
    unsafe {
        (&raw mut (*it).split_valid).write_volatile(0);
        (&raw mut (*it).split).write_volatile(*now);
        (&raw mut (*it).split_css).write_volatile(css_set as u64);
        (&raw mut (*it).split_cgroup).write_volatile(cgroup);
        (*it).changes += u32::from(cgroup != (*it).cgroup);
        (&raw mut (*it).split_valid).write_volatile(1);
    }
}

/// Interns the task's executable (or, for kernel threads, its name up to a slash) and returns its id.
#[inline(always)]
pub(crate) fn executable(task: Task) -> u64 {
    let Some(name) = NAME.get_ptr_mut(0) else { return EXE_OTHER };
    // SAFETY: a live per-CPU map value; nothing else on this CPU uses it while the program runs.
    unsafe { *name = [0; 64] };
    if task.is_kernel_thread() || !mm::exe_name(task.mm(), name) {
        // SAFETY: as above; comm has 16 bytes.
        unsafe { bpf_probe_read_kernel_str(name.cast(), 16, task.comm_address().cast()) };
        cut_at_slash(name);
    }
    intern(name)
}

/// `kworker/0:1-events` and its like become `kworker`: their names change with what they do.
#[inline(always)]
fn cut_at_slash(name: *mut ExeName) {
    let mut cut = false;
    for i in 0..16 {
        // SAFETY: within the 64 bytes of the name.
        let byte = unsafe { name.cast::<u8>().add(i) };
        // SAFETY: as above.
        unsafe {
            cut |= *byte == b'/';
            if cut {
                *byte = 0;
            }
        }
    }
}

#[inline(always)]
fn intern(name: *const ExeName) -> u64 {
    // What follows the terminating NUL of a string read is undefined on old kernels, so the name is copied
    // up to it before it is hashed.
    let Some(clean) = NAME.get_ptr_mut(1) else { return EXE_OTHER };
    // SAFETY: both are live per-CPU map values of 64 bytes.
    unsafe {
        *clean = [0; 64];
        bpf_probe_read_kernel_str(clean.cast(), 64, name.cast());
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for i in 0..8 {
        // SAFETY: 64 bytes are eight aligned words.
        let word = unsafe { clean.cast::<u64>().add(i).read() };
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    let id = if hash == EXE_OTHER { 1 } else { hash };
    if EXES.get_ptr(id).is_none() {
        // SAFETY: a live map value.
        if EXES.insert(id, unsafe { &*clean }, 0).is_err() {
            lose(Loss::Exe);
        }
    }
    id
}
