//! Recorded answers of real runtimes, as messages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::{
    Container as NativeContainer, GetContainerRequest, GetContainerResponse, ListTasksResponse,
};
use containerd_client::types::v1::{Process, Status as TaskStatus};
use k8s_cri::v1::{
    Container, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
    ImageSpec, ListContainersResponse, ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, VersionResponse,
};
use prost::Message;
use serde_json::Value;
use tonic::Status;

use super::fake::FakeRuntime;

pub(crate) const VERSION: &str = "runtime.v1.RuntimeService/Version";
pub(crate) const LIST_SANDBOXES: &str = "runtime.v1.RuntimeService/ListPodSandbox";
pub(crate) const LIST_CONTAINERS: &str = "runtime.v1.RuntimeService/ListContainers";
pub(crate) const CONTAINER_STATUS: &str = "runtime.v1.RuntimeService/ContainerStatus";
pub(crate) const LIST_TASKS: &str = "containerd.services.tasks.v1.Tasks/List";
pub(crate) const GET_CONTAINER: &str = "containerd.services.containers.v1.Containers/Get";

/// The folder of a recording.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cri").join(name)
}

/// One recorded answer.
pub(crate) fn json(folder: &Path, file: &str) -> Value {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The text form of protobuf writes 64-bit numbers as text.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

fn texts(value: &Value) -> HashMap<String, String> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn sandbox(value: &Value) -> PodSandbox {
    let metadata = &value["metadata"];
    PodSandbox {
        id: text(&value["id"]),
        metadata: Some(PodSandboxMetadata {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            namespace: text(&metadata["namespace"]),
            attempt: 0,
        }),
        created_at: number(&value["created_at"]),
        labels: texts(&value["labels"]),
        annotations: texts(&value["annotations"]),
        ..PodSandbox::default()
    }
}

fn container(value: &Value) -> Container {
    let image = &value["image"];
    Container {
        id: text(&value["id"]),
        pod_sandbox_id: text(&value["pod_sandbox_id"]),
        metadata: Some(ContainerMetadata { name: text(&value["metadata"]["name"]), attempt: 0 }),
        image: Some(ImageSpec {
            image: text(&image["image"]),
            user_specified_image: text(&image["user_specified_image"]),
            ..ImageSpec::default()
        }),
        image_ref: text(&value["image_ref"]),
        image_id: text(&value["image_id"]),
        state: container_state(value),
        created_at: number(&value["created_at"]),
        labels: texts(&value["labels"]),
        annotations: texts(&value["annotations"]),
    }
}

fn container_state(value: &Value) -> i32 {
    ContainerState::from_str_name(value["state"].as_str().unwrap()).unwrap().into()
}

/// Makes a server answer as the recorded runtime did: the CRI, and for containerd also the tasks.
pub(crate) fn replay(server: &FakeRuntime, folder: &Path) {
    let version = json(folder, "Version.json");
    server.answer(
        VERSION,
        &VersionResponse {
            version: text(&version["version"]),
            runtime_name: text(&version["runtime_name"]),
            runtime_version: text(&version["runtime_version"]),
            runtime_api_version: text(&version["runtime_api_version"]),
        },
    );
    let sandboxes = json(folder, "ListPodSandbox.json");
    let items = list(&sandboxes, "items").iter().map(sandbox).collect();
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items });
    let containers = json(folder, "ListContainers.json");
    let containers = list(&containers, "containers").iter().map(container).collect();
    server.answer(LIST_CONTAINERS, &ListContainersResponse { containers });

    let statuses = json(folder, "ContainerStatus.json");
    if text(&version["runtime_name"]) == "containerd" {
        let running = |status: &&Value| status["status"]["state"] == "CONTAINER_RUNNING";
        let tasks = statuses.as_object().unwrap().values().filter(running).map(|status| Process {
            id: text(&status["status"]["id"]),
            pid: pid(status),
            status: TaskStatus::Running.into(),
            ..Process::default()
        });
        server.answer(LIST_TASKS, &ListTasksResponse { tasks: tasks.collect() });
    }
    server.respond(CONTAINER_STATUS, move |request| container_status(&statuses, request));
}

/// The main process as the runtime's verbose status told it.
pub(crate) fn pid(status: &Value) -> u32 {
    u32::try_from(status["info"]["info"]["pid"].as_u64().unwrap()).unwrap()
}

fn container_status(statuses: &Value, request: &[u8]) -> Result<Vec<u8>, Status> {
    let request = ContainerStatusRequest::decode(request).unwrap();
    let recorded = statuses.get(&request.container_id).ok_or_else(|| Status::not_found("no such container"))?;
    let verbose = request.verbose.then(|| ("info".to_owned(), recorded["info"]["info"].to_string()));
    let status = ContainerStatus {
        id: request.container_id,
        state: container_state(&recorded["status"]),
        started_at: number(&recorded["status"]["started_at"]),
        ..ContainerStatus::default()
    };
    Ok(ContainerStatusResponse { status: Some(status), info: verbose.into_iter().collect() }.encode_to_vec())
}

/// Makes a server answer containerd's native interface as recorded; its CRI lists nothing.
pub(crate) fn replay_native(server: &FakeRuntime, folder: &Path) {
    server.answer(VERSION, &VersionResponse { runtime_name: "containerd".into(), ..VersionResponse::default() });
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse::default());
    server.answer(LIST_CONTAINERS, &ListContainersResponse::default());
    let tasks = json(folder, "Tasks.List.json");
    let tasks = list(&tasks, "tasks").iter().map(|task| Process {
        id: text(&task["id"]),
        pid: u32::try_from(task["pid"].as_u64().unwrap()).unwrap(),
        status: TaskStatus::from_str_name(task["status"].as_str().unwrap()).unwrap().into(),
        ..Process::default()
    });
    server.answer(LIST_TASKS, &ListTasksResponse { tasks: tasks.collect() });
    let containers = json(folder, "Containers.List.json");
    server.respond(GET_CONTAINER, move |request| {
        let id = GetContainerRequest::decode(request).unwrap().id;
        let recorded = list(&containers, "containers").iter().find(|container| container["id"] == id.as_str());
        let recorded = recorded.ok_or_else(|| Status::not_found("no such container"))?;
        let container = NativeContainer {
            id,
            labels: texts(&recorded["labels"]),
            image: text(&recorded["image"]),
            ..NativeContainer::default()
        };
        Ok(GetContainerResponse { container: Some(container) }.encode_to_vec())
    });
}
