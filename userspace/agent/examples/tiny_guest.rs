//! The smallest virtual machine: a few instructions in 64 KiB of memory, run by KVM, for the tests to count.
//!
//! Looks like an emulator: its one virtual CPU is a thread named as QEMU names it, and its arguments are passed over.
//! A line `io N`, `cpuid N`, `spin N` or `halt N` on standard input makes the guest do that N times; it answers with
//! the exits that reached it and the nanoseconds that it was in the guest by its own clock.
#![expect(unsafe_code, reason = "the guest's memory is handed to KVM by its address")]
#![cfg_attr(not(target_arch = "x86_64"), expect(missing_docs, reason = "there is no guest for this processor"))]

#[cfg(target_arch = "x86_64")]
fn main() -> anyhow::Result<()> {
    let vcpu = std::thread::Builder::new().name("CPU 0/KVM".to_owned()).spawn(guest::run)?;
    vcpu.join().map_err(|_| anyhow::anyhow!("the virtual CPU's thread failed"))?
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod guest {
    use std::io::{BufRead, Write, stdin, stdout};
    use std::time::Instant;

    use anyhow::{Context, Result, bail};
    use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config, kvm_userspace_memory_region};
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

    const SIZE: usize = 64 << 10;
    const STACK: u64 = 0x8000;
    /// Interrupt 0x20, the timer's: offset and segment of its handler.
    const VECTOR: usize = 0x20 * 4;
    const HANDLER: usize = 0x3000;
    const ROUTINES: usize = 0x1000;
    const ROUTINE: usize = 0x100;
    /// A write to this port says that the guest is done.
    const DONE: u16 = 0x99;
    /// A port without a device.
    const NOBODY: u64 = 0x3f8;

    /// In real mode; each ends with a write to [`DONE`] and repeats by `ecx` or `esi`.
    const CODE: [(&str, &[u8]); 4] = [
        // out dx, al; dec ecx; jnz
        ("io", &[0xee, 0x66, 0x49, 0x75, 0xfb, 0xe6, 0x99]),
        // xor eax, eax; cpuid; dec esi; jnz
        ("cpuid", &[0x66, 0x31, 0xc0, 0x0f, 0xa2, 0x66, 0x4e, 0x75, 0xf7, 0xe6, 0x99]),
        // dec ecx; jnz
        ("spin", &[0x66, 0x49, 0x75, 0xfc, 0xe6, 0x99]),
        ("halt", HALT),
    ];
    /// Lets the timer interrupt it 18.2 times a second, and halts until it does.
    const HALT: &[u8] = &[
        // The interrupt controller: vectors from 0x20, the timer's line alone.
        0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe,
        0xe6, 0x21, // The timer: mode 2, 65,536 of its ticks.
        0xb0, 0x34, 0xe6, 0x43, 0xb0, 0x00, 0xe6, 0x40, 0xb0, 0x00, 0xe6, 0x40,
        // sti; hlt; dec ecx; jnz; cli
        0xfb, 0xf4, 0x66, 0x49, 0x75, 0xfa, 0xfa, 0xe6, 0x99,
    ];
    /// mov al, 0x20; out 0x20, al; iret
    const END_OF_INTERRUPT: &[u8] = &[0xb0, 0x20, 0xe6, 0x20, 0xcf];

    #[repr(align(4096))]
    struct Memory([u8; SIZE]);

    /// Does what it is told until nobody tells it anything any more.
    pub(super) fn run() -> Result<()> {
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let vm = kvm.create_vm().context("KVM makes no virtual machine")?;
        vm.create_irq_chip().context("KVM makes no interrupt controller")?;
        let timer = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..kvm_pit_config::default() };
        vm.create_pit2(timer).context("KVM makes no timer")?;
        give_memory(&vm)?;
        let mut vcpu = vm.create_vcpu(0).context("KVM makes no virtual CPU")?;
        println!("ready");
        for line in stdin().lock().lines() {
            let line = line.context("cannot read standard input")?;
            let (what, count) = line.split_once(' ').with_context(|| format!("{line:?} is no order"))?;
            let routine = CODE.iter().position(|(name, _)| *name == what);
            let routine = routine.with_context(|| format!("there is no {what:?}"))?;
            start(&vcpu, (ROUTINES + routine * ROUTINE) as u64, count.parse().context("no count")?)?;
            let begin = Instant::now();
            let exits = until_done(&mut vcpu)?;
            writeln!(stdout(), "{exits} {}", begin.elapsed().as_nanos()).context("cannot answer")?;
        }
        Ok(())
    }

    fn give_memory(vm: &VmFd) -> Result<()> {
        let Memory(bytes) = Box::leak(Box::new(Memory([0; SIZE])));
        for (index, (_, code)) in CODE.iter().enumerate() {
            let at = ROUTINES + index * ROUTINE;
            bytes[at..at + code.len()].copy_from_slice(code);
        }
        bytes[HANDLER..HANDLER + END_OF_INTERRUPT.len()].copy_from_slice(END_OF_INTERRUPT);
        bytes[VECTOR..VECTOR + 2].copy_from_slice(&(HANDLER as u16).to_le_bytes());
        let region = kvm_userspace_memory_region {
            userspace_addr: bytes.as_ptr() as u64,
            memory_size: SIZE as u64,
            ..kvm_userspace_memory_region::default()
        };
        // SAFETY: the memory is never freed, and nobody but the guest uses it from here on.
        unsafe { vm.set_user_memory_region(region) }.context("KVM does not take the memory")
    }

    fn start(vcpu: &VcpuFd, at: u64, count: u64) -> Result<()> {
        let mut segments = vcpu.get_sregs().context("KVM does not tell the segments")?;
        (segments.cs.base, segments.cs.selector) = (0, 0);
        vcpu.set_sregs(&segments).context("KVM does not take the segments")?;
        let mut registers = vcpu.get_regs().context("KVM does not tell the registers")?;
        (registers.rip, registers.rsp, registers.rflags) = (at, STACK, 2);
        (registers.rcx, registers.rsi, registers.rdx) = (count, count, NOBODY);
        vcpu.set_regs(&registers).context("KVM does not take the registers")
    }

    /// Exits to this program, the last one included.
    fn until_done(vcpu: &mut VcpuFd) -> Result<u64> {
        let mut exits = 0;
        loop {
            match vcpu.run() {
                Ok(VcpuExit::IoOut(port, _)) => {
                    exits += 1;
                    if port == DONE {
                        return Ok(exits);
                    }
                }
                Ok(other) => bail!("the guest stopped with {other:?}"),
                Err(error) if error.errno() == libc::EINTR => {}
                Err(error) => bail!("KVM cannot run the guest: {error}"),
            }
        }
    }
}
