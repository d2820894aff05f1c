//! The whole agent in its confinement: it is never refused what it needs, also when what it talks to comes back.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::otlp_support::rotel::Collector;
use crate::support::agent::Agent;
use crate::support::{eventually, pod, rig, turn, work};

/// strace, attached to all threads of an agent that is confined already.
struct Watch {
    child: Child,
    folder: TempDir,
}

impl Watch {
    fn attach(agent: &Agent) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &agent.pid().to_string(), "-o"]).arg(folder.path().join("calls"));
        let child = strace.stderr(Stdio::null()).spawn().expect("this test needs strace");
        let traced = |thread: &String| {
            let status = fs::read_to_string(format!("/proc/{}/task/{thread}/status", agent.pid())).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        eventually("strace is attached", || threads(agent).iter().all(traced).then_some(()));
        Self { child, folder }
    }

    /// The calls until now that were refused.
    fn refused(mut self) -> (usize, Vec<String>) {
        // The agent may have ended before, and strace with it.
        let _ended = kill_process(Pid::from_child(&self.child), Signal::INT);
        self.child.wait().unwrap();
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap();
        // clone3 is refused for glibc to use clone instead.
        let is_refused = |call: &&str| {
            ["= -1 EPERM", "= -1 EACCES", "= -1 ENOSYS"].iter().any(|answer| call.contains(answer))
                && !call.contains("clone3")
        };
        (calls.lines().count(), calls.lines().filter(is_refused).map(str::to_owned).collect())
    }
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
    let agent = Agent::beside(&rig, &["--otlp-endpoint", &endpoint, "--otlp-protocol", "grpc"]);
    let watch = Watch::attach(&agent);
    let named = [("container_id", container.id()), ("k8s_pod_name", "early")];
    eventually("the container has its name", || agent.page().get("podscope_container_process_count", &named));
    agent.becomes("otlp", "up");

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
    for path in ["/status", "/top", "/healthz", "/readyz", "/nowhere"] {
        agent.get(path);
    }
    assert_confined(&agent);
    let end = agent.end(Signal::TERM);
    assert!(end.status.success(), "{}", end.log);
    let (calls, refused) = watch.refused();
    assert!(calls > 3_000, "only {calls} calls were seen");
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The way over a name server and the system's authorities: it may fail, but not by a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_authorities_are_within_reach() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none", "--otlp-endpoint", "https://collector.invalid:4318"]);
    let watch = Watch::attach(&agent);
    let reason = agent.becomes("otlp", "absent");
    assert!(reason.contains("collector.invalid") && !reason.contains("ermission"), "{reason}");
    agent.collections(8);
    assert_confined(&agent);
    drop(agent);
    let (_, refused) = watch.refused();
    assert!(refused.is_empty(), "{refused:#?}");
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
