//! What a cgroup path says about whose processes are in it.
//!
//! The kubelet and the container runtimes write ids into directory names; no other file has to be read.

use std::sync::Arc;

/// Whose a control group is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A container's group, or one below it.
    Container {
        /// The runtime's id: 64 hexadecimal digits. A pod's sandbox has one too.
        id: Arc<str>,
        /// The pod's uid, where the path names a pod.
        pod_uid: Option<Arc<str>>,
        /// Below the container's own group: the container made it itself, or somebody for it.
        nested: bool,
    },
    /// A pod's group, or one below it that is no container's (the monitor process of a runtime).
    Pod {
        /// The pod's uid as the Kubernetes API writes it; the hash in the case of a static pod.
        uid: Arc<str>,
        /// Below the pod's own group.
        nested: bool,
    },
    /// Neither.
    Host,
}

impl Owner {
    /// The container's id.
    pub fn container_id(&self) -> Option<&Arc<str>> {
        match self {
            Self::Container { id, .. } => Some(id),
            Self::Pod { .. } | Self::Host => None,
        }
    }

    /// The pod's uid.
    pub fn pod_uid(&self) -> Option<&Arc<str>> {
        match self {
            Self::Container { pod_uid, .. } => pod_uid.as_ref(),
            Self::Pod { uid, .. } => Some(uid),
            Self::Host => None,
        }
    }
}

/// What stands before the id in `<runtime>-<id>.scope` and `…:<runtime>:<id>`.
const RUNTIMES: [&str; 5] = ["cri-containerd", "crio", "docker", "libpod", "nerdctl"];

/// Groups outside pods whose children are named by a bare container id. `..` is the sight of a sibling container
/// from a private cgroup namespace.
const PARENTS: [&str; 7] = ["docker", "k8s.io", "moby", "default", "nerdctl", "libpod_parent", ".."];

/// Reads a cgroup path, as `/proc/<pid>/cgroup` or the kernel writes it, with or without the `/..` steps of a
/// private cgroup namespace. Any text is accepted.
///
/// The innermost pod counts (a node that is itself a container has pods below it); below a pod, and where there is
/// no pod, the outermost container (what a container starts belongs to it).
pub fn owner(path: &str) -> Owner {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut owner = Owner::Host;
    let mut parent = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // Runtimes without the systemd driver below a kubelet with it: `<slice>:<runtime>:<id>`.
        match segment.split_once(':') {
            Some((slice, container)) => owner = step(step(owner, parent, slice), slice, container),
            None => owner = step(owner, parent, segment),
        }
        parent = segment;
    }
    owner
}

/// Goes from a group into its child.
fn step(owner: Owner, parent: &str, child: &str) -> Owner {
    if let Some(uid) = pod_uid(child) {
        return Owner::Pod { uid, nested: false };
    }
    match owner {
        Owner::Container { id, pod_uid, .. } => Owner::Container { id, pod_uid, nested: true },
        Owner::Pod { uid, nested } => match named_id(child).or_else(|| bare_id(child).filter(|_| !nested)) {
            Some(id) => Owner::Container { id: id.into(), pod_uid: Some(uid), nested: false },
            None => Owner::Pod { uid, nested: true },
        },
        Owner::Host => match named_id(child).or_else(|| bare_id(child).filter(|_| PARENTS.contains(&parent))) {
            Some(id) => Owner::Container { id: id.into(), pod_uid: None, nested: false },
            None => Owner::Host,
        },
    }
}

/// The uid in `pod<uid>` and `…-pod<uid>.slice`, where systemd's names have `_` for `-`.
fn pod_uid(segment: &str) -> Option<Arc<str>> {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    let (before, uid) = name.rsplit_once("pod")?;
    if !(before.is_empty() || before.ends_with('-')) {
        return None;
    }
    let is_uuid = uid.len() == 36
        && uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-' || byte == b'_',
            _ => byte.is_ascii_hexdigit(),
        });
    (is_uuid || is_hex(uid, 32)).then(|| uid.replace('_', "-").into())
}

/// The id in `<runtime>-<id>`, `<runtime>-<id>.scope` and `<runtime>:<id>`.
fn named_id(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let (runtime, id) = name.rsplit_once(['-', ':'])?;
    (RUNTIMES.contains(&runtime) && is_hex(id, 64)).then_some(id)
}

fn bare_id(segment: &str) -> Option<&str> {
    is_hex(segment, 64).then_some(segment)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "1f0b2c3d-0001-4a00-8000-0000000000a1";
    const UID_: &str = "1f0b2c3d_0001_4a00_8000_0000000000a1";
    const STATIC: &str = "c6a6ee1e2b2a7a4f6d4f3ae3a2a4c9d1";
    const ID: &str = "a562c1fedc668f8411f857d3ebabd03b49c2916c87b8b7a5423818686499e6ca";
    const NODE: &str = "0c72a72455a82ce003934e8d1fc2f72e0508bbfd079faebb70772c6f7502e981";

    fn container(id: &str, uid: Option<&str>, nested: bool) -> Owner {
        Owner::Container { id: id.into(), pod_uid: uid.map(Arc::from), nested }
    }

    fn pod(uid: &str, nested: bool) -> Owner {
        Owner::Pod { uid: uid.into(), nested }
    }

    /// Recorded paths of containerd 1.6, 1.7, 2.1, CRI-O, a kubelet, both cgroup drivers and versions.
    #[test]
    fn recorded_paths_name_what_the_runtime_names() {
        let table = include_str!("../../testdata/cgroup/attributed.tsv");
        let rows: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rows.len(), 28);
        for row in rows {
            let [_, id, uid, path] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(owner(path), container(id, Some(uid), false), "{path}");
            let above = path.rsplit_once('/').unwrap().0;
            assert_eq!(owner(above), pod(uid, false), "{above}");
            let above = above.rsplit_once('/').unwrap().0;
            assert_eq!(owner(above), Owner::Host, "{above}");
        }
    }

    #[test]
    fn every_shape_in_a_pod() {
        for path in [
            format!("/kubepods/besteffort/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/burstable/pod{UID}/crio-{ID}"),
            format!("/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/docker-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{ID}"),
            format!("/kubelet/kubepods/burstable/pod{UID}/{ID}"),
            format!("/docker/{NODE}/kubelet/kubepods/burstable/pod{UID}/{ID}"),
            format!("/docker/{NODE}/kubepods/pod{UID}/{ID}"),
            format!(
                "/system.slice/docker-{NODE}.scope/kubelet.slice/kubelet-kubepods.slice/\
                 kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods/pod{STATIC}/{NODE}/docker/{NODE}/kubepods/pod{UID}/{ID}"),
            format!("/../../../kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope"),
            format!("/../../pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID} (deleted)"),
        ] {
            assert_eq!(owner(&path), container(ID, Some(UID), false), "{path}");
        }
        let path = format!("/kubepods/burstable/pod{STATIC}/{ID}");
        assert_eq!(owner(&path), container(ID, Some(STATIC), false), "a static pod's uid is a hash");
    }

    #[test]
    fn groups_below_a_container_stay_its_own() {
        for below in ["housekeeping", "init.scope", "system.slice/ssh.service", &format!("docker/{NODE}"), NODE] {
            let path = format!("/kubepods/pod{UID}/{ID}/{below}");
            assert_eq!(owner(&path), container(ID, Some(UID), true), "{path}");
        }
        let path = format!("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container");
        assert_eq!(owner(&path), container(ID, Some(UID), true), "{path}");
    }

    #[test]
    fn containers_without_a_pod() {
        for path in [
            format!("/docker/{ID}"),
            format!("/k8s.io/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope"),
            format!("/machine.slice/machine-libpod_pod_{NODE}.slice/libpod-{ID}.scope"),
            format!("/libpod_parent/libpod-{ID}"),
            format!("/../{ID}"),
        ] {
            assert_eq!(owner(&path), container(ID, None, false), "{path}");
        }
        let path = format!("/docker/{ID}/init.scope");
        assert_eq!(owner(&path), container(ID, None, true), "{path}");
    }

    #[test]
    fn a_monitor_is_not_the_container() {
        let slice = format!("/kubepods.slice/kubepods-pod{UID_}.slice");
        assert_eq!(owner(&format!("{slice}/crio-conmon-{ID}.scope")), pod(UID, true));
        assert_eq!(owner(&format!("/kubepods/pod{UID}/crio-conmon-{ID}")), pod(UID, true));
        assert_eq!(owner(&format!("/system.slice/crio-conmon-{ID}.scope")), Owner::Host);
        assert_eq!(owner(&format!("/machine.slice/libpod-conmon-{ID}.scope")), Owner::Host);
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        for path in [
            "/",
            "/kubepods/burstable",
            "/kubepods.slice/kubepods-burstable.slice",
            "/system.slice/containerd.service",
            &format!("/builds/{ID}"),
            &format!("/{ID}"),
            &format!("/kubepods/{ID}"),
            &format!("/kubepods/pod{ID}"),
            &format!("/kubepods/tripod{UID}"),
            &format!("/system.slice/backup-{ID}.scope"),
            &format!("/docker/{}", &ID[1..]),
        ] {
            assert_eq!(owner(path), Owner::Host, "{path}");
        }
        let path = format!("/kubepods/pod{UID}/cache/{ID}");
        assert_eq!(owner(&path), pod(UID, true), "a bare id counts directly below the pod only");
    }

    /// A path of each shape with its container's id and its pod's uid.
    fn in_a_pod() -> impl Strategy<Value = (String, String, String)> {
        let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let quality = prop::sample::select(vec!["", "burstable", "besteffort"]);
        let prefix = prop::sample::select(vec!["", "/kubelet", "/docker/node", "/a.slice/b.service"]);
        let runtime = prop::sample::select(RUNTIMES.to_vec());
        (prefix, quality, prop_oneof![uuid, "[0-9a-f]{32}"], runtime, "[0-9a-f]{64}", 0..4).prop_map(
            |(prefix, quality, uid, runtime, id, shape)| {
                let dir = if quality.is_empty() { String::new() } else { format!("/{quality}") };
                let dash = if quality.is_empty() { String::new() } else { format!("-{quality}") };
                let uid_ = uid.replace('-', "_");
                let path = match shape {
                    0 => format!("{prefix}/kubepods{dir}/pod{uid}/{id}"),
                    1 => format!("{prefix}/kubepods{dir}/pod{uid}/{runtime}-{id}"),
                    2 => format!("{prefix}/kubepods.slice/kubepods{dash}-pod{uid_}.slice/{runtime}-{id}.scope"),
                    _ => format!("{prefix}/kubepods{dash}-pod{uid_}.slice:{runtime}:{id}"),
                };
                (path, id, uid)
            },
        )
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(path in any::<String>(), slashed in "[/:.a-f0-9_-]{0,200}") {
            owner(&path);
            owner(&slashed);
        }

        #[test]
        fn well_formed_paths_round_trip((path, id, uid) in in_a_pod(), up in 0usize..6, below in "(/[a-z][a-z0-9.@-]{0,20}){0,3}") {
            let seen = format!("{}{path}{below}", "/..".repeat(up));
            prop_assert_eq!(owner(&seen), container(&id, Some(&uid), !below.is_empty()));
        }
    }
}
