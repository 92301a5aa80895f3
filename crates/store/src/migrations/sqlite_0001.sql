-- Jobs, approvals and the audit chain. How values are written: src/rows.rs.
CREATE TABLE jobs (
    id         TEXT    PRIMARY KEY,
    owner      TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    upids      TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    result     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_by_owner ON jobs (owner, created_us DESC, id);
CREATE INDEX jobs_by_state ON jobs (state, updated_us);

CREATE TABLE approvals (
    id           TEXT    PRIMARY KEY,
    plan_digest  TEXT    NOT NULL,
    requested_by TEXT    NOT NULL,
    asked_us     INTEGER NOT NULL,
    expires_us   INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    decided_by   TEXT,
    decided_us   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_state ON approvals (state, asked_us);

CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY,
    time_us   INTEGER NOT NULL,
    principal TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    payload   TEXT    NOT NULL,
    prev_hash TEXT    NOT NULL,
    hash      TEXT    NOT NULL
) STRICT;
-- Against mistakes of ours; against an attacker there is the chain.
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
