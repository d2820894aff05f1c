//! KVM: how a virtual CPU spends its time, and for what its guest is left.

use bytemuck::{Pod, Zeroable};

/// What a virtual CPU has done since it was first seen, by its slot. Its own thread alone writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Kvm {
    /// Exits by [`Reason`].
    pub exits: [u64; Reason::PLACES],
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
const _: () = assert!(size_of::<Kvm>() == (Reason::PLACES + 10) * 8 && Reason::COUNT <= Reason::PLACES);

impl Kvm {
    /// Nothing yet.
    pub const NONE: Self = Self {
        exits: [0; Reason::PLACES],
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
    /// The code that stands for an interrupt of the host on arm64, where exceptions alone have codes.
    pub const ARM64_INTERRUPT: u32 = 0x100;
}

/// Why a guest was left, in the order of the attribute `podscope.vm.exit.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Anything that is not below.
    Other,
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
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Reason::Exception as usize + 1;
    /// Places in a table of them: a power of two, so that a mask is a bound.
    pub const PLACES: usize = 16;
    /// Codes of exits that the kernel side knows the reasons of: from 0 up to here.
    pub const CODES: u32 = 0x500;
}
