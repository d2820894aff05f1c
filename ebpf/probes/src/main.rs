#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics), allow(internal_features, reason = "atomic addition"))]
//! The kernel programs of podscope. What they read and when is ruled by ARCHITECTURE.md, "Accounting".
//!
//! A hook is a thin function that counts the error of its `try_…` function, where the work is.

#![expect(clippy::needless_borrows_for_generic_args, reason = "without them large values are copied to the stack")]

mod books;
mod cgroups;
mod error;
mod kernel;
mod kvm;
mod maps;
mod memory;
mod process;
mod sched;
mod state;
mod tasks;
mod vcpu;

/// The kernel reads this to allow GPL-only helpers (`bpf_probe_read_kernel`, `bpf_seq_write`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier would refuse a reachable loop without end: none of the programs can panic.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
