//! One process: what its threads, living and closed, have used, and the series it is published under.

use podscope_abi::{Closed, Counters, TaskFlags, TaskRecord};

use super::split::CpuSplit;
use super::{ContainerKey, Moment};

/// Memory of a process, bytes of pages times the page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous pages.
    pub anonymous: u64,
    /// File pages.
    pub file: u64,
    /// Shared-memory pages.
    pub shared: u64,
    /// Swapped pages.
    pub swap: u64,
    /// Hugetlb pages, in base pages.
    pub hugetlb: u64,
    /// Virtual pages.
    pub virtual_size: u64,
    /// Peak resident pages.
    pub peak: u64,
}

impl Memory {
    /// Resident pages, hugetlb included.
    pub fn resident(&self) -> u64 {
        self.anonymous + self.file + self.shared + self.hugetlb
    }
}

/// What is published of a process, from where on.
#[derive(Clone, Debug)]
pub struct Series {
    /// Counters at the series' zero.
    pub base: Counters,
    /// Divided run time of the series.
    pub cpu: CpuSplit,
    /// Zero of the sums, ns since the Unix epoch.
    pub start_ns: u64,
    /// Container it is published under.
    pub container: ContainerKey,
    /// Collections since it was last wanted.
    pub unwanted: u32,
    /// What of it the container knows to be published.
    pub(super) counted: Counters,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Thread-group id of the parent.
    pub ppid: u32,
    /// Name of the leader.
    pub comm: [u8; 16],
    /// Executable id.
    pub exe: u64,
    /// Cgroup of the leader.
    pub cgroup: u64,
    /// Threads.
    pub threads: u32,
    /// Memory at the last sight.
    pub memory: Memory,
    /// Lifetime counters; never run backwards.
    pub total: Counters,
    /// Growth of `total` in the last collection.
    pub delta: Counters,
    /// Published series.
    pub series: Option<Series>,
    /// Kernel thread.
    pub kernel: bool,
    /// Open descriptors, where they were counted.
    pub descriptors: Option<u64>,
    /// Collections in which it was seen first and last.
    pub first_pass: u64,
    pub(super) last_pass: u64,
    /// What threads that died before the agent came had used.
    dead_before: Counters,
    /// Sums over the living threads of the running collection: whole life, and since the last change of owner.
    live: Counters,
    live_since_mark: Counters,
}

impl Process {
    pub(super) fn new(pass: u64) -> Self {
        Self {
            ppid: 0,
            comm: [0; 16],
            exe: 0,
            cgroup: 0,
            threads: 0,
            memory: Memory::default(),
            total: Counters::ZERO,
            delta: Counters::ZERO,
            series: None,
            kernel: false,
            descriptors: None,
            first_pass: pass,
            last_pass: 0,
            dead_before: Counters::ZERO,
            live: Counters::ZERO,
            live_since_mark: Counters::ZERO,
        }
    }

    /// Takes the totals of threads that were dead before the agent came.
    pub(super) fn take_base(&mut self, record: &TaskRecord) {
        self.dead_before = record.raw;
    }

    /// Takes a living thread.
    pub(super) fn take_thread(&mut self, record: &TaskRecord, pending_wait: u64, pass: u64) {
        let first_of_pass = self.last_pass != pass;
        if first_of_pass {
            self.last_pass = pass;
            self.live = Counters::ZERO;
            self.live_since_mark = Counters::ZERO;
        }
        let mut raw = record.raw;
        raw.wait_ns += pending_wait;
        self.live.add(&raw);
        self.live_since_mark.add(&record.since);
        self.live_since_mark.wait_ns += pending_wait;
        let leader = record.flags & TaskFlags::LEADER != 0;
        if leader || first_of_pass {
            self.ppid = record.ppid;
            self.comm = record.comm;
            self.exe = record.exe;
            self.cgroup = record.cgroup;
            self.threads = record.threads;
            self.kernel = record.flags & TaskFlags::KERNEL != 0;
        }
        if record.flags & TaskFlags::MEMORY != 0 && (leader || first_of_pass) {
            self.memory = memory_of(record, self.memory.peak);
        }
    }

    /// Adds everything up; a thread that died between the books and the iterator is late by one collection.
    pub(super) fn settle(&mut self, closed: Option<&Closed>, pass: u64) {
        let mut now = self.dead_before;
        if let Some(closed) = closed {
            now.add(&closed.sums);
            self.memory.peak = self.memory.peak.max(closed.peak_pages);
        }
        if self.last_pass == pass {
            now.add(&self.live);
        }
        let total = self.total.max(&now);
        self.delta = total.since(&self.total);
        self.total = total;
        if let Some(series) = &mut self.series {
            let published = self.total.since(&series.base);
            series.cpu.update(published.run_ns, published.user_ns, published.system_ns);
        }
    }

    /// Begins a series: at its birth where it was born in this interval, else at zero now.
    pub(super) fn begin_series(&mut self, container: ContainerKey, born_ns: Option<u64>, now: &Moment) {
        let (base, start_ns) = match born_ns {
            // What it used before it became this executable in this container is in another book.
            Some(born_ns) => (self.total.since(&self.live_since_mark), born_ns),
            None => (self.total, now.unix_ns),
        };
        let mut cpu = CpuSplit::default();
        let published = self.total.since(&base);
        cpu.update(published.run_ns, published.user_ns, published.system_ns);
        self.series = Some(Series { base, cpu, start_ns, container, unwanted: 0, counted: Counters::ZERO });
    }

    /// Counters of the published series.
    pub fn published(&self) -> Option<Counters> {
        self.series.as_ref().map(|series| self.total.since(&series.base))
    }
}

fn memory_of(record: &TaskRecord, peak_before: u64) -> Memory {
    let pages = |count: i64| count.max(0) as u64;
    let mut memory = Memory {
        anonymous: pages(record.anon_pages),
        file: pages(record.file_pages),
        shared: pages(record.shmem_pages),
        swap: pages(record.swap_pages),
        hugetlb: record.hugetlb_pages,
        virtual_size: record.virtual_pages,
        peak: 0,
    };
    memory.peak = peak_before.max(record.peak_pages).max(memory.resident());
    memory
}
