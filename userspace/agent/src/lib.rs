//! The podscope agent: loads the kernel programs, attributes what they count to pods, and exports it.
//!
//! Rooms and their rules are on the map in ARCHITECTURE.md. `kernel` is the only room that may use `unsafe`.

pub mod accounting;
pub mod catalogue;
pub mod cgroup;
pub mod export;
pub mod http;
pub mod runtime;
pub mod snapshot;
pub mod status;
