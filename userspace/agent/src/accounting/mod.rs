//! The arithmetic between kernel records and what is published: takes records and `now`, owns no clock, file or
//! channel.
//!
//! Per collection: [`Accounting::begin`], then the books and closed processes, then the task records (in this
//! order: a task that dies in between is late by one collection, never lost and never doubled), then
//! [`Accounting::finish`].

pub mod container;
mod ending;
pub mod points;
pub mod process;
pub mod select;
mod settle;
pub mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use podscope_abi::{Book, BookKey, Closed, ClosedKey, Counters, Lives, RecordKind, TaskFlags, TaskRecord};

use crate::kernel::Oom;

pub use container::Container;
pub use process::Process;

/// A process: thread-group id and start of its leader.
pub type ProcessKey = ClosedKey;

/// Whose a cgroup is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKey {
    /// Everything outside of pods and containers.
    Host,
    /// A container, by its runtime's id.
    Container(Arc<str>),
    /// Tasks directly in a pod's own cgroup, by the pod's uid.
    Pod(Arc<str>),
}

/// One instant on the clocks that matter, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the Unix epoch.
    pub unix_ns: u64,
    /// Since boot, suspended time included: the clock of process starts.
    pub boot_ns: u64,
    /// Monotonic: the clock of the kernel programs.
    pub monotonic_ns: u64,
}

impl Moment {
    /// The Unix time of an instant given in time since boot.
    pub fn unix_of_boot(&self, boot_ns: u64) -> u64 {
        self.unix_ns.saturating_sub(self.boot_ns.saturating_sub(boot_ns))
    }
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes published per container by CPU and by memory each.
    pub processes_per_container: usize,
    /// Processes kept at all; those beyond are only in the books.
    pub processes: usize,
    /// A process that is gone without a closing ends anyway: set where the closing programs are absent.
    pub absence_ends: bool,
    /// How long a removed cgroup's container stays published, ns: as long as the series of ended processes.
    pub linger_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes_per_container: 10, processes: 100_000, absence_ends: false, linger_ns: 120_000_000_000 }
    }
}

/// How many processes of a container are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Those at the top.
    Top,
    /// Every one.
    All,
    /// None yet: its name is not known.
    Wait,
}

/// A published series that has ended: its process exited, left the container, or is no longer among the top.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Who.
    pub key: ProcessKey,
    /// With its last figures and the series.
    pub process: Process,
}

/// What a collection asks of the caller.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Series to publish for the last time.
    pub ended: Vec<Ended>,
    /// Entries to delete from the kernel's map of closed processes.
    pub forget: Vec<ProcessKey>,
    /// Cgroups whose books, entry and histogram slot may go.
    pub retired: Vec<u64>,
    /// Living processes whose cgroup has no owner yet.
    pub unowned_processes: u64,
}

#[derive(Clone, Debug)]
struct BookState {
    /// A time before its zero, ns since the Unix epoch.
    start_ns: u64,
    total: Counters,
    lives: Lives,
    credited: Counters,
    credited_lives: Lives,
    live: Counters,
    /// The last collection that saw a living task with time for this book.
    last_task: u64,
    /// Processes alive in it, in the running collection.
    living: u64,
}

impl BookState {
    fn new(start_ns: u64) -> Self {
        let (total, credited, live) = Default::default();
        Self {
            start_ns,
            total,
            credited,
            live,
            lives: Lives::default(),
            credited_lives: Lives::default(),
            last_task: 0,
            living: 0,
        }
    }
}

/// The state between collections.
#[derive(Debug)]
pub struct Accounting {
    /// Bounds.
    pub limits: Limits,
    /// Collections so far.
    pub pass: u64,
    /// The running or last collection's instant, and the one before.
    pub now: Moment,
    /// The instant of the collection before.
    pub previous: Option<Moment>,
    /// Living processes, and ended ones until their end is published.
    pub processes: HashMap<ProcessKey, Process>,
    /// Containers with their sums.
    pub containers: HashMap<ContainerKey, Container>,
    /// Processes that did not fit.
    pub processes_dropped: u64,
    /// What was in the books of removed cgroups whose owner never became known.
    pub unowned: Counters,
    owners: HashMap<u64, ContainerKey>,
    books: HashMap<BookKey, BookState>,
    closed: HashMap<ProcessKey, Closed>,
    stale: HashMap<ProcessKey, u32>,
    /// Removed cgroups: when, and before which collection.
    removed: HashMap<u64, (Moment, u64)>,
    /// Monotonic time minus the run queues' clock, as the last collection found it.
    queue_clock: Option<i64>,
}

impl Accounting {
    /// Nothing seen yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pass: 0,
            now: Moment::default(),
            previous: None,
            processes: HashMap::new(),
            containers: HashMap::new(),
            processes_dropped: 0,
            unowned: Counters::ZERO,
            owners: HashMap::new(),
            books: HashMap::new(),
            closed: HashMap::new(),
            stale: HashMap::new(),
            removed: HashMap::new(),
            queue_clock: None,
        }
    }

    /// Begins a collection. `now` must be taken on the thread that reads the iterator, right after it woke up.
    pub fn begin(&mut self, now: Moment) {
        self.previous = (self.pass > 0).then_some(self.now);
        self.now = now;
        self.pass += 1;
        self.closed.clear();
        for book in self.books.values_mut() {
            book.live = Counters::ZERO;
            book.living = 0;
        }
        self.containers.values_mut().for_each(Container::begin);
    }

    /// Takes a book as the kernel has it.
    pub fn take_book(&mut self, key: &BookKey, book: &Book) {
        let state = self.book(*key);
        state.live.add(&book.sums);
        state.lives = book.lives;
    }

    /// Takes a process with closed threads.
    pub fn take_closed(&mut self, key: &ClosedKey, closed: &Closed) {
        self.closed.insert(*key, *closed);
    }

    /// Takes a record of the task iterator.
    pub fn take_task(&mut self, record: &TaskRecord) {
        if record.flags & TaskFlags::READER != 0 && record.queued_ns != 0 {
            self.queue_clock = Some(self.now.monotonic_ns as i64 - record.queued_ns as i64);
        }
        let key = ProcessKey { start: record.leader_start, tgid: record.tgid, pad: 0 };
        let pending = if record.kind == RecordKind::TASK { self.pending_wait(record) } else { 0 };
        let pass = self.pass;
        if record.kind != RecordKind::BASE {
            let book = self.book(BookKey { cgroup: record.cgroup, exe: record.book_exe });
            book.last_task = pass;
            book.live.add(&record.since);
            book.live.wait_ns += pending;
        }
        if record.kind == RecordKind::PART {
            return;
        }
        if self.processes.len() >= self.limits.processes && !self.processes.contains_key(&key) {
            self.processes_dropped += u64::from(record.flags & TaskFlags::LEADER);
            return;
        }
        let process = self.processes.entry(key).or_insert_with(|| Process::new(pass));
        if record.kind == RecordKind::BASE {
            process.take_base(record);
        } else {
            process.take_thread(record, pending, pass);
        }
    }

    fn book(&mut self, key: BookKey) -> &mut BookState {
        let start_ns = self.interval_start_ns();
        self.books.entry(key).or_insert_with(|| BookState::new(start_ns))
    }

    /// Start of the interval that the running collection ends, ns since the Unix epoch.
    fn interval_start_ns(&self) -> u64 {
        self.previous.unwrap_or(self.now).unix_ns
    }

    /// How long a task that is queued now has been waiting: a starved one shows before it runs.
    fn pending_wait(&self, record: &TaskRecord) -> u64 {
        let queued = record.flags & TaskFlags::RUNNABLE != 0 && record.flags & TaskFlags::READER == 0;
        match self.queue_clock {
            Some(clock) if queued && record.queued_ns != 0 => {
                let since = record.queued_ns as i64 + clock;
                (self.now.monotonic_ns as i64 - since).max(0) as u64
            }
            _ => 0,
        }
    }

    /// Says that a cgroup's directory is gone; its books are kept for a while, since dying tasks close late.
    pub fn remove_cgroup(&mut self, id: u64) {
        let since = (self.now, self.pass);
        self.removed.entry(id).or_insert(since);
    }

    /// Whose a cgroup is, where that is known.
    pub fn owner(&self, cgroup: u64) -> Option<&ContainerKey> {
        self.owners.get(&cgroup)
    }

    /// Fills in of an OOM kill's victim what older kernels do not tell but its id, as the last collection knew it.
    pub fn identify(&self, mut oom: Oom) -> Oom {
        if oom.cgroup == 0
            && let Some((key, process)) = self.processes.iter().find(|(key, _)| key.tgid == oom.pid)
        {
            (oom.tgid, oom.leader_start) = (key.tgid, key.start);
            (oom.cgroup, oom.exe) = (process.cgroup, process.exe);
        }
        oom
    }

    /// Cgroups that belong to a container.
    pub fn cgroups_of<'a>(&'a self, container: &'a ContainerKey) -> impl Iterator<Item = u64> + 'a {
        self.owners.iter().filter(move |(_, owner)| *owner == container).map(|(id, _)| *id)
    }

    /// All cgroups with an owner.
    pub fn owners(&self) -> impl Iterator<Item = (u64, &ContainerKey)> {
        self.owners.iter().map(|(id, owner)| (*id, owner))
    }
}
