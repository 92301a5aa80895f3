//! The SQL that both engines understand to the letter; SQLite takes `$1` as PostgreSQL does.

pub(crate) const INSERT_JOB: &str = "INSERT INTO jobs (id, owner, label, upids, state, created_us, \
     updated_us, result) VALUES ($1, $2, $3, $4, 'running', $5, $5, NULL)";

pub(crate) const SET_REFS: &str = "UPDATE jobs SET upids = $2, updated_us = $3 \
     WHERE id = $1 AND state IN ('running', 'asking') \
     RETURNING id, owner, label, upids, state, created_us, updated_us, result";

pub(crate) const SET_JOB: &str = "UPDATE jobs SET state = $2, result = $3, updated_us = $4 \
     WHERE id = $1 AND state IN ('running', 'asking') \
     RETURNING id, owner, label, upids, state, created_us, updated_us, result";

pub(crate) const JOB: &str = "SELECT id, owner, label, upids, state, created_us, updated_us, \
     result FROM jobs WHERE id = $1";

pub(crate) const OWNED_JOB: &str = "SELECT id, owner, label, upids, state, created_us, \
     updated_us, result FROM jobs WHERE id = $1 AND owner = $2";

pub(crate) const OWNED_JOBS: &str = "SELECT id, owner, label, upids, state, created_us, \
     updated_us, result FROM jobs WHERE owner = $1 ORDER BY created_us DESC, id LIMIT $2";

pub(crate) const RUNNING_JOBS: &str = "SELECT id, owner, label, upids, state, created_us, \
     updated_us, result FROM jobs WHERE state IN ('running', 'asking') ORDER BY created_us, id";

pub(crate) const FORGET_JOBS: &str =
    "DELETE FROM jobs WHERE state NOT IN ('running', 'asking') AND updated_us < $1";

pub(crate) const INSERT_APPROVAL: &str = "INSERT INTO approvals (id, plan_digest, requested_by, \
     asked_us, expires_us, state) VALUES ($1, $2, $3, $4, $5, 'pending')";

pub(crate) const APPROVAL: &str = "SELECT id, plan_digest, requested_by, asked_us, expires_us, \
     state, decided_by, decided_us FROM approvals WHERE id = $1";

pub(crate) const PENDING_APPROVALS: &str = "SELECT id, plan_digest, requested_by, asked_us, \
     expires_us, state, decided_by, decided_us FROM approvals \
     WHERE state = 'pending' AND expires_us > $1 ORDER BY asked_us, id";

pub(crate) const DECIDE: &str = "UPDATE approvals SET state = $2, decided_by = $3, decided_us = $4 \
     WHERE id = $1 AND state = 'pending' AND expires_us > $4 \
     RETURNING id, plan_digest, requested_by, asked_us, expires_us, state, decided_by, decided_us";

pub(crate) const USE_APPROVAL: &str = "UPDATE approvals SET state = 'used' \
     WHERE id = $1 AND plan_digest = $2 AND state = 'approved' AND expires_us > $3 \
     RETURNING id, plan_digest, requested_by, asked_us, expires_us, state, decided_by, decided_us";

pub(crate) const LAST_AUDIT: &str = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";

pub(crate) const INSERT_AUDIT: &str = "INSERT INTO audit (seq, time_us, principal, action, \
     target, payload, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(crate) const AUDIT_AFTER: &str = "SELECT seq, time_us, principal, action, target, payload, \
     prev_hash, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
