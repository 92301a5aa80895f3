//! `firewall_get`: options, rules and names of the firewall at one level.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::firewall::{self, FirewallOptions, Level, Rule};
use serde::Deserialize;

use crate::{
    address::Purpose,
    error::{Kind, ToolError},
    fleet::Pve,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
    view::Guest,
};

/// Shows the firewall.
pub(super) struct FirewallGet;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Where {
    pub(super) cluster: Option<String>,
    pub(super) node: Option<String>,
    pub(super) guest: Option<String>,
    pub(super) group: Option<String>,
}

/// A level that was found.
pub(super) struct Found {
    pub(super) member: Arc<Pve>,
    pub(super) level: Level,
    /// `lab`, `lab/birch`, `lab/100`, `group lab/web`.
    pub(super) at: String,
    pub(super) guest: Option<Guest>,
    pub(super) notes: Vec<String>,
}

impl Where {
    /// The level that is meant: the guest, the node, the group, or the datacenter.
    pub(super) async fn find(&self, cx: &Cx, purpose: Purpose) -> Result<Found, ToolError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        if [&self.node, &self.guest, &self.group].into_iter().filter_map(given).count() > 1 {
            return Err(ToolError::new("give one of guest, node and group: each is its own level"));
        }
        let cluster = given(&self.cluster);
        if let Some(guest) = given(&self.guest) {
            let text = match &cluster {
                Some(cluster) if !guest.contains('/') => format!("{cluster}/{guest}"),
                _ => guest,
            };
            let found = cx.fleet.find_guest(&text, purpose).await?;
            let guest = found.guest;
            return Ok(Found {
                level: Level::Guest(guest.kind, guest.node.clone(), guest.at.vmid),
                at: guest.at.to_string(),
                member: found.member,
                guest: Some(guest),
                notes: found.notes,
            });
        }
        if let Some(node) = given(&self.node) {
            let found = cx.fleet.find_node(cluster.as_deref(), &node, purpose).await?;
            let at = format!("{}/{}", found.member.key, found.name());
            if !found.node.is_online() {
                let lead = format!("{at} is {}: its firewall cannot be read", found.node.status);
                return Err(ToolError::new(lead).of_kind(Kind::Unavailable));
            }
            let level = Level::Node(found.name().clone());
            return Ok(Found { member: found.member, level, at, guest: None, notes: found.notes });
        }
        let members = cx.fleet.pve(cluster.as_deref())?;
        let [member] = members.as_slice() else {
            let count = members.len();
            return Err(ToolError::new(format!("{count} clusters have a firewall"))
                .of_kind(Kind::Ambiguous)
                .hint(crate::address::give_cluster(members.iter())));
        };
        let (level, at) = match given(&self.group) {
            Some(group) => {
                let at = format!("group {}/{group}", member.key);
                (Level::Group(group), at)
            }
            None => (Level::Cluster, member.key.to_string()),
        };
        Ok(Found { member: Arc::clone(member), level, at, guest: None, notes: Vec::new() })
    }
}

#[async_trait]
impl EstateTool for FirewallGet {
    fn definition(&self) -> Definition {
        Definition {
            name: "firewall_get",
            title: "Show a firewall",
            description: "Options, rules, aliases, IP sets and security groups of the firewall of a \
                guest, a node, a group, or (with cluster alone) the datacenter.",
            input: Input::new().cluster().node().text("guest", "").text("group", "").fields(),
            output: Output::new()
                .fact("at", "string")
                .fact("enabled", "boolean")
                .fact("digest", "string")
                .table("rules")
                .table("names"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Where = cx.args(args)?;
        let found = args.find(cx, Purpose::Read).await?;
        let (client, level) = (&found.member.client, &found.level);
        let rules = client.call(firewall::rules(level)).await;
        let rules = rules.map_err(|error| {
            ToolError::api(format!("read the firewall rules of {}", found.at), &error)
        })?;
        let mut report = Report::default();
        let on = rules.iter().filter(|rule| rule.enable.unwrap_or_default()).count();
        let mut state = "";
        if !matches!(level, Level::Group(_)) {
            let options = client.call(firewall::options(level)).await.map_err(|error| {
                ToolError::api(format!("read the firewall options of {}", found.at), &error)
            })?;
            let is_on = is_on(level, &options);
            state = if is_on { "on, " } else { "off, " };
            report = report.fact("enabled", is_on);
            if !matches!(level, Level::Node(_)) {
                let (incoming, outgoing) = policies(&options);
                report = report
                    .detail("policy_in", Cell::text(incoming))
                    .detail("policy_out", Cell::text(outgoing));
            }
        }
        let digest = rules.first().and_then(|rule| rule.digest.clone());
        report.lead =
            format!("{}: {state}{}, {on} of them enabled", found.at, counted(rules.len(), "rule"));
        report = report.fact("at", found.at.as_str()).fact("digest", digest).table(table(&rules));
        if matches!(level, Level::Cluster | Level::Guest(..)) {
            report = names(&found, report).await;
        }
        report.notes.extend(found.notes);
        Ok(report)
    }
}

/// Whether it is on; a node's is unless somebody turned it off, the others' are not.
pub(super) fn is_on(level: &Level, options: &FirewallOptions) -> bool {
    options.enable.unwrap_or(matches!(level, Level::Node(_)))
}

/// What happens where no rule fits: in, out.
pub(super) fn policies(options: &FirewallOptions) -> (String, String) {
    let or = |policy: &Option<String>, default: &str| {
        policy.clone().unwrap_or_else(|| default.to_owned())
    };
    (or(&options.policy_in, "DROP"), or(&options.policy_out, "ACCEPT"))
}

fn table(rules: &[Rule]) -> Table {
    let mut table = Table::new(
        "rules",
        &[
            "pos", "on", "type", "action", "macro", "source", "dest", "proto", "dport", "iface",
            "comment",
        ],
    );
    for rule in rules {
        let is_on = rule.enable.unwrap_or_default();
        table.push(vec![
            Cell::number(rule.position),
            Cell::with(is_on, if is_on { "yes" } else { "no" }),
            Cell::text(&*rule.kind),
            Cell::text(&*rule.action),
            Cell::opt(rule.macro_name.clone()),
            Cell::opt(rule.source.clone()),
            Cell::opt(rule.destination.clone()),
            Cell::opt(rule.protocol.clone()),
            Cell::opt(rule.destination_port.clone()),
            Cell::opt(rule.interface.clone()),
            Cell::opt(rule.comment.as_deref().map(Cell::foreign)),
        ]);
    }
    table
}

/// Adds the names that rules may use.
async fn names(found: &Found, mut report: Report) -> Report {
    let (client, level) = (&found.member.client, &found.level);
    let (aliases, sets) = futures::join!(
        client.call(firewall::aliases(level)),
        client.call(firewall::ip_sets(level))
    );
    let mut table = Table::new("names", &["name", "kind", "content"]);
    match aliases {
        Ok(aliases) => {
            for alias in aliases {
                table.push(vec![
                    Cell::text(alias.name),
                    Cell::text("alias"),
                    Cell::text(alias.cidr),
                ]);
            }
        }
        Err(error) => {
            report = report.note(format!("aliases are not known: {}", stdx::Chain(&error)));
        }
    }
    match sets {
        Ok(sets) => {
            let asked = sets.iter().map(|set| {
                let call = client.call(firewall::ip_set(level, &set.name));
                async move { (set.name.clone(), call.await) }
            });
            for (name, answer) in join_all(asked).await {
                let content = match answer {
                    Ok(entries) => {
                        let words = entries.iter().map(|entry| {
                            let mark = if entry.no_match.unwrap_or_default() { "!" } else { "" };
                            format!("{mark}{}", entry.cidr)
                        });
                        Cell::words(&words.collect::<Vec<_>>())
                    }
                    Err(error) => {
                        report =
                            report.note(format!("+{name} is not known: {}", stdx::Chain(&error)));
                        Cell::none()
                    }
                };
                table.push(vec![Cell::text(format!("+{name}")), Cell::text("ipset"), content]);
            }
        }
        Err(error) => {
            report = report.note(format!("IP sets are not known: {}", stdx::Chain(&error)));
        }
    }
    if matches!(level, Level::Cluster) {
        match client.call(firewall::groups()).await {
            Ok(groups) => {
                for group in groups {
                    let comment = Cell::opt(group.comment.as_deref().map(Cell::foreign));
                    table.push(vec![Cell::text(group.name), Cell::text("group"), comment]);
                }
            }
            Err(error) => {
                report = report.note(format!("groups are not known: {}", stdx::Chain(&error)));
            }
        }
    }
    if table.rows.is_empty() { report } else { report.table(table) }
}
