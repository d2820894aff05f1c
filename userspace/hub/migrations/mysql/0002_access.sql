-- People who may log in. Roles: 1 read, 2 record, 3 admin. Times in s.
CREATE TABLE account (
    name VARCHAR(255) PRIMARY KEY,
    password VARCHAR(255) NOT NULL,         -- argon2id in PHC form
    role BIGINT NOT NULL,
    created BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What programs show instead of a password. Role 0 sends points and reads nothing.
CREATE TABLE access_token (
    id VARCHAR(255) PRIMARY KEY,            -- the part by which it is found
    name VARCHAR(255) NOT NULL UNIQUE,
    hash VARCHAR(255) NOT NULL,
    role BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL        -- 0: never
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who is logged in, by the hash of what the cookie holds; times in ms.
CREATE TABLE login_session (
    hash VARCHAR(255) PRIMARY KEY,
    account VARCHAR(255) NOT NULL,
    created BIGINT NOT NULL,
    seen BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX session_of_account ON login_session (account);

-- Links that let the first account be made.
CREATE TABLE setup_link (
    hash VARCHAR(255) PRIMARY KEY,
    expires BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who did what, when (ms) and from where.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    time BIGINT NOT NULL,
    who VARCHAR(255) NOT NULL,
    origin VARCHAR(255) NOT NULL,
    what VARCHAR(255) NOT NULL,
    detail VARCHAR(255) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
