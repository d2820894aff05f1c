//! Flags and variables.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::store::Retention;

/// Receives OTLP, keeps it in an SQL database for as long as asked, and answers questions about it.
#[derive(Debug, Parser)]
#[command(name = "podscope-hub", version)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the hub can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive, keep and answer.
    Serve(Serve),
    /// Show how long points are kept, and drop what has expired; doing it twice does no harm.
    Retention(Database),
}

/// Where points are kept, and for how long.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// `sqlite:FILE`, made if it is not there, or `mysql://USER:PASSWORD@HOST/NAME` (MySQL, MariaDB, TiDB).
    #[arg(
        long,
        value_name = "URL",
        env = "PODSCOPE_DATABASE_URL",
        default_value = "sqlite:podscope.db",
        hide_env_values = true
    )]
    pub database_url: String,

    /// How long points are kept, by level: raw, 1m, 1h, 1d.
    #[arg(long, value_name = "LEVEL=TIME,…", env = "PODSCOPE_RETAIN", default_value_t = Retention::default())]
    pub retain: Retention,
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where to listen for OTLP over gRPC and HTTP and for questions.
    #[arg(long, value_name = "ADDRESS", env = "PODSCOPE_HUB_LISTEN", default_value = "127.0.0.1:4318")]
    pub listen: SocketAddr,

    /// The database.
    #[command(flatten)]
    pub database: Database,

    /// Series that are kept at most; points of more are refused and counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub max_series: usize,

    /// Requests that wait for the database at most, in MiB; senders of more are told to come again.
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    pub max_waiting: u32,
}
