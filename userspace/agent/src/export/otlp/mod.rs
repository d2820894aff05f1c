//! OTLP metrics out.

mod batch;
mod encode;
mod wire;
