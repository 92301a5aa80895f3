//! The one place where the simulator reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulated servers live in real time; nothing of ours depends on this crate's clock"
)]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `seconds` since the epoch in UTC, formatted by a strftime pattern.
pub(crate) fn utc(seconds: i64, pattern: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime(pattern).to_string())
        .unwrap_or_default()
}

/// Seconds since the epoch of `YYYY-MM-DD HH:MM:SS` in UTC.
pub(crate) fn parse_utc(text: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}
