//! The tables of points: one per level and period, made when first needed, dropped when expired.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::atomic::Ordering;

use sqlx::{Executor as _, Row as _};

use super::{Doing as _, Error, Level, Store, made};

/// The periods there are, by level.
pub(super) type Periods = BTreeMap<Level, BTreeSet<i64>>;

impl Store {
    /// The periods that there are tables for.
    pub(super) async fn periods(&self) -> Result<Periods, Error> {
        let rows = sqlx::query("SELECT level, start FROM period").fetch_all(&self.0.read).await;
        let mut periods = Periods::new();
        for row in rows.doing("listing the tables of points")? {
            let level: i64 = row.try_get(0).doing("reading a period")?;
            let start: i64 = row.try_get(1).doing("reading a period")?;
            if let Some(level) = usize::try_from(level).ok().and_then(|index| Level::ALL.get(index)) {
                periods.entry(*level).or_default().insert(start);
            }
        }
        Ok(periods)
    }

    /// Makes the table for a period, where it is not there yet. Not within a transaction: MySQL would end it.
    pub(super) async fn make_period(&self, level: Level, start: i64) -> Result<(), Error> {
        let columns = match level {
            Level::Raw => "value DOUBLE PRECISION NOT NULL, span BIGINT NOT NULL",
            _ => {
                "total DOUBLE PRECISION NOT NULL, span BIGINT NOT NULL, low DOUBLE PRECISION NOT NULL, \
                 high DOUBLE PRECISION NOT NULL"
            }
        };
        let table = format!(
            "CREATE TABLE IF NOT EXISTS `{}` (slot BIGINT NOT NULL, metric BIGINT NOT NULL, series BIGINT NOT NULL, \
             {columns}, PRIMARY KEY (slot, metric, series)){}",
            level.table(start),
            self.0.dialect.clustered(),
        );
        self.0.write.execute(made(table)).await.doing("making a table of points")?;
        let insert = format!("{} period (level, start) VALUES (?, ?)", self.0.dialect.insert_new());
        let insert = sqlx::query(made(insert)).bind(level.index() as i64).bind(start);
        insert.execute(&self.0.write).await.doing("noting a table of points").map(drop)
    }

    /// Drops the tables whose last point has expired at `now` (s); returns how many. Doing it twice does no harm.
    ///
    /// # Errors
    /// What the database says; what was dropped by then stays so.
    pub async fn expire(&self, now: i64) -> Result<usize, Error> {
        let horizons = self.retention().horizons(now);
        let mut dropped = 0;
        for (level, starts) in self.periods().await? {
            for start in starts.into_iter().filter(|start| start + level.period() <= horizons[level.index()]) {
                let table = format!("DROP TABLE IF EXISTS `{}`", level.table(start));
                self.0.write.execute(made(table)).await.doing("dropping expired points")?;
                let delete = sqlx::query("DELETE FROM period WHERE level = ? AND start = ?");
                let delete = delete.bind(level.index() as i64).bind(start);
                delete.execute(&self.0.write).await.doing("forgetting expired points")?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Removes series that nothing is left of at `now` (s), and entities without series; returns how many series.
    ///
    /// # Errors
    /// What the database says; what was removed by then stays so.
    pub async fn forget(&self, now: i64) -> Result<u64, Error> {
        /// Rows per statement: a writer waits no longer than that takes.
        const TOGETHER: i64 = 5_000;
        let horizons = self.retention().horizons(now);
        let mut removed = 0;
        for level in Level::ALL {
            loop {
                // A table that is within MySQL's DELETE cannot be read by it, unless by way of another.
                let gone = "SELECT id FROM (SELECT s.id FROM series s JOIN metric m ON m.id = s.metric JOIN mark k \
                            ON k.series = s.id WHERE m.coarsest = ? AND k.time < ? ORDER BY s.id LIMIT ?) gone";
                let ids = sqlx::query(gone).bind(level.index() as i64).bind(horizons[level.index()] * 1_000);
                let ids =
                    ids.bind(TOGETHER).fetch_all(&self.0.read).await.doing("looking for series without points")?;
                let ids: Result<Vec<i64>, _> = ids.iter().map(|row| row.try_get(0)).collect();
                let ids = ids.doing("looking for series without points")?;
                if ids.is_empty() {
                    break;
                }
                removed += ids.len() as u64;
                let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
                let mut transaction = self.0.write.begin().await.doing("beginning to forget")?;
                for sql in [
                    format!("DELETE FROM mark WHERE series IN ({list})"),
                    format!("DELETE FROM series WHERE id IN ({list})"),
                ] {
                    transaction.execute(made(sql)).await.doing("forgetting series")?;
                }
                transaction.commit().await.doing("forgetting series")?;
            }
        }
        if removed > 0 {
            self.0.removals.fetch_add(1, Ordering::Release);
            let alone = "DELETE FROM entity WHERE NOT EXISTS (SELECT 1 FROM series WHERE series.entity = entity.id)";
            self.0.write.execute(alone).await.doing("forgetting entities")?;
        }
        Ok(removed)
    }
}
