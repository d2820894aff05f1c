//! Rare metadata that travels through the ring buffer: cgroups that come and go, OOM kills.

use bytemuck::{Pod, Zeroable};

/// The kinds of event, as [`EventHeader::kind`] carries them.
pub struct EventKind;

impl EventKind {
    /// A [`CgroupEvent`]: a directory was made.
    pub const CGROUP_MADE: u32 = 1;
    /// A [`CgroupEvent`]: a directory was removed.
    pub const CGROUP_REMOVED: u32 = 2;
    /// An [`OomEvent`].
    pub const OOM: u32 = 3;
    /// A [`CgroupEvent`]: a directory has a new name.
    pub const CGROUP_RENAMED: u32 = 4;
}

/// How every event begins.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct EventHeader {
    /// [`EventKind`].
    pub kind: u32,
    /// Meaning depends on the kind.
    pub detail: u32,
    /// Monotonic time, ns.
    pub time_ns: u64,
}
const _: () = assert!(size_of::<EventHeader>() == 16);

/// The longest cgroup path an event carries; a longer one arrives cut.
pub const PATH_MAX: usize = 512;

/// A cgroup directory was made, renamed or removed; `header.detail` is the hierarchy id.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct CgroupEvent {
    /// Begins every event.
    pub header: EventHeader,
    /// Inode of the directory.
    pub id: u64,
    /// Bytes used of `path`, without a terminating NUL.
    pub len: u64,
    /// Path below the hierarchy's root.
    pub path: [u8; PATH_MAX],
}
const _: () = assert!(size_of::<CgroupEvent>() == 32 + PATH_MAX);

/// The kernel chose a victim; `header.detail` is its pid.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct OomEvent {
    /// Begins every event.
    pub header: EventHeader,
    /// Cgroup id; 0 where the hook passes only a pid (5.10).
    pub cgroup: u64,
    /// Executable id; 0 where unknown.
    pub exe: u64,
    /// Start of the group leader, ns since boot; 0 where unknown.
    pub leader_start: u64,
    /// Resident pages, hugetlb included.
    pub resident_pages: u64,
    /// Thread-group id; 0 where unknown.
    pub tgid: u32,
    /// Always 0.
    pub pad: u32,
    /// `task_struct.comm`; empty where unknown.
    pub comm: [u8; 16],
}
const _: () = assert!(size_of::<OomEvent>() == 72);
