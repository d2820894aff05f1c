//! The whole agent beside real containers, each figure against the kernel's own account of it.
//!
//! Needs root; a rig makes the containers. One test at a time: each compares times and counts on the whole host.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attribution;
mod cluster;
#[path = "../../../cluster/tests/support/mod.rs"]
mod cluster_support;
mod command_line;
mod compat;
mod confined;
mod conservation;
mod corners;
mod endpoint;
mod faults;
mod gpu;
mod hostile;
mod kvm;
mod libvirt;
mod lives;
mod machines;
mod missing;
mod node;
mod otlp;
#[path = "../otlp_support/mod.rs"]
mod otlp_support;
mod pressure;
mod process;
#[path = "../support/mod.rs"]
mod runtime_support;
mod selection;
mod stalls;
mod support;
