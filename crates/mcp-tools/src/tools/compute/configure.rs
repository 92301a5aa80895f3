//! `guest_configure`: changes options of a guest, shows before and after, and says what waits.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use api_core::schema::Problem;
use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::guest::{PendingValue, Properties};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    clone::volume_words,
    cloudinit::{Given, Identity},
    place::{check_name, tags},
    subject::{self, Subject, plain, shown},
};
use crate::{
    error::ToolError,
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    redaction::is_secret_field,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{
        api::Place,
        power::{named, object},
    },
    view::Guest,
};

/// Parameters of the call that are no options.
const CONTROLS: &[&str] = &[
    "digest",
    "delete",
    "revert",
    "force",
    "skiplock",
    "background_delay",
    "import-working-storage",
];

/// Options under which volumes stand, without their numbers.
const VOLUMES: &[&str] =
    &["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "unused", "rootfs", "mp"];

/// Options that cloud-init reads, without their numbers.
const CLOUD_INIT: &[&str] = &[
    "ciuser",
    "cipassword",
    "citype",
    "cicustom",
    "ciupgrade",
    "sshkeys",
    "ipconfig",
    "nameserver",
    "searchdomain",
];

/// Options by which the node itself runs something of the caller's.
const RUNS: &[&str] = &["hookscript", "args"];

/// The most changes that the first sentence names.
const NAMED: usize = 6;

/// Changes options.
pub(super) struct GuestConfigure;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    delete: Vec<String>,
    #[serde(default)]
    revert: Vec<String>,
    digest: Option<String>,
}

/// What is wanted, without what is so already.
#[derive(Default)]
struct Wanted {
    set: Map<String, Value>,
    delete: Vec<String>,
    revert: Vec<String>,
    notes: Vec<String>,
}

/// An option as it was and as it is wanted.
#[derive(Clone)]
struct Change {
    key: String,
    /// As it is in force.
    before: Option<String>,
    /// `None` where it goes.
    after: Option<String>,
}

#[async_trait]
impl ActionTool for GuestConfigure {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_configure",
            title: "Change a guest's options",
            description: "Sets and deletes options of a VM or container by Proxmox' names (cores, \
                memory in MiB, name or hostname, tags, onboot, net0, ipconfig0, …); tells before, \
                after, and what waits for a stop and start.",
            input: Input::new()
                .guest()
                .object("set", "{option: value}")
                .texts("delete", "options; unusedN destroys the disk")
                .texts("revert", "options whose waiting change is dropped")
                .text("digest", "refuse if the configuration is another"),
            output: Output::new()
                .fact("guest", "string")
                .fact("status", "string")
                .fact("changed", "integer")
                .fact("pending", "integer")
                .fact("digest", "string")
                .fact("upid", "string")
                .fact("cause", "string")
                .table("changes"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    /// Taking a volume away may lose it; all else can be set again.
    fn access(&self, args: &JsonObject) -> Access {
        let delete = args.get("delete").and_then(Value::as_array).into_iter().flatten();
        let takes_volume =
            delete.filter_map(Value::as_str).flat_map(keys_in).any(|key| is_one_of(&key, VOLUMES));
        let set = args.get("set").and_then(Value::as_object);
        let runs = set.is_some_and(|set| RUNS.iter().any(|key| set.contains_key(*key)));
        if takes_volume || runs { Access::Destroy } else { Access::Operate }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        if args.set.is_empty() && args.delete.is_empty() && args.revert.is_empty() {
            return Err(ToolError::new("nothing to change: give set, delete or revert"));
        }
        let subject = Subject::read(cx, &args.guest).await?;
        let what = format!("configuration of {}", subject.name());
        subject.parts.is_free(&subject.guest, "configuration")?;
        let now = &subject.parts.digest;
        if args.digest.as_deref().is_some_and(|digest| digest != now) {
            return Err(subject
                .refused(&what, "somebody changed it since it was read")
                .map(|report| report.fact("error", "conflict").fact("digest", now.as_str()))
                .hint("read it again, and decide anew")
                .next("guest_get", {
                    object(json!({"guest": subject.guest.at.to_string(), "include": ["config"]}))
                }));
        }
        let rows = subject.options().await?;
        let wanted = Wanted::of(&subject, &what, args, &rows)?;
        if wanted.is_empty() {
            let lead = format!("{} is configured so already: nothing was done", subject.name());
            let mut plan = subject.already(lead);
            plan.notes.extend(wanted.notes);
            return Ok(plan);
        }
        planned(cx, subject, &what, wanted, &rows).await
    }
}

/// Names in one text: some callers write them with commas, as the API does.
fn keys_in(text: &str) -> impl Iterator<Item = String> {
    text.split([',', ';', ' ']).filter(|key| !key.is_empty()).map(str::to_owned)
}

/// Whether an option is one of these, its number aside.
fn is_one_of(key: &str, stems: &[&str]) -> bool {
    stems.contains(&key.trim_end_matches(|c: char| c.is_ascii_digit()))
}

// === impl Wanted ===

impl Wanted {
    /// Checks what can be checked without the schema, and leaves out what is so already.
    fn of(
        subject: &Subject,
        what: &str,
        args: Args,
        rows: &[PendingValue],
    ) -> Result<Self, ToolError> {
        let kind = subject.guest.kind;
        let mut wanted = Self::default();
        let delete: Vec<String> = args.delete.iter().flat_map(|text| keys_in(text)).collect();
        let revert: Vec<String> = args.revert.iter().flat_map(|text| keys_in(text)).collect();
        for key in args.set.keys().chain(&delete).chain(&revert) {
            if let Some((why, hint)) = not_here(key) {
                return Err(subject.refused(what, why).hint(hint));
            }
        }
        if let Some(both) = delete.iter().find(|key| args.set.contains_key(*key)) {
            return Err(subject.refused(what, format!("{both} is both set and deleted")));
        }
        let row = |key: &str| rows.iter().find(|row| row.key == key);
        for (key, value) in args.set {
            let value = normal(&key, value, kind)?;
            // What waits is what it would be without this call.
            let now = row(&key).filter(|row| row.delete.is_none_or(|how| how == 0));
            let now = now.and_then(|row| row.pending.as_ref().or(row.value.as_ref())).map(plain);
            if now.as_deref() == Some(&*plain(&value)) && !is_secret_field(&key) {
                wanted.notes.push(format!("{key} is so already"));
            } else {
                wanted.set.insert(key, value);
            }
        }
        for key in delete {
            match row(&key) {
                Some(row) if row.delete.is_none_or(|how| how == 0) => wanted.delete.push(key),
                Some(_) => wanted.notes.push(format!("{key} goes already")),
                None => wanted.notes.push(format!("{key} is not set")),
            }
        }
        for key in revert {
            match row(&key) {
                Some(row) if waits(row) => wanted.revert.push(key),
                _ => wanted.notes.push(format!("no change of {key} waits")),
            }
        }
        Ok(wanted)
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty() && self.revert.is_empty()
    }

    /// The parameters of the call.
    fn params(&self, digest: &str) -> Map<String, Value> {
        let mut params = self.set.clone();
        for (name, keys) in [("delete", &self.delete), ("revert", &self.revert)] {
            if !keys.is_empty() {
                params.insert(name.to_owned(), keys.join(",").into());
            }
        }
        if !digest.is_empty() {
            params.insert("digest".to_owned(), digest.into());
        }
        params
    }

    fn changes(&self, rows: &[PendingValue]) -> Vec<Change> {
        let row = |key: &str| rows.iter().find(|row| row.key == key);
        let in_force = |key: &str| row(key).and_then(|row| row.value.as_ref()).map(plain);
        let set = self.set.iter().map(|(key, value)| Change {
            key: key.clone(),
            before: in_force(key),
            after: Some(plain(value)),
        });
        let delete = self.delete.iter().map(|key| Change {
            key: key.clone(),
            before: in_force(key).or_else(|| row(key)?.pending.as_ref().map(plain)),
            after: None,
        });
        // What is dropped is the change; the option stays what it is.
        let revert = self.revert.iter().map(|key| {
            let waiting = row(key).and_then(|row| row.pending.as_ref()).map(plain);
            Change {
                key: key.clone(),
                before: waiting.or_else(|| Some("(goes)".to_owned())),
                after: in_force(key),
            }
        });
        set.chain(delete).chain(revert).collect()
    }
}

fn waits(row: &PendingValue) -> bool {
    row.pending.is_some() || row.delete.is_some_and(|how| how > 0)
}

/// Why a name is no option of this tool, and what to do instead.
fn not_here(key: &str) -> Option<(String, &'static str)> {
    let said = |why: &str| format!("{key} {why}");
    if CONTROLS.contains(&key) {
        return Some((said("is no option"), "give options of the guest only"));
    }
    match key {
        "template" => Some((said("is not set by hand"), "guest_template turns a guest into one")),
        "lock" => Some((
            said("is set and taken away by whatever works on the guest"),
            "look at its running tasks; a lock that is left over is removed on the node: qm unlock, pct unlock",
        )),
        _ => None,
    }
}

/// The value as PVE takes it.
fn normal(key: &str, value: Value, kind: GuestKind) -> Result<Value, ToolError> {
    let value = match value {
        Value::Array(words) => {
            let separator = if key == "tags" { ";" } else { "," };
            Value::String(words.iter().map(plain).collect::<Vec<_>>().join(separator))
        }
        Value::Null => {
            return Err(ToolError::new(format!("{key} has no value"))
                .hint("name it in delete to take it away"));
        }
        other => other,
    };
    Ok(match (key, value.as_str()) {
        ("name" | "hostname", Some(name)) => {
            check_name(name)?;
            value
        }
        ("tags", Some(text)) => Value::String(tags(Some(text))?.unwrap_or_default()),
        // PVE wants the keys of machines escaped, and takes nothing else.
        ("sshkeys", Some(text))
            if kind == GuestKind::Qemu && text.contains(char::is_whitespace) =>
        {
            let given = Given { ssh_keys: Some(text), ..Given::default() };
            Identity::check(given)?.escaped_keys().map_or(value, Value::String)
        }
        _ => value,
    })
}

async fn planned(
    cx: &Cx,
    subject: Subject,
    what: &str,
    wanted: Wanted,
    rows: &[PendingValue],
) -> Result<Plan, ToolError> {
    let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
    let params = wanted.params(&subject.parts.digest);
    // A disk that is made takes longer than a call may last; machines have a task for it.
    let makes_disk = wanted.set.keys().any(|key| is_one_of(key, VOLUMES));
    let method = if makes_disk && guest.kind == GuestKind::Qemu { "POST" } else { "PUT" };
    let path = format!("/nodes/{}/{}/{}/config", guest.node, guest.kind.as_str(), guest.at.vmid);
    let book = cx.fleet.library().of(&Place::Pve(Arc::clone(&member)), cx.now()).await;
    let checked = book
        .schema
        .check(method, &path, &params)
        .map_err(|problems| wrong(&subject, what, &problems))?;
    let step = Step::pve(&member, what, checked.request.clone())
        .task(&["qmconfig"], guest.at.vmid.to_string());
    let changes = wanted.changes(rows);
    let mut plan = subject.plan(what).step(step).undo(undo(&guest, &wanted, rows));
    for change in &changes {
        let side = |value: &Option<String>| value.as_deref().map_or("-".to_owned(), shown);
        plan = plan.change(change.key.as_str(), side(&change.before), side(&change.after));
    }
    plan = tell(plan, &subject, &wanted, &changes);
    plan.notes.extend(wanted.notes.iter().cloned());
    plan.notes.extend(book.note());
    let reverts = wanted.revert.clone();
    Ok(plan.settle(move |_, done| settle(member, guest, changes, reverts, done)))
}

fn wrong(subject: &Subject, what: &str, problems: &[Problem]) -> ToolError {
    let mut said = problems.iter().map(ToString::to_string);
    let first = said.next().unwrap_or_default();
    let path = format!("/nodes/{{node}}/{}/{{vmid}}/config", subject.guest.kind.as_str());
    let describe =
        json!({"path": path, "method": "PUT", "cluster": subject.guest.at.cluster.as_str()});
    let mut error = subject.refused(what, first).next("api_describe", object(describe));
    for more in said.take(NAMED) {
        error = error.hint(more);
    }
    error
}

/// What there is to know before.
fn tell(mut plan: Plan, subject: &Subject, wanted: &Wanted, changes: &[Change]) -> Plan {
    let is_machine = subject.guest.kind == GuestKind::Qemu;
    let running = subject.state.status.is_on();
    for key in &wanted.delete {
        let volume = subject.parts.volumes.iter().find(|volume| volume.key == *key);
        let Some(volume) = volume else { continue };
        let words = volume_words(volume);
        plan = if key.starts_with("unused") {
            plan.warn("disk_destroyed", format!("{words} is destroyed, for good"))
        } else if volume.is_medium {
            plan.effect(format!("the drive {key} goes; what is in it stays where it is kept"))
        } else {
            plan.warn(
                "disk_detached",
                format!("{words} is taken from the guest, and stays as an unused disk"),
            )
        };
    }
    for change in changes {
        let (Some(before), Some(after)) = (&change.before, &change.after) else { continue };
        let (old, new) = (Properties::parse(before), Properties::parse(after));
        if is_one_of(&change.key, &["net"]) {
            let mac = |text: &str| {
                text.split([',', '='])
                    .find(|part| part.len() == 17 && part.matches(':').count() == 5)
                    .map(str::to_owned)
            };
            if let (Some(mac), None) = (mac(before), mac(after)) {
                plan = plan.warn(
                    "mac",
                    format!(
                        "{} gets a new MAC address: name {mac} in the value to keep it",
                        change.key
                    ),
                );
            }
        }
        if is_one_of(&change.key, VOLUMES)
            && !wanted.revert.contains(&change.key)
            && old.get("media") != Some("cdrom")
            && old.head != new.head
        {
            plan = plan.warn(
                "disk_replaced",
                format!("the volume that {} has now is taken from the guest, and stays as an unused disk", change.key),
            );
        }
    }
    let off = |key: &str| {
        wanted.delete.iter().any(|gone| gone == key)
            || wanted.set.get(key).is_some_and(|value| plain(value) == "0")
    };
    if off("protection") && subject.parts.protection {
        plan = plan.warn("protection", "the guest and its disks can be deleted then");
    }
    let all = || wanted.set.keys().chain(&wanted.delete);
    if is_machine && all().any(|key| is_one_of(key, CLOUD_INIT)) {
        plan = plan.note("cloud-init: the guest is told when it is stopped and started, not when it restarts itself; users and keys are mostly made at the first start only");
    }
    if is_machine && wanted.set.contains_key("cicustom") {
        plan = plan.warn("snippets", "the API takes no snippets: a file that cicustom names must be put into snippets/ of its storage on the node itself, and be there on every node that the guest may start on; without it the guest does not start");
    }
    if running {
        plan = plan.effect(
            "what a running guest does not take at once waits until it is stopped and started",
        );
    }
    plan
}

/// The call that sets it back; secrets and volumes are not in one.
fn undo(guest: &Guest, wanted: &Wanted, rows: &[PendingValue]) -> Undo {
    let by_hand =
        |why: &str| Undo::By(format!("guest_configure with what was there before; {why}"));
    let touched = || wanted.set.keys().chain(&wanted.delete);
    if touched().any(|key| is_one_of(key, VOLUMES)) {
        return by_hand(
            "a disk that was taken away is set again by its volume, one that was destroyed is gone",
        );
    }
    if touched().any(|key| is_secret_field(key)) {
        return by_hand("a secret that was there is not known");
    }
    if !wanted.revert.is_empty() {
        return by_hand("a waiting change that was dropped is set again");
    }
    let (mut set, mut delete) = (Map::new(), Vec::new());
    for key in touched() {
        match rows.iter().find(|row| row.key == *key).and_then(|row| row.value.clone()) {
            Some(value) => {
                set.insert(key.clone(), value);
            }
            None => delete.push(key.clone()),
        }
    }
    let mut args = json!({"guest": guest.at.to_string()});
    if !set.is_empty() {
        args["set"] = Value::Object(set);
    }
    if !delete.is_empty() {
        args["delete"] = json!(delete);
    }
    Undo::Call("guest_configure", object(args))
}

/// What is in force, what waits, and what was not taken.
async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    changes: Vec<Change>,
    reverts: Vec<String>,
    done: Done,
) -> Result<Report, ToolError> {
    let name = named(&guest);
    let rows = match subject::options(&member, &guest).await {
        Ok(rows) => rows,
        Err(error) => {
            return Ok(done
                .report(format!("{name}: the change was taken"))
                .note(format!("it could not be read back: {}", stdx::Chain(&error))));
        }
    };
    let rows: BTreeMap<&str, &PendingValue> =
        rows.iter().map(|row| (row.key.as_str(), row)).collect();
    let mut table = Table::new("changes", &["what", "state", "before", "after"]);
    let (mut waiting, mut ignored) = (0_usize, Vec::new());
    let mut words = Vec::new();
    for change in &changes {
        let row = rows.get(change.key.as_str()).copied();
        let now = row.and_then(|row| row.value.as_ref()).map(plain);
        let state = if row.is_some_and(waits) {
            waiting += 1;
            "pending"
        } else if now == change.before
            && change.before != change.after
            && !is_secret_field(&change.key)
            && !reverts.contains(&change.key)
        {
            ignored.push(change.key.clone());
            "unchanged"
        } else {
            "now"
        };
        let hide = |value: Option<&str>| match value {
            Some(_) if is_secret_field(&change.key) => "(secret)".to_owned(),
            Some(value) => shown(value),
            None => "-".to_owned(),
        };
        let waits = row.and_then(|row| row.pending.as_ref()).map(plain);
        let after = match (&change.after, state) {
            (None, _) => None,
            (_, "pending") => waits.or_else(|| change.after.clone()),
            _ => now,
        };
        let (before, after) = (hide(change.before.as_deref()), hide(after.as_deref()));
        let short = before.len() + after.len() <= 40;
        words.push(if short {
            format!("{} {before} -> {after}", change.key)
        } else {
            change.key.clone()
        });
        table.push(vec![
            Cell::text(&change.key),
            Cell::text(state),
            Cell::text(before),
            Cell::text(after),
        ]);
    }
    if !ignored.is_empty() {
        let lead = format!(
            "{name}: {} did not change, although the server took the call",
            ignored.join(", ")
        );
        return Err(ToolError::from_report(
            done.report(lead).fact("status", "failed").table(table),
        ));
    }
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let mut lead = format!("{name} is changed: {}", words.join("; "));
    if more > 0 {
        let _ = write!(lead, " and {more} more");
    }
    if waiting > 0 {
        let count = changes.len();
        lead.push_str("; ");
        if count > 1 {
            let _ = write!(
                lead,
                "{waiting} of {count} take effect when the guest is stopped and started"
            );
        } else {
            lead.push_str("it takes effect when the guest is stopped and started");
        }
    }
    let mut report =
        done.report(lead).fact("changed", changes.len()).fact("pending", waiting).table(table);
    if waiting > 0 {
        report =
            report.next("guest_power", json!({"guest": guest.at.to_string(), "action": "reboot"}));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_a_volume_away_may_lose_something() {
        let access = |args: Value| ActionTool::access(&GuestConfigure, args.as_object().unwrap());
        assert_eq!(
            access(json!({"set": {"cores": 2}, "delete": ["tags", "net1"]})),
            Access::Operate
        );
        assert_eq!(access(json!({"delete": ["unused0"]})), Access::Destroy);
        assert_eq!(access(json!({"delete": ["tags,scsi1"]})), Access::Destroy);
        assert_eq!(access(json!({"set": {"hookscript": "nas:snippets/x.sh"}})), Access::Destroy);
        assert_eq!(access(json!({"delete": ["mp0"]})), Access::Destroy);
        assert_eq!(access(json!({"delete": ["scsihw", "mp"]})), Access::Destroy);
    }

    #[test]
    fn values_are_written_as_pve_takes_them() {
        let kind = GuestKind::Qemu;
        assert_eq!(normal("tags", json!(["Web", "prod"]), kind).unwrap(), json!("web;prod"));
        assert_eq!(
            normal("sshkeys", json!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT a"), kind)
                .unwrap(),
            json!("ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT%20a")
        );
        assert!(normal("name", json!("a b"), kind).is_err());
        assert!(normal("cores", Value::Null, kind).is_err());
        assert_eq!(plain(&json!(true)), "1");
    }
}
