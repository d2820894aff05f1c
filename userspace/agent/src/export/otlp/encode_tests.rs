//! The truth here is a request built from the generated types of `opentelemetry-proto` and encoded by prost.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use podscope_catalog::{Entity, MetricId, ValueType, id};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::snapshot::{ResourceAttribute, Snapshot};

const NO_LIMIT: usize = usize::MAX;

/// All requests of a snapshot: bytes and points of each.
fn requests(snapshot: &Snapshot, limit: usize) -> Vec<(Vec<u8>, u64)> {
    let batch = Batch::new(Arc::new(snapshot.clone()), |_| true);
    let mut at = Cursor::default();
    let mut requests = Vec::new();
    while batch.get(at.resource).is_some() {
        let mut body = Vec::new();
        let filled = fill(&batch, at, limit, &mut body).unwrap();
        assert!(filled.next > at, "no progress at {at:?}");
        at = filled.next;
        requests.push((body, filled.points));
    }
    requests
}

fn text(text: &str) -> Option<common::AnyValue> {
    Some(common::AnyValue { value: Some(common::any_value::Value::StringValue(text.to_owned())) })
}

fn int(number: i64) -> Option<common::AnyValue> {
    Some(common::AnyValue { value: Some(common::any_value::Value::IntValue(number)) })
}

fn pair(key: &str, value: Option<common::AnyValue>) -> common::KeyValue {
    common::KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// The data model's `ExponentialHistogramDataPoint`, without regard to how the encoder does it.
fn expected_histogram(h: &Histogram) -> otlp::ExponentialHistogramDataPoint {
    let mut counts = h.buckets.to_vec();
    counts.push(h.over);
    let leading = counts.iter().take_while(|&&n| n == 0).count();
    while counts.last() == Some(&0) {
        counts.pop();
    }
    let positive = (!counts.is_empty())
        .then(|| Buckets { offset: -160 + leading as i32, bucket_counts: counts[leading..].to_vec() });
    otlp::ExponentialHistogramDataPoint {
        count: h.zero + h.over + h.buckets.iter().sum::<u64>(),
        sum: Some(h.sum_ns as f64 / 1e9),
        scale: 3,
        zero_count: h.zero,
        zero_threshold: 1.0 / 1_048_576.0,
        positive,
        ..Default::default()
    }
}

fn expected_metric(snapshot: &Snapshot, of: &Resource, points: &[Point]) -> otlp::Metric {
    let row = points[0].metric.metric();
    let start = if row.instrument == Instrument::Gauge { 0 } else { of.start(row.source) };
    let attributes =
        |p: &Point| row.combination(usize::from(p.combination)).map(|(k, v)| pair(k, text(v))).collect::<Vec<_>>();
    let numbers = || {
        let value = |p: &Point| match p.value {
            Value::Int(n) => otlp::number_data_point::Value::AsInt(n),
            Value::Double(n) => otlp::number_data_point::Value::AsDouble(n),
            Value::Histogram(_) => panic!("{} is no histogram", row.name),
        };
        let point = |p: &Point| otlp::NumberDataPoint {
            attributes: attributes(p),
            start_time_unix_nano: start,
            time_unix_nano: snapshot.time_ns,
            value: Some(value(p)),
            ..Default::default()
        };
        points.iter().map(point).collect()
    };
    let temporality = otlp::AggregationTemporality::Cumulative as i32;
    let sum = |is_monotonic| {
        otlp::metric::Data::Sum(otlp::Sum {
            data_points: numbers(),
            aggregation_temporality: temporality,
            is_monotonic,
        })
    };
    let data = match row.instrument {
        Instrument::Gauge => otlp::metric::Data::Gauge(otlp::Gauge { data_points: numbers() }),
        Instrument::Counter => sum(true),
        Instrument::UpDownCounter => sum(false),
        Instrument::Histogram => {
            let data_points = points.iter().map(|p| {
                let Value::Histogram(h) = &p.value else { panic!("{} is a histogram", row.name) };
                otlp::ExponentialHistogramDataPoint {
                    attributes: attributes(p),
                    start_time_unix_nano: start,
                    time_unix_nano: snapshot.time_ns,
                    ..expected_histogram(h)
                }
            });
            otlp::metric::Data::ExponentialHistogram(otlp::ExponentialHistogram {
                data_points: data_points.collect(),
                aggregation_temporality: temporality,
            })
        }
    };
    otlp::Metric { name: row.name.to_owned(), unit: row.unit.to_owned(), data: Some(data), ..Default::default() }
}

fn expected_resource(snapshot: &Snapshot, of: &Resource) -> otlp::ResourceMetrics {
    let attributes = of.attributes.list.iter().map(|a| match &a.value {
        AttributeValue::Text(value) => pair(&a.key, text(value)),
        AttributeValue::Int(value) => pair(&a.key, int(*value)),
    });
    let runs = of.points.chunk_by(|a, b| a.metric == b.metric);
    otlp::ResourceMetrics {
        resource: Some(opentelemetry_proto::tonic::resource::v1::Resource {
            attributes: attributes.collect(),
            ..Default::default()
        }),
        scope_metrics: vec![otlp::ScopeMetrics {
            scope: Some(common::InstrumentationScope {
                name: "podscope".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            }),
            metrics: runs.map(|run| expected_metric(snapshot, of, run)).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Resources without points are not sent.
fn expected(snapshot: &Snapshot) -> Vec<otlp::ResourceMetrics> {
    let resources = snapshot.resources.iter().filter(|r| !r.points.is_empty());
    resources.map(|r| expected_resource(snapshot, r)).collect()
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let some = prop::collection::vec((0..BUCKETS, 1..u64::from(u32::MAX)), 0..20);
    (some, 0..3u64, 0..3u64, any::<u32>()).prop_map(|(some, zero, over, sum)| {
        let mut h = Histogram { zero, over, sum_ns: u64::from(sum) << 20, ..Histogram::EMPTY };
        some.into_iter().for_each(|(at, n)| h.buckets[at] = n);
        h
    })
}

/// Any point that the catalogue allows.
fn point() -> impl Strategy<Value = Point> {
    (0..METRICS.len(), any::<prop::sample::Index>(), any::<i64>(), -1e15..1e15f64, histogram()).prop_map(
        |(row, combination, int, double, histogram)| {
            let metric = MetricId(row as u16);
            let value = match (metric.metric().instrument, metric.metric().value) {
                (Instrument::Histogram, _) => Value::Histogram(Box::new(histogram)),
                (_, ValueType::Int) => Value::Int(int),
                (_, ValueType::Double) => Value::Double(double),
            };
            Point { metric, combination: combination.index(metric.metric().combinations()) as u8, value }
        },
    )
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let attribute = (
        "[a-z.]{1,12}",
        prop_oneof![
            ".{0,40}".prop_map(|text| AttributeValue::Text(text.into())),
            any::<i64>().prop_map(AttributeValue::Int),
        ],
    );
    let attributes = prop::collection::vec(attribute, 0..6);
    (attributes, prop::collection::vec(point(), 0..25), any::<[u64; 2]>()).prop_map(
        |(attributes, mut points, starts)| {
            points.sort_by_key(|p| (p.metric, p.combination));
            points.dedup_by_key(|p| (p.metric, p.combination));
            let list =
                attributes.into_iter().map(|(key, value)| ResourceAttribute { key: key.into(), value, label: true });
            Resource {
                entity: Entity::Process,
                attributes: Arc::new(Attributes::new(list.collect())),
                start_ns: starts[0],
                kernel_start_ns: starts[1],
                ended: false,
                points,
            }
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (any::<u64>(), prop::collection::vec(any_resource(), 0..8)).prop_map(|(time_ns, resources)| Snapshot {
        time_ns,
        resources,
        ..Snapshot::default()
    })
}

proptest! {
    #[test]
    fn bytes_are_those_of_prost(snapshot in snapshot()) {
        let points: usize = snapshot.resources.iter().map(|r| r.points.len()).sum();
        let expected = ExportMetricsServiceRequest { resource_metrics: expected(&snapshot) };
        // Twice: the second time from the encoded attributes that the first one left behind.
        for _ in 0..2 {
            let requests = requests(&snapshot, NO_LIMIT);
            prop_assert!(requests.len() <= 1);
            let (body, counted) = requests.first().cloned().unwrap_or_default();
            prop_assert_eq!(&ExportMetricsServiceRequest::decode(&*body).unwrap(), &expected);
            prop_assert_eq!(body, expected.encode_to_vec());
            prop_assert_eq!(counted, points as u64);
        }
    }

    #[test]
    fn split_requests_keep_to_the_limit_and_lose_nothing(snapshot in snapshot(), limit in 0..6000usize) {
        let mut together = Vec::new();
        for (body, counted) in requests(&snapshot, limit) {
            let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
            prop_assert_eq!(counted, points(&request));
            prop_assert!(body.len() <= limit || counted <= 1, "{} bytes with {} points", body.len(), counted);
            together.extend(request.resource_metrics);
        }
        let whole = expected(&snapshot);
        let too_large = |r: &otlp::ResourceMetrics| ExportMetricsServiceRequest { resource_metrics: vec![r.clone()] }.encoded_len() > limit;
        if !whole.iter().any(too_large) {
            prop_assert_eq!(together, whole, "a resource that fits is never split");
        } else {
            let all = |r: &[otlp::ResourceMetrics]| r.iter().flat_map(data_points).collect::<Vec<_>>();
            prop_assert_eq!(all(&together), all(&whole));
        }
    }
}

/// Every data point with what stands around it, so that differently grouped requests can be compared.
fn data_points(of: &otlp::ResourceMetrics) -> Vec<String> {
    let mut all = Vec::new();
    for metric in of.scope_metrics.iter().flat_map(|s| &s.metrics) {
        let around = format!("{:?} {} {}", of.resource, metric.name, metric.unit);
        match metric.data.as_ref().unwrap() {
            otlp::metric::Data::Gauge(d) => all.extend(d.data_points.iter().map(|p| format!("{around} {p:?}"))),
            otlp::metric::Data::Sum(d) => {
                let kind = (d.aggregation_temporality, d.is_monotonic);
                all.extend(d.data_points.iter().map(|p| format!("{around} {kind:?} {p:?}")));
            }
            otlp::metric::Data::ExponentialHistogram(d) => {
                let kind = d.aggregation_temporality;
                all.extend(d.data_points.iter().map(|p| format!("{around} {kind} {p:?}")));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    all
}

fn points(request: &ExportMetricsServiceRequest) -> u64 {
    request.resource_metrics.iter().map(|r| data_points(r).len() as u64).sum()
}

fn one_resource(points: Vec<Point>) -> Snapshot {
    let resource = Resource {
        entity: Entity::Container,
        attributes: Arc::new(Attributes::new(vec![ResourceAttribute::label("container.id", "c1")])),
        start_ns: 10,
        kernel_start_ns: 5,
        ended: false,
        points,
    };
    Snapshot { time_ns: 20, resources: vec![resource], ..Snapshot::default() }
}

#[test]
fn values_over_the_top_octave_stand_in_the_bucket_above() {
    let mut h = Histogram { over: 2, zero: 1, sum_ns: 300_000_000_000, ..Histogram::EMPTY };
    h.buckets[BUCKETS - 2] = 4;
    let metric = id::CONTAINER_RUN_QUEUE_WAIT;
    let points = vec![Point { metric, combination: 0, value: Value::Histogram(Box::new(h)) }];
    let (body, _) = requests(&one_resource(points), NO_LIMIT).remove(0);
    let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
    let Some(otlp::metric::Data::ExponentialHistogram(data)) =
        &request.resource_metrics[0].scope_metrics[0].metrics[0].data
    else {
        panic!("no exponential histogram")
    };
    let point = &data.data_points[0];
    let buckets = point.positive.as_ref().unwrap();
    assert_eq!(buckets.bucket_counts, [4, 0, 2]);
    // Bucket i holds (2^(i/8), 2^((i+1)/8)]: the last one begins at 64 s.
    assert_eq!(f64::from(buckets.offset + 2) / 8.0, 64f64.log2());
    assert_eq!(point.count, point.zero_count + buckets.bucket_counts.iter().sum::<u64>());
    assert_eq!(point.sum, Some(300.0));
}

#[test]
fn what_does_not_fit_the_catalogue_is_left_out_and_not_counted() {
    let good = Point { metric: id::CONTAINER_MEMORY_USAGE, combination: 0, value: Value::Int(7) };
    let wrong = [
        Point { metric: MetricId(u16::MAX), ..good.clone() },
        Point { combination: 200, ..good.clone() },
        Point { value: Value::Histogram(Box::new(Histogram::EMPTY)), ..good.clone() },
        Point { metric: id::CONTAINER_RUN_QUEUE_WAIT, ..good.clone() },
    ];
    assert_eq!(requests(&one_resource(wrong.to_vec()), NO_LIMIT), [(Vec::new(), 0)]);
    let mut mixed = wrong.to_vec();
    mixed.insert(2, good);
    let (body, counted) = requests(&one_resource(mixed), NO_LIMIT).remove(0);
    assert_eq!(counted, 1);
    assert_eq!(points(&ExportMetricsServiceRequest::decode(&*body).unwrap()), 1);
}
