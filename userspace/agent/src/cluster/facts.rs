//! What is kept of a pod and of the node.

use std::collections::HashMap;
use std::sync::Arc;

use podscope_cluster::metrics::{LAUNCHER_NODE, LAUNCHERS};
use podscope_cluster::{Amounts, Node, Pod, Resources};

use crate::text::visible;

/// Containers of a pod that are kept.
const CONTAINERS: usize = 128;

/// Labels of the node that are told on: what kind of machine it is, where, and who made it.
const NODE_LABELS: [&str; 12] = [
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "kubevirt.io/schedulable",
    "karpenter.sh/nodepool",
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/nodegroup",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
];

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it belongs to.
    pub workload: Workload,
    /// A virtual machine's, by the labels with which metrics.k8s.io is asked for it.
    pub is_launcher: bool,
    /// It runs, so metrics-server may know it.
    pub is_running: bool,
    /// By container: what is wanted, and what is in force where the kubelet says it.
    pub containers: Vec<(Box<str>, Resources, Option<Resources>)>,
}

/// What a pod belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Such as `Deployment`; empty where nothing manages the pod.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `Guaranteed`, `Burstable`, `BestEffort`.
    pub qos: Arc<str>,
}

/// What pods belong to, by uid.
pub type Workloads = HashMap<Arc<str>, Workload>;

impl PodFacts {
    /// Takes what is kept. `node`: this node.
    pub fn of(pod: &Pod, node: &str) -> Self {
        let owner = pod.workload();
        let text = |text: Option<&String>| Arc::from(visible(text.map_or("", String::as_str).as_bytes()));
        let labels = &pod.metadata.labels;
        let (key, value) = LAUNCHERS.split_once('=').unwrap_or((LAUNCHERS, ""));
        let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
        Self {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            workload: Workload {
                kind: text(owner.as_ref().map(|owner| &owner.kind)),
                name: text(owner.as_ref().map(|owner| &owner.name)),
                qos: text(Some(&pod.status.qos_class)),
            },
            is_launcher: is(key, value) && is(LAUNCHER_NODE, node),
            is_running: pod.status.phase == "Running",
            containers: pod
                .resources()
                .take(CONTAINERS)
                .map(|(name, wanted, current)| (Box::from(name), wanted, current))
                .collect(),
        }
    }
}

impl Workload {
    /// The attribute that OpenTelemetry has for the name of such a workload.
    pub fn key(&self) -> Option<&'static str> {
        Some(match &*self.kind {
            "Deployment" => "k8s.deployment.name",
            "ReplicaSet" => "k8s.replicaset.name",
            "StatefulSet" => "k8s.statefulset.name",
            "DaemonSet" => "k8s.daemonset.name",
            "Job" => "k8s.job.name",
            "CronJob" => "k8s.cronjob.name",
            "ReplicationController" => "k8s.replicationcontroller.name",
            _ => return None,
        })
    }
}

/// The node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Of its object.
    pub uid: String,
    /// Some of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// What it has in all.
    pub capacity: Amounts,
    /// What it has for pods.
    pub allocatable: Amounts,
}

impl NodeFacts {
    /// Takes what is kept.
    pub fn of(node: &Node) -> Self {
        let text = |text: &String| visible(text.as_bytes());
        let label = |key: &'static str| Some((key, text(node.metadata.labels.get(key)?)));
        Self {
            uid: text(&node.metadata.uid),
            labels: NODE_LABELS.into_iter().filter_map(label).collect(),
            capacity: node.status.capacity,
            allocatable: node.status.allocatable,
        }
    }
}
