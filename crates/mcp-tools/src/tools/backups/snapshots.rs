//! `backup_snapshots`: what lies on the backup servers, with verification, all namespaces walked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use estate::{Access, DatastoreName};
use futures::future::join_all;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{datastores, namespaces, snapshots};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cursor,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs},
    report::{Cell, Paging, Report, Table, age, bytes, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "backup_snapshots";

/// The tool.
pub struct BackupSnapshots;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    #[serde(default)]
    verified: Verified,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verified {
    #[default]
    Any,
    Ok,
    Failed,
    Never,
}

/// One namespace of one datastore, and what lies in it.
struct Listed {
    datastore: DatastoreName,
    namespace: String,
    snapshots: Vec<snapshots::Snapshot>,
}

#[async_trait]
impl EstateTool for BackupSnapshots {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Backups on PBS",
            description: "Backup groups on backup servers: newest, count, verification. With group: each snapshot.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .text("namespace", "")
                .text("group", "such as vm/104")
                .choice("verified", &["any", "ok", "failed", "never"], "")
                .paged(),
            output: Output::new().fact("tally", "object").table("groups").table("snapshots"),
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
        let members = cx.fleet.pbs(args.cluster.as_deref())?;
        if members.is_empty() {
            return Ok(Report::new("no backup server is configured")
                .note("backups that PVE itself sees are in backup_status"));
        }
        let wanted = args.datastore.as_deref();
        let gathered =
            cx.fleet.gather(members, GATHER_DEADLINE, |member| walk(member, wanted)).await;
        let mut report = gathered.tell(Report::default());
        let mut places = Vec::new();
        let mut rows = Vec::new();
        for (member, (listed, notes)) in &gathered.answers {
            report.notes.extend(notes.iter().cloned());
            for place in listed {
                let label = place_label(member, place);
                let of_namespace = args.namespace.as_ref().is_none_or(|ns| *ns == place.namespace);
                if of_namespace {
                    rows.extend(place.snapshots.iter().map(|snapshot| (label.clone(), snapshot)));
                }
                places.push(label);
            }
            let held = sight::of_pbs(member, now).await;
            report = sight::tell(report, member.key.as_str(), held.as_deref(), &["pbs_datastores"]);
        }
        if let Some(name) = wanted
            && places.is_empty()
            && !gathered.is_partial()
        {
            let name = stdx::untrusted::line(name, 60);
            report.lead = format!("no datastore is called {name:?}, as far as the token sees");
            return Err(ToolError::from_report(report));
        }
        rows.retain(|(_, snapshot)| args.verified.admits(snapshot));
        if let Some(group) = &args.group {
            rows.retain(|(_, snapshot)| group_name(snapshot) == group.trim());
        }
        let tally = Tally::of(&rows);
        report.lead = sight::lead_of(&gathered, tally.sentence());
        report = report.fact("tally", tally.object());
        let offset = cursor::decode(args.cursor.as_deref(), &given)
            .map_err(|error| ToolError::new(error.to_string()))?;
        let mut table = if args.group.is_some() { each(rows, now) } else { by_group(rows, now) };
        table.total = Some(table.rows.len());
        let rest = table.rows.split_off(offset.min(table.rows.len()));
        table.rows = rest.into_iter().take(cursor::limit(args.limit, usize::MAX)).collect();
        table.paging = Some(Paging { tool: NAME, args: given, offset });
        Ok(report.table(table))
    }
}

/// Lists every namespace of every datastore side by side; one that refuses is a note.
async fn walk(
    member: Arc<Pbs>,
    wanted: Option<&str>,
) -> Result<(Vec<Listed>, Vec<String>), api_core::Error> {
    let client = &member.client;
    let stores = client.call(datastores::list()).await?;
    let stores: Vec<_> = stores
        .into_iter()
        .map(|store| store.name)
        .filter(|name| wanted.is_none_or(|wanted| name.as_str() == wanted))
        .collect();
    let per_store = stores.into_iter().map(|store| async move {
        let found = match client.call(namespaces::list(&store, None, None)).await {
            Ok(found) => found,
            Err(error) => return vec![(store, String::new(), Err(error))],
        };
        let lists = found.into_iter().map(|namespace| {
            let store = store.clone();
            async move {
                let name = Some(namespace.name.as_str()).filter(|name| !name.is_empty());
                let answer = client.call(snapshots::list(&store, name)).await;
                (store, namespace.name.clone(), answer)
            }
        });
        join_all(lists).await
    });
    let (mut listed, mut notes) = (Vec::new(), Vec::new());
    for (datastore, namespace, answer) in join_all(per_store).await.into_iter().flatten() {
        match answer {
            Ok(snapshots) => listed.push(Listed { datastore, namespace, snapshots }),
            Err(error) => {
                let key = &member.key;
                let slash = if namespace.is_empty() { "" } else { "/" };
                notes.push(format!("{key}: {datastore}{slash}{namespace} is not shown: {error}"));
            }
        }
    }
    Ok((listed, notes))
}

fn place_label(member: &Pbs, place: &Listed) -> String {
    let slash = if place.namespace.is_empty() { "" } else { "/" };
    format!("{}:{}{slash}{}", member.key, place.datastore, place.namespace)
}

fn group_name(snapshot: &snapshots::Snapshot) -> String {
    format!("{}/{}", snapshot.backup_type, snapshot.backup_id)
}

/// `ok`, `failed`, or `never`.
fn verified(snapshot: &snapshots::Snapshot) -> String {
    snapshot.verification.as_ref().map_or("never".to_owned(), |check| check.state.to_string())
}

/// A row per group, the one with the oldest newest snapshot first: that is where backups stopped.
fn by_group(rows: Vec<(String, &snapshots::Snapshot)>, now: Timestamp) -> Table {
    let mut groups: BTreeMap<(String, String), Vec<&snapshots::Snapshot>> = BTreeMap::new();
    for (place, snapshot) in rows {
        groups.entry((place, group_name(snapshot))).or_default().push(snapshot);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, snapshots) in &mut groups {
        snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.time));
    }
    groups.sort_by_key(|(key, snapshots)| (snapshots[0].time, key.clone()));
    let mut table = Table::new(
        "groups",
        &["place", "group", "count", "newest", "size", "verified", "owner", "comment"],
    );
    for ((place, group), snapshots) in groups {
        let newest = snapshots[0];
        table.push(vec![
            Cell::text(place),
            Cell::text(group),
            Cell::number(snapshots.len()),
            Cell::with(rfc3339(newest.time), age(newest.time, now)),
            size(newest),
            Cell::text(verified(newest)),
            Cell::opt(newest.owner.clone()),
            Cell::opt(newest.comment.as_deref().map(Cell::foreign)),
        ]);
    }
    table
}

/// A row per snapshot, newest first.
fn each(mut rows: Vec<(String, &snapshots::Snapshot)>, now: Timestamp) -> Table {
    rows.sort_by_key(|(place, snapshot)| (place.clone(), std::cmp::Reverse(snapshot.time)));
    let mut table = Table::new(
        "snapshots",
        &["place", "time", "age", "size", "verified", "protected", "comment"],
    );
    for (place, snapshot) in rows {
        let protected = if snapshot.protected { "protected" } else { "-" };
        table.push(vec![
            Cell::text(place),
            Cell::text(rfc3339(snapshot.time)),
            Cell::text(age(snapshot.time, now)),
            size(snapshot),
            Cell::text(verified(snapshot)),
            Cell::with(snapshot.protected, protected),
            Cell::opt(snapshot.comment.as_deref().map(Cell::foreign)),
        ]);
    }
    table
}

fn size(snapshot: &snapshots::Snapshot) -> Cell {
    Cell::opt(snapshot.size_bytes.map(|size| Cell::with(size, bytes(size))))
}

// === impl Verified ===

impl Verified {
    fn admits(self, snapshot: &snapshots::Snapshot) -> bool {
        match self {
            Self::Any => true,
            Self::Ok => verified(snapshot) == "ok",
            Self::Failed => verified(snapshot) == "failed",
            Self::Never => verified(snapshot) == "never",
        }
    }
}

/// How many snapshots stand how.
#[derive(Default)]
struct Tally {
    snapshots: usize,
    /// The namespaces that they are in.
    places: usize,
    ok: usize,
    failed: usize,
    never: usize,
}

// === impl Tally ===

impl Tally {
    fn of(rows: &[(String, &snapshots::Snapshot)]) -> Self {
        let places: BTreeSet<&str> = rows.iter().map(|(place, _)| place.as_str()).collect();
        let mut tally = Self { snapshots: rows.len(), places: places.len(), ..Self::default() };
        for (_, snapshot) in rows {
            match verified(snapshot).as_str() {
                "ok" => tally.ok += 1,
                "failed" => tally.failed += 1,
                _ => tally.never += 1,
            }
        }
        tally
    }

    fn sentence(&self) -> String {
        format!(
            "{} in {}: {} verified, {} failed verification, {} never verified",
            counted(self.snapshots, "snapshot"),
            counted(self.places, "namespace"),
            self.ok,
            self.failed,
            self.never
        )
    }

    fn object(&self) -> serde_json::Value {
        json!({"snapshots": self.snapshots, "ok": self.ok, "failed": self.failed, "never": self.never})
    }
}
