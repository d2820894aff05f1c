//! OTLP in: requests become batches, batches are written together, and only then answered.

mod decode;
mod http;
mod queue;

use std::ops::Range;

use crate::store::mark::Kind;
use crate::store::{Entity, Metric};

pub use decode::decode;
pub(crate) use http::refuse;
pub use http::routes;
pub use queue::{Accepted, Counters, Queue, Refused};
pub(crate) use queue::{chain, now_ms};

/// Points of one request, with what they belong to.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Whose they are.
    pub entities: Vec<Entity>,
    /// What they measure.
    pub metrics: Vec<Metric>,
    /// Who sent them.
    pub sources: Vec<String>,
    /// The points.
    pub samples: Vec<Sample>,
    /// Points that cannot be kept.
    pub rejected: u64,
    /// Why, of the first one.
    pub reason: Option<&'static str>,
    text: String,
}

impl Batch {
    /// A sample's own attributes, as a JSON object.
    pub fn attributes(&self, sample: &Sample) -> &str {
        self.text.get(sample.attributes.start as usize..sample.attributes.end as usize).unwrap_or_default()
    }
}

/// A point.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Hash of what identifies its series.
    pub id: [u8; 16],
    /// Index into [`Batch::entities`].
    pub entity: u32,
    /// Index into [`Batch::metrics`].
    pub metric: u32,
    /// Index into [`Batch::sources`].
    pub source: u32,
    /// How its values are to be understood.
    pub kind: Kind,
    /// When its counting began, in ms; 0 where the sender does not say.
    pub started: i64,
    /// When it was measured, in ms.
    pub time: i64,
    /// Increase, sum or value.
    pub value: f64,
    attributes: Range<u32>,
}
