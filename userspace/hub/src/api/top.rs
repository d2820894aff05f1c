//! `/api/v1/top`

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ask::{Ask, keys, labels};
use super::{Hub, Problem};
use crate::ingest::now_ms;
use crate::store::{Cell, Found, Level, Span};

/// How many.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// Comma-separated: by what series are joined, as for `/api/v1/series`.
    by: Option<String>,
    /// How many; 10, at most 1000.
    limit: Option<usize>,
}

/// Who had most.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// UCUM unit of `value`.
    unit: String,
    /// What the figures really cover, in s since the epoch.
    from: i64,
    /// Behind its end.
    to: i64,
    /// Largest first.
    top: Vec<Total>,
    /// How many there are.
    of: usize,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Total {
    /// What it is called.
    pub(super) labels: BTreeMap<String, String>,
    /// Increase of a counter; mean of a gauge.
    pub(super) value: f64,
    /// Integral over time: increase of a counter; value times seconds of a gauge.
    pub(super) integral: f64,
}

/// Who had most over a span of time.
#[utoipa::path(get, path = "/api/v1/top", params(Ask, Shape), responses((status = 200, body = Answer), (status = 400, body = Problem)))]
pub(super) async fn top(
    State(hub): State<Hub>,
    ask: Result<Query<Ask>, QueryRejection>,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let (Query(ask), Query(shape)) = (ask?, shape?);
    let keys = keys(shape.by.as_deref());
    let (filter, (from, to)) = (ask.filter(&keys)?, ask.span()?);
    let mut reader = hub.store.reader(now_ms() / 1_000).await?;
    let span = Span { from, to, most: Level::Day };
    let found = reader.find(&filter).await?;
    let cells = reader.cells(&found, span).await?;
    let mut top = totals(&found, &cells, &keys);
    let of = top.len();
    top.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.labels.cmp(&b.labels)));
    top.truncate(shape.limit.unwrap_or(10).min(1_000));
    let (from, to) = reader.covered(span);
    let unit = found.first().map(|found| found.unit.clone()).unwrap_or_default();
    Ok(Json(Answer { unit, from, to, top, of }))
}

/// Adds up what series did, by what they are called.
pub(super) fn totals(found: &[Found], cells: &[Cell], keys: &[String]) -> Vec<Total> {
    let mut sums: HashMap<i64, (f64, f64, f64)> = HashMap::new();
    for cell in cells {
        let sum = sums.entry(cell.series).or_default();
        *sum = (sum.0 + cell.total, sum.1 + cell.seconds, cell.high);
    }
    let mut totals: BTreeMap<BTreeMap<String, String>, (f64, f64)> = BTreeMap::new();
    for found in found {
        let Some((total, seconds, last)) = sums.get(&found.series) else { continue };
        let mean = if *seconds > 0.0 { total / seconds } else { *last };
        let entry = totals.entry(labels(found, keys)).or_default();
        entry.0 += if found.gauge { mean } else { *total };
        entry.1 += total;
    }
    totals.into_iter().map(|(labels, (value, integral))| Total { labels, value, integral }).collect()
}
