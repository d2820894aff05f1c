//! `podscope-load` as a static program, which runs in any container and starts quickly.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Cache;
use crate::cmd;

/// The program's source; it is compiled on its own, without cargo.
pub(super) const SOURCE: &str = include_str!("../bin/load.rs");

/// The program, compiled on first use and when its source has changed.
///
/// # Errors
/// When it cannot be compiled.
pub fn program(cache: &Cache) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let program = cache.path(&format!("rig/podscope-load-{:016x}", hasher.finish()));
    let _lock = cache.lock()?;
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(cache.path("rig")).context("cannot make the folder of the work program")?;
    let scratch = tempfile::tempdir_in(cache.path("rig")).context("cannot make a folder in the cache")?;
    let (source, fresh) = (scratch.path().join("load.rs"), scratch.path().join("podscope-load"));
    fs::write(&source, SOURCE).context("cannot write the work program's source")?;
    let flags = ["--edition", "2024", "-O", "-Ctarget-feature=+crt-static", "-Cstrip=symbols", "-o"];
    cmd::output(cmd::command("rustc", flags).arg(&fresh).arg(&source)).context("cannot compile podscope-load")?;
    fs::rename(&fresh, &program).with_context(|| format!("cannot put {} in place", program.display()))?;
    Ok(program)
}
