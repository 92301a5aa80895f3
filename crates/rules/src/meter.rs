//! How full things are: from measurements to events, without a word for every step back and forth.
//!
//! A level is reached at its threshold and left only below its threshold less a margin, so what
//! wavers around a threshold is told once.

use std::sync::Arc;

use event_core::{Event, Kind, Severity, Subject};
use jiff::Timestamp;

use crate::{Decision, RuleError, engine::Step};

/// How full something was.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What of it is measured.
    pub what: Room,
    /// Of what.
    pub subject: Subject,
    /// From 0 to 100.
    pub percent: f64,
    /// When.
    pub at: Timestamp,
}

/// What can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// A storage of a node or cluster.
    Storage,
    /// A datastore of a backup server.
    Datastore,
    /// The metadata of an LVM thin pool.
    ThinpoolMetadata,
}

/// From when on something counts as full, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// From then on it is a warning.
    pub warning: f64,
    /// From then on it is an error.
    pub error: f64,
    /// How far below a threshold it has to be to count as below.
    pub margin: f64,
}

/// How full it counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Low,
    Warning,
    Error,
}

// === impl Room ===

impl Room {
    /// The word that is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Datastore => "datastore",
            Self::ThinpoolMetadata => "thinpool_metadata",
        }
    }

    /// The room of that word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Storage, Self::Datastore, Self::ThinpoolMetadata];
        all.into_iter().find(|room| room.as_str() == word)
    }

    fn full(self) -> Kind {
        match self {
            Self::Storage => Kind::StorageFull,
            Self::Datastore => Kind::DatastoreFull,
            Self::ThinpoolMetadata => Kind::ThinpoolMetadataFull,
        }
    }

    fn freed(self) -> Kind {
        match self {
            Self::Storage | Self::ThinpoolMetadata => Kind::StorageFreed,
            Self::Datastore => Kind::DatastoreFreed,
        }
    }
}

// === impl Thresholds ===

impl Default for Thresholds {
    fn default() -> Self {
        Self { warning: 85.0, error: 95.0, margin: 3.0 }
    }
}

impl Thresholds {
    pub(crate) fn check(&self) -> Result<(), RuleError> {
        let Self { warning, error, margin } = *self;
        let rises = 0.0 < warning && warning < error && error <= 100.0;
        if rises && 0.0 < margin && margin < warning {
            return Ok(());
        }
        let reason = format!("are {warning}, {error} and {margin}");
        let hint = "let `warning` be less than `error`, and `margin` more than 0, in percent";
        Err(RuleError::new("full", "warning, error, margin", reason, hint))
    }

    /// The level after this measurement.
    fn level(&self, before: Level, percent: f64) -> Level {
        let reached = |threshold: f64, level: Level| {
            let is_there = before >= level;
            percent >= if is_there { threshold - self.margin } else { threshold }
        };
        if reached(self.error, Level::Error) {
            Level::Error
        } else if reached(self.warning, Level::Warning) {
            Level::Warning
        } else {
            Level::Low
        }
    }
}

// === impl Step ===

impl Step<'_> {
    /// Raises what a measurement says that was not so before.
    pub(crate) fn measure(&mut self, measured: &Measured) {
        let Measured { what, subject, percent, at } = measured;
        if !percent.is_finite() {
            return;
        }
        let address = subject.address();
        let level = self.state.levels.entry((*what, address.clone())).or_default();
        let before = *level;
        *level = self.rules.full.level(before, *percent);
        let (kind, severity) = match (before, *level) {
            (before, now) if before == now => return,
            // It is still too full: that it was fuller is no news.
            (Level::Error, Level::Warning) => return,
            (_, Level::Low) => (what.freed(), Severity::Info),
            (_, Level::Warning) => (what.full(), Severity::Warning),
            (_, Level::Error) => (what.full(), Severity::Error),
        };
        let source = "rules".parse().expect("a valid name");
        let key = format!("measured/{kind}/{severity}/{address}/{at}");
        let part = if *what == Room::ThinpoolMetadata { "the metadata of " } else { "" };
        let event = Event::builder(&source, "rules", key, kind, *at)
            .severity(severity)
            .subject(subject.clone())
            .title(format!("{part}{} is {percent:.0} % full", subject.label()))
            .build(self.now);
        self.out.push(Decision::Raise(Arc::new(event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_left_only_below_the_margin() {
        let thresholds = Thresholds::default();
        let mut level = Level::Low;
        let levels = [84.9, 85.0, 84.0, 82.0, 81.9, 85.0, 95.0, 92.0, 91.9, 96.0, 10.0].map(|it| {
            level = thresholds.level(level, it);
            level
        });
        use Level::{Error, Low, Warning};
        let expected =
            [Low, Warning, Warning, Warning, Low, Warning, Error, Error, Warning, Error, Low];
        assert_eq!(levels, expected);
    }

    #[test]
    fn thresholds_that_do_not_rise_are_refused() {
        assert!(Thresholds::default().check().is_ok());
        for (warning, error, margin) in [
            (95.0, 85.0, 3.0),
            (85.0, 85.0, 3.0),
            (85.0, 101.0, 3.0),
            (85.0, 95.0, 0.0),
            (f64::NAN, 95.0, 3.0),
        ] {
            assert!(
                Thresholds { warning, error, margin }.check().is_err(),
                "{warning} {error} {margin}"
            );
        }
    }
}
