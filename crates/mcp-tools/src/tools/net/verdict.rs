//! `firewall_match`: which rule decides over a connection to or from a guest or a node.

use std::net::IpAddr;

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::firewall::{self, Level, Rule};
use serde::Deserialize;
use serde_json::json;

use super::{
    firewall::{Found, Where, is_on, policies},
    matching::{Asked, Names, Packet, Step, Verdict, decide},
};
use crate::{
    address::{Purpose, quoted},
    error::ToolError,
    report::{Cell, Report},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// Asks the firewall.
pub(super) struct FirewallMatch;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    direction: Option<String>,
    source: Option<String>,
    dest: Option<String>,
    proto: Option<String>,
    port: Option<u16>,
    interface: Option<String>,
}

#[async_trait]
impl EstateTool for FirewallMatch {
    fn definition(&self) -> Definition {
        Definition {
            name: "firewall_match",
            title: "What the firewall would do",
            description: "Which firewall rule or policy decides over a new connection to (in) or \
                from (out) a guest or node.",
            input: Input::new()
                .cluster()
                .node()
                .text("guest", "")
                .choice("direction", &["in", "out"], "default in")
                .text("source", "IP")
                .text("dest", "IP")
                .choice("proto", &["tcp", "udp", "icmp"], "")
                .integer("port", 0..=65535, "destination")
                .text("interface", "such as net0"),
            output: Output::new()
                .fact("at", "string")
                .fact("verdict", "string")
                .fact("by", "string")
                .fact("certain", "boolean"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let place = Where {
            cluster: args.cluster.clone(),
            node: args.node.clone(),
            guest: args.guest.clone(),
            group: None,
        };
        if place.guest.is_none() && place.node.is_none() {
            return Err(ToolError::new("give a guest or a node: packets go to one of them"));
        }
        let packet = packet(&args)?;
        let found = place.find(cx, Purpose::Read).await?;
        let read =
            |error: Error| ToolError::api(format!("read the firewall of {}", found.at), &error);
        let client = &found.member.client;
        let (dc, own) = futures::join!(
            client.call(firewall::options(&Level::Cluster)),
            client.call(firewall::options(&found.level))
        );
        let (dc, own) = (dc.map_err(read)?, own.map_err(read)?);
        let key = &found.member.key;
        if !is_on(&Level::Cluster, &dc) {
            return Ok(open(
                &found,
                format!("the firewall of datacenter {key} is off: nothing is filtered"),
            ));
        }
        if !is_on(&found.level, &own) {
            return Ok(open(&found, format!("the firewall of {} is off", found.at)));
        }
        let (mut names, mut notes) = names(&found).await;
        let mine = client.call(firewall::rules(&found.level)).await.map_err(read)?;
        let mut steps = Vec::new();
        let (policy, whose) = if found.guest.is_some() {
            steps.push(Step { level: format!("guest {}", found.at), rules: asked(mine) });
            (policies(&own), format!("guest {}", found.at))
        } else {
            steps.push(Step { level: format!("node {}", found.at), rules: asked(mine) });
            let all = client.call(firewall::rules(&Level::Cluster)).await.map_err(read)?;
            steps.push(Step { level: format!("datacenter {key}"), rules: asked(all) });
            notes.push(
                "before the policy the servers let in what nodes of the cluster and the IP set `management` need (8006, 3128, 22, 5900-5999 and corosync): that is not judged here"
                    .to_owned(),
            );
            (policies(&dc), format!("datacenter {key}"))
        };
        load_groups(&found, &steps, &mut names, &mut notes).await;
        let (word, direction) =
            if packet.is_in { (policy.0, "policy_in") } else { (policy.1, "policy_out") };
        let by = format!("{direction} of {whose}");
        let verdict = decide(&steps, (&word, &by), &packet, &names);
        if found.guest.is_some() {
            notes.push("only network devices with firewall=1 are filtered; connections that stand already go on".to_owned());
        }
        Ok(tell(&found, verdict, notes))
    }
}

fn open(found: &Found, why: String) -> Report {
    Report::new(format!("{}: ACCEPT: {why}", found.at))
        .fact("at", found.at.as_str())
        .fact("verdict", "ACCEPT")
        .fact("by", why)
        .fact("certain", true)
}

fn tell(found: &Found, verdict: Verdict, notes: Vec<String>) -> Report {
    let is_certain = verdict.unsure.is_empty();
    let mut lead = format!("{}: {} by {}", found.at, verdict.action, verdict.by);
    if !is_certain {
        lead.push_str(", unless a rule before it fits");
    }
    let mut report = Report::new(lead)
        .fact("at", found.at.as_str())
        .fact("verdict", verdict.action)
        .fact("by", verdict.by)
        .fact("certain", is_certain)
        .detail("could_fit", Cell::opt((!is_certain).then(|| verdict.unsure.join("; "))));
    if !is_certain {
        report =
            report.note("give source, dest, proto, port and interface to tell those rules apart");
    }
    report.notes.extend(notes);
    report.notes.extend(found.notes.iter().cloned());
    let args = match &found.guest {
        Some(guest) => json!({"guest": guest.at.to_string()}),
        None => json!({"node": found.at.as_str()}),
    };
    report.next("firewall_get", args)
}

fn packet(args: &Args) -> Result<Packet, ToolError> {
    let address = |text: &Option<String>| -> Result<Option<IpAddr>, ToolError> {
        let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let parsed = text.parse().map_err(|_| {
            ToolError::new(format!("{} is no IP address", quoted(text)))
                .hint("give one address: a rule about a network is tried with an address of it")
        });
        parsed.map(Some)
    };
    Ok(Packet {
        is_in: args.direction.as_deref() != Some("out"),
        source: address(&args.source)?,
        dest: address(&args.dest)?,
        proto: args.proto.clone(),
        port: args.port,
        interface: args.interface.clone(),
    })
}

pub(super) fn asked(rules: Vec<Rule>) -> Vec<Asked> {
    let rules = rules.into_iter().map(|rule| Asked {
        position: rule.position,
        kind: rule.kind,
        action: rule.action,
        is_on: rule.enable.unwrap_or_default(),
        macro_name: rule.macro_name,
        source: rule.source,
        dest: rule.destination,
        proto: rule.protocol,
        sport: rule.source_port,
        dport: rule.destination_port,
        interface: rule.interface,
    });
    rules.collect()
}

/// The names of the datacenter and of the guest; what cannot be read is said, and rules that use it
/// are then taken as uncertain.
pub(super) async fn names(found: &Found) -> (Names, Vec<String>) {
    let client = &found.member.client;
    let (mut names, mut notes) = (Names::default(), Vec::new());
    let mut levels = vec![("dc", Level::Cluster)];
    if found.guest.is_some() {
        levels.push(("guest", found.level.clone()));
    }
    for (scope, level) in levels {
        let (aliases, sets) = futures::join!(
            client.call(firewall::aliases(&level)),
            client.call(firewall::ip_sets(&level))
        );
        match aliases {
            Ok(all) => names.aliases.extend(
                all.into_iter().map(|alias| (format!("{scope}/{}", alias.name), alias.cidr)),
            ),
            Err(error) => notes.push(format!("aliases are not known: {}", stdx::Chain(&error))),
        }
        match sets {
            Ok(sets) => {
                for set in sets {
                    match client.call(firewall::ip_set(&level, &set.name)).await {
                        Ok(entries) => {
                            let entries = entries
                                .into_iter()
                                .map(|entry| (entry.cidr, entry.no_match.unwrap_or_default()));
                            names.sets.insert(format!("{scope}/{}", set.name), entries.collect());
                        }
                        Err(error) => {
                            notes.push(format!(
                                "+{} is not known: {}",
                                set.name,
                                stdx::Chain(&error)
                            ));
                        }
                    }
                }
            }
            Err(error) => notes.push(format!("IP sets are not known: {}", stdx::Chain(&error))),
        }
    }
    (names, notes)
}

/// Reads the security groups that the rules name.
pub(super) async fn load_groups(
    found: &Found,
    steps: &[Step],
    names: &mut Names,
    notes: &mut Vec<String>,
) {
    let rules = steps.iter().flat_map(|step| &step.rules);
    let wanted = rules.filter(|rule| rule.kind == "group" && rule.is_on).map(|rule| &rule.action);
    for name in wanted {
        if names.groups.contains_key(name) {
            continue;
        }
        match found.member.client.call(firewall::rules(&Level::Group(name.clone()))).await {
            Ok(rules) => {
                names.groups.insert(name.clone(), asked(rules));
            }
            Err(error) => notes.push(format!("group {name} is not known: {}", stdx::Chain(&error))),
        }
    }
}
