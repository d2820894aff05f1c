//! What the tests of the hub's pages need from npm, in the versions of their lock file.

use std::fs;

use anyhow::{Context, Result};

use super::{Cache, Did, report};
use crate::{cmd, repository};

/// The folder of these tests, in the repository.
pub const FOLDER: &str = "userspace/hub/web/tests";

/// Installs the packages beside the tests that import them, unless the lock file's are there.
///
/// # Errors
/// When npm fails; the message has its command.
pub fn ensure(cache: &Cache) -> Result<()> {
    // Two clones may be set up at a time, the same one only once.
    let _lock = cache.lock()?;
    let folder = repository().join(FOLDER);
    let lock = fs::read_to_string(folder.join("package-lock.json")).context("cannot read the pages' lock file")?;
    let stamp = folder.join("node_modules/.podscope");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == lock) {
        return Ok(());
    }
    let mut npm = cmd::command("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    cmd::output(npm.current_dir(&folder)).context("cannot install what the tests of the pages need")?;
    fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))?;
    report(Did::Made, "packages", format_args!("axe-core playwright-core (npm, in {FOLDER})"));
    Ok(())
}
