-- The guard's nouns, one shape of table for all of them: src/records.rs says what stands where.
ALTER TABLE approvals RENAME TO approvals_2;
DROP INDEX approvals_by_state;

-- Consent.
CREATE TABLE approvals (
    id        TEXT    PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    unasked   INTEGER NOT NULL,
    made_us   INTEGER NOT NULL,
    due_us    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_state ON approvals (state, made_us);
CREATE INDEX approvals_by_principal ON approvals (principal, made_us);

-- What was begun, call by call.
CREATE TABLE actions (
    id        TEXT    PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    unasked   INTEGER NOT NULL,
    made_us   INTEGER NOT NULL,
    due_us    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX actions_by_state ON actions (state, made_us);
CREATE INDEX actions_by_principal ON actions (principal, made_us);

-- What can be put back.
CREATE TABLE undos (
    id        TEXT    PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    unasked   INTEGER NOT NULL,
    made_us   INTEGER NOT NULL,
    due_us    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX undos_by_state ON undos (state, made_us);
CREATE INDEX undos_by_principal ON undos (principal, made_us);

-- Changes that are put back unless somebody confirms them.
CREATE TABLE confirms (
    id        TEXT    PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    unasked   INTEGER NOT NULL,
    made_us   INTEGER NOT NULL,
    due_us    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX confirms_by_state ON confirms (state, made_us);
CREATE INDEX confirms_by_principal ON confirms (principal, made_us);

-- Stops of everybody.
CREATE TABLE freezes (
    id        TEXT    PRIMARY KEY,
    principal TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    unasked   INTEGER NOT NULL,
    made_us   INTEGER NOT NULL,
    due_us    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX freezes_by_state ON freezes (state, made_us);
CREATE INDEX freezes_by_principal ON freezes (principal, made_us);

-- What an earlier program asked for did not say what it was about, so nobody can run it any more.
INSERT INTO approvals (id, principal, kind, subject, state, unasked, made_us, due_us, version, doc)
SELECT id, requested_by, '', 'sha256:' || plan_digest,
       CASE state WHEN 'refused' THEN 'refused' WHEN 'used' THEN 'done' ELSE 'void' END,
       0, asked_us, expires_us, 0,
       '{"needed":1,"void_reason":"an earlier version of this program asked for it"}'
FROM approvals_2;
DROP TABLE approvals_2;

-- The audit chain's signed checkpoints: a cut-off end is behind one of them.
CREATE TABLE audit_checkpoints (
    seq       INTEGER PRIMARY KEY,
    head      TEXT    NOT NULL,
    time_us   INTEGER NOT NULL,
    key       TEXT    NOT NULL,
    signature TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
