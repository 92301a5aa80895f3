//! `proxmox-mcp rules`: what the rules would do, with cases of the user's own and with what was heard.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use event_core::desk::EventQuery;
use event_core::{Event, Kind, Severity, Subject};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rules::{Case, Decision, Fate, Happened, Rules, Target};
use serde::Deserialize;
use stdx::{Clock as _, SystemClock};

use crate::audit::when;
use crate::cli::SourceArgs;
use crate::output::Said;
use crate::{estate, events};

/// The most events of one page, and of one replay.
const PAGE: u32 = 500;
const MOST: usize = 200_000;

const TEST_EXAMPLES: &str = "\
A file of cases:
  [case.a_failed_backup]
  event = { kind = \"backup.failed\", severity = \"error\", cluster = \"home\", vmid = 104 }
  expect = [\"ops\"]                 # the outputs that are told, or \"digest\", or \"dropped\"; a place as \"ops:storage\"

An event takes kind, severity, cluster, node, vmid, guest, storage, datastore, namespace, job, user, title, message,
labels.";

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Check that events become what files of cases say. Exit code 1 if one does not.
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// Files of cases
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say what the rules as they are now would have done with what a manager has heard.
    Replay {
        /// Since then: 24h, 7d, 2027-01-31, a timestamp
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: String,
        /// Also what happened to each event, and what was held back
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: BTreeMap<String, CaseTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTable {
    event: EventTable,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expected {
    Outputs(Vec<String>),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventTable {
    kind: String,
    severity: Option<String>,
    source: Option<String>,
    cluster: Option<String>,
    node: Option<String>,
    vmid: Option<u32>,
    guest: Option<String>,
    storage: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    job: Option<String>,
    user: Option<String>,
    title: String,
    message: String,
    labels: BTreeMap<String, String>,
}

/// Runs the command.
pub(crate) async fn run(command: RulesCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Test { files, source } => {
            let loaded = assembly::load(&estate::from_source(&source, log))?;
            let mut cases = Vec::new();
            for file in &files {
                let place = file.display();
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("read {place}"))?;
                cases.extend(read(&text).with_context(|| format!("read the cases of {place}"))?);
            }
            tested(&loaded.settings.events.rules, &cases).print()
        }
        RulesCommand::Replay { since, all, source } => {
            let loaded = assembly::load(&estate::from_source(&source, log))?;
            let now = SystemClock.now();
            let since = when::since(&since, now, &TimeZone::system())?;
            let heard = heard(&source, log, since).await?;
            let happened = rules::replay(&loaded.settings.events.rules, heard.clone(), now);
            Said::out(replayed(&happened, heard.len(), all)).print()
        }
    }
}

/// What a manager has heard since then, in the order in which it did.
async fn heard(
    source: &SourceArgs,
    log: Option<&str>,
    since: Timestamp,
) -> anyhow::Result<Vec<Arc<Event>>> {
    let client = events::manager(source, log).await?;
    let mut query = EventQuery { since: Some(since), limit: PAGE, ..EventQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = client.find_events(query.clone()).await?;
        all.extend(page.events);
        if all.len() > MOST {
            bail!("more than {MOST} events were heard since {since}: replay a shorter time");
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    all.sort_by_key(|it| it.seq);
    // What the rules themselves raised they raise again.
    all.retain(|it| it.event.source.kind.as_ref() != "rules");
    Ok(all.into_iter().map(|it| Arc::new(it.event)).collect())
}

fn tested(rules: &Rules, cases: &[Case]) -> Said {
    let mut text = String::new();
    let mut wrong = 0;
    for case in cases {
        // Writing to a string cannot fail.
        let _ = match rules.check_case(case) {
            Ok(()) => writeln!(text, "ok    {}: {}", case.name, case.expected),
            Err(mismatch) => {
                wrong += 1;
                writeln!(text, "WRONG {mismatch}")
            }
        };
    }
    let _ = writeln!(text, "{} cases, {wrong} wrong", cases.len());
    Said { code: (wrong > 0).into(), ..Said::out(text) }
}

fn replayed(happened: &[Happened], heard: usize, all: bool) -> String {
    let mut text = String::new();
    let (mut loud, mut quiet) = (0, 0);
    for one in happened {
        if let Some(deliver) = one.decision.delivered() {
            if deliver.message.silent { quiet += 1 } else { loud += 1 }
        }
        let is_shown = all || matches!(one.decision, Decision::Deliver(_) | Decision::Raise(_));
        if is_shown {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", stdx::untrusted::line(&one.to_string(), 300));
        }
    }
    let _ = writeln!(text, "{heard} events: {loud} messages, and {quiet} that only edit one");
    text
}

fn read(text: &str) -> anyhow::Result<Vec<Case>> {
    let cases: Cases = toml::from_str(text).context("they are no tables `[case.<name>]`")?;
    if cases.case.is_empty() {
        bail!("there is no `[case.<name>]`");
    }
    cases.case.into_iter().map(|(name, table)| case(&name, table)).collect()
}

fn case(name: &str, table: CaseTable) -> anyhow::Result<Case> {
    let CaseTable { event, expect } = table;
    let about = || format!("case {name}");
    let outputs = |names: Vec<String>| {
        names.iter().map(|name| name.parse::<Target>()).collect::<Result<_, _>>()
    };
    let expected = match expect {
        Expected::Word(word) if word == "digest" => Fate::Digest,
        Expected::Word(word) if word == "dropped" => Fate::Dropped,
        Expected::Word(word) => Fate::Told(outputs(vec![word]).with_context(about)?),
        Expected::Outputs(names) if names.is_empty() => Fate::Digest,
        Expected::Outputs(names) => Fate::Told(outputs(names).with_context(about)?),
    };
    let event = Arc::new(event.read().with_context(about)?);
    Ok(Case { name: name.to_owned(), event, expected })
}

// === impl EventTable ===

impl EventTable {
    fn read(self) -> anyhow::Result<Event> {
        fn parsed<T: std::str::FromStr>(
            key: &str,
            text: Option<String>,
        ) -> anyhow::Result<Option<T>>
        where
            T::Err: std::error::Error + Send + Sync + 'static,
        {
            text.map(|text| text.parse()).transpose().with_context(|| format!("event.{key}"))
        }
        let now = SystemClock.now();
        let kind: Kind = self.kind.parse().context("event.kind")?;
        let severity = parsed("severity", self.severity)?.unwrap_or(Severity::Info);
        let source = parsed("source", self.source)?;
        let source: event_core::ComponentId = source.map_or_else(|| "case".parse(), Ok)?;
        let vmid = self.vmid.map(::estate::VmId::try_new).transpose().context("event.vmid")?;
        let subject = Subject {
            cluster: parsed("cluster", self.cluster)?,
            node: parsed("node", self.node)?,
            vmid,
            guest_name: self.guest,
            storage: parsed("storage", self.storage)?,
            datastore: parsed("datastore", self.datastore)?,
            namespace: parsed("namespace", self.namespace)?,
            job: self.job,
            user: self.user,
            ..Subject::default()
        };
        let title = if self.title.is_empty() { self.kind } else { self.title };
        let mut event = Event::builder(&source, source.as_str(), "case", kind, now)
            .severity(severity)
            .subject(subject)
            .title(title)
            .message(self.message);
        for (name, value) in self.labels {
            event = event.label(name, value);
        }
        Ok(event.build(now))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use rules::Config;

    use super::*;

    fn rules() -> Rules {
        let mut config = Config::default().outputs(["ops", "phone"]);
        let line = rules::RuleConfig {
            when: Some("event.cluster == 'lab'".to_owned()),
            drop: true,
            ..rules::RuleConfig::default()
        };
        config.rules.insert("no_lab".to_owned(), line);
        Rules::try_new(&config).unwrap()
    }

    #[test]
    fn cases_say_what_comes_out_otherwise() {
        let cases = read(
            r#"
            [case.dropped]
            event = { kind = "backup.failed", severity = "error", cluster = "lab", vmid = 104 }
            expect = "dropped"
            [case.everybody]
            event = { kind = "backup.failed", severity = "error", cluster = "home" }
            expect = ["ops", "phone"]
            [case.only_one]
            event = { kind = "backup.failed", severity = "error", cluster = "home" }
            expect = ["ops"]
            [case.quiet]
            event = { kind = "backup.finished", cluster = "home" }
            expect = "digest"
            "#,
        )
        .unwrap();
        let said = tested(&rules(), &cases);
        assert_eq!(said.code, 1);
        expect![[r#"
            ok    dropped: dropped
            ok    everybody: told to ops, phone
            WRONG case `only_one` is told to ops, phone and not told to ops
              default.alert: is a warning or worse: every output
            ok    quiet: in the daily digest
            4 cases, 1 wrong
        "#]]
        .assert_eq(&said.out);
        assert_eq!(tested(&rules(), &cases[..2]).code, 0);
    }

    #[test]
    fn cases_that_are_none_are_named() {
        for (text, why) in [
            ("", "no tables"),
            ("[case.a]\nevent = { kind = \"nonsense\" }\nexpect = []", "case a"),
            ("[case.a]\nevent = { kind = \"backup.failed\", vmid = 3 }\nexpect = []", "case a"),
            ("[case.a]\nevent = { kidn = \"backup.failed\" }\nexpect = []", "no tables"),
            ("[case.a]\nevent = { kind = \"backup.failed\" }\nexpect = [\"a b\"]", "case a"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
