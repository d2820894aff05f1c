//! What points belong to: metrics, entities and series, each known by a hash of what identifies it.

use std::collections::HashMap;

use podscope_catalog as catalog;
use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::mark::{Kind, Mark};
use super::{Doing as _, Error, Level, Store, made, marks};

/// A hash that identifies an entity or series.
pub(crate) type Id = [u8; 16];

/// Rows per statement.
const CHUNK: usize = 400;
/// Texts of a metric or of an entity's columns are cut to so many characters, as MySQL's columns are.
const LONGEST: usize = 255;

/// What a series measures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// UCUM unit.
    pub unit: String,
    /// Whether rows are increases.
    pub kind: Kind,
    /// Sort of entity, as [`catalog::Entity::name`] has them.
    pub entity: &'static str,
    /// One sentence.
    pub description: String,
}

impl Metric {
    /// The last level that it is rolled up to: processes come and go too fast to be kept by the hour.
    pub fn coarsest(&self) -> Level {
        if self.entity == catalog::Entity::Process.name() { Level::Minute } else { Level::Day }
    }

    /// As the database has it: deltas have become counters.
    pub(super) fn code(&self) -> i64 {
        i64::from(self.kind == Kind::Gauge)
    }
}

/// Whose a series is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Hash of what identifies it.
    pub id: Id,
    /// Sort of entity.
    pub kind: &'static str,
    /// Where it is in the cluster; empty where that does not apply.
    pub node: String,
    /// Namespace.
    pub namespace: String,
    /// `Kind/name`.
    pub workload: String,
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// Virtual machine.
    pub vm: String,
    /// Executable.
    pub executable: String,
    /// Process id; 0 where there is none.
    pub pid: i64,
    /// All attributes as a JSON object.
    pub attributes: String,
}

impl Entity {
    /// Hash of all that is known of it.
    pub(super) fn described(&self) -> Id {
        id(|hasher| {
            hasher.update(self.attributes.as_bytes());
        })
    }
}

/// The first half of a BLAKE3 hash.
pub(crate) fn id(feed: impl FnOnce(&mut blake3::Hasher)) -> Id {
    let mut hasher = blake3::Hasher::new();
    feed(&mut hasher);
    let mut id = Id::default();
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

/// A series as the writer knows it: there are many, so it is small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    series: u32,
    metric: u32,
    /// Its time is 0 where there is none.
    mark: Mark,
}

impl Known {
    fn new(series: i64, metric: i64, mark: Option<Mark>) -> Option<Self> {
        let none = Mark { started: 0, time: 0, value: 0.0 };
        Some(Self { series: series.try_into().ok()?, metric: metric.try_into().ok()?, mark: mark.unwrap_or(none) })
    }

    pub(super) fn series(&self) -> i64 {
        self.series.into()
    }

    pub(super) fn metric(&self) -> i64 {
        self.metric.into()
    }

    /// Its last point.
    pub(super) fn mark(&self) -> Option<&Mark> {
        (self.mark.time != 0).then_some(&self.mark)
    }

    pub(super) fn go_on(&mut self, mark: Mark) {
        self.mark = mark;
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

fn bytes(row: &sqlx::any::AnyRow, column: usize) -> Result<Id, Error> {
    let bytes: Vec<u8> = row.try_get(column).doing("reading a hash")?;
    let mut id = Id::default();
    bytes.iter().zip(&mut id).for_each(|(from, to)| *to = *from);
    Ok(id)
}

/// Looks up series by their hashes, with their last points.
pub(super) async fn find(
    on: &mut AnyConnection,
    wanted: &[Id],
    known: &mut HashMap<Id, Known, foldhash::fast::RandomState>,
) -> Result<(), Error> {
    for chunk in wanted.chunks(CHUNK) {
        let sql = format!(
            "SELECT s.hash, s.id, s.metric, m.started, m.time, m.value FROM series s LEFT JOIN mark m ON m.series = s.id \
             WHERE s.hash IN ({})",
            marks(chunk.len())
        );
        let query = chunk.iter().fold(sqlx::query(made(sql)), |query, id| query.bind(id.to_vec()));
        for row in query.fetch_all(&mut *on).await.doing("looking up series")? {
            let number = |column| row.try_get::<Option<i64>, _>(column).doing("reading a series");
            let value = row.try_get::<Option<f64>, _>(5).doing("reading a series")?;
            let mark = match (number(3)?, number(4)?, value) {
                (Some(started), Some(time), Some(value)) => Some(Mark { started, time, value }),
                _ => None,
            };
            let id = bytes(&row, 0)?;
            let (series, metric) = (number(1)?.unwrap_or_default(), number(2)?.unwrap_or_default());
            // Ids beyond 32 bits are beyond what one database can hold of series; points of such are refused.
            known.extend(Known::new(series, metric, mark).map(|series| (id, series)));
        }
    }
    Ok(())
}

impl Store {
    /// The row of a metric, made if need be.
    pub(super) async fn metric(&self, on: &mut AnyConnection, metric: &Metric) -> Result<i64, Error> {
        let key = [cut(&metric.name), cut(&metric.unit)];
        let select = "SELECT id FROM metric WHERE name = ? AND unit = ? AND kind = ? AND entity = ?";
        for attempt in 0..2 {
            let query = sqlx::query(select).bind(key[0]).bind(key[1]).bind(metric.code()).bind(metric.entity);
            if let Some(row) = query.fetch_optional(&mut *on).await.doing("looking up a metric")? {
                return row.try_get(0).doing("reading a metric");
            }
            if attempt == 0 {
                let insert = format!(
                    "{} metric (name, unit, kind, entity, coarsest, description) VALUES (?, ?, ?, ?, ?, ?)",
                    self.0.dialect.insert_new()
                );
                let query = sqlx::query(made(insert)).bind(key[0]).bind(key[1]).bind(metric.code()).bind(metric.entity);
                let query = query.bind(metric.coarsest().index() as i64).bind(metric.description.as_str());
                query.execute(&mut *on).await.doing("adding a metric")?;
            }
        }
        Err(Error::Database { doing: "adding a metric", source: sqlx::Error::RowNotFound })
    }

    /// The row of an entity, made or brought up to date if need be.
    pub(super) async fn entity(&self, on: &mut AnyConnection, entity: &Entity, now: i64) -> Result<i64, Error> {
        let select = "SELECT id, described FROM entity WHERE hash = ?";
        let described = entity.described();
        for attempt in 0..2 {
            let found = sqlx::query(select).bind(entity.id.to_vec()).fetch_optional(&mut *on).await;
            if let Some(row) = found.doing("looking up an entity")? {
                let number: i64 = row.try_get(0).doing("reading an entity")?;
                if bytes(&row, 1)? != described {
                    let update = "UPDATE entity SET attributes = ?, described = ?, workload = ? WHERE id = ?";
                    let query = sqlx::query(update).bind(entity.attributes.as_str()).bind(described.to_vec());
                    let query = query.bind(cut(&entity.workload)).bind(number);
                    query.execute(&mut *on).await.doing("describing an entity anew")?;
                }
                return Ok(number);
            }
            if attempt == 0 {
                let insert = format!(
                    "{} entity (hash, kind, node, namespace, workload, pod, container, vm, executable, pid, attributes, \
                     described, first_seen) VALUES ({})",
                    self.0.dialect.insert_new(),
                    marks(13)
                );
                let mut query = sqlx::query(made(insert)).bind(entity.id.to_vec()).bind(entity.kind);
                for text in [
                    &entity.node,
                    &entity.namespace,
                    &entity.workload,
                    &entity.pod,
                    &entity.container,
                    &entity.vm,
                    &entity.executable,
                ] {
                    query = query.bind(cut(text));
                }
                let query = query.bind(entity.pid).bind(entity.attributes.as_str()).bind(described.to_vec()).bind(now);
                query.execute(&mut *on).await.doing("adding an entity")?;
            }
        }
        Err(Error::Database { doing: "adding an entity", source: sqlx::Error::RowNotFound })
    }

    /// Adds series: hash, metric, entity, attributes. Those that another replica has added meanwhile are left alone.
    pub(super) async fn add_series(&self, on: &mut AnyConnection, rows: &[(Id, i64, i64, &str)]) -> Result<(), Error> {
        for chunk in rows.chunks(CHUNK) {
            let head = format!("{} series (hash, metric, entity, attributes) ", self.0.dialect.insert_new());
            let mut builder = QueryBuilder::<sqlx::Any>::new(head);
            builder.push_values(chunk, |mut row, (id, metric, entity, attributes)| {
                row.push_bind(id.to_vec()).push_bind(*metric).push_bind(*entity).push_bind((*attributes).to_owned());
            });
            builder.build().execute(&mut *on).await.doing("adding series")?;
        }
        Ok(())
    }

    /// Since when a sender is known, in ms; `now` where it is new.
    pub(super) async fn source(&self, on: &mut AnyConnection, name: &str, now: i64) -> Result<i64, Error> {
        let insert = format!("{} source (name, first_time) VALUES (?, ?)", self.0.dialect.insert_new());
        sqlx::query(made(insert)).bind(cut(name)).bind(now).execute(&mut *on).await.doing("noting a sender")?;
        let query = sqlx::query("SELECT first_time FROM source WHERE name = ?").bind(cut(name));
        query.fetch_one(&mut *on).await.doing("looking up a sender")?.try_get(0).doing("reading a sender")
    }
}
