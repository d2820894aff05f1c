//! A [`Snapshot`] as a Prometheus page.
//!
//! Sources: Prometheus "Exposition formats" (text 0.0.4) and the OpenMetrics 1.0 specification.

mod negotiate;

use std::fmt::Display;
use std::io::Write as _;
use std::ops::{Deref, Range};

use foldhash::{HashMap, HashMapExt};
use podscope_abi::Histogram;
use podscope_abi::histogram::{BUCKETS, END_OCTAVE, FIRST_OCTAVE, PER_OCTAVE};
use podscope_catalog::prometheus::{base_name, family_name, label_name, type_name, unit_name};
use podscope_catalog::{Entity, METRICS, Metric};

use crate::snapshot::{AttributeValue, Attributes, Point, Resource, Snapshot, Value};

pub use negotiate::{accepts, accepts_gzip};

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text004,
    /// OpenMetrics text 1.0.0, without `_created` lines: a scraper that does not know them would store each as a
    /// series of its own.
    OpenMetrics,
}

impl Format {
    /// Its `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Which families a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Those with points.
    WithPoints,
    /// All of the table; those without points have only their metadata.
    Every,
}

/// Appends the page of a snapshot, families in table order.
pub fn render(snapshot: &Snapshot, format: Format, families: Families, out: &mut Vec<u8>) {
    Page::new(snapshot, format, families).write(out, usize::MAX);
}

/// A page that is written piece by piece: what is sent while it is still in the processor's cache costs a fraction of
/// what a page of megabytes does.
#[derive(Debug)]
pub struct Page<S> {
    snapshot: S,
    format: Format,
    families: Families,
    /// By row of [`METRICS`].
    runs: Vec<Vec<Run>>,
    /// The row to write next, and the run of it; beyond the table when all is written.
    at: (usize, usize),
}

impl<S: Deref<Target = Snapshot>> Page<S> {
    /// The page of a snapshot, with nothing written yet.
    pub fn new(snapshot: S, format: Format, families: Families) -> Self {
        let runs = runs_by_metric(&snapshot);
        Self { snapshot, format, families, runs, at: (0, 0) }
    }

    /// Appends what comes next until `out` holds `enough` bytes, or a little more; whether anything is left.
    pub fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while let (Some(metric), Some(runs)) = (METRICS.get(self.at.0), self.runs.get(self.at.0)) {
            let shown = !runs.is_empty() || self.families == Families::Every;
            let family = shown.then(|| Family::new(metric, self.format));
            if let Some(family) = family.as_ref().filter(|_| self.at.1 == 0) {
                family.metadata(out);
            }
            for run in runs.iter().skip(self.at.1) {
                self.at.1 += 1;
                let (Some(family), Some(resource)) = (&family, resource(&self.snapshot, run.resource)) else {
                    continue;
                };
                let labels = labels(&resource.attributes);
                for point in &resource.points[run.points()] {
                    family.point(labels, point, out);
                }
                // After the first run at the earliest: what is left then begins without the metadata.
                if out.len() >= enough {
                    return true;
                }
            }
            self.at = (self.at.0 + 1, 0);
        }
        if self.at.0 == METRICS.len() {
            self.at.0 += 1;
            if self.format == Format::OpenMetrics {
                out.extend_from_slice(b"# EOF\n");
            }
        }
        false
    }
}

/// Consecutive points of one metric in one resource.
#[derive(Clone, Copy, Debug)]
struct Run {
    resource: u32,
    from: u32,
    to: u32,
}

impl Run {
    fn points(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

/// Resources by one number: those of the last collection, then those that linger.
fn resource(snapshot: &Snapshot, at: u32) -> Option<&Resource> {
    let at = at as usize;
    let lingering = || snapshot.lingering.get(at - snapshot.resources.len());
    snapshot.resources.get(at).or_else(|| lingering().map(AsRef::as_ref))
}

/// Regroups the points, which lie by resource, by metric; the index is that of [`METRICS`].
fn runs_by_metric(snapshot: &Snapshot) -> Vec<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = METRICS.iter().map(|_| Vec::new()).collect();
    for (at, resource) in distinct(snapshot) {
        let mut from = 0;
        for points in resource.points.chunk_by(|a, b| a.metric == b.metric) {
            let to = from + points.len() as u32;
            if let Some(runs) = runs.get_mut(usize::from(points[0].metric.0)) {
                runs.push(Run { resource: at, from, to });
            }
            from = to;
        }
    }
    runs
}

/// The resources with their numbers, each label set once.
///
/// Two resources can differ in attributes that are no labels, such as a process's start time: when a pid is used
/// again, the living process stands for the series, or else the one that began last; of two that count as living one
/// has just died.
fn distinct(snapshot: &Snapshot) -> Vec<(u32, &Resource)> {
    let all: Vec<(&Resource, &str)> = snapshot
        .resources
        .iter()
        .chain(snapshot.lingering.iter().map(AsRef::as_ref))
        .map(|resource| (resource, labels(&resource.attributes)))
        .collect();
    let rank = |at: usize| (!all[at].0.ended, all[at].0.start_ns);
    let mut standing: HashMap<(Entity, &str), usize> = HashMap::with_capacity(all.len());
    for (at, (resource, labels)) in all.iter().enumerate() {
        let best = standing.entry((resource.entity, *labels)).or_insert(at);
        if rank(at) > rank(*best) {
            *best = at;
        }
    }
    let stands = |at: usize| standing.get(&(all[at].0.entity, all[at].1)) == Some(&at);
    (0..all.len()).filter(|&at| stands(at)).map(|at| (at as u32, all[at].0)).collect()
}

/// The labels of a resource without braces: `a="b",c="d"`. Keys are the agent's own and differ from each other.
fn labels(attributes: &Attributes) -> &str {
    attributes.prometheus.get_or_init(|| {
        let labels = attributes.list.iter().filter(|a| a.label).map(|attribute| {
            let key = label_name(&attribute.key);
            match &attribute.value {
                AttributeValue::Text(text) => format!("{key}=\"{}\"", escaped(text)),
                AttributeValue::Int(value) => format!("{key}=\"{value}\""),
            }
        });
        labels.collect::<Vec<_>>().join(",").into_boxed_str()
    })
}

/// A label value with backslash, quote and line feed escaped. A NUL, which no format can carry through every
/// reader, becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A metric with the texts that all its points share.
struct Family {
    metric: &'static Metric,
    format: Format,
    /// Without `_total`.
    base: String,
    /// The name of its samples; a histogram's append a suffix.
    sample: String,
    /// The labels of each attribute combination, without braces.
    combinations: Vec<String>,
}

impl Family {
    fn new(metric: &'static Metric, format: Format) -> Self {
        let combination = |index| {
            let labels = metric.combination(index).map(|(key, value)| format!("{}=\"{value}\"", label_name(key)));
            labels.collect::<Vec<_>>().join(",")
        };
        Self {
            metric,
            format,
            base: base_name(metric),
            sample: family_name(metric),
            combinations: (0..metric.combinations()).map(combination).collect(),
        }
    }

    fn metadata(&self, out: &mut Vec<u8>) {
        let Metric { instrument, description, .. } = *self.metric;
        let name = match self.format {
            Format::Text004 => &self.sample,
            Format::OpenMetrics => &self.base,
        };
        put(out, format_args!("# HELP {name} {description}\n# TYPE {name} {}\n", type_name(instrument)));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit_name(self.metric)) {
            put(out, format_args!("# UNIT {name} {unit}\n"));
        }
    }

    fn point(&self, labels: &str, point: &Point, out: &mut Vec<u8>) {
        // A combination that the row lacks cannot be labelled.
        let Some(combination) = self.combinations.get(usize::from(point.combination)) else { return };
        let labels = [labels, combination];
        match &point.value {
            Value::Int(value) => {
                self.name(out, "", &labels);
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
                out.push(b'\n');
            }
            Value::Double(value) => {
                self.name(out, "", &labels);
                put_double(out, *value);
                out.push(b'\n');
            }
            Value::Histogram(histogram) => self.histogram(histogram, &labels, out),
        }
    }

    /// Classic buckets at the octaves. `zero` holds what is at or below the first bound, `over` what is above the last;
    /// the count is their sum, so that it agrees with the buckets whatever was added while they were read.
    fn histogram(&self, histogram: &Histogram, labels: &[&str; 2], out: &mut Vec<u8>) {
        let mut count = histogram.zero;
        for octave in FIRST_OCTAVE..=END_OCTAVE {
            let upto = (octave - FIRST_OCTAVE) as usize * PER_OCTAVE;
            let from = upto.saturating_sub(PER_OCTAVE);
            count += histogram.buckets[from..upto.min(BUCKETS)].iter().sum::<u64>();
            self.bucket(out, labels, &format!("le=\"{:?}\"", 2f64.powi(octave)), count);
        }
        count += histogram.over;
        self.bucket(out, labels, "le=\"+Inf\"", count);
        self.name(out, "_sum", labels);
        put_double(out, histogram.sum_ns as f64 / 1e9);
        out.push(b'\n');
        self.name(out, "_count", labels);
        put(out, format_args!("{count}\n"));
    }

    fn bucket(&self, out: &mut Vec<u8>, labels: &[&str; 2], le: &str, count: u64) {
        self.name(out, "_bucket", &[labels[0], labels[1], le]);
        put(out, format_args!("{count}\n"));
    }

    fn name(&self, out: &mut Vec<u8>, suffix: &str, labels: &[&str]) {
        write_name(out, &self.sample, suffix, labels);
    }
}

/// `name_suffix{labels} ` up to the value.
fn write_name(out: &mut Vec<u8>, name: &str, suffix: &str, labels: &[&str]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let mut separator = b'{';
    for labels in labels.iter().filter(|labels| !labels.is_empty()) {
        out.push(separator);
        out.extend_from_slice(labels.as_bytes());
        separator = b',';
    }
    if separator == b',' {
        out.push(b'}');
    }
    out.push(b' ');
}

/// The shortest decimal that reads back as the same number.
fn put_double(out: &mut Vec<u8>, value: f64) {
    match value {
        f64::INFINITY => out.extend_from_slice(b"+Inf"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Inf"),
        value => out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes()),
    }
}

/// Appends; writing to a vector cannot fail.
fn put(out: &mut Vec<u8>, text: impl Display) {
    let _ = write!(out, "{text}");
}

#[cfg(test)]
pub(crate) mod tests;
