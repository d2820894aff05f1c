//! `cargo xtask`: set-up, run, test, lint and generate.

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::setup::{self, packages, toolchain::Source};

/// Set-up, run, test, lint and generate for podscope.
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
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Setup { tests, toolchain } => {
            let cache = setup::setup(toolchain)?;
            if tests {
                packages::ensure(&cache, packages::RIG)?;
                packages::ensure(&cache, packages::TEST)?;
            }
            Ok(())
        }
    }
}
