//! The figures against what the kernel says elsewhere.

use super::*;
use crate::snapshot::Value;

fn node() -> Node {
    let mut node = Node::new("/proc".as_ref(), "/sys".as_ref(), Board::default());
    node.refresh(&Moment::default());
    node
}

fn value(points: &[Point], metric: podscope_catalog::MetricId, combination: u8) -> f64 {
    let found = points.iter().find(|point| point.metric == metric && point.combination == combination);
    match found.unwrap_or_else(|| panic!("no {}", metric.metric().name)).value {
        Value::Int(value) => value as f64,
        Value::Double(value) => value,
        Value::Histogram(_) => panic!("a histogram"),
    }
}

/// Against the other file that counts idle time, which is as exact.
#[test]
fn idle_time_is_that_of_uptime() {
    let idle = || {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    let before = idle();
    let node = node();
    let after = idle();
    let stat = node.last.stat.unwrap();
    let said = stat.modes[3] as f64 / 1e9;
    // Each CPU's share is cut to a tick.
    let cut = stat.cpus as f64 * 0.02;
    assert!((before - cut..=after + cut).contains(&said), "{before} to {after}: {said}");
}

/// Against sysinfo(2), which does not go by way of /proc.
#[test]
fn memory_is_that_of_sysinfo() {
    let info = rustix::system::sysinfo();
    let unit = f64::from(info.mem_unit);
    let points = node().points(7, &Moment::default());
    let total = value(&points, id::SYSTEM_MEMORY_LIMIT, 0);
    assert_eq!(total, info.totalram as f64 * unit);
    let states: f64 = (0..4).map(|state| value(&points, id::SYSTEM_MEMORY_USAGE, state)).sum();
    assert_eq!(states, total, "the states add up");
    let swap: f64 = (0..2).map(|state| value(&points, id::SYSTEM_PAGING_USAGE, state)).sum();
    assert_eq!(swap, info.totalswap as f64 * unit);
    // Memory comes and goes meanwhile.
    let near = |metric, combination, wanted: f64| {
        let said = value(&points, metric, combination);
        assert!((said - wanted).abs() < 0.05 * total, "{said} against {wanted}");
    };
    near(id::SYSTEM_MEMORY_USAGE, 1, info.freeram as f64 * unit);
    near(id::SYSTEM_MEMORY_SHARED, 0, info.sharedram as f64 * unit);
    near(id::NODE_MEMORY_USAGE, 0, (info.totalram - info.freeram) as f64 * unit);
    assert_eq!(value(&points, id::SYSTEM_PROCESS_COUNT, 0), 7.0);
}

/// A mapping is anonymous memory, a page fault for each page, and no longer free.
#[test]
fn a_mapping_of_known_size_shows() {
    const SIZE: usize = 64 << 20;
    let before = node().points(0, &Moment::default());
    let mut mapping = vec![0u8; SIZE];
    mapping.chunks_mut(4096).for_each(|page| page[0] = 1);
    let after = node().points(0, &Moment::default());
    let grown = |metric| value(&after, metric, 0) - value(&before, metric, 0);
    // Others on this machine take and give memory too.
    let most_of_it = 0.7 * SIZE as f64;
    assert!(grown(id::NODE_MEMORY_RSS) > most_of_it, "{}", grown(id::NODE_MEMORY_RSS));
    assert!(grown(id::SYSTEM_PAGING_FAULTS) >= 1.0);
    assert_eq!(mapping.iter().filter(|byte| **byte == 1).count(), SIZE / 4096);
}

#[test]
fn a_host_without_its_proc_is_a_state() {
    let board = Board::default();
    let empty = tempfile::tempdir().unwrap();
    let mut node = Node::new(empty.path(), empty.path(), board.clone());
    node.refresh(&Moment::default());
    let state = board.all().remove(&(Kind::Source, "node".to_owned())).unwrap();
    let State::Absent { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("stat, meminfo, vmstat, 1/net/dev"), "{reason}");
    assert_eq!(node.points(1, &Moment::default()).len(), 2, "processes and uptime");
}

#[test]
fn figures_are_read_again_after_a_second() {
    let mut node = node();
    let first = node.last.stat;
    node.refresh(&Moment { monotonic_ns: PERIOD_NS - 1, ..Moment::default() });
    assert_eq!(node.last.stat, first);
    std::thread::sleep(std::time::Duration::from_millis(50));
    node.refresh(&Moment { monotonic_ns: PERIOD_NS, ..Moment::default() });
    assert_ne!(node.last.stat, first);
    assert!(node.cpus_used.is_some_and(|cpus| cpus >= 0.0));
}
