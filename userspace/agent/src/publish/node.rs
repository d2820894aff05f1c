//! Resources of the node and its parts.

use std::sync::Arc;

use podscope_catalog::Entity;

use super::{Publisher, Subject};
use crate::accounting::Moment;
use crate::node::Node;
use crate::snapshot::{Point, Resource, ResourceAttribute};

impl Publisher {
    /// The node and what belongs to it. To be called before [`Publisher::resources`], which forgets the attributes of
    /// what is no longer published.
    pub fn node(&mut self, node: &Node, now: &Moment) -> Vec<Resource> {
        let booted_ns = node.booted_ns();
        let mut resources = Vec::new();
        self.part(Entity::Node, "", booted_ns, node.points(), now, |_| (), &mut resources);
        resources
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are the part")]
    fn part(
        &mut self,
        entity: Entity,
        name: &str,
        start_ns: u64,
        points: Vec<Point>,
        now: &Moment,
        fill: impl FnOnce(&mut Vec<ResourceAttribute>),
        to: &mut Vec<Resource>,
    ) {
        if points.is_empty() {
            return;
        }
        let attributes = self.attributes_of(Subject::Part(entity, Arc::from(name)), now, fill);
        to.push(Resource { entity, attributes, start_ns, kernel_start_ns: start_ns, ended: false, points });
    }
}
