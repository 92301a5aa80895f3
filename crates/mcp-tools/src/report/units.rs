//! Sizes, shares, times and ages as people read them.

use std::fmt::Write as _;

use jiff::Timestamp;

const STEPS: [(&str, u64); 5] =
    [("P", 1 << 50), ("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// A size in IEC units, two or three figures: `512M`, `3.5G`, `1.2T`. The unit is binary, as
/// everywhere in Proxmox.
pub fn bytes(size: u64) -> String {
    written(|out| write_bytes(out, size))
}

/// Used and whole in the whole's unit: `3.1/8G`.
pub fn used_of(used: u64, whole: u64) -> String {
    for (unit, step) in STEPS {
        if whole >= step {
            return written(|out| {
                write_short(out, used as f64 / step as f64);
                out.push('/');
                write_short(out, whole as f64 / step as f64);
                out.push_str(unit);
            });
        }
    }
    format!("{used}/{whole}B")
}

/// A share of one as whole percents: `0.034` is `3%`.
pub fn percent(share: f64) -> String {
    written(|out| write_percent(out, share))
}

/// A time span in its largest fitting unit: `45s`, `12m`, `3h`, `9d`.
pub fn span(seconds: u64) -> String {
    written(|out| write_span(out, seconds))
}

pub(super) fn write_bytes(out: &mut String, size: u64) {
    match STEPS.iter().find(|(_, step)| size >= *step) {
        Some((unit, step)) => {
            write_short(out, size as f64 / *step as f64);
            out.push_str(unit);
        }
        None => write(out, format_args!("{size}B")),
    }
}

pub(super) fn write_percent(out: &mut String, share: f64) {
    write(out, format_args!("{}%", (share * 100.0).round() as i64));
}

pub(super) fn write_span(out: &mut String, seconds: u64) {
    match seconds {
        0..120 => write(out, format_args!("{seconds}s")),
        120..7_200 => write(out, format_args!("{}m", seconds / 60)),
        7_200..172_800 => write(out, format_args!("{}h", seconds / 3_600)),
        _ => write(out, format_args!("{}d", seconds / 86_400)),
    }
}

/// How long ago, in the largest fitting unit: `45s`, `12m`, `3h`, `9d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    let sign = if seconds < 0 { "in " } else { "" };
    format!("{sign}{}", span(seconds.unsigned_abs()))
}

/// A time in RFC 3339, whole seconds, UTC.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Two figures below ten, none after the point from there on; no trailing zero.
fn write_short(out: &mut String, number: f64) {
    if number >= 9.95 {
        return write(out, format_args!("{number:.0}"));
    }
    write(out, format_args!("{number:.1}"));
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(text);
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}
