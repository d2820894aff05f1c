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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{Point, Value};

    fn points(meminfo: &[u8], vmstat: &[u8]) -> Vec<Point> {
        let mut points = Points::default();
        Memory::parse(meminfo).add_to(&mut points);
        Paging::parse(vmstat).add_to(&mut points);
        points.finish()
    }

    fn value(points: &[Point], metric: podscope_catalog::MetricId, at: u8) -> Option<i64> {
        let point = points.iter().find(|point| (point.metric, point.combination) == (metric, at))?;
        let Value::Int(value) = point.value else { return None };
        Some(value)
    }

    #[test]
    fn units_are_bytes_but_for_huge_pages_and_events() {
        let meminfo = b"MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 50 kB\nCached: 200 kB\nSReclaimable: 20 kB\n\
                        SUnreclaim: 7 kB\nInactive(file): 90 kB\nHugePages_Total: 8\nHugePages_Free: 3\n\
                        Hugepagesize: 2048 kB\nSwapTotal: 64 kB\nSwapFree: 60 kB\nAnonPages: 5 kB\nShmem: 4 kB\n";
        let vmstat = b"pgpgin 10\npgpgout 20\npswpin 1\npswpout 2\npgfault 100\npgmajfault 7\npgfree 9\npgreuse 3\n\
                       oom_kill 1\nnr_mapped 5\n";
        let points = points(meminfo, vmstat);
        let is = |metric, at, wanted| assert_eq!(value(&points, metric, at), wanted);
        const K: i64 = 1024;
        for (state, kilobytes) in [1000 - 300 - 50 - 220, 300, 50, 220].into_iter().enumerate() {
            is(id::SYSTEM_MEMORY_USAGE, state as u8, Some(kilobytes * K));
        }
        is(id::NODE_MEMORY_USAGE, 0, Some(700 * K));
        is(id::NODE_MEMORY_WORKING_SET, 0, Some(610 * K));
        is(id::NODE_MEMORY_AVAILABLE, 0, Some(390 * K));
        is(id::SYSTEM_MEMORY_AVAILABLE, 0, None);
        is(id::SYSTEM_HUGEPAGES_USAGE, 1, Some(5));
        is(id::SYSTEM_HUGEPAGES_SIZE, 0, Some(2 << 20));
        is(id::SYSTEM_PAGING_USAGE, 0, Some(4 * K));
        is(id::SYSTEM_PAGING_FAULTS, 0, Some(93));
        is(id::SYSTEM_PAGING_FAULTS, 1, Some(7));
        is(id::NODE_PAGING_IO, 1, Some(20 * K));
        is(id::NODE_SWAP_PAGES, 0, Some(1));
        is(id::NODE_PAGES_REUSED, 0, Some(3));
        is(id::NODE_OOM_KILLS, 0, Some(1));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<Vec<u8>>(), near in "((MemTotal|MemFree|SwapFree|pgfault): |[0-9]{0,21}| kB|\n){0,40}") {
            for text in [&text[..], near.as_bytes()] {
                points(text, text);
            }
        }
    }
}
