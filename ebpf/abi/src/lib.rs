//! What crosses the boundary between the kernel programs and the agent, nothing else.
//!
//! Every type is `repr(C)`, made of fixed-width integers and arrays of them, and has its size asserted.
//! Kernel times are nanoseconds; memory is in pages of the running kernel; identities are explained at
//! the field that carries them.
#![no_std]

pub mod counters;
pub mod event;
pub mod histogram;
pub mod kvm;
pub mod offsets;
pub mod task;

pub use counters::{Book, BookKey, Closed, ClosedKey, Counters, Lives};
pub use event::{CgroupEvent, EventHeader, EventKind, OomEvent};
pub use histogram::Histogram;
pub use kvm::{Isa, Kvm, KvmLayout, Reason};
pub use offsets::Offsets;
pub use task::{Blame, RecordKind, TaskFlags, TaskRecord, TaskState, Vcpu};

/// An executable's base name, NUL-padded; at most 63 bytes are kept.
pub type ExeName = [u8; 64];

/// The executable id under which everything beyond the per-cgroup bound is booked (`_other`).
pub const EXE_OTHER: u64 = 0;

/// How many executables one cgroup gets a book of its own for; the rest share [`EXE_OTHER`].
pub const EXES_PER_CGROUP: u32 = 32;

/// The cgroup id under which work is booked when no cgroup entry is left.
pub const CGROUP_OVERFLOW: u64 = 0;

/// A cgroup that has had tasks since the agent attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Cgroup {
    /// Its histogram in the `WAITS` map; slot 0 is shared by those that got none.
    pub slot: u32,
    /// Executables that have a book of their own.
    pub exes: u32,
}
const _: () = assert!(size_of::<Cgroup>() == 8);

/// Index into the `CONTROL` map, by which user space steers the programs.
pub struct Control;

impl Control {
    /// Start of the first pass over all tasks, ns since boot; 0 until it has begun. A task older than that is
    /// counted from its first sight only.
    pub const BASELINE: u32 = 0;
    /// How many books may still be made for executables; the last quarter of the map is for the rests of cgroups, so
    /// that each has a book of its own. Set anew by every collection.
    pub const EXE_BOOKS: u32 = 1;
    /// Moves of processes with several threads between cgroups so far; counted by the kernel side.
    pub const MOVES_NOTICED: u32 = 2;
    /// [`Self::MOVES_NOTICED`] before the last pass over all tasks that found all those threads charged to their new
    /// cgroups. While the two differ, switches without scheduling detail look for moves.
    pub const MOVES_FOLLOWED: u32 = 3;
    /// Entries.
    pub const LEN: u32 = 4;
}

/// What the kernel side counts when something did not fit or was not there: the index into the `LOSSES` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// A task's state could not be created (no memory, or its map is full).
    TaskState = 0,
    /// A dying task's state could not be read, so its last increment is missing.
    Closing = 1,
    /// No free entry for a (cgroup, executable) book: the executable shares the book of its cgroup's rest, or, where
    /// that is missing too, the increment went to the overflow book.
    Book = 2,
    /// No free entry for a process with closed threads; its process total lacks them.
    Closed = 3,
    /// No free cgroup entry; its waits share the overflow histogram.
    Cgroup = 4,
    /// No free entry for an executable's name.
    Exe = 5,
    /// The ring buffer was full.
    Event = 6,
    /// A task record could not be written to the reader.
    Record = 7,
    /// No free entry for who ran while a virtual CPU waited.
    Blame = 8,
}

impl Loss {
    /// Every reason, in index order.
    pub const ALL: [Loss; 9] = [
        Loss::TaskState,
        Loss::Closing,
        Loss::Book,
        Loss::Closed,
        Loss::Cgroup,
        Loss::Exe,
        Loss::Event,
        Loss::Record,
        Loss::Blame,
    ];

    /// The name it has as an attribute value.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::TaskState => "task_state",
            Loss::Closing => "closing",
            Loss::Book => "book",
            Loss::Closed => "closed",
            Loss::Cgroup => "cgroup",
            Loss::Exe => "exe",
            Loss::Event => "event",
            Loss::Record => "record",
            Loss::Blame => "blame",
        }
    }
}
