//! Writes the seeds of the fuzz targets below the given folder, one folder for each: recorded files and answers as
//! they are in `testdata`, and what is not recorded made by hand.
#![expect(clippy::unwrap_used, reason = "a tool of the developers: it ends where a file is missing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use containerd_client::events::TaskStart;
use containerd_client::services::v1::GetContainerRequest;
use containerd_client::to_any;
use containerd_client::types::Envelope;
use k8s_cri::v1::ContainerStatusRequest;
use podscope_abi::{CgroupEvent, EventHeader, EventKind, OomEvent};
use podscope_gpu::document::{Answer, Document};
use prost::Message;

#[path = "../tests/support/btf.rs"]
mod btf;
#[path = "../tests/support/mod.rs"]
mod support;

use support::fake::{FakeRuntime, Manner};
use support::recorded;

/// A target's name and its seeds.
type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

const REQUESTS: [&str; 6] = [
    "GET /metrics HTTP/1.1\r\nHost: node:9435\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;\
     version=0.0.4;q=0.3,*/*;q=0.2\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    "GET /top?processes=3 HTTP/1.1\r\nHost: node\r\n\r\nHEAD /status HTTP/1.1\r\nHost: node\r\n\r\n",
    "POST /metrics HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\n\r\nabc",
    "PUT / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET http://node/readyz HTTP/1.0\r\nUpgrade: h2c\r\nConnection: keep-alive, upgrade\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

const CONFIGURATIONS: [&str; 4] = [
    "--listen\n[::]:9435\n--interval\n0.5s\n--linger\n0\n--max-cgroups\n65536\n--without-probe\nsched_switch\n\n\
     OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318/base?key=s3cr3t\nOTEL_EXPORTER_OTLP_HEADERS=a=s3cr3t,b=%20\n",
    "--otlp-endpoint\ncollector:4317\n--otlp-protocol\ngrpc\n--otlp-header\nauthorization=Bearer s3cr3t\n\
     --otlp-compression\ngzip\n--otlp-timeout\n500\n\nOTEL_EXPORTER_OTLP_INSECURE=true\n",
    "-M\n--format\nprometheus\n",
    "--cri-socket\nunix:///run/containerd/containerd.sock\n--host-root\n/host\n--tls-cert\na\n--tls-key\nb\n\n\
     OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=x\nOTEL_SERVICE_NAME=y\nOTEL_METRIC_EXPORT_INTERVAL=1000\n\
     OTEL_SDK_DISABLED=true\n",
];

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let text = |seeds: &[&str]| seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect::<Vec<_>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeds = Seeds::from([
        ("btf", vec![btf::small_kernel()]),
        ("cgroup_path", paths(&testdata.join("cgroup"))),
        ("cluster_answer", cluster()),
        ("configuration", text(&CONFIGURATIONS)),
        ("gpu_answer", gpus()),
        ("http_request", text(&REQUESTS)),
        ("kernel_file", ["cgroup", "proc", "node"].map(|folder| files(&testdata.join(folder))).concat()),
        ("kernel_log", log(&testdata.join("oom"))),
        ("ring_record", vec![records()]),
        ("runtime_answer", runtime.block_on(async { answers() })),
    ]);
    for (target, seeds) in seeds {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let read = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] };
    entries.into_iter().flat_map(read).collect()
}

/// The two answers that podscope-gpu has.
fn gpus() -> Vec<Vec<u8>> {
    let raw = serde_json::from_str(include_str!("../../gpu/testdata/raw.json")).unwrap();
    let answers = [Answer::Node(podscope_gpu::sift(raw)), Answer::Unavailable("no driver".to_owned())];
    answers.map(|answer| Document::of(answer).to_json().unwrap()).into()
}

/// Recorded cgroup paths.
fn paths(folder: &Path) -> Vec<Vec<u8>> {
    let attributed = fs::read_to_string(folder.join("attributed.tsv")).unwrap();
    let others = fs::read_to_string(folder.join("guest-systemd.txt")).unwrap();
    let paths = attributed.lines().filter_map(|line| line.rsplit('\t').next()).chain(others.lines());
    paths.map(|path| path.as_bytes().to_vec()).collect()
}

/// Recorded answers of a cluster, each after its kind.
fn cluster() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/testdata");
    let read = |kind: u8, name: &str| [&[kind][..], &fs::read(folder.join(name)).unwrap()].concat();
    let recorded = [
        read(0, "kubelet-metrics-resource.txt"),
        read(1, "api_v1_pods.json"),
        read(2, "api_v1_nodes.json"),
        read(3, "metrics_pods.json"),
    ];
    let texts = [&b"\x041.5Gi"[..], b"\x041997794906n", b"\x04-12.5e-3", b"\x051h2m3.5s"].map(<[u8]>::to_vec);
    recorded.into_iter().chain(texts).collect()
}

/// The recorded log, and the same as syslog(2) gives it.
fn log(folder: &Path) -> Vec<Vec<u8>> {
    let mut seeds = files(folder);
    let lines = |record: &str| Some(format!("<6>[   12.345678] {}\n", record.split_once(';')?.1));
    let by_call: String = String::from_utf8_lossy(&seeds[0]).lines().filter_map(lines).collect();
    seeds.push(by_call.into_bytes());
    seeds
}

/// A body after its length.
fn framed(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
}

/// A cgroup that comes, is renamed and goes, and a kill.
fn records() -> Vec<u8> {
    let header = |kind, detail| EventHeader { kind, detail, time_ns: 1 };
    let group = |kind, name: &str| {
        let mut event = CgroupEvent { header: header(kind, 2), id: 7, len: name.len() as u64, path: [0; 512] };
        event.path[..name.len()].copy_from_slice(name.as_bytes());
        framed(bytemuck::bytes_of(&event))
    };
    let header = header(EventKind::OOM, 42);
    let (cgroup, exe, leader_start, resident_pages, tgid, pad) = (7, 1, 2, 3, 42, 0);
    let kill =
        OomEvent { header, cgroup, exe, leader_start, resident_pages, tgid, pad, comm: *b"victim\0\0\0\0\0\0\0\0\0\0" };
    let named = [(EventKind::CGROUP_MADE, "/a"), (EventKind::CGROUP_RENAMED, "/b"), (EventKind::CGROUP_REMOVED, "/b")];
    named.map(|(kind, name)| group(kind, name)).concat().into_iter().chain(framed(bytemuck::bytes_of(&kill))).collect()
}

/// For each recorded runtime all its answers in the order in which the agent asks for them.
fn answers() -> Vec<Vec<u8>> {
    let sockets = tempfile::tempdir().unwrap();
    let replayed = |name: &str, native: bool| {
        let server = FakeRuntime::start(&sockets.path().join(name), Manner::Good);
        let folder = recorded::folder(name);
        if native {
            recorded::replay_native(&server, &folder)
        } else {
            recorded::replay(&server, &folder)
        }
        let asked = |kind: u8, method: &str, request: Vec<u8>| {
            let answer = server.answers.lock().unwrap().get(method)?(&request).ok()?;
            Some([vec![kind], framed(&answer)].concat())
        };
        let file = if native { "Containers.List.json" } else { "ListContainers.json" };
        let listed = recorded::json(&folder, file);
        let ids = recorded::list(&listed, "containers").iter().map(|container| recorded::text(&container["id"]));
        let of_ids = ids.flat_map(|id| {
            let status = ContainerStatusRequest { container_id: id.clone(), verbose: true }.encode_to_vec();
            let get = GetContainerRequest { id: id.clone() }.encode_to_vec();
            let event = to_any(&TaskStart { container_id: id, pid: 7 });
            let event = Envelope { event: Some(event), ..Envelope::default() }.encode_to_vec();
            [
                asked(2, recorded::CONTAINER_STATUS, status),
                asked(3, recorded::GET_CONTAINER, get),
                Some([vec![5], framed(&event)].concat()),
            ]
        });
        let lists = [
            asked(6, recorded::VERSION, Vec::new()),
            asked(0, recorded::LIST_SANDBOXES, Vec::new()),
            asked(1, recorded::LIST_CONTAINERS, Vec::new()),
            asked(4, recorded::LIST_TASKS, Vec::new()),
        ];
        lists.into_iter().chain(of_ids).flatten().flatten().collect::<Vec<u8>>()
    };
    let names = ["crio", "ctd16", "ctd16-virt", "ctd17", "ctd21", "ctdk-kubelet"];
    let mut seeds: Vec<_> = names.iter().map(|name| replayed(name, false)).collect();
    seeds.push(replayed("native-ctd21", true));
    seeds
}
