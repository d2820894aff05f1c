//! The files of version 1.

use super::figures::{Cpu, DeviceIo, Disk, Memory};
use super::parse::{self, device, keyed, lines};

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
    let keys = [
        "total_rss",
        "total_swap",
        "total_pgfault",
        "total_pgmajfault",
        "total_cache",
        "total_mapped_file",
        "total_pgpgin",
        "total_pgpgout",
        "total_active_anon",
        "total_inactive_anon",
        "total_active_file",
        "total_inactive_file",
        "total_unevictable",
    ];
    let [rss, swap, faults, major, cache, mapped, charged, uncharged, lists @ ..] = keyed(text, keys);
    (memory.rss, memory.swap, memory.cache, memory.mapped) = (rss, swap, cache, mapped);
    (memory.lists, memory.charges) = (lists, [charged, uncharged]);
    memory.file_stat(faults, major);
}

/// A device of a `blkio.throttle…` file: what was read, written, discarded, and done synchronously or not.
pub(super) type Blkio = ((u32, u32), [u64; 5]);

/// `blkio.throttle.io_service_bytes_recursive` or `…io_serviced_recursive`: lines `device direction value` and a
/// last one `Total value`.
pub(super) fn blkio(text: &str) -> Option<Vec<Blkio>> {
    const KINDS: [&str; 5] = ["Read", "Write", "Discard", "Sync", "Async"];
    let (mut devices, mut is_whole) = (Vec::<Blkio>::new(), false);
    for line in lines(text) {
        let mut words = line.split(' ');
        let (first, second, third) = (words.next()?, words.next()?, words.next());
        if (first, third) == ("Total", None) {
            is_whole = true;
        }
        let (Some(kind), Some(amount)) = (KINDS.iter().position(|kind| *kind == second), third) else { continue };
        let number = device(first)?;
        if devices.last().is_none_or(|(last, _)| *last != number) {
            devices.push((number, [0; 5]));
        }
        if let Some((_, amounts)) = devices.last_mut() {
            amounts[kind] = parse::number(amount)?;
        }
    }
    is_whole.then_some(devices)
}

/// What [`blkio`] says of both files; either may be missing.
///
/// Many kernels (6.1 and 6.18 were seen) count here only where the group has a throttling rule, and say 0 elsewhere.
/// So a group without a single operation is taken to be one that was not counted.
pub(super) fn disk(bytes: Option<Vec<Blkio>>, operations: Option<Vec<Blkio>>) -> Disk {
    let counted = [bytes.is_some(), operations.is_some()];
    let is_used = |(_, [read, written, ..]): &Blkio| *read > 0 || *written > 0;
    if !operations.iter().flatten().any(is_used) {
        return Disk::default();
    }
    let of = |all: &Option<Vec<Blkio>>, number| {
        all.iter().flatten().find(|(of, _)| *of == number).map_or([0; 5], |(_, amounts)| *amounts)
    };
    let devices = operations.iter().flatten().map(|&(number, operations)| {
        let [read, write, discard, sync, asynchronous] = of(&bytes, number);
        let [reads, writes, discards, ..] = operations;
        DeviceIo {
            number,
            bytes: [read, write, discard],
            operations: [reads, writes, discards],
            waited_bytes: counted[0].then_some([sync, asynchronous]),
        }
    });
    Disk::of(devices.collect(), counted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.1: the device after 13 MB of reads by a group without a throttling rule.
    const UNCOUNTED: &str = "254:0 Read 0\n254:0 Write 0\n254:0 Sync 0\n254:0 Async 0\n254:0 Discard 0\n\
                             254:0 Total 0\nTotal 0\n";
    const TWO_DEVICES: &str = "8:16 Read 4096\n8:16 Write 0\n8:16 Sync 4096\n8:16 Async 0\n8:16 Total 4096\n\
                               254:0 Read 10\n254:0 Write 7\n254:0 Sync 3\n254:0 Async 15\n254:0 Discard 1\n\
                               254:0 Total 18\nTotal 4114\n";

    #[test]
    fn devices_are_summed_and_a_cut_file_is_none() {
        let bytes = blkio(TWO_DEVICES).unwrap();
        assert_eq!(bytes, [((8, 16), [4096, 0, 0, 4096, 0]), ((254, 0), [10, 7, 1, 3, 15])]);
        assert_eq!(blkio("Total 0\n"), Some(Vec::new()));
        for end in 0..TWO_DEVICES.len() {
            assert_eq!(blkio(&TWO_DEVICES[..end]), None, "cut at {end}");
        }
        assert_eq!(blkio("8:16 Read x\nTotal 0\n"), None);
        assert_eq!(blkio("8 Read 1\nTotal 0\n"), None);
        let sums = disk(Some(bytes.clone()), Some(bytes.clone()));
        assert_eq!((sums.read_bytes, sums.write_bytes, sums.read_operations), (Some(4106), Some(7), Some(4106)));
        let [first, second] = sums.devices[..] else { panic!("{sums:?}") };
        assert_eq!((first.bytes, first.waited_bytes), ([4096, 0, 0], Some([4096, 0])));
        assert_eq!((second.number, second.bytes, second.waited_bytes), ((254, 0), [10, 7, 1], Some([3, 15])));
        let huge = blkio("8:16 Read 18446744073709551615\n8:0 Read 1\nTotal 0\n");
        assert_eq!(disk(huge.clone(), huge), Disk::default());
    }

    #[test]
    fn zeros_of_a_kernel_that_does_not_count_are_no_figures() {
        assert_eq!(disk(blkio(UNCOUNTED), blkio(UNCOUNTED)), Disk::default());
        let line = |amount| Some(vec![((8, 0), [amount, 0, 0, 0, amount])]);
        let read = disk(line(4096), line(1));
        assert_eq!((read.read_bytes, read.write_bytes, read.write_operations), (Some(4096), Some(0), Some(0)));
        assert_eq!((disk(None, line(1)).read_bytes, disk(line(1), None)), (None, Disk::default()));
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
