//! The attributes under which containers, pods, virtual machines and executables are published.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{Names, OTHER};
use crate::attribution::Identity;
use crate::cluster::Workloads;
use crate::runtime::{PodMeta, Vm};
use crate::snapshot::ResourceAttribute;
use crate::vm::Machine;

/// When the container or pod was made, where that is known.
pub(super) fn created_ns(identity: &Identity) -> Option<u64> {
    match identity {
        Identity::Named(meta) => Some(meta.started_at_ns.unwrap_or(meta.created_at_ns)),
        Identity::Pod(pod) => Some(pod.created_at_ns),
        _ => None,
    }
}

/// The attributes of a container's identity.
pub(super) fn identify(identity: &Identity, list: &mut Vec<ResourceAttribute>) {
    let label = |list: &mut Vec<_>, key, value: &Arc<str>| list.push(ResourceAttribute::label(key, Arc::clone(value)));
    match identity {
        Identity::Host | Identity::Waiting => {}
        Identity::Named(meta) => {
            label(list, "k8s.namespace.name", &meta.pod.namespace);
            label(list, "k8s.pod.name", &meta.pod.name);
            label(list, "k8s.pod.uid", &meta.pod.uid);
            label(list, "k8s.container.name", &meta.name);
            label(list, "container.id", &meta.id);
            machine_of(&meta.pod, list);
            if !meta.image.is_empty() {
                list.push(ResourceAttribute::text("container.image.name", Arc::clone(&meta.image)));
            }
        }
        Identity::Pod(pod) => {
            label(list, "k8s.namespace.name", &pod.namespace);
            label(list, "k8s.pod.name", &pod.name);
            label(list, "k8s.pod.uid", &pod.uid);
            machine_of(pod, list);
        }
        Identity::ByPath { container, pod } => {
            if let Some(uid) = pod {
                label(list, "k8s.pod.uid", uid);
            }
            if let Some(id) = container {
                label(list, "container.id", id);
            }
        }
    }
}

/// The workload that a container or pod belongs to, over OTLP alone: a label that comes later than the series would end
/// them.
pub(super) fn belongs(identity: &Identity, workloads: &Workloads, list: &mut Vec<ResourceAttribute>) {
    let uid = match identity {
        Identity::Named(meta) => &meta.pod.uid,
        Identity::Pod(pod) => &pod.uid,
        _ => return,
    };
    let Some(workload) = workloads.get(uid) else { return };
    let mut text = |key, value: &Arc<str>| list.push(ResourceAttribute::text(key, Arc::clone(value)));
    if !workload.kind.is_empty() {
        text("podscope.workload.kind", &workload.kind);
        text("podscope.workload.name", &workload.name);
    }
    if let Some(key) = workload.key() {
        text(key, &workload.name);
    }
    if !workload.qos.is_empty() {
        text("podscope.pod.qos_class", &workload.qos);
    }
}

fn machine_of(pod: &PodMeta, list: &mut Vec<ResourceAttribute>) {
    if let Some(vm) = pod.vm() {
        identify_machine(&vm, list);
    }
}

/// The attributes of a virtual machine; `uid`: its pod's.
pub(super) fn identify_launcher(uid: &Arc<str>, machine: &Machine, list: &mut Vec<ResourceAttribute>) {
    list.push(ResourceAttribute::label("k8s.namespace.name", Arc::clone(&machine.vm.namespace)));
    if let Some(pod) = &machine.pod {
        list.push(ResourceAttribute::label("k8s.pod.name", Arc::clone(&pod.name)));
    }
    list.push(ResourceAttribute::label("k8s.pod.uid", Arc::clone(uid)));
    identify_machine(&machine.vm, list);
}

/// The attributes of a container that ran while a virtual CPU waited.
pub(super) fn identify_culprit(identity: &Identity, list: &mut Vec<ResourceAttribute>) {
    let (pod, container): (_, Option<Arc<str>>) = match identity {
        Identity::Named(meta) => (Some(&meta.pod), Some(Arc::clone(&meta.name))),
        Identity::Pod(pod) => (Some(pod), None),
        Identity::ByPath { container, pod } => (None, container.as_ref().or(pod.as_ref()).map(Arc::clone)),
        Identity::Host => (None, Some("_host".into())),
        Identity::Waiting => (None, None),
    };
    if let Some(pod) = pod {
        list.push(ResourceAttribute::label("podscope.culprit.namespace", Arc::clone(&pod.namespace)));
        list.push(ResourceAttribute::label("podscope.culprit.pod", Arc::clone(&pod.name)));
    }
    if let Some(container) = container {
        list.push(ResourceAttribute::label("podscope.culprit.container", container));
    }
}

/// The attributes of a virtual machine beside those of its pod.
fn identify_machine(vm: &Vm, list: &mut Vec<ResourceAttribute>) {
    list.push(ResourceAttribute::label("podscope.vm.name", Arc::clone(&vm.name)));
    if let Some(uid) = &vm.uid {
        list.push(ResourceAttribute::label("podscope.vm.uid", Arc::clone(uid)));
    }
}

pub(super) fn exe_name(names: &Names, exe: u64) -> Arc<str> {
    match names.get(&exe) {
        _ if exe == podscope_abi::EXE_OTHER => OTHER.into(),
        Some(name) => Arc::clone(name),
        None => "_unknown".into(),
    }
}

/// A Unix time in ns as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(unix_ns: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}
