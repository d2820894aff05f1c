//! The podscope agent: loads the kernel programs, attributes what they count to pods, and exports it.
//!
//! Rooms and their rules are on the map in ARCHITECTURE.md. `kernel` is the only room that may use `unsafe`.

pub mod accounting;
pub mod attribution;
pub mod catalogue;
pub mod cgroup;
pub mod cluster;
pub mod collect;
pub mod compat;
pub mod config;
pub mod confine;
pub mod descriptors;
pub mod detail;
pub mod export;
mod figures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gpu;
pub mod http;
pub mod kernel;
pub mod log;
pub mod node;
pub mod oom;
pub mod own;
pub mod privileges;
mod proc_self;
pub mod publish;
pub mod run;
pub mod runtime;
pub mod snapshot;
pub mod status;
pub mod text;
pub mod view;
pub mod vm;
mod waits;
