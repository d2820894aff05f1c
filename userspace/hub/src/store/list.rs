//! Lists of what there is.

use sqlx::{QueryBuilder, Row as _};

use super::{Doing as _, Error, Filter, Level, Store};

/// A metric that there are points of.
#[derive(Clone, Debug)]
pub struct MetricRow {
    /// Its name.
    pub name: String,
    /// UCUM unit.
    pub unit: String,
    /// Whether its rows are values rather than increases.
    pub gauge: bool,
    /// Sort of entity.
    pub entity: String,
    /// One sentence.
    pub description: String,
}

/// An entity.
#[derive(Clone, Debug)]
pub struct EntityRow {
    /// Its number.
    pub id: i64,
    /// Sort.
    pub kind: String,
    /// When it was first heard of, in s.
    pub first_seen: i64,
    /// When it was last heard of, in ms.
    pub last_seen: Option<i64>,
    /// A JSON object.
    pub attributes: String,
}

impl Store {
    /// Every metric.
    ///
    /// # Errors
    /// What the database says.
    pub async fn metrics(&self) -> Result<Vec<MetricRow>, Error> {
        let sql = "SELECT name, unit, kind, entity, description FROM metric ORDER BY name, entity";
        let rows = sqlx::query(sql).fetch_all(&self.0.read).await.doing("listing metrics")?;
        let metric = |row: &sqlx::any::AnyRow| {
            Ok(MetricRow {
                name: row.try_get(0)?,
                unit: row.try_get(1)?,
                gauge: row.try_get::<i64, _>(2)? == 1,
                entity: row.try_get(3)?,
                description: row.try_get(4)?,
            })
        };
        rows.iter().map(metric).collect::<Result<_, _>>().doing("reading a metric")
    }

    /// Entities that were heard of since `since` (s), behind number `after`, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn entities(&self, filter: &Filter, since: i64, after: i64, limit: i64) -> Result<Vec<EntityRow>, Error> {
        let mut query = QueryBuilder::<sqlx::Any>::new(
            "SELECT e.id, e.kind, e.first_seen, max(k.time), e.attributes FROM entity e JOIN series s ON s.entity = e.id \
             JOIN mark k ON k.series = s.id WHERE e.id > ",
        );
        query.push_bind(after);
        if !filter.kind.is_empty() {
            query.push(" AND e.kind = ").push_bind(filter.kind.clone());
        }
        if filter.entity != 0 {
            query.push(" AND e.id = ").push_bind(filter.entity);
        }
        for (column, value) in &filter.places {
            query.push(format_args!(" AND e.{column} = ")).push_bind(value.clone());
        }
        query
            .push(" GROUP BY e.id, e.kind, e.first_seen, e.attributes HAVING max(k.time) >= ")
            .push_bind(since * 1_000);
        query.push(" ORDER BY e.id LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.0.read).await.doing("listing entities")?;
        let entity = |row: &sqlx::any::AnyRow| {
            Ok(EntityRow {
                id: row.try_get(0)?,
                kind: row.try_get(1)?,
                first_seen: row.try_get(2)?,
                last_seen: row.try_get(3)?,
                attributes: row.try_get(4)?,
            })
        };
        rows.iter().map(entity).collect::<Result<_, _>>().doing("reading an entity")
    }

    /// Since when there are tables, by level, in s.
    ///
    /// # Errors
    /// What the database says.
    pub async fn since(&self) -> Result<[Option<i64>; 4], Error> {
        let periods = self.periods().await?;
        Ok(Level::ALL.map(|level| periods.get(&level).and_then(|starts| starts.first().copied())))
    }
}
