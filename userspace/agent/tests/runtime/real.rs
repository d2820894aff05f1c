//! A real containerd with real containers.

use std::sync::Arc;
use std::time::Duration;

use podscope_agent::runtime::{Config, ContainerMeta, Lookup, RuntimeHandle, SocketChoice, spawn};
use podscope_agent::status::{Board, State};

use crate::support::containerd::Containerd;
use crate::support::{absent, eventually, state, within};

const UID: &str = "7d3b2a10-0001-4a00-8000-00000000c0de";

/// A container with its main process, as soon as both are known.
fn running(handle: &RuntimeHandle, id: &str) -> Option<Arc<ContainerMeta>> {
    match handle.get(id) {
        Lookup::Known(meta) if meta.pid.is_some() => Some(meta),
        _ => None,
    }
}

/// The kernel's word on whose process it is.
fn assert_is_in_container(meta: &ContainerMeta) {
    let path = format!("/proc/{}/cgroup", meta.pid.unwrap());
    let cgroup = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(cgroup.contains(&format!("/pod{}/{}", meta.pod.uid, meta.id)), "{} is not in\n{cgroup}", meta.id);
}

#[tokio::test]
async fn containers_are_found_as_they_come_and_go() {
    let mut containerd = Containerd::start().await;
    let pod = containerd.run_pod("web", UID, &[("app", "web")]).await;
    let first = containerd.run_container(&pod, "first").await;

    let board = Board::default();
    // The regular refresh comes after the test, so only events can bring what happens later.
    let config = Config { socket: SocketChoice::Path(containerd.socket()), ..Config::default() };
    assert!(config.limits.poll >= Duration::from_secs(30));
    let handle = spawn(config, board.clone());
    let sandbox = eventually("the sandbox is known", || running(&handle, &pod.sandbox_id)).await;
    assert_eq!((&*sandbox.name, sandbox.is_sandbox), ("POD", true));
    assert_eq!(sandbox.pod.label("app").map(|value| &**value), Some("web"));
    assert_is_in_container(&sandbox);
    let first = eventually("the container is known", || running(&handle, &first)).await;
    assert_eq!(
        (&*first.name, &*first.pod.name, &*first.pod.namespace, &*first.pod.uid),
        ("first", "web", "default", UID)
    );
    assert!(Arc::ptr_eq(&first.pod, &sandbox.pod));
    assert_is_in_container(&first);
    assert_eq!(handle.version().unwrap().name, "containerd");
    for source in ["runtime", "containerd"] {
        eventually(source, || (state(&board, source) == Some(State::Up)).then_some(())).await;
    }

    let second = containerd.run_container(&pod, "second").await;
    let second = within(Duration::from_secs(1), "the second container", || running(&handle, &second)).await;
    assert_eq!(&*second.name, "second");
    assert_is_in_container(&second);
    let started = || match handle.get(&second.id) {
        Lookup::Known(meta) => meta.started_at_ns,
        _ => None,
    };
    assert!(eventually("its start is known", started).await >= second.created_at_ns);

    // A crash: nothing is forgotten, and the containers live on.
    containerd.kill();
    let reason = eventually("the crash is shown", || absent(&board, "runtime")).await;
    assert!(reason.contains(&containerd.socket().display().to_string()), "{reason}");
    assert_eq!(running(&handle, &first.id).map(|meta| meta.pid), Some(first.pid));
    containerd.run_daemon().await;
    eventually("it is up again", || (state(&board, "runtime") == Some(State::Up)).then_some(())).await;
    let third = containerd.run_container(&pod, "third").await;
    let third = within(Duration::from_secs(1), "the third container", || running(&handle, &third)).await;
    assert_is_in_container(&third);

    containerd.remove_pod(&pod.sandbox_id).await;
    within(Duration::from_secs(1), "no process is left", || handle.pids().is_empty().then_some(())).await;
    assert_eq!(&*known(&handle, &third.id).name, "third", "what has ended stays known for a while");
}

fn known(handle: &RuntimeHandle, id: &str) -> Arc<ContainerMeta> {
    match handle.get(id) {
        Lookup::Known(meta) => meta,
        other => panic!("{id}: {other:?}"),
    }
}

#[tokio::test]
async fn a_burst_of_pods_is_named_without_being_asked_for() {
    let containerd = Containerd::start().await;
    let config = Config { socket: SocketChoice::Path(containerd.socket()), ..Config::default() };
    let handle = spawn(config, Board::default());
    eventually("it is connected", || handle.version()).await;
    let mut ids = Vec::new();
    for i in 0..3 {
        let pod =
            containerd.run_pod(&format!("pod-{i}"), &format!("7d3b2a10-000{i}-4a00-8000-0000000b0125"), &[]).await;
        ids.push(containerd.run_container(&pod, "main").await);
        ids.push(pod.sandbox_id);
    }
    for id in &ids {
        let meta = within(Duration::from_secs(1), "a container of the burst", || running(&handle, id)).await;
        assert_is_in_container(&meta);
    }
    assert_eq!(handle.pods().len(), 3);
}
