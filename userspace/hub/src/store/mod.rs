//! Points in an SQL database.
//!
//! Dimensions (metrics, entities, series) are tables of their own; points are narrow rows in one table per level and
//! period, so that what has expired is dropped as a whole. `write` turns batches into rows in one transaction,
//! `rollup` makes each level of the finer one, `query` puts spans of time together from all of them.

mod dialect;
pub(crate) mod dimensions;
pub mod level;
mod list;
pub mod mark;
mod periods;
mod query;
mod rollup;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe, Executor as _};

use dialect::Dialect;
pub(crate) use dimensions::id;
pub use dimensions::{Entity, Metric};
pub use level::{Level, Retention};
pub use list::{EntityRow, MetricRow};
pub use query::{Cell, Filter, Found, PLACE, Reader, Span};
pub use rollup::Roller;
pub use write::{Outcome, Writer};

/// Connections for readers; SQLite's writer has one of its own.
const READERS: u32 = 4;
/// Connections for asking who a request is from, which long questions must not hold up.
const GUARDS: u32 = 2;
/// A reader that gets no connection for so long is told so.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none that can be used.
    #[error("the database address {0:?} is not understood: give sqlite:FILE or mysql://USER@HOST/NAME")]
    Address(String),
    /// The database's own answer.
    #[error("{doing}: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// The tables cannot be made or are of a later version.
    #[error("cannot bring the database's tables up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Adds what was tried to an answer of the database.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Database { doing, source })
    }
}

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dialect: Dialect,
    /// SQLite has one writer at a time: it waits in its own queue rather than in the database.
    write: AnyPool,
    read: AnyPool,
    guard: AnyPool,
    retention: Retention,
    file: Option<PathBuf>,
    /// Goes up when series were removed: whoever has them in mind forgets them.
    removals: AtomicU64,
}

impl Store {
    /// Opens the database at `url` (`sqlite:FILE`, made if it is not there, or `mysql://…`) and brings its tables up
    /// to date.
    ///
    /// # Errors
    /// When the address is not understood, the database does not answer, or its tables cannot be made.
    pub async fn open(url: &str, retention: Retention) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let (dialect, address, file) = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.trim_start_matches("//");
            (Dialect::Sqlite, format!("sqlite:{path}?mode=rwc"), Some(PathBuf::from(path)))
        } else if url.starts_with("mysql://") {
            (Dialect::Mysql, url.to_owned(), None)
        } else {
            return Err(Error::Address(without_password(url)));
        };
        let pool = |size: u32| {
            let options = AnyPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE);
            options.after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in dialect.greeting() {
                        connection.execute(*statement).await?;
                    }
                    if dialect == Dialect::Sqlite && size > 1 {
                        // Each connection has a cache of its own, and readers the system's as well.
                        connection.execute("PRAGMA cache_size = -2048").await?;
                    }
                    Ok(())
                })
            })
        };
        let write = pool(1).connect(&address).await.doing("connecting to the database")?;
        let migrator = match dialect {
            Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
            Dialect::Mysql => sqlx::migrate!("migrations/mysql"),
        };
        migrator.run(&write).await?;
        let read = pool(READERS).connect(&address).await.doing("connecting to the database")?;
        let guard = pool(GUARDS).connect_lazy(&address).doing("connecting to the database")?;
        Ok(Self(Arc::new(Inner { dialect, write, read, guard, retention, file, removals: AtomicU64::new(0) })))
    }

    /// How long each level is kept.
    pub fn retention(&self) -> Retention {
        self.0.retention
    }

    /// Connections that write: one with SQLite.
    pub(crate) fn writer(&self) -> &AnyPool {
        &self.0.write
    }

    /// Connections that ask who a request is from.
    pub(crate) fn guard(&self) -> &AnyPool {
        &self.0.guard
    }

    /// Bytes that the database takes on disk, where it is a file.
    pub fn bytes(&self) -> Option<u64> {
        let file = self.0.file.as_ref()?;
        let size = |end: &str| {
            let mut name = file.clone().into_os_string();
            name.push(end);
            std::fs::metadata(name).map_or(0, |meta| meta.len())
        };
        Some(["", "-wal"].into_iter().map(size).sum())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.0.read).await.doing("asking the database for a sign of life").map(drop)
    }
}

/// A statement whose text was put together from numbers and names of this crate alone.
fn made(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

/// `?, ?, ?` for `count` values.
fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// An address as it may be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, host)) => format!("{scheme}://{}:…@{host}", user.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}
