-- Events and what follows from them. How values are written: src/event_rows.rs.

-- In the order in which they were heard; `seq` is given by `event_head` and never given again.
CREATE TABLE events (
    seq         BIGINT PRIMARY KEY,
    id          TEXT   NOT NULL,
    source_id   TEXT   NOT NULL,
    source_kind TEXT   NOT NULL,
    source_key  TEXT   NOT NULL,
    time_us     BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    severity    BIGINT NOT NULL,
    cluster     TEXT,
    node        TEXT,
    vmid        BIGINT,
    storage     TEXT,
    datastore   TEXT,
    job         TEXT,
    upid        TEXT,
    fingerprint TEXT   NOT NULL,
    doc         TEXT   NOT NULL
);
CREATE UNIQUE INDEX events_by_key ON events (source_id, source_key);
CREATE INDEX events_by_id ON events (id);
-- With most of what is searched, so that a search reads documents only of what it found.
CREATE INDEX events_by_time
    ON events (time_us, seq) INCLUDE (kind, severity, cluster, node, source_id);
CREATE INDEX events_by_receipt ON events (received_us);
CREATE INDEX events_by_guest ON events (vmid, time_us, seq) WHERE vmid IS NOT NULL;

-- The newest place, also after its event was forgotten. One row.
CREATE TABLE event_head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL
);
INSERT INTO event_head VALUES (1, 0);

-- How far each source has read, in its own words.
CREATE TABLE cursors (
    source TEXT PRIMARY KEY,
    cursor TEXT NOT NULL
);

-- How far each reader of the log has come.
CREATE TABLE marks (
    consumer TEXT   PRIMARY KEY,
    seq      BIGINT NOT NULL,
    time_us  BIGINT NOT NULL
);

-- The words of each event.
CREATE TABLE events_text (
    seq   BIGINT   PRIMARY KEY,
    words TSVECTOR NOT NULL
);
CREATE INDEX events_by_text ON events_text USING gin (words);

CREATE TABLE incidents (
    id          TEXT   PRIMARY KEY,
    opened_us   BIGINT NOT NULL,
    updated_us  BIGINT NOT NULL,
    is_open     BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    severity    BIGINT NOT NULL,
    cluster     TEXT,
    node        TEXT,
    vmid        BIGINT,
    merged_into TEXT,
    doc         TEXT   NOT NULL
);
CREATE INDEX incidents_by_update ON incidents (is_open, updated_us);
CREATE INDEX incidents_by_merge ON incidents (merged_into) WHERE merged_into IS NOT NULL;

-- Which event belongs to which incident.
CREATE TABLE reports (
    seq      BIGINT PRIMARY KEY,
    incident TEXT   NOT NULL
);
CREATE INDEX reports_by_incident ON reports (incident, seq);

-- What the rules were told beside events.
CREATE TABLE journal (
    number    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    after_seq BIGINT NOT NULL,
    time_us   BIGINT NOT NULL,
    doc       TEXT   NOT NULL
);
CREATE INDEX journal_by_time ON journal (time_us);

CREATE TABLE silences (
    name     TEXT   PRIMARY KEY,
    until_us BIGINT NOT NULL,
    author   TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    doc      TEXT   NOT NULL
);

-- What is to be told, was told, or could not be told.
CREATE TABLE outbox (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        TEXT   NOT NULL UNIQUE,
    output     TEXT   NOT NULL,
    incident   TEXT,
    lane       TEXT   NOT NULL,
    made_us    BIGINT NOT NULL,
    due_us     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    doc        TEXT   NOT NULL,
    last_error TEXT,
    receipt    TEXT,
    done_us    BIGINT
);
CREATE INDEX outbox_pending ON outbox (output, lane, number) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (output, number) WHERE state = 'dead';
CREATE INDEX outbox_done ON outbox (done_us) WHERE state = 'done';
CREATE INDEX outbox_by_incident ON outbox (incident, output, number);

-- What services called our messages, so that an input knows them when they come back.
CREATE TABLE receipts (
    service TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    at_us   BIGINT NOT NULL,
    PRIMARY KEY (service, id)
);
CREATE INDEX receipts_by_time ON receipts (at_us);
