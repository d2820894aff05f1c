//! Attaching to KVM, which may be loaded long after the agent has given up its privileges.
//!
//! Raw tracepoints need no types to be loaded and no privilege to be attached. Where KVM keeps what its hooks do not
//! pass is looked up in its modules' types once they are there.

use std::fs;
use std::path::Path;

use aya::programs::Program as AyaProgram;
use podscope_abi::offsets::ABSENT;
use podscope_abi::{Isa, KvmLayout};

use super::Kernel;
use super::btf::{Btf, VMLINUX};
use super::exits;
use super::load::chain;
use super::programs::{Hook, Program};
use crate::status::{Board, Kind, State};

/// There once a module of KVM can run guests.
const DEVICE: &str = "/sys/class/misc/kvm";
/// How long until another attempt: each one reads the kernel's types.
const PATIENCE_NS: u64 = 60_000_000_000;

/// What is to be attached, and when it is tried.
#[derive(Debug)]
pub(super) struct Late {
    programs: Vec<&'static Program>,
    not_before: u64,
    board: Board,
}

impl Late {
    /// Takes the programs that were loaded and wait for KVM.
    pub(super) fn new(loaded: &[&'static Program], board: &Board) -> Self {
        let programs = loaded.iter().copied().filter(|program| program.hook == Hook::Kvm).collect();
        Self { programs, not_before: 0, board: board.clone() }
    }

    /// Whether nothing waits any more.
    pub(super) fn is_done(&self) -> bool {
        self.programs.is_empty()
    }

    fn tell(&self, state: &State) {
        self.programs.iter().for_each(|program| self.board.set(Kind::Probe, program.name, state.clone()));
    }
}

impl Kernel {
    /// Attaches to KVM if that has been loaded since. `now`: monotonic, ns.
    pub fn follow_kvm(&mut self, now: u64) {
        if self.late.is_done() || now < self.late.not_before {
            return;
        }
        if !Path::new(DEVICE).exists() {
            self.late.tell(&State::Off { reason: "kvm is not loaded; once it is, this is attached".to_owned() });
            return;
        }
        self.late.not_before = now + PATIENCE_NS;
        if let Err(reason) = self.attach_kvm() {
            self.late.tell(&State::Absent { reason });
        }
        super::release_memory();
    }

    fn attach_kvm(&mut self) -> Result<(), String> {
        let layout = layout()?;
        let told =
            exits::codes(layout.isa).try_for_each(|(code, reason)| self.kvm_reasons.set(&code, &(reason as u64)));
        let told = told.and_then(|()| self.kvm_layout.set(&0, &layout));
        told.map_err(|error| format!("cannot say where KVM keeps things: {error}"))?;
        while let Some(program) = self.late.programs.last() {
            let Some(AyaProgram::RawTracePoint(it)) = self.ebpf.program_mut(program.name) else {
                return Err("it is not part of the programs".to_owned());
            };
            it.attach(program.name).map_err(|error| format!("cannot attach: {}", chain(&error)))?;
            self.late.board.set(Kind::Probe, program.name, State::Up);
            self.late.programs.pop();
        }
        Ok(())
    }
}

/// Looks up where the modules keep what is read. What is not found is absent, and exits have the reason `other`.
fn layout() -> Result<KvmLayout, String> {
    let isa = if cfg!(target_arch = "aarch64") { Isa::ARM64 } else { isa_of(&cpuinfo()?) };
    let unknown = KvmLayout { isa, vcpu_id: ABSENT, vmcb: ABSENT, exit_code: ABSENT, exit_reason: ABSENT, pad: 0 };
    let module = match isa {
        Isa::VMX => "kvm_intel",
        Isa::SVM => "kvm_amd",
        _ => return Ok(unknown),
    };
    let mut btf = Btf::read(VMLINUX.as_ref()).map_err(|error| error.to_string())?;
    let file = Path::new("/sys/kernel/btf").join(module);
    // Built in, its types are the kernel's. Before 5.11 no module has types, and the hook passes the code.
    if file.exists() {
        btf.add_module(&file).map_err(|error| error.to_string())?;
    }
    let offset = |path| btf.member(path).map_or(ABSENT, |member| member.bit_offset / 8);
    Ok(KvmLayout {
        vcpu_id: offset("kvm_vcpu.vcpu_id"),
        vmcb: offset("vcpu_svm.vmcb"),
        exit_code: offset("vmcb.control.exit_code"),
        exit_reason: offset("vcpu_vmx.vt.exit_reason|vcpu_vmx.exit_reason"),
        ..unknown
    })
}

fn cpuinfo() -> Result<String, String> {
    fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("cannot read /proc/cpuinfo: {error}"))
}

/// Whose extensions the processor has; 0 where it has none, and guests run without.
fn isa_of(cpuinfo: &str) -> u32 {
    let mut flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default().split_whitespace();
    let isa = flags.find_map(|flag| match flag {
        "vmx" => Some(Isa::VMX),
        "svm" => Some(Isa::SVM),
        _ => None,
    });
    isa.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_says_whose_extensions_it_has() {
        let info = |flags: &str| format!("processor\t: 0\nvendor_id\t: x\nflags\t\t: fpu {flags} sse\nbugs\t\t: vmx\n");
        assert_eq!(isa_of(&info("vmx")), Isa::VMX);
        assert_eq!(isa_of(&info("svm nx")), Isa::SVM);
        assert_eq!((isa_of(&info("svm_lock")), isa_of("")), (0, 0));
    }
}
