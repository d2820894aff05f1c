//! From container id to pod: recorded, faulty and real runtimes.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

#[path = "runtime/faults.rs"]
mod faults;
#[path = "runtime/real.rs"]
mod real;
#[path = "runtime/recordings.rs"]
mod recordings;
