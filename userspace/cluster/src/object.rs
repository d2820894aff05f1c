//! The parts of pods and nodes that are used, and nothing else of them: an answer becomes a few hundred bytes a pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::Quantity;

/// A list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// Where it stands.
    #[serde(default)]
    pub metadata: ListMeta,
    /// Its page.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    /// From where a watch goes on.
    pub resource_version: String,
    /// How the next page is asked for; empty on the last one.
    #[serde(rename = "continue")]
    pub more: String,
}

/// Of every object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; empty for a node.
    pub namespace: String,
    /// Unique.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// RFC 3339.
    pub creation_timestamp: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who made it.
    pub owner_references: Vec<OwnerReference>,
    /// Annotations.
    pub annotations: Annotations,
}

/// The annotations that are used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Of a mirror pod: the uid under which the kubelet runs it.
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub mirror: Option<String>,
}

/// Who made an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is the one that manages the object.
    pub controller: bool,
}

/// Amounts by resource; one that cannot be read counts as not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Amounts {
    /// Cores.
    #[serde(deserialize_with = "lenient")]
    pub cpu: Option<Quantity>,
    /// Bytes.
    #[serde(deserialize_with = "lenient")]
    pub memory: Option<Quantity>,
    /// Bytes.
    #[serde(deserialize_with = "lenient")]
    pub ephemeral_storage: Option<Quantity>,
    /// Number of pods; of nodes.
    #[serde(deserialize_with = "lenient")]
    pub pods: Option<Quantity>,
}

fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Quantity>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(Quantity::deserialize(value).ok())
}

/// What a container asks for and may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Asked for.
    pub requests: Amounts,
    /// At most.
    pub limits: Amounts,
}

/// A container of a pod's specification or status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// What the specification wants; in the status what is in force, where the kubelet says it (Kubernetes 1.27).
    pub resources: Option<Resources>,
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Who it is.
    pub metadata: Meta,
    /// What it is to be.
    pub spec: PodSpec,
    /// What it is.
    pub status: PodStatus,
}

/// What a pod is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Containers that run first, and sidecars.
    pub init_containers: Vec<Container>,
    /// Containers.
    pub containers: Vec<Container>,
}

/// What a pod is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// `Guaranteed`, `Burstable`, `BestEffort`.
    pub qos_class: String,
    /// Containers that run first, and sidecars.
    pub init_container_statuses: Vec<Container>,
    /// Containers.
    pub container_statuses: Vec<Container>,
}

/// The workload that a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Pod {
    /// The uid under which the node knows it, as in cgroup paths. A static pod, which the kubelet has from a file, has
    /// another one in the API.
    pub fn uid(&self) -> &str {
        self.metadata.annotations.mirror.as_deref().unwrap_or(&self.metadata.uid)
    }

    /// What manages the pod, and what manages that where the names tell: the Deployment of a ReplicaSet, by the hash
    /// that the Deployment puts on its pods; the CronJob of a Job, whose name ends with the minute it was due.
    pub fn workload(&self) -> Option<Workload> {
        let owners = &self.metadata.owner_references;
        let owner = owners.iter().find(|owner| owner.controller).or(owners.first())?;
        let of = |kind: &str, name: &str| Some(Workload { kind: kind.to_owned(), name: name.to_owned() });
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let hash = self.metadata.labels.get("pod-template-hash");
                let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
                deployment.map_or_else(|| of("ReplicaSet", &owner.name), |name| of("Deployment", name))
            }
            "Job" => match owner.name.rsplit_once('-') {
                Some((cron_job, due)) if self.was_due(due) => of("CronJob", cron_job),
                _ => of("Job", &owner.name),
            },
            kind => of(kind, &owner.name),
        }
    }

    /// Whether this is a minute, since 1970, of the day before the pod was made.
    fn was_due(&self, minute: &str) -> bool {
        const DAY: u64 = 24 * 60;
        let made = humantime::parse_rfc3339(&self.metadata.creation_timestamp).ok();
        let made =
            made.and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok()).map(|made| made.as_secs() / 60);
        let due = minute.parse::<u64>().ok();
        made.zip(due).is_some_and(|(made, due)| made.checked_sub(due).is_some_and(|ago| ago <= DAY))
    }

    /// Each container's name, what it is to get, and what is in force where that is known.
    pub fn resources(&self) -> impl Iterator<Item = (&str, Resources, Option<Resources>)> {
        let status = &self.status;
        let statuses = || status.container_statuses.iter().chain(&status.init_container_statuses);
        self.spec.containers.iter().chain(&self.spec.init_containers).map(move |container| {
            let current = statuses().find(|status| status.name == container.name).and_then(|status| status.resources);
            (container.name.as_str(), container.resources.unwrap_or_default(), current)
        })
    }
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Who it is.
    pub metadata: Meta,
    /// What it has.
    pub status: NodeStatus,
}

/// What a node has.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// In all.
    pub capacity: Amounts,
    /// For pods.
    pub allocatable: Amounts,
}

#[cfg(test)]
mod tests;
