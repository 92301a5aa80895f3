//! Sizes, shares, times and ages as people read them.

use jiff::Timestamp;

const STEPS: [(&str, u64); 5] =
    [("P", 1 << 50), ("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// A size in IEC units, two or three figures: `512M`, `3.5G`, `1.2T`. The unit is binary, as
/// everywhere in Proxmox.
pub fn bytes(size: u64) -> String {
    for (unit, step) in STEPS {
        if size >= step {
            return format!("{}{unit}", short(size as f64 / step as f64));
        }
    }
    format!("{size}B")
}

/// Used and whole in the whole's unit: `3.1/8G`.
pub fn used_of(used: u64, whole: u64) -> String {
    for (unit, step) in STEPS {
        if whole >= step {
            let part = |size: u64| short(size as f64 / step as f64);
            return format!("{}/{}{unit}", part(used), part(whole));
        }
    }
    format!("{used}/{whole}B")
}

/// A share of one as whole percents: `0.034` is `3%`.
pub fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0).round() as i64)
}

/// A time span in its largest fitting unit: `45s`, `12m`, `3h`, `9d`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
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
fn short(number: f64) -> String {
    let text = if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") };
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
