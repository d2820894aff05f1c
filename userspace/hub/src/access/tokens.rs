//! Tokens: `podscope_ID_SECRET`, shown once. They are found by ID and compared by the hash of SECRET.

use sqlx::Row as _;

use super::{Error, Role, now, secret};
use crate::store::{Doing as _, Store};

/// By which people, and programs that look for secrets in texts, know one.
const PREFIX: &str = "podscope_";

/// What may be shown of a token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) created: i64,
    /// 0: never.
    pub(super) expires: i64,
}

/// Makes a token and says what it is; this is not known again afterwards.
pub(super) async fn add(store: &Store, name: &str, role: Role, expires: i64) -> Result<String, Error> {
    let (id, secret) = (secret::id()?, secret::secret()?);
    let sql = "INSERT INTO access_token (id, name, hash, role, created, expires) VALUES (?, ?, ?, ?, ?, ?)";
    let add = sqlx::query(sql).bind(&id).bind(name).bind(secret::hash(&secret)).bind(role.number());
    match add.bind(now()).bind(expires).execute(store.writer()).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Error::Exists(format!("token {name}"))),
        other => {
            other.doing("adding a token")?;
            Ok(format!("{PREFIX}{id}_{secret}"))
        }
    }
}

pub(super) async fn list(store: &Store) -> Result<Vec<Token>, Error> {
    let sql = "SELECT id, name, role, created, expires FROM access_token ORDER BY name";
    let rows = sqlx::query(sql).fetch_all(store.guard()).await.doing("listing tokens")?;
    let token = |row: &sqlx::any::AnyRow| {
        Ok(Token {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            role: Role::of(row.try_get(2)?).unwrap_or(Role::Ingest),
            created: row.try_get(3)?,
            expires: row.try_get(4)?,
        })
    };
    Ok(rows.iter().map(token).collect::<Result<_, _>>().doing("reading a token")?)
}

pub(super) async fn remove(store: &Store, name: &str) -> Result<(), Error> {
    let removed = sqlx::query("DELETE FROM access_token WHERE name = ?").bind(name).execute(store.writer()).await;
    match removed.doing("removing a token")?.rows_affected() {
        0 => Err(Error::Missing(format!("token {name}"))),
        _ => Ok(()),
    }
}

/// Name and role of a token that is known and has not expired.
pub(super) async fn find(store: &Store, token: &str) -> Result<Option<(String, Role)>, Error> {
    let Some((id, secret)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
        return Ok(None);
    };
    let sql = "SELECT name, hash, role, expires FROM access_token WHERE id = ?";
    let row = sqlx::query(sql).bind(id).fetch_optional(store.guard()).await.doing("looking for a token")?;
    let Some(row) = row else { return Ok(None) };
    let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    let (name, hash, role, expires): (String, String, i64, i64) = read().doing("reading a token")?;
    let valid = secret::fits(secret, &hash) && (expires == 0 || now() < expires);
    Ok(Role::of(role).filter(|_| valid).map(|role| (name, role)))
}
