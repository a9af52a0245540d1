-- Format 1. Only what SQLite and PostgreSQL share (where it says INTEGER PRIMARY KEY, PostgreSQL says BIGINT PRIMARY KEY, and
-- where it says BLOB, BYTEA): no triggers, no serials, no locks, no queries into a value.

-- Entries as they came, by their number from 0.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

-- Hashes of the tree: up to 256 of 32 bytes a row, as in the tiles of C2SP tlog-tiles.
CREATE TABLE tile (
    level INTEGER NOT NULL,
    number BIGINT NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, number)
);

-- One row: how many entries there are, and the right edge of their tree.
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    edge BLOB NOT NULL
);

-- One row: the checkpoint that was signed last.
CREATE TABLE signed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    note BLOB NOT NULL
);

-- State after so many entries.
CREATE TABLE snapshot (
    size INTEGER PRIMARY KEY,
    blob BLOB NOT NULL
);

CREATE TABLE format (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);

INSERT INTO format (id, version) VALUES (1, 1);
