//! Moments in the past, as people say them.

use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The moment that `--since` means: so long ago, the beginning of a day here, or a time.
pub(crate) fn since(text: &str, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<Date>() {
        let day = date.to_zoned(zone.clone()).context("--since: that day is none here")?;
        return Ok(day.timestamp());
    }
    let Ok(span) = text.parse::<Span>() else {
        bail!("--since takes a time such as 24h or 7d, a date such as 2027-01-31, or a timestamp");
    };
    let now = now.to_zoned(TimeZone::UTC);
    Ok(now.checked_sub(span).context("--since is too long ago")?.timestamp())
}

/// A moment as people here write it, to the second.
pub(crate) fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
