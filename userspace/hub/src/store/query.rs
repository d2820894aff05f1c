//! Reading: which series there are, and their rows over a span of time.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::level::{Extent, Part, cover};
use super::periods::Periods;
use super::{Doing as _, Error, Level, Store, made};

/// Series that one question may be about.
const MOST: i64 = 200_000;

/// Which series: an empty text or 0 asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The metric's name.
    pub metric: String,
    /// Sort of entity.
    pub kind: String,
    /// `(column of entity, value)`.
    pub places: Vec<(&'static str, String)>,
    /// One entity, by its number.
    pub entity: i64,
    /// Whether all that is known of entities is wanted, too.
    pub known: bool,
}

/// A series that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number.
    pub series: i64,
    /// Its metric's number.
    pub metric: i64,
    /// Whether its rows are values rather than increases.
    pub gauge: bool,
    /// UCUM unit.
    pub unit: String,
    /// Its own attributes, as a JSON object.
    pub attributes: String,
    /// Its entity's number.
    pub entity: i64,
    /// Its entity's columns: kind, node, namespace, workload, pod, container, vm, executable.
    pub place: [String; 8],
    /// Process id; 0 where there is none.
    pub pid: i64,
    /// All that is known of its entity, as a JSON object; empty where that was not asked for.
    pub known: String,
}

/// The names of [`Found::place`].
pub const PLACE: [&str; 8] = ["kind", "node", "namespace", "workload", "pod", "container", "vm", "executable"];

/// What a series did in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The slot's start, in s.
    pub slot: i64,
    /// The end of what it stands for, in s: a fine row's is its slot, as it has what came since the row before.
    pub until: i64,
    /// Series.
    pub series: i64,
    /// Increase; of a gauge: value times seconds.
    pub total: f64,
    /// Seconds that it stands for.
    pub seconds: f64,
    /// Smallest value, or rate.
    pub low: f64,
    /// Largest value, or rate.
    pub high: f64,
}

/// A span of time in s, and how coarse its rows may be.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its start.
    pub from: i64,
    /// Behind its end.
    pub to: i64,
    /// The coarsest rows that serve.
    pub most: Level,
}

/// Answers questions about a state of the database: all parts of an answer are of the same moment.
#[derive(Debug)]
pub struct Reader<'a> {
    store: &'a Store,
    on: sqlx::Transaction<'a, sqlx::Any>,
    extent: Extent,
    periods: Periods,
}

impl Store {
    /// Begins to read at `now` (s).
    ///
    /// # Errors
    /// What the database says.
    pub async fn reader(&self, now: i64) -> Result<Reader<'_>, Error> {
        let periods = self.periods().await?;
        let mut on = self.0.read.begin().await.doing("beginning to read")?;
        let rolled = super::rollup::rolled(&mut on).await?;
        let mut horizon = self.retention().horizons(now);
        for (level, oldest) in Level::ALL.into_iter().zip(&mut horizon) {
            // Tables are dropped as a whole: what has a table is still there.
            *oldest = periods.get(&level).and_then(|starts| starts.first()).map_or(*oldest, |first| *first.min(oldest));
        }
        Ok(Reader { store: self, on, extent: Extent { rolled, horizon }, periods })
    }
}

impl Reader<'_> {
    /// The series that match.
    ///
    /// # Errors
    /// What the database says.
    pub async fn find(&mut self, filter: &Filter) -> Result<Vec<Found>, Error> {
        let mut query = QueryBuilder::<sqlx::Any>::new(
            "SELECT s.id, s.metric, m.kind, m.unit, s.attributes, s.entity, e.kind, e.node, e.namespace, e.workload, \
             e.pod, e.container, e.vm, e.executable, e.pid, ",
        );
        query.push(if filter.known { "e.attributes" } else { "''" });
        query.push(" FROM series s JOIN metric m ON m.id = s.metric JOIN entity e ON e.id = s.entity WHERE m.name = ");
        query.push_bind(filter.metric.clone());
        if !filter.kind.is_empty() {
            query.push(" AND m.entity = ").push_bind(filter.kind.clone());
        }
        if filter.entity != 0 {
            query.push(" AND e.id = ").push_bind(filter.entity);
        }
        for (column, value) in &filter.places {
            query.push(format_args!(" AND e.{column} = ")).push_bind(value.clone());
        }
        query.push(format_args!(" LIMIT {MOST}"));
        let rows = query.build().fetch_all(&mut *self.on).await.doing("looking for series")?;
        rows.iter().map(|row| found(row).doing("reading a series")).collect()
    }

    /// Their rows, by part of the span. With few series rows are looked up one by one, with many read through.
    ///
    /// # Errors
    /// What the database says.
    pub async fn cells(&mut self, found: &[Found], span: Span) -> Result<Vec<Cell>, Error> {
        let mut by_metric: BTreeMap<i64, Vec<&Found>> = BTreeMap::new();
        found.iter().for_each(|found| by_metric.entry(found.metric).or_default().push(found));
        let mut cells = Vec::new();
        for part in cover(span.from, span.to, span.most, &self.extent) {
            for start in self.starts(part) {
                for (metric, series) in &by_metric {
                    read(&mut self.on, part, start, (*metric, series), &mut cells).await?;
                }
            }
        }
        Ok(cells)
    }

    /// What the span really covers: where fine rows have expired, whole coarse ones stand in.
    pub fn covered(&self, span: Span) -> (i64, i64) {
        let parts = cover(span.from, span.to, span.most, &self.extent);
        (parts.first().map_or(span.from, |part| part.from), parts.last().map_or(span.to, |part| part.to))
    }

    /// The finest level that still has all of a span's beginning.
    pub fn finest(&self, from: i64) -> Level {
        let kept = |level: &Level| self.extent.horizon[level.index()] <= from;
        Level::ALL.into_iter().find(kept).unwrap_or(Level::Day)
    }

    /// How long each level is kept.
    pub fn store(&self) -> &Store {
        self.store
    }

    fn starts(&self, part: Part) -> Vec<i64> {
        let starts = self.periods.get(&part.level).into_iter().flatten().copied();
        starts.filter(|start| *start < part.to && start + part.level.period() > part.from).collect()
    }
}

/// Reads the rows of one metric's series in one table.
///
/// Rows lie by (slot, metric, series). The slots that a table has are found by stepping from one to the next, so that
/// what other metrics have is never read.
async fn read(
    on: &mut AnyConnection,
    part: Part,
    start: i64,
    (metric, series): (i64, &[&Found]),
    cells: &mut Vec<Cell>,
) -> Result<(), Error> {
    /// So many series are named in the statement; beyond, all of the metric are read and chosen from.
    const FEW: usize = 64;
    let table = part.level.table(start);
    let columns = if part.level == Level::Raw { "p.value, p.span" } else { "p.total, p.span, p.low, p.high" };
    let few = series.len() <= FEW;
    let among = if few {
        format!(" AND p.series IN ({})", series.iter().map(|s| s.series.to_string()).collect::<Vec<_>>().join(","))
    } else {
        String::new()
    };
    let sql = format!(
        "WITH RECURSIVE step(slot) AS (SELECT min(slot) FROM `{table}` WHERE slot >= ? UNION ALL \
         SELECT (SELECT min(slot) FROM `{table}` t WHERE t.slot > step.slot) FROM step WHERE step.slot < ?) \
         SELECT p.slot, p.series, {columns} FROM step JOIN `{table}` p ON p.slot = step.slot \
         WHERE step.slot < ? AND p.metric = ?{among}"
    );
    let rows = sqlx::query(made(sql)).bind(part.from).bind(part.to).bind(part.to).bind(metric);
    let rows = rows.fetch_all(on).await.doing("reading points")?;
    let gauges: BTreeMap<i64, bool> = series.iter().map(|found| (found.series, found.gauge)).collect();
    for row in &rows {
        let cell = cell(row, part.level, &gauges).doing("reading a point")?;
        cells.extend(cell);
    }
    Ok(())
}

fn cell(row: &sqlx::any::AnyRow, level: Level, gauges: &BTreeMap<i64, bool>) -> Result<Option<Cell>, sqlx::Error> {
    let series: i64 = row.try_get(1)?;
    let Some(gauge) = gauges.get(&series) else { return Ok(None) };
    let (slot, value): (i64, f64) = (row.try_get(0)?, row.try_get(2)?);
    let seconds = row.try_get::<i64, _>(3)? as f64 / 1e3;
    let (total, low, high) = if level != Level::Raw {
        (value, row.try_get(4)?, row.try_get(5)?)
    } else if *gauge {
        (value * seconds, value, value)
    } else {
        let rate = if seconds > 0.0 { value / seconds } else { value };
        (value, rate, rate)
    };
    let until = if level == Level::Raw { slot } else { slot + level.step() };
    Ok(Some(Cell { slot, until, series, total, seconds, low, high }))
}

fn found(row: &sqlx::any::AnyRow) -> Result<Found, sqlx::Error> {
    let mut place: [String; 8] = Default::default();
    for (index, text) in place.iter_mut().enumerate() {
        *text = row.try_get(6 + index)?;
    }
    Ok(Found {
        series: row.try_get(0)?,
        metric: row.try_get(1)?,
        gauge: row.try_get::<i64, _>(2)? == 1,
        unit: row.try_get(3)?,
        attributes: row.try_get(4)?,
        entity: row.try_get(5)?,
        place,
        pid: row.try_get(14)?,
        known: row.try_get(15)?,
    })
}
