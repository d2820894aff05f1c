//! bpf-linker, built with cargo into the cache.

use anyhow::{Context, Result};

use super::{Cache, Did, report};
use crate::cmd;

/// The pinned version: 0.10.0 writes type information that kernels refuse, 0.11 and later need an LLVM of their own.
pub const VERSION: &str = "0.10.4";

/// Whether the pinned version is in the cache and runs.
#[must_use]
pub fn is_current(cache: &Cache) -> bool {
    cmd::output(&mut cmd::command(cache.linker(), ["--version"])).is_ok_and(|said| said.ends_with(VERSION))
}

/// Builds the pinned version unless it is there.
///
/// # Errors
/// When cargo cannot build it.
pub fn ensure(cache: &Cache) -> Result<()> {
    let did = if is_current(cache) {
        Did::Reused
    } else {
        println!("building bpf-linker {VERSION}: 2 minutes or so");
        let mut cargo = cmd::command("cargo", ["install", "--quiet", "--locked", "--force", "bpf-linker", "--version"]);
        cmd::run(cargo.arg(VERSION).arg("--root").arg(cache.path("ebpf"))).context("cannot build bpf-linker")?;
        Did::Made
    };
    report(did, "bpf-linker", format_args!("{} ({VERSION})", cache.linker().display()));
    Ok(())
}
