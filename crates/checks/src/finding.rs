//! What a check found.

use std::time::Duration;

use serde::Serialize;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at: `home https://pve1:8006`, `home`, `mcp stdio`.
    pub subject: String,
    /// What was asked: `reach`, `tls`, `auth`, `clock`, `version`, `cluster`, `members`, `server`,
    /// `permissions`, `operate`, `topology`, `input`, `output`, `send`, `initialize`, `discover`, `settings`, `state`, `store`,
    /// `spool` or `socket`.
    pub check: &'static str,
    /// The verdict.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// What to do. A check that passed has some only for what is left to taste.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Pass,
    /// Not looked at, because something before it failed.
    Skip,
    /// It works, but something is missing or about to fail.
    Warn,
    /// It does not work.
    Fail,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Passed.
    pub pass: usize,
    /// Worked, with a remark.
    pub warn: usize,
    /// Failed.
    pub fail: usize,
    /// Not looked at.
    pub skip: usize,
}

// === impl Finding ===

impl Finding {
    /// A finding without hints, that took no time.
    pub fn new(
        subject: impl Into<String>,
        check: &'static str,
        status: Status,
        detail: impl Into<String>,
    ) -> Self {
        let hints = Vec::new();
        Self { subject: subject.into(), check, status, detail: detail.into(), hints, elapsed_ms: 0 }
    }

    pub(crate) fn pass(subject: &str, check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, check, Status::Pass, detail)
    }

    pub(crate) fn warn(subject: &str, check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, check, Status::Warn, detail)
    }

    pub(crate) fn fail(subject: &str, check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, check, Status::Fail, detail)
    }

    pub(crate) fn skip(subject: &str, check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, check, Status::Skip, detail)
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds several things to do.
    #[must_use]
    pub(crate) fn hints<I: IntoIterator<Item = String>>(mut self, hints: I) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Adds how long it took.
    #[must_use]
    pub fn took(mut self, elapsed: Duration) -> Self {
        self.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

// === impl Status ===

impl Status {
    /// The word for a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "ok",
            Self::Skip => "skipped",
            Self::Warn => "warning",
            Self::Fail => "FAILED",
        }
    }
}

// === impl Summary ===

impl Summary {
    /// Counts the findings.
    pub fn of(findings: &[Finding]) -> Self {
        let mut summary = Self::default();
        for finding in findings {
            *match finding.status {
                Status::Pass => &mut summary.pass,
                Status::Warn => &mut summary.warn,
                Status::Fail => &mut summary.fail,
                Status::Skip => &mut summary.skip,
            } += 1;
        }
        summary
    }

    /// Whether nothing failed.
    pub fn is_ok(self) -> bool {
        self.fail == 0
    }
}
