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
///
/// Many kernels (6.1 and 6.18 were seen) count here only where the group has a throttling rule, and say 0 elsewhere.
/// So a group without a single operation is taken to be one that was not counted.
pub(super) fn disk(bytes: Option<(u64, u64)>, operations: Option<(u64, u64)>) -> Disk {
    if operations.is_none_or(|(read, written)| read == 0 && written == 0) {
        return Disk::default();
    }
    let (read_bytes, write_bytes) = bytes.unzip();
    let (read_operations, write_operations) = operations.unzip();
    Disk { read_bytes, write_bytes, read_operations, write_operations }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.1: the device after 13 MB of reads by a group without a throttling rule.
    const UNCOUNTED: &str = "254:0 Read 0\n254:0 Write 0\n254:0 Sync 0\n254:0 Async 0\n254:0 Discard 0\n\
                             254:0 Total 0\nTotal 0\n";
    const TWO_DEVICES: &str = "8:16 Read 4096\n8:16 Write 0\n8:16 Total 4096\n\
                               254:0 Read 10\n254:0 Write 7\n254:0 Total 17\nTotal 4113\n";

    #[test]
    fn devices_are_summed_and_a_cut_file_is_none() {
        assert_eq!(blkio(TWO_DEVICES), Some((4106, 7)));
        assert_eq!(blkio("Total 0\n"), Some((0, 0)));
        for end in 0..TWO_DEVICES.len() {
            assert_eq!(blkio(&TWO_DEVICES[..end]), None, "cut at {end}");
        }
        assert_eq!(blkio("8:16 Read x\nTotal 0\n"), None);
        assert_eq!(blkio("8:16 Read 18446744073709551615\n8:0 Read 1\nTotal 0\n"), None);
    }

    #[test]
    fn zeros_of_a_kernel_that_does_not_count_are_no_figures() {
        assert_eq!(disk(blkio(UNCOUNTED), blkio(UNCOUNTED)), Disk::default());
        let read = disk(Some((4096, 0)), Some((1, 0)));
        assert_eq!((read.read_bytes, read.write_bytes, read.write_operations), (Some(4096), Some(0), Some(0)));
    }

    #[test]
    fn ticks_that_overflow_are_none() {
        let mut cpu = Cpu::default();
        cpuacct_stat("user 2\nsystem 18446744073709551615\n", 10_000_000, &mut cpu);
        assert_eq!((cpu.user_ns, cpu.system_ns), (Some(20_000_000), None));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<String>(), near in "(8:0 |Read |Total |user |nr_periods |[0-9]{0,25}|\n){0,20}") {
            for text in [&text, &near] {
                blkio(text);
                cpuacct_stat(text, 10_000_000, &mut Cpu::default());
                cpu_stat(text, &mut Cpu::default());
                memory_stat(text, &mut Memory::default());
            }
        }
    }
}
