//! Resources of the node and its parts.

use std::sync::Arc;

use foldhash::HashMap;
use podscope_catalog::Entity;

use super::identity::identify;
use super::{Publisher, Subject};
use crate::accounting::{ContainerKey, Moment};
use crate::attribution::{Attribution, Identity};
use crate::node::{Node, Part, PodNetwork, Volume, VolumeName};
use crate::runtime::PodMeta;
use crate::snapshot::{Attributes, Resource, ResourceAttribute};

impl Publisher {
    /// The node and what belongs to it. To be called before [`Publisher::resources`], which forgets the attributes of
    /// what is no longer published.
    pub fn node(&mut self, node: &Node, attribution: &Attribution, processes: u64, now: &Moment) -> Vec<Resource> {
        let whole = Part { name: "".into(), start_ns: node.booted_ns(), points: node.points(processes, now) };
        let mut resources = vec![self.part(Entity::Node, whole, now, |_| ())];
        for device in node.devices() {
            let name = Arc::clone(&device.name);
            let fill = |list: &mut Vec<_>| list.push(ResourceAttribute::label("system.device", name));
            resources.push(self.part(Entity::Device, device, now, fill));
        }
        for interface in node.interfaces() {
            let name = Arc::clone(&interface.name);
            let fill = |list: &mut Vec<_>| list.push(ResourceAttribute::label("network.interface.name", name));
            resources.push(self.part(Entity::Interface, interface, now, fill));
        }
        for filesystem in &node.sizes().filesystems {
            let labels = filesystem.labels();
            let name = labels.each_ref().map(|(_, value)| value.as_str()).join("\0").into();
            let part = Part { name, start_ns: node.booted_ns(), points: filesystem.points() };
            let fill = |list: &mut Vec<_>| {
                list.extend(labels.map(|(key, value)| ResourceAttribute::label(key, value)));
            };
            resources.push(self.part(Entity::Filesystem, part, now, fill));
        }
        let volumes = &node.sizes().volumes;
        let pods = if volumes.is_empty() { Vec::new() } else { attribution.runtime().pods() };
        for volume in volumes {
            if let Some(pod) = pods.iter().find(|pod| pod.uid == volume.name.pod) {
                resources.push(self.volume(pod, volume, now));
            }
        }
        for network in node.pods.all() {
            for interface in &network.interfaces {
                resources.push(self.pod_interface(network, interface, now));
            }
        }
        resources
    }

    /// The attributes of a block device as a container uses it. `names`: by major and minor number.
    pub(super) fn device(
        &mut self,
        key: &ContainerKey,
        identity: &Identity,
        number: (u32, u32),
        names: &HashMap<(u32, u32), Arc<str>>,
        now: &Moment,
    ) -> Arc<Attributes> {
        self.attributes_of(Subject::Device(key.clone(), number), now, |list| {
            identify(identity, list);
            let (major, minor) = number;
            let name = names.get(&number).map(Arc::clone);
            let name = name.unwrap_or_else(|| format!("{major}:{minor}").into());
            list.push(ResourceAttribute::label("system.device", name));
        })
    }

    fn volume(&mut self, pod: &Arc<PodMeta>, volume: &Volume, now: &Moment) -> Resource {
        let VolumeName { name, kind, .. } = &volume.name;
        let part = Part {
            name: format!("{}/{kind}/{name}", pod.uid).into(),
            start_ns: pod.created_at_ns,
            points: volume.points(),
        };
        self.part(Entity::Volume, part, now, |list| {
            identify(&Identity::Pod(Arc::clone(pod)), list);
            list.push(ResourceAttribute::label("k8s.volume.name", Arc::clone(name)));
            list.push(ResourceAttribute::label("k8s.volume.type", Arc::clone(kind)));
        })
    }

    fn pod_interface(&mut self, network: &PodNetwork, interface: &Part, now: &Moment) -> Resource {
        let name = &interface.name;
        let part = Part {
            name: format!("{}/{name}", network.pod.uid).into(),
            start_ns: interface.start_ns,
            points: interface.points.clone(),
        };
        self.part(Entity::PodInterface, part, now, |list| {
            identify(&Identity::Pod(Arc::clone(&network.pod)), list);
            list.push(ResourceAttribute::label("network.interface.name", Arc::clone(name)));
        })
    }

    pub(super) fn part(
        &mut self,
        entity: Entity,
        part: Part,
        now: &Moment,
        fill: impl FnOnce(&mut Vec<ResourceAttribute>),
    ) -> Resource {
        let Part { name, start_ns, points } = part;
        let attributes = self.attributes_of(Subject::Part(entity, name), now, fill);
        Resource { entity, attributes, start_ns, kernel_start_ns: start_ns, ended: false, points }
    }
}
