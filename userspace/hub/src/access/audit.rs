//! Who did what, when and from where: a row and a line in the log.

use serde::Serialize;
use sqlx::Row as _;
use utoipa::ToSchema;

use super::Error;
use crate::ingest::now_ms;
use crate::store::{Doing as _, Store};

/// For how long rows are kept, in ms.
const KEPT: i64 = 366 * 24 * 3_600_000;

/// Something that was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) id: i64,
    /// When, in ms since the epoch.
    time: i64,
    /// User, or the one that somebody said to be.
    who: String,
    /// Address, or `command line`.
    from: String,
    /// `login`, `login failed`, `logout`, `user added`, …
    what: String,
    /// To whom or what.
    detail: String,
}

/// Writes down what was done.
pub(super) async fn note(store: &Store, who: &str, from: &str, what: &str, detail: &str) -> Result<(), Error> {
    tracing::info!(target: "podscope_hub::audit", who, from, detail, "{what}");
    let sql = "INSERT INTO audit (time, who, origin, what, detail) VALUES (?, ?, ?, ?, ?)";
    let add = sqlx::query(sql).bind(now_ms()).bind(who).bind(from).bind(what).bind(detail);
    Ok(add.execute(store.writer()).await.map(drop).doing("writing the audit log")?)
}

/// What was done before entry `before`, the latest first, at most `limit`.
pub(crate) async fn list(store: &Store, before: i64, limit: i64) -> Result<Vec<Entry>, crate::store::Error> {
    let sql = "SELECT id, time, who, origin, what, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?";
    let rows =
        sqlx::query(sql).bind(before).bind(limit).fetch_all(store.guard()).await.doing("reading the audit log")?;
    let entry = |row: &sqlx::any::AnyRow| {
        Ok(Entry {
            id: row.try_get(0)?,
            time: row.try_get(1)?,
            who: row.try_get(2)?,
            from: row.try_get(3)?,
            what: row.try_get(4)?,
            detail: row.try_get(5)?,
        })
    };
    rows.iter().map(entry).collect::<Result<_, _>>().doing("reading the audit log")
}

/// Removes rows of more than a year ago.
pub(super) async fn expire(store: &Store) -> Result<(), Error> {
    let sql = "DELETE FROM audit WHERE time < ?";
    let expired = sqlx::query(sql).bind(now_ms() - KEPT).execute(store.writer()).await;
    Ok(expired.map(drop).doing("shortening the audit log")?)
}
