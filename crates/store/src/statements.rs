//! The SQL that both engines understand to the letter; SQLite takes `$1` as PostgreSQL does.

use crate::records::{Order, Table};

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

pub(crate) const LAST_AUDIT: &str = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";

pub(crate) const INSERT_AUDIT: &str = "INSERT INTO audit (seq, time_us, principal, action, \
     target, payload, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(crate) const AUDIT_AFTER: &str = "SELECT seq, time_us, principal, action, target, payload, \
     prev_hash, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";

pub(crate) const INSERT_CHECKPOINT: &str = "INSERT INTO audit_checkpoints (seq, head, time_us, \
     key, signature) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (seq) DO NOTHING";

pub(crate) const CHECKPOINTS_AFTER: &str = "SELECT seq, head, time_us, key, signature \
     FROM audit_checkpoints WHERE seq > $1 ORDER BY seq LIMIT $2";

/// How one table of the guard's nouns is worked with; see [`crate::records::Row`].
pub(crate) struct RowStatements {
    pub(crate) insert: &'static str,
    pub(crate) row: &'static str,
    pub(crate) newest: &'static str,
    pub(crate) oldest: &'static str,
    pub(crate) replace: &'static str,
}

macro_rules! columns {
    () => {
        "id, principal, kind, subject, state, unasked, made_us, due_us, version, doc"
    };
}

// The states that are looked for come as one text, each between bars.
macro_rules! row_statements {
    ($table:literal) => {
        RowStatements {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            ),
            row: concat!("SELECT ", columns!(), " FROM ", $table, " WHERE id = $1"),
            newest: row_statements!($table, "ORDER BY made_us DESC, id LIMIT $8"),
            oldest: row_statements!($table, "ORDER BY made_us, id LIMIT $8"),
            replace: concat!(
                "UPDATE ",
                $table,
                " SET state = $2, version = $3, doc = $4 WHERE id = $1 AND version = $3 - 1"
            ),
        }
    };
    ($table:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM ",
            $table,
            " WHERE ($1 = '' OR principal = $1) AND ($2 = '' OR kind = $2) \
              AND ($3 = '' OR subject = $3) AND ($4 = '' OR $4 LIKE '%|' || state || '|%') \
              AND made_us >= $5 AND due_us > $6 AND due_us <= $7 ",
            $order
        )
    };
}

/// What works with this table.
pub(crate) fn of(table: Table) -> &'static RowStatements {
    match table {
        Table::Approvals => &const { row_statements!("approvals") },
        Table::Actions => &const { row_statements!("actions") },
        Table::Undos => &const { row_statements!("undos") },
        Table::Confirms => &const { row_statements!("confirms") },
        Table::Freezes => &const { row_statements!("freezes") },
        Table::Trips => &const { row_statements!("trips") },
        Table::CodeUses => &const { row_statements!("code_uses") },
    }
}

impl RowStatements {
    /// Reads many rows in this order.
    pub(crate) fn many(&self, order: Order) -> &'static str {
        match order {
            Order::Newest => self.newest,
            Order::Oldest => self.oldest,
        }
    }
}

/// Adds an action if fewer than `$12` and, without being asked about, than `$13` were begun since
/// `$11`. Atomic where one statement writes at a time.
pub(crate) const INSERT_COUNTED: &str = concat!(
    "INSERT INTO actions (",
    columns!(),
    ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM (SELECT COUNT(*) AS begun, \
     COALESCE(SUM(unasked), 0) AS unasked FROM actions WHERE principal = $2 AND made_us >= $11) AS c \
     WHERE c.begun < $12 AND c.unasked < $13"
);

pub(crate) const COUNT_CHANGES: &str = "SELECT COUNT(*), \
     CAST(COALESCE(SUM(unasked), 0) AS BIGINT) FROM actions \
     WHERE principal = $1 AND made_us >= $2";
