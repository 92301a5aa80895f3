//! How far the channels have been read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event_core::Cursor;

/// How many of the last messages are remembered one by one: those that the gateway told and a list has too.
const REMEMBERED: usize = 1000;

/// The last message of each channel that is known, and whose channel it is.
#[derive(Debug, Default)]
pub(super) struct Places {
    last: BTreeMap<u64, u64>,
    guilds: BTreeMap<u64, u64>,
    recent: VecDeque<u64>,
}

// === impl Places ===

impl Places {
    /// As a cursor says; what cannot be read is not known.
    pub(super) fn read(cursor: &Cursor) -> Self {
        let pair = |text: &str| {
            let (channel, last) = text.split_once(':')?;
            Some((channel.parse().ok()?, last.parse().ok()?))
        };
        let last = cursor.as_str().split(' ').filter_map(pair).collect();
        Self { last, ..Self::default() }
    }

    /// A cursor from which this can be read.
    pub(super) fn cursor(&self) -> Cursor {
        let pairs = self.last.iter().map(|(channel, last)| format!("{channel}:{last}"));
        Cursor::new(pairs.collect::<Vec<_>>().join(" "))
    }

    /// Forgets channels that are not heard any more.
    pub(super) fn keep_only(&mut self, channels: &BTreeSet<u64>) {
        self.last.retain(|channel, _| channels.contains(channel));
    }

    /// A channel that is heard from now on, from there on if it was not known.
    pub(super) fn enter(&mut self, channel: u64, guild: Option<u64>, last: u64) {
        self.last.entry(channel).or_insert(last);
        self.guilds.extend(guild.map(|guild| (channel, guild)));
    }

    pub(super) fn guild(&self, channel: u64) -> Option<u64> {
        self.guilds.get(&channel).copied()
    }

    pub(super) fn last(&self, channel: u64) -> u64 {
        self.last.get(&channel).copied().unwrap_or(0)
    }

    /// A message is there: whether it is new. Numbers are nearly in order, and one that comes late is new all the same.
    pub(super) fn reach(&mut self, channel: u64, message: u64) -> bool {
        if self.recent.contains(&message) {
            return false;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(message);
        // What mentions the bot elsewhere has no list to be read from.
        if let Some(last) = self.last.get_mut(&channel) {
            *last = message.max(*last);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_in_a_cursor() {
        let mut places = Places::default();
        places.enter(222, Some(100), 7);
        places.enter(444, None, 0);
        assert!(places.reach(222, 9));
        assert_eq!(places.cursor().as_str(), "222:9 444:0");
        let mut read = Places::read(&places.cursor());
        assert_eq!((read.last(222), read.last(444), read.last(1)), (9, 0, 0));
        // It is known, so it is read from there on.
        read.enter(222, Some(100), 20);
        assert_eq!((read.last(222), read.guild(222), read.guild(444)), (9, Some(100), None));
        read.keep_only(&[444].into());
        assert_eq!(read.cursor().as_str(), "444:0");
    }

    #[test]
    fn cursors_that_are_none_know_nothing() {
        for text in ["", " ", ":", "222", "222:", "a:b", "99999999999999999999:1", "222:9:1"] {
            assert_eq!(Places::read(&Cursor::new(text)).cursor().as_str(), "", "{text}");
        }
        assert_eq!(Places::read(&Cursor::new("x 5:6")).cursor().as_str(), "5:6");
    }

    #[test]
    fn a_message_is_new_once_also_where_it_comes_late() {
        let mut places = Places::default();
        places.enter(222, None, 5);
        assert!(places.reach(222, 8));
        assert!(places.reach(222, 7));
        assert!(!places.reach(222, 8));
        assert_eq!(places.last(222), 8, "it is not read backward");
        assert!(places.reach(444, 9));
        assert_eq!(places.last(444), 0, "only what is heard has a place");
        for message in 0..2000 {
            places.reach(444, 1_000_000 + message);
        }
        assert!(places.recent.len() <= REMEMBERED);
    }
}
