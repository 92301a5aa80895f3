//! `backup_status`: the last backup of each guest, what covers it, and what is wrong, worst first.

use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::evidence::{Evidence, Known, collect};
use crate::{
    address::Purpose,
    cursor,
    error::ToolError,
    fleet::GATHER_DEADLINE,
    report::{Cell, Paging, Report, Table, Unreachable, age, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

const NAME: &str = "backup_status";

/// A backup older than this is old unless the call says otherwise.
const DEFAULT_DAYS: i64 = 2;

/// The tool.
pub struct BackupStatus;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    cluster: Option<String>,
    guest: Option<String>,
    #[serde(default)]
    view: Shown,
    max_age_days: Option<i64>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shown {
    #[default]
    Problems,
    All,
    Jobs,
}

/// How well a guest is backed up, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The last attempt failed.
    Failed,
    /// No backup is known.
    Never,
    /// The newest one is older than allowed.
    Old,
    /// The newest one did not verify.
    Unverifiable,
    /// All is well.
    Fresh,
}

// === impl Standing ===

impl Standing {
    fn of(known: &Known, now: Timestamp, days: i64) -> Self {
        let Some(newest) = &known.newest else {
            return if known.failure.is_some() { Self::Failed } else { Self::Never };
        };
        if known.failure.is_some() {
            Self::Failed
        } else if now.as_second() - newest.time.as_second() > days * 86_400 {
            Self::Old
        } else if newest.verified.as_deref() == Some("failed") {
            Self::Unverifiable
        } else {
            Self::Fresh
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Never => "never",
            Self::Old => "old",
            Self::Unverifiable => "unverifiable",
            Self::Fresh => "ok",
        }
    }
}

#[async_trait]
impl EstateTool for BackupStatus {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Backup status",
            description: "Last backup per guest, coverage by jobs, failures; worst first. problems: only guests that need attention.",
            input: Input::new()
                .cluster()
                .text("guest", "")
                .choice("view", &["problems", "all", "jobs"], "")
                .integer("max_age_days", 1..=3650, "default 2")
                .paged(),
            output: Output::new().fact("tally", "object").table("guests").table("jobs"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let given = args.clone();
        let args: Args = cx.args(args)?;
        let now = cx.now();
        let (cluster, only, mut notes) = match &args.guest {
            Some(text) => {
                let found = cx.fleet.find_guest(text, Purpose::Read).await?;
                (Some(found.member.key.to_string()), Some(found.guest.at), found.notes)
            }
            None => (args.cluster.clone(), None, Vec::new()),
        };
        let members = cx.fleet.pve(cluster.as_deref())?;
        let gathered =
            cx.fleet.gather(members, GATHER_DEADLINE, |member| collect(member, now)).await;
        let mut known: Vec<&Known> = Vec::new();
        let mut jobs = Table::new(
            "jobs",
            &["job", "enabled", "schedule", "next", "storage", "guests", "comment"],
        );
        let mut offline = Vec::new();
        for (member, evidence) in &gathered.answers {
            known.extend(&evidence.guests);
            notes.extend(evidence.notes.iter().cloned());
            push_jobs(&mut jobs, evidence, now);
            offline.extend(evidence.offline.iter().map(|node| Unreachable {
                what: format!("{}/{node}", member.key),
                why: "node offline: its own storages and tasks are not shown".to_owned(),
            }));
        }
        if let Some(only) = &only {
            known.retain(|known| known.guest.at == *only);
        }
        let days = args.max_age_days.unwrap_or(DEFAULT_DAYS);
        let counts = Counts::of(&known, now, days);
        let mut report = gathered.tell(Report::new(counts.sentence(days, jobs.rows.len())));
        report = report.unreachable(offline).fact("tally", counts.object());
        report.notes.extend(notes);
        if args.view == Shown::Jobs {
            return Ok(report.table(jobs));
        }
        // For one guest the answer is its row, good or bad.
        let all = args.view == Shown::All || only.is_some();
        known.sort_by_key(|known| {
            let time = known.newest.as_ref().map(|backup| backup.time);
            (Standing::of(known, now, days), known.covered, time, known.guest.at.clone())
        });
        known.retain(|known| all || needs_attention(known, now, days));
        let offset = cursor::decode(args.cursor.as_deref(), &given)
            .map_err(|error| ToolError::new(error.to_string()))?;
        let mut table = Table::new(
            "guests",
            &["guest", "name", "state", "last", "where", "verified", "job", "cause"],
        );
        table.total = Some(known.len());
        let limit = args.limit.unwrap_or(usize::MAX);
        for known in known.iter().skip(offset).take(limit) {
            table.push(guest_row(known, now, days));
        }
        table.paging = Some(Paging { tool: NAME, args: given, offset });
        Ok(report.table(table))
    }
}

fn needs_attention(known: &Known, now: Timestamp, days: i64) -> bool {
    Standing::of(known, now, days) != Standing::Fresh || known.covered == Some(false)
}

fn guest_row(known: &Known, now: Timestamp, days: i64) -> Vec<Cell> {
    let newest = known.newest.as_ref();
    let covered = match known.covered {
        Some(true) => "yes",
        Some(false) => "none",
        None => "?",
    };
    let last = newest.map(|backup| Cell::with(rfc3339(backup.time), age(backup.time, now)));
    let cause = known
        .failure
        .as_ref()
        .map(|failure| format!("{} ago: {}", age(failure.time, now), failure.cause));
    vec![
        Cell::text(known.guest.at.to_string()),
        Cell::text(&*known.guest.name),
        Cell::text(Standing::of(known, now, days).as_str()),
        last.unwrap_or_else(Cell::none),
        Cell::opt(newest.map(|backup| {
            let size = backup.size.map(|size| format!("({})", bytes(size)));
            Cell::with(
                backup.place.clone(),
                format!("{}{}", backup.place, size.unwrap_or_default()),
            )
        })),
        Cell::opt(newest.and_then(|backup| backup.verified.clone())),
        Cell::text(covered),
        Cell::opt(cause),
    ]
}

fn push_jobs(table: &mut Table, evidence: &Evidence, now: Timestamp) {
    for job in evidence.jobs.iter().flatten() {
        let guests = if job.all {
            match job.exclude.len() {
                0 => "all".to_owned(),
                count => format!("all-but-{count}"),
            }
        } else if let Some(pool) = &job.pool {
            format!("pool:{pool}")
        } else {
            job.vmids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let next = job.next_run.map(|time| Cell::with(rfc3339(time), age(time, now)));
        table.push(vec![
            Cell::text(format!("{}/{}", evidence.member.key, job.id)),
            Cell::with(job.is_enabled(), if job.is_enabled() { "yes" } else { "no" }),
            Cell::opt(job.schedule.clone()),
            next.unwrap_or_else(Cell::none),
            Cell::opt(job.storage.as_ref().map(ToString::to_string)),
            Cell::text(guests),
            Cell::opt(job.comment.clone()),
        ]);
    }
}

/// How many guests stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    guests: usize,
    fresh: usize,
    old: usize,
    never: usize,
    failed: usize,
    unverifiable: usize,
    uncovered: usize,
}

// === impl Counts ===

impl Counts {
    fn of(known: &[&Known], now: Timestamp, days: i64) -> Self {
        let mut counts = Self { guests: known.len(), ..Self::default() };
        for known in known {
            *match Standing::of(known, now, days) {
                Standing::Failed => &mut counts.failed,
                Standing::Never => &mut counts.never,
                Standing::Old => &mut counts.old,
                Standing::Unverifiable => &mut counts.unverifiable,
                Standing::Fresh => &mut counts.fresh,
            } += 1;
            counts.uncovered += usize::from(known.covered == Some(false));
        }
        counts
    }

    fn sentence(self, days: i64, jobs: usize) -> String {
        let mut parts = vec![format!("{} with a backup of the last {days} days", self.fresh)];
        let others = [
            (self.failed, "whose last backup failed"),
            (self.never, "without any backup"),
            (self.old, "with an older one"),
            (self.unverifiable, "whose newest did not verify"),
            (self.uncovered, "in no job"),
        ];
        let others = others.iter().filter(|(count, _)| *count > 0);
        parts.extend(others.map(|(count, what)| format!("{count} {what}")));
        format!("{} guests: {}; {jobs} backup jobs", self.guests, parts.join(", "))
    }

    fn object(self) -> serde_json::Value {
        json!({
            "guests": self.guests, "ok": self.fresh, "old": self.old, "never": self.never,
            "failed": self.failed, "unverifiable": self.unverifiable, "uncovered": self.uncovered,
        })
    }
}

#[cfg(test)]
mod tests {
    use estate::{GuestKind, GuestRef, NodeName, VmId};

    use super::{
        super::evidence::{Backup, Failure},
        *,
    };
    use crate::view::{Guest, GuestStatus};

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn known(newest: Option<(i64, Option<&str>)>, failed: Option<i64>) -> Known {
        let guest = Guest {
            at: GuestRef { cluster: "lab".parse().unwrap(), vmid: VmId::try_new(100).unwrap() },
            name: "web".to_owned(),
            kind: GuestKind::Qemu,
            node: NodeName::try_new("a").unwrap(),
            status: GuestStatus::Running,
            lock: None,
            ha_state: None,
            pool: None,
            tags: Vec::new(),
            cpu: 0.0,
            cpus: 1.0,
            mem: 0,
            max_mem: 0,
            disk: 0,
            max_disk: 0,
            uptime: 0,
        };
        let newest = newest.map(|(day, verified)| Backup {
            time: at(day),
            place: "nas".to_owned(),
            verified: verified.map(str::to_owned),
            size: None,
        });
        let upid = "UPID:a:00000001:00000001:00000001:vzdump:100:root@pam:".parse().unwrap();
        let failure =
            failed.map(|day| Failure { time: at(day), cause: "no space".to_owned(), upid });
        Known { guest, newest, failure, covered: Some(true) }
    }

    #[test]
    fn a_guest_stands_as_its_backups_say() {
        let now = at(100);
        for (known, standing) in [
            (known(None, None), Standing::Never),
            (known(None, Some(99)), Standing::Failed),
            (known(Some((99, Some("ok"))), None), Standing::Fresh),
            (known(Some((99, Some("failed"))), None), Standing::Unverifiable),
            (known(Some((97, None)), None), Standing::Old),
            (known(Some((98, None)), Some(99)), Standing::Failed),
        ] {
            assert_eq!(Standing::of(&known, now, 2), standing);
        }
    }
}
