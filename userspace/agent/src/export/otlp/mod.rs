//! OTLP metrics out.

mod answer;
mod batch;
mod client;
mod config;
mod encode;
mod queue;
mod request;
mod tls;
mod wire;

pub use config::{Config, ConfigError, OtlpArgs, Secret, Target, environment};
pub use tls::TlsError;
