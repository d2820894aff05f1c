//! Whose process it is, while containers and their runtime come, go and hang.

use std::time::{Duration, Instant};

use xtask::rig::{Container, ContainerSpec, Pod, PodSpec, Qos, Rig};

use crate::support::agent::{Agent, command_inside};
use crate::support::kernel::{Group, cpu_dir, enter, freeze, procs, thaw};
use crate::support::page::Page;
use crate::support::watch::Watch;
use crate::support::{Host, eventually, pod, rig, script, turn, work};

/// What a container's first process burns before it is one: the runtime's own program, until the kernel's clock ticks.
const ENTRY: f64 = 0.004;
const CPU: &str = "podscope_container_process_cpu_time_seconds_total";

/// Whether a process is published under the names of its pod and container.
fn is_named(page: &Page, pid: u32, pod: &Pod, name: &str, container: &Container) -> bool {
    let pid = pid.to_string();
    let labels = [
        ("process_pid", pid.as_str()),
        ("k8s_namespace_name", "it"),
        ("k8s_pod_name", name),
        ("k8s_pod_uid", pod.uid()),
        ("k8s_container_name", container.name()),
        ("container_id", container.id()),
    ];
    page.get("process_thread_count", &labels).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_of_a_pod_appears_under_its_name_within_an_interval() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &["--interval", "2"]);
    let mut all = Vec::new();
    for (name, qos) in [("gold", Qos::Guaranteed), ("silver", Qos::Burstable), ("bronze", Qos::BestEffort)] {
        let pod = rig.pod(PodSpec::new(name).namespace("it").qos(qos)).await.unwrap();
        let shell = "podscope-load sleep 0 & podscope-load spin 0 & exec podscope-load threads 3 100000 1";
        let container = script(&pod, "work", shell).await;
        let there = Instant::now();
        eventually("the first process is published", || {
            is_named(&agent.page(), container.pid(), &pod, name, &container).then_some(())
        });
        // An interval, and what the collection and the reading of its page take on a busy host.
        assert!(there.elapsed() < Duration::from_secs(3), "{name} was named after {:?}", there.elapsed());
        let inner = cpu_dir(container.cgroup()).join("inner");
        std::fs::create_dir(&inner).unwrap();
        enter(&inner, procs(&cpu_dir(container.cgroup()))[1]);
        all.push((name, pod, container));
    }
    agent.collections(2);
    let page = agent.page();
    for (name, pod, container) in &all {
        let dir = cpu_dir(container.cgroup());
        let pids = [procs(&dir), procs(&dir.join("inner"))].concat();
        assert_eq!(pids.len(), 3);
        for pid in pids {
            assert!(is_named(&page, pid, pod, name, container), "process {pid} of {name} is missing");
        }
        let pause = [("k8s_pod_name", *name), ("k8s_container_name", "POD"), ("process_executable_name", "pause")];
        assert_eq!(page.sum("process_thread_count", &pause), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_counts_from_its_first_instant_and_so_do_processes_of_a_millisecond() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "young").await;
    let agent = Agent::beside(&rig, &[]);
    let shell = "for i in $(seq 50); do podscope-load spin 1; done; exec podscope-load spin 0";
    let container = script(&pod, "work", shell).await;
    let id = [("container_id", container.id()), ("k8s_pod_name", "young")];
    eventually("it has burned a while", || agent.page().get(CPU, &id).filter(|seconds| *seconds > 2.0));

    freeze(&[&container]);
    let page = agent.settled();
    let own = container.cpu_time().unwrap() as f64 / 1e9;
    let published = page.one(CPU, &id);
    println!("from the first instant: cgroup={own:.6}s published={published:.6}s");
    assert!((own - published).abs() < ENTRY, "{published} s, its cgroup: {own} s");

    let of = |metric: &str, kind: (&str, &str)| {
        let labels = [id[0], id[1], ("process_executable_name", "podscope-load"), kind];
        page.one(metric, &labels)
    };
    let kind = "podscope_process_start_type";
    assert_eq!(of("podscope_executable_process_started_total", (kind, "exec")), 51.0);
    assert_eq!(of("podscope_executable_process_started_total", (kind, "fork")), 0.0);
    assert_eq!(of("podscope_executable_process_ended_total", ("podscope_process_end_type", "exit")), 50.0);
    thaw(&[&container]);
}

/// Runs `trouble` while a container spins, and compares what was published with what its cgroup has counted.
async fn loses_nothing(agent: &Agent, container: &Container, trouble: impl AsyncFnOnce()) {
    let id = [("container_id", container.id()), ("k8s_pod_name", "steady")];
    eventually("the container has its name", || agent.page().get(CPU, &id));
    freeze(&[container]);
    agent.settled();
    let watch = Watch::start(agent);
    let before = container.cpu_time().unwrap();
    thaw(&[container]);
    trouble().await;
    freeze(&[container]);
    agent.settled();
    let own = (container.cpu_time().unwrap() - before) as f64 / 1e9;
    let grown = watch.finish();
    thaw(&[container]);
    assert!(own > 0.5, "it burned only {own} s");
    for metric in [CPU, "process_cpu_time_seconds_total", "podscope_executable_cpu_time_seconds_total"] {
        let published = grown.sum(metric, &id);
        let off = (published / own - 1.0) * 100.0;
        println!("conservation: of=steady {metric} cgroup={own:.6}s published={published:.6}s off={off:+.4}%");
        assert!((published - own).abs() < own * 0.001, "{metric}: {published} s, its cgroup: {own} s");
    }
    let unnamed = grown.sum(CPU, &[id[0], ("k8s_pod_name", "")]);
    assert_eq!(unnamed, 0.0, "published without the pod's name");
}

async fn steady(rig: &Rig) -> (Pod, Container) {
    let pod = pod(rig, "steady").await;
    let container = pod
        .container(ContainerSpec::new("work", ["sh", "-c", "podscope-load spin 0 & podscope-load forks 0"]))
        .await
        .unwrap();
    (pod, container)
}

/// What a cgroup namespace hides is the paths of others in /proc; the agent takes ids and paths from the kernel.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_cgroup_namespace_hides_nothing() {
    let _turn = turn().await;
    let rig = rig().await;
    let (pod, container) = steady(&rig).await;
    let group = Group::new("private");
    let agent = Agent::run_beside(&rig, command_inside(&group.0), &[]);
    let own = std::fs::read_link(format!("/proc/{}/ns/cgroup", agent.pid())).unwrap();
    assert_ne!(own, std::fs::read_link("/proc/self/ns/cgroup").unwrap());
    loses_nothing(&agent, &container, async || agent.collections(3)).await;
    // One that is younger than the agent.
    let next = work(&pod, "next", "sleep 0").await;
    eventually("a container that came later has its name", || {
        is_named(&agent.page(), next.pid(), &pod, "steady", &next).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_containerd_loses_nothing() {
    let _turn = turn().await;
    let mut rig = rig().await;
    let (pod, container) = steady(&rig).await;
    let agent = Agent::beside(&rig, &[]);
    let socket = rig.socket().display().to_string();
    let shown = &agent;
    loses_nothing(&agent, &container, async || {
        rig.stop_containerd().await.unwrap();
        let reason = shown.becomes("runtime", "absent");
        assert!(reason.contains(&socket), "{reason}");
        assert_eq!(shown.becomes("containerd", "absent"), "no runtime answers");
        shown.collections(2);
        rig.start_containerd().await.unwrap();
        shown.becomes("runtime", "up");
        shown.becomes("containerd", "up");
    })
    .await;
    // It is asked again for what is new.
    let next = work(&pod, "next", "sleep 0").await;
    eventually("a container of the new containerd has its name", || {
        is_named(&agent.page(), next.pid(), &pod, "steady", &next).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_containerd_loses_nothing() {
    let _turn = turn().await;
    let rig = rig().await;
    let (pod, container) = steady(&rig).await;
    let agent = Agent::beside(&rig, &[]);
    // A container that no runtime knows: the agent has to ask.
    let stranger = Host::start("sleep", &["600"]);
    let id = "0123456789abcdef".repeat(4);
    let dir = cpu_dir(&format!("{}/{id}", pod.cgroup()));
    std::fs::create_dir(&dir).unwrap();
    loses_nothing(&agent, &container, async || {
        rig.freeze().unwrap();
        enter(&dir, stranger.pid());
        let reason = agent.becomes("runtime", "absent");
        println!("frozen: {reason}");
        // Others may be on this host, so these are lower bounds.
        let unattributed = |reason| agent.status()["unattributed"][reason].as_u64().unwrap();
        eventually("the stranger is counted", || (unattributed("no_runtime") >= 1).then_some(()));
        let by_path = [("container_id", id.as_str()), ("k8s_pod_uid", pod.uid()), ("k8s_pod_name", "")];
        eventually("the stranger is published by its id", || {
            agent.page().get("podscope_container_process_count", &by_path)
        });
        rig.thaw().unwrap();
        agent.becomes("runtime", "up");
        eventually("the stranger stays one", || (unattributed("unknown_container") >= 1).then_some(()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_the_path_says_what_it_can() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "plain").await;
    let container = work(&pod, "work", "spin 0").await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    assert_eq!(agent.state("sources", "runtime"), ("off".to_owned(), "--cri-socket none".to_owned()));
    let pid = container.pid().to_string();
    let labels =
        [("container_id", container.id()), ("k8s_pod_uid", pod.uid()), ("k8s_pod_name", ""), ("process_pid", &pid)];
    eventually("the process is published by its container's id", || agent.page().get("process_thread_count", &labels));
    // The container's process and the sandbox's, at least.
    let unattributed =
        agent.page().one("podscope_agent_unattributed", &[("podscope_unattributed_reason", "no_runtime")]);
    assert!(unattributed >= 2.0, "{unattributed}");
    assert!(agent.status()["unattributed"]["no_runtime"].as_u64() >= Some(2));
    // The rest of the host has its pids.
    let own = agent.pid().to_string();
    let host = [("process_pid", own.as_str()), ("container_id", ""), ("process_executable_name", "podscope-agent")];
    eventually("the agent's own process", || agent.page().get("process_uptime_seconds", &host));
}
