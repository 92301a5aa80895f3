-- Jobs, approvals and the audit chain. How values are written: src/rows.rs.
CREATE TABLE jobs (
    id         TEXT   PRIMARY KEY,
    owner      TEXT   NOT NULL,
    label      TEXT   NOT NULL,
    upids      TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    result     TEXT
);
CREATE INDEX jobs_by_owner ON jobs (owner, created_us DESC, id);
CREATE INDEX jobs_by_state ON jobs (state, updated_us);

CREATE TABLE approvals (
    id           TEXT   PRIMARY KEY,
    plan_digest  TEXT   NOT NULL,
    requested_by TEXT   NOT NULL,
    asked_us     BIGINT NOT NULL,
    expires_us   BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    decided_by   TEXT,
    decided_us   BIGINT
);
CREATE INDEX approvals_by_state ON approvals (state, asked_us);

CREATE TABLE audit (
    seq       BIGINT PRIMARY KEY,
    time_us   BIGINT NOT NULL,
    principal TEXT   NOT NULL,
    action    TEXT   NOT NULL,
    target    TEXT   NOT NULL,
    payload   TEXT   NOT NULL,
    prev_hash TEXT   NOT NULL,
    hash      TEXT   NOT NULL
);
-- Against mistakes of ours; against an attacker there is the chain.
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
