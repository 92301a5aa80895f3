//! How bad an event is.

use std::fmt;
use std::str::FromStr;

/// How bad an event is, from what only a developer wants to see to what wakes people.
///
/// Proxmox's notifications know `info`, `notice`, `warning`, `error` and `unknown`; syslog has eight
/// levels. Both are read into these six by [`Severity::from_proxmox`] and [`Severity::from_syslog`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Details.
    Debug,
    /// What goes as it should.
    #[default]
    Info,
    /// Worth knowing, and nothing to do.
    Notice,
    /// Will be a problem if nobody looks.
    Warning,
    /// Is a problem.
    Error,
    /// Data or service is being lost now.
    Critical,
}

/// The text is no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a severity: use debug, info, notice, warning, error or critical")]
pub struct InvalidSeverity(String);

// === impl Severity ===

impl Severity {
    /// All of them, from the mildest to the worst.
    pub const ALL: [Self; 6] =
        [Self::Debug, Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical];

    /// The word that rules, settings and the wire use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// What Proxmox's notification system calls it. `unknown` is how forwarded system mail arrives,
    /// a dying disk's among it, so it counts as a warning; a word that is new does, too.
    pub fn from_proxmox(word: &str) -> Self {
        match word {
            "info" => Self::Info,
            "notice" => Self::Notice,
            "error" => Self::Error,
            _ => Self::Warning,
        }
    }

    /// A syslog level (RFC 5424, 0 to 7); what is beyond is debug.
    pub fn from_syslog(level: u8) -> Self {
        match level {
            0..=2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = InvalidSeverity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| InvalidSeverity(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_rise() {
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert!(Severity::ALL.is_sorted());
        assert!("Warning".parse::<Severity>().unwrap_err().to_string().contains("`Warning`"));
    }

    #[test]
    fn what_nobody_can_judge_is_worth_a_look() {
        assert_eq!(Severity::from_proxmox("unknown"), Severity::Warning);
        assert_eq!(Severity::from_proxmox("emergency"), Severity::Warning);
        assert_eq!(Severity::from_syslog(0), Severity::Critical);
        assert_eq!(Severity::from_syslog(200), Severity::Debug);
    }
}
