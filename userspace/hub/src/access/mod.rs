//! Who may do what: users with passwords, tokens for programs, sessions, and a record of what was done.
//!
//! Only hashes of secrets are kept. `guard` stands before every route and lets nothing through that is not named;
//! `limit` and `role` are sans-IO.

mod accounts;
mod audit;
pub mod cli;
mod guard;
mod headers;
mod limit;
mod pages;
mod password;
mod role;
mod secret;
mod sessions;
mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Entry, Open};
use crate::ingest::now_ms;
use crate::store::{self, Store};

pub(crate) use audit::{Entry as AuditEntry, list as audit};
pub(crate) use guard::guard;
pub(crate) use headers::{Headers, secure};
pub(crate) use pages::{escape, routes};
pub use role::Role;

use limit::{Key, Limiter};
use password::Passwords;

/// How long a set-up link may be used.
const SETUP: Duration = Duration::from_secs(3_600);
/// How often what has expired is removed.
const TIDY: Duration = Duration::from_secs(3_600);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The kernel gives no random bytes.
    #[error("cannot get random bytes: {0}")]
    Random(String),
    /// The hash cannot be made.
    #[error("cannot hash a password: {0}")]
    Hash(String),
    /// A password that is too easy.
    #[error("{0}")]
    Password(&'static str),
    /// A name that cannot be used.
    #[error("{0:?} is no name: give 1 to 64 of the letters a to z, digits and . _ @ -")]
    Name(String),
    /// There is one already.
    #[error("{0} is there already; remove it first")]
    Exists(String),
    /// There is none.
    #[error("there is no {0}")]
    Missing(String),
    /// The last administrator.
    #[error("{0} is the last admin; add another one first")]
    Last(String),
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked; try again in a few seconds")]
    Busy,
}

/// Who a request is from. Routes take it as `Extension<Who>`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Who {
    /// Name of the user, of the token, or of the way in.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What a request that changes something must show as `X-CSRF-Token` or form field `csrf`; with a session only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
    /// Served with `--open`: anyone may do anything.
    #[serde(skip)]
    pub(crate) anyone: bool,
}

impl Who {
    fn new(name: String, role: Role) -> Self {
        Self { name, role, csrf: None, anyone: false }
    }

    /// Whether it may do what needs `role`.
    pub fn may(&self, role: Role) -> bool {
        self.anyone || self.role.allows(role)
    }
}

/// Knows users, tokens and sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    open: Option<Open>,
    /// Whether clients come over TLS: cookies are for it alone.
    secure: bool,
    proxy: bool,
    idle: Duration,
    life: Duration,
    limiter: Mutex<Limiter>,
    passwords: Passwords,
    refused: Refused,
}

/// Requests that were refused since the start.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// No session, no token, or a wrong one.
    pub(crate) unknown: AtomicU64,
    /// The role is too small, or the request came from another site's page.
    pub(crate) forbidden: AtomicU64,
    /// Passwords tried too often.
    pub(crate) limited: AtomicU64,
    /// Connections beyond the limit.
    pub(crate) connections: AtomicU64,
}

impl Access {
    /// For a hub that serves as `entry` says.
    ///
    /// # Errors
    /// When there is no randomness for a password that is nobody's.
    pub fn new(store: Store, entry: &Entry) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner {
            store,
            open: entry.open,
            secure: entry.tls_cert.is_some() || entry.behind_proxy,
            proxy: entry.behind_proxy,
            idle: entry.session_idle.into(),
            life: entry.session_life.into(),
            limiter: Mutex::default(),
            passwords: Passwords::new()?,
            refused: Refused::default(),
        })))
    }

    /// Where no account is there yet: the path of a page that makes the first one, once, within an hour.
    ///
    /// # Errors
    /// What the database says.
    pub async fn setup(&self) -> Result<Option<String>, Error> {
        if self.0.open.is_some() || accounts::any(&self.0.store).await? {
            return Ok(None);
        }
        let secret = secret::secret()?;
        accounts::offer(&self.0.store, &secret::hash(&secret), now() + SETUP.as_secs() as i64).await?;
        Ok(Some(format!("/web/setup?secret={secret}")))
    }

    /// Removes what has expired, for ever.
    pub(crate) async fn tidy(self) {
        let mut every = tokio::time::interval(TIDY);
        loop {
            every.tick().await;
            let done = async {
                sessions::expire(&self.0.store, self.idle(), self.life()).await?;
                accounts::withdraw(&self.0.store).await?;
                audit::expire(&self.0.store).await
            };
            if let Err(error) = done.await {
                tracing::warn!("cannot remove expired sessions: {}", crate::ingest::chain(&error));
            }
        }
    }

    pub(crate) fn refused(&self) -> &Refused {
        &self.0.refused
    }

    /// In ms.
    fn idle(&self) -> i64 {
        i64::try_from(self.0.idle.as_millis()).unwrap_or(i64::MAX / 2)
    }

    /// In ms.
    fn life(&self) -> i64 {
        i64::try_from(self.0.life.as_millis()).unwrap_or(i64::MAX / 2)
    }

    /// Counts a try of a password.
    ///
    /// # Errors
    /// For how many seconds to wait.
    fn attempt(&self, keys: &[Key]) -> Result<(), i64> {
        let attempt = self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner).attempt(keys, now_ms());
        attempt.map_err(|wait| {
            self.0.refused.limited.fetch_add(1, Ordering::Relaxed);
            (wait + 999) / 1_000
        })
    }

    /// Names and addresses whose tries were forgotten, because there were too many.
    pub(crate) fn forgotten(&self) -> u64 {
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }

    fn succeeded(&self, keys: &[Key]) {
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner).succeeded(keys);
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    now_ms() / 1_000
}

/// A name that can stand in a log and a page as it is.
fn name(text: &str) -> Result<&str, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    let good = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
    if good { Ok(text) } else { Err(Error::Name(text.chars().take(64).collect())) }
}
