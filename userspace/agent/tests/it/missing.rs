//! What is missing from the start is a state with its reason, and the rest goes on. What fails later: `faults`.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{eventually, pod, rig, turn, work};

/// The promise after SIGTERM.
const END: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn without_runtime_collector_and_a_probe_the_rest_is_exported() {
    let _turn = turn().await;
    let mut rig = rig().await;
    let pod = pod(&rig, "orphan").await;
    let container = work(&pod, "work", "spin 0").await;
    rig.stop_containerd().await.unwrap();
    let probe = "mm_vmscan_memcg_reclaim_begin";
    let agent = Agent::beside(&rig, &["--otlp-endpoint", "http://127.0.0.1:1", "--without-probe", probe]);

    let reason = agent.becomes("runtime", "absent");
    assert!(reason.contains(&rig.socket().display().to_string()), "{reason}");
    let reason = agent.becomes("otlp", "absent");
    assert!(reason.contains("127.0.0.1:1"), "{reason}");
    let (state, reason) = agent.state("probes", probe);
    assert_eq!(state, "off");
    assert!(reason.contains("--without-probe"), "{reason}");
    let others = agent.status()["probes"].as_array().unwrap().iter().filter(|part| part["state"] == "up").count();
    assert!(others >= 10, "only {others} probes are up");

    // The path of the cgroup still says which container of which pod it is.
    let labels = [
        ("container_id", container.id()),
        ("k8s_pod_uid", pod.uid()),
        ("process_pid", &container.pid().to_string()),
        ("k8s_pod_name", ""),
        ("cpu_mode", "user"),
    ];
    let spun = || agent.page().get("process_cpu_time_seconds_total", &labels);
    let first = eventually("the spinner is published by its id", spun);
    agent.collections(2);
    assert!(spun().unwrap() > first + 0.1, "the spinner's time does not grow");
    let unattributed = agent.status()["unattributed"].clone();
    assert!(unattributed["no_runtime"].as_u64().unwrap() >= 2, "{unattributed}");
    let points = agent.status()["export"].clone();
    assert_eq!(points["sent"], 0, "{points}");

    // A runtime that comes later is picked up.
    rig.start_containerd().await.unwrap();
    agent.becomes("runtime", "up");
    let named = [("container_id", container.id()), ("k8s_pod_name", "orphan"), ("k8s_container_name", "work")];
    eventually("the container has its name", || agent.page().get("podscope_container_process_count", &named));
    assert!(agent.end(Signal::TERM).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_in_time_though_the_collector_hangs() {
    let _turn = turn().await;
    // Connections are taken by the kernel, and nobody ever answers.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    for (protocol, signal) in [("grpc", Signal::TERM), ("http/protobuf", Signal::INT)] {
        let endpoint = format!("http://{}", hanging.local_addr().unwrap());
        let agent = Agent::start(&["--cri-socket", "none", "--otlp-endpoint", &endpoint, "--otlp-protocol", protocol]);
        agent.collections(2);
        let end = agent.end(signal);
        assert_eq!(end.status.code(), Some(0), "{protocol} {signal:?}: {}", end.log);
        assert!(end.took < END, "{protocol} {signal:?}: {:?}", end.took);
        assert!(end.log.contains("did not reach"), "{}", end.log);
    }
}
