//! The files of version 2.

use super::figures::{Cpu, DeviceIo, Disk, Memory, Stall};
use super::parse::{cores, device, keyed, lines, number};

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
    let keys = [
        "anon",
        "pgfault",
        "pgmajfault",
        "pswpin",
        "file",
        "file_mapped",
        "active_anon",
        "inactive_anon",
        "active_file",
        "inactive_file",
        "unevictable",
    ];
    let [rss, faults, major, swap_in, cache, mapped, lists @ ..] = keyed(text, keys);
    (memory.rss, memory.swap_in_pages, memory.cache, memory.mapped) = (rss, swap_in, cache, mapped);
    memory.lists = lists;
    memory.file_stat(faults, major);
}

/// `io.stat`: a line `device key=value …` per device. Some kernels run the names of idle devices into the next line, so
/// only the last name before the pairs counts.
pub(super) fn disk(text: &str) -> Option<Disk> {
    const KEYS: [&str; 6] = ["rbytes", "wbytes", "dbytes", "rios", "wios", "dios"];
    if !(text.is_empty() || text.ends_with('\n')) {
        return None;
    }
    let (mut devices, mut named) = (Vec::<DeviceIo>::new(), None);
    for word in text.split_ascii_whitespace() {
        let Some((key, amount)) = word.split_once('=') else {
            named = device(word);
            continue;
        };
        let Some(at) = KEYS.iter().position(|&k| k == key) else { continue };
        if let Some(number) = named.take() {
            devices.push(DeviceIo { number, ..DeviceIo::default() });
        }
        let device = devices.last_mut()?;
        let amounts = if at < 3 { &mut device.bytes } else { &mut device.operations };
        amounts[at % 3] = number(amount)?;
    }
    Disk::of(devices, [true, true])
}

/// A `.pressure` file: lines `some avg10=… total=…` and `full …`, totals in microseconds.
pub(crate) fn pressure(text: &str) -> Stall {
    let total = |kind: &str| {
        let mut words = lines(text).find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?.split(' ');
        number(words.find_map(|word| word.strip_prefix("total="))?)?.checked_mul(NS_PER_US)
    };
    Stall { some_ns: total("some"), full_ns: total("full") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn devices_are_summed_over_lines_that_run_together() {
        let text =
            "8:0 8:16 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=9 dios=8\n254:0 rbytes=4 wbytes=1 rios=1 wios=1\n";
        let sums = disk(text).unwrap();
        let [first, second] = sums.devices[..] else { panic!("{sums:?}") };
        assert_eq!((first.number, first.bytes, first.operations), ((8, 16), [4096, 1, 9], [2, 3, 8]));
        assert_eq!((second.number, second.bytes, second.waited_bytes), ((254, 0), [4, 1, 0], None));
        assert_eq!((sums.read_bytes, sums.write_bytes), (Some(4100), Some(2)));
        assert_eq!((sums.read_operations, sums.write_operations), (Some(3), Some(4)));
        assert_eq!(disk("").unwrap().read_bytes, Some(0), "no device has been used");
        assert_eq!(disk(&text[..text.len() - 1]), None, "cut short");
        assert_eq!(disk("8:0 rbytes=x wbytes=1\n"), None);
    }

    #[test]
    fn limits_need_a_number_and_a_period() {
        assert_eq!(cpu_limit("150000 100000\n"), Some(1.5));
        for text in ["max 100000\n", "100000 0\n", "100000\n", "150000 1000", ""] {
            assert_eq!(cpu_limit(text), None, "{text:?}");
        }
    }

    #[test]
    fn throttling_is_absent_where_the_controller_is_off() {
        let cpu = cpu_stat("usage_usec 5\nuser_usec 3\nsystem_usec 2\n");
        assert_eq!((cpu.usage_ns, cpu.user_ns, cpu.system_ns), (Some(5_000), Some(3_000), Some(2_000)));
        assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled_ns), (None, None, None));
        assert_eq!(cpu_stat("usage_usec 12").usage_ns, None, "a cut number is another number");
        assert_eq!(cpu_stat("usage_usec 18446744073709551615\n").usage_ns, None);
    }

    #[test]
    fn memory_stat_without_its_lines_gives_nothing() {
        let mut memory = Memory { usage: Some(100), ..Memory::default() };
        memory_stat("anon 40\ninactive_fi", &mut memory);
        assert_eq!(memory.lists, [None; 5]);
        assert_eq!(memory, Memory { usage: Some(100), rss: Some(40), ..Memory::default() });
        memory_stat("anon 40\ninactive_file 130\npgfault 9\npgmajfault 2\npswpin 3\n", &mut memory);
        assert_eq!(memory.working_set, Some(0), "counters of the same moment they are not");
        assert_eq!((memory.minor_faults, memory.major_faults, memory.swap_in_pages), (Some(7), Some(2), Some(3)));
    }

    #[test]
    fn pressure_before_5_13_has_no_full_line_for_cpus() {
        let some = "some avg10=5.74 avg60=2.45 avg300=1.13 total=33473742\n";
        assert_eq!(pressure(some), Stall { some_ns: Some(33_473_742_000), full_ns: None });
        assert_eq!(
            pressure("some avg10=5.74 total=\nfull total=1 \nfull"),
            Stall { some_ns: None, full_ns: Some(1_000) }
        );
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<String>(), near in "(some |full |total=|rbytes=|usage_usec |anon |[0-9]{0,25}|\n){0,20}") {
            for text in [&text, &near] {
                cpu_stat(text);
                cpu_limit(text);
                disk(text);
                pressure(text);
                memory_stat(text, &mut Memory::default());
            }
        }
    }
}
