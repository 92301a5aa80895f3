//! How far the server's clock is from ours. Tickets, tokens with an end, and the order of events
//! depend on it.

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use crate::finding::Finding;

const CHECK: &str = "clock";

/// From here on logs and tasks of several machines no longer fit together.
const WARN_SECS: i64 = 30;
/// From here on tickets are refused as not valid yet or as ended.
const FAIL_SECS: i64 = 300;

/// The verdict from the `Date` header of an answer and when we asked and had it.
pub(crate) fn judge(
    subject: &str,
    date: Option<&str>,
    sent: Timestamp,
    received: Timestamp,
) -> Finding {
    let Some(date) = date else {
        return Finding::skip(subject, CHECK, "the server told no time");
    };
    let Ok(theirs) = DateTimeParser::new().parse_timestamp(date) else {
        return Finding::skip(subject, CHECK, "the server's Date header is none");
    };
    let skew = skew_secs(theirs, sent, received);
    if skew.abs() <= WARN_SECS {
        let detail = if skew == 0 { "in step".to_owned() } else { said(skew) };
        return Finding::pass(subject, CHECK, detail);
    }
    let finding = if skew.abs() > FAIL_SECS {
        Finding::fail(subject, CHECK, format!("{}: tickets break", said(skew)))
    } else {
        Finding::warn(subject, CHECK, said(skew))
    };
    finding.hint("compare `chronyc tracking` (or `timedatectl`) on the server and on this machine, and turn on time synchronization where it is off")
}

/// How many seconds they are ahead of us: none if the answer can have been written at their time.
/// The header has whole seconds.
fn skew_secs(theirs: Timestamp, sent: Timestamp, received: Timestamp) -> i64 {
    let theirs = theirs.as_second();
    if theirs > received.as_second() {
        theirs - received.as_second()
    } else if theirs < sent.as_second() {
        theirs - sent.as_second()
    } else {
        0
    }
}

fn said(skew: i64) -> String {
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    format!("{} s {direction} this machine", skew.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn skew_is_told_in_seconds_and_direction() {
        let sent: Timestamp = "2026-03-01T12:00:00.4Z".parse().unwrap();
        let received: Timestamp = "2026-03-01T12:00:02.1Z".parse().unwrap();
        for (date, status, detail) in [
            ("Sun, 01 Mar 2026 12:00:01 GMT", Status::Pass, "in step"),
            ("Sun, 01 Mar 2026 12:00:02 GMT", Status::Pass, "in step"),
            ("Sun, 01 Mar 2026 12:00:09 GMT", Status::Pass, "7 s ahead of this machine"),
            ("Sun, 01 Mar 2026 11:59:00 GMT", Status::Warn, "60 s behind this machine"),
            ("Sun, 01 Mar 2026 12:05:02 GMT", Status::Warn, "300 s ahead of this machine"),
            (
                "Sun, 01 Mar 2026 12:10:02 GMT",
                Status::Fail,
                "600 s ahead of this machine: tickets break",
            ),
            ("yesterday", Status::Skip, "the server's Date header is none"),
        ] {
            let finding = judge("a", Some(date), sent, received);
            assert_eq!((finding.status, finding.detail.as_str()), (status, detail), "{date}");
            assert_eq!(finding.hints.is_empty(), status < Status::Warn, "{date}");
        }
        assert_eq!(judge("a", None, sent, received).status, Status::Skip);
    }
}
