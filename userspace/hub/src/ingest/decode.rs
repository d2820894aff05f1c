//! From an OTLP request to a batch. No clock, no channel, no database.
//!
//! Source: OpenTelemetry protocol, `metrics/v1/metrics.proto`; metrics data model.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric as Otlp, NumberDataPoint, metric,
    number_data_point,
};
use podscope_catalog as catalog;

use super::{Batch, Sample};
use crate::store::mark::Kind;
use crate::store::{Entity, Metric};

/// `DataPointFlags::NO_RECORDED_VALUE_MASK`
const NO_VALUE: u32 = 1;
/// Attributes longer than this, as JSON, make a point refused.
const LONGEST: usize = 16 * 1024;
/// Buckets of a histogram beyond this make it refused.
const BUCKETS: usize = 1_024;

/// The catalogue's rows, by name; the same name may stand for several entities.
static CATALOGUE: LazyLock<HashMap<&'static str, Vec<&'static catalog::Metric>>> = LazyLock::new(|| {
    let mut rows: HashMap<_, Vec<_>> = HashMap::new();
    catalog::METRICS.iter().for_each(|row| rows.entry(row.name).or_default().push(row));
    rows
});

/// Takes a request apart.
pub fn decode(request: &ExportMetricsServiceRequest) -> Batch {
    let mut decoder = Decoder::default();
    for resource in &request.resource_metrics {
        let attributes = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let mut of = Resource::new(attributes, decoder.source(attributes));
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            decoder.metric(&mut of, metric);
        }
    }
    decoder.batch
}

/// A resource, and its entities by sort.
struct Resource<'a> {
    attributes: BTreeMap<&'a str, &'a AnyValue>,
    source: u32,
    entities: HashMap<&'static str, u32>,
}

impl<'a> Resource<'a> {
    fn new(attributes: &'a [KeyValue], source: u32) -> Self {
        let pairs = attributes.iter().filter_map(|pair| Some((pair.key.as_str(), pair.value.as_ref()?)));
        Self { attributes: pairs.collect(), source, entities: HashMap::new() }
    }

    fn text(&self, keys: &[&str]) -> String {
        let text = |key: &&str| match &self.attributes.get(key)?.value {
            Some(any_value::Value::StringValue(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        keys.iter().find_map(text).unwrap_or_default()
    }

    /// The sort of entity that a metric's points belong to.
    fn sort(&self, metric: &str) -> Option<catalog::Entity> {
        let rows = CATALOGUE.get(metric)?;
        // Of the rows with that name, the one whose labels the resource has most of, and no more than it has.
        let fits = |row: &&&catalog::Metric| {
            row.entity.labels().last().is_none_or(|last| self.attributes.contains_key(last)) || rows.len() == 1
        };
        rows.iter().filter(fits).max_by_key(|row| row.entity.labels().len()).map(|row| row.entity)
    }

    /// The sort of a resource that is not of the catalogue, by what it has.
    fn guess(&self) -> &'static str {
        use catalog::Entity as E;
        let sorts = [
            ("process.pid", E::Process),
            ("process.executable.name", E::Executable),
            ("k8s.container.name", E::Container),
            ("container.id", E::Container),
            ("k8s.pod.uid", E::Pod),
            ("k8s.pod.name", E::Pod),
            ("k8s.node.name", E::Node),
            ("host.name", E::Node),
        ];
        let found = sorts.iter().find(|(key, _)| self.attributes.contains_key(key));
        found.map_or("resource", |(_, sort)| sort.name())
    }

    fn entity(&self, sort: Option<catalog::Entity>) -> Entity {
        let kind = sort.map_or_else(|| self.guess(), catalog::Entity::name);
        let identifies = |key: &&&str| sort.is_none_or(|sort| sort.labels().contains(*key));
        let id = crate::store::id(|hasher| {
            hasher.update(kind.as_bytes());
            for key in self.attributes.keys().filter(identifies) {
                field(hasher, key);
                field(hasher, &json(self.attributes[key]).to_string());
            }
        });
        let (kinds, names) = (self.text(&["podscope.workload.kind"]), self.text(&["podscope.workload.name"]));
        let attributes: serde_json::Map<String, serde_json::Value> =
            self.attributes.iter().map(|(key, value)| ((*key).to_owned(), json(value))).collect();
        let pid = match self.attributes.get("process.pid").and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::IntValue(pid)) => *pid,
            _ => 0,
        };
        Entity {
            id,
            kind,
            node: self.text(&["k8s.node.name", "host.name"]),
            namespace: self.text(&["k8s.namespace.name"]),
            workload: if names.is_empty() { String::new() } else { format!("{kinds}/{names}") },
            pod: self.text(&["k8s.pod.name"]),
            container: self.text(&["k8s.container.name", "container.name"]),
            vm: self.text(&["podscope.vm.name"]),
            executable: self.text(&["process.executable.name"]),
            pid,
            attributes: serde_json::Value::Object(attributes).to_string(),
        }
    }
}

/// Writes a text so that two of them are never taken for another two.
fn field(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

fn json(value: &AnyValue) -> serde_json::Value {
    use any_value::Value as V;
    match &value.value {
        None => serde_json::Value::Null,
        Some(V::StringValue(text)) => text.clone().into(),
        Some(V::BoolValue(value)) => (*value).into(),
        Some(V::IntValue(value)) => (*value).into(),
        Some(V::DoubleValue(value)) => (*value).into(),
        Some(V::ArrayValue(list)) => list.values.iter().map(flat).collect(),
        Some(other) => format!("{other:?}").into(),
    }
}

/// A value within a list; lists within lists are written out, so that nobody's nesting is followed.
fn flat(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        Some(any_value::Value::ArrayValue(_)) => serde_json::Value::Null,
        _ => json(value),
    }
}

#[derive(Default)]
struct Decoder {
    batch: Batch,
    metrics: HashMap<Metric, u32>,
    sources: HashMap<String, u32>,
}

/// A metric that points are being taken from.
struct Series<'a> {
    name: &'a str,
    unit: &'a str,
    kind: Kind,
    sort: Option<catalog::Entity>,
    description: &'a str,
}

/// What all kinds of points have.
struct Point<'a> {
    attributes: &'a [KeyValue],
    started: u64,
    time: u64,
    flags: u32,
}

impl Decoder {
    fn source(&mut self, attributes: &[KeyValue]) -> u32 {
        let text = |key: &str| {
            let pair = attributes.iter().find(|pair| pair.key == key)?;
            match pair.value.as_ref()?.value.as_ref()? {
                any_value::Value::StringValue(text) => Some(text.clone()),
                _ => None,
            }
        };
        let keys = ["k8s.node.name", "host.name", "service.instance.id", "service.name"];
        let name = keys.into_iter().find_map(text).unwrap_or_default();
        let next = self.sources.len() as u32;
        let (batch, sources) = (&mut self.batch, &mut self.sources);
        *sources.entry(name).or_insert_with_key(|name| {
            batch.sources.push(name.clone());
            next
        })
    }

    fn reject(&mut self, points: usize, reason: &'static str) {
        self.batch.rejected += points as u64;
        self.batch.reason.get_or_insert(reason);
    }

    fn metric(&mut self, of: &mut Resource<'_>, metric: &Otlp) {
        let sort = of.sort(&metric.name);
        let kind = |temporality, monotonic| match AggregationTemporality::try_from(temporality) {
            Ok(AggregationTemporality::Delta) => Some(Kind::Delta),
            Ok(AggregationTemporality::Cumulative) if monotonic => Some(Kind::Counter),
            Ok(AggregationTemporality::Cumulative) => Some(Kind::Gauge),
            _ => None,
        };
        let series =
            |kind| Series { name: &metric.name, unit: &metric.unit, kind, sort, description: &metric.description };
        match &metric.data {
            Some(metric::Data::Gauge(data)) => self.numbers(of, &series(Kind::Gauge), &data.data_points),
            Some(metric::Data::Sum(data)) => match kind(data.aggregation_temporality, data.is_monotonic) {
                Some(kind) => self.numbers(of, &series(kind), &data.data_points),
                None => self.reject(data.data_points.len(), "a sum without aggregation temporality"),
            },
            Some(metric::Data::Histogram(data)) => match kind(data.aggregation_temporality, true) {
                Some(kind) => data.data_points.iter().for_each(|point| self.histogram(of, &series(kind), point)),
                None => self.reject(data.data_points.len(), "a histogram without aggregation temporality"),
            },
            Some(metric::Data::ExponentialHistogram(data)) => match kind(data.aggregation_temporality, true) {
                Some(kind) => data.data_points.iter().for_each(|point| self.exponential(of, &series(kind), point)),
                None => self.reject(data.data_points.len(), "a histogram without aggregation temporality"),
            },
            Some(metric::Data::Summary(data)) => {
                self.reject(data.data_points.len(), "summaries are not kept: their quantiles cannot be added up");
            }
            None => {}
        }
    }

    fn numbers(&mut self, of: &mut Resource<'_>, series: &Series<'_>, points: &[NumberDataPoint]) {
        for point in points {
            let value = match point.value {
                Some(number_data_point::Value::AsDouble(value)) => value,
                Some(number_data_point::Value::AsInt(value)) => value as f64,
                None => f64::NAN,
            };
            let at = Point {
                attributes: &point.attributes,
                started: point.start_time_unix_nano,
                time: point.time_unix_nano,
                flags: point.flags,
            };
            self.sample(of, series, &at, None, value);
        }
    }

    fn histogram(&mut self, of: &mut Resource<'_>, series: &Series<'_>, point: &HistogramDataPoint) {
        let at = Point {
            attributes: &point.attributes,
            started: point.start_time_unix_nano,
            time: point.time_unix_nano,
            flags: point.flags,
        };
        let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(point.bucket_counts.iter().copied()).collect::<Vec<_>>();
        self.distribution(of, series, &at, (point.count, point.sum), &buckets);
    }

    /// The buckets of an exponential histogram, joined to octaves: bucket i of scale s ends at 2^((i + 1) / 2^s).
    fn exponential(&mut self, of: &mut Resource<'_>, series: &Series<'_>, point: &ExponentialHistogramDataPoint) {
        let at = Point {
            attributes: &point.attributes,
            started: point.start_time_unix_nano,
            time: point.time_unix_nano,
            flags: point.flags,
        };
        if point.negative.as_ref().is_some_and(|negative| negative.bucket_counts.iter().any(|count| *count > 0)) {
            return self.reject(1, "a histogram of negative values");
        }
        let mut octaves: BTreeMap<i64, u64> = BTreeMap::new();
        let positive = point.positive.as_ref();
        let counts = positive.map_or(&[][..], |positive| &positive.bucket_counts);
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let bucket = i64::from(positive.map_or(0, |positive| positive.offset)) + index as i64;
            let octave = match point.scale {
                scale @ 0..=62 => bucket >> scale,
                scale @ -10..=-1 => ((bucket + 1) << -scale) - 1,
                _ => return self.reject(1, "a histogram of an unusual scale"),
            };
            let sum = octaves.entry(octave).or_default();
            *sum = sum.saturating_add(*count);
        }
        let mut buckets = vec![(point.zero_threshold, point.zero_count)];
        buckets.extend(
            octaves
                .into_iter()
                .map(|(octave, count)| (f64::from(i32::try_from(octave + 1).unwrap_or(i32::MAX)).exp2(), count)),
        );
        self.distribution(of, series, &at, (point.count, point.sum), &buckets);
    }

    /// Count, sum and buckets as series of their own; a bucket without values has none.
    fn distribution(
        &mut self,
        of: &mut Resource<'_>,
        series: &Series<'_>,
        at: &Point<'_>,
        (count, sum): (u64, Option<f64>),
        buckets: &[(f64, u64)],
    ) {
        if buckets.len() > BUCKETS {
            return self.reject(1, "a histogram of too many buckets");
        }
        let names = ["count", "sum", "bucket"].map(|part| format!("{}.{part}", series.name));
        let part = |index: usize, unit| Series { name: names[index].as_str(), unit, ..*series };
        self.sample(of, &part(0, "{value}"), at, None, count as f64);
        if let Some(sum) = sum {
            self.sample(of, &part(1, series.unit), at, None, sum);
        }
        for (bound, count) in buckets.iter().filter(|(_, count)| *count > 0) {
            self.sample(of, &part(2, "{value}"), at, Some(*bound), *count as f64);
        }
    }

    fn sample(&mut self, of: &mut Resource<'_>, series: &Series<'_>, at: &Point<'_>, bound: Option<f64>, value: f64) {
        if at.flags & NO_VALUE != 0 {
            return;
        }
        if !value.is_finite() {
            return self.reject(1, "a value that is no number");
        }
        if at.time == 0 {
            return self.reject(1, "a point without time");
        }
        let entity = self.entity(of, series.sort);
        let attributes: BTreeMap<&str, serde_json::Value> = at
            .attributes
            .iter()
            .filter_map(|pair| Some((pair.key.as_str(), json(pair.value.as_ref()?))))
            .chain(bound.map(|bound| ("le", bound.to_string().into())))
            .collect();
        let start = self.batch.text.len();
        if !attributes.is_empty() {
            self.batch.text.push_str(&serde_json::json!(attributes).to_string());
        }
        let text = start..self.batch.text.len();
        if text.len() > LONGEST {
            self.batch.text.truncate(start);
            return self.reject(1, "attributes of more than 16 KiB");
        }
        let id = crate::store::id(|hasher| {
            hasher.update(&self.batch.entities[entity as usize].id);
            field(hasher, series.name);
            field(hasher, series.unit);
            hasher.update(&[u8::from(series.kind == Kind::Gauge)]);
            hasher.update(self.batch.text[text.clone()].as_bytes());
        });
        let ms = |ns: u64| i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX);
        let metric = self.describe(series, self.batch.entities[entity as usize].kind);
        self.batch.samples.push(Sample {
            id,
            entity,
            metric,
            source: of.source,
            kind: series.kind,
            started: ms(at.started),
            time: ms(at.time),
            value,
            attributes: text.start as u32..text.end as u32,
        });
    }

    fn entity(&mut self, of: &mut Resource<'_>, sort: Option<catalog::Entity>) -> u32 {
        let key = sort.map_or("", catalog::Entity::name);
        if let Some(index) = of.entities.get(key) {
            return *index;
        }
        let index = self.batch.entities.len() as u32;
        self.batch.entities.push(of.entity(sort));
        of.entities.insert(key, index);
        index
    }

    fn describe(&mut self, series: &Series<'_>, entity: &'static str) -> u32 {
        let kind = if series.kind == Kind::Gauge { Kind::Gauge } else { Kind::Counter };
        let (name, unit) = (series.name.to_owned(), series.unit.to_owned());
        let mut metric = Metric { name, unit, kind, entity, description: String::new() };
        if let Some(index) = self.metrics.get(&metric) {
            return *index;
        }
        let index = self.batch.metrics.len() as u32;
        self.metrics.insert(metric.clone(), index);
        let base = series.name.trim_end_matches(".count").trim_end_matches(".sum").trim_end_matches(".bucket");
        let row = [series.name, base].into_iter().find_map(|name| CATALOGUE.get(name)?.first());
        metric.description = row.map_or(series.description, |row| row.description).to_owned();
        self.batch.metrics.push(metric);
        index
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
