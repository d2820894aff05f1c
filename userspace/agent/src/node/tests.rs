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

/// A file system of known size: a file with ext4 in it, mounted.
struct Mounted {
    folder: tempfile::TempDir,
    device: String,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Mounted {
    const SIZE: u64 = 64 << 20;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(Self::SIZE).unwrap();
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()]);
        let mounted = Self { folder, device };
        std::fs::create_dir_all(mounted.point()).unwrap();
        run("mkfs.ext4", &["-q", "-N", "1024", &mounted.device]);
        run("mount", &[&mounted.device, mounted.point().to_str().unwrap()]);
        mounted
    }

    /// As the kubelet mounts a volume.
    fn point(&self) -> PathBuf {
        self.folder.path().join("pods/1f0b2c3d-0001-4a00-8000-0000000000a1/volumes/kubernetes.io~csi/pvc-7/mount")
    }

    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let umount = std::process::Command::new("umount").arg(self.point()).status();
        let losetup = std::process::Command::new("losetup").args(["--detach", &self.device]).status();
        assert!(umount.unwrap().success() && losetup.unwrap().success() || std::thread::panicking());
    }
}

fn of_name(parts: impl Iterator<Item = Part>, name: &str) -> Vec<Point> {
    parts.filter(|part| *part.name == *name).map(|part| part.points).next().unwrap_or_default()
}

/// Against the bytes that dd says it has written past the page cache, and df's word for the file system.
#[test]
fn a_disk_and_a_volume_are_what_dd_and_df_say() {
    let mounted = Mounted::new();
    let point = mounted.point();
    let file = point.join("file");
    let device = |node: &Node| of_name(node.devices(), mounted.name());
    let before = device(&node());
    let transfer = |arguments: &[&str]| run("dd", &[&["bs=1M", "count=8", "status=none"], arguments].concat());
    transfer(&["if=/dev/zero", &format!("of={}", file.display()), "oflag=direct", "conv=fsync"]);
    transfer(&[&format!("if={}", file.display()), "of=/dev/null", "iflag=direct"]);
    let after = device(&node());
    let grown = |metric, at| value(&after, metric, at) - value(&before, metric, at);
    const DATA: f64 = (8 << 20) as f64;
    let (read, written) = (grown(id::SYSTEM_DISK_IO, 0), grown(id::SYSTEM_DISK_IO, 1));
    // The file system writes down where the file is.
    assert!((DATA..DATA * 1.25).contains(&read) && (DATA..DATA * 1.5).contains(&written), "{read}, {written}");
    assert!(grown(id::SYSTEM_DISK_OPERATIONS, 0) >= 8.0 && grown(id::SYSTEM_DISK_OPERATIONS, 1) >= 8.0);
    assert!(grown(id::SYSTEM_DISK_OPERATION_TIME, 1) > 0.0);
    assert!(grown(id::NODE_DISK_FLUSH_OPERATIONS, 0) >= 1.0, "fsync flushes");

    let filesystems = Filesystems::start("/proc".as_ref()).unwrap();
    let board = Board::default();
    let sizes = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let sizes = filesystems.sizes(&board);
        (!sizes.volumes.is_empty()).then_some(sizes)
    });
    let sizes = sizes.expect("the thread finds the volume");
    let volume = sizes.volumes.iter().find(|volume| &*volume.name.name == "pvc-7").unwrap();
    assert_eq!((&*volume.name.pod, &*volume.name.kind), ("1f0b2c3d-0001-4a00-8000-0000000000a1", "csi"));
    let points = volume.points();
    let told = run("df", &["-B1", "--output=size,used,avail,itotal,iused,iavail", point.to_str().unwrap()]);
    let told: Vec<f64> = told.lines().nth(1).unwrap().split_ascii_whitespace().map(|n| n.parse().unwrap()).collect();
    let metrics = [
        id::POD_VOLUME_CAPACITY,
        id::POD_VOLUME_USAGE,
        id::POD_VOLUME_AVAILABLE,
        id::POD_VOLUME_INODES,
        id::POD_VOLUME_INODES_USED,
        id::POD_VOLUME_INODES_FREE,
    ];
    assert_eq!(metrics.map(|metric| value(&points, metric, 0)).to_vec(), told);
    assert_eq!(sizes.of_path(&file).map(|size| size.capacity() as f64), Some(told[0]));
    // A volume is no file system of the node, which has the root at least.
    let places: Vec<_> = sizes.filesystems.iter().map(|filesystem| filesystem.labels()[3].1.clone()).collect();
    assert!(places.contains(&"/".to_owned()) && !places.iter().any(|place| place.contains("pvc-7")), "{places:?}");
}
