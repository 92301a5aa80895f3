//! Which snapshots a keep rule holds, and why: what a backup server will decide, told before it does.
//!
//! The rules are taken in the order last, hourly, daily, weekly, monthly, yearly. Each keeps the
//! newest snapshot of so many periods, and looks only at periods of which no earlier rule kept one.
//! What a rule passes over within a period that it keeps goes, whatever later rules would say.
//! Protected snapshots stay and use up nothing. Periods are those of the server's time zone.
//!
//! *Invariant:* pure. The simulator decides on its own, and a test holds both to the same.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};
use pbs_client::datastores;

/// How many each rule keeps; 0 where it is not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keep {
    pub(super) last: u32,
    pub(super) hourly: u32,
    pub(super) daily: u32,
    pub(super) weekly: u32,
    pub(super) monthly: u32,
    pub(super) yearly: u32,
}

/// A snapshot, as far as pruning looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) time: Timestamp,
    pub(super) protected: bool,
    /// Whether the backup came to its end.
    pub(super) finished: bool,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays: protected, or what keeps it (`daily 2026-03-04`).
    Stays(String),
    /// It goes.
    Goes,
}

/// A rule: its word, how a period of it is written, how many it keeps.
type Rule = (&'static str, &'static str, u32);

// === impl Keep ===

impl Keep {
    fn rules(&self) -> [Rule; 6] {
        [
            ("last", "%s", self.last),
            ("hourly", "%Y-%m-%dT%H", self.hourly),
            ("daily", "%Y-%m-%d", self.daily),
            ("weekly", "%G-W%V", self.weekly),
            ("monthly", "%Y-%m", self.monthly),
            ("yearly", "%Y", self.yearly),
        ]
    }

    /// Whether any rule keeps anything; without one, everything stays.
    pub(super) fn keeps_something(&self) -> bool {
        self.rules().iter().any(|(_, _, count)| *count > 0)
    }

    /// Whether the server's time zone matters.
    pub(super) fn has_periods(&self) -> bool {
        self.rules()[1..].iter().any(|(_, _, count)| *count > 0)
    }

    /// As PVE writes it: `keep-last=3,keep-daily=7`.
    pub(super) fn text(&self) -> String {
        let rules = self.rules();
        let set = rules.iter().filter(|(_, _, count)| *count > 0);
        set.map(|(word, _, count)| format!("keep-{word}={count}")).collect::<Vec<_>>().join(",")
    }

    /// As PBS takes it.
    pub(super) fn params(&self) -> datastores::Keep {
        let given = |count: u32| (count > 0).then_some(count);
        datastores::Keep {
            last: given(self.last),
            hourly: given(self.hourly),
            daily: given(self.daily),
            weekly: given(self.weekly),
            monthly: given(self.monthly),
            yearly: given(self.yearly),
        }
    }
}

/// Decides for one group, newest first.
pub(super) fn decide(keep: &Keep, zone: &TimeZone, items: &[Item]) -> Vec<Fate> {
    debug_assert!(items.is_sorted_by(|a, b| a.time >= b.time), "newest first");
    let mut fates: Vec<Option<Fate>> = unfinished(items);
    if !keep.keeps_something() {
        return items.iter().map(|_| Fate::Stays("no rule given".to_owned())).collect();
    }
    // Which of them a rule kept: neither protection nor being unfinished uses up a period.
    let mut by_rule = vec![false; items.len()];
    for (word, period, count) in keep.rules().into_iter().filter(|(_, _, count)| *count > 0) {
        let spans: Vec<String> = items.iter().map(|item| span(item.time, zone, period)).collect();
        let earlier: BTreeSet<&str> = spans
            .iter()
            .zip(&by_rule)
            .filter(|(_, kept)| **kept)
            .map(|(s, _)| s.as_str())
            .collect();
        let mut mine = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let span = spans[at].as_str();
            if fates[at].is_some() || item.protected || earlier.contains(span) {
                continue;
            }
            if mine.contains(span) {
                fates[at] = Some(Fate::Goes);
            } else if mine.len() >= count as usize {
                break;
            } else {
                mine.insert(span);
                by_rule[at] = true;
                let why = if word == "last" { word.to_owned() } else { format!("{word} {span}") };
                fates[at] = Some(Fate::Stays(why));
            }
        }
    }
    let decided = items.iter().zip(fates).map(|(item, fate)| match fate {
        _ if item.protected => Fate::Stays("protected".to_owned()),
        Some(fate) => fate,
        None => Fate::Goes,
    });
    decided.collect()
}

/// A backup that never came to its end stays only if it is the newest: it may still be running.
fn unfinished(items: &[Item]) -> Vec<Option<Fate>> {
    let fate = |at: usize, item: &Item| match (item.finished, at) {
        (true, _) => None,
        (false, 0) => Some(Fate::Stays("unfinished".to_owned())),
        (false, _) => Some(Fate::Goes),
    };
    items.iter().enumerate().map(|(at, item)| fate(at, item)).collect()
}

fn span(time: Timestamp, zone: &TimeZone, period: &str) -> String {
    time.to_zoned(zone.clone()).strftime(period).to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// A row per snapshot: `P` stands for protected, `-` for unfinished.
    fn check(keep: Keep, zone: &TimeZone, items: &[(&str, char)], expected: &Expect) {
        let parsed: Vec<Item> = items
            .iter()
            .map(|(time, mark)| Item {
                time: time.parse().unwrap(),
                protected: *mark == 'P',
                finished: *mark != '-',
            })
            .collect();
        let rows =
            items.iter().zip(decide(&keep, zone, &parsed)).map(|((time, _), fate)| match fate {
                Fate::Stays(why) => format!("{time} {why}\n"),
                Fate::Goes => format!("{time} goes\n"),
            });
        expected.assert_eq(&rows.collect::<String>());
    }

    const ITEMS: &[(&str, char)] = &[
        ("2026-03-05T20:00:00Z", '-'),
        ("2026-03-05T19:00:00Z", ' '),
        ("2026-03-05T08:00:00Z", ' '),
        ("2026-03-04T08:00:00Z", 'P'),
        ("2026-03-04T07:00:00Z", ' '),
        ("2026-03-03T08:00:00Z", '-'),
        ("2026-02-27T23:30:00Z", ' '),
        ("2026-02-27T08:00:00Z", ' '),
        ("2025-12-31T08:00:00Z", ' '),
    ];

    #[test]
    fn rules_are_taken_in_order_and_periods_are_used_once() {
        let keep = Keep { last: 1, daily: 2, ..Keep::default() };
        check(
            keep,
            &TimeZone::UTC,
            ITEMS,
            &expect![[r"
                2026-03-05T20:00:00Z unfinished
                2026-03-05T19:00:00Z last
                2026-03-05T08:00:00Z goes
                2026-03-04T08:00:00Z protected
                2026-03-04T07:00:00Z daily 2026-03-04
                2026-03-03T08:00:00Z goes
                2026-02-27T23:30:00Z daily 2026-02-27
                2026-02-27T08:00:00Z goes
                2025-12-31T08:00:00Z goes
            "]],
        );
        check(
            Keep { monthly: 2, yearly: 5, ..Keep::default() },
            &TimeZone::UTC,
            ITEMS,
            &expect![[r"
                2026-03-05T20:00:00Z unfinished
                2026-03-05T19:00:00Z monthly 2026-03
                2026-03-05T08:00:00Z goes
                2026-03-04T08:00:00Z protected
                2026-03-04T07:00:00Z goes
                2026-03-03T08:00:00Z goes
                2026-02-27T23:30:00Z monthly 2026-02
                2026-02-27T08:00:00Z goes
                2025-12-31T08:00:00Z yearly 2025
            "]],
        );
    }

    #[test]
    fn a_day_is_the_servers_day() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        check(
            Keep { daily: 3, ..Keep::default() },
            &zone,
            &ITEMS[6..],
            &expect![[r"
                2026-02-27T23:30:00Z daily 2026-02-28
                2026-02-27T08:00:00Z daily 2026-02-27
                2025-12-31T08:00:00Z daily 2025-12-31
            "]],
        );
    }

    #[test]
    fn without_a_rule_everything_stays() {
        check(
            Keep::default(),
            &TimeZone::UTC,
            &ITEMS[7..],
            &expect![[r"
                2026-02-27T08:00:00Z no rule given
                2025-12-31T08:00:00Z no rule given
            "]],
        );
        let keep = Keep { last: 3, weekly: 4, ..Keep::default() };
        assert_eq!(keep.text(), "keep-last=3,keep-weekly=4");
        assert!(keep.has_periods() && !Keep { last: 1, ..Keep::default() }.has_periods());
    }
}
