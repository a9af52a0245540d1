-- Format 1. Only what SQLite and PostgreSQL share; where it says BLOB, PostgreSQL says BYTEA.

-- Records as they came.
CREATE TABLE record (
    id TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    bytes BLOB NOT NULL
);

-- Ids of records that were erased on purpose.
CREATE TABLE erased (
    id TEXT PRIMARY KEY
);

CREATE TABLE format (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);

INSERT INTO format (id, version) VALUES (1, 1);
