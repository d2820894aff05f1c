//! Where the two databases speak differently.

/// The database's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// MySQL, MariaDB, TiDB.
    Mysql,
}

impl Dialect {
    /// Behind `INSERT … VALUES …`: what becomes of a row whose key is there; `set` as `column = expression`, in which
    /// `{column}` stands for the value that was to be inserted.
    pub(super) fn upsert(self, key: &str, set: &str) -> String {
        match self {
            Dialect::Sqlite => {
                format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.replace('{', "excluded.").replace('}', ""))
            }
            Dialect::Mysql => {
                format!(" ON DUPLICATE KEY UPDATE {}", set.replace('{', "VALUES(").replace('}', ")"))
            }
        }
    }

    /// The beginning of an insert that leaves rows alone whose key is there.
    pub(super) const fn insert_new(self) -> &'static str {
        match self {
            Dialect::Sqlite => "INSERT OR IGNORE INTO",
            Dialect::Mysql => "INSERT IGNORE INTO",
        }
    }

    /// The functions for the smaller and the larger of two values.
    pub(super) const fn bounds(self) -> (&'static str, &'static str) {
        match self {
            Dialect::Sqlite => ("min", "max"),
            Dialect::Mysql => ("least", "greatest"),
        }
    }

    /// What stands behind the columns of a table of points: rows are stored in the order of their key.
    pub(super) const fn clustered(self) -> &'static str {
        match self {
            Dialect::Sqlite => " WITHOUT ROWID",
            Dialect::Mysql => "",
        }
    }

    /// What is done on every new connection. `FULL`: what is said to be kept survives a loss of power.
    pub(super) const fn greeting(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &[
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA busy_timeout = 10000",
                "PRAGMA cache_size = -8192",
                "PRAGMA wal_autocheckpoint = 4000",
                "PRAGMA temp_store = FILE",
            ],
            Dialect::Mysql => &["SET time_zone = '+00:00'", "SET sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"],
        }
    }
}
