//! `cargo xtask`: set-up, run, test, bench, lint and generate.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::setup::{self, toolchain::Source};
use xtask::{bench, generate, lint, repository, run, test, vm};

/// Set-up, run, test, bench, lint and generate for podscope.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or make what a build needs: the eBPF compiler, bpf-linker, protoc.
    Setup {
        /// Also install what the tests need.
        #[arg(long)]
        tests: bool,
        /// Where the eBPF compiler may come from.
        #[arg(long, value_enum, default_value_t)]
        toolchain: Source,
    },
    /// Set up, build and start the agent, with a live view on a terminal.
    Run(run::Args),
    /// Set up, install what the tests need, and run all tests.
    Test {
        /// What the test runner (cargo nextest, else cargo test) is given instead of all tests.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Measure what podscope costs, beside other programs.
    Bench(bench::Args),
    /// Run the agent and its tests on other kernels, in guests.
    Vm(vm::Args),
    /// Check format, clippy, documentation, dependency walls and generated files.
    Lint,
    /// Write the files that derive from code.
    Generate {
        /// Only say whether they are current.
        #[arg(long)]
        check: bool,
    },
    /// Run a private containerd with the demo's pods until standard input ends.
    Rig,
}

fn main() -> Result<()> {
    let task = Cli::parse().task;
    std::env::set_current_dir(repository()).context("the repository that this program was built in is gone")?;
    match task {
        Task::Setup { tests, toolchain } => {
            let cache = setup::setup(toolchain)?;
            if tests { setup::setup_tests(&cache) } else { Ok(()) }
        }
        Task::Run(args) => run::run(&args),
        Task::Test { args } => test::test(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Vm(args) => vm::vm(&args),
        Task::Lint => lint::lint(),
        Task::Generate { check } => generate::generate(check),
        Task::Rig => rig(),
    }
}

#[cfg(feature = "rig")]
fn rig() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(xtask::rig::hold_demo())
}

#[cfg(not(feature = "rig"))]
fn rig() -> Result<()> {
    anyhow::bail!("built without the feature: cargo run --package xtask --features rig -- rig")
}
