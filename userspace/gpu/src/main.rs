//! Reads NVML and answers on a unix socket.

mod library;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use podscope_gpu::keeper::{Keeper, Pace};
use podscope_gpu::raw::Source;
use podscope_gpu::server;

use library::Library;

/// Answers what NVML says of this node's GPUs and of the processes on them, as one JSON document for each connection to
/// a unix socket. Needs no privilege, but the host's pid namespace: the process ids are its own.
#[derive(Debug, Parser)]
#[command(name = "podscope-gpu", version)]
struct Args {
    /// Where to listen; for owner and group of this process.
    #[arg(long, value_name = "PATH", default_value = "/run/podscope/gpu.sock")]
    socket: PathBuf,

    /// NVML, as the loader looks for it, or a path.
    #[arg(long, value_name = "NAME", default_value = "libnvidia-ml.so.1")]
    library: PathBuf,

    /// Print what NVML says, call by call, and exit: the form in which tests have recorded answers.
    #[arg(long)]
    raw: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.raw { print(&args) } else { run(&args) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("podscope-gpu: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let listener = server::bind(&args.socket).with_context(|| {
        format!(
            "cannot listen on {}; is another podscope-gpu there? --socket gives another path",
            args.socket.display()
        )
    })?;
    let library = Box::new(Library::new(&args.library));
    let keeper = Keeper::start(library, Pace::default(), |reason| match reason {
        None => say("NVML answers"),
        Some(reason) => say(&format!("NVML does not answer: {reason}")),
    })
    .context("cannot start the thread that asks NVML")?;
    say(&format!("listening on {}", args.socket.display()));
    server::serve(&listener, &keeper)
}

fn print(args: &Args) -> anyhow::Result<()> {
    let raw = Library::new(&args.library).read().map_err(anyhow::Error::msg)?;
    let text = serde_json::to_string_pretty(&raw)?;
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

/// Writes a line of the log, if standard error takes it.
fn say(line: &str) {
    let _full = writeln!(std::io::stderr(), "{line}");
}
