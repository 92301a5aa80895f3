//! `proxmox-mcp freeze`: stops all changes, says whether they are stopped, and lets them run again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use control_api::{Freeze, FreezeParams, LiftParams};
use jiff::{SignedDuration, Span, Timestamp};
use manager::Peer;
use manager::approve::Statement;
use stdx::{Clock as _, SystemClock};

use crate::cli::SourceArgs;
use crate::counter;
use crate::proof::ProofArgs;
use crate::{estate, output};

const EXAMPLES: &str = "\
Examples:
  proxmox-mcp freeze --reason \"something is odd\"     until somebody lifts it
  proxmox-mcp freeze --for 2h
  proxmox-mcp freeze status
  proxmox-mcp freeze lift --as ada                   with the passphrase of ada's key

Anybody may freeze. To lift takes an approver; what was frozen is not lifted by the account that did it.
Alerts go on, and so does taking back a change that nobody confirmed.";

/// Arguments of `freeze`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct FreezeArgs {
    #[command(subcommand)]
    command: Option<FreezeCommand>,
    /// For how long: 30m, 2h, 1d [default: until it is lifted]
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<SignedDuration>,
    /// Why; callers that are refused are told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
}

/// What to do with a freeze.
#[derive(Debug, Subcommand)]
enum FreezeCommand {
    /// Let changes run again.
    Lift {
        #[command(flatten)]
        proof: ProofArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Say whether changes are stopped. Exit code 1 if they are.
    Status {
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// Runs the command.
pub(crate) async fn run(args: FreezeArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    match args.command {
        None => freeze(&args, log).await,
        Some(FreezeCommand::Status { source }) => status(&source, log).await,
        Some(FreezeCommand::Lift { proof, source }) => lift(&proof, &source, log).await,
    }
}

async fn freeze(args: &FreezeArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let wanted = estate::from_source(&args.source, log);
    let loaded = assembly::load(&wanted)?;
    let reason = args.reason.clone();
    let frozen = match counter::find(&loaded).await? {
        Some(client) => {
            let for_secs = args.length.map(|it| u64::try_from(it.as_secs()).unwrap_or_default());
            client.freeze(FreezeParams { for_secs, reason }).await?
        }
        None => {
            let (core, estate) = counter::core(&wanted).await?;
            let until =
                args.length.map(|it| SystemClock.now().checked_add(it).unwrap_or(Timestamp::MAX));
            let by = estate.options.principal.clone();
            let freeze = core.deciding.freeze(by, until, reason.unwrap_or_default()).await?;
            wire(&freeze)
        }
    };
    output::line(&said(&frozen))?;
    Ok(ExitCode::SUCCESS)
}

async fn status(source: &SourceArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let wanted = estate::from_source(source, log);
    let loaded = assembly::load(&wanted)?;
    let frozen = match counter::find(&loaded).await? {
        Some(client) => client.frozen().await?,
        None => {
            let (core, _estate) = counter::core(&wanted).await?;
            core.deciding.frozen().await?.as_ref().map(wire)
        }
    };
    match frozen {
        Some(freeze) => {
            output::line(&said(&freeze))?;
            Ok(ExitCode::FAILURE)
        }
        None => {
            output::line("changes are not frozen")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn lift(
    proof: &ProofArgs,
    source: &SourceArgs,
    log: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let wanted = estate::from_source(source, log);
    let loaded = assembly::load(&wanted)?;
    let folders = wanted.sources.search_path();
    let lifted = if let Some(client) = counter::find(&loaded).await? {
        let Some(freeze) = client.frozen().await? else { return nothing() };
        let statement = Statement::Lift { since: freeze.since };
        let proof = proof.prove(Some(&client), &statement, Some(&freeze.by), &folders)?;
        client.lift(LiftParams { since: freeze.since, proof }).await
    } else {
        let (core, estate) = counter::core(&wanted).await?;
        let Some(freeze) = core.deciding.frozen().await? else { return nothing() };
        let statement = Statement::Lift { since: freeze.since };
        let proof = proof.prove(None, &statement, None, &folders)?;
        let uid = assembly::local_uid();
        let peer = Peer { uid, gid: uid, groups: Vec::new(), pid: None };
        let lifted = core.deciding.lift(&peer, freeze.since, &proof).await;
        drop(estate);
        lifted
    };
    match lifted {
        Ok(()) => {
            output::line("lifted: changes run again")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            output::line(&format!("it does not count: {error}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn nothing() -> anyhow::Result<ExitCode> {
    output::line("changes are not frozen")?;
    Ok(ExitCode::SUCCESS)
}

fn wire(freeze: &guard::ports::Freeze) -> Freeze {
    let reason = (!freeze.reason.is_empty()).then(|| freeze.reason.clone());
    Freeze { by: freeze.by.to_string(), since: freeze.since, until: freeze.until, reason }
}

fn said(freeze: &Freeze) -> String {
    let until =
        freeze.until.map_or("until somebody lifts it".to_owned(), |it| format!("until {it}"));
    let reason = freeze.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
    let line =
        format!("all changes are frozen by {} since {}, {until}{reason}", freeze.by, freeze.since);
    stdx::untrusted::line(&line, 600).into_owned()
}

/// Reads `30m`, `2h`, `1d`.
/// A length of time as people write it: `30m`, `2h`, `1d`.
pub(crate) fn length(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "it takes a time such as 30m, 2h or 1d".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let length =
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    if length.is_positive() { Ok(length) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        assert_eq!(length("2h"), Ok(SignedDuration::from_hours(2)));
        assert_eq!(length("90m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(length("1d"), Ok(SignedDuration::from_hours(24)));
        for wrong in ["", "2", "-2h", "0s", "soon"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
