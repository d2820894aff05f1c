//! Who may do what.

use axum::http::Method;
use clap::ValueEnum;
use serde::Serialize;
use utoipa::ToSchema;

/// What an account or a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send points, and nothing else; for tokens of agents.
    Ingest,
    /// See everything that was measured.
    Read,
    /// Also start and stop recordings.
    Record,
    /// Also see who did what.
    Admin,
}

impl Role {
    /// As the database has it.
    pub(super) const fn number(self) -> i64 {
        self as i64
    }

    /// From the database; what it does not know may do nothing.
    pub(super) const fn of(number: i64) -> Option<Self> {
        match number {
            0 => Some(Role::Ingest),
            1 => Some(Role::Read),
            2 => Some(Role::Record),
            3 => Some(Role::Admin),
            _ => None,
        }
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Read => "read",
            Role::Record => "record",
            Role::Admin => "admin",
        }
    }

    /// Whether it is enough where `need` is asked for. Whoever sends reads nothing, and the other way round.
    pub fn allows(self, need: Role) -> bool {
        if need == Role::Ingest || self == Role::Ingest { self == need } else { self >= need }
    }
}

/// Whether a request of this method may change something.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The role that a request needs; `None`: anyone may. What is not named here needs one.
pub(super) fn need(method: &Method, path: &str) -> Option<Role> {
    match path {
        "/healthz" | "/readyz" | "/web/login" | "/web/setup" => None,
        _ if path.starts_with("/web/assets/") => None,
        _ if path.starts_with("/v1/") || path.starts_with("/opentelemetry.proto.") => Some(Role::Ingest),
        _ if path.starts_with("/api/v1/agents/") => Some(Role::Ingest),
        _ if path == "/api/v1/audit" || path.starts_with("/api/v1/audit/") => Some(Role::Admin),
        "/web/logout" => Some(Role::Read),
        _ if changes(method) => Some(Role::Record),
        _ => Some(Role::Read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_needs_a_role() {
        assert_eq!(need(&Method::GET, "/anything"), Some(Role::Read));
        assert_eq!(need(&Method::GET, "/web/loginx"), Some(Role::Read));
        assert_eq!(need(&Method::DELETE, "/api/v1/recordings/1"), Some(Role::Record));
        assert_eq!(need(&Method::POST, "/v1/metrics"), Some(Role::Ingest));
        assert_eq!(need(&Method::GET, "/api/v1/audit"), Some(Role::Admin));
        assert_eq!(need(&Method::GET, "/web/assets/style.css"), None);
    }

    #[test]
    fn who_sends_reads_nothing() {
        use Role::{Admin, Ingest, Read, Record};
        assert!(Admin.allows(Record) && Record.allows(Read) && Read.allows(Read) && Ingest.allows(Ingest));
        assert!(!Read.allows(Record) && !Record.allows(Admin) && !Ingest.allows(Read) && !Admin.allows(Ingest));
        for role in [Ingest, Read, Record, Admin] {
            assert_eq!(Role::of(role.number()), Some(role));
        }
    }
}
