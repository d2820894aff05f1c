//! What can go wrong with the API: each is a state that whoever asks can show, and ask again later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401.
    #[error("{call}: 401 Unauthorized{said}; is the token still valid, and is it meant for this cluster?")]
    Unauthorized {
        /// Method and address.
        call: String,
        /// The server's own words, with what sets them off; or nothing.
        said: String,
    },
    /// 403.
    #[error("{call}: 403 Forbidden{said}; the role that is bound to this account lacks the right")]
    Forbidden {
        /// Method and address.
        call: String,
        /// The server's own words.
        said: String,
    },
    /// 404.
    #[error("{call}: 404 Not Found{said}")]
    NotFound {
        /// Method and address.
        call: String,
        /// The server's own words.
        said: String,
    },
    /// 429.
    #[error("{call}: 429 Too Many Requests{said}")]
    Throttled {
        /// Method and address.
        call: String,
        /// The server's own words.
        said: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// 410, as an answer or in a watch: what was known is too old to go on from.
    #[error("{call}: 410 Gone{said}; all is listed again")]
    Expired {
        /// Method and address.
        call: String,
        /// The server's own words.
        said: String,
    },
    /// 5xx.
    #[error("{call}: {status}{said}")]
    Server {
        /// Method and address.
        call: String,
        /// Code and name.
        status: String,
        /// The server's own words.
        said: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Another status that is no success.
    #[error("{call}: {status}{said}")]
    Refused {
        /// Method and address.
        call: String,
        /// Code and name.
        status: String,
        /// The server's own words.
        said: String,
    },
    /// Nothing, or not all of it, within the time.
    #[error("{call}: no answer within {} s", within.as_secs_f64())]
    TimedOut {
        /// Method and address.
        call: String,
        /// The time.
        within: Duration,
    },
    /// The server's certificate is not trusted, or the server wants another one of the client.
    #[error("{call}: {reason}")]
    Tls {
        /// Method and address.
        call: String,
        /// Why, and what to do.
        reason: String,
    },
    /// No connection, or one that broke.
    #[error("{call}: {reason}")]
    Unreachable {
        /// Method and address.
        call: String,
        /// Why.
        reason: String,
    },
    /// An answer that cannot be understood, or a larger one than is read.
    #[error("{call}: {reason}")]
    Malformed {
        /// Method and address.
        call: String,
        /// Why.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
}

/// The kinds of [`Error`], and success: a closed set for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 410.
    Expired,
    /// 429.
    Throttled,
    /// 5xx.
    Server,
    /// Another status.
    Refused,
    /// Too late.
    TimedOut,
    /// Certificates.
    Tls,
    /// No connection.
    Unreachable,
    /// Not understood.
    Malformed,
    /// Not asked.
    Config,
}

impl Outcome {
    /// Every outcome, in order.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Expired,
        Self::Throttled,
        Self::Server,
        Self::Refused,
        Self::TimedOut,
        Self::Tls,
        Self::Unreachable,
        Self::Malformed,
        Self::Config,
    ];

    /// In small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Server => "server_error",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Config => "configuration",
        }
    }
}

/// How often each outcome was had; shared by clients.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Outcome::ALL.len()]);

impl Counters {
    /// One more.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, in the order of [`Outcome::ALL`].
    pub fn read(&self) -> [u64; Outcome::ALL.len()] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Error {
    /// Its kind.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Unauthorized { .. } => Outcome::Unauthorized,
            Self::Forbidden { .. } => Outcome::Forbidden,
            Self::NotFound { .. } => Outcome::NotFound,
            Self::Throttled { .. } => Outcome::Throttled,
            Self::Expired { .. } => Outcome::Expired,
            Self::Server { .. } => Outcome::Server,
            Self::Refused { .. } => Outcome::Refused,
            Self::TimedOut { .. } => Outcome::TimedOut,
            Self::Tls { .. } => Outcome::Tls,
            Self::Unreachable { .. } => Outcome::Unreachable,
            Self::Malformed { .. } => Outcome::Malformed,
            Self::Config(_) => Outcome::Config,
        }
    }

    /// How long the server wants to be left alone, where it says so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
