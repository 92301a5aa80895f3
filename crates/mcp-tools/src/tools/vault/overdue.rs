//! `backup_overdue`: which guests have no backup, or no verified one, younger than so many days.
//!
//! A guest is only told to be without where every place was read that can hold one of its backups.

use std::collections::BTreeMap;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{groups::BackupType, snapshots::Snapshot};
use serde::Deserialize;
use serde_json::json;

use super::offsite::{self, At, Index, Routes};
use crate::{
    cursor,
    error::ToolError,
    fleet::GATHER_DEADLINE,
    report::{Cell, Paging, Report, Table, age, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{
        backups::{Backup, Evidence, Known, collect},
        tally::counted,
    },
};

const NAME: &str = "backup_overdue";
const DEFAULT_DAYS: i64 = 2;

/// The tool.
pub struct BackupOverdue;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    days: Option<i64>,
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// How a guest stands, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// There is no backup at all.
    None,
    /// There is one, but it is too old.
    Old,
    /// There is a young one, but none of the young ones is verified.
    Unverified,
    /// Not every place could be read that can hold one.
    Unknown,
    /// All is well.
    Fine,
}

/// One guest, with its copies that are attributed to it.
struct Row<'a> {
    known: &'a Known,
    standing: Standing,
    newest: Option<(Backup, String)>,
    /// The newest that was verified well.
    proven: Option<(Backup, String)>,
    /// The newest copy that a sync job made, and where; not known if not all targets were read.
    offsite: Result<Option<(Timestamp, String)>, ()>,
    job: &'static str,
}

#[async_trait]
impl EstateTool for BackupOverdue {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Guests without a fresh backup",
            description: "Guests with no backup (verified: no verified one) younger than days. verified belongs to the copy in where; proven: newest verified copy; offsite: newest copy by a sync job. unknown: a place could not be read.",
            input: Input::new()
                .cluster()
                .integer("days", 1..=3650, "default 2")
                .boolean("verified", "only verified copies count")
                .boolean("all", "guests that are fine, too")
                .paged(),
            output: Output::new().fact("tally", "object").table("guests"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut given = args.clone();
        given.remove("cursor");
        let args: Args = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &given)
            .map_err(|error| ToolError::new(error.to_string()))?;
        let now = cx.now();
        let days = args.days.unwrap_or(DEFAULT_DAYS);
        // Clusters that are not asked for can point at the same namespaces, so all are read.
        let members = cx.fleet.pve(None)?;
        cx.fleet.pve(args.cluster.as_deref())?;
        let asked =
            cx.fleet.gather(members, GATHER_DEADLINE, |member| collect(&cx.fleet, member, now));
        let (gathered, routes) = futures::join!(asked, offsite::routes(&cx.fleet));
        let index = offsite::index(&cx.fleet, |server, store| {
            let is_it = |at: &At| at.server == server && at.store == store;
            routes.all.iter().any(|route| route.target.as_ref().is_ok_and(is_it))
        });
        let index = index.await;
        let wanted = |key: &str| args.cluster.as_deref().is_none_or(|only| only == key);
        let all: Vec<&Evidence> = gathered.answers.iter().map(|(_, evidence)| evidence).collect();
        let mut notes = Vec::new();
        let mut parts = Vec::new();
        let mut rows = Vec::new();
        for evidence in &all {
            if !wanted(evidence.member.key.as_str()) {
                continue;
            }
            notes.extend(evidence.notes.iter().cloned());
            parts.extend(evidence.unreachable.iter().cloned());
            let places: BTreeMap<&str, &Result<_, String>> =
                evidence.points.iter().map(|(name, place)| (name.as_str(), place)).collect();
            for known in &evidence.guests {
                rows.push(judge(
                    known, evidence, &places, &all, &routes, &index, &args, now, days, &mut notes,
                ));
            }
            if !evidence.templates.is_empty() {
                let (count, names) = (evidence.templates.len(), few(&evidence.templates));
                notes.push(format!(
                    "{}: {} not looked at: {names}",
                    evidence.member.key,
                    counted(count, "template")
                ));
            }
            let left_out: Vec<String> = excluded(evidence);
            if !left_out.is_empty() {
                let names = few(&left_out);
                notes.push(format!(
                    "{}: excluded by name from a job, and looked at all the same: {names}",
                    evidence.member.key
                ));
            }
        }
        notes.extend(routes.notes.iter().chain(&index.notes).cloned());
        parts.extend(routes.unreachable.iter().chain(&index.unreachable).cloned());
        notes.dedup();
        let tally = |standing| rows.iter().filter(|row| row.standing == standing).count();
        let counts = [
            (Standing::None, "without any", "none"),
            (Standing::Old, "with an older one only", "old"),
            (Standing::Unverified, "with no verified one that young", "unverified"),
            (Standing::Unknown, "not known", "unknown"),
        ];
        let mut object = json!({"guests": rows.len(), "ok": tally(Standing::Fine)});
        let mut said = Vec::new();
        for (standing, words, key) in counts {
            let count = tally(standing);
            object[key] = count.into();
            if count > 0 {
                said.push(format!("{count} {words}"));
            }
        }
        let what = if args.verified { "verified backup" } else { "backup" };
        let good = tally(Standing::Fine);
        let mut lead = format!(
            "{good} of {} with a {what} younger than {}",
            counted(rows.len(), "guest"),
            counted(usize::try_from(days).unwrap_or(usize::MAX), "day")
        );
        if !said.is_empty() {
            lead = format!("{lead}; {}", said.join(", "));
        }
        let is_silent = !gathered.unreachable.is_empty() || !gathered.refused.is_empty();
        if is_silent && !sight::is_dark(&gathered) {
            lead =
                format!("{lead}; guests of clusters that did not answer are not in these numbers");
        }
        let mut report = gathered.tell(Report::new(sight::lead_of(&gathered, lead)));
        for part in parts {
            if !report.unreachable.contains(&part) {
                report.unreachable.push(part);
            }
        }
        report = report.fact("tally", object);
        report.notes.extend(notes);
        rows.retain(|row| args.all || row.standing != Standing::Fine);
        rows.sort_by_key(|row| {
            let time = row.newest.as_ref().map(|(copy, _)| copy.time);
            (row.standing, time, row.known.guest.at.clone())
        });
        let mut table = Table::new(
            "guests",
            &["guest", "name", "state", "newest", "where", "verified", "proven", "offsite", "job"],
        );
        table.total = Some(rows.len());
        let limit = cursor::limit(args.limit, cursor::PAGE);
        for row in rows.iter().skip(offset).take(limit) {
            table.push(row.cells(now));
        }
        table.paging = Some(Paging { tool: NAME, args: given, offset });
        let first = rows.iter().find(|row| row.standing < Standing::Unknown);
        let first = first.map(|row| row.known.guest.at.to_string());
        report = report.table(table);
        Ok(match first {
            Some(guest) => report.next("backup_copies", json!({"guest": guest})),
            None => report,
        })
    }
}

#[expect(clippy::too_many_arguments, reason = "one judgement over all that was gathered")]
fn judge<'a>(
    known: &'a Known,
    evidence: &Evidence,
    places: &BTreeMap<&str, &Result<crate::tools::backups::Place, String>>,
    all: &[&Evidence],
    routes: &Routes,
    index: &Index,
    args: &Args,
    now: Timestamp,
    days: i64,
    notes: &mut Vec<String>,
) -> Row<'a> {
    let label = |place: &str| match places.get(place) {
        Some(Ok(place)) => place.label(),
        _ => place.to_owned(),
    };
    let mut copies: Vec<(Backup, String)> = Vec::new();
    let mut is_shared = false;
    for copy in &known.copies {
        let label = label(&copy.place);
        if let Some(other) = rival(known, evidence, all, &label) {
            if !is_shared {
                notes.push(format!("unattributed: {label} is used by {other} as well, which has a guest {} of the same kind", known.guest.at.vmid));
            }
            is_shared = true;
            continue;
        }
        copies.push((copy.clone(), label));
    }
    let age_ok = |copy: &Backup| now.as_second() - copy.time.as_second() <= days * 86_400;
    let is_proven = |copy: &Backup| copy.verified.as_deref() == Some("ok");
    let counts = |copy: &Backup| {
        age_ok(copy)
            && if args.verified {
                is_proven(copy)
            } else {
                copy.verified.as_deref() != Some("failed")
            }
    };
    let standing = if copies.iter().any(|(copy, _)| counts(copy)) {
        Standing::Fine
    } else if !known.is_all_seen || is_shared {
        Standing::Unknown
    } else if copies.is_empty() {
        Standing::None
    } else if copies.iter().any(|(copy, _)| age_ok(copy)) {
        Standing::Unverified
    } else {
        Standing::Old
    };
    let newest = copies.iter().max_by_key(|(copy, _)| copy.time).cloned();
    let proven = copies.iter().filter(|(copy, _)| is_proven(copy));
    let proven = proven.max_by_key(|(copy, _)| copy.time).cloned();
    let sources: Vec<At> = evidence
        .points
        .iter()
        .filter_map(|(_, place)| place.as_ref().ok().map(At::of))
        .filter(|at| !is_shared || copies.iter().any(|(_, label)| *label == at.label()))
        .collect();
    Row {
        known,
        standing,
        newest,
        proven,
        offsite: copied(known, &sources, routes, index),
        job: job(known, evidence),
    }
}

/// Another cluster whose storages point at this place, and that has a guest with this id and kind.
fn rival<'a>(known: &Known, own: &Evidence, all: &[&'a Evidence], label: &str) -> Option<&'a str> {
    let others = all.iter().filter(|other| other.member.key != own.member.key);
    let mut others = others.filter(|other| {
        other.points.iter().any(|(_, place)| place.as_ref().is_ok_and(|at| at.label() == label))
            && other.guests.iter().any(|guest| {
                guest.guest.at.vmid == known.guest.at.vmid && guest.guest.kind == known.guest.kind
            })
    });
    others.next().map(|other| other.member.key.as_str())
}

/// The newest copy that a sync job made of what lies at `sources`.
fn copied(
    known: &Known,
    sources: &[At],
    routes: &Routes,
    index: &Index,
) -> Result<Option<(Timestamp, String)>, ()> {
    let mut best: Option<(Timestamp, String)> = None;
    let mut is_whole = routes.unreachable.is_empty();
    for source in sources {
        for at in routes.all.iter().filter_map(|route| route.lands(source)) {
            is_whole &= index.complete.contains(&(at.server.clone(), at.store.clone()));
            let list = index.places.get(&at).into_iter().flatten();
            let mine =
                list.filter(|one| is_of(one, known.guest.kind, &known.guest.at.vmid.to_string()));
            if let Some(time) = mine.map(|one| one.time).max()
                && best.as_ref().is_none_or(|(known, _)| *known < time)
            {
                best = Some((time, at.label()));
            }
        }
    }
    if best.is_none() && !is_whole { Err(()) } else { Ok(best) }
}

/// Whether a snapshot is in the group of a guest with this id.
pub(super) fn is_of(snapshot: &Snapshot, kind: GuestKind, id: &str) -> bool {
    let wanted = match kind {
        GuestKind::Qemu => BackupType::Vm,
        GuestKind::Lxc => BackupType::Ct,
    };
    snapshot.backup_type == wanted && snapshot.backup_id == id
}

/// Whether an enabled job takes the guest.
fn job(known: &Known, evidence: &Evidence) -> &'static str {
    let vmid = known.guest.at.vmid;
    let is_excluded = evidence.jobs.iter().flatten().any(|job| job.exclude.contains(&vmid));
    match known.covered {
        Some(true) => "yes",
        Some(false) if is_excluded => "excluded",
        Some(false) => "none",
        None => "?",
    }
}

/// Guests that a job leaves out by name.
fn excluded(evidence: &Evidence) -> Vec<String> {
    let all = evidence.guests.iter().filter(|known| job(known, evidence) == "excluded");
    all.map(|known| format!("{} {}", known.guest.at, known.guest.name)).collect()
}

/// The first few, and how many more.
pub(super) fn few(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        return format!("{text} and {} more", names.len() - SHOWN);
    }
    text
}

// === impl Standing ===

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Old => "old",
            Self::Unverified => "unverified",
            Self::Unknown => "unknown",
            Self::Fine => "ok",
        }
    }
}

// === impl Row ===

impl Row<'_> {
    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let guest = &self.known.guest;
        let newest = self.newest.as_ref();
        let moment = |time: Timestamp| Cell::with(rfc3339(time), age(time, now));
        let proven = self.proven.as_ref().map(|(copy, label)| {
            let checked = copy.verified_at.map(|at| format!("verified {} ago", age(at, now)));
            let text = format!("{} {label}", age(copy.time, now));
            let text = checked.map_or(text.clone(), |checked| format!("{text} ({checked})"));
            let value = json!({"time": rfc3339(copy.time), "where": label, "verified_at": copy.verified_at.map(rfc3339)});
            Cell::with(value, text.replace(' ', "_"))
        });
        let offsite = match &self.offsite {
            Ok(Some((time, label))) => {
                let text = format!("{}_{label}", age(*time, now).replace(' ', "_"));
                Cell::with(json!({"time": rfc3339(*time), "where": label}), text)
            }
            Ok(None) => Cell::text("none"),
            Err(()) => Cell::text("?"),
        };
        vec![
            Cell::text(guest.at.to_string()),
            Cell::text(&*guest.name),
            Cell::text(self.standing.as_str()),
            newest.map_or_else(Cell::none, |(copy, _)| moment(copy.time)),
            Cell::opt(newest.map(|(_, label)| label.clone())),
            newest.map_or_else(Cell::none, |(copy, _)| {
                verdict(copy.verified.as_deref(), copy.verified_at, now)
            }),
            proven.unwrap_or_else(Cell::none),
            offsite,
            Cell::text(self.job),
        ]
    }
}

/// `ok(20h ago)`, `failed(...)`, or `never`: of one copy.
pub(super) fn verdict(state: Option<&str>, at: Option<Timestamp>, now: Timestamp) -> Cell {
    match (state, at) {
        (None, _) => Cell::text("never"),
        (Some(state), Some(at)) => Cell::with(
            format!("{state} {}", rfc3339(at)),
            format!("{state}({}_ago)", age(at, now).replace(' ', "_")),
        ),
        (Some(state), None) => Cell::text(state),
    }
}
