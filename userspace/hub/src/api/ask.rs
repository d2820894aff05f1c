//! What questions have in common: a span of time, which series, and how they are put together.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use crate::ingest::now_ms;
use crate::store::{Filter, Found, Level, PLACE};

/// Points of a series in an answer.
const POINTS: i64 = 11_000;

/// Which series, and when.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Ask {
    /// Name of a metric, as `/api/v1/metrics` lists them.
    #[serde(default)]
    pub(super) metric: String,
    /// Start: RFC 3339, seconds since the epoch, or relative such as `-1h`; an hour ago.
    from: Option<String>,
    /// End, like `from`; now.
    to: Option<String>,
    /// Sort of entity: pod, container, vm, node, …
    pub(super) kind: Option<String>,
    /// Number of one entity.
    pub(super) entity: Option<i64>,
    /// Only this node.
    node: Option<String>,
    /// Only this namespace.
    namespace: Option<String>,
    /// Only this workload, as `Deployment/name`.
    workload: Option<String>,
    /// Only this pod.
    pod: Option<String>,
    /// Only this container.
    container: Option<String>,
    /// Only this virtual machine.
    vm: Option<String>,
    /// Only this executable.
    executable: Option<String>,
}

impl Ask {
    /// The series that are asked for, with what joins them by `keys`; which metric must be said.
    pub(super) fn filter(&self, keys: &[String]) -> Result<Filter, Problem> {
        if self.metric.is_empty() {
            return Err(Problem::wrong("metric is missing; /api/v1/metrics lists what there is"));
        }
        // Names of OpenTelemetry's have dots, those of columns have none.
        Ok(Filter { known: keys.iter().any(|key| key.contains('.')), ..self.places() })
    }

    /// The entities that are asked for.
    pub(super) fn places(&self) -> Filter {
        let places = [
            ("node", &self.node),
            ("namespace", &self.namespace),
            ("workload", &self.workload),
            ("pod", &self.pod),
            ("container", &self.container),
            ("vm", &self.vm),
            ("executable", &self.executable),
        ];
        Filter {
            metric: self.metric.clone(),
            kind: self.kind.clone().unwrap_or_default(),
            places: places.into_iter().filter_map(|(column, value)| Some((column, value.clone()?))).collect(),
            entity: self.entity.unwrap_or_default(),
            known: false,
        }
    }

    /// The span, `[from, to)` in s.
    pub(super) fn span(&self) -> Result<(i64, i64), Problem> {
        let now = now_ms() / 1_000;
        let from = self.from.as_deref().map_or(Ok(now - 3_600), |text| time(text, now))?;
        let to = self.to.as_deref().map_or(Ok(now + 1), |text| time(text, now))?;
        if from < to { Ok((from, to)) } else { Err(Problem::wrong("from must be before to")) }
    }
}

/// A point in time, in s.
fn time(text: &str, now: i64) -> Result<i64, Problem> {
    let wrong = || Problem::wrong(format!("{text:?} is no time; give RFC 3339, seconds since the epoch, now or -1h"));
    if text == "now" {
        return Ok(now);
    }
    if let Some(before) = text.strip_prefix('-') {
        let before = humantime::parse_duration(before).map_err(|_| wrong())?;
        return Ok(now - i64::try_from(before.as_secs()).map_err(|_| wrong())?);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // Times beyond the year 9999 are mistakes, mostly milliseconds.
        return if (0.0..253_402_300_800.0).contains(&seconds) { Ok(seconds as i64) } else { Err(wrong()) };
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| wrong())?;
    i64::try_from(since.as_secs()).map_err(|_| wrong())
}

/// A step in s, and the coarsest rows that serve it.
pub(super) fn step(asked: Option<&str>, (from, to): (i64, i64), finest: Level) -> Result<(i64, Level), Problem> {
    let step = match asked {
        Some(text) => {
            let step = text.parse().map(std::time::Duration::from_secs).or_else(|_| humantime::parse_duration(text));
            let step = step.map_err(|_| Problem::wrong(format!("{text:?} is no step; give 60 or 1m")))?;
            i64::try_from(step.as_secs()).unwrap_or(i64::MAX).max(1)
        }
        // About what a chart is wide.
        None => nice((to - from) / 300),
    };
    let step = step.max(finest.step());
    if (to - from) / step > POINTS {
        return Err(Problem::wrong(format!(
            "{} points per series are too many; give a longer step",
            (to - from) / step
        )));
    }
    let level = Level::ALL.into_iter().rev().find(|level| step % level.step() == 0).unwrap_or(Level::Raw);
    Ok((step, level.max(finest)))
}

/// The next step up that people use; a multiple of the agents' interval, so that every step has as many points.
fn nice(least: i64) -> i64 {
    const STEPS: [i64; 15] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 21_600, 86_400];
    STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| (least / 86_400 + 1) * 86_400)
}

/// By what series are joined: columns of the entity, or their own attributes.
pub(super) fn keys(by: Option<&str>) -> Vec<String> {
    let by = by.unwrap_or_default().split(',').map(str::trim);
    by.filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// What a series is called under `keys`; where none are given, everything that tells it from others.
pub(super) fn labels(found: &Found, keys: &[String]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in PLACE.into_iter().zip(&found.place).filter(|(_, value)| !value.is_empty()) {
        all.insert(key.to_owned(), value.clone());
    }
    if found.pid != 0 {
        all.insert("pid".to_owned(), found.pid.to_string());
    }
    all.insert("entity".to_owned(), found.entity.to_string());
    all.extend(attributes(&found.attributes));
    if keys.is_empty() {
        return all;
    }
    if keys == ["all"] {
        return BTreeMap::new();
    }
    // What else is known of the entity is read only where it is asked for.
    if keys.iter().any(|key| !all.contains_key(key)) {
        let known = attributes(&found.known).filter(|(key, _)| keys.contains(key));
        all.extend(known.filter(|(key, _)| !all.contains_key(key)).collect::<Vec<_>>());
    }
    keys.iter().map(|key| (key.clone(), all.remove(key).unwrap_or_default())).collect()
}

/// The members of a JSON object as texts.
fn attributes(object: &str) -> impl Iterator<Item = (String, String)> {
    let members = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(object).unwrap_or_default();
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members.into_iter().map(move |(key, value)| (key, text(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(time("2026-01-01T00:00:00Z", 0).unwrap(), 1_767_225_600);
        assert_eq!(time("-1h", 10_000).unwrap(), 6_400);
        assert_eq!(time("12.9", 0).unwrap(), 12);
        for wrong in ["yesterday", "1767225600000", "NaN", "-", ""] {
            assert!(time(wrong, 0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn steps_are_as_coarse_as_rows_that_are_left() {
        assert_eq!(step(Some("10"), (0, 600), Level::Minute).unwrap(), (60, Level::Minute));
        assert_eq!(step(Some("90"), (0, 600), Level::Raw).unwrap(), (90, Level::Raw));
        assert_eq!(step(Some("2h"), (0, 86_400), Level::Raw).unwrap(), (7_200, Level::Hour));
        assert!(step(Some("1"), (0, 86_400), Level::Raw).is_err());
        assert_eq!(step(None, (0, 3_600), Level::Raw).unwrap().0, 20);
    }
}
