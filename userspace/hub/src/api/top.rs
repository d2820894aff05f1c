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
    /// Seconds from its first point to its last: what `value` of a counter came about in.
    pub(super) seconds: f64,
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
    let mut sums: HashMap<i64, Sum> = HashMap::new();
    for cell in cells {
        let sum = sums.entry(cell.series).or_insert_with(|| Sum::at(cell));
        sum.total += cell.total;
        sum.seconds += cell.seconds;
        sum.high = cell.high;
        sum.begin = sum.begin.min(cell.until as f64 - cell.seconds);
        sum.end = sum.end.max(cell.until);
    }
    let mut totals: BTreeMap<BTreeMap<String, String>, (f64, Sum)> = BTreeMap::new();
    for found in found {
        let Some(sum) = sums.get(&found.series) else { continue };
        let mean = if sum.seconds > 0.0 { sum.total / sum.seconds } else { sum.high };
        let (value, all) = totals.entry(labels(found, keys)).or_insert((0.0, Sum { total: 0.0, seconds: 0.0, ..*sum }));
        *value += if found.gauge { mean } else { sum.total };
        all.total += sum.total;
        all.seconds += sum.seconds;
        all.begin = all.begin.min(sum.begin);
        all.end = all.end.max(sum.end);
    }
    let total = |(labels, (value, all)): (_, (f64, Sum))| {
        // Coarse rows end on their step, not with the last point in it.
        let seconds = (all.end as f64 - all.begin).min(all.seconds);
        Total { labels, value, integral: all.total, seconds }
    };
    totals.into_iter().map(total).collect()
}

/// What a series did over the whole span.
#[derive(Clone, Copy)]
struct Sum {
    total: f64,
    seconds: f64,
    high: f64,
    /// Since when there are points, in s.
    begin: f64,
    /// Up to when, in s.
    end: i64,
}

impl Sum {
    fn at(cell: &Cell) -> Self {
        Self { total: 0.0, seconds: 0.0, high: 0.0, begin: f64::INFINITY, end: cell.until }
    }
}
