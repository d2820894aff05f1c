//! The command `podscope`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use podscope_cli::args::{Args, Command};
use podscope_cli::client::Client;
use podscope_cli::{once, status, view};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(args).await {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone as well, so no macro that panics then.
            let _ = writeln!(std::io::stderr(), "podscope: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<u8> {
    let client = Client::new(args.agent);
    match args.command {
        Command::Top(top) if top.is_live() => view::run(client, top).await.map(|()| 0),
        Command::Top(top) => once::run(&client, &top).await.map(|()| 0),
        Command::Status(options) => status::run(&client, &options).await,
    }
}

/// Whoever reads our output may stop early (`podscope top --once | head -1`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|e| e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe))
}
