//! `proxmox-mcp actions …`: what was begun and has no known end, and a person's word on it.
//!
//! After a crash a call that may have been sent is never sent again. Where its task cannot be found
//! its action is `unknown`: it is counted and listed until somebody has looked and says how it ended.
//! That takes an approver, since what is settled is looked at no more.

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use control_api::{Action, ActionFilter, ErrorKind, SettleParams};
use guard::ports::{ActionFilter as PortFilter, ActionId, ActionState, Actions as _};
use jiff::tz::TimeZone;
use manager::approve::Statement;
use manager::{Peer, shown_action};
use stdx::untrusted;
use store::GuardStore;

use crate::audit::when::local;
use crate::kept::{Kept, KeptArgs};
use crate::output::{self, Said};
use crate::proof::ProofArgs;
use crate::{counter, estate};

/// There is no such action, or it is not one that can be settled.
const REFUSED: u8 = 1;
const CELL: usize = 60;

const SETTLE_EXAMPLES: &str = "\
Look at the estate first: what the action would have done, and whether it did.
It takes an approver, as `proxmox-mcp approve` does, and not the account that asked for it.

Examples:
  proxmox-mcp actions list
  proxmox-mcp actions settle 3f…9c done --note \"it runs, I looked\" --as ada";

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
        end: End,
        /// What you found
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        proof: ProofArgs,
        #[command(flatten)]
        source: crate::cli::SourceArgs,
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
pub(crate) async fn run(command: ActionsCommand, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        ActionsCommand::List { all, limit, json, kept } => {
            let found = match kept.settings(log) {
                Some(wanted) => through_the_manager(&wanted, all, limit).await?,
                None => None,
            };
            let found = match found {
                Some(found) => Some(found),
                None => in_the_store(&kept.find()?, all, limit).await?,
            };
            listed(found, json, &TimeZone::system())?.print()
        }
        ActionsCommand::Settle { id, end, note, proof, source } => {
            if note.trim().is_empty() {
                bail!("--note is empty: say what you found");
            }
            settle(id, end.state(), note, &proof, &estate::from_source(&source, log)).await?.print()
        }
    }
}

/// The states that are listed; empty for all of them.
fn states(all: bool) -> Vec<ActionState> {
    if all { Vec::new() } else { vec![ActionState::Running, ActionState::Unknown] }
}

/// What a manager has, where one runs: the store is its account's.
async fn through_the_manager(
    wanted: &assembly::Wanted,
    all: bool,
    limit: u32,
) -> anyhow::Result<Option<Vec<Action>>> {
    let Some(client) = counter::find(&assembly::load(wanted)?).await? else { return Ok(None) };
    let states = states(all).into_iter().map(|state| state.as_str().to_owned()).collect();
    Ok(Some(client.actions(ActionFilter { states, limit: Some(limit) }).await?))
}

/// What is in the store; `None` if nothing has ever been kept.
async fn in_the_store(kept: &Kept, all: bool, limit: u32) -> anyhow::Result<Option<Vec<Action>>> {
    if kept.existing().await?.is_none() {
        return Ok(None);
    }
    let ports = GuardStore::in_folder(kept.lazy(), &kept.state);
    let filter = PortFilter { states: states(all), limit, ..PortFilter::default() };
    Ok(Some(ports.actions(&filter).await?.iter().map(shown_action).collect()))
}

fn listed(found: Option<Vec<Action>>, json: bool, zone: &TimeZone) -> anyhow::Result<Said> {
    let Some(actions) = found else {
        return Ok(Said::to_person("nothing has been begun yet\n"));
    };
    if json {
        let lines = actions.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        return Ok(Said::out(lines.join("\n")));
    }
    if actions.is_empty() {
        return Ok(Said::to_person("everything that was begun has a known end\n"));
    }
    Ok(Said::out(table(&actions, zone)))
}

/// Settles one, by the word of an approver.
async fn settle(
    id: ActionId,
    state: ActionState,
    note: String,
    proof: &ProofArgs,
    wanted: &assembly::Wanted,
) -> anyhow::Result<Said> {
    let folders = wanted.sources.search_path();
    let statement = Statement::Settle { id: id.to_string(), state };
    let settled = if let Some(client) = counter::find(&assembly::load(wanted)?).await? {
        let all = client.actions(ActionFilter::default()).await?;
        let asker = all.into_iter().find(|it| it.id == id.to_string()).map(|it| it.principal);
        let proof = proof.prove(Some(&client), &statement, asker.as_deref(), &folders)?;
        let end = state.as_str().to_owned();
        client.settle(SettleParams { id: id.to_string(), end, note, proof }).await
    } else {
        let (core, _estate) = counter::core(wanted).await?;
        let proof = proof.prove(None, &statement, None, &folders)?;
        let uid = assembly::local_uid();
        let peer = Peer { uid, gid: uid, groups: Vec::new(), pid: None };
        let settled = core.deciding.settle(&peer, id, state, &note, &proof).await;
        settled.map(|action| shown_action(&action))
    };
    match settled {
        Ok(action) => Ok(Said::out(format!("action {id} is {} now", action.state))),
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error.into()),
        Err(error) => Ok(Said::refused(REFUSED, format!("it does not count: {error}"))),
    }
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

/// For people: one line for the action, and one for each call that was about to be sent.
fn table(actions: &[Action], zone: &TimeZone) -> String {
    let cell = |text: &str| untrusted::line(text, CELL).into_owned();
    let head = ["ID", "STATE", "BEGUN", "WHO", "TOOL", "TO WHAT"].map(str::to_owned);
    let rows = actions.iter().map(|action| {
        [
            action.id.clone(),
            action.state.clone(),
            local(action.begun, zone),
            cell(&action.principal),
            cell(&action.tool),
            cell(&action.target),
        ]
    });
    let text = output::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    let mut lines = text.lines();
    let mut out: Vec<String> = lines.next().into_iter().map(str::to_owned).collect();
    for (line, action) in lines.zip(actions) {
        out.push(line.to_owned());
        for step in &action.steps {
            let upid = step.upid.as_deref().unwrap_or("no task known");
            let (what, end) = (cell(&step.what), cell(&step.end));
            out.push(format!("  {}. {what}: {end} ({upid})", step.step + 1));
        }
        if let Some(lead) = &action.lead {
            out.push(format!("  {}", untrusted::line(lead, 200)));
        }
    }
    if actions.iter().any(|action| action.state == ActionState::Unknown.as_str()) {
        out.push("`proxmox-mcp actions settle ID END --note …` says how one ended".to_owned());
    }
    out.join("\n")
}
