//! The files of version 2.

use super::figures::{Cpu, Disk, Memory, Stall};
use super::parse::{cores, keyed, lines, number};

const NS_PER_US: u64 = 1_000;

/// `cpu.stat`: microseconds. The throttling lines are there where the cpu controller is on.
pub(super) fn cpu_stat(text: &str) -> Cpu {
    let [usage, user, system, throttled] = keyed(text, ["usage_usec", "user_usec", "system_usec", "throttled_usec"]);
    let [periods, throttled_periods] = keyed(text, ["nr_periods", "nr_throttled"]);
    let ns = |us: Option<u64>| us?.checked_mul(NS_PER_US);
    Cpu {
        usage_ns: ns(usage),
        user_ns: ns(user),
        system_ns: ns(system),
        throttled_ns: ns(throttled),
        throttled_periods,
        periods,
    }
}

/// `cpu.max`: `quota period` or `max period`, microseconds; cores.
pub(super) fn cpu_limit(text: &str) -> Option<f64> {
    let (quota, period) = lines(text).next()?.split_once(' ')?;
    cores(number(quota)?, number(period)?)
}

/// `memory.stat`, which takes in the groups below.
pub(super) fn memory_stat(text: &str, memory: &mut Memory) {
    let [rss, inactive_file, faults, major, swap_in] =
        keyed(text, ["anon", "inactive_file", "pgfault", "pgmajfault", "pswpin"]);
    (memory.rss, memory.swap_in_pages) = (rss, swap_in);
    memory.file_stat(inactive_file, faults, major);
}

/// `io.stat`: a line `device key=value …` per device, summed. Some kernels run the names of idle devices into the
/// next line, so only the pairs count.
pub(super) fn disk(text: &str) -> Option<Disk> {
    let mut sums = [0u64; 4];
    if !(text.is_empty() || text.ends_with('\n')) {
        return None;
    }
    for (key, amount) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        if let Some(at) = ["rbytes", "wbytes", "rios", "wios"].iter().position(|&k| k == key) {
            sums[at] = sums[at].checked_add(number(amount)?)?;
        }
    }
    let [read_bytes, write_bytes, read_operations, write_operations] = sums.map(Some);
    Some(Disk { read_bytes, write_bytes, read_operations, write_operations })
}

/// A `.pressure` file: lines `some avg10=… total=…` and `full …`, totals in microseconds.
pub(super) fn pressure(text: &str) -> Stall {
    let total = |kind: &str| {
        let mut words = lines(text).find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?.split(' ');
        number(words.find_map(|word| word.strip_prefix("total="))?)?.checked_mul(NS_PER_US)
    };
    Stall { some_ns: total("some"), full_ns: total("full") }
}
