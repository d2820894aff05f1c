use podscope_cluster::kubelet::parse;
use podscope_cluster::object::List;
use podscope_cluster::{Node, Pod};

use super::*;
use crate::cluster::{Figures, Pods};

const SECOND: u64 = 1_000_000_000;
/// The recorded pod.
const UID: &str = "3893177f-0030-40fc-a726-fc1554e787b4";
const POD_NAME: &str = "web-5d9f7c6b8-abcde";

fn view() -> View {
    let pods: List<Pod> = serde_json::from_str(include_str!("../../../../cluster/testdata/api_v1_pods.json")).unwrap();
    let nodes: List<Node> =
        serde_json::from_str(include_str!("../../../../cluster/testdata/api_v1_nodes.json")).unwrap();
    let facts = |pod: &Pod| (Arc::from(pod.metadata.uid.as_str()), Arc::new(PodFacts::of(pod, "node1")));
    let pods: Pods = pods.items.iter().map(facts).collect();
    View { pods: Arc::new(pods), node: Some(Arc::new(NodeFacts::of(&nodes.items[0]))), figures: Arc::default() }
}

fn attributes(more: &[(&'static str, &str)]) -> Arc<Attributes> {
    let pod = [("k8s.namespace.name", "default"), ("k8s.pod.name", POD_NAME), ("k8s.pod.uid", UID)];
    let list = pod.iter().chain(more).map(|(key, value)| ResourceAttribute::label(key, *value)).collect();
    Arc::new(Attributes::new(list))
}

/// The resources of a collection at `second`: the container uses 0.25 cores, its pod 0.3.
fn resources(second: u64, now: &Moment) -> Vec<Resource> {
    let mut app = Points::default();
    app.double(id::CONTAINER_CPU_TIME, second as f64 * 0.25).int(id::CONTAINER_MEMORY_WORKING_SET, 0, 200_000);
    let mut pod = Points::default();
    pod.double(id::POD_CPU_TIME, second as f64 * 0.3).int(id::POD_MEMORY_WORKING_SET, 0, 700_000);
    let container = attributes(&[("k8s.container.name", "app"), ("container.id", "c0")]);
    vec![resource(Entity::Container, container, app, now), resource(Entity::Pod, attributes(&[]), pod, now)]
}

fn moment(second: u64) -> Moment {
    let unix_ns = 1_795_169_500 * SECOND + second * SECOND;
    Moment { unix_ns, boot_ns: second * SECOND, monotonic_ns: second * SECOND }
}

fn value(resource: &Resource, metric: MetricId) -> Option<f64> {
    total(&resource.points, metric)
}

#[test]
fn requests_limits_workloads_and_the_node_come_from_the_api() {
    let (mut join, view, now) = (Join::new("node1", false), view(), moment(0));
    let mut all = resources(0, &now);
    join.join(&mut all, &view, &now);
    let [app, pod, node, ..] = &all[..] else { panic!("{all:?}") };
    for (metric, expected) in [
        (id::K8S_CONTAINER_CPU_REQUEST_DESIRED, 0.1),
        (id::K8S_CONTAINER_CPU_LIMIT_CURRENT, 0.2),
        (id::K8S_CONTAINER_MEMORY_REQUEST_CURRENT, f64::from(32 << 20)),
        (id::K8S_CONTAINER_MEMORY_LIMIT_DESIRED, f64::from(64 << 20)),
    ] {
        assert_eq!(value(app, metric), Some(expected), "{}", metric.metric().name);
    }
    assert!(app.points.is_sorted_by_key(|point| (point.metric, point.combination)));
    assert_eq!(value(app, id::K8S_CONTAINER_EPHEMERAL_STORAGE_LIMIT), None, "nothing was said of it");
    assert_eq!(pod.points.len(), 2, "nobody compares");

    assert_eq!(value(node, id::NODE_CPU_ALLOCATABLE), Some(2.0));
    assert_eq!(value(node, id::NODE_MEMORY_CAPACITY), Some(24_684_092.0 * 1024.0));
    assert_eq!(value(node, id::NODE_POD_ALLOCATABLE), Some(110.0));
    assert_eq!(node.attributes.text("k8s.node.uid"), Some("de3587ac-9472-41bb-9fb3-14b4a1beb083"));
    assert_eq!(node.attributes.text("k8s.node.label.kubernetes.io/arch"), Some("amd64"));
    assert!(node.attributes.list.iter().filter(|attribute| attribute.label).count() == 1, "labels are Prometheus's");

    let infos: Vec<_> = all.iter().filter(|resource| resource.entity == Entity::Workload).collect();
    assert_eq!(infos.len(), 2);
    let info = infos.iter().find(|info| info.attributes.text("k8s.pod.uid") == Some(UID)).unwrap();
    assert_eq!(info.attributes.text("podscope.pod.qos_class"), Some("Burstable"));
    assert_eq!(value(info, id::POD_INFO), Some(1.0));

    // The same attributes for as long as nothing changes: their encoded form is kept with them.
    let mut again = resources(5, &moment(5));
    join.join(&mut again, &view, &moment(5));
    let of_node = again.iter().find(|resource| resource.entity == Entity::Node).unwrap();
    assert!(Arc::ptr_eq(&of_node.attributes, &node.attributes));
    assert!(again.iter().any(|resource| Arc::ptr_eq(&resource.attributes, &info.attributes)));
}

#[test]
fn nothing_is_added_without_a_cluster() {
    let (mut join, now) = (Join::new("node1", false), moment(0));
    let mut all = resources(0, &now);
    join.join(&mut all, &View::default(), &now);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|resource| resource.points.len() == 2));
}

/// metrics-server says 0.5 cores of a container that uses 0.25, and 241,664 bytes of one that holds 200,000.
#[test]
fn metrics_servers_figures_stand_beside_the_own_with_the_difference() {
    let recorded = include_str!("../../../../cluster/testdata/kubelet-metrics-resource.txt");
    let page = |app: &str, pod: &str| {
        let app_line = format!("container=\"app\",namespace=\"default\",pod=\"{POD_NAME}\"}} {app}");
        let text = recorded
            .replace(
                &format!("container=\"app\",namespace=\"default\",pod=\"{POD_NAME}\"}} 0.014247752 1795169582018"),
                &app_line,
            )
            .replace("0.056362573 1795169570712", pod);
        parse(&text)
    };
    let first = Figures::of_kubelet(page("1.0 1795169582018", "1.0 1795169570712"), &Figures::default(), 0);
    let second = Figures::of_kubelet(page("8.5 1795169597018", "4.0 1795169585712"), &first, 0);
    let mut view = view();
    view.figures = Arc::new(second);

    let mut join = Join::new("node1", true);
    let mut all = Vec::new();
    for step in 0..=20 {
        let now = moment(step * 5);
        all = resources(step * 5, &now);
        join.join(&mut all, &view, &now);
    }
    let [app, pod, ..] = &all[..] else { panic!("{all:?}") };
    let near = |found: Option<f64>, expected: f64| {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    };
    near(value(app, id::METRICS_SERVER_CONTAINER_CPU_USAGE), 0.5);
    near(value(app, id::METRICS_SERVER_CONTAINER_CPU_DIFFERENCE), 0.25);
    near(value(app, id::METRICS_SERVER_CONTAINER_MEMORY_WORKING_SET), 241_664.0);
    near(value(app, id::METRICS_SERVER_CONTAINER_MEMORY_DIFFERENCE), 41_664.0);
    near(value(pod, id::METRICS_SERVER_POD_CPU_USAGE), 0.2);
    near(value(pod, id::METRICS_SERVER_POD_CPU_DIFFERENCE), -0.1);
    near(value(pod, id::METRICS_SERVER_POD_MEMORY_DIFFERENCE), 12_704.0);
    near(value(pod, id::METRICS_SERVER_POD_WINDOW), 15.0);
    near(value(pod, id::METRICS_SERVER_POD_AGE), 600.0 - 585.712);

    // Nothing new for minutes: old figures are no figures.
    let late = moment(600);
    let mut all = resources(600, &late);
    join.join(&mut all, &view, &late);
    assert_eq!(value(&all[0], id::METRICS_SERVER_CONTAINER_CPU_USAGE), None);
    assert_eq!(value(&all[0], id::METRICS_SERVER_CONTAINER_MEMORY_WORKING_SET), None);
}

#[test]
fn workloads_are_another_allocation_only_when_they_are_others() {
    let (mut join, mut view) = (Join::new("node1", false), view());
    let first = join.workloads(&view);
    assert_eq!(&*first[UID].qos, "Burstable");
    let mut pods = (*view.pods).clone();
    let mut changed = (*pods[UID]).clone();
    changed.is_running = false;
    pods.insert(UID.into(), Arc::new(changed.clone()));
    view.pods = Arc::new(pods.clone());
    assert!(Arc::ptr_eq(&join.workloads(&view), &first));
    changed.workload.kind = "Deployment".into();
    pods.insert(UID.into(), Arc::new(changed));
    view.pods = Arc::new(pods);
    assert!(!Arc::ptr_eq(&join.workloads(&view), &first));
}
