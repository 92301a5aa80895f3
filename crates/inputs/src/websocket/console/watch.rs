//! Which lines are news, with the lines around them.
//!
//! A line that fits a pattern is held until some lines or some time have come after it, so that what is told has both
//! sides of it. A storm of one pattern is told once in a window; the next one says how many were held back.
//!
//! *Invariant:* it is pure: it is told the time. *Invariant:* memory is bounded, whatever is shown.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::patterns::Pattern;

/// How many lines are kept from before a match.
const BEFORE: usize = 20;
/// How many lines are waited for behind it.
const AFTER: usize = 40;
/// The most matches that wait for what comes behind them.
const MAX_OPEN: usize = 8;

/// Looks at lines.
#[derive(Debug)]
pub struct Watch {
    patterns: Arc<[Pattern]>,
    window: SignedDuration,
    linger: SignedDuration,
    count: u64,
    before: VecDeque<String>,
    open: VecDeque<Match>,
    told: BTreeMap<usize, Told>,
}

/// A line that fits a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the patterns.
    pub pattern: usize,
    /// The line.
    pub line: String,
    /// The number of the line since the console was opened.
    pub number: u64,
    /// When it came.
    pub at: Timestamp,
    /// How many lines that fit the same pattern were held back since the last one that was told.
    pub held_back: u64,
    /// The lines before it, itself, and those behind it.
    pub around: Vec<String>,
    behind: usize,
}

#[derive(Debug)]
struct Told {
    until: Timestamp,
    held_back: u64,
}

// === impl Watch ===

impl Watch {
    /// Looks for these; tells each once in a window, with what comes within `linger` behind it.
    pub fn new(patterns: Arc<[Pattern]>, window: SignedDuration, linger: SignedDuration) -> Self {
        Self {
            patterns,
            window,
            linger,
            count: 0,
            before: VecDeque::new(),
            open: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    /// Looks at the next line. What is whole by then comes from [`Watch::due`].
    pub fn line(&mut self, line: String, now: Timestamp) {
        self.count += 1;
        for open in self.open.iter_mut().filter(|open| open.behind < AFTER) {
            open.around.push(line.clone());
            open.behind += 1;
        }
        let found = self.patterns.iter().position(|pattern| pattern.regex.is_match(&line));
        if let Some(pattern) = found {
            self.matched(pattern, &line, now);
        }
        if self.before.len() == BEFORE {
            self.before.pop_front();
        }
        self.before.push_back(line);
    }

    fn matched(&mut self, pattern: usize, line: &str, now: Timestamp) {
        let until = now.checked_add(self.window).unwrap_or(Timestamp::MAX);
        let told = self.told.entry(pattern).or_insert(Told { until: Timestamp::MIN, held_back: 0 });
        if told.until > now {
            told.held_back += 1;
            return;
        }
        told.until = until;
        let held_back = std::mem::take(&mut told.held_back);
        let mut around: Vec<String> = self.before.iter().cloned().collect();
        around.push(line.to_owned());
        let (line, number) = (line.to_owned(), self.count);
        self.open.push_back(Match { pattern, line, number, at: now, held_back, around, behind: 0 });
    }

    /// When the next match is whole, if nothing more is shown.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.open.front().map(|open| self.ends(open))
    }

    fn ends(&self, open: &Match) -> Timestamp {
        open.at.checked_add(self.linger).unwrap_or(Timestamp::MAX)
    }

    /// The next match that is whole by now.
    pub fn due(&mut self, now: Timestamp) -> Option<Match> {
        let first = self.open.front()?;
        let is_due = first.behind >= AFTER || self.open.len() > MAX_OPEN || self.ends(first) <= now;
        if is_due { self.open.pop_front() } else { None }
    }

    /// The next match, whole or not: nothing more will be shown.
    pub fn end(&mut self) -> Option<Match> {
        self.open.pop_front()
    }

    /// The pattern of a match.
    pub fn pattern(&self, found: &Match) -> &Pattern {
        &self.patterns[found.pattern]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::console::patterns::shipped;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_370_000 + second).unwrap()
    }

    fn watch() -> Watch {
        let seconds = SignedDuration::from_secs;
        Watch::new(shipped(&[]).into(), seconds(300), seconds(2))
    }

    fn all(watch: &mut Watch, now: Timestamp) -> Vec<Match> {
        std::iter::from_fn(|| watch.due(now)).collect()
    }

    #[test]
    fn a_match_is_told_with_the_lines_around_it() {
        let mut watch = watch();
        for line in ["one", "two", "Kernel panic - not syncing: x", "CPU: 0", "Call Trace:"] {
            watch.line(line.to_owned(), at(0));
        }
        assert_eq!((watch.due(at(1)), watch.deadline()), (None, Some(at(2))));
        let found = watch.due(at(2)).unwrap();
        assert_eq!(watch.pattern(&found).name, "kernel_panic");
        assert_eq!((found.line.as_str(), found.number), ("Kernel panic - not syncing: x", 3));
        assert_eq!(
            found.around,
            ["one", "two", "Kernel panic - not syncing: x", "CPU: 0", "Call Trace:"]
        );
        assert_eq!((watch.due(at(3)), watch.deadline()), (None, None));
    }

    #[test]
    fn a_match_does_not_wait_for_more_lines_than_it_keeps() {
        let mut watch = watch();
        watch.line("Kernel panic - not syncing: x".to_owned(), at(0));
        for number in 0..AFTER {
            assert_eq!(watch.due(at(0)), None);
            watch.line(format!("line {number}"), at(0));
        }
        assert_eq!(watch.due(at(0)).unwrap().around.len(), AFTER + 1);
        watch.line("Out of memory: Killed process 1 (a)".to_owned(), at(0));
        assert_eq!(watch.end().unwrap().around.len(), BEFORE + 1, "what is over is told as it is");
    }

    #[test]
    fn a_storm_is_told_once_in_a_window() {
        let mut watch = watch();
        let mut told = Vec::new();
        for second in 0..700 {
            watch.line(format!("[{second}] I/O error, dev sda, sector {second}"), at(second));
            told.extend(all(&mut watch, at(second)));
        }
        told.extend(std::iter::from_fn(|| watch.end()));
        let told: Vec<(u64, u64)> = told.iter().map(|it| (it.number, it.held_back)).collect();
        assert_eq!(told, [(1, 0), (301, 299), (601, 299)]);
    }

    proptest! {
        #[test]
        fn every_pattern_is_told_at_most_once_in_a_window_and_memory_is_bounded(
            shown in proptest::collection::vec((0_usize..6, 0_i64..40), 0..400),
        ) {
            const LINES: [&str; 6] = [
                "Kernel panic - not syncing", "Out of memory: Killed process 1 (a)", "nothing",
                "I/O error, dev sda", "segfault at 0 ip 0", "[FAILED] Failed to start a",
            ];
            let mut watch = watch();
            let mut now = 0;
            let mut told: Vec<Match> = Vec::new();
            for (line, pause) in &shown {
                now += pause;
                watch.line(LINES[*line].to_owned(), at(now));
                told.extend(std::iter::from_fn(|| watch.due(at(now))));
                prop_assert!(watch.open.len() <= MAX_OPEN && watch.before.len() <= BEFORE);
                prop_assert!(watch.open.iter().all(|it| it.around.len() <= BEFORE + 1 + AFTER));
            }
            told.extend(std::iter::from_fn(|| watch.end()));
            let mut last: BTreeMap<usize, Timestamp> = BTreeMap::new();
            for it in &told {
                prop_assert!(it.around.contains(&it.line));
                if let Some(before) = last.insert(it.pattern, it.at) {
                    prop_assert!(it.at >= before + SignedDuration::from_secs(300));
                }
            }
            let fit = shown.iter().filter(|(line, _)| *line != 2).count() as u64;
            let pending: u64 = watch.told.values().map(|it| it.held_back).sum();
            let counted = told.iter().map(|it| it.held_back + 1).sum::<u64>() + pending;
            prop_assert_eq!(counted, fit, "each that fits is told or counted");
        }
    }
}
