//! The fault table: each dependency is killed, frozen, slowed and garbled in turn.
//!
//! A row of [`table`] says what fails, what `/status` shows meanwhile and what is lost. Its test makes that happen to a
//! running agent, checks both, mends it, and measures how long the agent needs to see either. What is lost is compared
//! with an independent truth: the kernel's counter of a cgroup, or all that the receiver holds in the end.
//!
//! `cargo xtask faults` runs the slow rows too and writes FAULTS.md; see [`page`].

mod cluster;
mod containerd;
mod door;
mod gpu;
pub(crate) mod ground;
mod kill;
pub(crate) mod ledger;
mod log;
mod otlp;
mod page;
mod proc;
mod table;

use crate::otlp_support::receiver::Receiver;
use crate::support::agent::Agent;

/// Flags that send to a receiver over gRPC.
fn sink(receiver: &Receiver) -> [String; 4] {
    ["--otlp-endpoint", &format!("http://{}", receiver.address), "--otlp-protocol", "grpc"].map(str::to_owned)
}

impl Agent {
    /// Starts an agent that sends to a receiver over gRPC.
    pub(crate) fn sending_to(receiver: &Receiver, flags: &[&str]) -> Self {
        let sink = sink(receiver);
        Self::start(&[flags, &sink.each_ref().map(String::as_str)].concat())
    }
}
