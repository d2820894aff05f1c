//! `cargo xtask lint`: every check of form.

use anyhow::{Result, bail};

use crate::generate::generate;
use crate::{cmd, fuzz, rooms, walls};

type Check = fn() -> Result<()>;

/// Runs every check, also after one has failed, and says which failed.
///
/// # Errors
/// When a check fails.
pub fn lint() -> Result<()> {
    let checks: [(&str, Check); 7] = [
        ("format", || cargo(&["fmt", "--all", "--check"], "")),
        ("format of the fuzz targets", || cargo(&["fmt", "--check", "--manifest-path", fuzz::MANIFEST], "")),
        ("clippy", || {
            let scope = [
                "clippy",
                "--workspace",
                "--all-targets",
                "--features",
                "xtask/rig,podscope-agent/fuzzing,podscope-cluster/exec",
            ];
            cargo(&[&scope[..], &["--", "--deny", "warnings"]].concat(), "")
        }),
        ("documentation", || {
            cargo(
                &["doc", "--workspace", "--no-deps", "--features", "xtask/rig,podscope-cluster/exec"],
                "--deny warnings",
            )
        }),
        ("dependency walls", walls::check),
        ("rooms of unsafe code", rooms::check),
        ("generated files", || generate(true)),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        match check() {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                println!("FAILED  {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn cargo(args: &[&str], rustdoc_flags: &str) -> Result<()> {
    let mut cargo = cmd::cargo(args);
    if !rustdoc_flags.is_empty() {
        cargo.env("RUSTDOCFLAGS", rustdoc_flags);
    }
    cmd::run(&mut cargo)
}
