//! The Container Runtime Interface, version 1: what every runtime of a Kubernetes node speaks.
//!
//! `GetContainerEvents` is never called: on containerd 1.7 it takes events away from the kubelet.

use std::time::Duration;

use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    Container, ContainerState, ContainerStatusRequest, ContainerStatusResponse, FilesystemUsage,
    ListContainerStatsRequest, ListContainersRequest, ListPodSandboxRequest, PodSandbox, VersionRequest,
};
use serde::Deserialize;
use tonic::transport::Channel;

use super::meta::{MAX_ID, nanoseconds};
use super::rpc::{RpcError, call};
use super::{Layer, Layers, RuntimeVersion};

/// A connection to a runtime.
#[derive(Clone, Debug)]
pub(super) struct Cri {
    client: RuntimeServiceClient<Channel>,
    limit: Duration,
}

/// All sandboxes and containers, running or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) sandboxes: Vec<PodSandbox>,
    pub(super) containers: Vec<Container>,
}

/// What only the status of a single container says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Started {
    /// ns since the Unix epoch; `None` before the start.
    pub(super) at_ns: Option<u64>,
    /// The main process, where the runtime tells.
    pub(super) pid: Option<u32>,
}

impl Cri {
    /// `limit` is for each call, `message_bytes` for each answer.
    pub(super) fn new(channel: Channel, limit: Duration, message_bytes: usize) -> Self {
        Self { client: RuntimeServiceClient::new(channel).max_decoding_message_size(message_bytes), limit }
    }

    pub(super) async fn version(&mut self) -> Result<RuntimeVersion, RpcError> {
        let request = VersionRequest { version: "v1".to_owned() };
        let answer = call("Version", self.limit, self.client.version(request)).await?;
        Ok(RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version })
    }

    /// Sandboxes first: a container listed afterwards may be newer than they, never the other way round.
    pub(super) async fn list(&mut self) -> Result<Listing, RpcError> {
        let sandboxes = self.client.list_pod_sandbox(ListPodSandboxRequest::default());
        let sandboxes = call("ListPodSandbox", self.limit, sandboxes).await?.items;
        let containers = self.client.list_containers(ListContainersRequest::default());
        let containers = call("ListContainers", self.limit, containers).await?.containers;
        Ok(Listing { sandboxes, containers })
    }

    /// What running containers have written over their images, of so many at most.
    pub(super) async fn layers(&mut self, most: usize) -> Result<Layers, RpcError> {
        let answer = self.client.list_container_stats(ListContainerStatsRequest::default());
        let stats = call("ListContainerStats", self.limit, answer).await?.stats;
        let layers = stats.into_iter().filter_map(|stats| {
            let id = stats.attributes.map(|attributes| attributes.id).filter(|id| id.len() <= MAX_ID)?;
            Some((id.into(), Layer::of(stats.writable_layer?)))
        });
        Ok(layers.take(most).collect())
    }

    /// `with_pid` asks for the verbose form, which is tens of kilobytes.
    pub(super) async fn started(&mut self, id: &str, with_pid: bool) -> Result<Started, RpcError> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: with_pid };
        let answer = call("ContainerStatus", self.limit, self.client.container_status(request)).await?;
        Ok(Started::of(answer))
    }
}

impl Layer {
    fn of(usage: FilesystemUsage) -> Self {
        // Where the runtime has not counted yet, it says 0 at no time.
        let is_counted = usage.timestamp > 0;
        Self {
            used_bytes: usage.used_bytes.filter(|_| is_counted).map(|bytes| bytes.value),
            inodes: usage.inodes_used.filter(|_| is_counted).map(|inodes| inodes.value),
            mountpoint: usage.fs_id.unwrap_or_default().mountpoint.into(),
        }
    }
}

impl Started {
    pub(super) fn of(answer: ContainerStatusResponse) -> Self {
        let status = answer.status.unwrap_or_default();
        let at_ns = Some(nanoseconds(status.started_at)).filter(|at| *at > 0);
        // CRI-O goes on telling the process id of a container that has ended.
        let is_running = status.state() == ContainerState::ContainerRunning;
        let pid = answer.info.get("info").filter(|_| is_running).and_then(|info| verbose_pid(info));
        Self { at_ns, pid }
    }
}

/// The main process's id in the verbose information, which every runtime shapes as it likes.
fn verbose_pid(info: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Info {
        pid: u32,
    }
    serde_json::from_str::<Info>(info).ok().map(|info| info.pid).filter(|pid| *pid > 0)
}
