//! `group_owner_change`: gives a backup group to another user or token of its server.

use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pbs_client::{access, groups};
use pve_client::storage;
use serde::Deserialize;
use serde_json::json;

use super::spot::{self, Asked, Spot, object};
use crate::{
    address::{Purpose, quoted},
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::backups::Place,
};

/// The tool.
pub struct GroupOwnerChange;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    guest: Option<String>,
    owner: String,
}

#[async_trait]
impl ActionTool for GroupOwnerChange {
    fn definition(&self) -> Definition {
        Definition {
            name: "group_owner_change",
            title: "Change a backup group's owner",
            description: "Only a group's owner adds backups to it; the plan names the storages that would be refused.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .text("namespace", "")
                .text("group", "such as vm/104")
                .text("guest", "instead of group: cluster/vmid")
                .text("owner", "user@realm or user@realm!token")
                .required("owner"),
            output: Output::new().fact("group", "string").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let asked = Asked {
            cluster: args.cluster.as_deref(),
            datastore: args.datastore.as_deref(),
            namespace: args.namespace.as_deref(),
        };
        let owner = args.owner.trim().to_owned();
        if !owner.contains('@') {
            return Err(ToolError::new(format!(
                "{} is no user of a backup server",
                quoted(&owner)
            ))
            .hint("write user@realm or user@realm!token"));
        }
        let spot = match (&args.guest, &args.group) {
            (Some(guest), None) => {
                let found = cx.fleet.find_guest(guest, Purpose::Write).await?;
                spot::of_guest(cx, &found, asked).await?
            }
            (None, Some(group)) => spot::group(cx, asked, group).await?,
            _ => return Err(ToolError::new("give one of group and guest")),
        };
        let label = spot.label();
        let before = read(&spot).await?;
        if before == owner {
            let report = Report::new(format!("{label} is {owner}'s already: nothing was done"));
            return Ok(Plan::already(report.fact("group", label).fact("status", "unchanged")));
        }
        let mut plan = Plan::new(format!("change of the owner of {label}"))
            .fact("group", label.as_str())
            .target(label.as_str(), [("owner", before.as_str())])
            .change("owner", before.as_str(), owner.as_str())
            .effect("the owner of every snapshot of the group; no other group");
        match known(&spot, &owner).await {
            Some(true) => {}
            Some(false) => {
                let server = &spot.place.server.key;
                return Err(ToolError::not_found(format!(
                    "{server} has no user or token {}",
                    quoted(&owner)
                )));
            }
            None => {
                plan = plan.note("whether the new owner exists is not seen: the server will say");
            }
        }
        for (entry, user) in writers(cx, &spot).await {
            // A user owns what its tokens own; a token nothing but its own.
            let fits = user == owner || owner.split('!').next() == Some(user.as_str());
            if !fits {
                plan = plan.warn(
                    "owner",
                    format!("backups by storage {entry} as {user} to this group would be refused"),
                );
            }
        }
        let path = spot.place.path();
        if let Some(text) =
            spot::lacks(cx, &spot.place.server, &path, &["Datastore.Modify", "Datastore.Backup"])
                .await
        {
            plan = plan.warn("privilege", text);
        }
        let mut undo = spot.args();
        undo["owner"] = json!(before);
        plan = plan.undo(Undo::Call("group_owner_change", object(undo)));
        let request = groups::change_owner(&spot.place.store, &spot.group, &owner);
        let step = Step::pbs(&spot.place.server, format!("owner of {label}"), request);
        Ok(plan.step(step).settle(move |_, done| async move {
            let now = read(&spot).await?;
            if now != owner {
                let lead = format!("{label}: the server took the change, but the owner is {now}");
                return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
            }
            Ok(done.report(format!("{label} is {owner}'s now")))
        }))
    }
}

async fn read(spot: &Spot) -> Result<String, ToolError> {
    let namespace = Some(spot.place.namespace.as_str()).filter(|name| !name.is_empty());
    let call = groups::list(&spot.place.store, namespace);
    let all = spot.place.server.client.call(call).await;
    let all =
        all.map_err(|error| ToolError::api(format!("read the owner of {}", spot.label()), &error))?;
    let mine = all.into_iter().find(|one| {
        one.backup_type == spot.group.backup_type && one.backup_id == spot.group.backup_id
    });
    mine.and_then(|one| one.owner).ok_or_else(|| {
        ToolError::not_found(format!("{} is not there, or its owner is not told", spot.label()))
    })
}

/// Whether the server has the user or token; `None` if the token may not see that.
async fn known(spot: &Spot, owner: &str) -> Option<bool> {
    let client = &spot.place.server.client;
    let user = owner.split('!').next().unwrap_or(owner);
    let users = client.call(access::users(false)).await.ok()?;
    if !users.iter().any(|one| one.id == user) {
        // Without the right to look, a list has only oneself.
        return if users.len() > 1 { Some(false) } else { None };
    }
    let Some((_, token)) = owner.split_once('!') else { return Some(true) };
    let tokens = client.call(access::tokens(user)).await.ok()?;
    Some(tokens.iter().any(|one| one.name.as_deref() == Some(token) || one.id == owner))
}

/// The storages of all clusters that write into the group's namespace, and as whom.
async fn writers(cx: &Cx, spot: &Spot) -> Vec<(String, String)> {
    let Ok(members) = cx.fleet.pve(None) else { return Vec::new() };
    let asked = members.into_iter().map(|member| async move {
        (member.client.call(storage::configs(Some("pbs"))).await, member)
    });
    let mut out = Vec::new();
    for (answer, member) in join_all(asked).await {
        for entry in answer.unwrap_or_default() {
            let is_there = entry.kind == "pbs"
                && Place::of(&cx.fleet, &entry).is_ok_and(|at| at.label() == spot.place.label());
            if let (true, Some(user)) = (is_there, entry.username) {
                out.push((format!("{}/{}", member.key, entry.storage), user));
            }
        }
    }
    out
}
