-- What a metric is, once per name, unit, kind and sort of entity.
CREATE TABLE metric (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    name VARCHAR(255) NOT NULL,
    unit VARCHAR(255) NOT NULL,
    kind BIGINT NOT NULL,          -- 0 counter, 1 gauge
    entity VARCHAR(255) NOT NULL,
    coarsest BIGINT NOT NULL,      -- the last level that it is rolled up to
    description TEXT NOT NULL,
    UNIQUE (name, unit, kind, entity)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What points belong to. The columns are what is asked for; `attributes` has all of it.
CREATE TABLE entity (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    hash BINARY(16) NOT NULL UNIQUE,
    kind VARCHAR(255) NOT NULL,
    node VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    workload VARCHAR(255) NOT NULL,
    pod VARCHAR(255) NOT NULL,
    container VARCHAR(255) NOT NULL,
    vm VARCHAR(255) NOT NULL,
    executable VARCHAR(255) NOT NULL,
    pid BIGINT NOT NULL,           -- 0: none
    attributes MEDIUMTEXT NOT NULL,
    described BINARY(16) NOT NULL,        -- hash of `attributes`
    first_seen BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX entity_place ON entity (kind, namespace, pod);

CREATE TABLE series (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    hash BINARY(16) NOT NULL UNIQUE,
    metric BIGINT NOT NULL,
    entity BIGINT NOT NULL,
    attributes MEDIUMTEXT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX series_of_metric ON series (metric, entity);
CREATE INDEX series_of_entity ON series (entity);

-- The last point of each series; times in ms. `started` is 0 where the sender does not say.
CREATE TABLE mark (
    series BIGINT PRIMARY KEY,
    started BIGINT NOT NULL,
    time BIGINT NOT NULL,
    value DOUBLE NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who sends, and since when: what a counter had before belongs to nobody's time.
CREATE TABLE source (
    name VARCHAR(255) PRIMARY KEY,
    first_time BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The tables of points: one per level and period.
CREATE TABLE period (
    level BIGINT NOT NULL,
    start BIGINT NOT NULL,
    PRIMARY KEY (level, start)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Up to where a level's rows have been made of the finer level's, in s.
CREATE TABLE rolled (
    level BIGINT PRIMARY KEY,
    until BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
