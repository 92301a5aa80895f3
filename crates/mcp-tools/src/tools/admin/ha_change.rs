//! `ha_change`: lets HA manage a guest, or no longer; what it shall be, and by which rule or group.

use std::{sync::Arc, time::Duration};

use api_core::{Request, path};
use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::ha::{self, HaResource, HaResourceParams, HaRowKind, HaRuleParams, HaWish};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    act::{given, object, watch},
    ask::few,
    ha::{Placement, Placements, placements, sid_of},
};
use crate::{
    address::{FoundGuest, Purpose},
    error::ToolError,
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::named,
    view::View,
};

const NAME: &str = "ha_change";

/// How long HA has to bring a guest into the wished state.
const PATIENCE: Duration = Duration::from_mins(10);

/// Changes high availability of a guest.
pub struct HaChange;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Action {
    Add,
    Remove,
    Set,
    Assign,
    Unassign,
}

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    action: Action,
    state: Option<String>,
    rule: Option<String>,
    max_restart: Option<u32>,
    max_relocate: Option<u32>,
    comment: Option<String>,
}

/// What the action is about.
struct Scene {
    found: FoundGuest,
    name: String,
    sid: String,
    resource: Option<HaResource>,
    placements: Placements,
}

#[async_trait]
impl ActionTool for HaChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Change high availability",
            description: "Puts a guest under HA (add), takes it out (remove), sets its wished state and limits (set), or puts it under a rule or group (assign, unassign).",
            input: Input::new()
                .guest()
                .choice("action", &["add", "remove", "set", "assign", "unassign"], "")
                .required("action")
                .choice("state", &["started", "stopped", "disabled", "ignored"], "")
                .text("rule", "rule, or group before PVE 9")
                .integer("max_restart", 0..=100, "")
                .integer("max_relocate", 0..=100, "")
                .text("comment", ""),
            output: Output::new()
                .fact("guest", "string")
                .fact("action", "string")
                .fact("state", "string")
                .fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let notes = found.notes.clone();
        let name = named(&found.guest);
        if found.guest.is_template() {
            return Err(ToolError::new(format!("{name} is a template: HA manages what runs")));
        }
        let member = Arc::clone(&found.member);
        let (resources, rules) =
            futures::join!(member.client.call(ha::resources()), placements(&member));
        let failed = |error: &api_core::Error| {
            ToolError::api(format!("read what HA manages on {}", member.key), error)
        };
        let sid = sid_of(&found.guest);
        let scene = Scene {
            resource: resources
                .map_err(|error| failed(&error))?
                .into_iter()
                .find(|it| it.sid == sid),
            placements: rules.map_err(|error| failed(&error))?,
            name,
            sid,
            found,
        };
        if args.action != Action::Add && scene.resource.is_none() {
            let lead = format!("HA does not manage {}", scene.name);
            if args.action == Action::Remove {
                let report = Report::new(format!("{lead}: nothing was done"));
                return Ok(Plan::already(report.fact("status", "unchanged")));
            }
            return Err(ToolError::new(lead).hint("put it under HA first: action add"));
        }
        let local = match args.action {
            Action::Add => local_disks(&scene).await,
            _ => Vec::new(),
        };
        let mut plan = match args.action {
            Action::Add => Ok(add(&scene, &args)),
            Action::Remove => Ok(remove(&scene)),
            Action::Set => set(&scene, &args),
            Action::Assign => assign(&scene, given(args.rule.as_ref())),
            Action::Unassign => unassign(&scene, given(args.rule.as_ref())),
        }?;
        if !plan.is_nothing() {
            plan = plan.fact("guest", scene.found.guest.at.to_string());
            if !local.is_empty() {
                let text = format!(
                    "disks on storages of this node only ({}): another node cannot start it, unless they are replicated there",
                    few(&local)
                );
                plan = plan.warn("local_disks", text);
            }
        }
        plan.notes.extend(notes);
        Ok(plan)
    }
}

/// The guest's disks that no other node sees.
async fn local_disks(scene: &Scene) -> Vec<String> {
    let guest = &scene.found.guest;
    let kind = match guest.kind {
        GuestKind::Qemu => "qemu",
        GuestKind::Lxc => "lxc",
    };
    let path = path!["nodes", &guest.node, kind, guest.at.vmid, "config"];
    let config: Request<Value> = Request::get(path).on(&guest.node);
    let (config, view) =
        futures::join!(scene.member().client.call(config), View::load(Arc::clone(scene.member())));
    let (Ok(Value::Object(config)), Ok(view)) = (config, view) else { return Vec::new() };
    let is_shared = |storage: &str| {
        view.storages.iter().find(|it| it.name == *storage).is_none_or(|it| it.shared)
    };
    let disks = ["scsi", "virtio", "ide", "sata", "efidisk", "tpmstate", "rootfs", "mp"];
    let local = config.iter().filter_map(|(key, value)| {
        let bare = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let text = value.as_str().filter(|text| !text.contains("media=cdrom"))?;
        let (storage, _) = text.split(',').next()?.split_once(':')?;
        (disks.contains(&bare) && !is_shared(storage)).then(|| format!("{key} on {storage}"))
    });
    local.collect()
}

// === impl Scene ===

impl Scene {
    fn at(&self) -> String {
        self.found.guest.at.to_string()
    }

    /// A plan on this guest, bound to how HA has it now.
    fn plan(&self, what: String, word: &'static str) -> Plan {
        let before = match &self.resource {
            None => "not managed".to_owned(),
            Some(resource) => {
                let state = resource.state.as_ref().map_or("started", HaWish::as_str);
                format!("managed, {state}")
            }
        };
        let status = self.found.guest.status.as_str().to_owned();
        Plan::new(what).fact("action", word).target(self.at(), [("ha", before), ("status", status)])
    }

    fn member(&self) -> &Arc<Pve> {
        &self.found.member
    }

    /// Says what the wish does to the guest as it is, and waits for it.
    fn wished(&self, plan: Plan, wished: &str) -> Plan {
        let is_on = self.found.guest.status.is_on();
        let name = &self.name;
        let plan = match (wished, is_on) {
            ("started", false) => plan.effect(format!("HA starts {name}")),
            ("stopped" | "disabled", true) => plan.warn("stops", format!("HA shuts {name} down")),
            ("ignored", _) => plan.effect("HA leaves it alone, as if it were not managed"),
            _ => plan,
        };
        plan.step(self.watch(wished.to_owned()))
    }

    /// Waits until HA has the guest as it is wished, or gives up on it.
    fn watch(&self, wished: String) -> Step {
        let (member, sid, name) = (Arc::clone(self.member()), self.sid.clone(), self.name.clone());
        let late = format!("HA has not brought {name} to {wished} within ten minutes");
        watch(format!("{name} to be {wished}"), PATIENCE, late, move |running| {
            let (member, sid, wished, name) =
                (Arc::clone(&member), sid.clone(), wished.clone(), name.clone());
            async move {
                let Ok(rows) = member.client.call(ha::current()).await else { return Ok(None) };
                let row = rows.into_iter().find(|row| {
                    row.kind == HaRowKind::Service && row.sid.as_deref() == Some(sid.as_str())
                });
                let Some(row) = row else { return Ok(None) };
                let state = row.state.or(row.crm_state).unwrap_or_default();
                running.tell(format!("HA has {name} in state {state}"));
                let is_settled = match wished.as_str() {
                    "started" => state == "started",
                    "stopped" | "disabled" => matches!(state.as_str(), "stopped" | "disabled"),
                    _ => true,
                };
                if is_settled {
                    return Ok(Some(state));
                }
                if state != "error" {
                    return Ok(None);
                }
                let report = Report::new(format!("HA could not bring {name} to {wished}: it is in error"))
                    .fact("status", "failed")
                    .fact("state", "error")
                    .note("find the cause in its tasks; then set it to disabled, repair it, and set it to started")
                    .next("tasks_list", json!({"cluster": member.key.as_str(), "state": "failed"}));
                Err(ToolError::from_report(report))
            }
        })
    }

    /// The rule or group that is meant.
    fn placement(&self, given: Option<&str>) -> Result<&Placement, ToolError> {
        let kind = if self.placements.is_rules { "rule" } else { "group" };
        let found = given.and_then(|name| {
            let bare = name.rsplit('/').next().unwrap_or(name);
            self.placements.all.iter().find(|it| it.name == bare)
        });
        found.ok_or_else(|| {
            let mut table = Table::new("rules", &["rule", "type", "guests", "nodes"]);
            for it in &self.placements.all {
                table.push(vec![
                    Cell::text(&*it.name),
                    Cell::text(&*it.kind),
                    Cell::words(&it.resources),
                    Cell::words(&it.nodes),
                ]);
            }
            let lead = match given {
                Some(name) => {
                    let shown = stdx::untrusted::line(name, 60);
                    format!("{} has no HA {kind} `{shown}`", self.member().key)
                }
                None => format!("no HA {kind} is named: give rule"),
            };
            ToolError::not_found(lead).choices(table)
        })
    }

    fn undo(&self, args: Value) -> Undo {
        let mut call = object(args);
        call.insert("guest".to_owned(), self.at().into());
        Undo::Call(NAME, call)
    }
}

fn add(scene: &Scene, args: &Args) -> Plan {
    if scene.resource.is_some() {
        let lead = format!("HA manages {} already: nothing was done", scene.name);
        return Plan::already(Report::new(lead).fact("status", "unchanged"));
    }
    // As it is, unless it is said otherwise: nothing starts or stops by surprise.
    let is = if scene.found.guest.status.is_on() { "started" } else { "stopped" };
    let wished = given(args.state.as_ref()).unwrap_or(is);
    let options = HaResourceParams {
        state: Some(HaWish::from(wished)),
        comment: args.comment.clone(),
        max_restart: args.max_restart,
        max_relocate: args.max_relocate,
        group: None,
        ..HaResourceParams::default()
    };
    let what = format!("management of {} by HA", scene.name);
    let step = Step::pve(scene.member(), what.as_str(), ha::add_resource(&scene.sid, options));
    let plan = scene
        .plan(what, "add")
        .change("ha", "not managed", wished)
        .effect("if its node is lost, it is started on another one")
        .undo(scene.undo(json!({"action": "remove"})))
        .step(step);
    settled(scene.wished(plan, wished), scene)
}

fn remove(scene: &Scene) -> Plan {
    let before = scene.resource.as_ref().and_then(|it| it.state.as_ref());
    let before = before.map_or("started", HaWish::as_str);
    let what = format!("removal of {} from HA", scene.name);
    let step = Step::pve(scene.member(), what.as_str(), ha::remove_resource(&scene.sid));
    let mut plan = scene
        .plan(what, "remove")
        .change("ha", before, "not managed")
        .effect("the guest stays as it is; if its node is lost, it is lost with it")
        .undo(scene.undo(json!({"action": "add", "state": before})))
        .step(step);
    let mut rules = Vec::new();
    for rule in scene.placements.all.iter().filter(|it| it.resources.contains(&scene.sid)) {
        plan = plan.effect(match rule.resources.len() {
            1 => format!("rule {} is deleted: it is about this guest only", rule.name),
            _ => format!("it is taken out of rule {}", rule.name),
        });
        rules.push(match rule.resources.len() {
            1 => format!("make rule {} again (nodes {})", rule.name, rule.nodes.join(",")),
            _ => format!("ha_change action assign rule {}", rule.name),
        });
    }
    if !rules.is_empty() {
        let again = format!("ha_change action add state {before}, then {}", rules.join(", "));
        plan = plan.undo(Undo::By(again));
    }
    settled(plan, scene)
}

fn set(scene: &Scene, args: &Args) -> Result<Plan, ToolError> {
    let Some(now) = &scene.resource else { return Err(ToolError::new("HA does not manage it")) };
    let before = now.state.as_ref().map_or("started", HaWish::as_str);
    let before = if before == "enabled" { "started" } else { before };
    let wished = given(args.state.as_ref()).filter(|it| *it != before);
    let restart = args.max_restart.filter(|it| now.max_restart != Some(*it));
    let relocate = args.max_relocate.filter(|it| now.max_relocate != Some(*it));
    let comment =
        args.comment.clone().filter(|it| now.comment.as_deref().unwrap_or_default() != it);
    if wished.is_none() && restart.is_none() && relocate.is_none() && comment.is_none() {
        let lead = format!("{} is set so already: nothing was done", scene.name);
        return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
    }
    let options = HaResourceParams {
        state: wished.map(HaWish::from),
        max_restart: restart,
        max_relocate: relocate,
        comment: comment.clone(),
        digest: now.digest.clone(),
        ..HaResourceParams::default()
    };
    let what = format!("HA settings of {}", scene.name);
    let step = Step::pve(scene.member(), what.as_str(), ha::update_resource(&scene.sid, options));
    let mut undo = json!({"action": "set"});
    let mut plan = scene.plan(what, "set").step(step);
    if let Some(wished) = wished {
        plan = plan.change("state", before, wished);
        undo["state"] = before.into();
    }
    let number = |it: Option<u32>| it.map_or_else(|| "1".to_owned(), |it| it.to_string());
    if let Some(count) = restart {
        plan = plan.change("max_restart", number(now.max_restart), count.to_string());
        undo["max_restart"] = now.max_restart.unwrap_or(1).into();
    }
    if let Some(count) = relocate {
        plan = plan.change("max_relocate", number(now.max_relocate), count.to_string());
        undo["max_relocate"] = now.max_relocate.unwrap_or(1).into();
    }
    if let Some(comment) = comment {
        let old = now.comment.clone().unwrap_or_default();
        plan = plan.change("comment", old.as_str(), comment);
        undo["comment"] = old.into();
    }
    plan = plan.undo(scene.undo(undo));
    if let Some(wished) = wished {
        plan = scene.wished(plan, wished);
    }
    Ok(settled(plan, scene))
}

fn assign(scene: &Scene, given: Option<&str>) -> Result<Plan, ToolError> {
    let rule = scene.placement(given)?;
    let (name, sid) = (rule.name.as_str(), &scene.sid);
    let kind = if scene.placements.is_rules { "rule" } else { "group" };
    let what = format!("{} under HA {kind} {name}", scene.name);
    let plan = scene
        .plan(what.clone(), "assign")
        .undo(scene.undo(json!({"action": "unassign", "rule": name})));
    if !scene.placements.is_rules {
        let now = scene.resource.as_ref().and_then(|it| it.group.clone());
        if now.as_deref() == Some(name) {
            return Ok(already(scene, kind, name));
        }
        let options =
            HaResourceParams { group: Some(name.to_owned()), ..HaResourceParams::default() };
        let step = Step::pve(scene.member(), what, ha::update_resource(sid, options));
        let undo = match &now {
            Some(old) => scene.undo(json!({"action": "assign", "rule": old})),
            None => scene.undo(json!({"action": "unassign", "rule": name})),
        };
        let plan = plan
            .undo(undo)
            .change("group", now.unwrap_or_else(|| "-".to_owned()), name)
            .effect(where_to(rule))
            .step(step);
        return Ok(settled(plan, scene));
    }
    if rule.resources.contains(sid) {
        return Ok(already(scene, kind, name));
    }
    let other = scene.placements.all.iter().find(|it| {
        it.kind == "node-affinity" && rule.kind == "node-affinity" && it.resources.contains(sid)
    });
    if let Some(other) = other {
        return Err(ToolError::new(format!(
            "{} is under rule {} already, and a guest is under one node-affinity rule only",
            scene.name, other.name
        ))
        .hint("take it out of that one first: action unassign"));
    }
    let mut resources = rule.resources.clone();
    resources.push(sid.clone());
    let plan = plan
        .change(name, rule.resources.join(","), resources.join(","))
        .effect(where_to(rule))
        .step(Step::pve(scene.member(), what, update(rule, &resources)));
    Ok(settled(plan, scene))
}

fn unassign(scene: &Scene, given: Option<&str>) -> Result<Plan, ToolError> {
    let rule = scene.placement(given)?;
    let (name, sid) = (rule.name.as_str(), &scene.sid);
    let kind = if scene.placements.is_rules { "rule" } else { "group" };
    let what = format!("{} out of HA {kind} {name}", scene.name);
    let group = scene.resource.as_ref().and_then(|it| it.group.as_deref());
    let is_in =
        if scene.placements.is_rules { rule.resources.contains(sid) } else { group == Some(name) };
    if !is_in {
        let lead = format!("{} is not under HA {kind} {name}: nothing was done", scene.name);
        return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
    }
    let plan = scene
        .plan(what.clone(), "unassign")
        .undo(scene.undo(json!({"action": "assign", "rule": name})));
    if !scene.placements.is_rules {
        let options = HaResourceParams {
            delete: ["group"].into_iter().collect(),
            ..HaResourceParams::default()
        };
        let step = Step::pve(scene.member(), what, ha::update_resource(sid, options));
        return Ok(settled(plan.change("group", name, "-").step(step), scene));
    }
    let left: Vec<String> = rule.resources.iter().filter(|it| *it != sid).cloned().collect();
    let plan = plan.change(name, rule.resources.join(","), left.join(","));
    if left.is_empty() {
        let step = Step::pve(scene.member(), what, ha::delete_rule(name));
        let plan = plan.undo(Undo::By(format!("make rule {name} again with its nodes"))).warn(
            "rule_deleted",
            format!("rule {name} is about this guest only, so it is deleted"),
        );
        return Ok(settled(plan.step(step), scene));
    }
    let plan = if rule.kind == "resource-affinity" && left.len() < 2 {
        plan.warn("rule_idle", format!("rule {name} is about one guest then, and has no effect"))
    } else {
        plan
    };
    let step = Step::pve(scene.member(), what, update(rule, &left));
    Ok(settled(plan.step(step), scene))
}

fn update(rule: &Placement, resources: &[String]) -> api_core::Request<api_core::de::Done> {
    let options = HaRuleParams { resources: resources.iter().collect(), ..HaRuleParams::default() };
    ha::update_rule(&rule.name, &rule.kind, options, rule.digest.as_deref())
}

fn already(scene: &Scene, kind: &str, name: &str) -> Plan {
    let lead = format!("{} is under HA {kind} {name} already: nothing was done", scene.name);
    Plan::already(Report::new(lead).fact("status", "unchanged"))
}

/// What a rule does to where a guest runs.
fn where_to(rule: &Placement) -> String {
    let nodes = rule.nodes.join(", ");
    let is = |word: &str| rule.options.iter().any(|it| it == word);
    match rule.kind.as_str() {
        "resource-affinity" if is("negative") => {
            format!("it is kept apart from {}, and may be moved for it", rule.resources.join(", "))
        }
        "resource-affinity" => {
            format!(
                "it is kept together with {}, and may be moved for it",
                rule.resources.join(", ")
            )
        }
        _ if is("strict") || is("restricted") => {
            format!(
                "it runs on {nodes} only, and may be moved there; if none of them is up it is stopped"
            )
        }
        _ => format!("it prefers {nodes}, and may be moved there"),
    }
}

/// Reads back how HA has the guest.
fn settled(plan: Plan, scene: &Scene) -> Plan {
    let (member, sid, name) =
        (Arc::clone(&scene.found.member), scene.sid.clone(), scene.name.clone());
    plan.settle(move |_, done: Done| async move {
        let (rows, rules) = futures::join!(member.client.call(ha::current()), placements(&member));
        let rows =
            rows.map_err(|error| ToolError::api(format!("read back how HA has {name}"), &error))?;
        let row = rows.into_iter().find(|row| row.sid.as_deref() == Some(sid.as_str()));
        let Some(row) = row else {
            return Ok(done.report(format!("HA does not manage {name} now")).fact("state", "none"));
        };
        let state = row.state.or(row.crm_state).unwrap_or_else(|| "unknown".to_owned());
        let wished = row.request_state.as_ref().map_or("started", HaWish::as_str);
        let rules: Vec<String> = rules
            .map(|rules| rules.all)
            .unwrap_or_default()
            .into_iter()
            .filter(|rule| rule.resources.contains(&sid))
            .map(|rule| rule.name)
            .chain(row.group)
            .collect();
        let under =
            if rules.is_empty() { String::new() } else { format!(", under {}", rules.join(", ")) };
        let lead = format!("HA has {name} in state {state} (wished: {wished}){under}");
        Ok(done
            .report(lead)
            .fact("state", state)
            .next("ha_list", json!({"cluster": member.key.as_str()})))
    })
}
