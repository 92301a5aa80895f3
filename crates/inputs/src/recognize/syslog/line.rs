//! One line: priority, time, host, program and message.

use std::borrow::Cow;

use chrono::{Datelike as _, Timelike as _, Utc};
use event_core::Severity;
use jiff::{Timestamp, civil};
use syslog_loose::{Protocol, SyslogSeverity, Variant};

use crate::origin::Origin;

/// A line, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) severity: Severity,
    pub(super) time: Timestamp,
    /// What the line says it comes from: for people, never an identity.
    pub(super) host: Option<&'a str>,
    pub(super) program: Option<&'a str>,
    pub(super) message: &'a str,
}

/// Takes a line apart. What is no syslog is a message of its own.
pub(super) fn read<'a>(text: &'a str, origin: &Origin<'_>) -> Line<'a> {
    let text = text.trim_matches(['\r', '\n', '\0', ' ']);
    let received = origin.received;
    let year = |date: syslog_loose::IncompleteDate| year(date, received, origin);
    let parsed = syslog_loose::parse_message_with_year_tz(text, year, Some(Utc), Variant::Either);
    let is_new = matches!(parsed.protocol, Protocol::RFC5424(_));
    let time = parsed.timestamp.and_then(|time| {
        // RFC 3164 has no zone, and was read as if it were UTC; some programs write RFC 3339 in its place.
        if is_new || has_zone(text) {
            let nanosecond = i32::try_from(time.timestamp_subsec_nanos()).ok()?;
            return Timestamp::new(time.timestamp(), nanosecond).ok();
        }
        let date = civil::Date::new(
            i16::try_from(time.year()).ok()?,
            i8::try_from(time.month()).ok()?,
            i8::try_from(time.day()).ok()?,
        );
        let clock = civil::Time::new(
            i8::try_from(time.hour()).ok()?,
            i8::try_from(time.minute()).ok()?,
            i8::try_from(time.second()).ok()?,
            0,
        );
        origin.identity.moment(date.ok()?.to_datetime(clock.ok()?))
    });
    let program =
        parsed.appname.map(|name| name.trim_end_matches(':')).filter(|name| !name.is_empty());
    let message = if is_new { parsed.msg } else { message(text, parsed.appname, parsed.msg) };
    Line {
        severity: parsed.severity.map_or(Severity::Notice, severity),
        time: time.unwrap_or(received),
        host: parsed.hostname,
        program,
        message: message.trim_start_matches('\u{feff}').trim(),
    }
}

/// The host that a line names.
pub(super) fn host(text: &str) -> Option<&str> {
    let year = |_| 2000;
    syslog_loose::parse_message_with_year_tz(text.trim(), year, Some(Utc), Variant::Either).hostname
}

/// The message of a line of RFC 3164. The parser takes brackets at its beginning for structured data, which that RFC does
/// not have; pmxcfs and corosync begin their messages so.
fn message<'a>(text: &'a str, program: Option<&str>, parsed: &'a str) -> &'a str {
    let Some(program) = program else { return parsed };
    // The program's name is a slice of the text, and the message follows it.
    let start = (program.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let Some(rest) = start.checked_add(program.len()).and_then(|end| text.get(end..)) else {
        return parsed;
    };
    let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) if rest.starts_with([':', ' ']) => rest,
        _ => rest,
    };
    rest.strip_prefix(':').unwrap_or(rest)
}

/// Whether the time behind the priority is written as RFC 3339 has it.
fn has_zone(text: &str) -> bool {
    let behind = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    behind.is_some_and(|(_, rest)| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

/// The year that brings the date nearest to now: lines of New Year's Eve arrive in the new year, and a clock may be a
/// little ahead. A 29th of February has only leap years to choose from.
fn year(date: syslog_loose::IncompleteDate, received: Timestamp, origin: &Origin<'_>) -> i32 {
    let (month, day, hour, minute, second) = date;
    let now = received.to_zoned(origin.identity.zone.clone());
    let small = |number: u32| i8::try_from(number).ok();
    let distance = |year: i16| {
        let date = civil::Date::new(year, small(month)?, small(day)?).ok()?;
        let time = civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
        let moment = origin.identity.moment(date.to_datetime(time))?;
        Some((moment.as_second() - received.as_second()).abs())
    };
    let this = now.year();
    let years = [this, this.saturating_sub(1), this.saturating_add(1)];
    let nearest = years.into_iter().filter_map(|year| Some((distance(year)?, year))).min();
    i32::from(nearest.map_or(this, |(_, year)| year))
}

fn severity(level: SyslogSeverity) -> Severity {
    Severity::from_syslog(level as u8)
}

/// An escaped control character (`#012`) as what it stands for, for messages that people read.
pub(super) fn unescaped(message: &str) -> Cow<'_, str> {
    if message.contains("#012") {
        Cow::Owned(message.replace("#012", "\n"))
    } else {
        Cow::Borrowed(message)
    }
}
