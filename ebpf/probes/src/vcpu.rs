//! Virtual CPUs: a histogram of each one's waits, and who ran meanwhile.
//!
//! User space says which threads they are ([`VCPUS`]), and the iterator notes it in their state. Of all other tasks a
//! switch reads four bytes of the name, no more.

use podscope_abi::{Blame, Loss};

use crate::books::add;
use crate::error::{Error, lose};
use crate::kernel::task::Task;
use crate::maps::{BLAMES, VCPUS};
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
        state.change().ran_before = find(before).map_or(0, |before| before.get().cgroup);
    }
    Ok(())
}

/// A virtual CPU has waited: the blame is on who ran right before it.
#[inline(always)]
pub(crate) fn blame(state: TaskStateRef, waited: u64) {
    let it = state.get();
    if it.ran_before == 0 || waited == 0 {
        return;
    }
    let key = Blame { victim: it.cgroup, culprit: it.ran_before };
    match BLAMES.get_ptr_mut(key) {
        Some(sum) => add(sum, waited),
        None => {
            if BLAMES.insert(key, waited, 0).is_err() {
                lose(Loss::Blame);
            }
        }
    }
}
