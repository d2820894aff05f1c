//! The running agent's points in a real collector, beside its own `/metrics`.

use std::collections::BTreeMap;

use podscope_catalog::prometheus::{family_name, label_name};
use podscope_catalog::{Instrument, METRICS, Metric, Source};
use xtask::rig::Container;

use crate::otlp_support::rotel::Collector;
use crate::support::agent::Agent;
use crate::support::kernel::{freeze, thaw};
use crate::support::page::Page;
use crate::support::{eventually, pod, rig, script, turn};

type Texts = BTreeMap<String, String>;

/// One point as the collector printed it.
#[derive(Clone, Debug, Default)]
struct Point {
    resource: Texts,
    metric: String,
    shape: String,
    temporality: String,
    attributes: Texts,
    start: u64,
    time: u64,
    /// Of a histogram its count and sum.
    values: Vec<f64>,
}

impl Point {
    fn row(&self) -> &'static Metric {
        METRICS.iter().find(|row| row.name == self.metric).unwrap_or_else(|| panic!("{} is no metric", self.metric))
    }

    fn series(&self) -> (Texts, String, Texts) {
        (self.resource.clone(), self.metric.clone(), self.attributes.clone())
    }
}

/// Reads back what the collector prints. `-> key: value` belongs to the heading before it.
fn read(printed: &str) -> Vec<Point> {
    let (mut points, mut now, mut in_resource, mut in_point) = (Vec::new(), Point::default(), false, false);
    for line in printed.lines().map(str::trim) {
        if line.starts_with("ResourceMetrics #") {
            (now, in_resource, in_point) = (Point::default(), true, false);
        } else if line.starts_with("Metric #") {
            (now.attributes, in_resource, in_point) = (Texts::new(), false, false);
        } else if line.contains("DataPoints #") {
            (now.attributes, now.values, in_point) = (Texts::new(), Vec::new(), true);
        } else if let Some((key, value)) = line.strip_prefix("-> ").and_then(|line| line.split_once(": ")) {
            let value = value.split_once('(').map_or(value, |(_, value)| value.trim_end_matches(')')).to_owned();
            match (key, in_resource, in_point) {
                (_, true, _) => drop(now.resource.insert(key.to_owned(), value)),
                (_, _, true) => drop(now.attributes.insert(key.to_owned(), value)),
                ("Name", ..) => now.metric = value,
                ("DataType", ..) => now.shape = value,
                ("AggregationTemporality", ..) => now.temporality = value,
                _ => {}
            }
        } else if let Some((key, value)) = line.split_once(": ") {
            match key {
                "StartTimestamp" => now.start = value.parse().unwrap(),
                "Timestamp" => now.time = value.parse().unwrap(),
                "Value" => now.values.push(value.parse().unwrap()),
                "Count" => now.values.push(value.parse().unwrap()),
                "Sum" => {
                    now.values.push(value.parse().unwrap());
                    points.push(now.clone());
                }
                _ => {}
            }
            if key == "Value" {
                points.push(now.clone());
            }
        }
    }
    points
}

/// What `/metrics` says of a point.
fn on_page(page: &Page, point: &Point) -> Vec<Option<f64>> {
    const LABELS: [&str; 9] = [
        "k8s.node.name",
        "k8s.namespace.name",
        "k8s.pod.name",
        "k8s.pod.uid",
        "k8s.container.name",
        "container.id",
        "system.device",
        "process.executable.name",
        "process.pid",
    ];
    let row = point.row();
    let mut labels: Vec<(String, String)> =
        point.attributes.iter().map(|(key, value)| (label_name(key), value.clone())).collect();
    labels.extend(LABELS.iter().map(|key| (label_name(key), point.resource.get(*key).cloned().unwrap_or_default())));
    let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let name = family_name(row);
    if row.instrument == Instrument::Histogram {
        return ["_count", "_sum"].map(|end| page.get(&format!("{name}{end}"), &labels)).into();
    }
    vec![page.get(&name, &labels)]
}

/// The last points of a container's series, with the first ones' start times.
fn last_of(points: &[Point], container: &Container) -> BTreeMap<(Texts, String, Texts), Point> {
    let id = Some(container.id());
    let of_container = points.iter().filter(|point| point.resource.get("container.id").map(String::as_str) == id);
    of_container.map(|point| (point.series(), point.clone())).collect()
}

fn check_values(page: &Page, last: &BTreeMap<(Texts, String, Texts), Point>) {
    let mut compared = 0;
    // Time goes on for a frozen container, and so does its pressure: its tasks are still waiting. What it uses falls to
    // nothing, and the kernel still frees what it holds of its memory.
    let moves = ["uptime", ".pressure.time", ".memory.usage", "container.cpu.usage"];
    let stands = |point: &&Point| {
        !point.metric.contains("container.memory.") && !moves.iter().any(|end| point.metric.ends_with(end))
    };
    for point in last.values().filter(stands) {
        let published = on_page(page, point);
        let sent: Vec<Option<f64>> = point.values.iter().copied().map(Some).collect();
        assert_eq!(published, sent, "{point:#?}");
        compared += 1;
    }
    println!("otlp: {compared} series of the container are the same on both ways");
    assert!(compared > 60, "only {compared} series");
}

/// Shapes, and start times that stay.
fn check_times(all: &[Point], container: &Container) {
    let mut starts = BTreeMap::new();
    for point in
        all.iter().filter(|point| point.resource.get("container.id").map(String::as_str) == Some(container.id()))
    {
        let row = point.row();
        let (shape, start) = match row.instrument {
            Instrument::Counter | Instrument::UpDownCounter => ("Sum", point.start),
            Instrument::Gauge => ("Gauge", 0),
            Instrument::Histogram => ("ExponentialHistogram", point.start),
        };
        assert_eq!((point.shape.as_str(), point.start), (shape, start), "{point:#?}");
        if row.instrument == Instrument::Gauge {
            continue;
        }
        assert_eq!(point.temporality, "AGGREGATION_TEMPORALITY_CUMULATIVE", "{point:#?}");
        assert!(point.start > 0 && point.start <= point.time, "{point:#?}");
        let first = *starts.entry(point.series()).or_insert(point.start);
        assert_eq!(point.start, first, "the start of a series has moved: {point:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_what_metrics_says_pod_by_pod() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "sent").await;
    let container = script(&pod, "work", "podscope-load spin 0 & podscope-load forks 0").await;
    let collector = Collector::start().await;
    let agent = Agent::beside(&rig, &["--otlp-endpoint", &collector.grpc(), "--otlp-protocol", "grpc"]);
    let labels = [("container_id", container.id()), ("k8s_pod_name", "sent")];
    eventually("the container has its name", || agent.page().get("podscope_container_process_count", &labels));
    agent.collections(4);
    freeze(&[&container]);
    let page = agent.settled();
    agent.collections(2);
    agent.becomes("otlp", "up");

    let all = eventually("the collector has printed the last collections", || {
        let all = read(&collector.printed());
        let newest = |points: &[Point]| points.iter().map(|point| point.time).max();
        let (had, _) = (newest(&all), agent.collections(2));
        let more = read(&collector.printed());
        (newest(&more) > had).then_some(more)
    });
    let last = last_of(&all, &container);
    check_values(&page, &last);
    check_times(&all, &container);

    // Who it is stands on the resource, each as its own type.
    let text = |point: &Point, key: &str| point.resource.get(key).cloned().unwrap_or_default();
    let spinner =
        last.values().find(|point| point.metric == "process.cpu.time" && point.resource.contains_key("process.pid"));
    let spinner = spinner.expect("a process's CPU time");
    for (key, value) in [
        ("k8s.namespace.name", "it"),
        ("k8s.pod.name", "sent"),
        ("k8s.pod.uid", pod.uid()),
        ("k8s.container.name", "work"),
        ("container.id", container.id()),
    ] {
        assert_eq!(text(spinner, key), value);
    }
    assert!(collector.printed().contains(&format!("-> process.pid: Int({})", text(spinner, "process.pid"))));
    // What the kernel keeps for the container began with it, before the agent; what the agent adds up began later.
    let start = |source: Source| {
        last.values().filter(move |point| point.row().source == source && point.start > 0).map(|p| p.start)
    };
    assert!(start(Source::Cgroup).max() < start(Source::Books).min());
    let waits = last.values().find(|point| point.metric == "podscope.container.run_queue.wait").expect("the histogram");
    assert!(waits.values[0] > 100.0 && waits.values[1] > 0.0, "{waits:#?}");
    assert!(all.iter().any(|point| point.metric == "k8s.pod.cpu.time" && text(point, "k8s.pod.name") == "sent"));

    // What was counted as sent has come.
    let status = agent.status();
    assert_eq!((&status["export"]["dropped"], &status["export"]["failed"]), (&0.into(), &0.into()), "{status}");
    thaw(&[&container]);
}
