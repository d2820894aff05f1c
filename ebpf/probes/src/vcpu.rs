//! Virtual CPUs: a histogram of each one's waits, and who ran meanwhile.
//!
//! User space says which threads they are ([`VCPUS`]), and the iterator notes it in their state. Of all other tasks a
//! switch reads four bytes of the name, no more.

use aya_ebpf::bindings::BPF_NOEXIST;
use podscope_abi::offsets::ABSENT;
use podscope_abi::{Blame, Loss};

use crate::books::add;
use crate::error::{Error, lose};
use crate::kernel::task::Task;
use crate::kvm;
use crate::maps::{BLAMES, VCPUS, offset};
use crate::state::{TaskStateRef, find};

/// How QEMU begins the name of a virtual CPU's thread: `CPU 0/KVM`.
const NAMED: u32 = u32::from_le_bytes(*b"CPU ");

/// For the iterator: notes whether a task is a virtual CPU.
#[inline(always)]
pub(crate) fn note(task: Task, state: TaskStateRef) {
    let slot = if task.name_begins() != NAMED {
        0
    } else {
        // SAFETY: user space alone writes the map; what is read may be gone by then.
        let known = unsafe { VCPUS.get(task.pid()) };
        known.filter(|vcpu| vcpu.leader_start == state.get().leader_start).map_or(0, |vcpu| vcpu.slot)
    };
    if state.get().vcpu != slot {
        state.change().vcpu = slot;
    }
}

/// A task gets the CPU that `before` leaves.
#[inline(always)]
pub(crate) fn note_before(before: Task, task: Task) -> Result<(), Error> {
    if task.name_begins() != NAMED {
        return Ok(());
    }
    let state = find(task).ok_or(Error::NotCounted)?;
    if state.get().vcpu != 0 {
        let it = state.change();
        it.ran_before = cgroup_of(before);
        it.ran_since = before.last_arrival();
        kvm::take_cpu(it.vcpu);
    }
    Ok(())
}

/// A virtual CPU leaves its CPU to `next`, after a turn for which it had waited.
///
/// Who ran right before it is to blame for as long as it ran, and for the time before that whoever took the CPU from
/// it. After a sleep nobody knows who that was.
#[inline(always)]
pub(crate) fn switch_out(task: Task, state: TaskStateRef, waited: u64, preempted: bool, next: Task) {
    let it = state.change();
    if waited != 0 {
        let last = task.last_arrival().saturating_sub(it.ran_since);
        let last = if it.ran_before == 0 {
            0
        } else if offset!(last_arrival) == ABSENT || last > waited {
            waited
        } else {
            last
        };
        blame(it.cgroup, it.ran_before, last);
        blame(it.cgroup, it.taken_by, waited - last);
    }
    it.taken_by = if preempted { cgroup_of(next) } else { 0 };
    kvm::leave_cpu(it.vcpu);
}

/// None of the idle task.
#[inline(always)]
fn cgroup_of(task: Task) -> u64 {
    find(task).map_or(0, |state| state.get().cgroup)
}

#[inline(always)]
fn blame(victim: u64, culprit: u64, ns: u64) {
    if ns == 0 {
        return;
    }
    let key = Blame { victim, culprit };
    if BLAMES.get_ptr_mut(key).is_none() {
        let _exists_or_full = BLAMES.insert(key, 0, BPF_NOEXIST.into());
    }
    match BLAMES.get_ptr_mut(key) {
        Some(sum) => add(sum, ns),
        None => lose(Loss::Blame),
    }
}
