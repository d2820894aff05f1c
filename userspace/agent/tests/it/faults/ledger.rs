//! What an OTLP receiver holds in the end, as a database of cumulative sums would.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};

use crate::otlp_support::receiver::Receiver;

/// Metrics of which each is the whole CPU time of a container.
pub(crate) const SUMS: [&str; 3] =
    ["podscope.container.process.cpu.time", "podscope.executable.cpu.time", "process.cpu.time"];

type Texts = BTreeMap<String, String>;

/// Who, what, which, and since when.
type Series = (Texts, String, Texts, u64);

/// The last value of every series of [`SUMS`].
#[derive(Default)]
pub(crate) struct Ledger(BTreeMap<Series, (u64, f64)>);

impl Ledger {
    /// Takes what has come and was accepted since the last time.
    pub(crate) fn read(&mut self, receiver: &Receiver) {
        receiver.taken().iter().for_each(|request| self.take(request));
    }

    fn take(&mut self, request: &ExportMetricsServiceRequest) {
        for of in &request.resource_metrics {
            let who = texts(&of.resource.as_ref().unwrap().attributes);
            if !who.contains_key("container.id") {
                continue;
            }
            for metric in of.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                let Some(metric::Data::Sum(sum)) = &metric.data else { continue };
                if !SUMS.contains(&metric.name.as_str()) {
                    continue;
                }
                for point in &sum.data_points {
                    let Some(number_data_point::Value::AsDouble(value)) = point.value else { panic!("no seconds") };
                    let which = texts(&point.attributes);
                    let series = (who.clone(), metric.name.clone(), which, point.start_time_unix_nano);
                    let last = self.0.entry(series).or_default();
                    // A request that was sent again may come after a newer one.
                    *last = if point.time_unix_nano >= last.0 { (point.time_unix_nano, value) } else { *last };
                }
            }
        }
    }

    /// The sum of a metric over all series of a container, also those of an earlier name or start.
    pub(crate) fn sum(&self, metric: &str, container: &str) -> f64 {
        self.sum_since(metric, container, 0)
    }

    /// The same of series that began after `start_ns`.
    pub(crate) fn sum_since(&self, metric: &str, container: &str, start_ns: u64) -> f64 {
        self.of(metric, container).filter(|(start, _)| *start > start_ns).map(|(_, value)| value).sum()
    }

    /// The start times of a metric of a container.
    pub(crate) fn starts(&self, metric: &str, container: &str) -> Vec<u64> {
        self.of(metric, container).map(|(start, _)| start).collect()
    }

    fn of<'a>(&'a self, metric: &'a str, container: &'a str) -> impl Iterator<Item = (u64, f64)> + 'a {
        let is_wanted = move |(who, name, ..): &Series| name == metric && who["container.id"] == container;
        self.0.iter().filter(move |(series, _)| is_wanted(series)).map(|((.., start), (_, value))| (*start, *value))
    }
}

fn texts(attributes: &[KeyValue]) -> Texts {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?} is no attribute of ours"),
    }
}
