//! `cargo xtask`: set-up, run, test, faults, bench, fuzz, soak, lint and generate.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::setup::{self, toolchain::Source};
use xtask::{bench, dist, faults, fuzz, generate, guard, lint, repository, run, soak, test, vm};

/// Set-up, run, test, faults, bench, fuzz, soak, lint and generate for podscope.
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
    /// Run the whole fault table, slow rows included, and write FAULTS.md.
    Faults(faults::Args),
    /// Measure what podscope costs, beside other programs.
    Bench(bench::Args),
    /// Attack everything that reads what others wrote.
    Fuzz(fuzz::Args),
    /// Put the agent under far more than a node has, for an hour.
    Soak(soak::Args),
    /// Build what is released: static and stripped programs, the same bytes from every folder, and what they are made of.
    Dist(dist::Args),
    /// Count the instructions of collection, attribution and encoding, and compare them with the committed counts.
    Guard(guard::Args),
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
        Task::Faults(args) => faults::faults(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Soak(args) => soak::soak(&args),
        Task::Dist(args) => dist::dist(&args),
        Task::Guard(args) => guard::guard(&args),
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
