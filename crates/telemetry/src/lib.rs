//! Logs to standard error: the tracing subscriber of both binaries.
