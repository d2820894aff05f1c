//! The tables of points: one per level and period, made when first needed, dropped when expired.

use std::collections::{BTreeMap, BTreeSet};

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
}
