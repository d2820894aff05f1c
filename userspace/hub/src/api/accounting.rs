//! `/api/v1/accounting`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ask::{Ask, keys};
use super::top::totals;
use super::{Hub, Problem};
use crate::ingest::now_ms;
use crate::store::{Filter, Level, Span};

/// What is accounted for: a column of the answer, and the metric whose integral it is.
const COLUMNS: [(&str, &str, &str); 4] = [
    ("cpu_core_seconds", "container.cpu.time", "container"),
    ("memory_byte_seconds", "container.memory.working_set", "container"),
    ("disk_bytes", "container.disk.io", "container"),
    ("network_bytes", "k8s.pod.network.io", "pod interface"),
];

/// How it is given.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// `namespace` (default), `workload`, `pod`, `container`, `node`, `vm`, or several with commas.
    by: Option<String>,
    /// `json` (default) or `csv`.
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

/// What everyone has used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// What the figures really cover, in s since the epoch: where fine points have expired, whole hours or days.
    from: i64,
    /// Behind its end.
    to: i64,
    /// One per user.
    rows: Vec<Row>,
}

/// What one has used: exact integrals, of counters by what they grew by, of values by the time they stood.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Row {
    /// Who.
    labels: BTreeMap<String, String>,
    /// Figures by column; one that nothing is known of is missing.
    used: BTreeMap<&'static str, f64>,
}

/// What everyone has used over a span of time.
#[utoipa::path(get, path = "/api/v1/accounting", params(Ask, Shape), responses((status = 200, body = Answer), (status = 400, body = Problem)))]
pub(super) async fn accounting(
    State(hub): State<Hub>,
    ask: Result<Query<Ask>, QueryRejection>,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Query(ask), Query(shape)) = (ask?, shape?);
    let (from, to) = ask.span()?;
    let keys = keys(shape.by.as_deref().or(Some("namespace")));
    let mut reader = hub.store.reader(now_ms() / 1_000).await?;
    let span = Span { from, to, most: Level::Day };
    let mut rows: BTreeMap<BTreeMap<String, String>, BTreeMap<&'static str, f64>> = BTreeMap::new();
    for (column, metric, kind) in COLUMNS {
        let filter = Filter { metric: metric.to_owned(), kind: kind.to_owned(), ..ask.places() };
        let found = reader.find(&filter).await?;
        let cells = reader.cells(&found, span).await?;
        for total in totals(&found, &cells, &keys) {
            rows.entry(total.labels).or_default().insert(column, total.integral);
        }
    }
    let (from, to) = reader.covered(span);
    let rows = rows.into_iter().map(|(labels, used)| Row { labels, used }).collect();
    let answer = Answer { from, to, rows };
    Ok(match shape.format {
        Some(Format::Csv) => ([(CONTENT_TYPE, "text/csv; charset=utf-8")], csv(&answer, &keys)).into_response(),
        _ => Json(answer).into_response(),
    })
}

/// As RFC 4180 has it.
fn csv(answer: &Answer, keys: &[String]) -> String {
    let mut text = keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(",");
    COLUMNS.iter().for_each(|(column, ..)| text.extend([",", column]));
    text.push_str("\r\n");
    for row in &answer.rows {
        text.push_str(
            &keys.iter().map(|key| quoted(row.labels.get(key).map_or("", |v| v))).collect::<Vec<_>>().join(","),
        );
        for (column, ..) in COLUMNS {
            text.push(',');
            text.extend(row.used.get(column).map(f64::to_string));
        }
        text.push_str("\r\n");
    }
    text
}

/// A field; one that a spreadsheet would take for a formula gets an apostrophe.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
