//! `cargo xtask test`: everything the tests need, then all tests.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, toolchain::Source};
use crate::{cmd, walls};

/// Installs what is missing and runs all tests, or those that `args` select in the test runner's own language.
///
/// # Errors
/// When something cannot be installed, does not compile, or a test fails.
pub fn test(args: &[String]) -> Result<()> {
    let cache = setup::setup(Source::Auto)?;
    setup::setup_tests(&cache)?;
    let all = ["--workspace", "--features", "xtask/rig,podscope-cluster/exec"];
    let nextest = cmd::find("cargo-nextest").is_some();
    let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    if !args.is_empty() {
        return cmd::run(cargo(runner)?.args(args));
    }
    if nextest {
        // .config/nextest.toml gives each integration test the machine to itself.
        cmd::run(cargo(runner)?.args(all))?;
    } else {
        cmd::run(cargo(runner)?.args(all).args(["--no-fail-fast", "--lib", "--bins"]))?;
        cmd::run(cargo(runner)?.args(all).args(["--no-fail-fast", "--test", "*", "--", "--test-threads=1"]))?;
    }
    cmd::run(cargo(&["test", "--doc"])?.args(all))
}

/// A cargo that runs what it builds as root.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut cargo = cmd::cargo(args);
    if !cmd::is_root() {
        let runner = cmd::as_root("env", [] as [&str; 0])?;
        let triple = walls::host()?.replace('-', "_").to_uppercase();
        cargo.env(format!("CARGO_TARGET_{triple}_RUNNER"), cmd::show(&runner));
    }
    Ok(cargo)
}
