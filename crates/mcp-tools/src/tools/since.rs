//! Reads "since when": a moment in RFC 3339, or an age such as `90m`, `2h`, `3d`, `1w`.

use jiff::{SignedDuration, Timestamp};

use crate::error::ToolError;

/// The moment that `text` means.
pub(crate) fn since(text: &str, now: Timestamp) -> Result<Timestamp, ToolError> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let age = age(text).and_then(|age| now.checked_sub(age).ok());
    age.ok_or_else(|| {
        let text = stdx::untrusted::line(text, 40);
        ToolError::new(format!("since `{text}` is no time"))
            .hint("give RFC 3339, such as 2026-01-31T08:00:00Z, or an age: 90m, 2h, 3d, 1w")
    })
}

/// The moment that `text` means, an age counted from now on: `2h` is in two hours.
pub(crate) fn from_now(text: &str, now: Timestamp) -> Result<Timestamp, ToolError> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let span = age(text).and_then(|span| now.checked_add(span).ok());
    span.ok_or_else(|| {
        let text = stdx::untrusted::line(text, 40);
        ToolError::new(format!("until `{text}` is no time"))
            .hint("give RFC 3339, such as 2026-01-31T08:00:00Z, or for how long: 90m, 2h, 3d, 1w")
    })
}

fn age(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    (number >= 0).then_some(SignedDuration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_ages() {
        let now: Timestamp = "2026-05-04T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-05-01T00:00:00Z", "2026-05-01T00:00:00Z"),
            ("2026-05-01T02:00:00+02:00", "2026-05-01T00:00:00Z"),
            ("90m", "2026-05-04T10:30:00Z"),
            ("2h", "2026-05-04T10:00:00Z"),
            ("3d", "2026-05-01T12:00:00Z"),
            ("1w", "2026-04-27T12:00:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(from_now("90m", now).unwrap().to_string(), "2026-05-04T13:30:00Z");
        let moment = "2026-06-01T00:00:00Z";
        assert_eq!(from_now(moment, now).unwrap().to_string(), moment);
        for text in ["", "yesterday", "-2h", "2", "h", "9223372036854775807w", "ü"] {
            assert!(since(text, now).is_err(), "{text}");
            assert!(from_now(text, now).is_err(), "{text}");
        }
    }
}
