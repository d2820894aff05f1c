#![cfg_attr(target_arch = "bpf", no_std, no_main)]
//! The kernel programs of podscope.

#[cfg(not(target_arch = "bpf"))]
fn main() {}
