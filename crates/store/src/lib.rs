//! What must survive a restart: jobs, approvals and the audit chain, in SQLite or PostgreSQL.
