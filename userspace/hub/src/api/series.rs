//! `/api/v1/series`

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ask::{Ask, keys, labels, step};
use super::{Hub, Problem};
use crate::ingest::now_ms;
use crate::store::level::floor;
use crate::store::{Cell, Found, Span};

/// Series in an answer, beyond which the smallest are left out.
const MOST: usize = 1_000;

/// How series are put together over time.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// Seconds or `1m`; by default about 300 points.
    step: Option<String>,
    /// Comma-separated: `namespace`, `pod`, … or attributes of the points or entities; series that agree in them are
    /// added up. `all` adds everything up. By default every series stands for itself.
    by: Option<String>,
    /// `rate` (default of counters) per second, `increase`, `average` (default of gauges), `low`, `high`.
    value: Option<Aggregate>,
    /// So many of the largest series; at most 1000.
    limit: Option<usize>,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Aggregate {
    /// Increase per second.
    Rate,
    /// Increase.
    Increase,
    /// Mean over time.
    Average,
    /// Smallest value or rate.
    Low,
    /// Largest value or rate.
    High,
}

/// Series over time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// Seconds between points; may be longer than asked where finer points have expired.
    step: i64,
    /// UCUM unit of the values.
    unit: String,
    /// What the values are.
    value: Aggregate,
    /// Starts of the steps, in s since the epoch.
    times: Vec<i64>,
    /// The series, largest first.
    series: Vec<Series>,
    /// Series that were left out by `limit`.
    left_out: usize,
}

/// A series.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Series {
    /// What it is called.
    labels: BTreeMap<String, String>,
    /// A value per time; null where nothing is known.
    values: Vec<Option<f64>>,
}

/// Values over time.
#[utoipa::path(get, path = "/api/v1/series", params(Ask, Shape), responses((status = 200, body = Answer), (status = 400, body = Problem)))]
pub(super) async fn series(
    State(hub): State<Hub>,
    ask: Result<Query<Ask>, QueryRejection>,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let (Query(ask), Query(shape)) = (ask?, shape?);
    let keys = keys(shape.by.as_deref());
    let filter = ask.filter(&keys)?;
    let (from, to) = ask.span()?;
    let mut reader = hub.store.reader(now_ms() / 1_000).await?;
    let (step, most) = step(shape.step.as_deref(), (from, to), reader.finest(from))?;
    let found = reader.find(&filter).await?;
    let span = Span { from: floor(from, step), to, most };
    let cells = reader.cells(&found, span).await?;
    let gauge = found.first().is_some_and(|found| found.gauge);
    let value = shape.value.unwrap_or(if gauge { Aggregate::Average } else { Aggregate::Rate });
    let unit = match (value, found.first()) {
        (Aggregate::Rate, Some(found)) => format!("{}/s", found.unit),
        (_, found) => found.map(|found| found.unit.clone()).unwrap_or_default(),
    };
    let times: Vec<i64> = (0..).map(|n| span.from + n * step).take_while(|time| *time < to).collect();
    let mut series = put_together(&found, &cells, &keys, (span, step, times.len()), value);
    let size = |series: &Series| series.values.iter().flatten().sum::<f64>();
    series.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.labels.cmp(&b.labels)));
    let left_out = series.len().saturating_sub(shape.limit.unwrap_or(MOST).min(MOST));
    series.truncate(series.len() - left_out);
    Ok(Json(Answer { step, unit, value, times, series, left_out }))
}

/// One step of one series.
#[derive(Clone, Copy, Default)]
struct Sum {
    total: f64,
    seconds: f64,
    low: f64,
    high: f64,
}

fn put_together(
    found: &[Found],
    cells: &[Cell],
    keys: &[String],
    (span, step, steps): (Span, i64, usize),
    value: Aggregate,
) -> Vec<Series> {
    let names: HashMap<i64, BTreeMap<String, String>> =
        found.iter().map(|found| (found.series, labels(found, keys))).collect();
    // First over time within each series, then over series: an average is taken before values are added up.
    let mut sums: HashMap<(i64, usize), Sum> = HashMap::new();
    for cell in cells {
        let Ok(index) = usize::try_from((cell.slot - span.from) / step) else { continue };
        let sum = sums.entry((cell.series, index)).or_insert(Sum { low: cell.low, high: cell.high, ..Sum::default() });
        sum.total += cell.total;
        sum.seconds += cell.seconds;
        sum.low = sum.low.min(cell.low);
        sum.high = sum.high.max(cell.high);
    }
    let mut series: BTreeMap<&BTreeMap<String, String>, Vec<Option<f64>>> = BTreeMap::new();
    for ((number, index), sum) in sums {
        let Some(name) = names.get(&number).filter(|_| index < steps) else { continue };
        let values = series.entry(name).or_insert_with(|| vec![None; steps]);
        let figure = match value {
            Aggregate::Increase => sum.total,
            // A step shorter than the sender's interval has the increase of the whole interval.
            Aggregate::Rate if span.from + step * (index as i64 + 1) <= span.to => {
                sum.total / sum.seconds.max(step as f64)
            }
            // The last step may not be over yet.
            Aggregate::Rate => sum.total / sum.seconds.max(1.0),
            // A single value that stands for no time yet is still a value.
            Aggregate::Average if sum.seconds == 0.0 => sum.high,
            Aggregate::Average => sum.total / sum.seconds,
            Aggregate::Low => sum.low,
            Aggregate::High => sum.high,
        };
        let entry = &mut values[index];
        *entry = Some(match (value, *entry) {
            (_, None) => figure,
            (Aggregate::Low, Some(other)) => other.min(figure),
            (Aggregate::High, Some(other)) => other.max(figure),
            (_, Some(other)) => other + figure,
        });
    }
    series.into_iter().map(|(labels, values)| Series { labels: labels.clone(), values }).collect()
}
