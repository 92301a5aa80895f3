//! `proxmox-mcp approve`: what waits for a person, and what the person says.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use control_api::{Approval, ApprovalDetail, ApprovalFilter, DecisionParams, ErrorKind, Standing};
use manager::approve::Statement;
use serde_json::Value;

use crate::cli::SourceArgs;
use crate::counter::{Counter, Work};
use crate::proof::{self, ProofArgs};
use crate::{estate, output};

/// Longer than any work is followed here; it goes on in the manager.
const FOLLOW: Duration = Duration::from_hours(24);
/// The fewest digits of an id that are taken for it.
const SHORTEST: usize = 6;
/// How many digits of an id lists show.
const SHOWN: usize = 12;
/// The longest text that is printed.
const TEXT: usize = 1 << 18;

const EXAMPLES: &str = "\
Examples:
  proxmox-mcp approve                     what waits
  proxmox-mcp approve 3f2a91              show one, ask, decide
  proxmox-mcp approve yes 3f2a91 --as ada decide with the passphrase of ada's key
  proxmox-mcp approve no 3f2a91 --note \"not on a Friday\"
  proxmox-mcp approve watch               show each as it is asked for

Where a manager runs, it decides what counts and runs the work; where none runs, this command does both.
Exit codes: 0 it was done as decided; 1 the decision does not count, or the work failed; 2 it could not run.";

/// Arguments of `approve`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct ApproveArgs {
    #[command(subcommand)]
    command: Option<ApproveCommand>,
    /// Show this one, ask, and decide; without it, what waits is listed
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    proof: ProofArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// What to do with approvals.
#[derive(Debug, Subcommand)]
enum ApproveCommand {
    /// List what waits for a decision.
    List {
        /// Everything, what is over included
        #[arg(long)]
        all: bool,
        /// Print one JSON document instead of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Show one with its plan.
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Approve one, and follow the work.
    Yes(DecideArgs),
    /// Refuse one.
    No(DecideArgs),
    /// Show each as it is asked for and decided, until Control-C.
    Watch {
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// Arguments of a decision.
#[derive(Debug, Args)]
struct DecideArgs {
    /// Its id, or the beginning of it
    id: String,
    /// What is written down with the decision
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Do not wait for the work
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    proof: ProofArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Runs the command.
pub(crate) async fn run(args: ApproveArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match (args.command, args.id) {
        (None, None) => list(&args.source, log, false, false).await,
        (None, Some(id)) => {
            let ask = DecideArgs {
                id,
                note: None,
                no_wait: false,
                proof: args.proof,
                source: args.source,
            };
            decide(ask, None, log).await
        }
        (Some(ApproveCommand::List { all, json, source }), _) => {
            list(&source, log, all, json).await
        }
        (Some(ApproveCommand::Show { id, json, source }), _) => show(&source, log, &id, json).await,
        (Some(ApproveCommand::Yes(args)), _) => decide(args, Some(true), log).await,
        (Some(ApproveCommand::No(args)), _) => decide(args, Some(false), log).await,
        (Some(ApproveCommand::Watch { source }), _) => watch(&source, log).await,
    }
}

async fn list(
    source: &SourceArgs,
    log: Option<&str>,
    all: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let counter = Counter::open(&estate::from_source(source, log), Work::Leave).await?;
    let filter = if all { ApprovalFilter::default() } else { ApprovalFilter::pending() };
    let found = counter.client.approvals(filter).await?;
    counter.close().await?;
    if json {
        output::line(&serde_json::to_string_pretty(&found)?)?;
    } else if found.is_empty() {
        output::line("nothing waits for a decision")?;
    } else {
        output::line(&table(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &[Approval]) -> String {
    let head = ["ID", "STATE", "ASKED BY", "UNTIL", "WHAT"].map(str::to_owned);
    let rows = found.iter().map(|it| {
        let short = it.id.get(..SHOWN).unwrap_or(&it.id).to_owned();
        [
            short,
            it.state.clone(),
            clean(&it.requested_by),
            it.expires_at.to_string(),
            clean(&it.summary),
        ]
    });
    output::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

async fn show(
    source: &SourceArgs,
    log: Option<&str>,
    id: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let counter = Counter::open(&estate::from_source(source, log), Work::Leave).await?;
    let detail = find(&counter, id).await?;
    counter.close().await?;
    if json {
        output::line(&serde_json::to_string_pretty(&detail)?)?;
    } else {
        output::line(&shown(&detail))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The approval whose id begins so.
async fn find(counter: &Counter, id: &str) -> anyhow::Result<ApprovalDetail> {
    let is_digits = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digits || id.len() < SHORTEST {
        bail!(
            "{:?} is no id: at least {SHORTEST} of its digits are needed; `proxmox-mcp approve` lists them",
            clean(id)
        );
    }
    let all = counter.client.approvals(ApprovalFilter::default()).await?;
    let mut matching = all.iter().filter(|it| it.id.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(one), None) => Ok(counter.client.approval(&one.id).await?),
        (Some(_), Some(_)) => bail!("{id} is the beginning of several; give more digits"),
        // Not among those that this account may list; it may still be told of it by its whole id.
        (None, _) => {
            let missing = match counter.client.approval(id).await {
                Err(error) if error.kind() == ErrorKind::NotFound => error,
                found => return Ok(found?),
            };
            let welcome = counter.client.welcome();
            let hint = match welcome.standing {
                Standing::Caller => format!(
                    "; {} sees only what it has asked for itself: give [approver.NAME] the uid or a group of whoever \
                     decides from another account",
                    welcome.principal
                ),
                Standing::Owner | Standing::Approver { .. } => String::new(),
            };
            bail!("{missing}{hint}")
        }
    }
}

fn shown(detail: &ApprovalDetail) -> String {
    let ApprovalDetail { approval: it, text, .. } = detail;
    let mut out = format!("approval {}\n", it.id);
    let of = if it.of.is_empty() { "any approver".to_owned() } else { it.of.join(", ") };
    let asked = format!("{} of {of}", it.needed);
    for (name, value) in [
        ("state", it.state.clone()),
        ("asked by", it.requested_by.clone()),
        ("tool", it.tool.clone()),
        ("because of", it.rule.clone()),
        ("takes", asked),
        ("until", it.expires_at.to_string()),
        ("plan", it.digest.clone()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<11} {}", clean(&value));
    }
    for decision in &it.decisions {
        let word = if decision.approve { "approved" } else { "refused" };
        let note =
            decision.note.as_deref().map(|note| format!(": {}", clean(note))).unwrap_or_default();
        let _ = writeln!(
            out,
            "{word:<11} by {} ({}) at {}{note}",
            decision.approver, decision.way, decision.at
        );
    }
    if let Some(reason) = &it.void_reason {
        let _ = writeln!(out, "void        {}", clean(reason));
    }
    if let Some(next) = &it.replaced_by {
        let _ = writeln!(out, "replaced by {next}");
    }
    let _ = write!(out, "\n{}", stdx::untrusted::text(text, TEXT));
    out
}

/// Decides; `agrees` is asked for where it is not given.
async fn decide(
    args: DecideArgs,
    agrees: Option<bool>,
    log: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let wanted = estate::from_source(&args.source, log);
    let counter = Counter::open(&wanted, Work::Run).await?;
    let result = decide_at(&counter, &args, agrees, &wanted.sources.search_path()).await;
    let left = counter.close().await?;
    if !left.is_empty() {
        output::line(&format!("not ended yet: {}", left.join(", ")))?;
    }
    result
}

async fn decide_at(
    counter: &Counter,
    args: &DecideArgs,
    agrees: Option<bool>,
    folders: &[std::path::PathBuf],
) -> anyhow::Result<ExitCode> {
    let detail = find(counter, &args.id).await?;
    let it = &detail.approval;
    if agrees.is_none() {
        output::line(&shown(&detail))?;
    }
    if it.state != "pending" {
        output::line(&format!("approval {} is {}: there is nothing to decide", it.id, it.state))?;
        return Ok(ExitCode::FAILURE);
    }
    let agrees = match agrees {
        Some(agrees) => agrees,
        None => match proof::line("\napprove this plan? (yes or no): ")?.as_str() {
            "yes" => true,
            "no" => false,
            _ => bail!("nothing was decided: the answer is yes or no"),
        },
    };
    let id = it.id.parse()?;
    let statement = Statement::Decide { id, digest: it.digest.clone(), agrees };
    let asker = Some(it.requested_by.as_str());
    let proof = args.proof.prove(Some(&counter.client), &statement, asker, folders)?;
    let decision = DecisionParams {
        id: it.id.clone(),
        digest: it.digest.clone(),
        approve: agrees,
        proof,
        note: args.note.clone(),
    };
    let decided = match counter.client.decide(decision).await {
        Ok(decided) => decided,
        Err(error) => {
            output::line(&format!("it does not count: {}", clean(&error.to_string())))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    match decided.state.as_str() {
        "pending" => {
            let agreed = decided.decisions.iter().filter(|it| it.approve).count();
            output::line(&format!("noted; {agreed} of {} have agreed", decided.needed))?;
            return Ok(ExitCode::SUCCESS);
        }
        "refused" => {
            output::line("refused: nothing is done")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ if args.no_wait && !counter.is_here() => {
            output::line("approved: the manager runs it")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let place = if counter.is_here() { "here" } else { "in the manager" };
    output::line(&format!("approved: it runs {place}"))?;
    let ended = counter.client.wait(&it.id, FOLLOW).await?;
    output::line(&ending(&ended))?;
    Ok(if ended.state == "done" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How an approval ended, with the answer of its work.
fn ending(it: &Approval) -> String {
    let mut out = it.state.clone();
    if let Some(reason) = &it.void_reason {
        let _ = write!(out, ": {}", clean(reason));
    }
    if let Some(next) = &it.replaced_by {
        let _ = write!(out, "\nthe plan as it is now waits as {next}");
    }
    if let Some(result) = &it.result {
        let text = ["text", "lead", "summary"].iter().find_map(|key| result.get(key)?.as_str());
        let text = text.map_or_else(|| pretty(result), str::to_owned);
        let _ = write!(out, "\n{}", stdx::untrusted::text(&text, TEXT));
    }
    out
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn watch(source: &SourceArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let counter = Counter::open(&estate::from_source(source, log), Work::Run).await?;
    let mut changes = counter.client.subscribe_approvals().await?;
    for it in counter.client.approvals(ApprovalFilter::pending()).await? {
        output::line(&told(&it))?;
    }
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            _ = tokio::signal::ctrl_c() => break,
        };
        match change {
            Some(change) => output::line(&told(&change?))?,
            None => bail!("the manager is gone"),
        }
    }
    counter.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn told(it: &Approval) -> String {
    let short = it.id.get(..SHOWN).unwrap_or(&it.id);
    format!("{short} {:<8} {} {}", it.state, clean(&it.requested_by), clean(&it.summary))
}

/// Somebody else's words on one line.
fn clean(text: &str) -> String {
    stdx::untrusted::line(text, 400).into_owned()
}
