//! The kernel structs that are read, one file each. Offsets come from the running kernel's BTF.
//!
//! Pointers that a `tp_btf` or iterator program got from the kernel may be dereferenced directly: the verifier
//! checks each access against the kernel's own types, and a fault reads zero.

pub(crate) mod cgroup;
pub(crate) mod mm;
pub(crate) mod signal;
pub(crate) mod task;

use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_probe_read_kernel,
};
use podscope_abi::offsets::ABSENT;

/// Reads a member by dereference; zero where the kernel does not have it.
#[inline(always)]
pub(crate) fn member<T: Copy + Default>(base: *const u8, offset: u32) -> T {
    if offset == ABSENT {
        return T::default();
    }
    // SAFETY: `base` is a kernel object that the verifier knows by its BTF type, and it checks the access.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// Reads a pointer member by dereference; null where the kernel does not have it.
#[inline(always)]
pub(crate) fn pointer(base: *const u8, offset: u32) -> *const u8 {
    if offset == ABSENT {
        return core::ptr::null();
    }
    // SAFETY: as in `member`.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<*const u8>()) }
}

/// Reads a member by copying, for types that the verifier does not let a program dereference.
#[inline(always)]
pub(crate) fn copied<T: Copy + Default>(base: *const u8, offset: u32) -> T {
    if offset == ABSENT {
        return T::default();
    }
    let mut value = T::default();
    // SAFETY: the helper writes `size_of::<T>()` bytes to `value`, or zeroes them when the read faults.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset as usize).cast(),
        );
    }
    value
}

/// Monotonic time, ns (`CLOCK_MONOTONIC`).
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Time since boot, suspended time included, ns (`CLOCK_BOOTTIME`); from 5.8.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Id of the running task in the initial pid namespace.
#[inline(always)]
pub(crate) fn current_pid() -> u32 {
    // SAFETY: a helper without arguments.
    (unsafe { bpf_get_current_pid_tgid() }) as u32
}

/// The running task, to be copied from.
#[inline(always)]
pub(crate) fn current_task() -> *const u8 {
    // SAFETY: a helper without arguments.
    (unsafe { bpf_get_current_task() }) as *const u8
}
