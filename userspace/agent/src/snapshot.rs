//! What one collection produced: resources and their points, ready for every way out.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use podscope_abi::Histogram;
use podscope_catalog::{Entity, MetricId, Source};

/// One collection. Immutable once made; the ways out share it behind an [`Arc`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was made, ns since the Unix epoch.
    pub time_ns: u64,
    /// In no particular order; each (entity, attributes) stands once.
    pub resources: Vec<Resource>,
    /// Series that ended a while ago and stay on `/metrics`, unchanged, until every scraper has seen them.
    pub lingering: Vec<Arc<Resource>>,
    /// What only the page of an older tool shows ([`crate::compat`]).
    pub tracked: Vec<Resource>,
}

impl Snapshot {
    /// About as much memory as it takes, without what it shares with the snapshots before and after it.
    pub fn bytes(&self) -> usize {
        let of = |resource: &Resource| size_of::<Resource>() + resource.points.capacity() * size_of::<Point>();
        size_of::<Self>() + self.resources.iter().map(of).sum::<usize>() + size_of_val(&*self.lingering)
    }
}

/// An entity and its points.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is.
    pub entity: Entity,
    /// Who it is.
    pub attributes: Arc<Attributes>,
    /// Start of the sums the agent keeps for it, ns since the Unix epoch.
    pub start_ns: u64,
    /// Start of the sums that others keep for it ([`Source::Cgroup`], [`Source::Kernel`], [`Source::Nvml`]), ns since the
    /// Unix epoch.
    pub kernel_start_ns: u64,
    /// The last word of a series that has ended: sent over OTLP once, kept on `/metrics` for a while.
    pub ended: bool,
    /// Sorted by (metric, combination).
    pub points: Vec<Point>,
}

impl Resource {
    /// Start of a cumulative metric's sum, ns since the Unix epoch.
    pub fn start(&self, source: Source) -> u64 {
        if matches!(source, Source::Cgroup | Source::Kernel | Source::Nvml) {
            self.kernel_start_ns
        } else {
            self.start_ns
        }
    }
}

/// One data point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Row of the catalogue.
    pub metric: MetricId,
    /// Which of the metric's attribute combinations ([`podscope_catalog::Metric::combination`]).
    pub combination: u8,
    /// The value, of the metric's type.
    pub value: Value,
}

/// A point's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// For [`podscope_catalog::ValueType::Int`].
    Int(i64),
    /// For [`podscope_catalog::ValueType::Double`].
    Double(f64),
    /// For [`podscope_catalog::Instrument::Histogram`].
    Histogram(Box<Histogram>),
}

/// A resource attribute's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeValue {
    /// Text.
    Text(Arc<str>),
    /// Number.
    Int(i64),
}

/// One resource attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceAttribute {
    /// OpenTelemetry key.
    pub key: Cow<'static, str>,
    /// Value.
    pub value: AttributeValue,
    /// Identifies the resource, so it is a label in Prometheus too; the others are only in OTLP.
    pub label: bool,
}

/// The attributes of a resource; made once per entity and shared by all its snapshots.
///
/// The encoded forms are kept with them, because they change far more rarely than the points.
#[derive(Debug, Default)]
pub struct Attributes {
    /// In the order in which they are written.
    pub list: Vec<ResourceAttribute>,
    /// OTLP `Resource` message, filled by the encoder.
    pub otlp: OnceLock<Box<[u8]>>,
    /// Prometheus labels without braces, filled by the encoder.
    pub prometheus: OnceLock<Box<str>>,
}

impl Attributes {
    /// Takes a list.
    pub fn new(list: Vec<ResourceAttribute>) -> Self {
        Self { list, ..Self::default() }
    }

    /// The text of an attribute, if it is there and a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.list.iter().find(|a| a.key == key).and_then(|a| match &a.value {
            AttributeValue::Text(text) => Some(&**text),
            AttributeValue::Int(_) => None,
        })
    }
}

impl ResourceAttribute {
    /// An identifying text.
    pub fn label(key: &'static str, value: impl Into<Arc<str>>) -> Self {
        Self { key: Cow::Borrowed(key), value: AttributeValue::Text(value.into()), label: true }
    }

    /// A number that only OTLP carries.
    pub fn int(key: &'static str, value: i64) -> Self {
        Self { key: Cow::Borrowed(key), value: AttributeValue::Int(value), label: false }
    }

    /// A text that only OTLP carries.
    pub fn text(key: impl Into<Cow<'static, str>>, value: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), value: AttributeValue::Text(value.into()), label: false }
    }

    /// An identifying number.
    pub fn label_int(key: &'static str, value: i64) -> Self {
        Self { key: Cow::Borrowed(key), value: AttributeValue::Int(value), label: true }
    }
}
