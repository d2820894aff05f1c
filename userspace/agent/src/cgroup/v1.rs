//! The files of version 1.

use super::figures::{Cpu, Disk, Memory};
use super::parse::{keyed, lines, number};

/// `cpuacct.stat`: ticks of user and system time, into nanoseconds.
pub(super) fn cpuacct_stat(text: &str, tick_ns: u64, cpu: &mut Cpu) {
    let [user, system] = keyed(text, ["user", "system"]).map(|ticks| ticks?.checked_mul(tick_ns));
    (cpu.user_ns, cpu.system_ns) = (user, system);
}

/// `cpu.stat`: throttling, in nanoseconds.
pub(super) fn cpu_stat(text: &str, cpu: &mut Cpu) {
    [cpu.periods, cpu.throttled_periods, cpu.throttled_ns] =
        keyed(text, ["nr_periods", "nr_throttled", "throttled_time"]);
}

/// `memory.stat`: the `total_` lines, which take in the groups below.
pub(super) fn memory_stat(text: &str, memory: &mut Memory) {
    let keys = ["total_rss", "total_inactive_file", "total_swap", "total_pgfault", "total_pgmajfault"];
    let [rss, inactive_file, swap, faults, major] = keyed(text, keys);
    (memory.rss, memory.swap) = (rss, swap);
    memory.file_stat(inactive_file, faults, major);
}

/// `blkio.throttle.io_service_bytes_recursive` or `…io_serviced_recursive`: lines `device direction value` and a
/// last one `Total value`. Sums (read, written) over devices.
pub(super) fn blkio(text: &str) -> Option<(u64, u64)> {
    let (mut read, mut written, mut is_whole) = (0u64, 0u64, false);
    for line in lines(text) {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()) {
            ("Total", _, None) => is_whole = true,
            (_, "Read", Some(amount)) => read = read.checked_add(number(amount)?)?,
            (_, "Write", Some(amount)) => written = written.checked_add(number(amount)?)?,
            _ => {}
        }
    }
    is_whole.then_some((read, written))
}

/// What [`blkio`] says of both files; either may be missing.
pub(super) fn disk(bytes: Option<(u64, u64)>, operations: Option<(u64, u64)>) -> Disk {
    let (read_bytes, write_bytes) = bytes.unzip();
    let (read_operations, write_operations) = operations.unzip();
    Disk { read_bytes, write_bytes, read_operations, write_operations }
}
