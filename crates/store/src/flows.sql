-- Format 1.

-- What a device exchanged with a peer in one hour.
CREATE TABLE flow (
    device TEXT NOT NULL,
    -- Hours since 1970.
    hour INTEGER NOT NULL,
    -- 1: the device is who was called.
    called INTEGER NOT NULL,
    -- Id of the peer where it is a device, else empty.
    peer TEXT NOT NULL,
    -- Address of the peer; empty in the sum of all for which there is no row.
    address TEXT NOT NULL,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    protocol TEXT,
    name TEXT,
    certain INTEGER NOT NULL,
    -- Nanoseconds since 1970.
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    -- From the device, and to it.
    packets_out INTEGER NOT NULL,
    packets_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    PRIMARY KEY (device, hour, called, peer, address, transport, port)
) WITHOUT ROWID;

-- The last report of each site, so that none counts twice.
CREATE TABLE told (
    site TEXT PRIMARY KEY,
    run INTEGER NOT NULL,
    number INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE format (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);

INSERT INTO format (id, version) VALUES (1, 1);
