//! From a cgroup to the pod it belongs to: what its path says, and what the runtime knows of the id in it.

use std::sync::Arc;

use crate::accounting::ContainerKey;
use crate::cgroup::{Owner, Tree, owner};
use crate::runtime::{ContainerMeta, Lookup, PodMeta, RuntimeHandle};
use foldhash::{HashMap, HashMapExt};

/// How long a container waits for its name before it is published by its id alone.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Under which name a container is published.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Everything outside of pods.
    Host,
    /// The runtime named it.
    Named(Arc<ContainerMeta>),
    /// Only the path is known: no runtime, or it does not know the id.
    ByPath {
        /// Container id, where there is one.
        container: Option<Arc<str>>,
        /// Pod uid, where the path has one.
        pod: Option<Arc<str>>,
    },
    /// Tasks in a pod's own cgroup, beside its containers.
    Pod(Arc<PodMeta>),
    /// Not published yet: the runtime is being asked.
    Waiting,
}

impl Identity {
    /// Whether both would be published under the same name.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(a), Self::Named(b)) => a.name == b.name && a.pod.uid == b.pod.uid && a.pod.name == b.pod.name,
            (Self::Pod(a), Self::Pod(b)) => a.uid == b.uid && a.name == b.name,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// Why a container has no name, as the attribute `podscope.unattributed.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// The cgroup's path is not known.
    NoPath,
    /// No runtime answers.
    NoRuntime,
    /// The runtime does not know the id.
    UnknownContainer,
    /// A pod's own cgroup, and no container of the pod is known.
    Pod,
}

#[derive(Debug)]
struct Entry {
    pod: Option<Arc<str>>,
    first_seen_ns: u64,
    identity: Identity,
    unnamed: Option<Unnamed>,
}

/// What is known of cgroups and of the containers in them.
pub struct Attribution {
    /// Names of cgroups.
    pub tree: Tree,
    runtime: RuntimeHandle,
    generation: Option<u64>,
    entries: HashMap<ContainerKey, Entry>,
    /// The group of each container and each pod itself: (id, path).
    groups: HashMap<ContainerKey, (u64, Arc<str>)>,
}

impl Attribution {
    /// Knows nothing yet.
    pub fn new(tree: Tree, runtime: RuntimeHandle) -> Self {
        Self { tree, runtime, generation: None, entries: HashMap::new(), groups: HashMap::new() }
    }

    /// The runtime asked.
    pub fn runtime(&self) -> &RuntimeHandle {
        &self.runtime
    }

    /// Whose a cgroup is; `None` while its path is not known. `now`: monotonic ns.
    pub fn owner(&mut self, cgroup: u64, now: u64) -> Option<ContainerKey> {
        let path = Arc::clone(self.tree.path(cgroup)?);
        let (key, pod, own) = match owner(&path) {
            Owner::Host => return Some(ContainerKey::Host),
            Owner::Container { id, pod_uid, nested } => (ContainerKey::Container(id), pod_uid, !nested),
            Owner::Pod { uid, nested } => (ContainerKey::Pod(Arc::clone(&uid)), Some(uid), !nested),
        };
        if own {
            self.groups.insert(key.clone(), (cgroup, path));
        }
        self.entries.entry(key.clone()).or_insert_with(|| Entry {
            pod,
            first_seen_ns: now,
            identity: Identity::Waiting,
            unnamed: None,
        });
        Some(key)
    }

    /// Under which name a container is published.
    pub fn identity(&self, key: &ContainerKey) -> &Identity {
        match key {
            ContainerKey::Host => &Identity::Host,
            _ => self.entries.get(key).map_or(&Identity::Waiting, |entry| &entry.identity),
        }
    }

    /// Why it has no name, where it has none.
    pub fn unnamed(&self, key: &ContainerKey) -> Option<Unnamed> {
        self.entries.get(key).and_then(|entry| entry.unnamed)
    }

    /// The path of a container's or pod's own group.
    pub fn group(&self, key: &ContainerKey) -> Option<&Arc<str>> {
        self.groups.get(key).map(|(_, path)| path)
    }

    /// Notes the pods' own groups among those known, whether they have tasks or not: their figures are the pods'.
    pub fn note_pod(&mut self, cgroup: u64) {
        let Some(path) = self.tree.path(cgroup) else { return };
        if let Owner::Pod { uid, nested: false } = owner(path) {
            let path = Arc::clone(path);
            self.groups.insert(ContainerKey::Pod(uid), (cgroup, path));
        }
    }

    /// Looks all names up again and returns the containers that are published under another one from now on.
    pub fn refresh(&mut self, now: u64) -> Vec<ContainerKey> {
        let generation = self.runtime.generation();
        let unchanged = self.generation.replace(generation) == Some(generation);
        let mut renamed = Vec::new();
        let pods: HashMap<Arc<str>, Arc<PodMeta>> = if unchanged {
            HashMap::new()
        } else {
            self.runtime.pods().into_iter().map(|pod| (Arc::clone(&pod.uid), pod)).collect()
        };
        for (key, entry) in &mut self.entries {
            let settled = entry.unnamed.is_none() && !matches!(entry.identity, Identity::Waiting);
            if unchanged && settled {
                continue;
            }
            let (identity, unnamed) = look_up(key, entry, &self.runtime, &pods, now);
            // A name once known stays: the runtime forgets containers that are gone, their last figures still come.
            if settled && !matches!(identity, Identity::Named(_) | Identity::Pod(_)) {
                continue;
            }
            if !matches!(entry.identity, Identity::Waiting) && !entry.identity.is_same(&identity) {
                renamed.push(key.clone());
            }
            (entry.identity, entry.unnamed) = (identity, unnamed);
        }
        renamed
    }

    /// Forgets containers that nothing belongs to any more.
    pub fn retain(&mut self, mut alive: impl FnMut(&ContainerKey) -> bool) {
        self.entries.retain(|key, _| alive(key));
        let tree = &self.tree;
        self.groups.retain(|key, (cgroup, _)| tree.path(*cgroup).is_some() || alive(key));
    }
}

fn look_up(
    key: &ContainerKey,
    entry: &Entry,
    runtime: &RuntimeHandle,
    pods: &HashMap<Arc<str>, Arc<PodMeta>>,
    now: u64,
) -> (Identity, Option<Unnamed>) {
    let waited = now.saturating_sub(entry.first_seen_ns) >= PATIENCE_NS;
    let by_path = |container: Option<&Arc<str>>| Identity::ByPath {
        container: container.map(Arc::clone),
        pod: entry.pod.clone(),
    };
    match key {
        ContainerKey::Host => (Identity::Host, None),
        ContainerKey::Container(id) => match runtime.get(id) {
            Lookup::Known(meta) => (Identity::Named(meta), None),
            Lookup::NoRuntime => (by_path(Some(id)), Some(Unnamed::NoRuntime)),
            Lookup::Unknown => {
                runtime.request_refresh(id);
                let identity = if waited { by_path(Some(id)) } else { Identity::Waiting };
                (identity, Some(Unnamed::UnknownContainer))
            }
        },
        ContainerKey::Pod(uid) => match pods.get(uid) {
            Some(pod) => (Identity::Pod(Arc::clone(pod)), None),
            None if waited || runtime.version().is_none() => (by_path(None), Some(Unnamed::Pod)),
            None => (Identity::Waiting, Some(Unnamed::Pod)),
        },
    }
}
