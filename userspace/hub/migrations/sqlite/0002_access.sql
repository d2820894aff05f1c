-- People who may log in. Roles: 1 read, 2 record, 3 admin. Times in s.
CREATE TABLE account (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,         -- argon2id in PHC form
    role INTEGER NOT NULL,
    created INTEGER NOT NULL
);

-- What programs show instead of a password. Role 0 sends points and reads nothing.
CREATE TABLE access_token (
    id TEXT PRIMARY KEY,            -- the part by which it is found
    name TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    role INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL        -- 0: never
);

-- Who is logged in, by the hash of what the cookie holds; times in ms.
CREATE TABLE login_session (
    hash TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    created INTEGER NOT NULL,
    seen INTEGER NOT NULL
);
CREATE INDEX session_of_account ON login_session (account);

-- Links that let the first account be made.
CREATE TABLE setup_link (
    hash TEXT PRIMARY KEY,
    expires INTEGER NOT NULL
);

-- Who did what, when (ms) and from where.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    who TEXT NOT NULL,
    origin TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
