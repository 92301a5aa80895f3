//! `firewall_options_change`: turns a firewall on or off, and sets its policies and other options.

use std::collections::BTreeMap;

use api_core::Params;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::firewall::{self, FirewallOptions, Level};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    firewall::{Found, Where, is_on, policies},
    matching::{Packet, Step as Rules, decide},
    rule::{MANAGEMENT, allowed},
    verdict::{asked, load_groups, names},
};
use crate::{
    address::{Purpose, quoted},
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::object,
};

const NAME: &str = "firewall_options_change";

/// What each level has, by the API's names.
const CLUSTER: &[&str] =
    &["enable", "policy_in", "policy_out", "policy_forward", "ebtables", "log_ratelimit"];
const NODE: &[&str] = &[
    "enable",
    "nftables",
    "ndp",
    "nosmurfs",
    "tcpflags",
    "protection_synflood",
    "log_level_in",
    "log_level_out",
    "log_level_forward",
    "nf_conntrack_max",
    "nf_conntrack_tcp_timeout_established",
];
const GUEST: &[&str] = &[
    "enable",
    "policy_in",
    "policy_out",
    "dhcp",
    "ndp",
    "radv",
    "macfilter",
    "ipfilter",
    "log_level_in",
    "log_level_out",
];

/// Changes options.
pub(super) struct FirewallOptionsChange;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    unset: Vec<String>,
}

/// Options by name, in the form in which the servers take them.
type Options = BTreeMap<String, String>;

#[async_trait]
impl ActionTool for FirewallOptionsChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Change the options of a firewall",
            description: "Turns the firewall of a guest, a node or (with cluster alone) the \
                datacenter on or off, and sets its policies. set has the API's names: enable, \
                policy_in, policy_out, macfilter, log_level_in.",
            input: Input::new()
                .cluster()
                .node()
                .text("guest", "")
                .object("set", "")
                .texts("unset", "back to the default"),
            output: Output::new().fact("at", "string").fact("status", "string"),
            access: Access::Destroy,
            idempotent: true,
        }
    }

    /// A guest's firewall reaches that guest; the others can lock the operator out.
    fn access(&self, args: &JsonObject) -> Access {
        match args.get("guest").and_then(Value::as_str) {
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
            group: None,
        };
        let found = place.find(cx, Purpose::Write).await?;
        let wanted = wanted(&found.level, &args)?;
        let what = format!("change of the firewall options of {}", found.at);
        allowed(cx, &found, &what).await?;
        let (before, digest) = read(&found).await?;
        let mut after = before.clone();
        after.extend(wanted.clone());
        after.retain(|name, _| !args.unset.contains(name));
        let changed: Vec<&String> = before
            .keys()
            .chain(after.keys().filter(|name| !before.contains_key(*name)))
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        if changed.is_empty() {
            let lead = format!("the firewall of {} is so already: nothing was done", found.at);
            return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
        }
        let back = back(&found, &before, &after);
        let mut plan = Plan::new(what.as_str())
            .fact("at", found.at.as_str())
            .target(found.at.as_str(), [("digest", digest.clone().unwrap_or_default())])
            .undo(Undo::Call(NAME, back.clone()));
        // A guest's own firewall cuts nobody off but its guest.
        if !matches!(found.level, Level::Guest(..)) {
            plan = plan.unless_confirmed([(NAME, back)]);
        }
        for name in &changed {
            let shown = |all: &Options| all.get(*name).cloned().unwrap_or_else(|| "-".to_owned());
            plan = plan.change(name.as_str(), shown(&before), shown(&after));
        }
        plan = hazards(&found, &before, &after, plan).await?;
        plan.notes.extend(found.notes.iter().cloned());
        let sent: Params = wanted.iter().filter(|(name, _)| changed.contains(name)).collect();
        let unset: Vec<&str> = args.unset.iter().map(String::as_str).collect();
        let request = firewall::set_options(&found.level, sent, &unset, digest.as_deref());
        let step = Step::pve(&found.member, what, request);
        Ok(plan.step(step).settle(move |_, done| async move {
            let at = &found.at;
            Ok(match read(&found).await {
                Ok((now, _)) if now == after => {
                    done.report(format!("the firewall of {at} has it so"))
                }
                Ok(_) => done
                    .report(format!(
                        "the options of {at} were changed, and are others than expected"
                    ))
                    .note("somebody else changed them as well: look (firewall_get)"),
                Err(error) => done
                    .report(format!("the options of {at} were changed"))
                    .note(format!("they could not be read back: {}", error.message())),
            })
        }))
    }
}

/// What is to be set, checked by name.
fn wanted(level: &Level, args: &Args) -> Result<Options, ToolError> {
    let known = match level {
        Level::Cluster | Level::Group(_) => CLUSTER,
        Level::Node(_) => NODE,
        Level::Guest(..) => GUEST,
    };
    let given = args.set.keys().chain(&args.unset);
    if let Some(name) = given.clone().find(|name| !known.contains(&name.as_str())) {
        return Err(ToolError::new(format!("this firewall has no option {}", quoted(name)))
            .hint(format!("it has {}", known.join(", "))));
    }
    if given.count() == 0 {
        return Err(ToolError::new("nothing to change: give set or unset"));
    }
    if let Some(name) = args.unset.iter().find(|name| args.set.contains_key(*name)) {
        return Err(ToolError::new(format!("{} is in set and in unset", quoted(name))));
    }
    let mut wanted = Options::new();
    for (name, value) in &args.set {
        let text = word(value);
        let is_policy = name.starts_with("policy_");
        if is_policy && !matches!(text.as_str(), "ACCEPT" | "DROP" | "REJECT") {
            return Err(ToolError::new(format!("{name} is ACCEPT, DROP or REJECT")));
        }
        if name == "enable" && !matches!(text.as_str(), "0" | "1") {
            return Err(ToolError::new("enable is true or false"));
        }
        wanted.insert(name.clone(), text);
    }
    Ok(wanted)
}

/// A value as the servers write it.
fn word(value: &Value) -> String {
    match value {
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::String(text) => match text.trim() {
            "true" | "yes" | "on" => "1".to_owned(),
            "false" | "no" | "off" => "0".to_owned(),
            other => other.to_owned(),
        },
        other => other.to_string(),
    }
}

/// The options as they are, and their digest.
async fn read(found: &Found) -> Result<(Options, Option<String>), ToolError> {
    let request = firewall::options(&found.level).cast::<Map<String, Value>>();
    let mut options = found.member.client.call(request).await.map_err(|error| {
        ToolError::api(format!("read the firewall options of {}", found.at), &error)
    })?;
    let digest = options.remove("digest").as_ref().map(word);
    options.retain(|_, value| !value.is_null());
    Ok((options.iter().map(|(name, value)| (name.clone(), word(value))).collect(), digest))
}

/// What these options mean.
fn meaning(options: &Options) -> FirewallOptions {
    let options: Map<String, Value> =
        options.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    // Whatever is odd in a value is for the server to say.
    serde_json::from_value(Value::Object(options))
        .unwrap_or_else(|_| serde_json::from_value(json!({})).expect("all options are optional"))
}

/// The arguments that bring back what was before.
fn back(found: &Found, before: &Options, after: &Options) -> JsonObject {
    let mut args = match &found.level {
        Level::Guest(..) => json!({"guest": found.at}),
        Level::Node(_) => json!({"node": found.at}),
        Level::Cluster | Level::Group(_) => json!({"cluster": found.member.key.as_str()}),
    };
    let set: Map<String, Value> = before
        .iter()
        .filter(|(name, value)| after.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let unset: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    if !set.is_empty() {
        args["set"] = Value::Object(set);
    }
    if !unset.is_empty() {
        args["unset"] = json!(unset);
    }
    object(args)
}

/// Says what opens, what closes, and where administration would be dropped.
async fn hazards(
    found: &Found,
    before: &Options,
    after: &Options,
    mut plan: Plan,
) -> Result<Plan, ToolError> {
    let level = &found.level;
    let (was, then) = (meaning(before), meaning(after));
    let (was_on, then_on) = (is_on(level, &was), is_on(level, &then));
    let client = &found.member.client;
    if was_on && !then_on {
        let scope = match level {
            Level::Guest(..) => "the guest",
            Level::Node(_) => "the node",
            Level::Cluster | Level::Group(_) => "any node or guest",
        };
        return Ok(plan.warn("open", format!("nothing that comes to {scope} is filtered then")));
    }
    if matches!(level, Level::Guest(..)) {
        let dc = client.call(firewall::options(&Level::Cluster)).await;
        if dc.is_ok_and(|dc| !is_on(&Level::Cluster, &dc)) {
            plan = plan.effect("the datacenter's firewall is off: nothing is filtered yet");
        }
        if then_on {
            let (incoming, outgoing) = policies(&then);
            plan = plan.effect(format!(
                "what no rule names is {incoming} on its way in and {outgoing} on its way out, on network devices with firewall=1"
            ));
        }
        return Ok(plan);
    }
    if !then_on {
        return Ok(plan);
    }
    let rules = client.call(firewall::rules(level)).await.map_err(|error| {
        ToolError::api(format!("read the firewall rules of {}", found.at), &error)
    })?;
    let (mut known, notes) = names(found).await;
    let mut notes = notes;
    let mut way = vec![Rules { level: found.at.clone(), rules: asked(rules) }];
    let mut policy = policies(&then).0;
    if matches!(level, Level::Node(_)) {
        let (dc, all) = futures::join!(
            client.call(firewall::options(&Level::Cluster)),
            client.call(firewall::rules(&Level::Cluster))
        );
        let (Ok(dc), Ok(all)) = (dc, all) else {
            return Ok(plan.note(
                "the datacenter's firewall could not be read: what is let in is not judged",
            ));
        };
        policy = policies(&dc).0;
        way.push(Rules { level: "datacenter".to_owned(), rules: asked(all) });
    }
    load_groups(found, &way, &mut known, &mut notes).await;
    for (port, name) in MANAGEMENT {
        let packet = Packet {
            is_in: true,
            source: None,
            dest: None,
            proto: Some("tcp".to_owned()),
            port: Some(*port),
            interface: None,
        };
        let verdict = decide(&way, (&policy, "policy_in"), &packet, &known);
        if verdict.action != "ACCEPT" {
            plan = plan.warn(
                "management",
                format!("port {port} ({name}) of the nodes is {} by {} then: it can lock you out, except from what the IP set `management` and the rules before it name", verdict.action, verdict.by),
            );
        }
    }
    plan.notes.extend(notes);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use estate::GuestKind;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "as `json!` gives it")]
    fn asked_of(level: &Level, set: Value, unset: &[&str]) -> Result<Options, String> {
        let set = set.as_object().cloned().unwrap_or_default();
        let unset = unset.iter().map(|name| (*name).to_owned()).collect();
        let args = Args { cluster: None, node: None, guest: None, set, unset };
        wanted(level, &args).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn options_are_of_their_level_and_of_their_kind() {
        let guest = Level::Guest(GuestKind::Qemu, "pve1".parse().unwrap(), "100".parse().unwrap());
        let given = asked_of(&guest, json!({"enable": true, "policy_in": "DROP"}), &[]).unwrap();
        assert_eq!(given["enable"], "1");
        assert_eq!(asked_of(&guest, json!({"enable": "off"}), &[]).unwrap()["enable"], "0");
        for (level, set, unset, why) in [
            (&guest, json!({"ebtables": 1}), vec![], "no option `ebtables`"),
            (&Level::Cluster, json!({"macfilter": 1}), vec![], "no option `macfilter`"),
            (&guest, json!({"policy_in": "drop"}), vec![], "ACCEPT, DROP or REJECT"),
            (&guest, json!({"enable": "perhaps"}), vec![], "true or false"),
            (&guest, json!({}), vec![], "nothing to change"),
            (&guest, json!({"dhcp": 1}), vec!["dhcp"], "in set and in unset"),
            (&guest, json!({}), vec!["nonsense"], "no option `nonsense`"),
        ] {
            let said = asked_of(level, set, &unset).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
