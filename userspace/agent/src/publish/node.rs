//! Resources of the node and its parts.

use std::sync::Arc;

use podscope_catalog::Entity;

use super::identity::identify;
use super::{Publisher, Subject};
use crate::accounting::Moment;
use crate::attribution::Identity;
use crate::node::{Node, Part, PodNetwork};
use crate::snapshot::{Resource, ResourceAttribute};

impl Publisher {
    /// The node and what belongs to it. To be called before [`Publisher::resources`], which forgets the attributes of
    /// what is no longer published.
    pub fn node(&mut self, node: &Node, processes: u64, now: &Moment) -> Vec<Resource> {
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
        for network in node.pods.all() {
            for interface in &network.interfaces {
                resources.push(self.pod_interface(network, interface, now));
            }
        }
        resources
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

    fn part(
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
