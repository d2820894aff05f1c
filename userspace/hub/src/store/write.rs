//! From batches to rows, in one transaction: what is said to be kept is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use sqlx::{AnyConnection, QueryBuilder};

use super::dialect::Dialect;
use super::dimensions::{Id, Known, find};
use super::level::floor;
use super::mark::{Kind, Mark, Step, advance};
use super::periods::Periods;
use super::{Doing as _, Error, Level, Store};
use crate::ingest::{Batch, Sample};

/// Rows per statement: SQLite takes at most 32,766 values.
const CHUNK: usize = 2_000;
/// A point from further in the future, in ms, is a fault of its sender's clock.
const FUTURE: i64 = 10 * 60 * 1_000;

/// What became of a batch's points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows or parts of rows now, or known before.
    pub kept: u64,
    /// Of them: came a second time, and changed nothing.
    pub duplicate: u64,
    /// Of them: older than what is known; a counter's increase is in the later point.
    pub late: u64,
    /// Refused, because their time is further in the future or the past than is kept.
    pub out_of_time: u64,
    /// Refused, because their series would be more than may be.
    pub over_limit: u64,
}

/// A row of a raw table: increase or value, and the time in ms that it stands for.
#[derive(Clone, Copy, Debug)]
struct Cell {
    kind: Kind,
    value: f64,
    span: i64,
}

type Key = (i64, i64, i64);

/// The one that writes points.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    known: HashMap<Id, Known, foldhash::fast::RandomState>,
    metrics: HashMap<super::Metric, i64>,
    entities: HashMap<(Id, Id), i64, foldhash::fast::RandomState>,
    sources: HashMap<String, i64>,
    periods: Periods,
    most: usize,
    /// The store's count of removals that this one knows of.
    removals: u64,
}

impl Writer {
    /// One that keeps at most `most` series in mind and in the database.
    pub fn new(store: Store, most: usize) -> Self {
        Self {
            store,
            known: HashMap::default(),
            metrics: HashMap::new(),
            entities: HashMap::default(),
            sources: HashMap::new(),
            periods: Periods::new(),
            most,
            removals: 0,
        }
    }

    /// Series in mind.
    pub fn series(&self) -> usize {
        self.known.len()
    }

    /// Writes batches at `now` (ms) and returns what became of each. All of them are durable, or none is.
    ///
    /// # Errors
    /// What the database says; nothing was written then, and the same batches may be tried again.
    pub async fn write(&mut self, batches: &[Batch], now: i64) -> Result<Vec<Outcome>, Error> {
        let removals = self.store.0.removals.load(Ordering::Acquire);
        if std::mem::replace(&mut self.removals, removals) != removals {
            self.forget();
        }
        let result = self.attempt(batches, now).await;
        if result.is_err() || self.store.0.dialect == Dialect::Mysql {
            // What is in mind may not be in the database, or another replica may go on with it.
            self.forget();
        }
        result
    }

    /// Forgets what it has in mind, and reads it again when needed.
    pub fn forget(&mut self) {
        self.known.clear();
        self.metrics.clear();
        self.entities.clear();
        self.sources.clear();
        self.periods.clear();
    }

    async fn attempt(&mut self, batches: &[Batch], now: i64) -> Result<Vec<Outcome>, Error> {
        self.make_periods(batches, now).await?;
        let store = self.store.clone();
        let mut transaction = store.0.write.begin().await.doing("beginning to write")?;
        let rolled = super::rollup::rolled(&mut transaction).await?;
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut rows: BTreeMap<Key, Cell> = BTreeMap::new();
        let mut moved: BTreeMap<i64, Mark> = BTreeMap::new();
        for batch in batches {
            let refused = self.know(&mut transaction, batch, now).await?;
            let watched = self.watched(&mut transaction, batch, now).await?;
            outcomes.push(self.advance(batch, now, &watched, refused, &mut rows, &mut moved));
        }
        write_rows(&store, &mut transaction, &rows).await?;
        let late: BTreeMap<Key, Cell> =
            rows.iter().filter(|(key, _)| key.0 < rolled[Level::Minute.index()]).map(|(k, v)| (*k, *v)).collect();
        if !late.is_empty() {
            self.write_late(&mut transaction, &late, &rolled).await?;
        }
        write_marks(&store, &mut transaction, &moved).await?;
        transaction.commit().await.doing("making points durable")?;
        Ok(outcomes)
    }

    /// Whether a point's time (ms) can be kept at all.
    fn in_time(&self, time: i64, now: i64) -> bool {
        time <= now + FUTURE && time / 1_000 >= self.store.retention().horizons(now / 1_000)[Level::Day.index()]
    }

    async fn make_periods(&mut self, batches: &[Batch], now: i64) -> Result<(), Error> {
        let mut slots: HashSet<i64> = HashSet::new();
        for sample in batches.iter().flat_map(|batch| &batch.samples).filter(|sample| self.in_time(sample.time, now)) {
            slots.insert(Level::Raw.period_of(sample.time / 1_000));
        }
        let horizons = self.store.retention().horizons(now / 1_000);
        for slot in slots {
            for level in Level::ALL {
                let start = level.period_of(slot);
                if start + level.period() <= horizons[level.index()] && level != Level::Raw {
                    continue;
                }
                if !self.periods.get(&level).is_some_and(|starts| starts.contains(&start)) {
                    self.store.make_period(level, start).await?;
                    self.periods.entry(level).or_default().insert(start);
                }
            }
        }
        Ok(())
    }

    /// Looks up or adds the batch's series; returns those that would be too many.
    async fn know(&mut self, on: &mut AnyConnection, batch: &Batch, now: i64) -> Result<HashSet<Id>, Error> {
        let mut unknown: Vec<&Sample> =
            batch.samples.iter().filter(|sample| !self.known.contains_key(&sample.id)).collect();
        if unknown.is_empty() {
            return Ok(HashSet::new());
        }
        unknown.sort_unstable_by_key(|sample| sample.id);
        unknown.dedup_by_key(|sample| sample.id);
        let ids: Vec<Id> = unknown.iter().map(|sample| sample.id).collect();
        find(on, &ids, &mut self.known).await?;
        unknown.retain(|sample| !self.known.contains_key(&sample.id));
        let room = self.most.saturating_sub(self.known.len());
        let refused = unknown.split_off(room.min(unknown.len())).iter().map(|sample| sample.id).collect();
        let mut rows = Vec::with_capacity(unknown.len());
        for sample in &unknown {
            let metric = &batch.metrics[sample.metric as usize];
            let metric = match self.metrics.get(metric) {
                Some(id) => *id,
                None => {
                    let id = self.store.metric(on, metric).await?;
                    self.metrics.insert(metric.clone(), id);
                    id
                }
            };
            let entity = &batch.entities[sample.entity as usize];
            let key = (entity.id, entity.described());
            let entity = match self.entities.get(&key) {
                Some(id) => *id,
                None => {
                    let id = self.store.entity(on, entity, now / 1_000).await?;
                    self.entities.insert(key, id);
                    id
                }
            };
            rows.push((sample.id, metric, entity, batch.attributes(sample)));
        }
        self.store.add_series(on, &rows).await?;
        let ids: Vec<Id> = rows.iter().map(|row| row.0).collect();
        find(on, &ids, &mut self.known).await?;
        Ok(refused)
    }

    /// Since when each of the batch's senders is known, by their place in it.
    async fn watched(&mut self, on: &mut AnyConnection, batch: &Batch, now: i64) -> Result<Vec<i64>, Error> {
        let mut watched = Vec::with_capacity(batch.sources.len());
        for name in &batch.sources {
            let since = match self.sources.get(name) {
                Some(since) => *since,
                None => {
                    let earliest = batch.samples.iter().map(|sample| sample.time).min().unwrap_or(now).min(now);
                    let since = self.store.source(on, name, earliest).await?;
                    self.sources.insert(name.clone(), since);
                    since
                }
            };
            watched.push(since);
        }
        Ok(watched)
    }

    fn advance(
        &mut self,
        batch: &Batch,
        now: i64,
        watched: &[i64],
        refused: HashSet<Id>,
        rows: &mut BTreeMap<Key, Cell>,
        moved: &mut BTreeMap<i64, Mark>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for sample in &batch.samples {
            if !self.in_time(sample.time, now) {
                outcome.out_of_time += 1;
                continue;
            }
            let Some(known) = self.known.get_mut(&sample.id).filter(|_| !refused.contains(&sample.id)) else {
                outcome.over_limit += 1;
                continue;
            };
            outcome.kept += 1;
            let mark = Mark { started: sample.started, time: sample.time, value: sample.value };
            let since = watched.get(sample.source as usize).copied().unwrap_or(now);
            match advance(sample.kind, known.mark(), &mark, since) {
                Step::Duplicate => outcome.duplicate += 1,
                Step::Late => outcome.late += 1,
                step => {
                    if let Step::Row { value, span } = step {
                        let key = (sample.time.div_euclid(1_000), known.metric(), known.series());
                        let cell = rows.entry(key).or_insert(Cell { kind: sample.kind, value: 0.0, span: 0 });
                        cell.value = if sample.kind == Kind::Gauge { value } else { cell.value + value };
                        cell.span += span;
                    }
                    if known.mark().is_none_or(|last| last.time <= mark.time) {
                        known.go_on(mark);
                        moved.insert(known.series(), mark);
                    } else {
                        outcome.late += 1;
                    }
                }
            }
        }
        outcome
    }

    /// Adds rows to the levels that were made before they came.
    async fn write_late(
        &self,
        on: &mut AnyConnection,
        rows: &BTreeMap<Key, Cell>,
        rolled: &[i64; 4],
    ) -> Result<(), Error> {
        let coarsest = super::rollup::coarsest(on).await?;
        for level in [Level::Minute, Level::Hour, Level::Day] {
            let mut sums: BTreeMap<Key, (f64, i64, f64, f64)> = BTreeMap::new();
            for ((slot, metric, series), cell) in rows {
                let kept = coarsest.get(metric).is_none_or(|coarsest| *coarsest >= level.index() as i64);
                if *slot >= rolled[level.index()] || !kept {
                    continue;
                }
                let seconds = cell.span as f64 / 1e3;
                let gauge = cell.kind == Kind::Gauge;
                let total = if gauge { cell.value * seconds } else { cell.value };
                let rate = if gauge || cell.span == 0 { cell.value } else { cell.value / seconds };
                let sum = sums.entry((floor(*slot, level.step()), *metric, *series)).or_insert((0.0, 0, rate, rate));
                *sum = (sum.0 + total, sum.1 + cell.span, sum.2.min(rate), sum.3.max(rate));
            }
            let rows = sums.into_iter().collect::<Vec<_>>();
            let (least, greatest) = self.store.0.dialect.bounds();
            let set = format!(
                "total = total + {{total}}, span = span + {{span}}, low = {least}(low, {{low}}), \
                 high = {greatest}(high, {{high}})"
            );
            let horizon = self.store.retention().horizons(rows.last().map_or(0, |row| row.0.0))[level.index()];
            for run in rows.chunk_by(|a, b| level.period_of(a.0.0) == level.period_of(b.0.0)) {
                let start = level.period_of(run[0].0.0);
                if start + level.period() <= horizon || !self.periods.get(&level).is_some_and(|p| p.contains(&start)) {
                    continue;
                }
                for chunk in run.chunks(CHUNK) {
                    let head =
                        format!("INSERT INTO `{}` (slot, metric, series, total, span, low, high) ", level.table(start));
                    let mut builder = QueryBuilder::<sqlx::Any>::new(head);
                    builder.push_values(chunk, |mut row, ((slot, metric, series), (total, span, low, high))| {
                        row.push_bind(*slot).push_bind(*metric).push_bind(*series);
                        row.push_bind(*total).push_bind(*span).push_bind(*low).push_bind(*high);
                    });
                    builder.push(self.store.0.dialect.upsert("slot, metric, series", &set));
                    builder.build().execute(&mut *on).await.doing("adding late points")?;
                }
            }
        }
        Ok(())
    }
}

async fn write_rows(store: &Store, on: &mut AnyConnection, rows: &BTreeMap<Key, Cell>) -> Result<(), Error> {
    for gauge in [false, true] {
        let rows: Vec<_> = rows.iter().filter(|(_, cell)| (cell.kind == Kind::Gauge) == gauge).collect();
        let set = if gauge {
            "value = {value}, span = span + {span}"
        } else {
            "value = value + {value}, span = span + {span}"
        };
        let tail = store.0.dialect.upsert("slot, metric, series", set);
        for run in rows.chunk_by(|a, b| Level::Raw.period_of(a.0.0) == Level::Raw.period_of(b.0.0)) {
            let head = format!(
                "INSERT INTO `{}` (slot, metric, series, value, span) ",
                Level::Raw.table(Level::Raw.period_of(run[0].0.0))
            );
            for chunk in run.chunks(CHUNK) {
                let mut builder = QueryBuilder::<sqlx::Any>::new(head.as_str());
                builder.push_values(chunk, |mut row, ((slot, metric, series), cell)| {
                    row.push_bind(*slot)
                        .push_bind(*metric)
                        .push_bind(*series)
                        .push_bind(cell.value)
                        .push_bind(cell.span);
                });
                builder.push(&tail);
                builder.build().execute(&mut *on).await.doing("writing points")?;
            }
        }
    }
    Ok(())
}

async fn write_marks(store: &Store, on: &mut AnyConnection, moved: &BTreeMap<i64, Mark>) -> Result<(), Error> {
    let tail = store.0.dialect.upsert("series", "started = {started}, time = {time}, value = {value}");
    let moved: Vec<_> = moved.iter().collect();
    for chunk in moved.chunks(CHUNK) {
        let mut builder = QueryBuilder::<sqlx::Any>::new("INSERT INTO mark (series, started, time, value) ");
        builder.push_values(chunk, |mut row, (series, mark)| {
            row.push_bind(**series).push_bind(mark.started).push_bind(mark.time).push_bind(mark.value);
        });
        builder.push(&tail);
        builder.build().execute(&mut *on).await.doing("writing the last points of series")?;
    }
    Ok(())
}
