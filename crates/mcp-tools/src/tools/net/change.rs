//! `network_change`: sets, makes or removes one interface in what is written; nothing of the
//! running network changes before `network_apply`.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::network::{self, Interface, InterfaceKind, InterfaceParams};
use serde::Deserialize;
use serde_json::json;

use super::place::{Hanging, Written, ports, reached_by};
use crate::{
    address::{FoundNode, Purpose, quoted},
    error::{Kind, ToolError},
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition},
    tools::power::object,
    view::View,
};

/// Changes an interface.
pub(super) struct NetworkChange;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Set,
    Create,
    Delete,
}

#[derive(Debug, Deserialize)]
struct Args {
    node: String,
    cluster: Option<String>,
    interface: String,
    action: Action,
    #[serde(rename = "type")]
    kind: Option<String>,
    cidr: Option<String>,
    cidr6: Option<String>,
    gateway: Option<String>,
    gateway6: Option<String>,
    mtu: Option<u32>,
    ports: Option<String>,
    vlan_aware: Option<bool>,
    vlan_id: Option<u16>,
    vlan_device: Option<String>,
    bond_mode: Option<String>,
    autostart: Option<bool>,
    comment: Option<String>,
    #[serde(default)]
    clear: Vec<String>,
}

const TYPES: &[&str] = &["bridge", "bond", "vlan", "eth"];
/// What can be cleared: the argument, and the server's word.
const CLEAR: &[(&str, &str)] = &[
    ("cidr", "cidr"),
    ("cidr6", "cidr6"),
    ("gateway", "gateway"),
    ("gateway6", "gateway6"),
    ("mtu", "mtu"),
    ("comment", "comments"),
    ("autostart", "autostart"),
    ("ports", "bridge_ports"),
];

#[async_trait]
impl ActionTool for NetworkChange {
    fn definition(&self) -> Definition {
        let clear: Vec<&str> = CLEAR.iter().map(|(name, _)| *name).collect();
        Definition {
            name: "network_change",
            title: "Change a network interface",
            description: "Writes one interface of a node for later: network_apply puts it in force, \
                network_revert drops it. Nothing that runs changes.",
            input: Input::new()
                .node()
                .required("node")
                .cluster()
                .text("interface", "")
                .required("interface")
                .choice("action", &["set", "create", "delete"], "")
                .required("action")
                .choice("type", TYPES, "for create")
                .text("cidr", "address/prefix")
                .text("cidr6", "")
                .text("gateway", "")
                .text("gateway6", "")
                .integer("mtu", 1280..=65520, "")
                .text("ports", "of a bridge or bond, with blanks")
                .boolean("vlan_aware", "")
                .integer("vlan_id", 1..=4094, "")
                .text("vlan_device", "")
                .text("bond_mode", "")
                .boolean("autostart", "default for create: true")
                .text("comment", "")
                .choices("clear", &clear, "settings to take away"),
            output: Output::new()
                .fact("node", "string")
                .fact("interface", "string")
                .fact("status", "string"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let name = name_of(&args.interface)?;
        let found = cx.fleet.find_node(args.cluster.as_deref(), &args.node, Purpose::Write).await?;
        let verb = match args.action {
            Action::Set => "change",
            Action::Create => "creation",
            Action::Delete => "deletion",
        };
        let at = format!("{}/{}", found.member.key, found.name());
        let what = format!("{verb} of {name} on {at}");
        writable(cx, &found, &what).await?;
        let written = Written::of(&found).await?;
        let is = written.find(&name);
        match (args.action, is) {
            (Action::Create, Some(_)) => {
                return Err(ToolError::new(format!("{at} has an interface {name} already"))
                    .hint("change it with action set"));
            }
            (Action::Set | Action::Delete, None) => {
                let names: Vec<&str> =
                    written.interfaces.iter().filter_map(|it| it.name.as_deref()).collect();
                return Err(ToolError::not_found(format!("{at} has no interface {name}"))
                    .hint(format!("it has {}", names.join(", "))));
            }
            _ => {}
        }
        let (step, changes) = step(&found, &args, &name, is, &what)?;
        if changes.is_empty() {
            let lead = format!("{name} on {at} is so already: nothing was done");
            return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
        }
        let mut plan = Plan::new(what)
            .fact("node", at.as_str())
            .fact("interface", name.as_str())
            .target(at.as_str(), [("pending", written.changes.clone().unwrap_or_default())])
            .effect("the running network stays as it is until network_apply")
            .undo(Undo::Call(
                "network_revert",
                object(json!({
                    "node": found.name().as_str(), "cluster": found.member.key.as_str(),
                })),
            ));
        for (key, before, after) in changes {
            plan = plan.change(key, before, after);
        }
        if written.changes.is_some() {
            plan = plan.warn(
                "others_wait",
                "other changes wait there already: they are applied, or dropped, together with this one",
            );
        }
        plan = hazards(&found, &written, &args, &name, plan).await;
        let (member, node) = (Arc::clone(&found.member), found.name().clone());
        plan.notes.extend(found.notes.iter().cloned());
        Ok(plan.step(step).settle(move |_, done| async move {
            let now = Written::read(&member, &node).await;
            let args = json!({"node": node.as_str(), "cluster": member.key.as_str(), "plan": true});
            Ok(match now {
                Ok(Written { changes: Some(changes), .. }) => done
                    .report(format!("{name} on {at} is written, and waits for network_apply"))
                    .untrusted(format!("pending changes of {at}"), changes)
                    .next("network_apply", args),
                Ok(_) => done
                    .report(format!("{name} on {at} is as it runs: nothing waits to be applied")),
                Err(error) => done
                    .report(format!("{name} on {at} is written"))
                    .note(format!("what waits could not be read back: {}", stdx::Chain(&error))),
            })
        }))
    }
}

/// Refuses where the node is away, or the token may not change it.
pub(super) async fn writable(cx: &Cx, found: &FoundNode, what: &str) -> Result<(), ToolError> {
    let (key, node) = (&found.member.key, found.name());
    if !found.node.is_online() {
        let error = ToolError::new(format!(
            "{what} was not tried: node {key}/{node} is {}",
            found.node.status
        ));
        return Err(error.of_kind(Kind::Unavailable).map(|report| found.tell(report)));
    }
    let held = sight::of_pve_operator(&found.member, cx.now()).await;
    let path = format!("/nodes/{node}");
    if held.is_some_and(|held| !held.has(&path, "Sys.Modify")) {
        let lead = format!("{what} was not tried: the token of {key} lacks Sys.Modify on {path}");
        let report = Report::new(lead).fact("error", "permission_denied").fact("status", "refused");
        return Err(ToolError::from_report(report)
            .hint("grant it to the token and, if its privileges are separated, to its user"));
    }
    Ok(())
}

fn name_of(text: &str) -> Result<String, ToolError> {
    let text = text.trim();
    let is_good = (2..=20).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
    if is_good {
        return Ok(text.to_owned());
    }
    Err(ToolError::new(format!("{} is no name of an interface", quoted(text)))
        .hint("2 to 20 letters, digits, `-`, `_`, `.` or `:`, such as vmbr1 or bond0.20"))
}

type Changes = Vec<(String, String, String)>;

/// The call, and what it changes.
fn step(
    found: &FoundNode,
    args: &Args,
    name: &str,
    is: Option<&Interface>,
    what: &str,
) -> Result<(Step, Changes), ToolError> {
    let (member, node) = (&found.member, found.name());
    if args.action == Action::Delete {
        let step = Step::pve(member, what, network::delete(node, name));
        let kind = is.map(|is| is.kind.as_str().to_owned()).unwrap_or_default();
        return Ok((step, vec![(name.to_owned(), kind, "-".to_owned())]));
    }
    let kind = match (is, args.kind.as_deref()) {
        (Some(is), None) => is.kind.clone(),
        (Some(is), Some(kind)) if is.kind.as_str() == kind => is.kind.clone(),
        (Some(is), Some(_)) => {
            return Err(ToolError::new(format!("{name} is of type {}", is.kind.as_str()))
                .hint("the type of an interface does not change: delete it and create another"));
        }
        (None, Some(kind)) => InterfaceKind::from(kind),
        (None, None) => return Err(ToolError::new("type is missing: a new interface needs one")),
    };
    let is_bond = kind == InterfaceKind::Bond;
    let autostart = args.autostart.or((args.action == Action::Create).then_some(true));
    let params = InterfaceParams {
        cidr: args.cidr.clone(),
        cidr6: args.cidr6.clone(),
        gateway: args.gateway.clone(),
        gateway6: args.gateway6.clone(),
        autostart,
        mtu: args.mtu,
        comments: args.comment.clone(),
        bridge_ports: args.ports.clone().filter(|_| !is_bond),
        bridge_vlan_aware: args.vlan_aware,
        slaves: args.ports.clone().filter(|_| is_bond),
        bond_mode: args.bond_mode.clone(),
        vlan_id: args.vlan_id,
        vlan_raw_device: args.vlan_device.clone(),
        ..InterfaceParams::default()
    };
    let mut changes = Changes::new();
    let was = |text: Option<String>| {
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    };
    let mut note = |key: &str, before: Option<String>, after: Option<String>| {
        let Some(after) = after else { return };
        let before = was(before);
        if before != after {
            changes.push((format!("{name} {key}"), before, after));
        }
    };
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    note("cidr", is.and_then(|it| it.cidr.clone()), args.cidr.clone());
    note("cidr6", is.and_then(|it| it.cidr6.clone()), args.cidr6.clone());
    note("gateway", is.and_then(|it| it.gateway.clone()), args.gateway.clone());
    note("gateway6", is.and_then(|it| it.gateway6.clone()), args.gateway6.clone());
    note(
        "mtu",
        is.and_then(|it| it.mtu).map(|it| it.to_string()),
        args.mtu.map(|it| it.to_string()),
    );
    note("ports", is.map(|it| ports(it).join(" ")), args.ports.clone());
    note(
        "vlan_aware",
        is.map(|it| yes(it.bridge_vlan_aware.unwrap_or_default())),
        args.vlan_aware.map(yes),
    );
    note(
        "vlan_id",
        is.and_then(|it| it.vlan_id).map(|it| it.to_string()),
        args.vlan_id.map(|it| it.to_string()),
    );
    note("vlan_device", is.and_then(|it| it.vlan_raw_device.clone()), args.vlan_device.clone());
    note("bond_mode", is.and_then(|it| it.bond_mode.clone()), args.bond_mode.clone());
    note("autostart", is.map(|it| yes(it.autostart)), autostart.map(yes));
    let comment = is.and_then(|it| it.comments.as_deref()).map(|it| it.trim().to_owned());
    note("comment", comment, args.comment.clone());
    let mut delete = Vec::new();
    for wanted in &args.clear {
        let Some((_, word)) = CLEAR.iter().find(|(name, _)| name == wanted) else { continue };
        delete.push(if *word == "bridge_ports" && is_bond { "slaves" } else { *word });
        changes.push((format!("{name} {wanted}"), "set".to_owned(), "-".to_owned()));
    }
    let step = if args.action == Action::Create {
        if changes.is_empty() {
            changes.push((name.to_owned(), "-".to_owned(), kind.as_str().to_owned()));
        }
        Step::pve(member, what, network::create(node, name, &kind, params))
    } else {
        Step::pve(member, what, network::update(node, name, &kind, params, &delete))
    };
    Ok((step, changes))
}

/// What would be cut off once it is applied.
async fn hazards(
    found: &FoundNode,
    written: &Written,
    args: &Args,
    name: &str,
    mut plan: Plan,
) -> Plan {
    if args.action == Action::Create {
        return plan;
    }
    let (member, node) = (&found.member, found.name());
    let reached = reached_by(member, node).await;
    let above = written.above(&[name.to_owned()]);
    if let Some(carrier) = written.carrier(&reached).filter(|carrier| above.contains(*carrier)) {
        plan = plan.warn(
            "management",
            format!("{carrier} carries the address by which this node is reached: applied, a mistake here cuts it off"),
        );
    }
    if let Ok(view) = View::load(Arc::clone(member)).await {
        let hanging = Hanging::read(member, &view, node).await;
        let guests: Vec<&str> = above.iter().flat_map(|bridge| hanging.at(bridge)).collect();
        if !guests.is_empty() {
            let first: Vec<&str> = guests.iter().take(8).copied().collect();
            let more = guests.len() - first.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            plan = plan.effect(format!("guests that hang on it: {}{more}", first.join(", ")));
        }
    }
    if args.action == Action::Delete {
        let over: Vec<&String> = above.iter().filter(|other| *other != name).collect();
        if !over.is_empty() {
            let names: Vec<&str> = over.iter().map(|it| it.as_str()).collect();
            plan = plan.warn("used_by", format!("{} are made over it", names.join(", ")));
        }
    }
    plan
}
