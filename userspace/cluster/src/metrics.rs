//! metrics.k8s.io: what metrics-server says.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};

use crate::object::{Amounts, List, Meta};
use crate::{Client, Error, duration, segment};

const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";

/// The label of the pods that KubeVirt runs virtual machines in.
pub const LAUNCHERS: &str = "kubevirt.io=virt-launcher";
/// The label with which KubeVirt says on which node such a pod is.
pub const LAUNCHER_NODE: &str = "kubevirt.io/nodeName";

/// A node's figures.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeMetrics {
    /// Which.
    #[serde(default)]
    pub metadata: Meta,
    /// When, and over what time.
    #[serde(flatten)]
    pub taken: Taken,
    /// Cores, and bytes of working set.
    #[serde(default)]
    pub usage: Amounts,
}

/// A pod's figures.
#[derive(Clone, Debug, Deserialize)]
pub struct PodMetrics {
    /// Which.
    #[serde(default)]
    pub metadata: Meta,
    /// When, and over what time.
    #[serde(flatten)]
    pub taken: Taken,
    /// By container.
    #[serde(default)]
    pub containers: Vec<ContainerMetrics>,
}

/// A container's figures.
#[derive(Clone, Debug, Deserialize)]
pub struct ContainerMetrics {
    /// Its name.
    pub name: String,
    /// Cores, and bytes of working set.
    #[serde(default)]
    pub usage: Amounts,
}

/// When figures were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Taken {
    /// The end of the window, by the clock of the node.
    #[serde(deserialize_with = "instant")]
    pub timestamp: SystemTime,
    /// The time over which CPU time was measured, which ends there.
    #[serde(deserialize_with = "span")]
    pub window: Duration,
}

fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_rfc3339(&text).map_err(|_| serde::de::Error::custom(format!("{text:?} is no instant")))
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    duration::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no duration")))
}

/// One node's figures: one GET.
///
/// # Errors
/// Whatever is in [`Error`]; [`Error::NotFound`] without metrics-server, or before it has seen the node twice.
pub async fn node(client: &Client, name: &str) -> Result<NodeMetrics, Error> {
    client.json(&format!("{GROUP}/nodes/{}", segment(name))).await
}

/// One pod's figures: one GET.
///
/// # Errors
/// Whatever is in [`Error`]; [`Error::NotFound`] without metrics-server, or before it has seen the pod twice.
pub async fn pod(client: &Client, namespace: &str, name: &str) -> Result<PodMetrics, Error> {
    client.json(&format!("{GROUP}/namespaces/{}/pods/{}", segment(namespace), segment(name))).await
}

/// Figures of the pods with these labels, in all namespaces. metrics-server looks at the labels of all pods of the
/// cluster for it, so this is nothing for every node and second.
///
/// # Errors
/// Whatever is in [`Error`].
pub async fn pods_with(client: &Client, labels: &str) -> Result<Vec<PodMetrics>, Error> {
    let list: List<PodMetrics> = client.json(&format!("{GROUP}/pods?labelSelector={}", segment(labels))).await?;
    Ok(list.items)
}

/// Figures of all nodes: for who serves the whole cluster, never for who runs on each node.
///
/// # Errors
/// Whatever is in [`Error`].
pub async fn all_nodes(client: &Client) -> Result<Vec<NodeMetrics>, Error> {
    Ok(client.json::<List<NodeMetrics>>(&format!("{GROUP}/nodes")).await?.items)
}

/// Figures of all pods: for who serves the whole cluster, never for who runs on each node.
///
/// # Errors
/// Whatever is in [`Error`].
pub async fn all_pods(client: &Client) -> Result<Vec<PodMetrics>, Error> {
    Ok(client.json::<List<PodMetrics>>(&format!("{GROUP}/pods")).await?.items)
}
