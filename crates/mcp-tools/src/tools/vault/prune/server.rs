//! Pruning on a backup server: decided here as the server will decide, so that it can be shown first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::DatastoreName;
use jiff::{Timestamp, tz::TimeZone};
use pbs_client::{
    datastores::{self, PruneDatastoreParams},
    groups::{self, PruneGroupParams},
    node,
    snapshots::{Snapshot, VerifyState},
};
use serde_json::json;

use super::{
    super::{
        keep::{Fate, Item, Keep, decide},
        space,
        spot::{self, Asked, Spot},
    },
    Args, fingerprint, told,
};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::Pbs,
    plan::{Done, Plan, Step, Undo},
    report::{Cell, Report, Table, age, bytes, rfc3339},
    tool::Cx,
    tools::tally::counted,
};

/// The file that a backup gets when it has come to its end.
const MANIFEST: &str = "index.json.blob";

/// What is pruned.
#[derive(Clone)]
struct Scope {
    server: Arc<Pbs>,
    store: DatastoreName,
    /// One namespace; all without.
    namespace: Option<String>,
    spot: Option<Spot>,
}

/// A snapshot with what becomes of it.
struct Row {
    namespace: String,
    one: Snapshot,
    fate: Fate,
}

pub(super) async fn plan(cx: &Cx, args: &Args) -> Result<Plan, ToolError> {
    let keep = args.keep();
    if !keep.keeps_something() {
        return Err(ToolError::new("what to keep is not said, and without a rule nothing goes")
            .hint("give keep_last, keep_daily and the like"));
    }
    let (scope, mut notes) = scope(cx, args).await?;
    let label = scope.label();
    let (all, unseen) = scope.list().await?;
    if all.is_empty() {
        let lead = format!("{label} has no snapshots, as far as the token sees");
        return Err(unseen.into_iter().fold(ToolError::not_found(lead), ToolError::hint));
    }
    let (zone, warning) = zone(&scope.server, &keep).await;
    let rows = decided(&keep, &zone, all);
    let prints = rows.iter().map(print_of);
    let state = fingerprint(prints);
    notes.extend(unseen.iter().map(|note| format!("not in this plan: {note}")));
    let gone: Vec<&Row> = rows.iter().filter(|row| row.fate == Fate::Goes).collect();
    let tally = tally(&rows);
    if gone.is_empty() {
        let lead = format!("{label}: the rules hold all {}", counted(rows.len(), "snapshot"));
        let mut report = Report::new(lead)
            .fact("place", label.as_str())
            .fact("status", "unchanged")
            .fact("tally", tally);
        report =
            tables(&rows, scope.spot.is_some(), cx.now()).into_iter().fold(report, Report::table);
        report.notes.extend(notes);
        return Ok(Plan::already(report));
    }
    let size: u64 = gone.iter().filter_map(|row| row.one.size_bytes).sum();
    let what = format!("pruning of {label}");
    let mut plan = Plan::new(what.as_str())
        .fact("place", label.as_str())
        .fact("tally", tally)
        .effect(format!(
            "{} of {} go for good ({} before deduplication: what that frees is less, since chunks are shared)",
            gone.len(),
            counted(rows.len(), "snapshot"),
            bytes(size)
        ))
        .undo(Undo::Never("a removed snapshot is gone; only a copy elsewhere still has it".to_owned()))
        .target(label.as_str(), [("snapshots", state.as_str()), ("keep", keep.text().as_str())]);
    let lines = gone
        .iter()
        .map(|row| (format!("{} {}", shown(&row.namespace), group_of(row)), rfc3339(row.one.time)));
    plan.effects.extend(told(lines));
    plan.notes = notes;
    plan.tables = tables(&rows, scope.spot.is_some(), cx.now());
    if let Some(text) = warning {
        plan = plan.warn("time_zone", text);
    }
    for text in unverified(&rows) {
        plan = plan.warn("unverified_left", text);
    }
    let path = scope.path();
    let needed = ["Datastore.Modify", "Datastore.Prune"];
    if let Some(text) = spot::lacks(cx, &scope.server, &path, &needed).await {
        plan = plan.warn("privilege", text);
    }
    let touched = gone.iter().map(|row| row.one.time).max();
    if let Some(text) = back(&scope, touched, cx.now()).await {
        plan = plan.note(text);
    }
    let keys: BTreeSet<_> = gone.iter().map(|row| key(&row.namespace, &row.one)).collect();
    let step = scope.step(&format!("prune {label}"), &keep);
    Ok(plan.step(step).settle(move |_, done| settle(scope, keys, done)))
}

async fn scope(cx: &Cx, args: &Args) -> Result<(Scope, Vec<String>), ToolError> {
    let asked = Asked {
        cluster: args.cluster.as_deref(),
        datastore: args.datastore.as_deref(),
        namespace: args.namespace.as_deref(),
    };
    let (spot, notes) = match (&args.group, &args.guest) {
        (Some(group), _) => (Some(spot::group(cx, asked, group).await?), Vec::new()),
        (None, Some(guest)) => {
            let found = cx.fleet.find_guest(guest, Purpose::Write).await?;
            let spot = spot::of_guest(cx, &found, asked)
                .await
                .map_err(|error| error.hint("for files on a PVE storage, give storage as well"))?;
            (Some(spot), found.notes)
        }
        (None, None) => (None, Vec::new()),
    };
    if let Some(spot) = spot {
        let place = spot.place.clone();
        let namespace = Some(place.namespace.clone());
        let scope = Scope { server: place.server, store: place.store, namespace, spot: Some(spot) };
        return Ok((scope, notes));
    }
    if args.datastore.is_none() && args.cluster.is_none() {
        return Err(ToolError::new("what to prune is not said")
            .hint("give group or guest, a datastore with or without namespace, or a PVE storage"));
    }
    let (server, store, namespace) = spot::namespace(cx, asked).await?;
    Ok((Scope { server, store, namespace, spot: None }, notes))
}

/// The server's time zone, which says when its days begin.
async fn zone(server: &Pbs, keep: &Keep) -> (TimeZone, Option<String>) {
    if !keep.has_periods() {
        return (TimeZone::UTC, None);
    }
    let unknown = |why: String| {
        let text = format!(
            "{}: {why}, so days are taken to begin at midnight UTC; the server decides by its own",
            server.key
        );
        (TimeZone::UTC, Some(text))
    };
    match server.client.call(node::time()).await {
        Ok(time) => match TimeZone::get(&time.timezone) {
            Ok(zone) => (zone, None),
            Err(_) => unknown(format!("its time zone {} is not known here", time.timezone)),
        },
        Err(error) => unknown(format!("its time zone cannot be read ({})", stdx::Chain(&error))),
    }
}

/// What becomes of each, group by group.
fn decided(keep: &Keep, zone: &TimeZone, all: Vec<(String, Snapshot)>) -> Vec<Row> {
    let mut groups: BTreeMap<(String, String, String), Vec<(String, Snapshot)>> = BTreeMap::new();
    for (namespace, one) in all {
        let key = (namespace.clone(), one.backup_type.to_string(), one.backup_id.clone());
        groups.entry(key).or_default().push((namespace, one));
    }
    let mut rows = Vec::new();
    for mut members in groups.into_values() {
        members.sort_by_key(|(_, one)| std::cmp::Reverse(one.time));
        let items: Vec<Item> = members.iter().map(|(_, one)| item(one)).collect();
        let fates = decide(keep, zone, &items);
        let each = members.into_iter().zip(fates);
        rows.extend(each.map(|((namespace, one), fate)| Row { namespace, one, fate }));
    }
    rows
}

fn item(one: &Snapshot) -> Item {
    let finished = one.files.iter().any(|file| file.name == MANIFEST);
    Item { time: one.time, protected: one.protected, finished }
}

fn key(namespace: &str, one: &Snapshot) -> (String, String, String, Timestamp) {
    (namespace.to_owned(), one.backup_type.to_string(), one.backup_id.clone(), one.time)
}

fn print_of(row: &Row) -> String {
    let one = &row.one;
    format!(
        "{}:{}/{}/{} {}",
        row.namespace,
        one.backup_type,
        one.backup_id,
        one.time.as_second(),
        one.protected
    )
}

fn tally(rows: &[Row]) -> serde_json::Value {
    let go = rows.iter().filter(|row| row.fate == Fate::Goes).count();
    let protected = rows.iter().filter(|row| row.one.protected).count();
    json!({"snapshots": rows.len(), "go": go, "stay": rows.len() - go, "protected": protected})
}

/// Groups of which every verified snapshot would go.
fn unverified(rows: &[Row]) -> Vec<String> {
    let is_good = |row: &Row| {
        row.one.verification.as_ref().is_some_and(|check| check.state == VerifyState::Ok)
    };
    let mut groups: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_good(row)) {
        let name = format!("{} {}", shown(&row.namespace), group_of(row));
        let (goes, stays) = groups.entry(name).or_default();
        if row.fate == Fate::Goes {
            *goes = true;
        } else {
            *stays = true;
        }
    }
    let left = groups.into_iter().filter(|(_, (goes, stays))| *goes && !*stays);
    left.map(|(name, _)| format!("{name}: no verified snapshot would be left")).collect()
}

fn group_of(row: &Row) -> String {
    format!("{}/{}", row.one.backup_type, row.one.backup_id)
}

fn shown(namespace: &str) -> &str {
    if namespace.is_empty() { "(root)" } else { namespace }
}

/// Of one group every snapshot; of many what each keeps, and what goes.
fn tables(rows: &[Row], is_group: bool, now: Timestamp) -> Vec<Table> {
    if is_group {
        let columns = ["time", "age", "size", "verified", "fate", "why"];
        let mut table = Table::new("snapshots", &columns);
        for row in rows {
            let (fate, why) = match &row.fate {
                Fate::Stays(why) => ("stays", Cell::text(&**why)),
                Fate::Goes => ("goes", Cell::none()),
            };
            let mut cells = cells(&row.one, now);
            cells.extend([Cell::text(verified(&row.one)), Cell::text(fate), why]);
            table.push(cells);
        }
        return vec![table];
    }
    let mut groups: BTreeMap<(String, String), (usize, usize, BTreeSet<&str>)> = BTreeMap::new();
    let mut gone = Table::new("snapshots", &["namespace", "group", "time", "age", "size"]);
    for row in rows {
        let name = (row.namespace.clone(), group_of(row));
        let (stay, go, why) = groups.entry(name).or_default();
        match &row.fate {
            Fate::Stays(reason) => {
                *stay += 1;
                why.insert(reason.split(' ').next().unwrap_or_default());
            }
            Fate::Goes => {
                *go += 1;
                let mut line = vec![
                    Cell::with(row.namespace.as_str(), shown(&row.namespace)),
                    Cell::text(group_of(row)),
                ];
                line.extend(cells(&row.one, now));
                gone.push(line);
            }
        }
    }
    let mut kept = Table::new("groups", &["namespace", "group", "stay", "go", "by"]);
    for ((namespace, group), (stay, go, why)) in groups {
        kept.push(vec![
            Cell::with(namespace.as_str(), shown(&namespace)),
            Cell::text(group),
            Cell::number(stay),
            Cell::number(go),
            Cell::text(why.into_iter().collect::<Vec<_>>().join(",")),
        ]);
    }
    vec![kept, gone]
}

fn cells(one: &Snapshot, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::text(rfc3339(one.time)),
        Cell::text(age(one.time, now)),
        Cell::opt(one.size_bytes.map(|size| Cell::with(size, bytes(size)))),
    ]
}

fn verified(one: &Snapshot) -> String {
    one.verification.as_ref().map_or_else(|| "never".to_owned(), |check| check.state.to_string())
}

/// When the space comes back, if the server tells about its collections.
async fn back(scope: &Scope, touched: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let client = &scope.server.client;
    let (gc, config) = futures::join!(
        client.call(datastores::gc_status(&scope.store)),
        client.call(datastores::config(&scope.store)),
    );
    let cutoff = space::cutoff_mins(config.ok().as_ref());
    Some(space::sentence(&gc.ok()?, touched, cutoff, now))
}

// === impl Scope ===

impl Scope {
    fn label(&self) -> String {
        match (&self.spot, &self.namespace) {
            (Some(spot), _) => spot.label(),
            (None, Some(name)) if name.is_empty() => {
                format!("{}:{} (root namespace)", self.server.key, self.store)
            }
            (None, Some(name)) => format!("{}:{}/{name}", self.server.key, self.store),
            (None, None) => format!("{}:{}", self.server.key, self.store),
        }
    }

    fn path(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!("/datastore/{}{slash}{namespace}", self.store)
    }

    async fn list(&self) -> Result<(Vec<(String, Snapshot)>, Vec<String>), ToolError> {
        let Some(spot) = &self.spot else {
            return spot::walk(&self.server, &self.store, self.namespace.as_deref()).await;
        };
        let namespace = &spot.place.namespace;
        let all = spot.snapshots().await?.into_iter();
        Ok((all.map(|one| (namespace.clone(), one)).collect(), Vec::new()))
    }

    fn step(&self, what: &str, keep: &Keep) -> Step {
        match &self.spot {
            Some(spot) => {
                let options = PruneGroupParams { keep: keep.params(), dry_run: None };
                Step::pbs(&self.server, what, groups::prune(&self.store, &spot.group, options))
            }
            None => {
                let named = self.namespace.clone().filter(|name| !name.is_empty());
                let options = PruneDatastoreParams {
                    keep: keep.params(),
                    namespace: named,
                    // One namespace that is named is meant without those below it.
                    max_depth: self.namespace.is_some().then_some(0),
                    dry_run: None,
                };
                Step::pbs(&self.server, what, datastores::prune(&self.store, options))
            }
        }
    }
}

type Keys = BTreeSet<(String, String, String, Timestamp)>;

/// What is really gone.
async fn settle(scope: Scope, gone: Keys, done: Done) -> Result<Report, ToolError> {
    let label = scope.label();
    let left = match scope.list().await {
        Ok((left, _)) => left,
        Err(error) => {
            let lead = format!("{label}: the server pruned it");
            return Ok(done.report(lead).note(error.message().to_owned()));
        }
    };
    let left: Keys = left.iter().map(|(namespace, one)| key(namespace, one)).collect();
    let still: Vec<_> = gone.intersection(&left).collect();
    let tally = json!({"pruned": gone.len() - still.len(), "left": left.len()});
    if still.is_empty() {
        let lead = format!(
            "{label}: {} pruned, {} left ({})",
            counted(gone.len(), "snapshot"),
            left.len(),
            done.span()
        );
        return Ok(done.report(lead).fact("tally", tally));
    }
    let lead = format!(
        "{label}: {} of {} that should go are still there",
        still.len(),
        counted(gone.len(), "snapshot")
    );
    let report = done.report(lead).fact("tally", tally).fact("status", "failed");
    Err(ToolError::from_report(report).hint(
        "something may have been using them, or they were protected meanwhile: plan it again",
    ))
}
