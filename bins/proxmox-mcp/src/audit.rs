//! `proxmox-mcp audit …`: shows what was done, and whether that is what was written down.
//!
//! *Invariant:* it reads; nothing in the log, the store or the folder of keys is changed or made.

mod render;
#[cfg(test)]
mod tests;
pub(crate) mod when;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use stdx::{Chain, Clock, SystemClock};
use store::audit::{AuditFiles, Expected, PublicKey, read_mark};
use store::{AuditRecord, Store};

use crate::kept::{Kept, KeptArgs};
use crate::output::{self, Said};

/// Something is wrong with the log.
const DAMAGED: u8 = 1;
const PAGE: u32 = 500;

const SHOW_EXAMPLES: &str = "\
Examples:
  proxmox-mcp audit show                              the last 50 records
  proxmox-mcp audit show --since 24h --tool guest_power
  proxmox-mcp audit show --principal local:1000 --json";

const VERIFY_EXAMPLES: &str = "\
A record that was changed, dropped, put in, moved or written anew is named, and so is an end
that was cut off; the exit code is 1 then. Checkpoints are signed with `audit.key` in the state
folder: keep a copy of its public key, which this prints, on another machine, and check with
--key from there.

Examples:
  proxmox-mcp audit verify
  proxmox-mcp audit verify --key audit.pub            a file that holds ed25519:…";

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show what was done: when, by whom, what, to what, and how it ended.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// From when on: 24h, 7d, a date (2027-01-31) or a time (2027-01-31T12:00:00Z)
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Only what this principal did, such as local:1000
        #[arg(long, value_name = "WHO")]
        principal: Option<String>,
        /// Only what this tool did
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
        /// At most so many, the last ones
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Print each record as one line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Check every record and every signed checkpoint.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        /// The key that signs, or a file with its public half [default: `audit.key` in the state folder]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Write every record and every checkpoint, each as one line of JSON.
    Export {
        /// Into this file, which must not exist; standard output without it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        kept: KeptArgs,
    },
}

/// Runs a command on the streams of this process.
pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    execute(command, &SystemClock, &TimeZone::system()).await?.print()
}

async fn execute(
    command: AuditCommand,
    clock: &dyn Clock,
    zone: &TimeZone,
) -> anyhow::Result<Said> {
    match command {
        AuditCommand::Show { since, principal, tool, limit, json, kept } => {
            let since = since.map(|text| when::since(&text, clock.now(), zone)).transpose()?;
            let Some(store) = kept.find()?.existing().await? else {
                return Ok(Said::to_person("nothing has been written down yet\n"));
            };
            let wanted = Wanted { since, principal, tool, limit };
            let records = wanted.read(&*store).await?;
            if json {
                let lines = records.iter().map(render::shown_line);
                return Ok(Said::out(lines.collect::<Vec<_>>().join("\n")));
            }
            if records.is_empty() {
                return Ok(Said::to_person("no record is like that\n"));
            }
            Ok(Said::out(render::table(&records, zone)))
        }
        AuditCommand::Verify { key, json, kept } => {
            let kept = kept.find()?;
            let (expected, notes) = expected(&kept, key.as_deref())?;
            let Some(store) = kept.existing().await? else {
                return Ok(no_store(&expected));
            };
            let found = store::verify(&*store, &expected).await?;
            let code = if found.is_intact() { 0 } else { DAMAGED };
            let out = if json {
                render::verification_json(&found, &expected)
            } else {
                render::verification(&found, &expected, &notes)
            };
            Ok(Said { out, code, ..Said::default() })
        }
        AuditCommand::Export { out, kept } => {
            let Some(store) = kept.find()?.existing().await? else {
                return Ok(Said::to_person("nothing has been written down yet\n"));
            };
            match out {
                Some(path) => {
                    let mut options = OpenOptions::new();
                    options.write(true).create_new(true).mode(0o600);
                    let place = path.display();
                    let file =
                        options.open(&path).with_context(|| format!("make the file {place}"))?;
                    let mut file = std::io::BufWriter::new(file);
                    let count = export(&store, |line| writeln!(file, "{line}")).await?;
                    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
                    file.and_then(|file| file.sync_all())
                        .with_context(|| format!("write the file {place}"))?;
                    Ok(Said::to_person(format!("{count} records are in {place}\n")))
                }
                None => {
                    export(&store, output::line).await?;
                    Ok(Said::default())
                }
            }
        }
    }
}

/// Where there is no store there is no record; that is wrong only if there was one.
fn no_store(expected: &Expected) -> Said {
    if let Some(mark) = &expected.mark {
        let (seq, time) = (mark.seq, mark.time);
        let err = format!("damaged: the store is gone: records 1 to {seq} were in it at {time}\n");
        return Said { err, code: DAMAGED, ..Said::default() };
    }
    Said::to_person("nothing has been written down yet\n")
}

/// Which records are shown.
struct Wanted {
    since: Option<Timestamp>,
    principal: Option<String>,
    tool: Option<String>,
    limit: usize,
}

// === impl Wanted ===

impl Wanted {
    /// The last ones that are wanted, in the order of the log.
    async fn read(&self, store: &dyn Store) -> anyhow::Result<Vec<AuditRecord>> {
        let mut kept = VecDeque::new();
        let mut after = 0;
        loop {
            let page = store.audit_records(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for record in page.into_iter().filter(|record| self.is(record)) {
                kept.push_back(record);
                if kept.len() > self.limit {
                    kept.pop_front();
                }
            }
        }
        Ok(kept.into())
    }

    fn is(&self, record: &AuditRecord) -> bool {
        // An action is written `guest_power.done`: the tool, and how far it is.
        let of_tool =
            |tool: &String| record.action.split('.').next() == Some(tool) || record.action == *tool;
        self.since.is_none_or(|since| record.time >= since)
            && self.principal.as_ref().is_none_or(|who| record.principal == *who)
            && self.tool.as_ref().is_none_or(of_tool)
    }
}

/// The key and the mark to check against, and what is to be said of them.
fn expected(kept: &Kept, given: Option<&Path>) -> anyhow::Result<(Expected, Vec<String>)> {
    let files = AuditFiles::in_folder(&kept.state);
    let mut notes = Vec::new();
    let key = match given {
        Some(path) => Some(public_key(path)?),
        None => match files.read_key() {
            Ok(key) => key.map(|key| key.public()),
            Err(error) => bail!("{}; --key names another one", Chain(&error)),
        },
    };
    if key.is_none() {
        let place = files.key.display();
        notes.push(format!("no key is at {place}: signed checkpoints were not checked"));
    }
    let mark = read_mark(&files.mark)
        .with_context(|| format!("read the mark of the log's end at {}", files.mark.display()))?;
    if key.is_some() && mark.is_none() {
        let place = files.mark.display();
        notes.push(format!(
            "no mark is at {place}: records that were cut off the end since the last checkpoint \
             would not show"
        ));
    }
    Ok((Expected { key, mark }, notes))
}

/// The public key in a file that holds it, or the private one.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let place = || format!("read the key in {}", path.display());
    let bytes = std::fs::read(path).with_context(place)?;
    if let Ok(key) = store::CheckpointKey::from_pkcs8(&bytes) {
        return Ok(key.public());
    }
    let text = String::from_utf8_lossy(&bytes);
    text.trim().parse::<PublicKey>().with_context(place)
}

/// Gives every record and then every checkpoint to `write`, and says how many records there were.
async fn export(
    store: &Arc<dyn Store>,
    mut write: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<u64> {
    let (mut after, mut count) = (0, 0);
    loop {
        let page = store.audit_records(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for record in &page {
            write(&record.to_line()).context("write the records")?;
            count += 1;
        }
    }
    after = 0;
    loop {
        let page = store.checkpoints(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for checkpoint in &page {
            write(&render::checkpoint_line(checkpoint)).context("write the checkpoints")?;
        }
    }
    Ok(count)
}
