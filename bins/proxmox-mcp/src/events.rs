//! `proxmox-mcp events` and `incidents`: what a manager has heard, what it made of it, and what becomes of it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use control_api::Client;
use event_core::Logged;
use event_core::desk::{
    DeadQuery, EventQuery, IncidentQuery, IncidentView, NewSilence, Notice, SilenceView, SpoolView,
};
use event_core::live::{FactView, LiveQuery, What};
use event_core::wire;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use stdx::{Clock as _, SystemClock};

use crate::audit::when;
use crate::cli::SourceArgs;
use crate::output::{Said, columns};
use crate::setup::{self, SetupArgs};
use crate::{counter, estate, freeze, output};

/// How long `watch` waits for news at a time, in seconds.
const ROUND: u64 = 25;

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List what was heard, the newest first.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// Print events as they are kept, one JSON object in a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Print what is heard from now on, until Control-C.
    Watch {
        #[command(flatten)]
        filter: FilterArgs,
        /// Print events as they are kept, one JSON object in a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say how inputs and outputs are doing. Exit code 1 if one fails.
    Status {
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say how the estate is now, each fact with its age and who says so.
    Live {
        /// Of the cluster or backup server with this settings key
        #[arg(long, value_name = "KEY")]
        cluster: Option<String>,
        /// About these: cluster, node, guest, storage, datastore, job
        #[arg(long, value_name = "WHAT", value_parser = about)]
        what: Option<What>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Tell people something, past the rules.
    Send {
        /// One line
        title: String,
        /// The rest
        #[arg(long, value_name = "TEXT", default_value = "")]
        text: String,
        /// How bad it is: debug, info, notice, warning, error, critical
        #[arg(long, default_value = "info")]
        severity: String,
        /// Only these outputs, separated by commas [default: all]
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        to: Vec<String>,
        /// Mark it as a test
        #[arg(long)]
        test: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Let clusters and backup servers post their notifications here: show what is missing, do it, test it.
    #[command(after_help = setup::EXAMPLES)]
    Setup(SetupArgs),
    /// Silence events for some time, list silences, end one.
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// List messages that could not be delivered, try them again, or throw them away.
    #[command(subcommand)]
    Dead(DeadCommand),
}

/// What to do with silences.
#[derive(Debug, Subcommand)]
pub(crate) enum SilenceCommand {
    /// Begin one; one of the same name is replaced.
    Set {
        /// Its name: a-z, 0-9, - and _
        name: String,
        /// For how long: 30m, 2h, 3d; at most 14 days
        #[arg(long = "for", value_name = "TIME", value_parser = freeze::length)]
        length: SignedDuration,
        /// Which events, in CEL over `event` [default: all]
        #[arg(long, value_name = "CONDITION")]
        when: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// List those that have not ended.
    List {
        #[command(flatten)]
        source: SourceArgs,
    },
    /// End one before its time.
    End {
        /// Its name
        name: String,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them, the oldest first.
    List(DeadArgs),
    /// Try them again.
    Replay(DeadArgs),
    /// Throw them away.
    Purge(DeadArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// These, by their keys [default: all]
    keys: Vec<String>,
    /// Those of this output
    #[arg(long, value_name = "NAME", conflicts_with = "keys")]
    output: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Since then: 24h, 7d, 2027-01-31, a timestamp
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Kinds or families, separated by commas: backup.failed, backup
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kind: Vec<String>,
    /// As bad as that or worse: warning
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Of the cluster or backup server with this settings key
    #[arg(long, value_name = "KEY")]
    cluster: Option<String>,
    /// On this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// About this guest
    #[arg(long, value_name = "ID")]
    vmid: Option<u32>,
    /// Of this incident
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// With words that begin so
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// What to do with incidents.
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentsCommand {
    /// List those that are open, the last that changed first.
    List {
        /// Those that are over as well
        #[arg(long)]
        all: bool,
        /// Changed since then: 24h, 7d, 2027-01-31, a timestamp
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Of the cluster or backup server with this settings key
        #[arg(long, value_name = "KEY")]
        cluster: Option<String>,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Show one with all its reports.
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say that you have it: it is not told again, and nobody else is told.
    Ack {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say that it is over.
    Resolve {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// The manager that hears.
pub(crate) async fn manager(source: &SourceArgs, log: Option<&str>) -> anyhow::Result<Client> {
    let loaded = assembly::load(&estate::from_source(source, log))?;
    counter::find(&loaded).await?.with_context(|| {
        format!(
            "no manager runs on {}: events are heard by proxmox-manager, or by `proxmox-mcp serve --http --with-events`",
            loaded.settings.server.state_dir.display()
        )
    })
}

/// Runs `events`.
pub(crate) async fn run(command: EventsCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::List { filter, json, source } => {
            // What is asked is judged before anybody is asked.
            let query = filter.query()?;
            let found = manager(&source, log).await?.find_events(query).await?;
            let mut text = listed(&found.events, json);
            if found.events.is_empty() && !json {
                "nothing was heard that fits\n".clone_into(&mut text);
            }
            Said::out(text).print()
        }
        EventsCommand::Watch { filter, json, source } => {
            let query = filter.query()?;
            watch(&manager(&source, log).await?, query, json).await
        }
        EventsCommand::Status { source } => status(&manager(&source, log).await?).await,
        EventsCommand::Live { cluster, what, json, source } => {
            let query = LiveQuery { cluster, what };
            let view = manager(&source, log).await?.live(query).await?;
            if json {
                return Said::out(serde_json::to_string_pretty(&view)? + "\n").print();
            }
            if !view.runs {
                let why = "this manager looks at nothing: give it an [input.<name>]";
                return Said::refused(1, why).print();
            }
            let mut text = facts(&view.facts);
            if view.is_cut {
                text += "there is more than is held\n";
            }
            Said::out(text).print()
        }
        EventsCommand::Send { title, text, severity, to, test, source } => {
            let notice = Notice { title, text, severity, outputs: to, is_test: test };
            let told = manager(&source, log).await?.send_notice(notice).await?;
            if told.is_empty() {
                return Said::refused(1, "nobody was told: there is no [output.<name>]").print();
            }
            Said::out(format!("in the outbox of {}\n", told.join(", "))).print()
        }
        EventsCommand::Setup(args) => setup::run(args, log).await,
        EventsCommand::Silence(command) => silence(command, log).await,
        EventsCommand::Dead(command) => dead(command, log).await,
    }
}

/// Runs `incidents`.
pub(crate) async fn run_incidents(
    command: IncidentsCommand,
    log: Option<&str>,
) -> anyhow::Result<ExitCode> {
    match command {
        IncidentsCommand::List { all, since, cluster, json, source } => {
            let since = since.map(|text| moment(&text)).transpose()?;
            let open = (!all).then_some(true);
            let query =
                IncidentQuery { open, since, cluster, limit: 500, ..IncidentQuery::default() };
            let found = manager(&source, log).await?.incidents(query).await?;
            if json {
                return Said::out(serde_json::to_string_pretty(&found)? + "\n").print();
            }
            Said::out(incidents(&found)).print()
        }
        IncidentsCommand::Show { id, json, source } => {
            let story = manager(&source, log).await?.incident(&id, 500).await?;
            if json {
                return Said::out(serde_json::to_string_pretty(&story)? + "\n").print();
            }
            Said::out(told(&story.incident) + &listed(&story.events, false)).print()
        }
        IncidentsCommand::Ack { id, source } => {
            let it = manager(&source, log).await?.acknowledge(&id).await?;
            Said::out(format!("{} is yours: {}\n", &it.id[..8], it.title)).print()
        }
        IncidentsCommand::Resolve { id, source } => {
            let it = manager(&source, log).await?.resolve(&id).await?;
            Said::out(format!("{} is over: {}\n", &it.id[..8], it.title)).print()
        }
    }
}

async fn watch(client: &Client, mut query: EventQuery, json: bool) -> anyhow::Result<ExitCode> {
    query.since = query.since.or(Some(SystemClock.now()));
    query.limit = 500;
    let mut seen = None;
    loop {
        let mut found = client.find_events(query.clone()).await?.events;
        found.reverse();
        found.sort_by_key(|it| it.seq);
        found.retain(|it| seen.is_none_or(|seen| it.seq > seen));
        seen = found.last().map(|it| it.seq).or(seen);
        if !found.is_empty() {
            output::line(&listed(&found, json))?;
        }
        client.events_changed(ROUND).await?;
    }
}

async fn status(client: &Client) -> anyhow::Result<ExitCode> {
    let health = client.events_health().await?;
    if !health.runs {
        return Said::refused(
            1,
            "this manager hears no events: give it an [input.<name>] or [output.<name>]",
        )
        .print();
    }
    let now = SystemClock.now();
    let ago = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| age(now, at));
    let mut rows =
        vec![["input", "type", "heard", "last", "lost", "refused", "state"].map(str::to_owned)];
    let mut fails = false;
    for it in health.inputs {
        let state = match &it.error {
            // What it heard after that is better news.
            Some(error) if it.alive.is_none() => {
                fails = true;
                format!("failed: {error}")
            }
            Some(error) => format!("hears; failed before: {error}"),
            None if it.alive.is_some() => "hears".to_owned(),
            None => "starts".to_owned(),
        };
        let (heard, lost, refused) =
            (it.heard.to_string(), it.lost.to_string(), it.refused.to_string());
        rows.push([it.name, it.kind, heard, ago(it.last), lost, refused, state]);
    }
    let mut text = columns(&rows);
    let mut rows = vec![["output", "type", "told", "waiting", "dead", "state"].map(str::to_owned)];
    for it in health.outputs {
        let state = match (it.failing_since, it.error) {
            (Some(since), error) => {
                fails = true;
                format!("fails since {since}: {}", error.unwrap_or_default())
            }
            (None, _) => "tells".to_owned(),
        };
        let (told, pending, dead) =
            (it.told.to_string(), it.pending.to_string(), it.dead.to_string());
        rows.push([it.name, it.kind, told, pending, dead, state]);
    }
    text.push('\n');
    text += &columns(&rows);
    // Writing to a string cannot fail.
    let _ = match &health.unknown {
        None => writeln!(text, "\n{} incidents are open", health.open),
        Some(error) => {
            fails = true;
            let what = "how much is waiting, dead and open is not known";
            writeln!(text, "\nthe store does not answer, so {what}: {error}")
        }
    };
    if let Some(spool) = health.spool.filter(|it| it.away_since.is_some() || it.waiting > 0) {
        fails |= spool.away_since.is_some();
        let _ = writeln!(text, "{}", spooled(&spool));
    }
    Said { code: fails.into(), ..Said::out(text) }.print()
}

/// What waits beside the store, in a line.
fn spooled(spool: &SpoolView) -> String {
    let SpoolView { waiting, bytes, max_bytes, refused, .. } = spool;
    let percent = bytes.saturating_mul(100) / (*max_bytes).max(1);
    let waits =
        format!("{waiting} reports wait beside it ({bytes} bytes, {percent} % of the room)");
    match (spool.away_since, &spool.error) {
        (None, _) => format!("the store is back; {waits}"),
        (Some(since), error) => {
            let why = error.as_deref().map_or_else(String::new, |error| format!(" ({error})"));
            format!("the store takes no events since {since}{why}; {waits}, {refused} were refused")
        }
    }
}

async fn silence(command: SilenceCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        SilenceCommand::Set { name, length, when, reason, source } => {
            let for_secs = u64::try_from(length.as_secs()).unwrap_or_default();
            let silence = NewSilence { name, when, for_secs, reason };
            let made = manager(&source, log).await?.silence(silence).await?;
            Said::out(format!("silent until {}: {}\n", made.until, silenced(&made))).print()
        }
        SilenceCommand::List { source } => {
            let found = manager(&source, log).await?.silences().await?;
            if found.is_empty() {
                return Said::out("nothing is silenced\n").print();
            }
            let rows: Vec<_> = found
                .iter()
                .map(|it| {
                    [
                        it.name.clone(),
                        format!("until {}", it.until),
                        it.author.clone(),
                        silenced(it),
                    ]
                })
                .collect();
            Said::out(columns(&rows)).print()
        }
        SilenceCommand::End { name, source } => {
            manager(&source, log).await?.unsilence(&name).await?;
            Said::out(format!("the silence {name} has ended\n")).print()
        }
    }
}

fn silenced(it: &SilenceView) -> String {
    let when = it.when.as_deref().unwrap_or("everything");
    if it.reason.is_empty() { when.to_owned() } else { format!("{when} ({})", it.reason) }
}

async fn dead(command: DeadCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let (args, doing) = match &command {
        DeadCommand::List(args) => (args, ""),
        DeadCommand::Replay(args) => (args, "tried again"),
        DeadCommand::Purge(args) => (args, "thrown away"),
    };
    let client = manager(&args.source, log).await?;
    let query = DeadQuery { output: args.output.clone(), keys: args.keys.clone() };
    let count = match &command {
        DeadCommand::List(_) => {
            let found = client.dead_letters(query).await?;
            if found.is_empty() {
                return Said::out("everything could be delivered\n").print();
            }
            let rows: Vec<_> = found
                .into_iter()
                .map(|it| {
                    let why = it.error.unwrap_or_default();
                    let title = stdx::untrusted::line(&it.title, 100).into_owned();
                    [it.key, it.output, it.made.to_string(), format!("{title}: {why}")]
                })
                .collect();
            return Said::out(columns(&rows)).print();
        }
        DeadCommand::Replay(_) => client.replay_dead(query).await?,
        DeadCommand::Purge(_) => client.purge_dead(query).await?,
    };
    Said::out(format!("{count} {doing}\n")).print()
}

/// Events for people: time, how bad, what, where, and the title. For programs as they are kept.
fn listed(events: &[Logged], json: bool) -> String {
    if json {
        return events.iter().map(|it| wire::to_text(&it.event) + "\n").collect();
    }
    let zone = TimeZone::system();
    let rows: Vec<_> = events
        .iter()
        .map(|Logged { event, .. }| {
            let place = event.subject.label();
            [
                when::local(event.time, &zone),
                event.severity.as_str().to_owned(),
                event.kind.as_str().to_owned(),
                if place.is_empty() { "-".to_owned() } else { place },
                stdx::untrusted::line(&event.title, 200).into_owned(),
            ]
        })
        .collect();
    columns(&rows)
}

fn incidents(found: &[IncidentView]) -> String {
    if found.is_empty() {
        return "nothing is wrong, as far as was heard\n".to_owned();
    }
    let now = SystemClock.now();
    let rows: Vec<_> = found
        .iter()
        .map(|it| {
            let taken = it.acknowledged.as_ref().map_or("-", |said| said.by.as_str());
            [
                it.id.chars().take(8).collect(),
                it.status.clone(),
                it.severity.clone(),
                format!("since {}", age(now, it.opened)),
                taken.to_owned(),
                stdx::untrusted::line(&it.title, 200).into_owned(),
            ]
        })
        .collect();
    columns(&rows)
}

fn about(text: &str) -> Result<What, String> {
    let all = [What::Cluster, What::Node, What::Guest, What::Storage, What::Datastore, What::Job];
    all.into_iter().find(|what| what.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = all.iter().map(|what| what.as_str()).collect();
        format!("it is one of {}", all.join(", "))
    })
}

/// Facts for people: where, which, what, how old, and who says so.
fn facts(found: &[FactView]) -> String {
    if found.is_empty() {
        return "nothing was seen yet\n".to_owned();
    }
    let plain = |text: &str| stdx::untrusted::line(text, 80).into_owned();
    let rows: Vec<_> = found
        .iter()
        .map(|it| {
            let name = if it.label.is_empty() {
                plain(&it.name)
            } else {
                plain(&format!("{} {}", it.name, it.label))
            };
            let value = match &it.was {
                Some(was) => format!("{} (was {was})", it.value),
                None => it.value.clone(),
            };
            let span = SignedDuration::from_secs(i64::try_from(it.age_secs).unwrap_or(i64::MAX));
            let ago = age(it.at.checked_add(span).unwrap_or(it.at), it.at);
            [
                it.cluster.clone(),
                it.what.as_str().to_owned(),
                name,
                it.fact.clone(),
                plain(&value),
                format!("{ago} ago"),
                plain(&it.source),
            ]
        })
        .collect();
    columns(&rows)
}

/// An incident for people.
fn told(it: &IncidentView) -> String {
    let mut text = String::new();
    let zone = TimeZone::system();
    let mut line = |word: &str, said: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word:<13} {}", stdx::untrusted::line(said, 400));
    };
    line("incident", &it.id);
    line("title", &it.title);
    line("status", &format!("{} ({})", it.status, it.severity));
    line("heard", &when::local(it.opened, &zone));
    if let Some(ended) = it.ended {
        line("ended", &when::local(ended, &zone));
    }
    if let Some(said) = &it.acknowledged {
        line("acknowledged", &format!("by {}, {}", said.by, when::local(said.at, &zone)));
    }
    if let Some(said) = &it.closed {
        line("closed", &format!("by {}, {}", said.by, when::local(said.at, &zone)));
    }
    if let Some(held) = it.held.as_object() {
        for (output, by) in held {
            line("held back", &format!("{output}: {}", by.as_str().unwrap_or_default()));
        }
    }
    for problem in &it.problems {
        let title = problem["title"].as_str().unwrap_or_default();
        let over = problem["over"].as_str().map(|at| format!(", over since {at}"));
        line("problem", &format!("{title}{}", over.unwrap_or_default()));
    }
    line("reports", &it.reports.to_string());
    text.push('\n');
    text
}

fn age(now: Timestamp, at: Timestamp) -> String {
    let secs = now.duration_since(at).as_secs().max(0);
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} d", secs / 86400),
    }
}

fn moment(text: &str) -> anyhow::Result<Timestamp> {
    when::since(text, SystemClock.now(), &TimeZone::system())
}

// === impl FilterArgs ===

impl FilterArgs {
    fn query(&self) -> anyhow::Result<EventQuery> {
        Ok(EventQuery {
            since: self.since.as_deref().map(moment).transpose()?,
            kinds: self.kind.clone(),
            min_severity: self.severity.clone(),
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            vmid: self.vmid,
            incident: self.incident.clone(),
            text: self.text.clone(),
            limit: self.limit,
            ..EventQuery::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_at_a_glance() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |secs| age(now, now - SignedDuration::from_secs(secs));
        assert_eq!([of(5), of(600), of(9000), of(200_000)], ["5 s", "10 min", "2 h", "2 d"]);
        assert_eq!(of(-5), "0 s");
    }

    #[test]
    fn facts_say_how_old_they_are_and_what_they_were() {
        let fact = |name: &str, label: &str, value: &str, was: Option<&str>, age_secs| FactView {
            cluster: "lab".to_owned(),
            what: What::Guest,
            name: name.to_owned(),
            label: label.to_owned(),
            fact: "state".to_owned(),
            value: value.to_owned(),
            was: was.map(str::to_owned),
            at: "2026-11-22T12:00:00Z".parse().unwrap(),
            age_secs,
            source: "look".to_owned(),
        };
        let text = facts(&[
            fact("104", "db\u{1b}[2J", "running", None, 3),
            fact("105", "", "unknown", Some("stopped"), 700),
        ]);
        expect_test::expect![[r"
            lab  guest  104 db  state  running                3 s ago     look
            lab  guest  105     state  unknown (was stopped)  11 min ago  look
        "]]
        .assert_eq(&text);
        assert!(about("disk").unwrap_err().contains("datastore"));
    }
}
