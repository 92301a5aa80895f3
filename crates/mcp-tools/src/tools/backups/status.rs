//! `backup_status`: the last backup of each guest, what covers it, and what is wrong, worst first.

use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::evidence::{Evidence, Known, collect};
use crate::{
    address::{Purpose, quoted},
    cursor,
    error::ToolError,
    fleet::GATHER_DEADLINE,
    report::{Cell, Paging, Report, Table, age, bytes, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "backup_status";

/// A backup older than this is old unless the call says otherwise.
const DEFAULT_DAYS: i64 = 2;

/// The tool.
pub struct BackupStatus;

#[derive(Deserialize)]
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
    /// There is no backup.
    Never,
    /// None was found, but not every place that could hold one was read.
    Unseen,
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
            return match &known.failure {
                Some(_) => Self::Failed,
                None if known.is_all_seen => Self::Never,
                None => Self::Unseen,
            };
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
            Self::Unseen => "unseen",
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
                let text = within(args.cluster.as_deref(), text)?;
                let found = cx.fleet.find_guest(&text, Purpose::Read).await?;
                (Some(found.member.key.to_string()), Some(found.guest.at), found.notes)
            }
            None => (args.cluster.clone(), None, Vec::new()),
        };
        let members = cx.fleet.pve(cluster.as_deref())?;
        let gathered = cx
            .fleet
            .gather(members, GATHER_DEADLINE, |member| collect(&cx.fleet, member, now))
            .await;
        let mut known: Vec<&Known> = Vec::new();
        let mut jobs = Table::new(
            "jobs",
            &["job", "enabled", "schedule", "next", "storage", "guests", "comment"],
        );
        let mut parts = Vec::new();
        let mut are_jobs_seen = true;
        for (_, evidence) in &gathered.answers {
            known.extend(&evidence.guests);
            notes.extend(evidence.notes.iter().cloned());
            push_jobs(&mut jobs, evidence, now);
            are_jobs_seen &= evidence.jobs.is_some();
            for part in &evidence.unreachable {
                // Two clusters can lack the same backup server.
                if !parts.contains(part) {
                    parts.push(part.clone());
                }
            }
        }
        if let Some(only) = &only {
            known.retain(|known| known.guest.at == *only);
        }
        let days = args.max_age_days.unwrap_or(DEFAULT_DAYS);
        let counts = Counts::of(&known, now, days);
        let lead = counts.sentence(days, jobs.rows.len(), are_jobs_seen);
        let mut report = gathered.tell(Report::new(sight::lead_of(&gathered, lead)));
        report = report.unreachable(parts).fact("tally", counts.object());
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
        let limit = cursor::limit(args.limit, cursor::PAGE);
        for known in known.iter().skip(offset).take(limit) {
            table.push(guest_row(known, now, days));
        }
        table.paging = Some(Paging { tool: NAME, args: given, offset });
        Ok(report.table(table))
    }
}

/// The guest's address with the cluster that is given beside it.
fn within(cluster: Option<&str>, guest: &str) -> Result<String, ToolError> {
    let guest = guest.trim();
    match (cluster, guest.split_once('/')) {
        (Some(cluster), None) => Ok(format!("{cluster}/{guest}")),
        (Some(cluster), Some((of, _))) if of != cluster => Err(ToolError::new(format!(
            "guest {} is in {}, but cluster is {}",
            quoted(guest),
            quoted(of),
            quoted(cluster)
        ))
        .hint("leave cluster out, or give the one of the guest")),
        _ => Ok(guest.to_owned()),
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
            Cell::opt(job.comment.as_deref().map(Cell::foreign)),
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
    unseen: usize,
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
                Standing::Unseen => &mut counts.unseen,
                Standing::Old => &mut counts.old,
                Standing::Unverifiable => &mut counts.unverifiable,
                Standing::Fresh => &mut counts.fresh,
            } += 1;
            counts.uncovered += usize::from(known.covered == Some(false));
        }
        counts
    }

    fn sentence(self, days: i64, jobs: usize, are_jobs_seen: bool) -> String {
        let time = if days == 1 { "day".to_owned() } else { format!("{days} days") };
        let mut parts = vec![format!("{} with a backup of the last {time}", self.fresh)];
        let others = [
            (self.failed, "whose last backup failed"),
            (self.never, "without any backup"),
            (self.old, "with an older one"),
            (self.unverifiable, "whose newest did not verify"),
            (self.uncovered, "in no job"),
        ];
        let others = others.iter().filter(|(count, _)| *count > 0);
        parts.extend(others.map(|(count, what)| format!("{count} {what}")));
        if self.unseen > 0 {
            parts.push(format!("none seen for {}", self.unseen));
        }
        let jobs = match (jobs, are_jobs_seen) {
            (0, false) => "backup jobs not seen".to_owned(),
            (jobs, false) => format!("{} seen", counted(jobs, "backup job")),
            (jobs, true) => counted(jobs, "backup job"),
        };
        format!("{}: {}; {jobs}", counted(self.guests, "guest"), parts.join(", "))
    }

    fn object(self) -> serde_json::Value {
        json!({
            "guests": self.guests, "ok": self.fresh, "old": self.old, "never": self.never,
            "unseen": self.unseen,
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
            verified_at: None,
            size: None,
        });
        let upid = "UPID:a:00000001:00000001:00000001:vzdump:100:root@pam:".parse().unwrap();
        let failure =
            failed.map(|day| Failure { time: at(day), cause: "no space".to_owned(), upid });
        Known { guest, newest, copies: Vec::new(), failure, covered: Some(true), is_all_seen: true }
    }

    #[test]
    fn one_is_told_in_the_singular_and_none_seen_is_not_none() {
        let one = Counts { guests: 1, fresh: 1, ..Counts::default() };
        assert_eq!(
            one.sentence(1, 1, true),
            "1 guest: 1 with a backup of the last day; 1 backup job"
        );
        let two = Counts { guests: 2, unseen: 2, ..Counts::default() };
        assert_eq!(
            two.sentence(2, 0, false),
            "2 guests: 0 with a backup of the last 2 days, none seen for 2; backup jobs not seen"
        );
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
        let unseen = |failed| Known { is_all_seen: false, ..known(None, failed) };
        assert_eq!(Standing::of(&unseen(None), now, 2), Standing::Unseen);
        assert_eq!(Standing::of(&unseen(Some(99)), now, 2), Standing::Failed);
    }
}
