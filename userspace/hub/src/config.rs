//! Flags and variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::access::Role;
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
    /// Who may log in.
    User {
        /// The database.
        #[command(flatten)]
        database: Database,
        /// What to do.
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Tokens of agents and other programs.
    Token {
        /// The database.
        #[command(flatten)]
        database: Database,
        /// What to do.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Print the OpenAPI description of the API.
    Openapi,
}

/// What can be done with users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// Let somebody log in; the password is asked for, or read from standard input.
    Add {
        /// Whom.
        name: String,
        /// What for.
        #[arg(long, default_value = "read")]
        role: Role,
    },
    /// Show who may log in: since when, role, name.
    List,
    /// Let somebody log in no more, at once.
    Remove {
        /// Whom.
        name: String,
    },
    /// Set a new password, which is asked for or read from standard input, and end all sessions of the user.
    Password {
        /// Whose.
        name: String,
    },
}

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, this once.
    Add {
        /// What it is called in lists and in the audit log.
        #[arg(long)]
        name: String,
        /// What it is for; agents need `ingest`.
        #[arg(long)]
        role: Role,
        /// For how long it is valid, such as 90d; for ever where this is left out.
        #[arg(long, value_name = "TIME")]
        expires: Option<humantime::Duration>,
    },
    /// Show the tokens, without their secrets.
    List,
    /// Make a token invalid, at once.
    Remove {
        /// Which.
        name: String,
    },
}

/// To whom a hub without login is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Open {
    /// To this machine; it is refused to listen on another address.
    Loopback,
    /// To everybody who reaches it.
    Anywhere,
}

/// Who gets in, and how.
#[derive(Clone, Debug, Args)]
pub struct Entry {
    /// Serve without login or tokens, on a loopback address; with `=anywhere` on any.
    #[arg(
        long,
        env = "PODSCOPE_HUB_OPEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "loopback"
    )]
    pub open: Option<Open>,

    /// Serve over TLS with this certificate chain (PEM); it is read again when it changes.
    #[arg(long, value_name = "FILE", env = "PODSCOPE_HUB_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", env = "PODSCOPE_HUB_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Let those send points whose client certificate is signed by one of these authorities (PEM), without a token.
    #[arg(long, value_name = "FILE", env = "PODSCOPE_HUB_TLS_CLIENT_CA", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// A proxy in front serves TLS and says in X-Forwarded-For who asks; the hub is reached through it alone.
    #[arg(long, env = "PODSCOPE_HUB_BEHIND_PROXY")]
    pub behind_proxy: bool,

    /// A session that was not used for so long has ended.
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub session_idle: humantime::Duration,

    /// A session that began so long ago has ended.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub session_life: humantime::Duration,

    /// Connections at most; more are closed at once.
    #[arg(long, value_name = "COUNT", default_value_t = 8_192)]
    pub max_connections: usize,
}

/// Where points are kept, and for how long.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// `sqlite:FILE`, made if it is not there, or `mysql://USER:PASSWORD@HOST/NAME` (MySQL, MariaDB, TiDB).
    #[arg(
        long,
        global = true,
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

    /// Who gets in.
    #[command(flatten)]
    pub entry: Entry,

    /// Series that are kept at most; points of more are refused and counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub max_series: usize,

    /// Requests that wait for the database at most, in MiB; senders of more are told to come again.
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    pub max_waiting: u32,
}

impl Serve {
    /// What cannot be served as it is asked for.
    ///
    /// # Errors
    /// When everybody would be let in from everywhere without it being said.
    pub fn check(&self) -> Result<()> {
        if self.entry.open == Some(Open::Loopback) && !self.listen.ip().is_loopback() {
            bail!("--open lets everybody in who reaches {}; leave it out, or say so by --open=anywhere", self.listen);
        }
        Ok(())
    }
}
