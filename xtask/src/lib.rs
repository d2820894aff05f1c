//! Set-up, run, test, bench, fuzz, soak, lint and generate for podscope, and a private container runtime for tests.

use std::path::Path;

pub mod bench;
pub mod cgroup;
pub mod cmd;
pub mod dist;
pub mod driver;
pub mod faults;
pub mod fuzz;
pub mod generate;
pub mod groups;
pub mod guard;
pub mod lint;
#[cfg(feature = "rig")]
pub mod rig;
pub mod rooms;
pub mod run;
pub mod setup;
pub mod soak;
pub mod test;
pub mod vm;
pub mod walls;

/// The folder of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
