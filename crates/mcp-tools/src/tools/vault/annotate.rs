//! `backup_annotate`: notes and protection of a backup, or the notes of a whole group.

use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{
    groups,
    snapshots::{self, Snapshot, SnapshotRef},
};
use pve_client::storage;
use serde::Deserialize;
use serde_json::json;

use super::{
    find::{self, Copy, Whose},
    spot::{self, Asked, Spot, object},
};
use crate::{
    error::ToolError,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// The tool.
pub struct BackupAnnotate;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    guest: Option<String>,
    from: Option<String>,
    time: Option<String>,
    notes: Option<String>,
    protected: Option<bool>,
}

/// What a backup has now.
struct Now {
    notes: String,
    protected: bool,
}

#[async_trait]
impl ActionTool for BackupAnnotate {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_annotate",
            title: "Notes and protection of backups",
            description: "Protected backups are not pruned. group without time: the group's own notes.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .text("namespace", "")
                .text("group", "such as vm/104")
                .text("guest", "instead of group: cluster/vmid")
                .text("from", "with guest: storage or volume")
                .text("time", "RFC 3339, or latest")
                .text("notes", "")
                .boolean("protected", ""),
            output: Output::new().fact("backup", "string").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        if args.notes.is_none() && args.protected.is_none() {
            return Err(ToolError::new("nothing to change: give notes, protected, or both"));
        }
        match (&args.guest, &args.group) {
            (Some(guest), None) => of_guest(cx, &args, guest).await,
            (None, Some(group)) => of_group(cx, &args, group).await,
            (Some(_), Some(_)) => {
                Err(ToolError::new("group and guest both say what is meant: give one"))
            }
            (None, None) => Err(ToolError::new("which backup is not said: give guest, or group")
                .hint("guest takes any storage of its cluster, group a backup server")),
        }
    }
}

/// A backup as the guest's cluster shows it, on whichever storage.
async fn of_guest(cx: &Cx, args: &Args, guest: &str) -> Result<Plan, ToolError> {
    let whose = find::whose(cx, guest).await?;
    let search = whose.copies(cx, args.from.as_deref()).await?;
    let time = args.time.as_deref();
    let (copy, notes) = match time {
        Some(_) => whose.pick(search, time, cx.now())?,
        // Which of several is not a thing to guess when one is changed.
        None if search.copies.len() == 1 => whose.pick(search, None, cx.now())?,
        None => {
            let lead = format!("which backup of {} is not said", whose.name());
            return Err(ToolError::new(lead)
                .hint("give time, or latest")
                .choices(search.table(cx.now())));
        }
    };
    let call =
        whose.member.operator.call(storage::volume(&copy.node, &copy.storage, &copy.volume.id));
    let info = call
        .await
        .map_err(|error| ToolError::api(format!("read the notes of {}", copy.volume.id), &error))?;
    let now = Now { notes: info.notes.unwrap_or_default(), protected: info.protected };
    let label = format!("{}/{}", whose.member.key, copy.volume.id);
    let request = storage::update_volume(
        &copy.node,
        &copy.storage,
        &copy.volume.id,
        args.notes.as_deref().filter(|notes| *notes != now.notes),
        args.protected.filter(|protected| *protected != now.protected),
    );
    let step = Step::pve(&whose.member, format!("change {label}"), request);
    let undo = json!({"guest": whose.at.to_string(), "from": copy.volume.id,
        "time": copy.volume.created.map(rfc3339)});
    let mut plan = match changes(&label, args, &now, undo) {
        Ok(plan) => plan.step(step),
        Err(report) => Plan::already(*report),
    };
    plan.notes.extend(whose.notes.iter().cloned().chain(notes));
    let (notes, protected) = (args.notes.clone(), args.protected);
    Ok(plan.settle(move |_, done| settle_volume(whose, copy, label, notes, protected, done)))
}

async fn settle_volume(
    whose: Whose,
    copy: Copy,
    label: String,
    notes: Option<String>,
    protected: Option<bool>,
    done: Done,
) -> Result<Report, ToolError> {
    let call = storage::volume(&copy.node, &copy.storage, &copy.volume.id);
    let now = whose
        .member
        .operator
        .call(call)
        .await
        .map(|info| Now { notes: info.notes.unwrap_or_default(), protected: info.protected });
    told(&label, notes.as_deref(), protected, now, &done)
}

/// A snapshot or a group on a backup server.
async fn of_group(cx: &Cx, args: &Args, group: &str) -> Result<Plan, ToolError> {
    let asked = Asked {
        cluster: args.cluster.as_deref(),
        datastore: args.datastore.as_deref(),
        namespace: args.namespace.as_deref(),
    };
    let spot = spot::group(cx, asked, group).await?;
    let path = spot.place.path();
    let needed = ["Datastore.Modify", "Datastore.Backup"];
    let lacks = spot::lacks(cx, &spot.place.server, &path, &needed).await;
    let plan = match &args.time {
        Some(time) => of_snapshot(cx, args, spot, time).await?,
        None => of_whole_group(args, spot).await?,
    };
    Ok(match lacks {
        Some(text) if !plan.is_nothing() => plan.warn("privilege", text),
        _ => plan,
    })
}

async fn of_whole_group(args: &Args, spot: Spot) -> Result<Plan, ToolError> {
    let label = spot.label();
    if args.protected.is_some() {
        return Err(ToolError::new(format!("{label} as a whole cannot be protected"))
            .hint("protection belongs to one snapshot: give time"));
    }
    let now = group_notes(&spot).await?;
    let notes = args.notes.clone().unwrap_or_default();
    let plan = match changes(&label, args, &now, spot.args()) {
        Ok(plan) => plan,
        Err(report) => return Ok(Plan::already(*report)),
    };
    let request = groups::set_notes(&spot.place.store, &spot.group, &notes);
    let step = Step::pbs(&spot.place.server, format!("set the notes of {label}"), request);
    Ok(plan.step(step).settle(move |_, done| async move {
        let now = group_notes(&spot).await;
        match now {
            Ok(now) => told(&label, Some(&notes), None, Ok(now), &done),
            Err(error) => {
                Ok(done.report(format!("{label} is changed")).note(error.message().to_owned()))
            }
        }
    }))
}

async fn group_notes(spot: &Spot) -> Result<Now, ToolError> {
    let call = groups::notes(&spot.place.store, &spot.group);
    let notes = spot.place.server.client.call(call).await;
    let notes = notes
        .map_err(|error| ToolError::api(format!("read the notes of {}", spot.label()), &error))?;
    Ok(Now { notes, protected: false })
}

async fn of_snapshot(cx: &Cx, args: &Args, spot: Spot, time: &str) -> Result<Plan, ToolError> {
    let all = spot.snapshots().await?;
    let one: &Snapshot = spot::pick(&spot, &all, time, cx.now())?;
    let reference = SnapshotRef { group: spot.group.clone(), time: one.time };
    let label = format!("{}/{}", spot.label(), rfc3339(one.time));
    let now = read(&spot, &reference, &label).await?;
    let undo = with_time(spot.args(), one.time);
    let mut plan = match changes(&label, args, &now, undo) {
        Ok(plan) => plan,
        Err(report) => return Ok(Plan::already(*report)),
    };
    let (server, store) = (&spot.place.server, &spot.place.store);
    if let Some(notes) = args.notes.as_deref().filter(|notes| *notes != now.notes) {
        let request = snapshots::set_notes(store, &reference, notes);
        plan = plan.step(Step::pbs(server, format!("set the notes of {label}"), request));
    }
    if let Some(protected) = args.protected.filter(|protected| *protected != now.protected) {
        let request = snapshots::set_protected(store, &reference, protected);
        plan = plan.step(Step::pbs(server, format!("set the protection of {label}"), request));
    }
    let (notes, protected) = (args.notes.clone(), args.protected);
    Ok(plan.settle(move |_, done| async move {
        match read(&spot, &reference, &label).await {
            Ok(now) => told(&label, notes.as_deref(), protected, Ok(now), &done),
            Err(error) => {
                Ok(done.report(format!("{label} is changed")).note(error.message().to_owned()))
            }
        }
    }))
}

async fn read(spot: &Spot, reference: &SnapshotRef, label: &str) -> Result<Now, ToolError> {
    let (client, store) = (&spot.place.server.client, &spot.place.store);
    let (notes, protected) = futures::join!(
        client.call(snapshots::notes(store, reference)),
        client.call(snapshots::protected(store, reference)),
    );
    let failed =
        |error: &api_core::Error| ToolError::api(format!("read the notes of {label}"), error);
    Ok(Now {
        notes: notes.map_err(|error| failed(&error))?,
        protected: protected.map_err(|error| failed(&error))?,
    })
}

fn with_time(mut args: serde_json::Value, time: Timestamp) -> serde_json::Value {
    args["time"] = rfc3339(time).into();
    args
}

/// The plan of what changes, or the answer where nothing does. `undo` names the backup.
fn changes(
    label: &str,
    args: &Args,
    now: &Now,
    mut undo: serde_json::Value,
) -> Result<Plan, Box<Report>> {
    let mut plan = Plan::new(format!("change of {label}")).fact("backup", label);
    let mut state = Vec::new();
    if let Some(notes) = args.notes.as_deref().filter(|notes| *notes != now.notes) {
        plan = plan.change("notes", shown(&now.notes), shown(notes));
        undo["notes"] = now.notes.as_str().into();
        state.push(("notes", now.notes.clone()));
    }
    if let Some(protected) = args.protected.filter(|protected| *protected != now.protected) {
        plan = plan.change("protected", now.protected.to_string(), protected.to_string());
        if !protected {
            plan = plan.warn("unprotected", "pruning may remove it from now on");
        }
        undo["protected"] = now.protected.into();
        state.push(("protected", now.protected.to_string()));
    }
    if state.is_empty() {
        let lead = format!("{label} has that already: nothing was done");
        let report = Report::new(lead).fact("backup", label).fact("status", "unchanged");
        return Err(Box::new(report));
    }
    Ok(plan.target(label, state).undo(Undo::Call("backup_annotate", object(undo))))
}

/// Notes are anybody's words.
fn shown(notes: &str) -> String {
    if notes.is_empty() { "-".to_owned() } else { stdx::untrusted::line(notes, 120).into_owned() }
}

/// Whether it is so now.
fn told(
    label: &str,
    notes: Option<&str>,
    protected: Option<bool>,
    now: Result<Now, api_core::Error>,
    done: &Done,
) -> Result<Report, ToolError> {
    let now = match now {
        Ok(now) => now,
        Err(error) => {
            let why = stdx::Chain(&error);
            return Ok(done
                .report(format!("{label} is changed"))
                .note(format!("it could not be read back: {why}")));
        }
    };
    // A server may trim what it stores.
    let is_noted = notes.is_none_or(|notes| notes.trim() == now.notes.trim());
    let is_protected = protected.is_none_or(|protected| protected == now.protected);
    if !is_noted || !is_protected {
        let lead = format!("{label}: the server took the change, but it reads as before");
        return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
    }
    let mut said = Vec::new();
    if notes.is_some() {
        said.push("its notes are set".to_owned());
    }
    match protected {
        Some(true) => said.push("it is protected".to_owned()),
        Some(false) => said.push("it is not protected any more".to_owned()),
        None => {}
    }
    Ok(done.report(format!("{label}: {}", said.join(", "))))
}
