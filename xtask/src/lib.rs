//! Set-up, run, test, bench, lint and generate for podscope, and a private container runtime for tests.

use std::path::Path;

pub mod bench;
pub mod cmd;
pub mod driver;
pub mod generate;
pub mod lint;
#[cfg(feature = "rig")]
pub mod rig;
pub mod run;
pub mod setup;
pub mod test;
pub mod vm;
pub mod walls;

/// The folder of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
