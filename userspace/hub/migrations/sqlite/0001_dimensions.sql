-- What a metric is, once per name, unit, kind and sort of entity.
CREATE TABLE metric (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    kind INTEGER NOT NULL,          -- 0 counter, 1 gauge
    entity TEXT NOT NULL,
    coarsest INTEGER NOT NULL,      -- the last level that it is rolled up to
    description TEXT NOT NULL,
    UNIQUE (name, unit, kind, entity)
);

-- What points belong to. The columns are what is asked for; `attributes` has all of it.
CREATE TABLE entity (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    namespace TEXT NOT NULL,
    workload TEXT NOT NULL,
    pod TEXT NOT NULL,
    container TEXT NOT NULL,
    vm TEXT NOT NULL,
    executable TEXT NOT NULL,
    pid INTEGER NOT NULL,           -- 0: none
    attributes TEXT NOT NULL,
    described BLOB NOT NULL,        -- hash of `attributes`
    first_seen INTEGER NOT NULL
);
CREATE INDEX entity_place ON entity (kind, namespace, pod);

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    metric INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    attributes TEXT NOT NULL
);
CREATE INDEX series_of_metric ON series (metric, entity);
CREATE INDEX series_of_entity ON series (entity);

-- The last point of each series; times in ms. `started` is 0 where the sender does not say.
CREATE TABLE mark (
    series INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    time INTEGER NOT NULL,
    value REAL NOT NULL
);

-- Who sends, and since when: what a counter had before belongs to nobody's time.
CREATE TABLE source (
    name TEXT PRIMARY KEY,
    first_time INTEGER NOT NULL
);

-- The tables of points: one per level and period.
CREATE TABLE period (
    level INTEGER NOT NULL,
    start INTEGER NOT NULL,
    PRIMARY KEY (level, start)
);

-- Up to where a level's rows have been made of the finer level's, in s.
CREATE TABLE rolled (
    level INTEGER PRIMARY KEY,
    until INTEGER NOT NULL
);
