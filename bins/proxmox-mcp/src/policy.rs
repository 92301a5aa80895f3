//! `proxmox-mcp policy`: what would become of a call, and the lines that decide.

use std::{fmt::Write as _, process::ExitCode};

use ::estate::Access;
use anyhow::{Context, bail};
use assembly::Estate;
use clap::{Args, Subcommand};
use guard::{
    Principal, Scope,
    policy::{Decision, Effect, LINES, Rule},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use mcp_protocol::JsonObject;
use mcp_tools::explain::{Explained, Hypothetical, explain, usual_transport};
use serde_json::{Value, json};
use stdx::Clock as _;

use crate::{
    call,
    cli::{SourceArgs, SurfaceArgs},
    estate, output,
};

/// What to do with the policy.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "read once from the command line")]
pub(crate) enum PolicyCommand {
    /// Say what would become of a call: which line decides, and why. Reads the estate, changes nothing
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Print every line in its order, with the built-in ones behind them
    Show {
        /// Print one JSON document instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  proxmox-mcp policy explain --tool guest_power guest=lab/104 action=stop --demo
  proxmox-mcp policy explain --as token:n8n --tool guest_delete --args '{\"guest\": \"home/104\"}'
  proxmox-mcp policy explain --as local:1000 --tool backup_run guests=home/104 --at 2026-12-01T03:00[Europe/Berlin]
Exit codes: 0 it would run; 1 it would ask or be refused; 2 it could not be told.";

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Who asks: local:UID, token:NAME, oauth:ISSUER#SUBJECT, channel:CHANNEL:ID, automation:PLAYBOOK [default: this account]
    #[arg(long = "as", value_name = "PRINCIPAL")]
    caller: Option<Principal>,
    /// The tool (see `proxmox-mcp tools --toolsets all`)
    #[arg(long, value_name = "NAME")]
    tool: String,
    /// Its arguments as one JSON object
    #[arg(long = "args", value_name = "JSON")]
    object: Option<String>,
    /// Its arguments one by one; a value that is JSON is taken as such
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// What the caller's credential allows at most, such as operate,pool:web
    #[arg(long, value_name = "WORDS")]
    scope: Option<Scope>,
    /// When, such as 2026-12-01T03:00[Europe/Berlin] [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    surface: SurfaceArgs,
}

/// Runs a command.
pub(crate) async fn run(command: PolicyCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Explain(args) => run_explain(args, log).await,
        PolicyCommand::Show { json, source } => show(&source, json),
    }
}

async fn run_explain(args: ExplainArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = estate::prepare(&args.surface, log).await?;
    let call = hypothetical(&args, &estate)?;
    let (policy, events) = (estate.options.guard.policy(), estate.options.events.as_ref());
    let explained = match explain(&estate.fleet, policy, events, &call).await {
        Ok(explained) => explained,
        Err(error) => {
            let mut report = error.into_report();
            estate.options.redaction.report(&mut report);
            bail!("{}", report.render(mcp_tools::DEFAULT_CEILING).text.trim_end());
        }
    };
    let nobody = asks_nobody(&explained, &estate);
    let redaction = &estate.options.redaction;
    let mut stopped = stopped(&explained, &estate).await;
    if let Some(why) = &mut stopped {
        redaction.text(why);
    }
    let mut document = explained.json(&call, redaction);
    document["asks_nobody"] = nobody.into();
    document["stopped"] = stopped.clone().into();
    if args.json {
        output::line(&serde_json::to_string_pretty(&document)?)?;
    } else {
        let mut text = explained.text(&call, redaction);
        if nobody {
            text.push_str(NOBODY);
            text.push('\n');
        }
        if let Some(why) = &stopped {
            let _ = writeln!(text, "but       {why}, so nothing would be done now");
        }
        output::line(text.trim_end())?;
    }
    Ok(if stopped.is_some() { ExitCode::FAILURE } else { code(&explained) })
}

/// What is said where a question would go to nobody.
const NOBODY: &str = "but       nobody is set up who could agree, so it would be refused: `proxmox-mcp approver add NAME`";

/// Whether it would ask, and there is nobody to ask.
fn asks_nobody(explained: &Explained, estate: &Estate) -> bool {
    let Decision::Ask(ask) = &explained.decided.decision else { return false };
    let mut approvers = estate.loaded.settings.approvers.values().map(|it| &it.approver);
    explained.word() == "ask"
        && !ask.client
        && !approvers.any(|approver| approver.has_a_way() && approver.is_one_of(&ask.of))
}

/// Why a change would not run now, whatever the lines say: changes are stopped.
async fn stopped(explained: &Explained, estate: &Estate) -> Option<String> {
    if explained.access == Access::Read {
        return None;
    }
    if estate.loaded.settings.guard.frozen {
        return Some("all changes are stopped by `guard.frozen` in the settings".to_owned());
    }
    // Looking makes no store where there is none.
    let memory = estate.memory.as_ref().filter(|_| estate.store.may_hold_anything())?;
    match memory.freezes().frozen(stdx::SystemClock::shared().now()).await {
        Ok(None) => None,
        Ok(Some(freeze)) => {
            let until = freeze.until.map(|until| format!(" until {until}")).unwrap_or_default();
            let reason = stdx::untrusted::line(&freeze.reason, 200);
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            Some(format!("all changes are stopped by {}{until}{why}", freeze.by))
        }
        Err(error) => Some(format!("nobody can tell whether changes are stopped: {error}")),
    }
}

fn code(explained: &Explained) -> ExitCode {
    match explained.word() {
        "allow" | "nothing" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn hypothetical(args: &ExplainArgs, estate: &Estate) -> anyhow::Result<Hypothetical> {
    let mut arguments: JsonObject = match &args.object {
        Some(text) => serde_json::from_str(text)
            .with_context(|| "--args takes one JSON object, such as '{\"guest\": \"lab/104\"}'")?,
        None => JsonObject::new(),
    };
    for (key, value) in call::parse(&args.pairs)? {
        if arguments.insert(key.clone(), value).is_some() {
            bail!("{key} is given twice");
        }
    }
    let principal = args.caller.clone().unwrap_or_else(|| estate.options.principal.clone());
    Ok(Hypothetical {
        transport: usual_transport(&principal),
        principal,
        scope: args.scope.clone(),
        tool: args.tool.clone(),
        args: arguments,
        mode: estate.options.mode,
        exec_allow: estate.options.exec_allow.clone(),
        now: moment(args.at.as_deref())?,
    })
}

/// A moment with its zone, a moment in UTC, or now where this machine is.
fn moment(at: Option<&str>) -> anyhow::Result<Zoned> {
    let Some(text) = at else {
        return Ok(stdx::SystemClock::shared().now().to_zoned(TimeZone::system()));
    };
    let zoned = text.parse::<Zoned>().ok();
    let plain = || text.parse::<Timestamp>().ok().map(|at| at.to_zoned(TimeZone::UTC));
    zoned.or_else(plain).with_context(|| {
        format!("--at {text:?} is no time: write 2026-12-01T03:00[Europe/Berlin] or 2026-12-01T03:00:00Z")
    })
}

fn show(source: &SourceArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let loaded = settings::load(&estate::sources(source))?;
    let settings = &loaded.settings;
    let rules = settings.policy.rules();
    if as_json {
        let lines: Vec<Value> = rules.iter().map(line_json).collect();
        let built_in: Vec<Value> =
            LINES.iter().map(|(line, about)| json!({"line": line, "about": about})).collect();
        let document = json!({
            "mode": settings.server.mode.as_str(), "lines": lines, "built_in": built_in,
            "approvers": settings.approvers.keys().collect::<Vec<_>>(),
            "protected_tags": settings.guard.protected_tags,
        });
        output::line(&serde_json::to_string_pretty(&document)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for rule in rules {
        let _ = writeln!(text, "{:>6} {:<18} {}", rule.order, rule.name, line_text(rule));
        if let Some(about) = &rule.about {
            let _ = writeln!(text, "{:>6} {:<18} ({about})", "", "");
        }
    }
    for (line, about) in LINES {
        let _ = writeln!(text, "{:>6} {line:<18} {about}", "-");
    }
    let approvers: Vec<&str> = settings.approvers.keys().map(String::as_str).collect();
    let approvers =
        if approvers.is_empty() { "nobody yet".to_owned() } else { approvers.join(", ") };
    let _ = writeln!(
        text,
        "\nmode {}; approvers: {approvers}; an answer in the client counts for: {}",
        settings.server.mode,
        settings.guard.defaults.client.as_str(),
    );
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn line_text(rule: &Rule) -> String {
    let decision = match &rule.effect {
        Effect::Allow { per_hour: None } => "allow".to_owned(),
        Effect::Allow { per_hour: Some(limit) } => format!("allow {limit} an hour"),
        Effect::Deny { .. } => "deny".to_owned(),
        Effect::Ask { of, count, .. } => match of.as_slice() {
            [] => format!("ask {count} of any approvers"),
            names => format!("ask {count} of {}", names.join(", ")),
        },
    };
    let what = rule.matchers.said(None).unwrap_or_else(|| "everything".to_owned());
    let protected = if rule.matchers.protected { ", protected targets too" } else { "" };
    format!("{decision}: {what}{protected}")
}

fn line_json(rule: &Rule) -> Value {
    let decision = match &rule.effect {
        Effect::Allow { .. } => "allow",
        Effect::Ask { .. } => "ask",
        Effect::Deny { .. } => "deny",
    };
    json!({
        "order": rule.order, "line": rule.name, "decision": decision, "about": rule.about,
        "matches": rule.matchers.said(None), "protected": rule.matchers.protected,
    })
}
