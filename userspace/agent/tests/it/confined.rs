//! The whole agent in its confinement: it is never refused what it needs, also when what it talks to comes back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::cluster_support::{Fault, Server};
use crate::otlp_support::rotel::Collector;
use crate::support::agent::{Agent, command};
use crate::support::gpu::{Helper, recorded};
use crate::support::{eventually, pod, rig, turn, work};

/// What strace writes of an agent, from its start to its end.
struct Watch {
    folder: TempDir,
}

impl Watch {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// The agent under strace, which stands aside: the child is the agent itself.
    fn command(&self) -> Command {
        let plain = command();
        let mut strace = Command::new("strace");
        strace.args(["-D", "-f", "-qq", "-o"]).arg(self.path()).arg(plain.get_program()).stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            assert_eq!(value, None, "{name:?} is only taken away");
            strace.env_remove(name);
        }
        strace
    }

    /// The calls of an agent that has ended, from when its filter was set.
    fn calls(&self) -> Vec<String> {
        let written = eventually("strace has seen the agent's end", || {
            let calls = fs::read_to_string(self.path()).unwrap();
            calls.contains("exit_group(").then_some(calls)
        });
        let from = written.find("seccomp(SECCOMP_SET_MODE_FILTER").expect("the filter is set");
        written[from..].lines().map(str::to_owned).collect()
    }
}

/// Calls that were refused. clone3 is, for glibc to use clone instead.
fn refused(calls: &[String]) -> Vec<&String> {
    let answers = ["= -1 EPERM", "= -1 EACCES", "= -1 ENOSYS"];
    let is_refused = |call: &&String| answers.iter().any(|answer| call.contains(answer)) && !call.contains("clone3");
    calls.iter().filter(is_refused).collect()
}

fn threads(agent: &Agent) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The kernel's own word on every thread.
fn assert_confined(agent: &Agent) {
    let all = threads(agent);
    assert!(all.len() >= 4, "{all:?}");
    for thread in all {
        let status = fs::read_to_string(format!("/proc/{}/task/{thread}/status", agent.pid())).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t1", "CapInh:\t0000000000000000"] {
            assert!(status.contains(line), "{line}: {status}");
        }
    }
    for part in ["seccomp", "landlock"] {
        let (state, reason) = agent.state("sources", part);
        assert_eq!(state, "up", "{part}: {reason}");
        assert_eq!(agent.page().get("podscope_agent_source_up", &[("podscope_source", part)]), Some(1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_agent_is_never_refused() {
    let _turn = turn().await;
    let mut rig = rig().await;
    let first = pod(&rig, "early").await;
    let container = work(&first, "work", "spin 0").await;
    let mut collector = Collector::start().await;
    let endpoint = collector.grpc().replace("127.0.0.1", "localhost");
    let watch = Watch::new();
    let cluster = Server::start();
    let (kubeconfig, kubelet) = (cluster.kubeconfig(), cluster.address.to_string());
    let gpu = Helper::start(recorded());
    gpu.raw().devices.truncate(1);
    let gpu_socket = gpu.socket();
    let flags = [
        ["--gpu-socket", &gpu_socket],
        ["--otlp-endpoint", &endpoint],
        ["--otlp-protocol", "grpc"],
        ["--kubeconfig", kubeconfig.to_str().unwrap()],
        ["--kubelet", &kubelet],
        ["--node-name", "node1"],
        ["--kube-metrics-interval", "1"],
    ];
    let agent = Agent::run_beside(&rig, watch.command(), flags.as_flattened());
    let named = [("container_id", container.id()), ("k8s_pod_name", "early")];
    eventually("the container has its name", || agent.page().get("podscope_container_process_count", &named));
    agent.becomes("otlp", "up");
    agent.becomes("gpu", "up");

    rig.stop_containerd().await.unwrap();
    agent.becomes("runtime", "absent");
    rig.start_containerd().await.unwrap();
    agent.becomes("runtime", "up");
    let second = pod(&rig, "late").await;
    let container = work(&second, "work", "forks 0").await;
    let named = [("container_id", container.id()), ("k8s_pod_name", "late")];
    eventually("the new container has its name", || agent.page().get("podscope_container_process_count", &named));

    collector.restart().await;
    eventually("the new collector is sent to", || {
        collector.printed().contains("k8s.pod.name: Str(late)").then_some(())
    });
    agent.becomes("otlp", "up");
    // As a service account's token is renewed: another file takes its name.
    cluster.now().token = "second".to_owned();
    fs::write(cluster.path("new"), "second").unwrap();
    fs::rename(cluster.path("new"), cluster.token_file()).unwrap();
    cluster.fail("/metrics/resource", Fault::Status(500, ""));
    agent.becomes("kubelet", "absent");
    cluster.now().faults.clear();
    for source in ["kube_pods", "kube_node", "kubelet"] {
        agent.becomes(source, "up");
    }
    for path in ["/status", "/top", "/healthz", "/readyz", "/nowhere"] {
        agent.get(path);
    }
    assert_confined(&agent);
    let end = agent.end(Signal::TERM);
    assert!(end.status.success(), "{}", end.log);
    let calls = watch.calls();
    assert!(calls.len() > 3_000, "only {} calls were seen", calls.len());
    assert!(refused(&calls).is_empty(), "{:#?}", refused(&calls));
}

/// The way over a name server and the system's authorities: it may fail, but not by a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_authorities_are_within_reach() {
    let _turn = turn().await;
    let watch = Watch::new();
    let flags = ["--cri-socket", "none", "--otlp-endpoint", "https://collector.invalid:4318"];
    let agent = Agent::run(watch.command(), &flags);
    let reason = agent.becomes("otlp", "absent");
    assert!(reason.contains("collector.invalid") && !reason.contains("ermission"), "{reason}");
    agent.collections(8);
    assert_confined(&agent);
    agent.end(Signal::TERM);
    let calls = watch.calls();
    assert!(calls.iter().any(|call| call.contains("/etc/resolv.conf")), "no name server was looked up");
    assert!(calls.iter().any(|call| call.contains("/etc/ssl/certs")), "no authority was read");
    assert!(refused(&calls).is_empty(), "{:#?}", refused(&calls));
}

#[tokio::test(flavor = "multi_thread")]
async fn confinement_can_be_switched_off() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none", "--confine", "off"]);
    for part in ["seccomp", "landlock"] {
        assert_eq!(agent.state("sources", part), ("off".to_owned(), "--confine off".to_owned()));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    assert!(status.contains("Seccomp:\t0"), "{status}");
}
