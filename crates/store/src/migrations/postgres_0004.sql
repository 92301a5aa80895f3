-- What stops those who go wild or guess: starting anew is no way around it.

-- Callers that the breaker has stopped.
CREATE TABLE trips (
    id        TEXT   PRIMARY KEY,
    principal TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    unasked   BIGINT NOT NULL,
    made_us   BIGINT NOT NULL,
    due_us    BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    doc       TEXT   NOT NULL
);
CREATE INDEX trips_by_end ON trips (due_us);

-- Which one-time codes were used, and how many wrong ones were tried.
CREATE TABLE code_uses (
    id        TEXT   PRIMARY KEY,
    principal TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    unasked   BIGINT NOT NULL,
    made_us   BIGINT NOT NULL,
    due_us    BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    doc       TEXT   NOT NULL
);
