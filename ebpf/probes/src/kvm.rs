//! KVM: how long each virtual CPU was in its guest, and for what it left it.
//!
//! KVM is a module that may be loaded after the agent. Its types are not known when the programs are verified, so they
//! are raw tracepoints, which need none: user space says later where the module keeps what is read ([`KVM_LAYOUT`]),
//! and attaches them then.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use podscope_abi::offsets::ABSENT;
use podscope_abi::{Isa, Kvm, KvmLayout, Reason};

use crate::error::{Error, settle_quietly};
use crate::kernel::{copied, current_task, now_ns};
use crate::maps::{KVM, KVM_LAYOUT, KVM_REASONS, offset};
use crate::state::{TaskStateRef, find_current};

/// `ARM_EXCEPTION_IRQ` and `ARM_EXCEPTION_TRAP` (arch/arm64/include/asm/kvm_asm.h).
const ARM_IRQ: u32 = 0;
const ARM_TRAP: u32 = 2;

/// `kvm_exit(unsigned int exit_reason, struct kvm_vcpu *vcpu, u32 isa)` on 5.10, `kvm_exit(struct kvm_vcpu *vcpu,
/// u32 isa)` later; on arm64 `kvm_exit(int ret, unsigned int esr_ec, unsigned long vcpu_pc)`.
#[raw_tracepoint(tracepoint = "kvm_exit")]
pub(crate) fn kvm_exit(ctx: RawTracePointContext) -> i32 {
    settle_quietly(try_exit(&ctx))
}

#[inline(always)]
fn try_exit(ctx: &RawTracePointContext) -> Result<(), Error> {
    let state = find_current().ok_or(Error::NotCounted)?;
    let layout = KVM_LAYOUT.get(0).ok_or(Error::NotCounted)?;
    let (first, second) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    note_number(state, layout, first, second);
    let slot = state.get().vcpu;
    if slot == 0 {
        return Err(Error::NotCounted);
    }
    let kvm = kvm(slot)?;
    let reason = KVM_REASONS.get(code(layout, first, second)).copied().unwrap_or(Reason::Other as u64);
    let place = reason as usize & (Reason::PLACES - 1);
    kvm.exits[place] += 1;
    kvm.reason = place as u32;
    let now = now_ns();
    if kvm.in_guest == 1 {
        leave_guest(kvm, now);
    } else if kvm.since == 0 {
        kvm.since = now;
    }
    Ok(())
}

/// A virtual CPU's number, by which user space knows it whatever its thread is called.
#[inline(always)]
fn note_number(state: TaskStateRef, layout: &KvmLayout, first: u64, second: u64) {
    if state.get().kvm_vcpu != 0 || layout.isa == Isa::ARM64 || layout.vcpu_id == ABSENT {
        return;
    }
    let vcpu = if is_code(first) { second } else { first };
    // KVM has 4096 of them at most.
    state.change().kvm_vcpu = (copied::<u32>(vcpu as *const u8, layout.vcpu_id) as u16).wrapping_add(1);
}

/// Whether the first argument is the exit's code, as on 5.10, and no address.
#[inline(always)]
fn is_code(first: u64) -> bool {
    first >> 32 == 0
}

/// The processor's code for an exit.
#[inline(always)]
fn code(layout: &KvmLayout, first: u64, second: u64) -> u32 {
    if layout.isa == Isa::ARM64 {
        return match first as u32 {
            ARM_TRAP => second as u32,
            ARM_IRQ => Isa::ARM64_INTERRUPT,
            _ => u32::MAX,
        };
    }
    if is_code(first) {
        return if layout.isa == Isa::VMX { first as u16 as u32 } else { first as u32 };
    }
    let vcpu = first as *const u8;
    if layout.isa == Isa::VMX {
        if layout.exit_reason == ABSENT { u32::MAX } else { copied::<u16>(vcpu, layout.exit_reason) as u32 }
    } else if layout.vmcb == ABSENT || layout.exit_code == ABSENT {
        u32::MAX
    } else {
        let vmcb: u64 = copied(vcpu, layout.vmcb);
        copied(vmcb as *const u8, layout.exit_code)
    }
}

/// `kvm_entry(struct kvm_vcpu *vcpu[, bool force_immediate_exit])`, unused; on arm64 `kvm_entry(unsigned long
/// vcpu_pc)`.
#[raw_tracepoint(tracepoint = "kvm_entry")]
pub(crate) fn kvm_entry(_ctx: RawTracePointContext) -> i32 {
    settle_quietly(try_entry())
}

#[inline(always)]
fn try_entry() -> Result<(), Error> {
    let slot = find_current().ok_or(Error::NotCounted)?.get().vcpu;
    if slot == 0 {
        return Err(Error::NotCounted);
    }
    let kvm = kvm(slot)?;
    let now = now_ns();
    if kvm.since != 0 && kvm.in_guest == 0 {
        let away = now.saturating_sub(kvm.since);
        kvm.host_ns += away.saturating_sub(kvm.off_ns).saturating_sub(kvm.polled_since);
    }
    kvm.in_guest = 1;
    kvm.since = now;
    Ok(())
}

/// `kvm_vcpu_wakeup(u64 ns, bool waited, bool valid)`: a halted virtual CPU has a reason to go on.
///
/// What of `ns` it was on its CPU it polled; what it was off it and not waiting for one it slept.
#[raw_tracepoint(tracepoint = "kvm_vcpu_wakeup")]
pub(crate) fn kvm_vcpu_wakeup(ctx: RawTracePointContext) -> i32 {
    settle_quietly(try_wakeup(ctx.arg::<u64>(0)))
}

#[inline(always)]
fn try_wakeup(ns: u64) -> Result<(), Error> {
    let state = find_current().ok_or(Error::NotCounted)?;
    let slot = state.get().vcpu;
    if slot == 0 {
        return Err(Error::NotCounted);
    }
    let kvm = kvm(slot)?;
    if kvm.since == 0 || kvm.in_guest == 1 {
        return Ok(());
    }
    let off = kvm.off_ns.saturating_sub(kvm.off_seen);
    let off = if off > ns { ns } else { off };
    kvm.off_seen = kvm.off_ns;
    kvm.polled_ns += ns - off;
    kvm.polled_since += ns - off;
    let queued =
        if offset!(trace_wait) == 1 { state.get().wait_ns } else { copied(current_task(), offset!(run_delay)) };
    kvm.halted_ns += off.saturating_sub(queued.saturating_sub(state.get().wait_seen));
    Ok(())
}

/// A virtual CPU leaves its CPU.
#[inline(always)]
pub(crate) fn leave_cpu(slot: u32) {
    let Ok(kvm) = kvm(slot) else { return };
    if kvm.since == 0 {
        return;
    }
    let now = now_ns();
    if kvm.in_guest == 1 {
        // Where the exit's hook comes after interrupts are let in (5.10 on AMD).
        leave_guest(kvm, now);
    }
    kvm.off_since = now;
}

/// A virtual CPU gets a CPU.
#[inline(always)]
pub(crate) fn take_cpu(slot: u32) {
    let Ok(kvm) = kvm(slot) else { return };
    if kvm.off_since != 0 {
        kvm.off_ns += now_ns().saturating_sub(kvm.off_since);
        kvm.off_since = 0;
    }
}

#[inline(always)]
fn leave_guest(kvm: &mut Kvm, now: u64) {
    kvm.guest_ns += now.saturating_sub(kvm.since);
    kvm.in_guest = 0;
    kvm.since = now;
    (kvm.off_ns, kvm.off_seen, kvm.polled_since) = (0, 0, 0);
}

#[inline(always)]
fn kvm<'a>(slot: u32) -> Result<&'a mut Kvm, Error> {
    let kvm = KVM.get_ptr_mut(slot).ok_or(Error::NotCounted)?;
    // SAFETY: a live map value; the thread whose slot it is alone writes it, here and at its own switches.
    Ok(unsafe { &mut *kvm })
}
