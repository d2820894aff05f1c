//! How KVM has run a virtual CPU.

use podscope_abi::{Kvm, Reason};

/// Sums of a virtual CPU, ns and exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Exits by [`Reason`].
    pub exits: [u64; Reason::COUNT],
    /// In the guest, on a CPU outside of it, polling while halted, asleep while halted: the values of
    /// `podscope.vm.vcpu.state`.
    pub states: [u64; 4],
}

impl Run {
    const GUEST: usize = 0;
    const HOST: usize = 1;
    const HALTED: usize = 3;

    /// As the kernel side has it, with what lasts since it last entered or left its guest. `now`: monotonic, ns.
    pub fn of(kvm: &Kvm, now: u64) -> Self {
        let mut states = [kvm.guest_ns, kvm.host_ns, kvm.polled_ns, kvm.halted_ns];
        if kvm.in_guest == 1 {
            states[Self::GUEST] += now.saturating_sub(kvm.since);
        } else {
            let until = if kvm.off_since == 0 { now } else { kvm.off_since };
            let away = until.saturating_sub(kvm.since);
            states[Self::HOST] += away.saturating_sub(kvm.off_ns).saturating_sub(kvm.polled_since);
            if kvm.off_since != 0 && kvm.reason == Reason::Halt as u32 {
                states[Self::HALTED] += now.saturating_sub(kvm.off_since);
            }
        }
        let mut exits = [0; Reason::COUNT];
        exits.copy_from_slice(&kvm.exits[..Reason::COUNT]);
        Self { exits, states }
    }

    /// Adds another thread's sums.
    pub fn add(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    /// Keeps every sum at least where it was.
    pub fn never_below(&mut self, last: &Self) {
        self.each(last, u64::max);
    }

    fn each(&mut self, other: &Self, apply: impl Fn(u64, u64) -> u64) {
        let to = self.exits.iter_mut().chain(&mut self.states);
        to.zip(other.exits.iter().chain(&other.states)).for_each(|(to, from)| *to = apply(*to, *from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_included() {
        let kvm = Kvm { guest_ns: 10, halted_ns: 20, since: 100, ..Kvm::NONE };
        assert_eq!(Run::of(&Kvm { in_guest: 1, ..kvm }, 150).states, [60, 0, 0, 20]);
        let asleep = Kvm { off_since: 120, reason: Reason::Halt as u32, ..kvm };
        assert_eq!(Run::of(&asleep, 150).states, [10, 20, 0, 50]);
        let elsewhere = Kvm { reason: Reason::Io as u32, ..asleep };
        assert_eq!(Run::of(&elsewhere, 150).states, [10, 20, 0, 20], "the emulator waits for something");
        let back = Kvm { off_since: 0, off_ns: 5, polled_since: 4, ..asleep };
        assert_eq!(Run::of(&back, 150).states, [10, 41, 0, 20]);
        assert_eq!(Run::of(&asleep, 0).states, [10, 20, 0, 20], "the clock of the reader");
    }

    #[test]
    fn sums_do_not_fall() {
        let mut run = Run { states: [5, 5, 5, 5], ..Run::default() };
        run.never_below(&Run { states: [1, 9, 1, 1], ..Run::default() });
        assert_eq!(run.states, [5, 9, 5, 5]);
        run.add(&Run { exits: [1; Reason::COUNT], ..Run::default() });
        assert_eq!(run.exits, [1; Reason::COUNT]);
    }

    #[test]
    fn reasons_stand_in_the_order_of_the_attribute() {
        let values = podscope_catalog::attribute::VM_EXIT_REASON.values;
        assert_eq!(values.len(), Reason::COUNT);
        for (reason, name) in
            [(Reason::Halt, "halt"), (Reason::Apic, "apic"), (Reason::Pause, "pause"), (Reason::Other, "other")]
        {
            assert_eq!(values[reason as usize], name);
        }
        assert_eq!(podscope_catalog::attribute::VCPU_STATE.values, ["guest", "host", "polling", "halted"]);
    }
}
