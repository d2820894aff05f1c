//! What is known about a container and its pod.
//!
//! Every text here was written by whoever made the pod, so each has a bound and is made harmless.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_cri::v1::{Container, PodSandbox};

use crate::text::visible;

/// Longest container id kept, bytes; runtimes use 64 hexadecimal digits.
pub(super) const MAX_ID: usize = 128;
/// Longest name, uid, image or label value kept, bytes.
const MAX_TEXT: usize = 256;
/// Longest label key kept, bytes: a prefix of 253, a slash, a name of 63.
const MAX_KEY: usize = 317;
/// Most labels kept of a pod.
const MAX_LABELS: usize = 64;

/// The name under which the kubelet's cAdvisor knows a sandbox's own container.
const SANDBOX_NAME: &str = "POD";

const POD_UID: &str = "io.kubernetes.pod.uid";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";
const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const CONTAINERD_KIND: &str = "io.cri-containerd.kind";

const KUBEVIRT_APP: &str = "kubevirt.io";
const KUBEVIRT_DOMAIN: &str = "kubevirt.io/domain";
const KUBEVIRT_VM_NAME: &str = "vm.kubevirt.io/name";
const KUBEVIRT_CREATED_BY: &str = "kubevirt.io/created-by";

/// Labels that survive the bound on their number.
const NEEDED: [&str; 4] = [KUBEVIRT_APP, KUBEVIRT_CREATED_BY, KUBEVIRT_DOMAIN, KUBEVIRT_VM_NAME];

/// Keys and values, sorted by key.
pub type Labels = Vec<(Arc<str>, Arc<str>)>;

/// A pod, as its sandbox describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodMeta {
    /// As in the cgroup path.
    pub uid: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// The id of its sandbox, which is also the container id of its pause process.
    pub sandbox_id: Arc<str>,
    /// The pod's own labels; at most 64, each value cut at 256 bytes.
    pub labels: Labels,
    /// How many labels were left out or cut.
    pub labels_truncated: u32,
    /// Annotation `kubevirt.io/domain`.
    pub domain: Option<Arc<str>>,
    /// When the sandbox was made, ns since the Unix epoch.
    pub created_at_ns: u64,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// The namespace of the VM and of its pod.
    pub namespace: Arc<str>,
    /// The VM's name.
    pub name: Arc<str>,
    /// The uid of its VirtualMachineInstance, by the label of who made the pod.
    pub uid: Option<Arc<str>>,
}

/// A container, or the sandbox's own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMeta {
    /// As in the cgroup path.
    pub id: Arc<str>,
    /// The name in the pod's specification; `POD` for a sandbox.
    pub name: Arc<str>,
    /// Whose it is.
    pub pod: Arc<PodMeta>,
    /// The image as the pod's specification names it; empty for a sandbox.
    pub image: Arc<str>,
    /// The image's id on this node.
    pub image_id: Option<Arc<str>>,
    /// How often the kubelet has restarted it.
    pub restart_count: u32,
    /// ns since the Unix epoch.
    pub created_at_ns: u64,
    /// ns since the Unix epoch; asked for once a container runs, so it comes a little later than the rest.
    pub started_at_ns: Option<u64>,
    /// The main process while it runs, in the runtime's pid namespace.
    pub pid: Option<u32>,
    /// The sandbox's own container (the pause process).
    pub is_sandbox: bool,
}

impl PodMeta {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&Arc<str>> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// Whether a KubeVirt virtual machine runs in it.
    pub fn is_virt_launcher(&self) -> bool {
        self.label(KUBEVIRT_APP).is_some_and(|app| &**app == "virt-launcher")
    }

    /// The virtual machine that runs in it.
    ///
    /// The annotation is the VM's name, with or without its namespace; the label is only the guest's host name, which
    /// is the same unless the VM's specification sets another one or the name has a dot.
    pub fn vm(&self) -> Option<Vm> {
        if !self.is_virt_launcher() {
            return None;
        }
        let domain = self.domain.as_ref().filter(|domain| !domain.is_empty());
        let name = match domain.or_else(|| self.label(KUBEVIRT_VM_NAME)) {
            Some(name) => match name.strip_prefix(&*self.namespace).and_then(|rest| rest.strip_prefix('_')) {
                Some(bare) => Arc::from(bare),
                None => Arc::clone(name),
            },
            None => return None,
        };
        let uid = self.label(KUBEVIRT_CREATED_BY).filter(|uid| !uid.is_empty()).map(Arc::clone);
        Some(Vm { namespace: Arc::clone(&self.namespace), name, uid })
    }

    /// From a CRI sandbox.
    pub(super) fn from_sandbox(sandbox: &PodSandbox) -> Self {
        let metadata = sandbox.metadata.clone().unwrap_or_default();
        let (labels, labels_truncated) = bounded_labels(&sandbox.labels);
        Self {
            uid: text(&metadata.uid),
            name: text(&metadata.name),
            namespace: text(&metadata.namespace),
            sandbox_id: text(&sandbox.id),
            labels,
            labels_truncated,
            domain: sandbox.annotations.get(KUBEVIRT_DOMAIN).map(|domain| text(domain)),
            created_at_ns: nanoseconds(sandbox.created_at),
        }
    }

    /// From the labels that a runtime puts on each container of a pod; `None` where they name no pod.
    pub(super) fn from_labels(labels: &HashMap<String, String>, sandbox_id: &str) -> Option<Self> {
        let named = |key| labels.get(key).map(|value| text(value)).filter(|value| !value.is_empty());
        Some(Self {
            uid: named(POD_UID)?,
            name: named(POD_NAME)?,
            namespace: named(POD_NAMESPACE)?,
            sandbox_id: text(sandbox_id),
            ..Self::default()
        })
    }
}

impl ContainerMeta {
    /// The sandbox's own container.
    pub(super) fn of_sandbox(pod: Arc<PodMeta>) -> Self {
        Self {
            id: Arc::clone(&pod.sandbox_id),
            name: Arc::from(SANDBOX_NAME),
            image: Arc::from(""),
            image_id: None,
            restart_count: 0,
            created_at_ns: pod.created_at_ns,
            started_at_ns: None,
            pid: None,
            is_sandbox: true,
            pod,
        }
    }

    /// From a CRI container.
    pub(super) fn from_container(container: &Container, pod: Arc<PodMeta>) -> Self {
        let metadata = container.metadata.clone().unwrap_or_default();
        let image = container.image.clone().unwrap_or_default();
        let by_user = [&image.user_specified_image, &image.image].into_iter().find(|name| !name.is_empty());
        let image_id = [&container.image_id, &container.image_ref].into_iter().find(|id| !id.is_empty());
        let restarts = container.annotations.get(RESTART_COUNT).and_then(|count| count.parse().ok());
        Self {
            id: text(&container.id),
            name: text(&metadata.name),
            pod,
            image: text(by_user.map_or("", |name| name)),
            image_id: image_id.map(|id| text(id)),
            restart_count: restarts.unwrap_or(metadata.attempt),
            created_at_ns: nanoseconds(container.created_at),
            started_at_ns: None,
            pid: None,
            is_sandbox: false,
        }
    }

    /// From what containerd's metadata store says about a container that the CRI does not list yet; `None` where it
    /// belongs to no pod.
    pub(super) fn from_containerd(container: &containerd_client::services::v1::Container) -> Option<Self> {
        let labels = &container.labels;
        let is_sandbox = labels.get(CONTAINERD_KIND).is_some_and(|kind| kind == "sandbox");
        let sandbox_id = if is_sandbox { container.id.as_str() } else { container.sandbox.as_str() };
        let mut pod = PodMeta::from_labels(labels, sandbox_id)?;
        let created_at_ns = container
            .created_at
            .as_ref()
            .map_or(0, |at| nanoseconds(at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos))));
        if is_sandbox {
            (pod.labels, pod.labels_truncated) = bounded_labels(labels);
            pod.created_at_ns = created_at_ns;
            return Some(Self::of_sandbox(Arc::new(pod)));
        }
        Some(Self {
            id: text(&container.id),
            name: text(labels.get(CONTAINER_NAME)?),
            pod: Arc::new(pod),
            image: text(&container.image),
            image_id: None,
            restart_count: 0,
            created_at_ns,
            started_at_ns: None,
            pid: None,
            is_sandbox: false,
        })
    }
}

/// A text, cut at its bound between two characters, with what cannot be shown written out.
fn text(value: &str) -> Arc<str> {
    visible(cut(value).as_bytes()).into()
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_TEXT)]
}

/// CRI times are ns since the Unix epoch; anything before it is nonsense.
pub(super) fn nanoseconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

/// The pod's own labels within their bounds, sorted, and how many were left out or cut.
fn bounded_labels(labels: &HashMap<String, String>) -> (Labels, u32) {
    let runtime_made = |key: &str| {
        matches!(key, POD_UID | POD_NAME | POD_NAMESPACE | CONTAINER_NAME) || key.starts_with("io.cri-containerd.")
    };
    let mut own: Vec<_> = labels.iter().filter(|(key, _)| !runtime_made(key)).collect();
    own.sort_unstable_by_key(|(key, _)| (!NEEDED.contains(&key.as_str()), key.len() > MAX_KEY, *key));
    let kept: Vec<_> = own
        .iter()
        .take(MAX_LABELS)
        .filter(|(key, _)| key.len() <= MAX_KEY)
        .map(|(key, value)| (*key, cut(value)))
        .collect();
    let cut_values = kept.iter().filter(|(key, value)| labels[*key].len() > value.len()).count();
    let truncated = own.len() - kept.len() + cut_values;
    let mut kept: Labels = kept.into_iter().map(|(key, value)| (visible(key.as_bytes()).into(), text(value))).collect();
    kept.sort_unstable();
    (kept, u32::try_from(truncated).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use k8s_cri::v1::PodSandboxMetadata;

    use super::*;

    fn launcher(labels: &[(&str, &str)], domain: Option<&str>) -> PodMeta {
        PodMeta::from_sandbox(&PodSandbox {
            id: "s".into(),
            metadata: Some(PodSandboxMetadata { namespace: "prod".into(), ..Default::default() }),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            annotations: domain.map(|domain| (KUBEVIRT_DOMAIN.into(), domain.into())).into_iter().collect(),
            ..Default::default()
        })
    }

    #[test]
    fn the_vm_is_named_by_the_annotation_then_by_the_label() {
        let named = |labels: &[(&str, &str)], domain| {
            launcher(labels, domain).vm().map(|vm| format!("{}/{}", vm.namespace, vm.name))
        };
        let app = (KUBEVIRT_APP, "virt-launcher");
        let host_name = (KUBEVIRT_VM_NAME, "my-host-name");
        assert_eq!(named(&[app, host_name], Some("db.1")).as_deref(), Some("prod/db.1"));
        assert_eq!(named(&[app, host_name], Some("prod_db")).as_deref(), Some("prod/db"));
        assert_eq!(named(&[app, host_name], Some("production_db")).as_deref(), Some("prod/production_db"));
        assert_eq!(named(&[app, host_name], None).as_deref(), Some("prod/my-host-name"));
        assert_eq!(named(&[app], None), None);
        assert_eq!(named(&[host_name], Some("db")), None);
    }

    #[test]
    fn hostile_labels_are_bounded_and_counted_and_the_needed_ones_stay() {
        let long = "ä".repeat(1000);
        let mut labels: HashMap<String, String> = (0..500).map(|i| (format!("a{i:03}"), long.clone())).collect();
        labels.insert("k".repeat(MAX_KEY + 1), "v".into());
        labels.insert(KUBEVIRT_APP.into(), "virt-launcher".into());
        labels.insert(POD_NAME.into(), "not a label of the pod's own".into());
        let (kept, truncated) = bounded_labels(&labels);
        assert_eq!(kept.len(), MAX_LABELS);
        assert!(kept.is_sorted());
        assert!(kept.iter().all(|(key, value)| key.len() <= MAX_KEY && value.len() <= MAX_TEXT));
        assert!(kept.iter().any(|(key, value)| &**key == KUBEVIRT_APP && &**value == "virt-launcher"));
        // 502 of the pod's own: 438 left out, 63 cut, one whole.
        assert_eq!(truncated, 501);
    }

    #[test]
    fn few_and_short_labels_are_kept_whole() {
        let pod = launcher(&[("b", "2"), ("a", "1")], None);
        assert_eq!(pod.labels, [(Arc::from("a"), Arc::from("1")), (Arc::from("b"), Arc::from("2"))]);
        assert_eq!(pod.labels_truncated, 0);
        assert_eq!(pod.label("b").map(|value| &**value), Some("2"));
        assert_eq!(pod.label("c"), None);
    }
}
