//! Puts what is known of the cluster on the resources of a collection. Pure but for its memory: resources and a view in,
//! more points and attributes out.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use podscope_catalog::{Entity, MetricId, id};
use podscope_cluster::kubelet::Whose;
use podscope_cluster::{Quantity, Resources};

use super::figures::Figure;
use super::history::History;
use super::{NodeFacts, PodFacts, View, Workloads};
use crate::accounting::Moment;
use crate::accounting::points::Points;
use crate::snapshot::{Attributes, Point, Resource, ResourceAttribute, Value};

/// Figures of which nothing newer has come for so long are not published any more.
const STALE_NS: u64 = 180_000_000_000;
/// The node in the history; containers and pods stand under their ids.
const NODE: &str = "node";

/// The metrics of one entity: the agent's own and metrics-server's.
struct Metrics {
    own_cpu: MetricId,
    own_working_set: MetricId,
    cpu: MetricId,
    cpu_difference: MetricId,
    working_set: MetricId,
    memory_difference: MetricId,
    window_and_age: Option<(MetricId, MetricId)>,
}

const CONTAINER: Metrics = Metrics {
    own_cpu: id::CONTAINER_CPU_TIME,
    own_working_set: id::CONTAINER_MEMORY_WORKING_SET,
    cpu: id::METRICS_SERVER_CONTAINER_CPU_USAGE,
    cpu_difference: id::METRICS_SERVER_CONTAINER_CPU_DIFFERENCE,
    working_set: id::METRICS_SERVER_CONTAINER_MEMORY_WORKING_SET,
    memory_difference: id::METRICS_SERVER_CONTAINER_MEMORY_DIFFERENCE,
    window_and_age: None,
};

const POD: Metrics = Metrics {
    own_cpu: id::POD_CPU_TIME,
    own_working_set: id::POD_MEMORY_WORKING_SET,
    cpu: id::METRICS_SERVER_POD_CPU_USAGE,
    cpu_difference: id::METRICS_SERVER_POD_CPU_DIFFERENCE,
    working_set: id::METRICS_SERVER_POD_MEMORY_WORKING_SET,
    memory_difference: id::METRICS_SERVER_POD_MEMORY_DIFFERENCE,
    window_and_age: Some((id::METRICS_SERVER_POD_WINDOW, id::METRICS_SERVER_POD_AGE)),
};

const OF_NODE: Metrics = Metrics {
    own_cpu: id::NODE_CPU_TIME,
    own_working_set: id::NODE_MEMORY_WORKING_SET,
    cpu: id::METRICS_SERVER_NODE_CPU_USAGE,
    cpu_difference: id::METRICS_SERVER_NODE_CPU_DIFFERENCE,
    working_set: id::METRICS_SERVER_NODE_MEMORY_WORKING_SET,
    memory_difference: id::METRICS_SERVER_NODE_MEMORY_DIFFERENCE,
    window_and_age: Some((id::METRICS_SERVER_NODE_WINDOW, id::METRICS_SERVER_NODE_AGE)),
};

/// Joins; keeps the agent's own figures of the last minutes and the attributes it has made.
#[derive(Debug)]
pub struct Join {
    node: Arc<str>,
    history: Option<History>,
    /// By pod's uid, with what they were made from.
    pods: HashMap<Arc<str>, (Arc<PodFacts>, Arc<Attributes>)>,
    /// What they were made from, and they.
    of_node: Option<(Arc<NodeFacts>, Arc<Attributes>, Arc<Attributes>)>,
    workloads: Arc<Workloads>,
    known: Option<Arc<super::Pods>>,
}

impl Join {
    /// `node`: this node's name; `compares`: metrics-server's figures may come.
    pub fn new(node: &str, compares: bool) -> Self {
        Self {
            node: node.into(),
            history: compares.then(History::default),
            pods: HashMap::new(),
            of_node: None,
            workloads: Arc::default(),
            known: None,
        }
    }

    /// What pods belong to; the same allocation for as long as nothing changes.
    pub fn workloads(&mut self, view: &View) -> Arc<Workloads> {
        if !self.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &view.pods)) {
            let of = |(uid, pod): (&Arc<str>, &Arc<PodFacts>)| (Arc::clone(uid), pod.workload.clone());
            let workloads: Workloads = view.pods.iter().map(of).collect();
            if workloads != *self.workloads {
                self.workloads = Arc::new(workloads);
            }
            self.known = Some(Arc::clone(&view.pods));
        }
        Arc::clone(&self.workloads)
    }

    /// Adds points to the resources of containers and pods, and the resources of workloads and the node.
    pub fn join(&mut self, resources: &mut Vec<Resource>, view: &View, now: &Moment) {
        if let Some(history) = &mut self.history {
            history.begin(now.unix_ns, now.monotonic_ns);
        }
        for resource in resources.iter_mut() {
            match resource.entity {
                Entity::Container => self.container(resource, view, now),
                Entity::Pod => self.pod(resource, view, now),
                _ => {}
            }
        }
        self.node(resources, view, now);
        self.infos(resources, view, now);
        if let Some(history) = &mut self.history {
            history.end();
        }
    }

    fn container(&mut self, resource: &mut Resource, view: &View, now: &Moment) {
        let attributes = Arc::clone(&resource.attributes);
        let [Some(id), Some(uid), Some(name)] =
            ["container.id", "k8s.pod.uid", "k8s.container.name"].map(|key| attributes.text(key))
        else {
            return;
        };
        let mut points = Points::default();
        if let Some(pod) = view.pods.get(uid)
            && let Some((_, wanted, current)) = pod.containers.iter().find(|(found, ..)| **found == *name)
        {
            asked_for(&mut points, wanted, current.as_ref());
        }
        if self.history.is_some()
            && let Some((namespace, pod)) = named(&attributes)
        {
            let whose = Whose::Container { namespace, pod, container: name.to_owned() };
            self.compare(&mut points, &CONTAINER, id, view.figures.all.get(&whose), &resource.points, now);
        }
        add(resource, points);
    }

    fn pod(&mut self, resource: &mut Resource, view: &View, now: &Moment) {
        let attributes = Arc::clone(&resource.attributes);
        if let (Some(uid), Some((namespace, pod))) = (attributes.text("k8s.pod.uid"), named(&attributes)) {
            let mut points = Points::default();
            let figure = view.figures.all.get(&Whose::Pod { namespace, pod });
            self.compare(&mut points, &POD, uid, figure, &resource.points, now);
            add(resource, points);
        }
    }

    /// metrics-server's figures beside the own ones, which are in `own`.
    fn compare(
        &mut self,
        points: &mut Points,
        metrics: &Metrics,
        subject: &str,
        figure: Option<&Figure>,
        own: &[Point],
        now: &Moment,
    ) {
        let Some(history) = &mut self.history else { return };
        let working_set = total(own, metrics.own_working_set).map(|bytes| bytes as u64);
        history.note(subject, total(own, metrics.own_cpu), working_set);
        let Some(figure) = figure else { return };
        let is_fresh = |at: u64| now.unix_ns.saturating_sub(at) < STALE_NS;
        if let Some(rate) = figure.cpu.filter(|rate| is_fresh(rate.end_ns)) {
            points.double(metrics.cpu, rate.cores);
            if let Some(cores) = history.cores(subject, &rate) {
                points.double(metrics.cpu_difference, rate.cores - cores);
            }
            if let Some((window, age)) = metrics.window_and_age {
                points.seconds(window, 0, rate.end_ns.saturating_sub(rate.begin_ns));
                points.seconds(age, 0, now.unix_ns.saturating_sub(rate.end_ns));
            }
        }
        if let Some((bytes, at)) = figure.working_set.filter(|(_, at)| is_fresh(*at)) {
            points.int(metrics.working_set, 0, bytes);
            if let Some(own) = history.working_set(subject, at) {
                points.signed(metrics.memory_difference, (bytes as f64 - own).round() as i64);
            }
        }
    }

    /// One for each pod: what it belongs to.
    fn infos(&mut self, resources: &mut Vec<Resource>, view: &View, now: &Moment) {
        self.pods.retain(|uid, _| view.pods.contains_key(uid));
        for (uid, pod) in &*view.pods {
            let known = self.pods.get(uid).filter(|(facts, _)| facts.workload == pod.workload);
            let attributes = match known {
                Some((_, attributes)) => Arc::clone(attributes),
                None => {
                    let attributes = Arc::new(self.info(uid, pod));
                    self.pods.insert(Arc::clone(uid), (Arc::clone(pod), Arc::clone(&attributes)));
                    attributes
                }
            };
            let mut points = Points::default();
            points.int(id::POD_INFO, 0, 1);
            resources.push(resource(Entity::Workload, attributes, points, now));
        }
    }

    fn info(&self, uid: &Arc<str>, pod: &PodFacts) -> Attributes {
        let workload = &pod.workload;
        let mut list = vec![
            ResourceAttribute::label("k8s.node.name", Arc::clone(&self.node)),
            ResourceAttribute::label("k8s.namespace.name", pod.namespace.as_str()),
            ResourceAttribute::label("k8s.pod.name", pod.name.as_str()),
            ResourceAttribute::label("k8s.pod.uid", Arc::clone(uid)),
        ];
        if !workload.kind.is_empty() {
            list.push(ResourceAttribute::label("podscope.workload.kind", Arc::clone(&workload.kind)));
            list.push(ResourceAttribute::label("podscope.workload.name", Arc::clone(&workload.name)));
        }
        if !workload.qos.is_empty() {
            list.push(ResourceAttribute::label("podscope.pod.qos_class", Arc::clone(&workload.qos)));
        }
        Attributes::new(list)
    }

    /// The node's resource, which is made here where nothing else has.
    fn node(&mut self, resources: &mut Vec<Resource>, view: &View, now: &Moment) {
        let at = resources.iter().position(|resource| resource.entity == Entity::Node);
        let at = at.unwrap_or_else(|| {
            let of_node = self.of_node.as_ref().map(|(_, plain, _)| Arc::clone(plain));
            let plain =
                || Arc::new(Attributes::new(vec![ResourceAttribute::label("k8s.node.name", self.node.clone())]));
            resources.push(resource(Entity::Node, of_node.unwrap_or_else(plain), Points::default(), now));
            resources.len() - 1
        });
        let resource = &mut resources[at];
        let mut points = Points::default();
        if let Some(facts) = &view.node {
            has(&mut points, facts);
            self.describe_node(resource, facts);
        }
        let figure = view.figures.all.get(&Whose::Node);
        self.compare(&mut points, &OF_NODE, NODE, figure, &resource.points, now);
        add(resource, points);
        if resource.points.is_empty() {
            resources.swap_remove(at);
        }
    }

    /// The node's uid and labels, over OTLP alone.
    fn describe_node(&mut self, resource: &mut Resource, facts: &Arc<NodeFacts>) {
        let plain = &resource.attributes;
        let known = self.of_node.as_ref();
        let known = known.filter(|(of, from, _)| Arc::ptr_eq(from, plain) && (Arc::ptr_eq(of, facts) || of == facts));
        if known.is_none() {
            let mut list = plain.list.clone();
            list.push(ResourceAttribute::text("k8s.node.uid", facts.uid.as_str()));
            for (key, value) in &facts.labels {
                list.push(ResourceAttribute::text(format!("k8s.node.label.{key}"), value.as_str()));
            }
            self.of_node = Some((Arc::clone(facts), Arc::clone(plain), Arc::new(Attributes::new(list))));
        }
        if let Some((_, _, described)) = &self.of_node {
            resource.attributes = Arc::clone(described);
        }
    }
}

fn resource(entity: Entity, attributes: Arc<Attributes>, points: Points, now: &Moment) -> Resource {
    let (start_ns, points) = (now.unix_ns, points.finish());
    Resource { entity, attributes, start_ns, kernel_start_ns: start_ns, ended: false, points }
}

fn add(resource: &mut Resource, points: Points) {
    resource.points.append(&mut points.finish());
    resource.points.sort_unstable_by_key(|point| (point.metric, point.combination));
}

/// Namespace and name of the pod that a resource is about.
fn named(attributes: &Attributes) -> Option<(String, String)> {
    Some((attributes.text("k8s.namespace.name")?.to_owned(), attributes.text("k8s.pod.name")?.to_owned()))
}

fn asked_for(points: &mut Points, wanted: &Resources, current: Option<&Resources>) {
    cores(points, id::K8S_CONTAINER_CPU_REQUEST_DESIRED, wanted.requests.cpu);
    cores(points, id::K8S_CONTAINER_CPU_LIMIT_DESIRED, wanted.limits.cpu);
    bytes(points, id::K8S_CONTAINER_MEMORY_REQUEST_DESIRED, wanted.requests.memory);
    bytes(points, id::K8S_CONTAINER_MEMORY_LIMIT_DESIRED, wanted.limits.memory);
    bytes(points, id::K8S_CONTAINER_EPHEMERAL_STORAGE_REQUEST, wanted.requests.ephemeral_storage);
    bytes(points, id::K8S_CONTAINER_EPHEMERAL_STORAGE_LIMIT, wanted.limits.ephemeral_storage);
    if let Some(current) = current {
        cores(points, id::K8S_CONTAINER_CPU_REQUEST_CURRENT, current.requests.cpu);
        cores(points, id::K8S_CONTAINER_CPU_LIMIT_CURRENT, current.limits.cpu);
        bytes(points, id::K8S_CONTAINER_MEMORY_REQUEST_CURRENT, current.requests.memory);
        bytes(points, id::K8S_CONTAINER_MEMORY_LIMIT_CURRENT, current.limits.memory);
    }
}

fn has(points: &mut Points, node: &NodeFacts) {
    let NodeFacts { allocatable, capacity, .. } = node;
    cores(points, id::NODE_CPU_ALLOCATABLE, allocatable.cpu);
    bytes(points, id::NODE_MEMORY_ALLOCATABLE, allocatable.memory);
    bytes(points, id::NODE_EPHEMERAL_STORAGE_ALLOCATABLE, allocatable.ephemeral_storage);
    bytes(points, id::NODE_POD_ALLOCATABLE, allocatable.pods);
    cores(points, id::NODE_CPU_CAPACITY, capacity.cpu);
    bytes(points, id::NODE_MEMORY_CAPACITY, capacity.memory);
    bytes(points, id::NODE_EPHEMERAL_STORAGE_CAPACITY, capacity.ephemeral_storage);
    bytes(points, id::NODE_POD_CAPACITY, capacity.pods);
}

fn cores(points: &mut Points, metric: MetricId, amount: Option<Quantity>) {
    if let Some(amount) = amount {
        points.double(metric, amount.as_f64());
    }
}

fn bytes(points: &mut Points, metric: MetricId, amount: Option<Quantity>) {
    points.known(metric, 0, amount.and_then(Quantity::whole));
}

/// The sum of a metric's points.
fn total(points: &[Point], metric: MetricId) -> Option<f64> {
    let of = points.iter().filter(|point| point.metric == metric).filter_map(|point| match point.value {
        Value::Int(value) => Some(value as f64),
        Value::Double(value) => Some(value),
        Value::Histogram(_) => None,
    });
    of.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests;
