-- Events and what follows from them. How values are written: src/event_rows.rs.

-- In the order in which they were heard; `seq` is given by `event_head` and never given again.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,
    source_id   TEXT    NOT NULL,
    source_kind TEXT    NOT NULL,
    source_key  TEXT    NOT NULL,
    time_us     INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    severity    INTEGER NOT NULL,
    cluster     TEXT,
    node        TEXT,
    vmid        INTEGER,
    storage     TEXT,
    datastore   TEXT,
    job         TEXT,
    upid        TEXT,
    fingerprint TEXT    NOT NULL,
    doc         TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_key ON events (source_id, source_key);
CREATE INDEX events_by_id ON events (id);
-- With most of what is searched, so that a search reads documents only of what it found.
CREATE INDEX events_by_time
    ON events (time_us, seq, kind, severity, cluster, node, source_id);
CREATE INDEX events_by_receipt ON events (received_us);
CREATE INDEX events_by_guest ON events (vmid, time_us, seq) WHERE vmid IS NOT NULL;

-- The newest place, also after its event was forgotten. One row.
CREATE TABLE event_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO event_head VALUES (1, 0);

-- How far each source has read, in its own words.
CREATE TABLE cursors (
    source TEXT PRIMARY KEY,
    cursor TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each reader of the log has come.
CREATE TABLE marks (
    consumer TEXT    PRIMARY KEY,
    seq      INTEGER NOT NULL,
    time_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The words of each event; the rowid is its place.
CREATE VIRTUAL TABLE events_text USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0'
);

CREATE TABLE incidents (
    id          TEXT    PRIMARY KEY,
    opened_us   INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    is_open     INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    severity    INTEGER NOT NULL,
    cluster     TEXT,
    node        TEXT,
    vmid        INTEGER,
    merged_into TEXT,
    doc         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX incidents_by_update ON incidents (is_open, updated_us);
CREATE INDEX incidents_by_merge ON incidents (merged_into) WHERE merged_into IS NOT NULL;

-- Which event belongs to which incident.
CREATE TABLE reports (
    seq      INTEGER PRIMARY KEY,
    incident TEXT    NOT NULL
) STRICT;
CREATE INDEX reports_by_incident ON reports (incident, seq);

-- What the rules were told beside events.
CREATE TABLE journal (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    after_seq INTEGER NOT NULL,
    time_us   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_by_time ON journal (time_us);

CREATE TABLE silences (
    name     TEXT    PRIMARY KEY,
    until_us INTEGER NOT NULL,
    author   TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    doc      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What is to be told, was told, or could not be told.
CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    NOT NULL UNIQUE,
    output     TEXT    NOT NULL,
    incident   TEXT,
    lane       TEXT    NOT NULL,
    made_us    INTEGER NOT NULL,
    due_us     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    doc        TEXT    NOT NULL,
    last_error TEXT,
    receipt    TEXT,
    done_us    INTEGER
) STRICT;
CREATE INDEX outbox_pending ON outbox (output, lane, number) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (output, number) WHERE state = 'dead';
CREATE INDEX outbox_done ON outbox (done_us) WHERE state = 'done';
CREATE INDEX outbox_by_incident ON outbox (incident, output, number);

-- What services called our messages, so that an input knows them when they come back.
CREATE TABLE receipts (
    service TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    at_us   INTEGER NOT NULL,
    PRIMARY KEY (service, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_time ON receipts (at_us);
