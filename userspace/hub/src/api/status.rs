//! `/api/v1/status`

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Hub, Problem};
use crate::store::Level;

/// How the hub is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// Its version.
    version: &'static str,
    /// What has become of points since the start.
    points: Points,
    /// Requests that were refused since the start.
    refused: Refused,
    /// Series in mind.
    series: usize,
    /// Writes that failed since the start.
    failed_writes: u64,
    /// Bytes of the database on disk, where it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_bytes: Option<u64>,
    /// What is kept, by level.
    levels: Vec<Kept>,
}

/// Points by what became of them.
#[derive(Debug, Serialize, ToSchema)]
struct Points {
    kept: u64,
    duplicate: u64,
    late: u64,
    malformed: u64,
    out_of_time: u64,
    over_limit: u64,
    turned_away: u64,
}

/// Requests by why they were refused.
#[derive(Debug, Serialize, ToSchema)]
struct Refused {
    /// No session, token or certificate, or a wrong one.
    unknown: u64,
    /// The role is too small, or the request came from another site's page.
    forbidden: u64,
    /// Passwords that were tried too soon.
    limited: u64,
    /// Names and addresses whose tries were forgotten, because there were too many.
    forgotten: u64,
    /// Connections beyond the limit.
    connections: u64,
}

/// A level.
#[derive(Debug, Serialize, ToSchema)]
struct Kept {
    /// raw, 1m, 1h or 1d.
    level: &'static str,
    /// For how long its points are kept, in s.
    retained: u64,
    /// The first point's place, in s since the epoch, to the start of its table.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

/// How the hub is.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(hub): State<Hub>) -> Result<Json<Status>, Problem> {
    let counters = hub.queue.counters();
    let refused = hub.access.refused();
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let since = hub.store.since().await?;
    let levels = Level::ALL.into_iter().map(|level| Kept {
        level: level.name(),
        retained: hub.store.retention().of(level).as_secs(),
        since: since[level.index()],
    });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        points: Points {
            kept: read(&counters.kept),
            duplicate: read(&counters.duplicate),
            late: read(&counters.late),
            malformed: read(&counters.malformed),
            out_of_time: read(&counters.out_of_time),
            over_limit: read(&counters.over_limit),
            turned_away: read(&counters.turned_away),
        },
        refused: Refused {
            unknown: read(&refused.unknown),
            forbidden: read(&refused.forbidden),
            limited: read(&refused.limited),
            forgotten: hub.access.forgotten(),
            connections: read(&refused.connections),
        },
        series: counters.series.load(Ordering::Relaxed),
        failed_writes: read(&counters.failed),
        database_bytes: hub.store.bytes(),
        levels: levels.collect(),
    }))
}
