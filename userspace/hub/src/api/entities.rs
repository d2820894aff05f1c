//! `/api/v1/metrics`, `/api/v1/entities`

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ask::Ask;
use super::{Hub, Problem};
use crate::store::EntityRow;

/// A metric that there are points of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Metric {
    /// Its name.
    name: String,
    /// UCUM unit.
    unit: String,
    /// `counter` or `gauge`.
    kind: &'static str,
    /// Sort of entity that it belongs to.
    entity: String,
    /// One sentence.
    description: String,
}

/// The metrics that there are points of.
#[utoipa::path(get, path = "/api/v1/metrics", responses((status = 200, body = [Metric])))]
pub(super) async fn metrics(State(hub): State<Hub>) -> Result<Json<Vec<Metric>>, Problem> {
    let rows = hub.store.metrics().await?;
    let metric = |row: crate::store::MetricRow| Metric {
        name: row.name,
        unit: row.unit,
        kind: if row.gauge { "gauge" } else { "counter" },
        entity: row.entity,
        description: row.description,
    };
    Ok(Json(rows.into_iter().map(metric).collect()))
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// `next` of the page before.
    after: Option<i64>,
    /// How many; 100, at most 1000.
    limit: Option<i64>,
}

/// An entity.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entity {
    /// Its number, which `/api/v1/series` takes as `entity`.
    id: i64,
    /// Sort: pod, container, vm, node, …
    kind: String,
    /// When it was first heard of, in s since the epoch.
    first_seen: i64,
    /// When it was last heard of, in s since the epoch.
    last_seen: Option<i64>,
    /// What is known of it, by OpenTelemetry's names.
    #[schema(value_type = Object)]
    attributes: serde_json::Value,
}

/// A page of entities.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entities {
    /// In the order of their numbers.
    entities: Vec<Entity>,
    /// What to give as `after` for the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// What points belong to, and was heard of since `from`.
#[utoipa::path(get, path = "/api/v1/entities", params(Ask, Page), responses((status = 200, body = Entities), (status = 400, body = Problem)))]
pub(super) async fn entities(
    State(hub): State<Hub>,
    ask: Result<Query<Ask>, QueryRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Entities>, Problem> {
    let (Query(ask), Query(page)) = (ask?, page?);
    let limit = page.limit.unwrap_or(100).clamp(1, 1_000);
    let rows = hub.store.entities(&ask.places(), ask.span()?.0, page.after.unwrap_or_default(), limit).await?;
    let next = if rows.len() as i64 == limit { rows.last().map(|row| row.id) } else { None };
    let entity = |row: EntityRow| Entity {
        id: row.id,
        kind: row.kind,
        first_seen: row.first_seen,
        last_seen: row.last_seen.map(|ms| ms / 1_000),
        attributes: serde_json::from_str(&row.attributes).unwrap_or_default(),
    };
    Ok(Json(Entities { entities: rows.into_iter().map(entity).collect(), next }))
}
