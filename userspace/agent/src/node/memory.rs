//! /proc/meminfo and /proc/vmstat.

use podscope_catalog::id;

use super::file::keyed;
use crate::accounting::points::Points;

/// Levels of /proc/meminfo, bytes; huge pages are counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    total: Option<u64>,
    free: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    available: Option<u64>,
    shared: Option<u64>,
    anonymous: Option<u64>,
    mapped: Option<u64>,
    /// In the order of the attribute `podscope.memory.list`.
    lists: [Option<u64>; 5],
    /// Reclaimable, and not.
    slab: [Option<u64>; 2],
    swap_total: Option<u64>,
    swap_free: Option<u64>,
    /// Total, free, reserved, surplus.
    huge: [Option<u64>; 4],
    huge_size: Option<u64>,
}

impl Memory {
    pub(crate) fn parse(text: &[u8]) -> Self {
        let kilobytes = |value: Option<u64>| value?.checked_mul(1024);
        let [total, free, buffers, cached, available, shared, anonymous, mapped] =
            keyed(text, ["MemTotal", "MemFree", "Buffers", "Cached", "MemAvailable", "Shmem", "AnonPages", "Mapped"])
                .map(kilobytes);
        let lists = ["Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable"];
        let [swap_total, swap_free, huge_size] = keyed(text, ["SwapTotal", "SwapFree", "Hugepagesize"]).map(kilobytes);
        Self {
            total,
            free,
            buffers,
            cached,
            available,
            shared,
            anonymous,
            mapped,
            lists: keyed(text, lists).map(kilobytes),
            slab: keyed(text, ["SReclaimable", "SUnreclaim"]).map(kilobytes),
            swap_total,
            swap_free,
            huge: keyed(text, ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"]),
            huge_size,
        }
    }

    pub(crate) fn add_to(&self, points: &mut Points) {
        let less = |whole: Option<u64>, part: Option<u64>| Some(whole?.saturating_sub(part?));
        let usage = less(self.total, self.free);
        let working_set = less(usage, self.lists[3]);
        let cached = self.cached.map(|cached| cached.saturating_add(self.slab[0].unwrap_or(0)));
        let used = less(less(usage, self.buffers), cached);
        for (state, bytes) in [used, self.free, self.buffers, cached].into_iter().enumerate() {
            points.known(id::SYSTEM_MEMORY_USAGE, state, bytes);
        }
        for (list, bytes) in self.lists.into_iter().enumerate() {
            points.known(id::NODE_MEMORY_LIST, list, bytes);
        }
        for (state, bytes) in self.slab.into_iter().enumerate() {
            points.known(id::SYSTEM_SLAB_USAGE, state, bytes);
        }
        let [huge, huge_free, huge_reserved, huge_surplus] = self.huge;
        points
            .known(id::SYSTEM_MEMORY_LIMIT, 0, self.total)
            .known(id::SYSTEM_MEMORY_AVAILABLE, 0, self.available)
            .known(id::SYSTEM_MEMORY_SHARED, 0, self.shared)
            .known(id::NODE_MEMORY_MAPPED, 0, self.mapped)
            .known(id::NODE_MEMORY_USAGE, 0, usage)
            .known(id::NODE_MEMORY_WORKING_SET, 0, working_set)
            .known(id::NODE_MEMORY_AVAILABLE, 0, less(self.total, working_set))
            .known(id::NODE_MEMORY_RSS, 0, self.anonymous)
            .known(id::SYSTEM_PAGING_USAGE, 0, less(self.swap_total, self.swap_free))
            .known(id::SYSTEM_PAGING_USAGE, 1, self.swap_free)
            .known(id::SYSTEM_HUGEPAGES_LIMIT, 0, huge)
            .known(id::SYSTEM_HUGEPAGES_USAGE, 0, huge_free)
            .known(id::SYSTEM_HUGEPAGES_USAGE, 1, less(huge, huge_free))
            .known(id::SYSTEM_HUGEPAGES_RESERVED, 0, huge_reserved)
            .known(id::SYSTEM_HUGEPAGES_SURPLUS, 0, huge_surplus)
            .known(id::SYSTEM_HUGEPAGES_SIZE, 0, self.huge_size);
    }
}

/// Events of /proc/vmstat since the kernel was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paging {
    faults: Option<u64>,
    major_faults: Option<u64>,
    /// Bytes into memory and out of it.
    io: [Option<u64>; 2],
    /// Pages from swap space and to it.
    swap: [Option<u64>; 2],
    freed: Option<u64>,
    reused: Option<u64>,
    oom_kills: Option<u64>,
}

impl Paging {
    pub(crate) fn parse(text: &[u8]) -> Self {
        let [faults, major_faults, freed, reused, oom_kills] =
            keyed(text, ["pgfault", "pgmajfault", "pgfree", "pgreuse", "oom_kill"]);
        // The kernel counts sectors and writes down half of them.
        let io = keyed(text, ["pgpgin", "pgpgout"]).map(|kilobytes: Option<u64>| kilobytes?.checked_mul(1024));
        Self { faults, major_faults, io, swap: keyed(text, ["pswpin", "pswpout"]), freed, reused, oom_kills }
    }

    pub(crate) fn add_to(&self, points: &mut Points) {
        let minor = self.faults.zip(self.major_faults).map(|(all, major)| all.saturating_sub(major));
        points
            .known(id::SYSTEM_PAGING_FAULTS, 0, minor)
            .known(id::SYSTEM_PAGING_FAULTS, 1, self.major_faults)
            .known(id::NODE_PAGES_FREED, 0, self.freed)
            .known(id::NODE_PAGES_REUSED, 0, self.reused)
            .known(id::NODE_OOM_KILLS, 0, self.oom_kills);
        for direction in 0..2 {
            points.known(id::NODE_PAGING_IO, direction, self.io[direction]).known(
                id::NODE_SWAP_PAGES,
                direction,
                self.swap[direction],
            );
        }
    }
}
