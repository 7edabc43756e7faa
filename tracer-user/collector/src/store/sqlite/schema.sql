-- Times are nanoseconds since 1970. Identities are the bytes that agents sign.

CREATE TABLE agents (
    agent BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    enrolled INTEGER NOT NULL,
    -- When its latest certificate ends.
    certified_until INTEGER NOT NULL,
    revoked INTEGER,
    -- When it was last connected.
    seen INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Of the secret, which is nowhere; or of a reader's certificate.
    digest BLOB NOT NULL UNIQUE,
    -- 'enrol', 'read', or 'cert' for a reader's certificate.
    purpose TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER,
    -- The agent that enrolled with it.
    used_by BLOB
) STRICT;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent BLOB NOT NULL,
    session BLOB NOT NULL,
    -- 1 telemetry, 2 content.
    stream INTEGER NOT NULL,
    next INTEGER NOT NULL,
    link BLOB NOT NULL,
    epoch INTEGER,
    closed INTEGER NOT NULL,
    began INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    -- The latest event so far.
    latest INTEGER NOT NULL,
    -- 1 its records are being overwritten, 2 they are gone.
    shredded INTEGER NOT NULL DEFAULT 0,
    -- Of the records that are kept, as the triggers below count them: records, events, events that gaps
    -- declare, gaps.
    records INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    gaps INTEGER NOT NULL DEFAULT 0,
    UNIQUE (agent, session)
) STRICT;
CREATE INDEX sessions_by_stream ON sessions (agent, stream, id);

CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    length INTEGER NOT NULL,
    -- When the newest of its records was stored.
    newest INTEGER NOT NULL,
    open INTEGER NOT NULL
) STRICT;

CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- 1 epoch, 2 batch, 3 gap, 4 closing.
    body INTEGER NOT NULL,
    link BLOB NOT NULL,
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    events INTEGER,
    segment INTEGER NOT NULL,
    position INTEGER NOT NULL,
    length INTEGER NOT NULL,
    UNIQUE (session, epoch, sequence)
) STRICT;

CREATE INDEX records_by_place ON records (session, sequence);
CREATE INDEX records_by_time ON records (stream, first, number) WHERE body IN (2, 3);
CREATE INDEX records_by_segment ON records (segment);

CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
    UPDATE sessions SET
        records = records + 1,
        events = events + iif(new.body = 2, coalesce(new.events, 0), 0),
        lost = lost + iif(new.body = 3, coalesce(new.events, 0), 0),
        gaps = gaps + (new.body = 3)
    WHERE id = new.session;
END;
CREATE TRIGGER record_deleted AFTER DELETE ON records BEGIN
    UPDATE sessions SET
        records = records - 1,
        events = events - iif(old.body = 2, coalesce(old.events, 0), 0),
        lost = lost - iif(old.body = 3, coalesce(old.events, 0), 0),
        gaps = gaps - (old.body = 3)
    WHERE id = old.session;
END;

CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE counts (
    record INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (record, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE models (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE mentions (
    model INTEGER NOT NULL,
    first INTEGER NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (model, first, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_by_record ON mentions (record);

-- One row: the longest time between the first and the last event of a record. A search by time begins
-- that much earlier.
CREATE TABLE spans (longest INTEGER NOT NULL) STRICT;
INSERT INTO spans VALUES (0);
