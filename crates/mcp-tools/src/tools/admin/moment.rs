//! Reads moments as people write them: `2h ago`, `yesterday 14:00`, `2026-05-01 08:30`, `09:15`.
//!
//! *Invariant:* pure; the zone is the node's, as an offset.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::Offset,
};

use crate::error::ToolError;

/// The moment that `text` means on a clock that is `offset` ahead of UTC; a day without a time
/// begins at midnight.
pub(super) fn moment(text: &str, now: Timestamp, offset: Offset) -> Result<Timestamp, ToolError> {
    let given = text.trim();
    read(&given.to_ascii_lowercase(), now, offset).ok_or_else(|| {
        let text = stdx::untrusted::line(given, 40);
        ToolError::new(format!("`{text}` is no time")).hint(
            "give RFC 3339, an age (90m, 2h, 3d, 1w), a time (14:00), a day (today, yesterday, monday, 2026-05-01) or both (yesterday 14:00), by the node's clock",
        )
    })
}

fn read(text: &str, now: Timestamp, offset: Offset) -> Option<Timestamp> {
    if let Ok(time) = text.to_ascii_uppercase().parse::<Timestamp>() {
        return Some(time);
    }
    if text == "now" {
        return Some(now);
    }
    let bare = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Some(age) = age(bare) {
        return now.checked_sub(age).ok();
    }
    let here = offset.to_datetime(now);
    let local = |at: DateTime| offset.to_timestamp(at).ok();
    if let Some(time) = clock(text) {
        // The last time that the clock showed it.
        let today = here.date().to_datetime(time);
        let at = if today > here { here.date().yesterday().ok()?.to_datetime(time) } else { today };
        return local(at);
    }
    // `t` stands between a date and a time, and in the names of days.
    let (day, time) = match text.split_once(' ').or_else(|| text.split_once('t')) {
        Some((day, time)) if day_of(day, here.date()).is_some() => (day, clock(time.trim())?),
        _ => (text, Time::midnight()),
    };
    local(day_of(day, here.date())?.to_datetime(time))
}

/// `90m`, `2 hours`, `3d`
fn age(text: &str) -> Option<SignedDuration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
    let number: i64 = text[..digits].parse().ok()?;
    let seconds = match text[digits..].trim() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    Some(SignedDuration::from_secs(number.checked_mul(seconds)?))
}

/// `14:00`, `14:00:30`
fn clock(text: &str) -> Option<Time> {
    let parts: Vec<i8> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [hour, minute] => Time::new(*hour, *minute, 0, 0).ok(),
        [hour, minute, second] => Time::new(*hour, *minute, *second, 0).ok(),
        _ => None,
    }
}

fn day_of(text: &str, today: Date) -> Option<Date> {
    match text {
        "today" => return Some(today),
        "yesterday" => return today.yesterday().ok(),
        _ => {}
    }
    let weekdays = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let named = weekdays.iter().find(|(name, _)| text.len() >= 3 && name.starts_with(text));
    if let Some((_, weekday)) = named {
        let mut day = today;
        // The last one, today included.
        while day.weekday() != *weekday {
            day = day.yesterday().ok()?;
        }
        return Some(day);
    }
    // A day has its dashes; anything shorter is no date.
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_plain_words() {
        // A Monday, 14:00 where the node is.
        let now: Timestamp = "2026-05-04T12:00:00Z".parse().unwrap();
        let east = Offset::constant(2);
        for (text, expected) in [
            ("2026-05-01T00:00:00Z", "2026-05-01T00:00:00Z"),
            ("90m", "2026-05-04T10:30:00Z"),
            ("2 hours ago", "2026-05-04T10:00:00Z"),
            ("now", "2026-05-04T12:00:00Z"),
            ("today", "2026-05-03T22:00:00Z"),
            ("Yesterday 14:00", "2026-05-03T12:00:00Z"),
            ("13:30", "2026-05-04T11:30:00Z"),
            ("14:30", "2026-05-03T12:30:00Z"),
            ("2026-05-01", "2026-04-30T22:00:00Z"),
            ("2026-05-01 08:30", "2026-05-01T06:30:00Z"),
            ("friday", "2026-04-30T22:00:00Z"),
            ("mon 02:00", "2026-05-04T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now, east).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "soon", "25:00", "2", "99999999999999999999h", "2026-13-01", "mo"] {
            assert!(moment(text, now, east).is_err(), "{text}");
        }
    }
}
