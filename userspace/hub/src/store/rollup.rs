//! Makes each level of the finer one, slot by slot.

use std::collections::HashMap;

use sqlx::{AnyConnection, Row as _};

use super::level::floor;
use super::{Doing as _, Error, Level, Store, made};

/// Slots of the finer level are waited for so long, in s: an agent that is slow or sends again is not late.
const GRACE: i64 = 90;

/// Up to where each level has been made, in s; raw is always there.
pub(super) async fn rolled(on: &mut AnyConnection) -> Result<[i64; 4], Error> {
    let mut rolled = [i64::MAX, i64::MIN, i64::MIN, i64::MIN];
    let rows = sqlx::query("SELECT level, until FROM rolled").fetch_all(on).await;
    for row in rows.doing("reading how far levels are made")? {
        let level: i64 = row.try_get(0).doing("reading how far levels are made")?;
        if let Some(entry) = usize::try_from(level).ok().and_then(|level| rolled.get_mut(level)) {
            *entry = row.try_get(1).doing("reading how far levels are made")?;
        }
    }
    Ok(rolled)
}

/// The last level of each metric.
pub(super) async fn coarsest(on: &mut AnyConnection) -> Result<HashMap<i64, i64>, Error> {
    let rows = sqlx::query("SELECT id, coarsest FROM metric").fetch_all(on).await.doing("reading metrics")?;
    rows.iter()
        .map(|row| Ok((row.try_get(0).doing("reading metrics")?, row.try_get(1).doing("reading metrics")?)))
        .collect()
}

/// The one that makes coarser levels.
#[derive(Clone, Debug)]
pub struct Roller(Store);

impl Roller {
    /// For a store.
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// Marks where levels begin in a new database: at `now` (s); what comes from before is added as it comes.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin(&self, now: i64) -> Result<(), Error> {
        let store = &self.0.0;
        let insert = format!("{} rolled (level, until) VALUES (?, ?)", store.dialect.insert_new());
        for level in [Level::Minute, Level::Hour, Level::Day] {
            let query = sqlx::query(made(insert.clone())).bind(level.index() as i64).bind(floor(now, level.step()));
            query.execute(&store.write).await.doing("marking where levels begin")?;
        }
        Ok(())
    }

    /// Makes every slot that is complete at `now` (s); returns how many. Each is made in a transaction of its own, with
    /// the mark of how far it is, so that it is made once.
    ///
    /// # Errors
    /// What the database says; what was made by then stays.
    pub async fn roll(&self, now: i64) -> Result<usize, Error> {
        let mut slots = 0;
        for (finer, level) in Level::ALL.into_iter().zip(Level::ALL.into_iter().skip(1)) {
            let mut connection = self.0.0.read.acquire().await.doing("asking how far levels are made")?;
            let rolled = rolled(&mut connection).await?;
            drop(connection);
            let ready = if finer == Level::Raw { now - GRACE } else { rolled[finer.index()] };
            let until = floor(ready, level.step());
            let mut slot = rolled[level.index()];
            while slot < until {
                // Where the hub was down there is nothing to be made.
                let Some(first) = self.first(finer, slot, until).await? else {
                    self.mark(level, until).await?;
                    break;
                };
                slot = floor(first, level.step()).max(slot);
                self.make(finer, level, slot).await?;
                slots += 1;
                slot += level.step();
            }
        }
        Ok(slots)
    }

    /// The first slot of a level with rows in `[from, to)`.
    async fn first(&self, level: Level, from: i64, to: i64) -> Result<Option<i64>, Error> {
        let periods = self.0.periods().await?;
        let starts = periods.get(&level).into_iter().flatten();
        for start in starts.filter(|start| **start < to && **start + level.period() > from) {
            let sql = format!("SELECT min(slot) FROM `{}` WHERE slot >= ? AND slot < ?", level.table(*start));
            let row = sqlx::query(made(sql)).bind(from).bind(to).fetch_one(&self.0.0.read).await;
            let row = row.doing("looking for points to roll up")?;
            if let Some(slot) = row.try_get::<Option<i64>, _>(0).doing("looking for points to roll up")? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    async fn mark(&self, level: Level, until: i64) -> Result<(), Error> {
        let query = sqlx::query("UPDATE rolled SET until = ? WHERE level = ? AND until < ?");
        let query = query.bind(until).bind(level.index() as i64).bind(until);
        query.execute(&self.0.0.write).await.doing("marking how far a level is made").map(drop)
    }

    async fn make(&self, finer: Level, level: Level, slot: i64) -> Result<(), Error> {
        self.0.make_period(level, level.period_of(slot)).await?;
        let store = &self.0.0;
        let columns = if finer == Level::Raw {
            // Row of a gauge: its value for the time since the point before; of a counter: its increase in that time.
            "sum(CASE WHEN m.kind = 1 THEN p.value * p.span / 1000.0 ELSE p.value END), sum(p.span), \
             min(CASE WHEN m.kind = 1 OR p.span = 0 THEN p.value ELSE p.value * 1000.0 / p.span END), \
             max(CASE WHEN m.kind = 1 OR p.span = 0 THEN p.value ELSE p.value * 1000.0 / p.span END)"
        } else {
            "sum(p.total), sum(p.span), min(p.low), max(p.high)"
        };
        let sql = format!(
            "INSERT INTO `{}` (slot, metric, series, total, span, low, high) \
             SELECT {slot}, p.metric, p.series, {columns} FROM `{}` p JOIN metric m ON m.id = p.metric \
             WHERE p.slot >= ? AND p.slot < ? AND m.coarsest >= ? GROUP BY p.metric, p.series",
            level.table(level.period_of(slot)),
            finer.table(finer.period_of(slot)),
        );
        let mut transaction = store.write.begin().await.doing("beginning to roll up")?;
        // Whoever moves the mark makes the slot: with several replicas, one.
        let mark = sqlx::query("UPDATE rolled SET until = ? WHERE level = ? AND until <= ?");
        let mark = mark.bind(slot + level.step()).bind(level.index() as i64).bind(slot);
        let moved = mark.execute(&mut *transaction).await.doing("marking how far a level is made")?;
        if moved.rows_affected() == 1 {
            let query = sqlx::query(made(sql)).bind(slot).bind(slot + level.step()).bind(level.index() as i64);
            query.execute(&mut *transaction).await.doing("rolling points up")?;
        }
        transaction.commit().await.doing("making a roll-up durable")
    }
}
