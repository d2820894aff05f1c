//! `/api/v1/me`, `/api/v1/audit`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Hub, Problem};
use crate::access::{self, AuditEntry, Who};

/// Who the request is from.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Who)))]
pub(super) async fn me(Extension(who): Extension<Who>) -> Json<Who> {
    Json(who)
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// `next` of the page before.
    before: Option<i64>,
    /// How many; 100, at most 1000.
    limit: Option<i64>,
}

/// A page of the audit log, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Audit {
    /// What was done.
    entries: Vec<AuditEntry>,
    /// `before` of the next page, where there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Who did what, when and from where; for role admin.
#[utoipa::path(get, path = "/api/v1/audit", params(Page), responses((status = 200, body = Audit)))]
pub(super) async fn audit(
    State(hub): State<Hub>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Audit>, Problem> {
    let Query(page) = page?;
    let limit = page.limit.unwrap_or(100).clamp(1, 1_000);
    let entries = access::audit(&hub.store, page.before.unwrap_or(i64::MAX), limit).await?;
    let full = i64::try_from(entries.len()).unwrap_or(i64::MAX) == limit;
    let next = entries.last().filter(|_| full).map(|entry| entry.id);
    Ok(Json(Audit { entries, next }))
}
