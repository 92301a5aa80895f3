//! `firewall_rule_change`: adds, changes, moves or removes one rule of the firewall.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::firewall::{self, Level, Rule, RuleParams};
use serde::Deserialize;
use serde_json::json;

use super::{
    firewall::{Found, Where, is_on, policies},
    matching::{Packet, Step as Rules, decide},
    verdict::{asked, load_groups, names},
};
use crate::{
    address::Purpose,
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition},
    tools::power::object,
};

/// What administration of a node comes in by.
pub(super) const MANAGEMENT: &[(u16, &str)] = &[(8006, "web interface and API"), (22, "SSH")];

const NAME: &str = "firewall_rule_change";

/// What can be taken away from a rule: the argument, and the server's word.
const CLEAR: &[(&str, &str)] = &[
    ("macro", "macro"),
    ("source", "source"),
    ("dest", "dest"),
    ("proto", "proto"),
    ("dport", "dport"),
    ("sport", "sport"),
    ("interface", "iface"),
    ("comment", "comment"),
];

/// Changes a rule.
pub(super) struct FirewallRuleChange;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Add,
    Update,
    Move,
    Delete,
}

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    group: Option<String>,
    action: Action,
    pos: Option<u32>,
    to: Option<u32>,
    rule: Option<String>,
    #[serde(default)]
    clear: Vec<String>,
    digest: Option<String>,
    direction: Option<String>,
    verdict: Option<String>,
    enable: Option<bool>,
    #[serde(rename = "macro")]
    macro_name: Option<String>,
    source: Option<String>,
    dest: Option<String>,
    proto: Option<String>,
    dport: Option<String>,
    sport: Option<String>,
    interface: Option<String>,
    comment: Option<String>,
}

#[async_trait]
impl ActionTool for FirewallRuleChange {
    fn definition(&self) -> Definition {
        let clear: Vec<&str> = CLEAR.iter().map(|(name, _)| *name).collect();
        Definition {
            name: NAME,
            title: "Change a firewall rule",
            description: "Adds (first in order without pos), updates, moves or deletes one firewall rule of a \
                guest, node, group or (with cluster alone) the datacenter.",
            input: Input::new()
                .cluster()
                .node()
                .text("guest", "")
                .text("group", "")
                .choice("action", &["add", "update", "move", "delete"], "")
                .required("action")
                .integer("pos", 0..=9999, "as firewall_get lists it")
                .integer("to", 0..=9999, "for move: before this one")
                .text("rule", "as a plan words it: finds it where it moved")
                .choices("clear", &clear, "for update: to take away")
                .text("digest", "of firewall_get")
                .choice("direction", &["in", "out", "forward", "group"], "")
                .text("verdict", "ACCEPT, DROP, REJECT, or a group's name")
                .boolean("enable", "default for add: true")
                .text("macro", "")
                .text("source", "")
                .text("dest", "")
                .text("proto", "")
                .text("dport", "")
                .text("sport", "")
                .text("interface", "")
                .text("comment", ""),
            output: Output::new()
                .fact("at", "string")
                .fact("status", "string")
                .fact("rules", "integer"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    /// A guest's rule reaches that guest; the others can lock the operator out.
    fn access(&self, args: &JsonObject) -> Access {
        match args.get("guest").and_then(serde_json::Value::as_str) {
            Some(guest) if !guest.trim().is_empty() => Access::Operate,
            _ => Access::Destroy,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let place = Where {
            cluster: args.cluster.clone(),
            node: args.node.clone(),
            guest: args.guest.clone(),
            group: args.group.clone(),
        };
        let found = place.find(cx, Purpose::Write).await?;
        let verb = match args.action {
            Action::Add => "addition of a rule to",
            Action::Update => "change of a rule of",
            Action::Move => "move of a rule of",
            Action::Delete => "deletion of a rule of",
        };
        let what = format!("{verb} the firewall of {}", found.at);
        allowed(cx, &found, &what).await?;
        let (member, level) = (Arc::clone(&found.member), found.level.clone());
        let rules = member.client.call(firewall::rules(&level)).await;
        let rules = rules.map_err(|error| {
            ToolError::api(format!("read the firewall rules of {}", found.at), &error)
        })?;
        let digest = rules.first().and_then(|rule| rule.digest.clone());
        if let (Some(given), Some(now)) = (&args.digest, &digest)
            && given != now
        {
            let report = Report::new(format!("{what} was not tried: the rules changed meanwhile"));
            return Err(ToolError::from_report(report.fact("status", "refused"))
                .hint("read them again (firewall_get): positions may have moved"));
        }
        let Doing { steps, at, after } = doing(&found, &args, &rules, digest.as_deref(), &what)?;
        let before: Vec<String> = rules.iter().map(words).collect();
        let then: Vec<String> = after.iter().map(words).collect();
        if before == then {
            let lead = format!("the firewall of {} is so already: nothing was done", found.at);
            return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
        }
        let mut plan = Plan::new(what)
            .fact("at", found.at.as_str())
            .target(found.at.as_str(), [("digest", digest.clone().unwrap_or_default())]);
        let back = back(&found, args.action, at, &rules, &after);
        plan = plan.undo(match &back {
            Ok(back) => Undo::Call(NAME, back.clone()),
            Err(why) => Undo::By(format!("by hand, since {why}")),
        });
        // A guest's own firewall cuts nobody off but its guest.
        if !matches!(found.level, Level::Guest(..)) {
            plan = plan.unless_confirmed_or(back.map(|back| vec![(NAME, back)]));
        }
        let shown = |all: &[String]| all.get(at).cloned().unwrap_or_else(|| "-".to_owned());
        plan = match args.action {
            Action::Add => plan
                .change(format!("rule {at}"), "-", shown(&then))
                .effect("the rules from there on move down by one position"),
            Action::Update => plan.change(format!("rule {at}"), shown(&before), shown(&then)),
            Action::Delete => plan.change(format!("rule {at}"), shown(&before), "-"),
            Action::Move => {
                let to = then.iter().position(|rule| *rule == shown(&before)).unwrap_or(at);
                plan.change(shown(&before), format!("position {at}"), format!("position {to}"))
            }
        };
        plan = hazards(&found, &rules, &after, plan).await;
        plan.notes.extend(found.notes);
        let at = found.at;
        plan.steps.extend(steps);
        Ok(plan.settle(move |_, done| async move {
            let now = member.client.call(firewall::rules(&level)).await;
            match now {
                Ok(now) if now.iter().map(words).collect::<Vec<_>>() == then => Ok(done
                    .report(format!("the firewall of {at} has it so, {} rules", now.len()))
                    .fact("rules", now.len())),
                Ok(now) => Ok(done
                    .report(format!("the rules of {at} were changed, and are others than expected"))
                    .fact("rules", now.len())
                    .note("somebody else changed them as well, or the server wrote them otherwise: look (firewall_get)")),
                Err(error) => Ok(done
                    .report(format!("the rules of {at} were changed"))
                    .note(format!("they could not be read back: {}", stdx::Chain(&error)))),
            }
        }))
    }
}

pub(super) async fn allowed(cx: &Cx, found: &Found, what: &str) -> Result<(), ToolError> {
    let (path, privilege) = match &found.level {
        Level::Guest(_, _, vmid) => (format!("/vms/{vmid}"), "VM.Config.Network"),
        Level::Node(node) => (format!("/nodes/{node}"), "Sys.Modify"),
        Level::Cluster | Level::Group(_) => ("/".to_owned(), "Sys.Modify"),
    };
    let held = sight::of_pve_operator(&found.member, cx.now()).await;
    if held.is_none_or(|held| held.has(&path, privilege)) {
        return Ok(());
    }
    let key = &found.member.key;
    let lead = format!("{what} was not tried: the token of {key} lacks {privilege} on {path}");
    let report = Report::new(lead).fact("error", "permission_denied").fact("status", "refused");
    Err(ToolError::from_report(report)
        .hint("grant it to the token and, if its privileges are separated, to its user"))
}

/// What is done: the calls, to which rule, and the rules as they would be then.
struct Doing {
    steps: Vec<Step>,
    /// Where the rule is; of one that is added, where it comes.
    at: usize,
    after: Vec<Rule>,
}

/// The rule that is meant: by its position, or by how it reads.
fn chosen(found: &Found, args: &Args, rules: &[Rule]) -> Result<usize, ToolError> {
    let at = args.pos.and_then(|pos| rules.iter().position(|rule| rule.position == pos));
    if let Some(wanted) = args.rule.as_deref().map(str::trim) {
        let reads = |at: &usize| words(&rules[*at]) == wanted;
        if let Some(at) = at.filter(reads) {
            return Ok(at);
        }
        let mut all = (0..rules.len()).filter(reads);
        if let (Some(at), None) = (all.next(), all.next()) {
            return Ok(at);
        }
        // What is to become of it is so already: an earlier try was broken off.
        let mut is_done = at.into_iter().filter(|at| {
            let mut rule = rules[*at].clone();
            set(&mut rule, args);
            args.action == Action::Update && words(&rule) == words(&rules[*at])
        });
        return is_done.next().ok_or_else(|| {
            ToolError::new(format!("{} has not exactly one rule that reads so", found.at))
                .next("firewall_get", again(found))
        });
    }
    let Some(pos) = args.pos else {
        return Err(
            ToolError::new("pos is missing: which rule?").next("firewall_get", again(found))
        );
    };
    at.ok_or_else(|| {
        ToolError::not_found(format!("{} has no rule {pos}", found.at))
            .hint(format!("it has {} rules, counted from 0", rules.len()))
            .next("firewall_get", again(found))
    })
}

fn doing(
    found: &Found,
    args: &Args,
    rules: &[Rule],
    digest: Option<&str>,
    what: &str,
) -> Result<Doing, ToolError> {
    let (member, level) = (&found.member, &found.level);
    let mut after = rules.to_vec();
    let mut more = None;
    let params = RuleParams {
        kind: args.direction.clone(),
        action: args.verdict.clone(),
        enable: args.enable.map(u32::from),
        macro_name: args.macro_name.clone(),
        source: args.source.clone(),
        destination: args.dest.clone(),
        protocol: args.proto.clone(),
        source_port: args.sport.clone(),
        destination_port: args.dport.clone(),
        interface: args.interface.clone(),
        comment: args.comment.clone(),
        digest: digest.map(str::to_owned),
        ..RuleParams::default()
    };
    let (at, request) = match args.action {
        Action::Add => {
            let (Some(kind), Some(action)) = (&args.direction, &args.verdict) else {
                return Err(ToolError::new("a new rule needs direction and verdict"));
            };
            if kind != "group" && !["ACCEPT", "DROP", "REJECT"].contains(&action.as_str()) {
                return Err(ToolError::new(format!(
                    "the verdict {action} is none: ACCEPT, DROP or REJECT, or direction group and a group's name"
                )));
            }
            let mut rule: Rule = serde_json::from_value(json!({
                "pos": 0, "type": kind, "action": action, "enable": 1,
            }))
            .map_err(|error| ToolError::new(format!("the rule cannot be made: {error}")))?;
            set(&mut rule, args);
            let at = usize::try_from(args.pos.unwrap_or_default()).unwrap_or(usize::MAX);
            let at = at.min(rules.len());
            let is_there = rules.get(at).is_some_and(|there| words(there) == words(&rule));
            if args.pos.is_none() || !is_there {
                after.insert(at, rule);
            }
            if at > 0 {
                // The server puts it first; it is moved from there.
                let request = firewall::move_rule(level, 0, position(at + 1), None);
                let to = format!("move of the new rule to position {at}");
                more = Some(Step::pve(member, to, request));
            }
            let enable = Some(u32::from(args.enable.unwrap_or(true)));
            (at, firewall::add_rule(level, RuleParams { enable, ..params }))
        }
        Action::Update => {
            let at = chosen(found, args, rules)?;
            if let Some(rule) = after.get_mut(at) {
                set(rule, args);
            }
            let gone = CLEAR.iter().filter(|(name, _)| args.clear.iter().any(|it| it == name));
            let gone: Vec<&str> = gone.map(|(_, word)| *word).collect();
            (at, firewall::update_rule(level, position(at), params, &gone))
        }
        Action::Move => {
            let at = chosen(found, args, rules)?;
            let Some(to) = args.to else {
                return Err(ToolError::new("to is missing: before which rule?"));
            };
            let to = usize::try_from(to).unwrap_or(usize::MAX).min(rules.len());
            let rule = after.remove(at);
            after.insert(if to > at { to - 1 } else { to }, rule);
            (at, firewall::move_rule(level, position(at), position(to), digest))
        }
        Action::Delete => {
            let at = chosen(found, args, rules)?;
            after.remove(at);
            (at, firewall::delete_rule(level, position(at), digest))
        }
    };
    let steps = std::iter::once(Step::pve(member, what, request)).chain(more).collect();
    Ok(Doing { steps, at, after })
}

/// The arguments that take it back; an error says why there are none.
fn back(
    found: &Found,
    action: Action,
    at: usize,
    before: &[Rule],
    after: &[Rule],
) -> Result<JsonObject, String> {
    let mut args = again(found);
    let mut put = |name: &str, value: serde_json::Value| args.insert(name.to_owned(), value);
    let was = before.get(at);
    let whole = |rule: &Rule| rule.log.is_none() && rule.icmp_type.is_none();
    match (action, was) {
        (Action::Add, _) => {
            put("action", "delete".into());
            put("pos", at.into());
            put("rule", after.get(at).map(words).into());
        }
        (Action::Delete, Some(was)) if !whole(was) => {
            return Err("it has a log level or an ICMP type, which this tool does not write".into());
        }
        (Action::Delete, Some(was)) => {
            put("action", "add".into());
            put("pos", at.into());
            args.extend(fields(was));
        }
        (Action::Update, Some(was)) => {
            put("action", "update".into());
            put("pos", at.into());
            put("rule", after.get(at).map(words).into());
            let (was, is) = (fields(was), after.get(at).map(fields).unwrap_or_default());
            let gone: Vec<&String> = is.keys().filter(|name| !was.contains_key(*name)).collect();
            if !gone.is_empty() {
                put("clear", json!(gone));
            }
            args.extend(was);
        }
        (Action::Move, Some(was)) => {
            let now = after.iter().position(|rule| rule.position == was.position).unwrap_or(at);
            put("action", "move".into());
            put("pos", now.into());
            put("rule", words(was).into());
            let before = if at > now { at + 1 } else { at };
            put("to", before.into());
        }
        (_, None) => return Err("the rule is not there".to_owned()),
    }
    Ok(args)
}

/// A rule by the arguments of this tool.
fn fields(rule: &Rule) -> JsonObject {
    let mut args = JsonObject::new();
    let texts = [
        ("macro", &rule.macro_name),
        ("source", &rule.source),
        ("dest", &rule.destination),
        ("proto", &rule.protocol),
        ("dport", &rule.destination_port),
        ("sport", &rule.source_port),
        ("interface", &rule.interface),
        ("comment", &rule.comment),
    ];
    args.insert("direction".to_owned(), rule.kind.as_str().into());
    args.insert("verdict".to_owned(), rule.action.as_str().into());
    args.insert("enable".to_owned(), rule.enable.unwrap_or_default().into());
    let given = texts.into_iter().filter_map(|(name, text)| {
        let text = text.as_deref().filter(|text| !text.trim().is_empty())?;
        Some((name.to_owned(), text.into()))
    });
    args.extend(given);
    args
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Puts what is given into a rule.
fn set(rule: &mut Rule, args: &Args) {
    let put = |to: &mut Option<String>, from: &Option<String>| {
        if from.is_some() {
            to.clone_from(from);
        }
    };
    if let Some(kind) = &args.direction {
        rule.kind.clone_from(kind);
    }
    if let Some(action) = &args.verdict {
        rule.action.clone_from(action);
    }
    if args.enable.is_some() {
        rule.enable = args.enable;
    }
    put(&mut rule.macro_name, &args.macro_name);
    put(&mut rule.source, &args.source);
    put(&mut rule.destination, &args.dest);
    put(&mut rule.protocol, &args.proto);
    put(&mut rule.destination_port, &args.dport);
    put(&mut rule.source_port, &args.sport);
    put(&mut rule.interface, &args.interface);
    put(&mut rule.comment, &args.comment);
    for name in &args.clear {
        match name.as_str() {
            "macro" => rule.macro_name = None,
            "source" => rule.source = None,
            "dest" => rule.destination = None,
            "proto" => rule.protocol = None,
            "dport" => rule.destination_port = None,
            "sport" => rule.source_port = None,
            "interface" => rule.interface = None,
            "comment" => rule.comment = None,
            _ => {}
        }
    }
}

/// A rule in a line.
fn words(rule: &Rule) -> String {
    let mut text = format!("{} {}", rule.kind, rule.action);
    for (name, value) in [
        ("macro", &rule.macro_name),
        ("source", &rule.source),
        ("dest", &rule.destination),
        ("proto", &rule.protocol),
        ("dport", &rule.destination_port),
        ("sport", &rule.source_port),
        ("iface", &rule.interface),
        ("comment", &rule.comment),
    ] {
        if let Some(value) = value.as_deref().map(str::trim).filter(|value| !value.is_empty()) {
            text = format!("{text} {name}={value}");
        }
    }
    if !rule.enable.unwrap_or_default() {
        text.push_str(" (off)");
    }
    text
}

fn again(found: &Found) -> JsonObject {
    object(match &found.level {
        Level::Guest(..) => json!({"guest": found.at.as_str()}),
        Level::Node(_) => json!({"node": found.at.as_str()}),
        Level::Group(name) => json!({"cluster": found.member.key.as_str(), "group": name}),
        Level::Cluster => json!({"cluster": found.member.key.as_str()}),
    })
}

/// Says where administration would be dropped that is let in now.
async fn hazards(found: &Found, before: &[Rule], after: &[Rule], mut plan: Plan) -> Plan {
    let client = &found.member.client;
    let dc = match client.call(firewall::options(&Level::Cluster)).await {
        Ok(options) => options,
        Err(error) => {
            return plan
                .note(format!("whether the firewall is on is not known: {}", stdx::Chain(&error)));
        }
    };
    if !is_on(&Level::Cluster, &dc) {
        return plan.effect("the datacenter's firewall is off: the rule filters nothing yet");
    }
    match &found.level {
        Level::Guest(..) => {
            let own = client.call(firewall::options(&found.level)).await;
            if own.is_ok_and(|own| !is_on(&found.level, &own)) {
                plan = plan.effect("the guest's firewall is off: the rule filters nothing yet");
            }
            return plan;
        }
        Level::Group(name) => {
            return plan.warn(
                "group",
                format!("every guest and node whose rules name group {name} gets this; what administration needs is not judged for each"),
            );
        }
        Level::Node(_) | Level::Cluster => {}
    }
    let (mut known, mut notes) = names(found).await;
    let level = |rules: &[Rule]| Rules { level: found.at.clone(), rules: asked(rules.to_vec()) };
    let mut ways = [vec![level(before)], vec![level(after)]];
    if matches!(found.level, Level::Node(_)) {
        match client.call(firewall::rules(&Level::Cluster)).await {
            Ok(rules) => {
                for way in &mut ways {
                    way.push(Rules { level: "datacenter".to_owned(), rules: asked(rules.clone()) });
                }
            }
            Err(error) => {
                plan = plan
                    .note(format!("the datacenter's rules are not known: {}", stdx::Chain(&error)));
            }
        }
    }
    for way in &ways {
        load_groups(found, way, &mut known, &mut notes).await;
    }
    let policy = policies(&dc).0;
    for (port, name) in MANAGEMENT {
        let packet = Packet {
            is_in: true,
            source: None,
            dest: None,
            proto: Some("tcp".to_owned()),
            port: Some(*port),
            interface: None,
        };
        let [was, then] = &ways;
        let was = decide(was, (&policy, "policy_in"), &packet, &known);
        let then = decide(then, (&policy, "policy_in"), &packet, &known);
        // A way that stays open for some is one that may let the operator in.
        let open = |verdict: &super::matching::Verdict| {
            verdict.action == "ACCEPT" || !verdict.unsure.is_empty()
        };
        if open(&was) && (!open(&then) || then.unsure.len() < was.unsure.len()) && was != then {
            plan = plan.warn(
                "management",
                format!("port {port} ({name}) of the nodes may be {} by {} then: it can lock you out, except from what the IP set `management` names", then.action, then.by),
            );
        }
    }
    plan.notes.extend(notes);
    plan
}
