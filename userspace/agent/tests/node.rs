//! The node's devices and file systems and the networks of pods, against what other programs say of them. Needs root.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use k8s_cri::v1::{ListContainersResponse, ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, VersionResponse};
use podscope_abi::{Counters, RecordKind, TaskFlags, TaskRecord};
use podscope_agent::accounting::{Accounting, Limits, Moment, Policy};
use podscope_agent::attribution::Attribution;
use podscope_agent::cgroup::Tree;
use podscope_agent::node::{Filesystems, Node, Part, PodNetwork};
use podscope_agent::runtime::{self, SocketChoice};
use podscope_agent::snapshot::{Point, Value};
use podscope_agent::status::Board;
use podscope_catalog::{MetricId, id};
use support::eventually;
use support::fake::{FakeRuntime, Manner};
use support::recorded::{LIST_CONTAINERS, LIST_SANDBOXES, VERSION};

const SECOND: u64 = 1_000_000_000;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn value(points: &[Point], metric: MetricId, combination: u8) -> f64 {
    let found = points.iter().find(|point| point.metric == metric && point.combination == combination);
    match found.unwrap_or_else(|| panic!("no {}", metric.metric().name)).value {
        Value::Int(value) => value as f64,
        Value::Double(value) => value,
        Value::Histogram(_) => panic!("a histogram"),
    }
}

fn node() -> Node {
    let mut node = Node::new("/proc".as_ref(), "/sys".as_ref(), Board::default());
    node.refresh(&Moment::default());
    node
}

/// A file system of known size: a file with ext4 in it, mounted as the kubelet mounts a volume.
struct Mounted {
    folder: tempfile::TempDir,
    device: String,
}

impl Mounted {
    const SIZE: u64 = 64 << 20;
    const POD: &str = "1f0b2c3d-0001-4a00-8000-0000000000a1";

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

    fn point(&self) -> PathBuf {
        self.folder.path().join(format!("pods/{}/volumes/kubernetes.io~csi/pvc-7/mount", Self::POD))
    }

    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.point()).status();
        let detached = Command::new("losetup").args(["--detach", &self.device]).status();
        assert!(unmounted.unwrap().success() && detached.unwrap().success() || std::thread::panicking());
    }
}

fn of_name(parts: impl Iterator<Item = Part>, name: &str) -> Vec<Point> {
    parts.filter(|part| *part.name == *name).map(|part| part.points).next().unwrap_or_default()
}

/// Against the bytes that dd moves past the page cache.
#[test]
fn a_disk_has_moved_what_dd_has_moved() {
    const DATA: f64 = (8 << 20) as f64;
    let mounted = Mounted::new();
    let file = mounted.point().join("file").to_str().unwrap().to_owned();
    let device = || of_name(node().devices(), mounted.name());
    let before = device();
    let transfer = |arguments: &[&str]| run("dd", &[&["bs=1M", "count=8", "status=none"], arguments].concat());
    transfer(&["if=/dev/zero", &format!("of={file}"), "oflag=direct", "conv=fsync"]);
    transfer(&[&format!("if={file}"), "of=/dev/null", "iflag=direct"]);
    let after = device();
    let grown = |metric, at| value(&after, metric, at) - value(&before, metric, at);
    let (read, written) = (grown(id::SYSTEM_DISK_IO, 0), grown(id::SYSTEM_DISK_IO, 1));
    // The file system reads and writes down where the file is.
    assert!((DATA..DATA * 1.25).contains(&read) && (DATA..DATA * 1.5).contains(&written), "{read}, {written}");
    assert!(grown(id::SYSTEM_DISK_OPERATIONS, 0) >= 8.0 && grown(id::SYSTEM_DISK_OPERATIONS, 1) >= 8.0);
    assert!(grown(id::SYSTEM_DISK_OPERATION_TIME, 1) > 0.0 && grown(id::NODE_DISK_QUEUE_TIME, 0) > 0.0);
    assert!(grown(id::NODE_DISK_FLUSH_OPERATIONS, 0) >= 1.0, "a file that is made durable makes the disk flush");
    assert_eq!(value(&after, id::NODE_DISK_IN_FLIGHT, 0), 0.0);
    let discarded = || value(&device(), id::NODE_DISK_DISCARD_IO, 0);
    let before = discarded();
    run("fstrim", &[mounted.point().to_str().unwrap()]);
    assert!(discarded() > before, "what is free is discarded");
}

/// Against df's words.
#[test]
fn a_volume_is_as_large_as_df_says() {
    let mounted = Mounted::new();
    let point = mounted.point();
    std::fs::write(point.join("file"), vec![1; 1 << 20]).unwrap();
    run("sync", &["--file-system", point.to_str().unwrap()]);
    let filesystems = Filesystems::start("/proc".as_ref()).unwrap();
    let board = Board::default();
    let sizes = (0..500).find_map(|_| {
        sleep(Duration::from_millis(20));
        let sizes = filesystems.sizes(&board);
        sizes.volumes.iter().any(|volume| &*volume.name.name == "pvc-7").then_some(sizes)
    });
    let sizes = sizes.expect("the thread finds the volume");
    let volume = sizes.volumes.iter().find(|volume| &*volume.name.name == "pvc-7").unwrap();
    assert_eq!((&*volume.name.pod, &*volume.name.kind), (Mounted::POD, "csi"));
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
    assert_eq!(sizes.of_path(&point.join("file")).map(|size| size.capacity() as f64), Some(told[0]));
    // A volume is no file system of the node, which has the one with the root at least.
    let places: Vec<_> = sizes.filesystems.iter().map(|filesystem| filesystem.labels()[3].1.clone()).collect();
    assert!(places.contains(&"/".to_owned()) && !places.iter().any(|place| place.contains("pvc-7")), "{places:?}");
    let root = sizes.filesystems.iter().find(|filesystem| filesystem.labels()[3].1 == "/").unwrap().points();
    let told = run("df", &["-B1", "--output=size,itotal", "/"]);
    let told: Vec<f64> = told.lines().nth(1).unwrap().split_ascii_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(value(&root, id::SYSTEM_FILESYSTEM_LIMIT, 0), told[0]);
    let states: f64 = (0..3).map(|state| value(&root, id::SYSTEM_FILESYSTEM_USAGE, state)).sum();
    assert_eq!(states, told[0], "the states add up");
    let inodes: f64 = (0..2).map(|state| value(&root, id::NODE_FILESYSTEM_INODE_USAGE, state)).sum();
    assert_eq!(inodes, told[1]);
}

/// A process in a network namespace of its own, with a cable to the host; both end with this value.
struct Cable {
    process: Child,
    host: String,
}

impl Cable {
    const OUTSIDE: &str = "10.213.7.1";
    const INSIDE: &str = "10.213.7.2";

    fn new() -> Self {
        let process = Command::new("unshare").args(["--net", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let cable = Self { host: format!("pstest{}", process.id() % 1_000_000), process };
        let pid = cable.process.id().to_string();
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        while namespace(&pid) == namespace("self") {
            sleep(Duration::from_millis(5));
        }
        let host = cable.host.as_str();
        run("ip", &["link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        let inside = |arguments: &[&str]| run("nsenter", &[&["-t", &pid, "-n", "ip"], arguments].concat());
        // Neighbours that are known beforehand, and no IPv6: nothing is sent but what the test sends.
        inside(&["link", "set", "eth0", "address", "02:00:00:00:07:02", "addrgenmode", "none"]);
        run("ip", &["link", "set", host, "address", "02:00:00:00:07:01", "addrgenmode", "none"]);
        run("ip", &["address", "add", &format!("{}/30", Self::OUTSIDE), "dev", host]);
        inside(&["address", "add", &format!("{}/30", Self::INSIDE), "dev", "eth0"]);
        run("ip", &["link", "set", host, "up"]);
        inside(&["link", "set", "eth0", "up"]);
        run("ip", &["neighbour", "add", Self::INSIDE, "lladdr", "02:00:00:00:07:02", "dev", host]);
        inside(&["neighbour", "add", Self::OUTSIDE, "lladdr", "02:00:00:00:07:01", "dev", "eth0"]);
        cable
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The other end goes with it.
        let removed = Command::new("ip").args(["link", "del", &self.host]).status();
        let _ = self.process.kill();
        let _ = self.process.wait();
        assert!(removed.unwrap().success() || std::thread::panicking());
    }
}

/// A runtime that knows these pods: (uid, sandbox).
fn runtime_of(pods: &[(&str, &str)], server: &FakeRuntime) {
    server.answer(VERSION, &VersionResponse { runtime_name: "cri-o".to_owned(), ..Default::default() });
    let sandbox = |&(uid, id): &(&str, &str)| PodSandbox {
        id: id.to_owned(),
        metadata: Some(PodSandboxMetadata {
            name: format!("pod-{uid}"),
            uid: uid.to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        created_at: (1_795_000_000 * SECOND) as i64,
        ..Default::default()
    };
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items: pods.iter().map(sandbox).collect() });
    server.answer(LIST_CONTAINERS, &ListContainersResponse::default());
}

fn record(pid: u32, start: u64, cgroup: u64) -> TaskRecord {
    TaskRecord {
        leader_start: start,
        cgroup,
        pid,
        tgid: pid,
        kind: RecordKind::TASK,
        flags: TaskFlags::LEADER | TaskFlags::MEMORY,
        threads: 1,
        raw: Counters::ZERO,
        ..bytemuck::Zeroable::zeroed()
    }
}

/// One pod has a network of its own, another one shares it, a third one has the host's.
#[tokio::test]
async fn a_pods_network_has_carried_what_was_sent_and_stands_once() {
    let cable = Cable::new();
    let own = std::process::id();
    let pods = ["a", "b", "c"].map(|digit| (digit.repeat(8) + "-0001-4a00-8000-0000000000a1", digit.repeat(64)));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cri.sock");
    let server = FakeRuntime::start(&socket, Manner::Good);
    runtime_of(&pods.each_ref().map(|(uid, id)| (uid.as_str(), id.as_str())), &server);
    let config = runtime::Config { socket: SocketChoice::Path(socket), ..runtime::Config::default() };
    let handle = runtime::spawn(config, Board::default());
    eventually("the runtime names the pods", || (handle.pods().len() == 3).then_some(())).await;
    let mut attribution = Attribution::new(Tree::new(100, SECOND), handle);
    for (cgroup, (uid, id)) in (1..).zip(&pods) {
        attribution.tree.insert(cgroup, format!("/kubepods/pod{uid}/{id}"), 0);
    }
    let mut accounting = Accounting::new(Limits::default());
    let mut node = node();
    let mut look = |seconds: u64| -> Vec<(String, Vec<Point>)> {
        let now = Moment { unix_ns: 1_795_000_000 * SECOND, boot_ns: 0, monotonic_ns: seconds * SECOND };
        accounting.begin(now);
        // A younger process of the first pod that is somewhere else does not count.
        let records = [(cable.process.id(), 5, 1), (own, 9, 1), (cable.process.id(), 6, 2), (own, 7, 3)];
        records.into_iter().for_each(|(pid, start, cgroup)| accounting.take_task(&record(pid, start, cgroup)));
        let cell = std::cell::RefCell::new(&mut attribution);
        accounting.finish(|cgroup| cell.borrow_mut().owner(cgroup, now.monotonic_ns), |_| Policy::Top);
        attribution.refresh(now.monotonic_ns);
        node.pods.refresh(&accounting, &attribution);
        let points = |network: &PodNetwork| {
            let part = network.interfaces.iter().map(|part| (part.name.to_string(), part.points.clone()));
            part.collect::<Vec<_>>()
        };
        node.pods.all().iter().flat_map(points).collect()
    };
    assert_eq!(look(10), [], "nothing has passed the cable yet");
    let outside = UdpSocket::bind((Cable::OUTSIDE, 0)).unwrap();
    for _ in 0..100 {
        outside.send_to(&[7; 1000], (Cable::INSIDE, 9)).unwrap();
    }
    assert_eq!(look(12), [], "what was read a moment ago is not read again");
    let found = look(20);
    let [(name, points)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(name, "eth0");
    // Ethernet, IP and UDP have 14, 20 and 8 bytes of their own.
    assert_eq!(value(points, id::POD_NETWORK_IO, 0), 100.0 * (1000 + 14 + 20 + 8) as f64);
    assert_eq!(value(points, id::POD_NETWORK_PACKETS, 0), 100.0);
    let errors = [id::POD_NETWORK_ERRORS, id::POD_NETWORK_DROPPED];
    assert!(errors.iter().all(|metric| value(points, *metric, 0) == 0.0));
    // The host's end is the pod's cable, and no interface of the node's by itself: it has a name of another network's.
    let ends = of_name(self::node().interfaces(), &cable.host);
    assert_eq!(value(&ends, id::SYSTEM_NETWORK_IO, 1), value(points, id::POD_NETWORK_IO, 0));
}
