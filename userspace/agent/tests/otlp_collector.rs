//! The OTLP exporter into a real collector (rotel), read back from the log in which it prints every point.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod otlp_support;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use otlp_support::receiver::Protocol;
use otlp_support::rotel::Collector;
use otlp_support::{eventually, exporter};
use podscope_abi::Histogram;
use podscope_abi::histogram::{BUCKETS, FIRST_OCTAVE, PER_OCTAVE};
use podscope_agent::export::otlp::{OtlpArgs, Tally};
use podscope_agent::snapshot::{AttributeValue, Attributes, Point, Resource, ResourceAttribute, Snapshot, Value};
use podscope_catalog::{Entity, Instrument, MetricId, Source, ValueType};

const START: u64 = 1_700_000_000_000_000_000;
const KERNEL_START: u64 = 1_600_000_000_000_000_000;
const TIME: u64 = 1_800_000_000_000_000_000;

/// One resource per entity, with every combination of every metric of the catalogue, each with a value of its own.
fn snapshot() -> Snapshot {
    let mut n = 0;
    let mut value = |metric: MetricId| {
        n += 1;
        match (metric.metric().instrument, metric.metric().value) {
            (Instrument::Histogram, _) => {
                let mut h = Histogram { zero: 3, over: 2, sum_ns: 250_000_000_000, ..Histogram::EMPTY };
                h.buckets[BUCKETS - 8] = 7;
                h.buckets[BUCKETS - 5] = n;
                Value::Histogram(Box::new(h))
            }
            (_, ValueType::Int) => Value::Int(i64::MAX - n as i64),
            (_, ValueType::Double) => Value::Double(n as f64 + 0.1),
        }
    };
    let resources = Entity::ALL.map(|entity| {
        let rows = MetricId::all().filter(|id| id.metric().entity == entity);
        let all = rows.flat_map(|metric| (0..metric.metric().combinations()).map(move |c| (metric, c as u8)));
        let points = all.map(|(metric, combination)| Point { metric, combination, value: value(metric) }).collect();
        let attributes = vec![
            ResourceAttribute::label("k8s.pod.name", format!("pod of {}", entity.name())),
            ResourceAttribute::label_int("process.pid", 40),
            ResourceAttribute::text("k8s.pod.label.app", "ä \"quoted\""),
        ];
        Resource {
            entity,
            attributes: Arc::new(Attributes::new(attributes)),
            start_ns: START,
            kernel_start_ns: KERNEL_START,
            ended: false,
            points,
        }
    });
    Snapshot { time_ns: TIME, resources: resources.into(), ..Snapshot::default() }
}

/// What the collector has to print for a snapshot.
fn expected(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for (at, resource) in snapshot.resources.iter().enumerate() {
        writeln!(out, "ResourceMetrics #{at}\nResource SchemaURL: \nResource attributes:").unwrap();
        for attribute in &resource.attributes.list {
            match &attribute.value {
                AttributeValue::Text(text) => writeln!(out, "     -> {}: Str({text})", attribute.key),
                AttributeValue::Int(number) => writeln!(out, "     -> {}: Int({number})", attribute.key),
            }
            .unwrap();
        }
        let version = env!("CARGO_PKG_VERSION");
        writeln!(out, "ScopeMetrics #0\nScopeMetrics SchemaURL: \nInstrumentationScope podscope {version}").unwrap();
        for (at, run) in resource.points.chunk_by(|a, b| a.metric == b.metric).enumerate() {
            expected_metric(&mut out, at, run);
        }
    }
    out
}

fn expected_metric(out: &mut String, at: usize, run: &[Point]) {
    let row = run[0].metric.metric();
    writeln!(out, "Metric #{at}\nDescriptor:\n     -> Name: {}\n     -> Description: ", row.name).unwrap();
    let (kind, monotonic) = match row.instrument {
        Instrument::Counter => ("Sum", Some(true)),
        Instrument::UpDownCounter => ("Sum", Some(false)),
        Instrument::Gauge => ("Gauge", None),
        Instrument::Histogram => ("ExponentialHistogram", None),
    };
    writeln!(out, "     -> Unit: {}\n     -> DataType: {kind}", row.unit).unwrap();
    if let Some(monotonic) = monotonic {
        writeln!(out, "     -> IsMonotonic: {monotonic}").unwrap();
    }
    let start = match (row.instrument, row.source) {
        (Instrument::Gauge, _) => 0,
        (_, Source::Cgroup | Source::Kernel | Source::Nvml) => KERNEL_START,
        _ => START,
    };
    if row.instrument != Instrument::Gauge {
        writeln!(out, "     -> AggregationTemporality: AGGREGATION_TEMPORALITY_CUMULATIVE").unwrap();
    }
    for (at, point) in run.iter().enumerate() {
        let shape = if row.instrument == Instrument::Histogram { "ExponentialHistogram" } else { "Number" };
        writeln!(out, "{shape}DataPoints #{at}").unwrap();
        if !row.attributes.is_empty() {
            writeln!(out, "Data point attributes:").unwrap();
        }
        for (key, value) in row.combination(usize::from(point.combination)) {
            writeln!(out, "     -> {key}: Str({value})").unwrap();
        }
        writeln!(out, "StartTimestamp: {start}\nTimestamp: {TIME}").unwrap();
        match &point.value {
            Value::Int(value) => writeln!(out, "Value: {value}").unwrap(),
            Value::Double(value) => writeln!(out, "Value: {value}").unwrap(),
            Value::Histogram(histogram) => expected_histogram(out, histogram),
        }
    }
}

fn expected_histogram(out: &mut String, h: &Histogram) {
    let mut counts = h.buckets.to_vec();
    counts.push(h.over);
    let count = h.zero + counts.iter().sum::<u64>();
    writeln!(out, "Count: {count}\nSum: {}\nBucket [0, 0], Count: {}", h.sum_ns as f64 / 1e9, h.zero).unwrap();
    let first = counts.iter().position(|&n| n > 0).unwrap();
    for (at, n) in counts.iter().enumerate().skip(first) {
        let bound = |at: usize| 2f64.powf(f64::from(FIRST_OCTAVE) + at as f64 / PER_OCTAVE as f64);
        writeln!(out, "Bucket ({}, {}], Count: {n}", bound(at), bound(at + 1)).unwrap();
    }
}

/// Rounds the bounds of buckets, which the collector computes in its own way, and keeps all other lines.
fn rounded(line: &str) -> String {
    let Some((low, high, count)) = line
        .strip_prefix("Bucket (")
        .and_then(|rest| rest.split_once("], "))
        .and_then(|(bounds, count)| bounds.split_once(", ").map(|(low, high)| (low, high, count)))
    else {
        return line.to_owned();
    };
    let round = |text: &str| format!("{:.9}", text.parse::<f64>().unwrap());
    format!("Bucket ({}, {}], {count}", round(low), round(high))
}

async fn every_point_is_read_back(protocol: Protocol) {
    let collector = Collector::start().await;
    let endpoint = match protocol {
        Protocol::Grpc => collector.grpc(),
        Protocol::Http => collector.http(),
    };
    let (handle, _board) = exporter(OtlpArgs {
        otlp_endpoint: Some(endpoint),
        otlp_protocol: Some(protocol.flag()),
        otlp_compression: Some("gzip".to_owned()),
        ..OtlpArgs::default()
    });
    let snapshot = snapshot();
    let points = snapshot.resources.iter().map(|r| r.points.len() as u64).sum();
    let expected: Vec<String> = expected(&snapshot).lines().map(rounded).collect();
    handle.offer(Arc::new(snapshot));
    assert!(handle.flush(Duration::from_secs(10)).await);
    assert_eq!(handle.stats().points, Tally { sent: points, ..Tally::default() });

    let printed = || {
        let text = collector.printed();
        let lines = text.lines().skip_while(|line| !line.starts_with("ResourceMetrics #0"));
        let lines: Vec<String> = lines.take(expected.len()).map(rounded).collect();
        (lines.len() == expected.len()).then_some(lines)
    };
    let printed = eventually("the collector's print of all points", printed).await;
    for (at, (printed, expected)) in printed.iter().zip(&expected).enumerate() {
        assert_eq!(printed, expected, "line {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_reads_every_point_over_grpc() {
    every_point_is_read_back(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_reads_every_point_over_http() {
    every_point_is_read_back(Protocol::Http).await;
}
