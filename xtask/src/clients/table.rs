//! What the clients have shown: one line for each conversation, one column for each feature.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::Transport;

/// What a client can do with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    /// Lists of tools, resources and prompts.
    List,
    /// Calls that work, and calls that fail as they should.
    Call,
    /// Structured content.
    Structured,
    /// Progress of a call.
    Progress,
    /// Questions to the person at the client: elicitation, or input that is required.
    Ask,
    /// Cancelling a call, so that the server stops too.
    Cancel,
    /// Hearing that a resource has changed.
    Subscribe,
    /// Reading resources and prompts.
    Read,
}

/// Of each feature how many checks passed, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<Feature, (u32, u32)>,
    /// Whether the client itself was content.
    pub(super) ended_well: bool,
}

/// One conversation.
pub(super) struct Row {
    pub(super) client: String,
    pub(super) transport: Transport,
    pub(super) mode: &'static str,
    /// What the client has: all of that must have been shown.
    pub(super) has: &'static [Feature],
    pub(super) tally: Tally,
}

const LEGEND: &str = "\
Each figure is checks passed of checks made; those of cancel look at Proxmox and, over HTTP, at the server's metrics, too.
–  the client has no such thing: the command lines of inspector and mcporter end with one answer and ask nobody;
   n8n's nodes call tools only; OpenAPI describes REST, where a call is one request and one answer.
";

// === impl Feature ===

impl Feature {
    pub(super) const ALL: [Self; 8] = [
        Self::List,
        Self::Call,
        Self::Structured,
        Self::Progress,
        Self::Ask,
        Self::Cancel,
        Self::Subscribe,
        Self::Read,
    ];

    /// As the scripts and the table call it.
    fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Call => "call",
            Self::Structured => "structured",
            Self::Progress => "progress",
            Self::Ask => "ask",
            Self::Cancel => "cancel",
            Self::Subscribe => "subscribe",
            Self::Read => "read",
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Counts one check.
    pub(super) fn add(&mut self, feature: Feature, passed: bool) {
        let (good, all) = self.counts.entry(feature).or_default();
        *good += u32::from(passed);
        *all += 1;
    }

    /// Adds what a script has counted: `{"list": [passed, total], …}`.
    pub(super) fn add_json(&mut self, text: &str) -> Result<()> {
        let counts: BTreeMap<String, (u32, u32)> =
            serde_json::from_str(text).with_context(|| format!("understand the counts {text}"))?;
        for (name, (passed, total)) in counts {
            let feature = Feature::ALL.into_iter().find(|feature| feature.name() == name);
            let feature = feature.with_context(|| format!("there is no feature {name:?}"))?;
            let (good, all) = self.counts.entry(feature).or_default();
            *good += passed;
            *all += total;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row {
    /// Whether the client was content, and everything that it has was shown and passed.
    pub(super) fn is_right(&self) -> bool {
        let shown = |feature| self.tally.counts.get(feature).is_some_and(|(_, all)| *all > 0);
        self.tally.ended_well
            && self.has.iter().all(shown)
            && self.tally.counts.values().all(|(passed, all)| passed == all)
    }

    fn cell(&self, feature: Feature) -> String {
        match self.tally.counts.get(&feature) {
            Some((passed, all)) => format!("{passed}/{all}"),
            None if self.has.contains(&feature) => "none".to_owned(),
            None => "–".to_owned(),
        }
    }
}

/// The table, with its legend.
pub(super) fn render(rows: &[Row]) -> String {
    let mut out = format!("{:<29} {:<5} {:<10}", "client", "over", "mode");
    for feature in Feature::ALL {
        let _ = write!(out, " {:>10}", feature.name());
    }
    out += "  result\n";
    for row in rows {
        let _ = write!(out, "{:<29} {:<5} {:<10}", row.client, row.transport.name(), row.mode);
        for feature in Feature::ALL {
            let _ = write!(out, " {:>10}", row.cell(feature));
        }
        let result = if row.is_right() { "as it should be" } else { "WRONG" };
        let _ = writeln!(out, "  {result}");
    }
    out + LEGEND
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn row(client: &str, has: &'static [Feature], counts: &str, ended_well: bool) -> Row {
        let mut tally = Tally { ended_well, ..Tally::default() };
        tally.add_json(counts).unwrap();
        Row { client: client.to_owned(), transport: Transport::Http, mode: "auto", has, tally }
    }

    #[test]
    fn what_is_missing_is_wrong_and_what_there_is_not_is_a_dash() {
        let has = &[Feature::List, Feature::Cancel];
        let rows = [
            row("good", has, r#"{"list": [2, 2], "cancel": [1, 1]}"#, true),
            row("fails one", has, r#"{"list": [1, 2], "cancel": [1, 1]}"#, true),
            row("left early", has, r#"{"list": [2, 2]}"#, true),
            row("crashed", has, r#"{"list": [2, 2], "cancel": [1, 1]}"#, false),
        ];
        let table = render(&rows).replace(LEGEND, "");
        expect![[r#"
            client                        over  mode             list       call structured   progress        ask     cancel  subscribe       read  result
            good                          http  auto              2/2          –          –          –          –        1/1          –          –  as it should be
            fails one                     http  auto              1/2          –          –          –          –        1/1          –          –  WRONG
            left early                    http  auto              2/2          –          –          –          –       none          –          –  WRONG
            crashed                       http  auto              2/2          –          –          –          –        1/1          –          –  WRONG
        "#]].assert_eq(&table);
    }

    #[test]
    fn counts_of_no_feature_are_refused() {
        assert!(Tally::default().add_json(r#"{"juggle": [1, 1]}"#).is_err());
        assert!(Tally::default().add_json("[]").is_err());
    }
}
