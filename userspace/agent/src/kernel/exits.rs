//! Why a guest was left, by the processor's code for it.

use podscope_abi::{Isa, Reason};

/// First and last code, and what they mean.
type Codes = &'static [(u32, u32, Reason)];

/// Basic exit reasons (Intel SDM, volume 3, appendix C; arch/x86/include/uapi/asm/vmx.h).
const VMX: Codes = &[
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
];

/// Exit codes (AMD APM, volume 2, appendix C; arch/x86/include/uapi/asm/svm.h). A device's memory is a nested page
/// fault (0x400) as well.
const SVM: Codes = &[
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
    (0x400, 0x400, Reason::PageFault),
    (0x401, 0x402, Reason::Apic),
];

/// Exception classes of `ESR_EL2` (Arm ARM, D17.2.37), and beyond them what is no exception of the guest. A device's
/// memory is a data abort as well.
const ARM64: Codes = &[
    (0x01, 0x01, Reason::Halt),
    (0x12, 0x13, Reason::Hypercall),
    (0x16, 0x17, Reason::Hypercall),
    (0x18, 0x18, Reason::Register),
    (0x20, 0x21, Reason::PageFault),
    (0x24, 0x25, Reason::PageFault),
    (Isa::ARM64_INTERRUPT, Isa::ARM64_INTERRUPT, Reason::Interrupt),
];

/// Every code whose reason is known.
pub(super) fn codes(isa: u32) -> impl Iterator<Item = (u32, Reason)> {
    let codes = match isa {
        Isa::VMX => VMX,
        Isa::SVM => SVM,
        Isa::ARM64 => ARM64,
        _ => &[],
    };
    codes.iter().flat_map(|&(first, last, reason)| (first..=last).map(move |code| (code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_the_manuals_have_them() {
        let reason = |isa, code| codes(isa).find(|(own, _)| *own == code).map(|(_, reason)| reason);
        for (isa, code, expected) in [
            (Isa::VMX, 12, Some(Reason::Halt)),
            (Isa::VMX, 30, Some(Reason::Io)),
            (Isa::VMX, 48, Some(Reason::PageFault)),
            (Isa::VMX, 49, Some(Reason::Mmio)),
            (Isa::VMX, 33, None),
            (Isa::SVM, 0x00, Some(Reason::ControlRegister)),
            (Isa::SVM, 0x60, Some(Reason::Interrupt)),
            (Isa::SVM, 0x78, Some(Reason::Halt)),
            (Isa::SVM, 0x7b, Some(Reason::Io)),
            (Isa::SVM, 0x400, Some(Reason::PageFault)),
            (Isa::SVM, 0x403, None),
            (Isa::ARM64, 0x01, Some(Reason::Halt)),
            (Isa::ARM64, 0x24, Some(Reason::PageFault)),
            (0, 12, None),
        ] {
            assert_eq!(reason(isa, code), expected, "{isa} {code:#x}");
        }
    }

    #[test]
    fn every_code_stands_once_and_fits() {
        for isa in [Isa::VMX, Isa::SVM, Isa::ARM64] {
            let all: Vec<u32> = codes(isa).map(|(code, _)| code).collect();
            assert!(all.is_sorted_by(|a, b| a < b) && all.iter().all(|code| *code < Reason::CODES), "{isa}");
        }
    }
}
