//! The whole agent beside real containers, each figure against the kernel's own account of it.
//!
//! Needs root; a rig makes the containers. One test at a time: each compares times and counts on the whole host.

mod attribution;
mod command_line;
mod conservation;
mod faults;
mod lives;
mod process;
mod support;
