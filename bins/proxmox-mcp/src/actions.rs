//! `proxmox-mcp actions …`: what was begun and has no known end, and a person's word on it.
//!
//! After a crash a call that may have been sent is never sent again. Where its task cannot be found
//! its action is `unknown`: it is counted and listed until somebody has looked and says how it ended.

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use guard::Principal;
use guard::ports::{Action, ActionFilter, ActionId, ActionState, Actions as _, Intent, StepEnd};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use stdx::{Clock, SystemClock, untrusted};
use store::{GuardStore, NewAuditRecord};

use crate::audit::when::local;
use crate::kept::{Kept, KeptArgs};
use crate::output::{self, Said};

/// There is no such action, or it is not one that can be settled.
const REFUSED: u8 = 1;
const CELL: usize = 60;

const SETTLE_EXAMPLES: &str = "\
Look at the estate first: what the action would have done, and whether it did.

Examples:
  proxmox-mcp actions list
  proxmox-mcp actions settle 3f…9c --as done --note \"it runs, I looked\"";

/// What to do with actions.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionsCommand {
    /// List the actions that run or whose end nobody knows, with the calls that were about to be sent.
    List {
        /// The others, too: the newest of all
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Print each action as one line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Say how an action ended whose end nobody knew; it is written into the audit log.
    #[command(after_help = SETTLE_EXAMPLES)]
    Settle {
        /// The action's id
        id: ActionId,
        /// How it ended
        #[arg(long = "as", value_name = "END")]
        end: End,
        /// What you found
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        kept: KeptArgs,
    },
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    /// It did what was asked
    Done,
    /// It did not
    Failed,
    /// It was never sent, or was stopped
    Cancelled,
}

/// Runs a command on the streams of this process.
pub(crate) async fn run(command: ActionsCommand) -> anyhow::Result<ExitCode> {
    let by = assembly::local_principal();
    execute(command, &by, &SystemClock, &TimeZone::system()).await?.print()
}

async fn execute(
    command: ActionsCommand,
    by: &Principal,
    clock: &dyn Clock,
    zone: &TimeZone,
) -> anyhow::Result<Said> {
    match command {
        ActionsCommand::List { all, limit, json, kept } => {
            let Some(ports) = open(&kept.find()?).await? else {
                return Ok(Said::to_person("nothing has been begun yet\n"));
            };
            let open = [ActionState::Running, ActionState::Unknown];
            let states = if all { Vec::new() } else { open.to_vec() };
            let filter = ActionFilter { states, limit, ..ActionFilter::default() };
            let actions = ports.actions(&filter).await?;
            if json {
                let lines: Vec<String> =
                    actions.iter().map(|action| described(action).to_string()).collect();
                return Ok(Said::out(lines.join("\n")));
            }
            if actions.is_empty() {
                return Ok(Said::to_person("everything that was begun has a known end\n"));
            }
            Ok(Said::out(table(&actions, zone)))
        }
        ActionsCommand::Settle { id, end, note, kept } => {
            let kept = kept.find()?;
            if note.trim().is_empty() {
                bail!("--note is empty: say what you found");
            }
            let Some(ports) = open(&kept).await? else {
                return Ok(Said::refused(REFUSED, "nothing has been begun yet"));
            };
            let Some(action) = ports.action(id).await? else {
                return Ok(Said::refused(REFUSED, format!("there is no action {id}")));
            };
            if action.state != ActionState::Unknown {
                let why = format!(
                    "action {id} is {}: only one that is unknown is settled",
                    action.state.as_str()
                );
                return Ok(Said::refused(REFUSED, why));
            }
            settle(&kept, &ports, &action, end, &note, by, clock).await
        }
    }
}

async fn settle(
    kept: &Kept,
    ports: &GuardStore,
    action: &Action,
    end: End,
    note: &str,
    by: &Principal,
    clock: &dyn Clock,
) -> anyhow::Result<Said> {
    let (id, state) = (action.id, end.state());
    // Written down first: what cannot be written down is not done.
    let record = NewAuditRecord {
        time: clock.now(),
        principal: by.clone(),
        action: "action.settled".to_owned(),
        target: action.target.clone(),
        payload: json!({
            "action": id.to_string(),
            "tool": action.tool,
            "as": state.as_str(),
            "note": note,
        }),
    };
    let audit = kept.audit()?;
    audit.log().append(record).await?;
    audit.finish().await;
    let lead = format!("settled as {} by {by}: {note}", state.as_str());
    match ports.finish(id, state, &lead, clock.now()).await {
        Ok(()) => Ok(Said::out(format!("action {id} is {} now", state.as_str()))),
        Err(error) if error.is_conflict() => Ok(Said::refused(REFUSED, error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// The actions, if anything has ever been kept.
async fn open(kept: &Kept) -> anyhow::Result<Option<GuardStore>> {
    if kept.existing().await?.is_none() {
        return Ok(None);
    }
    Ok(Some(GuardStore::in_folder(kept.lazy(), &kept.state)))
}

// === impl End ===

impl End {
    fn state(self) -> ActionState {
        match self {
            Self::Done => ActionState::Done,
            Self::Failed => ActionState::Failed,
            Self::Cancelled => ActionState::Cancelled,
        }
    }
}

/// For machines.
fn described(action: &Action) -> Value {
    let steps: Vec<Value> = action
        .intents
        .iter()
        .map(|intent| {
            json!({
                "step": intent.step,
                "what": intent.what,
                "calls": intent.calls.iter().map(|call| json!({
                    "member": call.member, "method": call.method, "path": call.path,
                })).collect::<Vec<_>>(),
                "at": intent.at.to_string(),
                "upid": intent.upid.as_ref().map(ToString::to_string),
                "end": end_of(intent),
            })
        })
        .collect();
    json!({
        "id": action.id.to_string(),
        "state": action.state.as_str(),
        "principal": action.principal.to_string(),
        "tool": action.tool,
        "target": action.target,
        "begun": action.begun_at.to_string(),
        "digest": action.digest.as_str(),
        "approval": action.approval.map(|id| id.to_string()),
        "unasked": action.unasked,
        "lead": action.lead,
        "steps_planned": action.steps,
        "steps": steps,
    })
}

/// For people: one line for the action, and one for each call that was about to be sent.
fn table(actions: &[Action], zone: &TimeZone) -> String {
    let cell = |text: &str| untrusted::line(text, CELL).into_owned();
    let head = ["ID", "STATE", "BEGUN", "WHO", "TOOL", "TO WHAT"].map(str::to_owned);
    let rows = actions.iter().map(|action| {
        [
            action.id.to_string(),
            action.state.as_str().to_owned(),
            local(action.begun_at, zone),
            cell(&action.principal.to_string()),
            cell(&action.tool),
            cell(&action.target),
        ]
    });
    let text = output::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    let mut lines = text.lines();
    let mut out: Vec<String> = lines.next().into_iter().map(str::to_owned).collect();
    for (line, action) in lines.zip(actions) {
        out.push(line.to_owned());
        for intent in &action.intents {
            let upid = intent.upid.as_ref().map_or("no task known".to_owned(), ToString::to_string);
            let (what, end) = (cell(&intent.what), cell(&end_of(intent)));
            out.push(format!("  {}. {what}: {end} ({upid})", intent.step + 1));
        }
        if let Some(lead) = &action.lead {
            out.push(format!("  {}", untrusted::line(lead, 200)));
        }
    }
    if actions.iter().any(|action| action.state == ActionState::Unknown) {
        out.push("`proxmox-mcp actions settle ID --as …` says how one ended".to_owned());
    }
    out.join("\n")
}

/// How far a step is.
fn end_of(intent: &Intent) -> String {
    match &intent.end {
        Some(StepEnd::Done) => "done".to_owned(),
        Some(StepEnd::Failed(why)) => format!("failed: {why}"),
        Some(StepEnd::Unknown(why)) => format!("unknown: {why}"),
        Some(StepEnd::NotSent(why)) => format!("not sent: {why}"),
        None if intent.upid.is_some() => "sent, no end known".to_owned(),
        None => "about to be sent, perhaps sent".to_owned(),
    }
}
