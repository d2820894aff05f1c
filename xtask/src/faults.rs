//! `cargo xtask faults`: the whole fault table, and the page that shows it.

use anyhow::{Context, Result, bail};

use crate::setup::{self, toolchain::Source};
use crate::{cmd, test};

/// Which tests, and how often the agent is killed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How often the agent is killed at a random moment.
    #[arg(long, default_value_t = 200)]
    kills: u32,
}

/// The test that writes the page from what the others have measured.
const WRITE: &str = "faults::page::write";
/// The test that compares the page with the table: it may only pass afterwards.
const CHECK: &str = "faults::page::the_page_has_every_row";

/// Runs every row and writes FAULTS.md.
///
/// # Errors
/// When something cannot be installed, or a row fails; the page then stays as it is.
pub fn faults(args: &Args) -> Result<()> {
    if cmd::find("cargo-nextest").is_none() {
        bail!("this needs cargo-nextest: cargo install cargo-nextest --locked");
    }
    let cache = setup::setup(Source::Auto)?;
    setup::setup_tests(&cache)?;
    let measured = tempfile::tempdir().context("cannot make a folder for what is measured")?;
    let run = |filter: &str| -> Result<()> {
        let mut cargo = test::cargo(&["nextest", "run", "--package", "podscope-agent", "--test", "it"])?;
        cargo.args(["--profile", "faults", "--run-ignored", "all", "--no-capture", "--filterset", filter]);
        cargo.env("PODSCOPE_FAULTS", measured.path()).env("PODSCOPE_FAULTS_KILLS", args.kills.to_string());
        cmd::run(&mut cargo)
    };
    run(&format!("test(/^faults::/) - test(={WRITE}) - test(={CHECK})"))?;
    run(&format!("test(={WRITE})"))?;
    run(&format!("test(={CHECK})"))
}
