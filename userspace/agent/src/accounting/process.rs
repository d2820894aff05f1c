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
    /// Where the program's code begins and ends, bytes.
    pub code: (u64, u64),
    /// Virtual pages of data and stack.
    pub data: u64,
    /// Peak resident pages.
    pub peak: u64,
}

impl Memory {
    /// Resident pages, hugetlb included.
    pub fn resident(&self) -> u64 {
        self.anonymous + self.file + self.shared + self.hugetlb
    }

    /// Bytes of the pages that the program's code is on. `page`: bytes of a page.
    pub fn text(&self, page: u64) -> u64 {
        let (start, end) = self.code;
        (end.div_ceil(page).saturating_sub(start / page)).saturating_mul(page)
    }

    /// Pages by what they are, in the order of the attribute `podscope.memory.kind`.
    pub fn kinds(&self) -> [u64; 5] {
        [self.anonymous, self.file, self.shared, self.swap, self.hugetlb]
    }

    /// Adds another process's memory; of both peaks the larger one stays.
    pub fn add(&mut self, other: &Memory) {
        self.anonymous += other.anonymous;
        self.file += other.file;
        self.shared += other.shared;
        self.swap += other.swap;
        self.hugetlb += other.hugetlb;
        self.virtual_size += other.virtual_size;
        self.peak = self.peak.max(other.peak);
    }
}

/// What is published of a process, from where on.
#[derive(Clone, Debug)]
pub struct Series {
    /// Counters of the series.
    pub published: Counters,
    /// Divided run time of the series.
    pub cpu: CpuSplit,
    /// Zero of the sums, ns since the Unix epoch.
    pub start_ns: u64,
    /// When the process was born, ns since the Unix epoch: taken once, since the clocks drift apart.
    pub born_ns: u64,
    /// Container it is published under.
    pub container: ContainerKey,
    /// Executable it is published under.
    pub exe: u64,
    /// Collections since it was last wanted.
    pub unwanted: u32,
    /// Counters of the process at the series' zero.
    pub(super) base: Counters,
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
    /// Threads; 0 once it is gone.
    pub threads: u32,
    /// Memory at the last collection; nothing but the peak once it is gone.
    pub memory: Memory,
    /// Lifetime counters; never run backwards.
    pub total: Counters,
    /// Growth of `total` in the last collection; of one seen for the first time what it used as what it is now.
    pub delta: Counters,
    /// Published series.
    pub series: Option<Series>,
    /// Kernel thread.
    pub kernel: bool,
    /// CPU time of children that were waited for: user and system, ns.
    pub children_ns: [u64; 2],
    /// Open descriptors, where they were counted.
    pub descriptors: Option<u64>,
    /// Collections in which it was seen first and last.
    pub first_pass: u64,
    pub(super) last_pass: u64,
    /// Executable id of the book that its leader's time goes to.
    pub(super) book_exe: u64,
    /// How often its time has changed its owner.
    pub(super) changes: u32,
    /// Cgroup, executable and `changes` at the collection before.
    owner_before: (u64, u64, u32),
    /// Its time has changed its owner in the interval that the running collection ends.
    pub(super) changed: bool,
    /// It was born in the interval that the running collection ends, and is seen for the first time.
    pub(super) born: bool,
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
            children_ns: [0; 2],
            descriptors: None,
            first_pass: pass,
            last_pass: 0,
            book_exe: 0,
            changes: 0,
            owner_before: (0, 0, 0),
            changed: false,
            born: false,
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
            self.book_exe = record.book_exe;
            self.changes = record.changes;
            self.cgroup = record.cgroup;
            self.threads = record.threads;
            let [user, system] = self.children_ns;
            self.children_ns = [user.max(record.children_user_ns), system.max(record.children_system_ns)];
            self.kernel = record.flags & TaskFlags::KERNEL != 0;
        }
        if record.flags & TaskFlags::MEMORY != 0 && (leader || first_of_pass) {
            self.memory = memory_of(record, self.memory.peak);
        }
    }

    /// Adds everything up; a thread that died between the books and the iterator is late by one collection.
    ///
    /// `born`: its start lies in the interval that this collection ends.
    pub(super) fn settle(&mut self, closed: Option<&Closed>, pass: u64, born: bool) {
        self.born = born && self.first_pass == pass;
        let mut now = self.dead_before;
        if let Some(closed) = closed {
            now.add(&closed.sums);
            self.memory.peak = self.memory.peak.max(closed.peak_pages);
            if closed.ended_ns != 0 {
                // Of a change in its last interval only the closing tells.
                self.changes = closed.changes as u32;
            }
        }
        if self.last_pass == pass {
            now.add(&self.live);
        } else {
            self.threads = 0;
            self.memory = Memory { peak: self.memory.peak, ..Memory::default() };
        }
        if self.last_pass != pass && closed.is_none_or(|closed| closed.ended_ns == 0) {
            // It died while this collection read: what it had become by then comes with its closing, in the next one.
            now = self.total;
        }
        let owner = (self.cgroup, self.exe, self.changes);
        self.changed = std::mem::replace(&mut self.owner_before, owner) != owner && self.first_pass != pass;
        let before = self.total;
        self.total = before.max(&now);
        self.delta = match (self.first_pass == pass, self.born) {
            (false, _) => self.total.since(&before),
            (true, true) => self.total.since(&self.before_owner()),
            (true, false) => Counters::ZERO,
        };
    }

    /// What a process that was born in this interval used before it became its executable in its container.
    fn before_owner(&self) -> Counters {
        if self.changes == 0 { Counters::ZERO } else { self.total.since(&self.live_since_mark) }
    }

    /// Whether the books do not have all yet that its series must still grow by.
    pub(super) fn is_late(&self) -> bool {
        let missing = |series: &Series| self.total.since(&series.base).since(&series.published) != Counters::ZERO;
        !self.changed && self.series.as_ref().is_some_and(missing)
    }

    /// Begins a series: at its birth where it was born in this interval, else at zero now.
    pub(super) fn begin_series(&mut self, container: ContainerKey, start_boot_ns: u64, now: &Moment) {
        let (base, start_ns) = match self.born {
            true => (self.before_owner(), now.unix_of_boot(start_boot_ns)),
            false => (self.total, now.unix_ns),
        };
        self.series = Some(Series {
            published: Counters::ZERO,
            cpu: CpuSplit::default(),
            start_ns,
            born_ns: now.unix_of_boot(start_boot_ns),
            container,
            exe: self.exe,
            unwanted: 0,
            base,
        });
    }
}

impl Series {
    /// Grows towards the process's `total`, by at most `room`, and returns by how much.
    pub(super) fn grow(&mut self, total: &Counters, room: &Counters) -> Counters {
        let growth = total.since(&self.base).since(&self.published).min(room);
        self.published.add(&growth);
        self.cpu.update(self.published.run_ns, self.published.user_ns, self.published.system_ns);
        growth
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
        code: (record.code_start, record.code_end),
        data: record.data_pages,
        peak: 0,
    };
    memory.peak = peak_before.max(record.peak_pages).max(memory.resident());
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_counts_by_the_pages_it_is_on() {
        let text = |start, end| Memory { code: (start, end), ..Memory::default() }.text(4096);
        assert_eq!(text(4096, 8192), 4096);
        assert_eq!(text(4097, 8193), 2 * 4096);
        assert_eq!((text(0, 0), text(9000, 1)), (0, 0));
    }
}
