//! The podscope hub.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use podscope_hub::config::{Command, Config, Database, Serve};
use podscope_hub::serve::Hub;
use podscope_hub::store::{Level, Store};
use podscope_hub::{access, api};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    let filter = EnvFilter::try_from_env("PODSCOPE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let ended = match config.command {
        Command::Serve(serve) => run(&serve).await,
        Command::Retention(database) => retention(&database).await,
        Command::User { database, command } => match open(&database).await {
            Ok(store) => access::cli::user(&store, &command).await.and_then(show),
            Err(error) => Err(error),
        },
        Command::Token { database, command } => match open(&database).await {
            Ok(store) => access::cli::token(&store, &command).await.and_then(show),
            Err(error) => Err(error),
        },
        Command::Openapi => api::openapi().to_pretty_json().context("cannot write the description").and_then(show),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _full = writeln!(std::io::stderr(), "podscope-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As many descriptors as are allowed: each connection takes one, and shells give few.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

async fn run(serve: &Serve) -> Result<()> {
    take_descriptors();
    let hub = Hub::open(serve).await?;
    let scheme = if serve.entry.tls_cert.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", hub.address()?);
    tracing::info!("listening on {address}");
    if let Some(path) = hub.setup() {
        tracing::warn!("nobody may log in yet; within an hour, and once: {address}{path}");
    }
    if serve.entry.open.is_some() {
        tracing::warn!("--open: everybody who reaches {address} may read and write everything");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot take signals")?;
    hub.run(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
    .await;
    Ok(())
}

async fn open(database: &Database) -> Result<Store> {
    Ok(Store::open(&database.database_url, database.retain).await?)
}

fn show(text: String) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write")
}

async fn retention(database: &Database) -> Result<()> {
    let store = open(database).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let dropped = store.expire(i64::try_from(now).unwrap_or(i64::MAX)).await?;
    let mut out = std::io::stdout();
    for level in Level::ALL {
        let kept = humantime::format_duration(store.retention().of(level));
        writeln!(out, "{:4} kept for {kept}", level.name()).context("cannot write")?;
    }
    writeln!(out, "{dropped} expired tables dropped").context("cannot write")
}
