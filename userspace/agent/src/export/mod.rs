//! The ways out: Prometheus text and OTLP, both from a [`crate::snapshot::Snapshot`].

pub mod otlp;
pub mod prometheus;
