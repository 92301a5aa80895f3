//! Bodies of Proxmox's notifications: lines of `Key: value`, sizes and durations as they are written there.

/// The value of a line that begins with this key and a colon.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// A size such as `1.5 GiB`, in bytes. Decimal units are read as well.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    let unit = text[split..].split_whitespace().next().unwrap_or("B");
    let (power, base) = match unit {
        "B" | "b" | "byte" | "bytes" => (0, 1024.0_f64),
        "KiB" => (1, 1024.0),
        "MiB" => (2, 1024.0),
        "GiB" => (3, 1024.0),
        "TiB" => (4, 1024.0),
        "PiB" => (5, 1024.0),
        "KB" | "kB" => (1, 1000.0),
        "MB" => (2, 1000.0),
        "GB" => (3, 1000.0),
        "TB" => (4, 1000.0),
        "PB" => (5, 1000.0),
        _ => return None,
    };
    Some((number * base.powi(power)) as u64)
}

/// A duration such as `1h 2m 5s`, in seconds.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    let mut is_empty = true;
    for part in text.split_whitespace() {
        let (number, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
        let unit = match unit {
            "d" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        let number = number.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number))?;
        sum = sum.checked_add((number * f64::from(unit)) as u64)?;
        is_empty = false;
    }
    (!is_empty).then_some(sum)
}

/// The text without the fence of a code block around it.
pub(crate) fn unfenced(text: &str) -> &str {
    let inner = text.trim().strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    // The word behind the opening fence names a language.
    let inner = inner.and_then(|inner| inner.split_once('\n'));
    match inner {
        Some((language, inner)) if !language.trim().contains(char::is_whitespace) => inner,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_sizes_and_durations_are_read() {
        let text = "Datastore:            main\n  Task ID: x\nRemoved garbage:\n";
        assert_eq!(value(text, "Datastore"), Some("main"));
        assert_eq!(value(text, "Task ID"), Some("x"));
        assert_eq!((value(text, "Removed garbage"), value(text, "Data")), (None, None));
        assert_eq!(bytes("1.5 GiB"), Some(1_610_612_736));
        assert_eq!(bytes("0 B"), Some(0));
        assert_eq!(bytes("12.5 MiB (3%)"), Some(13_107_200));
        assert_eq!((bytes("much"), bytes("1 XB")), (None, None));
        assert_eq!(
            (seconds("2m 5s"), seconds("1d 1h"), seconds("0s")),
            (Some(125), Some(90_000), Some(0))
        );
        assert_eq!(
            (seconds(""), seconds("5"), seconds("5x"), seconds("é")),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_fence_is_taken_off_once() {
        assert_eq!(unfenced("```\na\nb\n```"), "a\nb\n");
        assert_eq!(unfenced("```text\na\n```\n"), "a\n");
        for plain in ["a", "```a", "```a b\n```", "``````"] {
            assert_eq!(unfenced(plain), plain);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = (value(&text, "a"), bytes(&text), seconds(&text), unfenced(&text));
        }
    }
}
