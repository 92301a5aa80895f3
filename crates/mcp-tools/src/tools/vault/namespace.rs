//! `namespace_change`: makes a namespace on a backup server, or removes one.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, DatastoreName};
use mcp_protocol::JsonObject;
use pbs_client::namespaces;
use serde::Deserialize;
use serde_json::{Value, json};

use super::spot::{self, Asked, object};
use crate::{
    address::quoted,
    error::ToolError,
    fleet::Pbs,
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
};

const NAME: &str = "namespace_change";

/// How deep namespaces go below the root.
const DEPTH: usize = 7;

/// Makes and removes namespaces.
pub struct NamespaceChange;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Create,
    Delete,
}

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: String,
    action: Action,
    #[serde(default)]
    with_backups: bool,
}

#[async_trait]
impl ActionTool for NamespaceChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Make or remove a backup namespace",
            description: "Creates a PBS namespace, or deletes one with those below it; with_backups: and all backups in them.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .text("namespace", "such as lab/prod")
                .required("namespace")
                .choice("action", &["create", "delete"], "")
                .required("action")
                .boolean("with_backups", ""),
            output: Output::new().fact("namespace", "string").fact("status", "string"),
            access: Access::Destroy,
            idempotent: true,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        match args.get("action").and_then(Value::as_str) {
            Some("create") => Access::Operate,
            _ => Access::Destroy,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let name = checked(&args.namespace)?;
        let asked = Asked {
            cluster: args.cluster.as_deref(),
            datastore: args.datastore.as_deref(),
            namespace: None,
        };
        let (server, store) = spot::datastore(cx, asked).await?;
        let known = spot::spaces(&server, &store).await?;
        let label = format!("{}:{store}/{name}", server.key);
        let is_there = known.contains(&name);
        let plan = match (args.action, is_there) {
            (Action::Create, true) => {
                let report = Report::new(format!("{label} is there already: nothing was done"));
                let report = report.fact("namespace", label).fact("status", "unchanged");
                return Ok(Plan::already(report));
            }
            (Action::Delete, false) => {
                let report = Report::new(format!("{label} is not there: nothing was done"));
                let report = report.fact("namespace", label).fact("status", "unchanged");
                return Ok(Plan::already(report));
            }
            (Action::Create, false) => creation(&server, &store, &name, &known, &label)?,
            (Action::Delete, true) => {
                deletion(&server, &store, &name, &known, &args, &label).await?
            }
        };
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let path = format!("/datastore/{store}/{parent}");
        let path = path.trim_end_matches('/');
        let plan = match spot::lacks(cx, &server, path, &["Datastore.Modify"]).await {
            Some(text) => plan.warn("privilege", text),
            None => plan,
        };
        let wanted = args.action == Action::Create;
        Ok(plan.settle(move |_, done| async move {
            let is_there = spot::spaces(&server, &store).await?.contains(&name);
            if is_there != wanted {
                let state = if is_there { "is still there" } else { "is not there" };
                let lead = format!("{label}: the server took the call, but the namespace {state}");
                return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
            }
            let what = if wanted { "is made" } else { "is gone" };
            Ok(done.report(format!("{label} {what}")))
        }))
    }
}

fn creation(
    server: &Arc<Pbs>,
    store: &DatastoreName,
    name: &str,
    known: &[String],
    label: &str,
) -> Result<Plan, ToolError> {
    let (parent, last) = name.rsplit_once('/').map_or((None, name), |(up, last)| (Some(up), last));
    if let Some(parent) = parent.filter(|parent| !known.iter().any(|name| name == parent)) {
        let next = json!({"cluster": server.key.as_str(), "datastore": store.as_str(),
            "namespace": parent, "action": "create"});
        return Err(ToolError::not_found(format!(
            "{label} was not made: there is no namespace {} to make it in",
            quoted(parent)
        ))
        .next(NAME, object(next)));
    }
    let undo = json!({"cluster": server.key.as_str(), "datastore": store.as_str(),
        "namespace": name, "action": "delete"});
    let request = namespaces::create(store, parent, last);
    Ok(Plan::new(format!("creation of {label}"))
        .fact("namespace", label)
        .effect("a storage of PVE uses it once its entry names it")
        .undo(Undo::Call(NAME, object(undo)))
        .step(Step::pbs(server, format!("creation of {label}"), request)))
}

async fn deletion(
    server: &Arc<Pbs>,
    store: &DatastoreName,
    name: &str,
    known: &[String],
    args: &Args,
    label: &str,
) -> Result<Plan, ToolError> {
    let below: Vec<&String> = known.iter().filter(|other| is_within(other, name)).collect();
    let (mut groups, mut snapshots, mut protected) = (0_usize, 0_usize, 0_usize);
    for namespace in &below {
        let (found, unread) = spot::walk(server, store, Some(namespace)).await?;
        if let Some(unread) = unread.first() {
            return Err(ToolError::new(format!(
                "{label} was not deleted: what is in it is not known: {unread}"
            )));
        }
        let mut names: Vec<_> =
            found.iter().map(|(_, one)| (one.backup_type.clone(), one.backup_id.clone())).collect();
        names.sort();
        names.dedup();
        groups += names.len();
        snapshots += found.len();
        protected += found.iter().filter(|(_, one)| one.protected).count();
    }
    if protected > 0 {
        return Err(ToolError::new(format!(
            "{label} was not deleted: {} in it are protected",
            counted(protected, "backup")
        ))
        .hint("take their protection away first (backup_annotate), or leave the namespace"));
    }
    if snapshots > 0 && !args.with_backups {
        return Err(ToolError::new(format!(
            "{label} was not deleted: it holds {} of {}",
            counted(snapshots, "backup"),
            counted(groups, "group")
        ))
        .hint("with_backups removes them too; backup_snapshots lists them"));
    }
    // Without it the server removes what is empty only: a backup that comes meanwhile stays.
    let request = namespaces::delete(store, name, args.with_backups);
    let mut plan = Plan::new(format!("deletion of {label}")).fact("namespace", label).target(
        label,
        [("backups", snapshots.to_string()), ("namespaces", below.len().to_string())],
    );
    if below.len() > 1 {
        plan = plan.effect(format!("{} below it go too", counted(below.len() - 1, "namespace")));
    }
    plan = if snapshots > 0 {
        let (backups, of) = (counted(snapshots, "backup"), counted(groups, "group"));
        plan.warn("backups", format!("{backups} of {of} are removed for good")).undo(Undo::Never(
            "removed backups are gone; only a copy elsewhere still has them".to_owned(),
        ))
    } else {
        let undo = json!({"cluster": server.key.as_str(), "datastore": store.as_str(),
            "namespace": name, "action": "create"});
        plan.undo(Undo::Call(NAME, object(undo)))
    };
    Ok(plan.step(Step::pbs(server, format!("deletion of {label}"), request)))
}

/// A namespace's name as the servers take it.
fn checked(text: &str) -> Result<String, ToolError> {
    let name = text.trim().trim_matches('/');
    let is_level = |level: &str| {
        level.len() <= 32
            && level.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && level.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    if name.is_empty() {
        return Err(ToolError::new("the root is always there: give a namespace below it"));
    }
    if name.split('/').count() > DEPTH || !name.split('/').all(is_level) {
        return Err(ToolError::new(format!("{} is no name of a namespace", quoted(text))).hint(
            "at most seven levels, separated by /, each of at most 32 letters, digits, _, - and .",
        ));
    }
    Ok(name.to_owned())
}

fn is_within(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_they_are_sent() {
        for (given, name) in [("lab", "lab"), ("/lab/prod-1/", "lab/prod-1"), ("a.b/_c", "a.b/_c")]
        {
            assert_eq!(checked(given).unwrap(), name);
        }
        for wrong in ["", "/", "a//b", "a b", "../x", "-a", "a/b/c/d/e/f/g/h", &"x".repeat(33)] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
        assert!(is_within("lab/a", "lab") && is_within("lab", "lab") && !is_within("lab2", "lab"));
    }
}
