//! Sessions: a random secret in a cookie, its hash in the database.

use sqlx::Row as _;

use super::{Access, Error, Role, Who, secret};
use crate::ingest::now_ms;
use crate::store::{Doing as _, Store};

impl Access {
    /// Begins a session of `account`; what its cookie holds.
    pub(super) async fn begin(&self, account: &str) -> Result<String, Error> {
        let session = secret::secret()?;
        let sql = "INSERT INTO login_session (hash, account, created, seen) VALUES (?, ?, ?, ?)";
        let add = sqlx::query(sql).bind(secret::hash(&session)).bind(account).bind(now_ms()).bind(now_ms());
        add.execute(self.0.store.writer()).await.doing("beginning a session")?;
        Ok(session)
    }

    /// Ends a session.
    pub(super) async fn end(&self, session: &str) -> Result<(), Error> {
        let sql = "DELETE FROM login_session WHERE hash = ?";
        let end = sqlx::query(sql).bind(secret::hash(session)).execute(self.0.store.writer()).await;
        Ok(end.map(drop).doing("ending a session")?)
    }

    /// Whose session it is, where it has not expired.
    pub(super) async fn session(&self, session: &str) -> Result<Option<Who>, Error> {
        let hash = secret::hash(session);
        let sql = "SELECT account.name, account.role, login_session.created, login_session.seen FROM login_session \
            JOIN account ON account.name = login_session.account WHERE login_session.hash = ?";
        let row = sqlx::query(sql).bind(&hash).fetch_optional(self.0.store.guard()).await;
        let Some(row) = row.doing("looking for a session")? else { return Ok(None) };
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        let (name, role, created, seen): (String, i64, i64, i64) = read().doing("reading a session")?;
        let now = now_ms();
        let Some(role) = Role::of(role) else { return Ok(None) };
        if now - created >= self.life() || now - seen >= self.idle() {
            return Ok(None);
        }
        if now - seen > self.idle() / 10 {
            self.seen(hash, now);
        }
        Ok(Some(Who { csrf: Some(secret::csrf(session)), ..Who::new(name, role) }))
    }

    /// Notes that a session is in use, while the request goes on: the writer may have much to do.
    fn seen(&self, hash: String, now: i64) {
        let store = self.0.store.clone();
        tokio::spawn(async move {
            let sql = "UPDATE login_session SET seen = ? WHERE hash = ?";
            let noted = sqlx::query(sql).bind(now).bind(hash).execute(store.writer()).await;
            if let Err(error) = noted {
                tracing::warn!("cannot note that a session is in use: {error}");
            }
        });
    }
}

/// Removes sessions that were not used for `idle` or began before `life`, in ms.
pub(super) async fn expire(store: &Store, idle: i64, life: i64) -> Result<(), Error> {
    let sql = "DELETE FROM login_session WHERE seen <= ? OR created <= ?";
    let expired = sqlx::query(sql).bind(now_ms() - idle).bind(now_ms() - life).execute(store.writer()).await;
    Ok(expired.map(drop).doing("removing sessions")?)
}
