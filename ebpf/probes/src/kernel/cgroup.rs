//! `struct css_set`, `struct cgroup_subsys_state`, `struct cgroup` (include/linux/cgroup-defs.h), `struct kernfs_node`.

use super::{member, pointer};
use crate::maps::offset;

/// Inode of the cgroup that a `css_set` names in the hierarchy we account by.
#[inline(always)]
pub(crate) fn id_of_css_set(css_set: *const u8) -> u64 {
    let slot = offset!(subsys_slot);
    let cgroup = if slot == 0 {
        pointer(css_set, offset!(css_default))
    } else {
        let state = pointer(css_set, offset!(css_subsys) + (slot - 1) * 8);
        pointer(state, offset!(subsys_cgroup))
    };
    id(cgroup)
}

/// Inode of a cgroup's directory.
#[inline(always)]
pub(crate) fn id(cgroup: *const u8) -> u64 {
    member(pointer(cgroup, offset!(cgroup_kn)), offset!(kn_id))
}

/// Number of the hierarchy a cgroup belongs to.
#[inline(always)]
pub(crate) fn hierarchy(cgroup: *const u8) -> u32 {
    member(pointer(cgroup, offset!(cgroup_root)), offset!(root_hierarchy))
}
