//! What a control group's own counters say, in one shape for both versions.
//!
//! A figure is absent where this kernel or this group does not have it, and where its file could not be understood.

use std::sync::Arc;

/// Every figure of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Block devices.
    pub disk: Disk,
    /// Stalls.
    pub pressure: Pressure,
    /// Limits.
    pub limits: Limits,
}

/// CPU time of the group and those below it; throttling by the group's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Run time, ns: exact in version 1 (`cpuacct.usage`), cut to microseconds in version 2 (`cpu.stat`).
    pub usage_ns: Option<u64>,
    /// Time in user mode, ns: ticks in version 1 (`cpuacct.stat`), a split of the run time by ticks in version 2.
    pub user_ns: Option<u64>,
    /// Time in kernel mode, ns, like `user_ns`.
    pub system_ns: Option<u64>,
    /// Time in which tasks of the group were throttled, summed over CPUs, ns (`cpu.stat`).
    pub throttled_ns: Option<u64>,
    /// Enforcement periods in which it was throttled.
    pub throttled_periods: Option<u64>,
    /// Enforcement periods.
    pub periods: Option<u64>,
}

/// Memory of the group and those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes charged, page cache included (`memory.usage_in_bytes`, `memory.current`).
    pub usage: Option<u64>,
    /// Bytes charged less inactive page cache, never below 0: the kubelet's definition.
    pub working_set: Option<u64>,
    /// Bytes of anonymous memory (`total_rss`, `anon`).
    pub rss: Option<u64>,
    /// Largest `usage` so far, bytes (`memory.max_usage_in_bytes`; `memory.peak`, Linux 5.19).
    pub peak: Option<u64>,
    /// Bytes in swap (`total_swap`, `memory.swap.current`); absent where the kernel does not account swap.
    pub swap: Option<u64>,
    /// Page faults that needed no I/O.
    pub minor_faults: Option<u64>,
    /// Page faults that needed I/O.
    pub major_faults: Option<u64>,
    /// Pages read back from swap (`pswpin`, version 2 of recent kernels).
    pub swap_in_pages: Option<u64>,
    /// Bytes of page cache, shared memory included (`total_cache`, `file`).
    pub cache: Option<u64>,
    /// Bytes of page cache that are mapped into processes (`total_mapped_file`, `file_mapped`).
    pub mapped: Option<u64>,
    /// Bytes by the list on which they wait to be reclaimed, in the order of the attribute `podscope.memory.list`.
    pub lists: [Option<u64>; 5],
    /// How often pages were charged and uncharged (`total_pgpgin`, `total_pgpgout`; version 1 alone).
    pub charges: [Option<u64>; 2],
}

impl Memory {
    /// What `memory.stat` adds to `usage` in both versions; its `pgfault` counts major faults too.
    pub(super) fn file_stat(&mut self, faults: Option<u64>, major: Option<u64>) {
        self.working_set = self.usage.zip(self.lists[3]).map(|(usage, inactive)| usage.saturating_sub(inactive));
        self.minor_faults = faults.zip(major).map(|(faults, major)| faults.saturating_sub(major));
        self.major_faults = major;
    }
}

/// Transfers from and to block devices, summed over devices, by the group and those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Requests to read.
    pub read_operations: Option<u64>,
    /// Requests to write.
    pub write_operations: Option<u64>,
    /// By device.
    pub devices: Arc<[DeviceIo]>,
}

/// What a group has asked of a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// Major and minor number.
    pub number: (u32, u32),
    /// Bytes read, written and discarded.
    pub bytes: [u64; 3],
    /// Requests to read, write and discard.
    pub operations: [u64; 3],
    /// Bytes of all three by whether somebody waited for them: synchronous, asynchronous (version 1 alone).
    pub waited_bytes: Option<[u64; 2]>,
}

impl Disk {
    /// Most devices of a group.
    const DEVICES: usize = 16;

    /// Sums up; `counted`: whether the kernel counts bytes and requests.
    pub(super) fn of(mut devices: Vec<DeviceIo>, counted: [bool; 2]) -> Option<Self> {
        let sum = |of: fn(&DeviceIo) -> u64| devices.iter().try_fold(0u64, |sum, device| sum.checked_add(of(device)));
        let [read, write] = [sum(|device| device.bytes[0])?, sum(|device| device.bytes[1])?];
        let [reads, writes] = [sum(|device| device.operations[0])?, sum(|device| device.operations[1])?];
        devices.truncate(Self::DEVICES);
        Some(Self {
            read_bytes: counted[0].then_some(read),
            write_bytes: counted[0].then_some(write),
            read_operations: counted[1].then_some(reads),
            write_operations: counted[1].then_some(writes),
            devices: devices.into(),
        })
    }
}

/// Pressure stall information: how long the group's tasks stalled on a resource. The default hierarchy alone has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Waiting for a CPU.
    pub cpu: Stall,
    /// Waiting for memory.
    pub memory: Stall,
    /// Waiting for block devices.
    pub io: Stall,
}

/// Totals of one resource's stalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Time in which at least one task stalled, ns.
    pub some_ns: Option<u64>,
    /// Time in which all tasks stalled at once, ns; for CPUs since Linux 5.13.
    pub full_ns: Option<u64>,
}

/// The group's own limits. Limits of the groups above may be lower.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPU limit in cores; absent where it is unlimited.
    pub cpu: Option<f64>,
    /// Memory limit in bytes; absent where it is unlimited.
    pub memory: Option<u64>,
}
