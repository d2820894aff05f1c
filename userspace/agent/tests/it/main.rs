//! The whole agent beside real containers, each figure against the kernel's own account of it.
//!
//! Needs root; a rig makes the containers. One test at a time: each compares times and counts on the whole host.

mod conservation;
mod support;
