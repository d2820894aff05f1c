//! Loading, attaching and reading the kernel programs. The only room of user space that may use `unsafe`.
#![allow(unsafe_code, reason = "bpf(2) calls that aya does not offer")]

pub mod btf;
mod events;
mod exits;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod klog;
mod kvm;
mod load;
pub mod offsets;
pub mod programs;
mod sys;
pub mod verifier;

use std::collections::HashMap;
use std::io::{self, Read};
use std::time::Duration;

use aya::Ebpf;
use aya::programs::Iter;
use aya_log::EbpfLogger;
use podscope_abi::{
    Blame, Book, BookKey, Cgroup, Closed, ClosedKey, Control, ExeName, Histogram, Kvm, KvmLayout, Loss, RecordKind,
    TaskRecord, Vcpu,
};

use crate::text::executable;

pub use events::{Event, Events, Oom, text};
pub use klog::KernelLog;
pub use load::{LoadError, Options};
pub use sys::Table;

/// The loaded and attached programs and their maps.
pub struct Kernel {
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    ebpf: Ebpf,
    /// Closed increments.
    pub books: Table<BookKey, Book>,
    /// Closed threads and ended processes.
    pub closed: Table<ClosedKey, Closed>,
    /// Cgroups and their histogram slots.
    pub cgroups: Table<u64, Cgroup>,
    /// Virtual CPUs, for the kernel side to know.
    pub vcpus: Table<u32, Vcpu>,
    /// Waits of virtual CPUs by who ran before them.
    pub blames: Table<Blame, u64>,
    waits: Table<u32, Histogram>,
    exes: Table<u64, ExeName>,
    losses: Table<u32, u64>,
    control: Table<u32, u64>,
    kvm: Table<u32, Kvm>,
    kvm_layout: Table<u32, KvmLayout>,
    kvm_reasons: Table<u32, u64>,
    late: kvm::Late,
    slots: aya::maps::Queue<aya::maps::MapData, u32>,
    buffer: Vec<u64>,
    baseline_set: bool,
    counts_waits: bool,
    /// Moves whose threads are all charged to where they are.
    moves_followed: u64,
}

/// What a pass over all tasks learns of moves between cgroups.
#[derive(Debug, Default)]
struct Moves {
    /// How many of processes with several threads there were before the pass.
    noticed: u64,
    /// Whether a thread was found that has not followed its process's move at a switch-out of its own.
    open: bool,
    /// The cgroup that the next record's task has left.
    left: Option<u64>,
}

impl Moves {
    fn take(&mut self, record: &TaskRecord) {
        match record.kind {
            RecordKind::PART => self.left = Some(record.cgroup),
            RecordKind::TASK => {
                self.open |= self.left.take().is_some_and(|left| left != record.cgroup) && record.threads > 1;
            }
            _ => {}
        }
    }
}

/// What the kernel says of a program's cost (`kernel.bpf_stats_enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Run time.
    pub time: Duration,
    /// Runs.
    pub runs: u64,
}

impl Kernel {
    /// Calls `each` for every living task of the agent's pid namespace. The first pass also takes every older
    /// task on, at zero.
    ///
    /// # Errors
    /// When the iterator is not loaded or cannot be read.
    pub fn tasks(&mut self, mut each: impl FnMut(&TaskRecord)) -> io::Result<usize> {
        let mut file = self.open_iterator()?;
        let mut moves = Moves { noticed: self.moves_noticed(), ..Moves::default() };
        let mut count = 0;
        let mut kept = 0;
        loop {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer);
            let read = match file.read(&mut bytes[kept..]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let filled = kept + read;
            let whole = filled / size_of::<TaskRecord>() * size_of::<TaskRecord>();
            for record in bytemuck::cast_slice::<u8, TaskRecord>(&bytes[..whole]) {
                moves.take(record);
                each(record);
                count += 1;
            }
            bytes.copy_within(whole..filled, 0);
            kept = filled - whole;
        }
        if !self.baseline_set {
            self.baseline_set = true;
            self.control.set(&Control::BASELINE, &boot_ns())?;
        }
        if !moves.open && moves.noticed != self.moves_followed {
            self.control.set(&Control::MOVES_FOLLOWED, &moves.noticed)?;
            self.moves_followed = moves.noticed;
        }
        Ok(count)
    }

    fn moves_noticed(&self) -> u64 {
        self.control.get(&Control::MOVES_NOTICED).unwrap_or(self.moves_followed)
    }

    /// Whether switches without scheduling detail look for moves now: a process with several threads has moved, and
    /// not all of them have run since, as far as the last pass over all tasks knew.
    pub fn moves_are_open(&self) -> bool {
        self.moves_noticed() != self.moves_followed
    }

    /// Whether the kernel itself counts run-queue waits (`sched_info`).
    pub fn counts_waits(&self) -> bool {
        self.counts_waits
    }

    /// Passes on what the kernel programs have logged.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    fn open_iterator(&mut self) -> io::Result<std::fs::File> {
        let program: &mut Iter = self
            .ebpf
            .program_mut("task")
            .ok_or_else(|| io::Error::other("the task iterator is not part of the programs"))?
            .try_into()
            .map_err(io::Error::other)?;
        let link = program.attach().map_err(io::Error::other)?;
        program.take_link(link).map_err(io::Error::other)?.into_file().map_err(io::Error::other)
    }

    /// The name of an executable, with what cannot be shown written out.
    pub fn exe_name(&self, id: u64) -> Option<String> {
        let bytes = self.exes.get(&id)?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        Some(executable(&bytes[..end]))
    }

    /// The waits of a slot.
    pub fn waits(&self, slot: u32) -> Option<Histogram> {
        self.waits.get(&slot)
    }

    /// What KVM has done for the virtual CPU of a slot; none where it has not been watched.
    pub fn kvm(&self, slot: u32) -> Option<Kvm> {
        if self.late.is_done() { self.kvm.get(&slot).filter(|kvm| kvm.since != 0) } else { None }
    }

    /// Takes a slot that nobody has.
    pub fn take_slot(&mut self) -> Option<u32> {
        self.slots.pop(0).ok()
    }

    /// Empties a slot's waits and lets the kernel side give it to another cgroup.
    pub fn free_slot(&mut self, slot: u32) {
        let is_empty =
            || self.waits.set(&slot, &Histogram::EMPTY).and_then(|()| self.kvm.set(&slot, &Kvm::NONE)).is_ok();
        if slot != 0 && is_empty() {
            let _full = self.slots.push(slot, 0);
        }
    }

    /// Says how many entries the map of books has, so that enough of it is left for the rests of new cgroups.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reserve_books(&self, entries: u64) -> io::Result<()> {
        let most = u64::from(self.books.capacity()) / 4 * 3;
        self.control.set(&Control::EXE_BOOKS, &most.saturating_sub(entries))
    }

    /// What the kernel side could not keep so far, in the order of [`Loss::ALL`].
    pub fn losses(&self) -> [u64; Loss::ALL.len()] {
        std::array::from_fn(|i| self.losses.get(&(i as u32)).unwrap_or(0))
    }

    /// Run time and runs per program, by name; zeros where the kernel does not count them.
    pub fn run_stats(&self) -> HashMap<&'static str, RunStats> {
        programs::PROGRAMS
            .iter()
            .filter_map(|p| {
                let fd = self.ebpf.program(p.name)?.fd().ok()?;
                Some((p.name, load::run_stats(fd).unwrap_or_default()))
            })
            .collect()
    }

    /// Capacity of the maps whose entries are counted, by the attribute value of `podscope.bpf.map`.
    pub fn capacities(&self) -> [(&'static str, u32); 4] {
        [
            ("books", self.books.capacity()),
            ("closed", self.closed.capacity()),
            ("cgroups", self.cgroups.capacity()),
            ("waits", self.waits.capacity()),
        ]
    }
}

/// Gives memory that is free again back to the system: reading the kernel's types takes ten times what runs on.
fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Time since boot, suspended time included, ns: the clock of process start times.
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Monotonic time, ns: the clock of the kernel programs.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
