//! When the space of removed backups comes back, in a sentence that can be relied on.
//!
//! A backup server removes a chunk only in a garbage collection, and only if nobody has touched it
//! for a day and five minutes by then. Backups touch what they use, and each collection touches
//! all that is in use while it runs; so what the last collection still found in use counts from
//! there.
//!
//! *Invariant:* pure.

use jiff::{SignedDuration, Timestamp};
use pbs_client::datastores::{DatastoreConfig, GcStatus};
use pve_client::guest::Properties;

use crate::report::{age, bytes, rfc3339};

/// How long a chunk is left alone unless the datastore is tuned otherwise: 24 h 5 min.
const CUTOFF_MINS: i64 = 24 * 60 + 5;

/// When the last collection began to mark what is in use.
pub(super) fn last_start(gc: &GcStatus) -> Option<Timestamp> {
    let by_task = gc.upid.as_ref().map(estate::Upid::started);
    let took = SignedDuration::from_secs(gc.duration_secs.unwrap_or(0).cast_signed());
    by_task.or_else(|| gc.last_end.and_then(|end| end.checked_sub(took).ok()))
}

/// How many minutes this datastore leaves a chunk alone.
pub(super) fn cutoff_mins(config: Option<&DatastoreConfig>) -> i64 {
    let tuned = config.and_then(|config| config.tuning.as_deref());
    let tuned = tuned.and_then(|tuning| Properties::parse(tuning).get("gc-atime-cutoff"));
    tuned.and_then(|minutes| minutes.parse().ok()).unwrap_or(CUTOFF_MINS)
}

/// `24 h 5 min`.
pub(super) fn cutoff_text(minutes: i64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Since when a collection may remove what was last in use at `touched`.
pub(super) fn free_from(
    gc: &GcStatus,
    touched: Option<Timestamp>,
    minutes: i64,
) -> Option<Timestamp> {
    let last = last_start(gc).into_iter().chain(touched).max()?;
    last.checked_add(SignedDuration::from_mins(minutes)).ok()
}

/// When the space of snapshots that are removed now comes back. `touched` is the newest of them.
pub(super) fn sentence(
    gc: &GcStatus,
    touched: Option<Timestamp>,
    minutes: i64,
    now: Timestamp,
) -> String {
    let cutoff = cutoff_text(minutes);
    let rule = format!(
        "space comes back only with a garbage collection, for chunks that nothing touched for {cutoff}"
    );
    let Some(from) = free_from(gc, touched, minutes) else {
        return format!("{rule}; when the last one ran is not known");
    };
    let from_text = format!("{} ({})", rfc3339(from), in_words(from, now));
    let from_text = if from <= now { "now on".to_owned() } else { from_text };
    let when = match (&gc.schedule, gc.next_run) {
        (None, _) => "no collection is scheduled: run datastore_gc then".to_owned(),
        (Some(_), Some(next)) if next >= from => {
            format!("the next is due {} ({})", rfc3339(next), in_words(next, now))
        }
        (Some(schedule), Some(next)) => format!(
            "the next is due {} ({}), which is too early: the one after it, by schedule {schedule}",
            rfc3339(next),
            in_words(next, now)
        ),
        (Some(schedule), None) => format!("the schedule is {schedule}"),
    };
    format!("{rule}; here from {from_text}; {when}")
}

/// What the last collection found unused but too young, and when it can go.
pub(super) fn pending(gc: &GcStatus, minutes: i64, now: Timestamp) -> Option<String> {
    if gc.pending_bytes == 0 {
        return None;
    }
    let size = bytes(gc.pending_bytes);
    // A collection does not touch what is unused, so it was touched before the last one began.
    let from = free_from(gc, None, minutes)?;
    let from = if from <= now {
        "a collection now removes it".to_owned()
    } else {
        format!(
            "a collection from {} on ({}) removes all of it",
            rfc3339(from),
            in_words(from, now)
        )
    };
    Some(format!("{size} were unused but touched too lately for the last collection; {from}"))
}

fn in_words(then: Timestamp, now: Timestamp) -> String {
    let text = age(then, now);
    if then > now { text } else { format!("{text} ago") }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn gc(schedule: Option<&str>, next_hours: i64) -> GcStatus {
        serde_json::from_value(json!({
            "upid": "UPID:vault:00000001:00000001:00000001:000186A0:garbage_collection:main:root@pam:",
            "schedule": schedule, "next-run": 100_000 + next_hours * 3600, "disk-bytes": 1,
            "pending-bytes": 3_u64 << 30,
        }))
        .unwrap()
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(100_000 + hours * 3600).unwrap()
    }

    #[test]
    fn the_first_collection_late_enough_is_named() {
        let told = |gc: &GcStatus, touched| sentence(gc, touched, CUTOFF_MINS, at(1));
        expect!["space comes back only with a garbage collection, for chunks that nothing touched for 24 h 5 min; here from 1970-01-03T03:51:40Z (in 23h); the next is due 1970-01-04T03:46:40Z (in 47h)"]
            .assert_eq(&told(&gc(Some("daily"), 48), None));
        expect!["space comes back only with a garbage collection, for chunks that nothing touched for 24 h 5 min; here from 1970-01-03T04:51:40Z (in 24h); the next is due 1970-01-02T13:46:40Z (in 9h), which is too early: the one after it, by schedule daily"]
            .assert_eq(&told(&gc(Some("daily"), 10), Some(at(1))));
        expect!["space comes back only with a garbage collection, for chunks that nothing touched for 24 h 5 min; here from 1970-01-03T03:51:40Z (in 23h); no collection is scheduled: run datastore_gc then"]
            .assert_eq(&told(&gc(None, 48), None));
        expect!["space comes back only with a garbage collection, for chunks that nothing touched for 24 h 5 min; here from now on; the next is due 1970-01-06T03:46:40Z (in 2d)"]
            .assert_eq(&sentence(&gc(Some("x"), 96), Some(at(2)), CUTOFF_MINS, at(29)));
        let never: GcStatus = serde_json::from_value(json!({"disk-bytes": 0})).unwrap();
        assert!(told(&never, None).ends_with("when the last one ran is not known"));
    }

    #[test]
    fn pending_bytes_have_a_date_and_tuning_counts() {
        expect!["3G were unused but touched too lately for the last collection; a collection from 1970-01-03T03:51:40Z on (in 23h) removes all of it"]
            .assert_eq(&pending(&gc(None, 0), CUTOFF_MINS, at(1)).unwrap());
        assert!(pending(&gc(None, 0), CUTOFF_MINS, at(30)).unwrap().contains("collection now"));
        let tuned: DatastoreConfig = serde_json::from_value(json!({
            "name": "main", "path": "/x", "tuning": "chunk-order=inode,gc-atime-cutoff=90",
        }))
        .unwrap();
        assert_eq!((cutoff_mins(Some(&tuned)), cutoff_mins(None)), (90, 1445));
        assert_eq!((cutoff_text(90), cutoff_text(45)), ("1 h 30 min".into(), "45 min".into()));
    }
}
