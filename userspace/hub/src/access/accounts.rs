//! Users, and the link that makes the first one.

use sqlx::Row as _;

use super::{Error, Role, now};
use crate::store::{Doing as _, Store};

/// A user.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) created: i64,
}

pub(super) async fn any(store: &Store) -> Result<bool, Error> {
    let row = sqlx::query("SELECT name FROM account LIMIT 1").fetch_optional(store.guard()).await;
    Ok(row.doing("looking for users")?.is_some())
}

pub(super) async fn list(store: &Store) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query("SELECT name, role, created FROM account ORDER BY name").fetch_all(store.guard()).await;
    let account = |row: &sqlx::any::AnyRow| {
        let role = Role::of(row.try_get(1)?).unwrap_or(Role::Read);
        Ok(Account { name: row.try_get(0)?, role, created: row.try_get(2)? })
    };
    Ok(rows.doing("listing users")?.iter().map(account).collect::<Result<_, _>>().doing("reading a user")?)
}

/// What is kept of a user's password.
pub(super) async fn password(store: &Store, name: &str) -> Result<Option<String>, Error> {
    let row = sqlx::query("SELECT password FROM account WHERE name = ?").bind(name);
    let row = row.fetch_optional(store.guard()).await.doing("looking for a user")?;
    Ok(row.map(|row| row.try_get(0)).transpose().doing("reading a user")?)
}

pub(super) async fn add(store: &Store, name: &str, role: Role, hash: &str) -> Result<(), Error> {
    let sql = "INSERT INTO account (name, password, role, created) VALUES (?, ?, ?, ?)";
    let added = sqlx::query(sql).bind(name).bind(hash).bind(role.number()).bind(now()).execute(store.writer()).await;
    match added {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Error::Exists(format!("user {name}"))),
        other => Ok(other.map(drop).doing("adding a user")?),
    }
}

/// Sets a new password and ends the user's sessions.
pub(super) async fn set_password(store: &Store, name: &str, hash: &str) -> Result<(), Error> {
    let mut write = store.writer().begin().await.doing("changing a password")?;
    let sql = "UPDATE account SET password = ? WHERE name = ?";
    let changed = sqlx::query(sql).bind(hash).bind(name).execute(&mut *write).await.doing("changing a password")?;
    if changed.rows_affected() == 0 {
        return Err(Error::Missing(format!("user {name}")));
    }
    let sql = "DELETE FROM login_session WHERE account = ?";
    sqlx::query(sql).bind(name).execute(&mut *write).await.doing("ending sessions")?;
    Ok(write.commit().await.doing("changing a password")?)
}

/// Removes a user and its sessions, but never the last admin.
pub(super) async fn remove(store: &Store, name: &str) -> Result<(), Error> {
    let admins: Vec<Account> = list(store).await?.into_iter().filter(|one| one.role == Role::Admin).collect();
    if admins.len() == 1 && admins[0].name == name {
        return Err(Error::Last(name.to_owned()));
    }
    let mut write = store.writer().begin().await.doing("removing a user")?;
    let removed = sqlx::query("DELETE FROM account WHERE name = ?").bind(name).execute(&mut *write).await;
    if removed.doing("removing a user")?.rows_affected() == 0 {
        return Err(Error::Missing(format!("user {name}")));
    }
    let sql = "DELETE FROM login_session WHERE account = ?";
    sqlx::query(sql).bind(name).execute(&mut *write).await.doing("ending sessions")?;
    Ok(write.commit().await.doing("removing a user")?)
}

/// Keeps the hash of a set-up link until `expires` (s).
pub(super) async fn offer(store: &Store, hash: &str, expires: i64) -> Result<(), Error> {
    let sql = "INSERT INTO setup_link (hash, expires) VALUES (?, ?)";
    let kept = sqlx::query(sql).bind(hash).bind(expires).execute(store.writer()).await;
    Ok(kept.map(drop).doing("keeping a set-up link")?)
}

/// Whether a link can still be used.
pub(super) async fn offered(store: &Store, hash: &str) -> Result<bool, Error> {
    let sql = "SELECT hash FROM setup_link WHERE hash = ? AND expires > ?";
    let row = sqlx::query(sql).bind(hash).bind(now()).fetch_optional(store.guard()).await;
    Ok(row.doing("looking for a set-up link")?.is_some() && !any(store).await?)
}

/// Makes the first account, an admin, and ends every link; `false` where the link cannot be used (any more).
pub(super) async fn first(store: &Store, link: &str, name: &str, password: &str) -> Result<bool, Error> {
    const DOING: &str = "adding the first user";
    let mut write = store.writer().begin().await.doing(DOING)?;
    let sql = "DELETE FROM setup_link WHERE hash = ? AND expires > ?";
    let used = sqlx::query(sql).bind(link).bind(now()).execute(&mut *write).await.doing(DOING)?.rows_affected();
    let there = sqlx::query("SELECT name FROM account LIMIT 1").fetch_optional(&mut *write).await.doing(DOING)?;
    if used != 1 || there.is_some() {
        return Ok(false);
    }
    sqlx::query("DELETE FROM setup_link").execute(&mut *write).await.doing(DOING)?;
    let sql = "INSERT INTO account (name, password, role, created) VALUES (?, ?, ?, ?)";
    let add = sqlx::query(sql).bind(name).bind(password).bind(Role::Admin.number()).bind(now());
    add.execute(&mut *write).await.doing(DOING)?;
    write.commit().await.doing(DOING)?;
    Ok(true)
}

/// Removes links that have expired.
pub(super) async fn withdraw(store: &Store) -> Result<(), Error> {
    let sql = "DELETE FROM setup_link WHERE expires <= ?";
    Ok(sqlx::query(sql).bind(now()).execute(store.writer()).await.map(drop).doing("removing set-up links")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_expire() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("hub.db").display());
        let store = Store::open(&url, Default::default()).await.unwrap();
        offer(&store, "old", now() - 1).await.unwrap();
        offer(&store, "new", now() + 60).await.unwrap();
        assert!(!offered(&store, "old").await.unwrap() && offered(&store, "new").await.unwrap());
        assert!(!first(&store, "old", "ada", "hash").await.unwrap());
        withdraw(&store).await.unwrap();
        assert!(first(&store, "new", "ada", "hash").await.unwrap());
        offer(&store, "newer", now() + 60).await.unwrap();
        assert!(!offered(&store, "newer").await.unwrap(), "there is a user");
        assert!(!first(&store, "newer", "bob", "hash").await.unwrap());
        assert_eq!(list(&store).await.unwrap().len(), 1);
    }
}
