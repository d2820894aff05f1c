//! `struct mm_struct` (include/linux/mm_types.h) and the way to the executable's name.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use podscope_abi::ExeName;

use super::{copied, member};
use crate::maps::offset;

/// The kinds of `rss_stat`.
pub(crate) const FILE: u32 = 0;
pub(crate) const ANON: u32 = 1;
pub(crate) const SWAP: u32 = 2;
pub(crate) const SHMEM: u32 = 3;

/// Pages of a kind. Per-CPU counters (6.2 and later) lag by up to a batch per CPU; a negative sum reads as zero.
#[inline(always)]
pub(crate) fn pages(mm: *const u8, kind: u32) -> i64 {
    let at = offset!(rss_stat) + kind * offset!(rss_stride);
    let count: i64 = if offset!(rss_percpu) == 1 { member(mm, at + offset!(percpu_count)) } else { copied(mm, at) };
    if count < 0 { 0 } else { count }
}

/// Resident pages: file, anonymous and shared memory, and hugetlb, which the kernel leaves out of RSS.
#[inline(always)]
pub(crate) fn resident(mm: *const u8) -> u64 {
    (pages(mm, FILE) + pages(mm, ANON) + pages(mm, SHMEM)) as u64 + hugetlb(mm)
}

/// Hugetlb memory in base pages. `atomic_long_t`, which is not dereferenced.
#[inline(always)]
pub(crate) fn hugetlb(mm: *const u8) -> u64 {
    copied(mm, offset!(hugetlb))
}

/// Virtual pages of data and stack.
#[inline(always)]
pub(crate) fn data_pages(mm: *const u8) -> u64 {
    let (data, stack): (u64, u64) = (member(mm, offset!(data_vm)), member(mm, offset!(stack_vm)));
    data + stack
}

/// Reads the base name of the executable into `name`; false when there is none.
#[inline(always)]
pub(crate) fn exe_name(mm: *const u8, name: *mut ExeName) -> bool {
    if mm.is_null() {
        return false;
    }
    let file: u64 = copied(mm, offset!(exe_file));
    if file == 0 {
        return false;
    }
    let dentry: u64 = copied(file as *const u8, offset!(file_dentry));
    let text: u64 = copied(dentry as *const u8, offset!(dentry_name));
    // SAFETY: `name` points to a map value of that size.
    let length = unsafe { bpf_probe_read_kernel_str(name.cast(), size_of::<ExeName>() as u32, text as *const _) };
    length > 1
}
