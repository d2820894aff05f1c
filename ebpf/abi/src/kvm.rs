//! KVM: how a virtual CPU spends its time, and for what its guest is left.

use bytemuck::{Pod, Zeroable};

/// What a virtual CPU has done since it was first seen, by its slot. Its own thread alone writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Kvm {
    /// Exits by [`Reason`].
    pub exits: [u64; Reason::COUNT],
    /// Time in the guest, ns.
    pub guest_ns: u64,
    /// Time on a CPU outside of the guest, ns, polling excluded.
    pub host_ns: u64,
    /// Time on a CPU in which it was halted and polled for a reason to go on, ns.
    pub polled_ns: u64,
    /// Time in which it was halted and slept, ns.
    pub halted_ns: u64,
    /// When it last entered or left its guest, monotonic ns; 0 until either was seen.
    pub since: u64,
    /// When it last left its CPU, monotonic ns; 0 while it is on one.
    pub off_since: u64,
    /// Time off its CPU since it last left its guest, ns.
    pub off_ns: u64,
    /// What of `off_ns` was accounted for at a wake-up.
    pub off_seen: u64,
    /// Polling since it last left its guest, ns.
    pub polled_since: u64,
    /// 1 in the guest, 0 outside.
    pub in_guest: u32,
    /// [`Reason`] of the last exit.
    pub reason: u32,
}
const _: () = assert!(size_of::<Kvm>() == (Reason::COUNT + 10) * 8);

impl Kvm {
    /// Nothing yet.
    pub const NONE: Self = Self {
        exits: [0; Reason::COUNT],
        guest_ns: 0,
        host_ns: 0,
        polled_ns: 0,
        halted_ns: 0,
        since: 0,
        off_since: 0,
        off_ns: 0,
        off_seen: 0,
        polled_since: 0,
        in_guest: 0,
        reason: 0,
    };
}

/// Where KVM's modules keep what its hooks do not pass; [`crate::offsets::ABSENT`] where they lack it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct KvmLayout {
    /// [`Isa`].
    pub isa: u32,
    /// `kvm_vcpu.vcpu_id`.
    pub vcpu_id: u32,
    /// `vcpu_svm.vmcb`, a pointer.
    pub vmcb: u32,
    /// `vmcb.control.exit_code`.
    pub exit_code: u32,
    /// `vcpu_vmx.exit_reason`; `vcpu_vmx.vt.exit_reason` from 6.16.
    pub exit_reason: u32,
    /// Always 0.
    pub pad: u32,
}
const _: () = assert!(size_of::<KvmLayout>() == 24);

/// Whose codes the exits have.
pub struct Isa;

impl Isa {
    /// Intel's VMX; `KVM_ISA_VMX`.
    pub const VMX: u32 = 1;
    /// AMD's SVM; `KVM_ISA_SVM`.
    pub const SVM: u32 = 2;
    /// arm64.
    pub const ARM64: u32 = 3;
}

/// Why a guest was left, in the order of the attribute `podscope.vm.exit.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It has nothing to do.
    Halt,
    /// A port was read or written.
    Io,
    /// A device's memory was touched, where the processor tells that from a page that is missing.
    Mmio,
    /// A page of its memory was missing.
    PageFault,
    /// An interrupt of the host.
    Interrupt,
    /// It became ready for an interrupt of its own.
    InterruptWindow,
    /// Its interrupt controller.
    Apic,
    /// A timer of its own ran out.
    Timer,
    /// A model-specific or system register.
    Register,
    /// A control or debug register.
    ControlRegister,
    /// The processor's features were asked for.
    Cpuid,
    /// It called the hypervisor.
    Hypercall,
    /// It waits in a loop, as for a lock.
    Pause,
    /// An exception.
    Exception,
    /// Anything else.
    Other,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Reason::Other as usize + 1;

    /// The reason of a code. The low bits are looked up in a table, since a chain of comparisons takes longer.
    #[inline(always)]
    pub fn of(isa: u32, code: u32) -> u32 {
        let code = code as usize;
        let found = match isa {
            Isa::VMX if code < VMX.len() => VMX[code],
            // Nested page faults and the interrupt controller have codes of their own.
            Isa::SVM if code & !0xff == 0x400 => SVM_MEMORY[code & 3],
            Isa::SVM if code < SVM.len() => SVM[code],
            Isa::ARM64 if code < ARM64.len() => ARM64[code],
            _ => Reason::Other as u8,
        };
        u32::from(found)
    }
}

/// A table from lists of (first code, last code, reason).
const fn table<const N: usize>(ranges: &[(usize, usize, Reason)]) -> [u8; N] {
    let mut table = [Reason::Other as u8; N];
    let mut range = 0;
    while range < ranges.len() {
        let (first, last, reason) = ranges[range];
        let mut code = first;
        while code <= last {
            table[code] = reason as u8;
            code += 1;
        }
        range += 1;
    }
    table
}

/// Basic exit reasons (Intel SDM, volume 3, appendix C; arch/x86/include/uapi/asm/vmx.h).
static VMX: [u8; 80] = table(&[
    (0, 0, Reason::Exception),
    (1, 1, Reason::Interrupt),
    (7, 8, Reason::InterruptWindow),
    (10, 10, Reason::Cpuid),
    (12, 12, Reason::Halt),
    (18, 18, Reason::Hypercall),
    (28, 29, Reason::ControlRegister),
    (30, 30, Reason::Io),
    (31, 32, Reason::Register),
    (36, 36, Reason::Halt),
    (40, 40, Reason::Pause),
    (43, 45, Reason::Apic),
    (48, 48, Reason::PageFault),
    (49, 49, Reason::Mmio),
    (52, 52, Reason::Timer),
    (56, 56, Reason::Apic),
]);

/// Exit codes (AMD APM, volume 2, appendix C; arch/x86/include/uapi/asm/svm.h).
static SVM: [u8; 0xa0] = table(&[
    (0x00, 0x3f, Reason::ControlRegister),
    (0x40, 0x5f, Reason::Exception),
    (0x60, 0x61, Reason::Interrupt),
    (0x64, 0x64, Reason::InterruptWindow),
    (0x65, 0x65, Reason::ControlRegister),
    (0x72, 0x72, Reason::Cpuid),
    (0x77, 0x77, Reason::Pause),
    (0x78, 0x78, Reason::Halt),
    (0x7b, 0x7b, Reason::Io),
    (0x7c, 0x7c, Reason::Register),
    (0x81, 0x81, Reason::Hypercall),
    (0x8b, 0x8c, Reason::Halt),
]);

/// 0x400 and the codes after it. A device's memory is a nested page fault as well.
static SVM_MEMORY: [u8; 4] = [Reason::PageFault as u8, Reason::Apic as u8, Reason::Apic as u8, Reason::Other as u8];

/// Exception classes of `ESR_EL2` (Arm ARM, D17.2.37). A device's memory is a data abort as well.
static ARM64: [u8; 0x40] = table(&[
    (0x01, 0x01, Reason::Halt),
    (0x12, 0x13, Reason::Hypercall),
    (0x16, 0x17, Reason::Hypercall),
    (0x18, 0x18, Reason::Register),
    (0x20, 0x21, Reason::PageFault),
    (0x24, 0x25, Reason::PageFault),
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_the_manuals_have_them() {
        for (isa, code, reason) in [
            (Isa::VMX, 12, Reason::Halt),
            (Isa::VMX, 30, Reason::Io),
            (Isa::VMX, 48, Reason::PageFault),
            (Isa::VMX, 49, Reason::Mmio),
            (Isa::VMX, 33, Reason::Other),
            (Isa::VMX, 80, Reason::Other),
            (Isa::SVM, 0x00, Reason::ControlRegister),
            (Isa::SVM, 0x60, Reason::Interrupt),
            (Isa::SVM, 0x78, Reason::Halt),
            (Isa::SVM, 0x7b, Reason::Io),
            (Isa::SVM, 0x400, Reason::PageFault),
            (Isa::SVM, 0x402, Reason::Apic),
            (Isa::SVM, 0x403, Reason::Other),
            (Isa::SVM, u32::MAX, Reason::Other),
            (Isa::ARM64, 0x01, Reason::Halt),
            (Isa::ARM64, 0x24, Reason::PageFault),
            (Isa::ARM64, 0x40, Reason::Other),
            (0, 0, Reason::Other),
        ] {
            assert_eq!(Reason::of(isa, code), reason as u32, "{isa} {code:#x}");
        }
    }
}
