//! OTLP metrics out: snapshots become requests, a task in the background sends them.
//!
//! | file | what it does |
//! |---|---|
//! | `config` | flags and `OTEL_*` variables |
//! | `wire`, `encode` | protobuf, written directly |
//! | `batch`, `request` | what is sent together; its encoded, compressed and framed form |
//! | `queue` | what waits, what is dropped, and the counts of both |
//! | `tls`, `client`, `answer` | the connection, and what the receiver's answer means |
//! | `exporter` | the task that joins them |

mod answer;
mod batch;
mod client;
mod config;
mod encode;
mod exporter;
mod queue;
mod request;
mod tls;
mod wire;

pub use config::{Config, ConfigError, OtlpArgs, Secret, Target, environment};
pub use exporter::{Exporter, Handle};
pub use queue::{Stats, Tally};
pub use request::encode;
pub use tls::TlsError;
