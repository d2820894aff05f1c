//! What real runtimes answered, against what they said elsewhere in the same recording.

use std::sync::Arc;

use podscope_agent::runtime::{Config, ContainerMeta, Lookup, RuntimeHandle, SocketChoice, spawn};
use podscope_agent::status::{Board, State};
use serde_json::Value;

use crate::support::fake::{FakeRuntime, Manner};
use crate::support::recorded::{self, json, list, number, pid, replay, replay_native, text};
use crate::support::{eventually, state};

struct Replayed {
    handle: RuntimeHandle,
    board: Board,
    _server: FakeRuntime,
    _folder: tempfile::TempDir,
}

async fn start(fill: impl FnOnce(&FakeRuntime)) -> Replayed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runtime.sock");
    let server = FakeRuntime::start(&path, Manner::Good);
    fill(&server);
    let board = Board::default();
    let handle = spawn(Config { socket: SocketChoice::Path(path), ..Config::default() }, board.clone());
    eventually("the first refresh", || (handle.stats().refreshes > 0).then_some(())).await;
    Replayed { handle, board, _server: server, _folder: folder }
}

fn known(handle: &RuntimeHandle, id: &str) -> Arc<ContainerMeta> {
    match handle.get(id) {
        Lookup::Known(meta) => meta,
        other => panic!("{id}: {other:?}"),
    }
}

/// Each container's and each sandbox's meta against the recorded answers, read here as plain JSON.
async fn check(name: &str) {
    let folder = recorded::folder(name);
    let replayed = start(|server| replay(server, &folder)).await;
    let handle = &replayed.handle;

    let sandboxes = json(&folder, "ListPodSandbox.json");
    let sandboxes = list(&sandboxes, "items");
    let containers = json(&folder, "ListContainers.json");
    let containers = list(&containers, "containers");
    assert_eq!(handle.containers().len(), sandboxes.len() + containers.len(), "{name}");
    assert_eq!(handle.pods().len(), sandboxes.len(), "{name}");
    for sandbox in sandboxes {
        check_sandbox(&known(handle, &text(&sandbox["id"])), sandbox);
    }
    let statuses = json(&folder, "ContainerStatus.json");
    for container in containers {
        let id = text(&container["id"]);
        check_container(&known(handle, &id), container, &statuses[&id]);
    }
    // The kernel's word: the cgroup in which the main process was found.
    let cgroups = json(&folder, "cgroup.json");
    let pids = handle.pids();
    assert!(!cgroups.as_object().unwrap().is_empty(), "{name}");
    for (pid, path) in cgroups.as_object().unwrap() {
        let id = &pids[&pid.parse().unwrap()];
        assert!(path.as_str().unwrap().ends_with(&**id), "{name}: {pid} in {path} is {id}");
        let pod = format!("/pod{}/", known(handle, id).pod.uid);
        assert!(path.as_str().unwrap().contains(&pod), "{name}: {pid} in {path} is of {pod}");
    }
    assert_eq!(pids.len(), containers.iter().filter(|c| c["state"] == "CONTAINER_RUNNING").count(), "{name}");

    assert_eq!(handle.get("0123456789abcdef"), Lookup::Unknown);
    assert_eq!(state(&replayed.board, "runtime"), Some(State::Up));
    let version = json(&folder, "Version.json");
    let answered = handle.version().unwrap();
    assert_eq!(
        (&answered.name, &answered.version),
        (&text(&version["runtime_name"]), &text(&version["runtime_version"]))
    );
    assert_eq!((handle.stats().malformed, handle.stats().truncated_labels, handle.stats().failures), (0, 0, 0));
}

fn check_sandbox(meta: &ContainerMeta, sandbox: &Value) {
    assert!(meta.is_sandbox);
    assert_eq!(&*meta.name, "POD");
    assert_eq!(*meta.id, *meta.pod.sandbox_id);
    let metadata = &sandbox["metadata"];
    assert_eq!(
        (&*meta.pod.name, &*meta.pod.namespace, &*meta.pod.uid),
        (&*text(&metadata["name"]), &*text(&metadata["namespace"]), &*text(&metadata["uid"]))
    );
    assert_eq!(i64::try_from(meta.pod.created_at_ns).unwrap(), number(&sandbox["created_at"]));
    let labels = sandbox["labels"].as_object().unwrap();
    for (key, value) in labels {
        let kept = meta.pod.label(key).map(|value| &**value);
        let made_by_kubelet = key.starts_with("io.kubernetes.");
        assert_eq!(kept, (!made_by_kubelet).then(|| value.as_str().unwrap()), "{key}");
    }
    let is_vm = labels.get("kubevirt.io").is_some_and(|app| app == "virt-launcher");
    assert_eq!(meta.pod.is_virt_launcher(), is_vm);
    let vm = meta.pod.vm().map(|vm| (vm.namespace.to_string(), vm.name.to_string()));
    assert_eq!(vm, is_vm.then(|| (text(&metadata["namespace"]), "testvm".to_owned())));
}

fn check_container(meta: &ContainerMeta, container: &Value, status: &Value) {
    assert!(!meta.is_sandbox);
    let labels = &container["labels"];
    assert_eq!(
        (&*meta.name, &*meta.pod.name, &*meta.pod.namespace, &*meta.pod.uid, &*meta.pod.sandbox_id),
        (
            &*text(&labels["io.kubernetes.container.name"]),
            &*text(&labels["io.kubernetes.pod.name"]),
            &*text(&labels["io.kubernetes.pod.namespace"]),
            &*text(&labels["io.kubernetes.pod.uid"]),
            &*text(&container["pod_sandbox_id"])
        )
    );
    assert!(meta.image.contains('/') && meta.image.contains(':'), "{} is an image's name", meta.image);
    assert!(!meta.image.starts_with("sha256:"), "{} is an image's name", meta.image);
    assert!(meta.image_id.is_some());
    let restarts = &container["annotations"]["io.kubernetes.container.restartCount"];
    assert_eq!(meta.restart_count, text(restarts).parse::<u32>().unwrap());
    assert_eq!(i64::try_from(meta.created_at_ns).unwrap(), number(&container["created_at"]));
    let running = container["state"] == "CONTAINER_RUNNING";
    let started = number(&status["status"]["started_at"]);
    assert_eq!(meta.started_at_ns, running.then(|| u64::try_from(started).unwrap()));
    assert_eq!(meta.pid, running.then(|| pid(status)));
}

#[tokio::test]
async fn containerd_1_6() {
    check("ctd16").await;
}

#[tokio::test]
async fn containerd_1_7() {
    check("ctd17").await;
}

#[tokio::test]
async fn containerd_2_1() {
    check("ctd21").await;
}

#[tokio::test]
async fn containerd_under_a_kubelet() {
    check("ctdk-kubelet").await;
}

#[tokio::test]
async fn containerd_with_a_virtual_machine() {
    check("ctd16-virt").await;
}

#[tokio::test]
async fn cri_o() {
    check("crio").await;
}

#[tokio::test]
async fn cri_o_has_no_native_interface() {
    let folder = recorded::folder("crio");
    let replayed = start(|server| replay(server, &folder)).await;
    assert_eq!(state(&replayed.board, "containerd"), Some(State::Off { reason: "the runtime is another one".into() }));
}

#[tokio::test]
async fn what_the_cri_does_not_list_yet_is_named_by_containerd() {
    let folder = recorded::folder("native-ctd21");
    let replayed = start(|server| replay_native(server, &folder)).await;
    let containers = json(&folder, "Containers.List.json");
    let tasks = json(&folder, "Tasks.List.json");
    assert_eq!(list(&tasks, "tasks").len(), 5);
    for task in list(&tasks, "tasks") {
        let id = text(&task["id"]);
        let recorded = list(&containers, "containers").iter().find(|container| container["id"] == task["id"]).unwrap();
        let labels = &recorded["labels"];
        let meta = known(&replayed.handle, &id);
        assert_eq!(meta.pid.map(u64::from), task["pid"].as_u64());
        assert_eq!(*meta.pod.uid, *text(&labels["io.kubernetes.pod.uid"]));
        assert_eq!(*meta.pod.name, *text(&labels["io.kubernetes.pod.name"]));
        assert_eq!(*meta.pod.namespace, *text(&labels["io.kubernetes.pod.namespace"]));
        let is_sandbox = labels["io.cri-containerd.kind"] == "sandbox";
        assert_eq!(meta.is_sandbox, is_sandbox);
        let name = if is_sandbox { "POD" } else { labels["io.kubernetes.container.name"].as_str().unwrap() };
        assert_eq!(&*meta.name, name);
    }
    // Containers of a sandbox share its pod, with the pod's own labels.
    let compute = replayed.handle.containers().values().find(|meta| &*meta.name == "compute").cloned().unwrap();
    assert!(compute.pod.is_virt_launcher());
    // One container has no task, and nobody asked for it.
    assert_eq!(list(&containers, "containers").len(), 6);
    assert_eq!(replayed.handle.containers().len(), 5);
}
