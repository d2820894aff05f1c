//! The agent in the place of kubevirt-metrics-collector.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use xtask::rig::{PodSpec, Rig};

use crate::support::agent::{Agent, command, get, page, settings};
use crate::support::kernel::{freeze, stat, thaw};
use crate::support::page::Labels;
use crate::support::{eventually, pod, rig, running, script, turn};

const CPU: &str = "kubevirt_pod_infra_cpu_seconds_total";
const MEMORY: &str = "kubevirt_pod_infra_memory_amount_bytes";
/// Two processes of one name, one of another, and one that nobody asks for.
const PROCESSES: &str = "for name in virtqemud qemu-kvm bystander; do cp $(which podscope-load) /tmp/$name; done
    /tmp/virtqemud pulse 5 50 & /tmp/virtqemud pulse 5 50 & /tmp/bystander sleep 0 &
    exec /tmp/qemu-kvm pulse 5 50";

fn config(dir: &Path, endpoint: &str) -> PathBuf {
    let path = dir.join("collector.json");
    let text = format!(
        r#"{{"targets": [{{"name": "libvirt", "argv": ["/tmp/virtqemud*"]}}, {{"name": "qemu", "argv": ["/*/qemu*"]}}],
            "listenAddress": "127.0.0.1:0", "criendpoint": "{endpoint}", "interval": "500ms", "hostname": "node-1"}}"#
    );
    fs::write(&path, text).unwrap();
    path
}

/// An agent, and the address of the older tool's page.
fn start(rig: &Rig, endpoint: &str, flags: &[&str]) -> (Agent, SocketAddr) {
    let mut command = command();
    settings(&mut command);
    command.args(["--compat", "kubevirt"]).args(flags).arg(config(rig.dir(), endpoint));
    command.stderr(std::process::Stdio::piped());
    let agent = Agent::launch(command);
    let address = eventually("the older page's address is said", || {
        let log = agent.log();
        let (_, rest) = log.split_once("the older tool's metrics on ")?;
        rest.split_once('"')?.0.parse().ok()
    });
    (agent, address)
}

fn typed<'a>(labels: Labels<'a>, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    [labels, &[("type", kind)]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_tools_page_has_its_names_labels_and_sums() {
    let _turn = turn().await;
    let rig = rig().await;
    let (agent, address) = start(&rig, &format!("unix://{}", rig.socket().display()), &[]);
    let moon = rig.pod(PodSpec::new("launcher").annotation("kubevirt.io/domain", "moon")).await.unwrap();
    let compute = script(&moon, "compute", PROCESSES).await;
    let qemu: Labels<'_> = &[("domain", "moon"), ("host", "node-1"), ("process", "qemu-kvm")];
    let daemons: Labels<'_> = &[("domain", "moon"), ("host", "node-1"), ("process", "virtqemud")];
    eventually("both names are there", || {
        let page = page(address);
        (page.sum(CPU, qemu) > 0.05 && page.sum(CPU, daemons) > 0.1).then_some(())
    });

    freeze(&[&compute]);
    agent.collections(2);
    let pids = running(&compute, "/tmp/virtqemud");
    assert_eq!(pids.len(), 2);
    let shown = page(address);
    for (kind, field) in [("user", 14), ("system", 15)] {
        let truth: u64 = pids.iter().map(|&pid| stat(pid, field)).sum();
        assert_eq!(shown.one(CPU, &typed(daemons, kind)), truth as f64 / 100.0, "{kind}");
    }
    let statm = |pid: u32, field: usize| {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        text.split(' ').nth(field).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
    };
    for (kind, field) in [("virtual", 0), ("resident", 1), ("shared", 2), ("dirty", 5), ("data", 5)] {
        let truth: u64 = pids.iter().map(|&pid| statm(pid, field)).sum();
        assert_eq!(shown.one(MEMORY, &typed(daemons, kind)), truth as f64, "{kind}");
    }
    thaw(&[&compute]);
    for line in agent.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "target", "filename", "line_number"] {
            assert!(!line[key].is_null(), "{key} is missing in {line}");
        }
    }
    assert_eq!(shown.sum("kubevirt_info", &[("version", "1")]), 1.0);
    assert!(shown.samples.iter().all(|sample| sample.label("process") != "bystander"), "nobody asked for it");
    assert!(shown.get("podscope_agent_collections_total", &[]).is_some(), "its own figures");
    assert_eq!(get(address, "/status").0, 404);
    let own = agent.page();
    assert!(
        own.samples.iter().all(|sample| !sample.name.starts_with("kubevirt_")),
        "its own endpoint has its own names"
    );
    assert!(own.samples.iter().any(|sample| sample.name == "container_cpu_time_seconds_total"));

    let sun = pod(&rig, "sun").await;
    let second = script(&sun, "compute", PROCESSES).await;
    let by_name: Labels<'_> = &[("domain", "sun"), ("process", "qemu-kvm")];
    eventually("a new pod without the annotation goes by its name", || {
        (page(address).sum(MEMORY, by_name) > 0.0).then_some(())
    });
    for pid in running(&compute, "/tmp/") {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    }
    eventually("what has ended is gone", || {
        page(address).select(CPU, &[("domain", "moon")]).next().is_none().then_some(())
    });
    assert!(page(address).sum(MEMORY, by_name) > 0.0, "the other pod stays");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_runtime_process_numbers_stand_for_domains() {
    let _turn = turn().await;
    let rig = rig().await;
    let (agent, address) = start(&rig, "/nonexistent/runtime.sock", &["-F", "-D"]);
    let pod = pod(&rig, "numbers").await;
    let compute = script(&pod, "compute", PROCESSES).await;
    let pid = eventually("it runs", || running(&compute, "/tmp/qemu-kvm").first().copied()).to_string();
    let labels: Labels<'_> = &[("domain", &pid), ("process", "qemu-kvm"), ("type", "resident")];
    eventually("it is tracked by its number", || page(address).get(MEMORY, labels).filter(|&bytes| bytes > 0.0));
    assert!(agent.log().contains(&format!("\"pid\":{pid},\"process\":\"qemu-kvm\"")), "-D says so: {}", agent.log());
}

#[test]
fn the_command_line_is_the_older_tools() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(dir.path(), "unix:///run/any.sock");
    let empty = dir.path().join("empty.json");
    fs::write(&empty, "{}").unwrap();
    let [good, empty] = [&good, &empty].map(|path| path.to_str().unwrap());
    for (args, code, said) in [
        (&["-C", good][..], 0, "\"listenaddress\": \"127.0.0.1:0\""),
        (&["--check-config", "-I", "1m30s", good], 0, "\"interval\": \"1m 30s\""),
        (&["-M"], 0, "kubevirt_pod_infra_cpu_seconds_total{domain=\"self\""),
        (&["-C", empty], 1, "missing process(es) to track"),
        (&[], 1, "--compat kubevirt /path/to/config.json"),
        (&["/nonexistent.json"], 1, "/nonexistent.json"),
        (&["-c", "cert.pem", good], 2, "--key-file"),
        (&["-I", "soon", good], 2, "500ms"),
        (&["-C", good, "--", "--nonsense"], 1, "--nonsense"),
    ] {
        let output = command().args(["--compat", "kubevirt"]).args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
    let output = command().args(["--compat", "telegraf"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
