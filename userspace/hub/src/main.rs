//! The podscope hub.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use podscope_hub::config::{Command, Config, Database, Serve};
use podscope_hub::serve::Hub;
use podscope_hub::store::{Level, Store};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    let filter = EnvFilter::try_from_env("PODSCOPE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let ended = match config.command {
        Command::Serve(serve) => run(&serve).await,
        Command::Retention(database) => retention(&database).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _full = writeln!(std::io::stderr(), "podscope-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: &Serve) -> Result<()> {
    let hub = Hub::open(serve).await?;
    tracing::info!("listening on {}", hub.address()?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot take signals")?;
    hub.run(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
    .await
}

async fn retention(database: &Database) -> Result<()> {
    let store = Store::open(&database.database_url, database.retain).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let dropped = store.expire(i64::try_from(now).unwrap_or(i64::MAX)).await?;
    let mut out = std::io::stdout();
    for level in Level::ALL {
        let kept = humantime::format_duration(store.retention().of(level));
        writeln!(out, "{:4} kept for {kept}", level.name()).context("cannot write")?;
    }
    writeln!(out, "{dropped} expired tables dropped").context("cannot write")
}
