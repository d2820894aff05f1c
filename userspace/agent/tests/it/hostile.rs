//! Names chosen to break what they are shown in: of executables, of containers and pods.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use k8s_cri::v1::{
    Container, ContainerMetadata, ContainerState, ListContainersResponse, ListPodSandboxResponse, PodSandbox,
    PodSandboxMetadata,
};
use serde_json::Value;

use crate::faults::ground::Ground;
use crate::faults::ledger::Ledger;
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::otlp_support::rotel::Collector;
use crate::runtime_support::fake::{FakeRuntime, Manner};
use crate::runtime_support::recorded::{self, LIST_CONTAINERS, LIST_SANDBOXES, replay};
use crate::support::agent::Agent;
use crate::support::{eventually, turn};

/// Names of executable files, and how they are shown.
const NAMES: [(&[u8], &str); 11] = [
    (b"line\nfeed\r", r"line\x0afeed\x0d"),
    (b"\x1b]0;owned\x07\x1b[31m\x1b[2J", r"\x1b]0;owned\x07\x1b[31m\x1b[2J"),
    (b"quo\"te\\", "quo\"te\\\\"),
    (b"} 1\nprocess_cpu_time{x=\"", "} 1\\x0aprocess_cpu_time{x=\""),
    ("\u{202e}txt.exe\u{9b}31m".as_bytes(), r"\u{202e}txt.exe\u{9b}31m"),
    (b"\xff", r"\xff"),
    (b"\xfe", r"\xfe"),
    (br"\xff", r"\\xff"),
    (b"_other", r"\_other"),
    (b"_unknown", r"\_unknown"),
    (&[b'n'; 255], "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"),
];

/// Runs a program with a page on its standard input.
fn ask(program: &str, args: &[&str], page: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup --tests`"));
    let mut stdin = child.stdin.take().unwrap();
    let input = page.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // promtool's findings of style have a code of their own.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{program}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The distinct values of a label, as Prometheus's own parser accepts the page and Python's reads it.
fn values(page: &str, label: &str) -> Vec<String> {
    ask("promtool", &["check", "metrics"], page);
    let script = "import io, json, sys\n\
        from prometheus_client.parser import text_fd_to_metric_families as read\n\
        page = io.StringIO(sys.stdin.buffer.read().decode(), newline='\\n')\n\
        print(json.dumps(sorted({s.labels.get(sys.argv[1], '') for f in read(page) for s in f.samples})))";
    serde_json::from_str(&ask("/usr/bin/python3", &["-c", script, label], page)).unwrap()
}

/// Nothing in the log steers a terminal, and nobody has forged a line.
fn is_clean(log: &str) {
    for line in log.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let is_dated = line.len() > 20 && line.as_bytes()[4] == b'-' && line.as_bytes()[10] == b'T';
        assert!(is_dated, "this line is none of the agent's: {line:?}");
    }
}

/// Every text in a JSON value.
fn texts<'a>(value: &'a Value, to: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => to.push(text),
        Value::Array(list) => list.iter().for_each(|value| texts(value, to)),
        Value::Object(map) => map.values().for_each(|value| texts(value, to)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executables_break_nothing_and_keep_their_figures_apart() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(Protocol::Grpc).await;
    let agent = Agent::sending_to(&receiver, &["--cri-socket", "none", "--log-level", "podscope_agent=debug,info"]);
    let mut ground = Ground::new();
    for (name, _) in NAMES {
        let program = folder.path().join(OsStr::from_bytes(name));
        std::fs::copy("/bin/sh", &program).unwrap();
        ground.work_by(&program, "i=0; while [ $i -lt 40000 ]; do i=$((i + 1)); done");
    }
    let (_, top) = agent.get("/top?processes=100");
    // Were two names one, their sums would be one series with the value of either.
    ground.is_whole(&mut Ledger::default(), &receiver);
    let (_, page) = agent.get("/metrics");
    let shown = values(&page, "process_executable_name");
    for (name, wanted) in NAMES {
        assert!(shown.iter().any(|name| name == wanted), "{name:?} should be {wanted} in {shown:#?}");
    }
    let page = agent.page();
    let id = [("container_id", &*ground.id)];
    let whole = page.one("podscope_container_process_cpu_time_seconds_total", &id);
    for of in ["podscope_executable_cpu_time_seconds_total", "process_cpu_time_seconds_total"] {
        let sum = page.sum(of, &id);
        assert!((sum - whole).abs() < 1e-6, "{of}: {sum} s of {whole} s");
    }
    let top: Value = serde_json::from_str(&top).unwrap();
    let mut shown = Vec::new();
    texts(&top, &mut shown);
    assert!(shown.iter().all(|text| !text.chars().any(char::is_control)), "{shown:?}");
    is_clean(&agent.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_labels_break_nothing() {
    const POD: &str = "evil\n# HELP forged {}\"\\\u{1b}]0;owned\u{7}";
    const SHOWN: &str = "evil\\x0a# HELP forged {}\"\\\\\\x1b]0;owned\\x07";
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("runtime.sock");
    let mut ground = Ground::new();
    let fake = FakeRuntime::start(&socket, Manner::Good);
    replay(&fake, &recorded::folder("ctd16"));
    let many = (0..100_000).map(|at| (format!("label-{at}\u{1b}[2J"), "value\n".to_owned()));
    let long = (0..500).map(|at| (format!("a-long-{at}"), "\u{202e}".repeat(4096 / 3)));
    let name = PodSandboxMetadata { name: POD.into(), uid: "u\"\n".into(), namespace: "\u{9b}n\0".into(), attempt: 0 };
    let sandbox = PodSandbox {
        id: "sandbox".into(),
        metadata: Some(name),
        labels: many.chain(long).collect(),
        ..PodSandbox::default()
    };
    fake.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items: vec![sandbox] });
    let container = Container {
        id: ground.id.clone(),
        pod_sandbox_id: "sandbox".into(),
        metadata: Some(ContainerMetadata { name: "x".repeat(4096), attempt: 0 }),
        state: ContainerState::ContainerRunning.into(),
        ..Container::default()
    };
    fake.answer(LIST_CONTAINERS, &ListContainersResponse { containers: vec![container] });

    let collector = Collector::start().await;
    let cri = format!("unix://{}", socket.display());
    let sink = ["--otlp-endpoint", &collector.grpc(), "--otlp-protocol", "grpc"];
    let agent =
        Agent::start(&[&["--cri-socket", &cri, "--log-level", "podscope_agent=debug,info"][..], &sink].concat());
    agent.becomes("runtime", "up");
    ground.work();
    ground.rest();
    let labels = [("container_id", &*ground.id), ("k8s_pod_name", SHOWN), ("k8s_pod_uid", "u\"\\x0a")];
    eventually("the pod has its name", || agent.page().get("podscope_container_process_count", &labels));
    let (_, page) = agent.get("/metrics");
    assert!(values(&page, "k8s_pod_name").contains(&SHOWN.to_owned()));
    assert!(values(&page, "k8s_namespace_name").contains(&r"\u{9b}n\x00".to_owned()));
    assert!(values(&page, "k8s_container_name").contains(&"x".repeat(256)));

    agent.becomes("otlp", "up");
    let printed = format!("-> k8s.pod.name: Str({SHOWN})");
    eventually("the collector has the name", || collector.printed().contains(&printed).then_some(()));
    let page = agent.page();
    let dropped = page.one("podscope_agent_dropped_total", &[("podscope_drop_reason", "label")]);
    assert!(dropped >= 100_000.0, "{dropped} labels");
    let resident = page.sum("podscope_agent_memory_usage_bytes", &[]);
    assert!(resident < 200e6, "the agent has grown to {resident} bytes");
    is_clean(&agent.log());
}
