//! A whole `/metrics` page from recorded files of cgroups and of a node, a runtime's answers and kernel records, as committed.
//!
//! `UPDATE_GOLDEN=1` writes the page anew; read the difference before committing it.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_cri::v1::{
    Container, ContainerMetadata, ContainerState, ImageSpec, ListContainersResponse, ListPodSandboxResponse,
    PodSandbox, PodSandboxMetadata, PodSandboxState,
};
use podscope_abi::{Book, BookKey, Closed, ClosedKey, Counters, Histogram, Lives, RecordKind, TaskFlags, TaskRecord};
use podscope_agent::accounting::{Accounting, ContainerKey, Limits, Moment, Policy};
use podscope_agent::attribution::{Attribution, Identity};
use podscope_agent::cgroup::{Group, Layout, Reader, Tree};
use podscope_agent::detail::Detail;
use podscope_agent::export::prometheus::{Families, Format, render};
use podscope_agent::node::Node;
use podscope_agent::publish::{Names, Publisher, Readings};
use podscope_agent::runtime::{self, SocketChoice};
use podscope_agent::snapshot::Snapshot;
use podscope_agent::status::Board;
use podscope_agent::vm::Machines;
use support::fake::{FakeRuntime, Manner};
use support::recorded::{LIST_CONTAINERS, LIST_SANDBOXES, VERSION};

const CONTAINER: &str = "a562c1fedc668f8411f857d3ebabd03b49c2916c87b8b7a5423818686499e6ca";
const SANDBOX: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const POD: &str = "1f0b2c3d-0001-4a00-8000-0000000000a1";
const CGROUP: u64 = 4242;
const POD_CGROUP: u64 = 4200;
const APP: u64 = 7;
const HELPER: u64 = 8;
const SECOND: u64 = 1_000_000_000;

fn runtime_answers(server: &FakeRuntime) {
    let version = k8s_cri::v1::VersionResponse {
        runtime_name: "cri-o".to_owned(),
        runtime_version: "1.37.0".to_owned(),
        ..Default::default()
    };
    server.answer(VERSION, &version);
    let sandbox = PodSandbox {
        id: SANDBOX.to_owned(),
        metadata: Some(PodSandboxMetadata {
            name: "web-5d9f7c6b8-abcde".to_owned(),
            uid: POD.to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        state: PodSandboxState::SandboxReady as i32,
        created_at: (1_795_000_000 * SECOND) as i64,
        ..Default::default()
    };
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items: vec![sandbox] });
    let container = Container {
        id: CONTAINER.to_owned(),
        pod_sandbox_id: SANDBOX.to_owned(),
        metadata: Some(ContainerMetadata { name: "app".to_owned(), attempt: 0 }),
        image: Some(ImageSpec { image: "docker.io/library/web:1".to_owned(), ..Default::default() }),
        // Not running: the runtime is then not asked for a start time, which would arrive at any moment.
        state: ContainerState::ContainerExited as i32,
        created_at: (1_795_000_001 * SECOND) as i64,
        ..Default::default()
    };
    server.answer(LIST_CONTAINERS, &ListContainersResponse { containers: vec![container] });
}

fn counters(scale: u64) -> Counters {
    Counters {
        run_ns: 1_000_000 * scale,
        user_ns: 700_000 * scale,
        system_ns: 300_000 * scale,
        wait_ns: 50_000 * scale,
        blocked_ns: 20_000 * scale,
        switches_voluntary: 11 * scale,
        switches_involuntary: 2 * scale,
        migrations: scale,
        faults_minor: 90 * scale,
        faults_major: scale,
        read_bytes: 4096 * scale,
        write_bytes: 8192 * scale,
        read_calls: 5 * scale,
        write_calls: 6 * scale,
        reclaim_ns: 1000 * scale,
        reclaims: scale,
    }
}

fn task(pid: u32, start: u64, exe: u64, used: u64) -> TaskRecord {
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"app");
    TaskRecord {
        raw: counters(used),
        since: counters(used),
        leader_start: start,
        cgroup: CGROUP,
        exe,
        book_exe: exe,
        file_pages: 100,
        anon_pages: 200 + i64::from(pid),
        shmem_pages: 30,
        swap_pages: 4,
        hugetlb_pages: 512,
        virtual_pages: 10_000,
        code_start: 0x40_0000,
        code_end: 0x40_1234,
        data_pages: 300,
        children_user_ns: 5_000_000,
        children_system_ns: 1_000_000,
        peak_pages: 1000,
        queued_ns: 0,
        pid,
        tgid: pid,
        ppid: 1,
        kind: RecordKind::TASK,
        flags: TaskFlags::LEADER | TaskFlags::MEMORY,
        threads: 3,
        changes: 0,
        kvm_vcpu: 0,
        comm,
    }
}

fn moment(seconds: u64) -> Moment {
    Moment {
        unix_ns: (1_795_000_000 + seconds) * SECOND,
        boot_ns: (5000 + seconds) * SECOND,
        monotonic_ns: (4000 + seconds) * SECOND,
    }
}

/// One collection at `seconds`: two processes, the books of one that has ended, and on the last one an ended process.
fn collect(
    accounting: &mut Accounting,
    attribution: &mut Attribution,
    seconds: u64,
    ended: bool,
) -> Vec<podscope_agent::accounting::Ended> {
    accounting.begin(moment(seconds));
    let lives = Lives { started_fork: 3, started_exec: 2, ended_exit: 1, ended_exec: 1, ..Lives::default() };
    accounting.take_book(&BookKey { cgroup: CGROUP, exe: HELPER }, &Book { sums: counters(seconds), lives });
    let (busy, gone) =
        (ClosedKey { start: 4_990 * SECOND, tgid: 10, pad: 0 }, ClosedKey { start: 4_991 * SECOND, tgid: 11, pad: 0 });
    accounting.take_task(&task(busy.tgid, busy.start, APP, 10 * seconds));
    if ended {
        let closed = Closed { sums: counters(15), changes: 0, ended_ns: (4990 + seconds) * SECOND, peak_pages: 2000 };
        accounting.take_closed(&gone, &closed);
        accounting.take_book(
            &BookKey { cgroup: CGROUP, exe: APP },
            &Book { sums: counters(15), lives: Lives { ended_exit: 1, ..Lives::default() } },
        );
    } else {
        accounting.take_task(&task(gone.tgid, gone.start, APP, seconds));
    }
    let cell = std::cell::RefCell::new(attribution);
    accounting.finish(|cgroup| cell.borrow_mut().owner(cgroup, moment(seconds).monotonic_ns), |_| Policy::Top).ended
}

#[tokio::test]
async fn the_page_is_as_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cgroup/linux-6.1-v2");
    let layout = Layout::detect(&root.join("proc"), &root.join("sys/fs/cgroup")).unwrap();
    let socket = tempfile::tempdir().unwrap();
    let server = FakeRuntime::start(&socket.path().join("cri.sock"), Manner::Good);
    runtime_answers(&server);
    let config =
        runtime::Config { socket: SocketChoice::Path(socket.path().join("cri.sock")), ..runtime::Config::default() };
    let handle = runtime::spawn(config, Board::default());
    support::eventually("the runtime names the container", || handle.containers().get(CONTAINER).cloned()).await;

    let path = format!("/kubepods/burstable/pod{POD}/{CONTAINER}");
    let mut tree = Tree::new(100, SECOND);
    tree.insert(CGROUP, path.as_str(), 0);
    tree.insert(POD_CGROUP, format!("/kubepods/burstable/pod{POD}"), 0);
    let mut attribution = Attribution::new(tree, handle);
    attribution.note_pod(POD_CGROUP);
    let mut accounting = Accounting::new(Limits::default());
    let mut publisher = Publisher::new("node-1", 4096, 120 * SECOND, Detail::default());
    let names = Names::from_iter([(APP, "app".into()), (HELPER, "sh".into())]);

    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/node");
    let mut node = Node::new(&recorded.join("proc"), &recorded.join("sys"), Board::default());
    let mut page = Vec::new();
    for seconds in [5, 10, 15] {
        let ended = collect(&mut accounting, &mut attribution, seconds, seconds == 15);
        attribution.refresh(moment(seconds).monotonic_ns);
        node.refresh(&moment(seconds));
        let mut readings = Readings::default();
        readings.devices.insert((254, 0), Arc::clone(node.device_name((254, 0)).unwrap()));
        let (container, pod) = (ContainerKey::Container(CONTAINER.into()), ContainerKey::Pod(POD.into()));
        assert!(matches!(attribution.identity(&container), Identity::Named(_)));
        let mut reader = Reader::new(&layout);
        for key in [&container, &pod] {
            readings
                .figures
                .insert(key.clone(), reader.read(&mut Group::new(Arc::clone(attribution.group(key).unwrap()), false)));
        }
        let mut waits = Histogram::EMPTY;
        (waits.zero, waits.buckets[40], waits.buckets[100], waits.over, waits.sum_ns) = (5, 4, 3, 1, 77 * SECOND);
        readings.waits.insert(container, Box::new(waits));
        let of_node = publisher.node(&node, &attribution, accounting.processes.len() as u64, &moment(seconds));
        let mut resources =
            publisher.resources(&accounting, &attribution, &names, &Machines::default(), &ended, readings);
        resources.extend(of_node);
        let lingering = publisher.lingering(&resources, &moment(seconds));
        page.clear();
        render(
            &Snapshot { time_ns: moment(seconds).unix_ns, resources, lingering, ..Snapshot::default() },
            Format::Text004,
            Families::WithPoints,
            &mut page,
        );
    }
    let page = String::from_utf8(page).unwrap();
    let golden: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/page.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, sorted(&page)).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert_eq!(sorted(&page), expected, "the page differs from {}", golden.display());
    drop(Arc::new(server));
}

/// Samples of a family have no order of their own.
fn sorted(page: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut family: Vec<&str> = Vec::new();
    for line in page.lines() {
        if line.starts_with('#') {
            family.sort_unstable();
            lines.append(&mut family);
            lines.push(line);
        } else {
            family.push(line);
        }
    }
    family.sort_unstable();
    lines.append(&mut family);
    lines.join("\n") + "\n"
}
