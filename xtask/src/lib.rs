//! Set-up, run, test and generate for podscope, and a private container runtime for tests.

pub mod cmd;
#[cfg(feature = "rig")]
pub mod rig;
pub mod setup;
