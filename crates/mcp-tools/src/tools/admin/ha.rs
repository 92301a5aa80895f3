//! `ha_list`: managed guests, rules or groups, the managers and fencing.

use std::{collections::BTreeMap, sync::Arc};

use api_core::{Error, ErrorKind};
use async_trait::async_trait;
use estate::{Access, GuestKind, NodeName};
use mcp_protocol::JsonObject;
use pve_client::ha::{self, HaManagerStatus, HaResource, HaRowKind, HaStatus};
use serde::Deserialize;

use super::{
    ask::away,
    page::{Page, Rows},
};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{
        cluster::{ha_problem, is_stale},
        parts,
        tally::counted,
    },
    view::{Guest, View},
};

const NAME: &str = "ha_list";

/// Shows high availability.
pub struct HaList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one cluster says.
struct Facts {
    view: View,
    current: Result<Vec<HaStatus>, Error>,
    resources: Result<Vec<HaResource>, Error>,
    manager: Result<HaManagerStatus, Error>,
    placements: Result<Placements, Error>,
    held: Option<Arc<Permissions>>,
}

/// Where guests may or should run: rules since 9, groups before.
#[derive(Clone, Debug, Default)]
pub(super) struct Placements {
    pub(super) is_rules: bool,
    pub(super) all: Vec<Placement>,
}

/// A rule, or a group of nodes.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    pub(super) name: String,
    /// `node-affinity`, `resource-affinity` or `group`.
    pub(super) kind: String,
    pub(super) resources: Vec<String>,
    pub(super) nodes: Vec<String>,
    /// `strict`, `positive`, `disabled`, …
    pub(super) options: Vec<String>,
    pub(super) comment: Option<String>,
    /// What is wrong with it, as the server says.
    pub(super) problem: Option<String>,
    pub(super) digest: Option<String>,
}

#[async_trait]
impl EstateTool for HaList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Show high availability",
            description: "HA: managed guests with wished and real state, rules or groups, managers, fencing; problems first.",
            input: Input::new().cluster().paged(),
            output: Output::new()
                .fact("service_count", "integer")
                .fact("problem_count", "integer")
                .table("services")
                .table("rules")
                .table("managers"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let now = cx.now();
        let load = |member: Arc<Pve>| async move {
            let client = &member.client;
            let (view, current, resources, manager, placements, held) = futures::join!(
                View::load(Arc::clone(&member)),
                client.call(ha::current()),
                client.call(ha::resources()),
                client.call(ha::manager_status()),
                placements(&member),
                sight::of_pve(&member, now),
            );
            Ok::<_, Error>(Facts { view: view?, current, resources, manager, placements, held })
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        let mut parts = Tables::default();
        let (mut report, mut summary) = (Report::default(), Vec::new());
        for (member, facts) in &gathered.answers {
            let key = member.key.as_str();
            report = report.unreachable(away(key, &facts.view));
            let (told, line) = parts.add(report, key, facts);
            summary.push(line);
            report = sight::tell(told, key, facts.held.as_deref(), &["audit"]);
        }
        let (count, wrong) = (parts.services.len(), parts.services.wrong());
        report.lead = if summary.is_empty() {
            "the settings have no PVE cluster".to_owned()
        } else {
            summary.join("; ")
        };
        report.lead = sight::lead_of(&gathered, std::mem::take(&mut report.lead));
        let columns = ["service", "name", "state", "wished", "node", "rules", "problem"];
        let mut services = Table::new("services", &columns);
        page.fill(&mut services, parts.services.into_rows(true));
        let mut report = report
            .fact("service_count", sight::known(&gathered, count))
            .fact("problem_count", sight::known(&gathered, wrong))
            .table(services);
        let rules = ["rule", "type", "guests", "nodes", "options", "problem", "comment"];
        let managers = ["node", "role", "state"];
        for (name, columns, rows) in
            [("rules", &rules[..], parts.rules), ("managers", &managers[..], parts.managers)]
        {
            let mut table = Table::new(name, columns);
            table.rows = rows.into_rows(true);
            report = report.table(table);
        }
        Ok(gathered.tell(report))
    }
}

/// The rules of a cluster, or before 9 its groups.
pub(super) async fn placements(member: &Pve) -> Result<Placements, Error> {
    let rules = match member.client.call(ha::rules()).await {
        Ok(rules) => rules,
        Err(error) if error.kind() == ErrorKind::NotImplemented => {
            let groups = member.client.call(ha::groups()).await?;
            let all = groups.into_iter().map(|group| {
                let flags = [(group.restricted, "restricted"), (group.no_failback, "nofailback")];
                Placement {
                    name: group.group,
                    kind: "group".to_owned(),
                    resources: Vec::new(),
                    nodes: group.nodes,
                    options: words(&flags),
                    comment: group.comment,
                    problem: None,
                    digest: group.digest,
                }
            });
            return Ok(Placements { is_rules: false, all: all.collect() });
        }
        Err(error) => return Err(error),
    };
    let all = rules.into_iter().map(|rule| {
        let flags = [(rule.strict == Some(true), "strict"), (rule.disabled, "disabled")];
        let mut options = words(&flags);
        options.extend(rule.affinity.clone());
        let errors = rule.errors.as_object().into_iter().flatten();
        let errors: Vec<String> = errors
            .map(|(key, why)| {
                let why = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
                format!("{key}: {why}")
            })
            .collect();
        Placement {
            name: rule.rule,
            kind: rule.kind,
            resources: rule.resources,
            nodes: rule.nodes,
            options,
            comment: rule.comment,
            problem: (!errors.is_empty()).then(|| errors.join("; ")),
            digest: rule.digest,
        }
    });
    Ok(Placements { is_rules: true, all: all.collect() })
}

fn words(flags: &[(bool, &str)]) -> Vec<String> {
    flags.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()).collect()
}

/// How HA calls a guest: `vm:104`.
pub(super) fn sid_of(guest: &Guest) -> String {
    let kind = match guest.kind {
        GuestKind::Qemu => "vm",
        GuestKind::Lxc => "ct",
    };
    format!("{kind}:{}", guest.at.vmid)
}

/// The rows of all tables.
#[derive(Default)]
struct Tables {
    services: Rows,
    rules: Rows,
    managers: Rows,
}

// === impl Tables ===

impl Tables {
    /// Adds a cluster, and says its line.
    fn add(&mut self, mut report: Report, key: &str, facts: &Facts) -> (Report, String) {
        let names: BTreeMap<String, &str> =
            facts.view.guests.iter().map(|guest| (sid_of(guest), guest.name.as_str())).collect();
        let placements = match &facts.placements {
            Ok(placements) => placements.clone(),
            Err(error) => {
                report = parts::missing(report, &format!("{key} HA rules"), error);
                Placements::default()
            }
        };
        let current = match &facts.current {
            Ok(current) => current.as_slice(),
            Err(error) => {
                report = parts::missing(report, &format!("{key} HA"), error);
                return (report, format!("{key}: HA is not known"));
            }
        };
        let resources = facts.resources.as_deref().unwrap_or_default();
        let (before, wrong_before) = (self.services.len(), self.services.wrong());
        let (mut master, mut fencing) = (None, None);
        for row in current {
            match row.kind {
                HaRowKind::Service => self.service(key, row, &names, resources, &placements),
                HaRowKind::Master => master = row.node.as_ref().map(NodeName::as_str),
                HaRowKind::Fencing => fencing = row.armed_state.as_deref(),
                HaRowKind::Quorum if row.quorate == Some(false) => {
                    report.notes.push(format!("{key}: NO QUORUM, so HA does nothing"));
                }
                _ => {}
            }
        }
        for row in current.iter().filter(|row| row.kind == HaRowKind::Lrm) {
            self.manager(key, row, facts, master);
        }
        for rule in &placements.all {
            self.rule(key, rule);
        }
        let count = self.services.len() - before;
        let wrong = self.services.wrong() - wrong_before;
        if count == 0 {
            return (report, format!("{key}: no HA services"));
        }
        if let Some(state) = fencing.filter(|state| *state != "armed") {
            report.notes.push(format!("{key}: fencing is {state}: a lost node is not fenced now"));
        }
        let kind = if placements.is_rules { "rule" } else { "group" };
        let line = format!(
            "{key}: {}, {wrong} with problems, {}, master {}",
            counted(count, "HA service"),
            counted(placements.all.len(), kind),
            master.unwrap_or("unknown")
        );
        (report, line)
    }

    fn service(
        &mut self,
        key: &str,
        row: &HaStatus,
        names: &BTreeMap<String, &str>,
        resources: &[HaResource],
        placements: &Placements,
    ) {
        let sid = row.sid.as_deref().or_else(|| row.id.strip_prefix("service:")).unwrap_or(&row.id);
        let state = row.state.as_deref().or(row.crm_state.as_deref()).unwrap_or("unknown");
        let wished = row.request_state.as_ref().map_or("started", |wish| wish.as_str());
        let problem = match names.get(sid) {
            None if !names.is_empty() => Some("no such guest to be seen"),
            _ => ha_problem(wished, state),
        };
        let held = placements.all.iter().filter(|it| it.resources.iter().any(|one| one == sid));
        let mut rules: Vec<String> = held.map(|it| it.name.clone()).collect();
        let resource = resources.iter().find(|it| it.sid == sid);
        rules.extend(resource.and_then(|it| it.group.clone()));
        self.services.push(
            problem.is_some(),
            vec![
                Cell::text(format!("{key}/{sid}")),
                Cell::opt(names.get(sid).copied()),
                Cell::text(state),
                Cell::text(wished),
                Cell::opt(row.node.as_ref().map(NodeName::as_str)),
                Cell::words(&rules),
                Cell::opt(problem),
            ],
        );
    }

    fn manager(&mut self, key: &str, row: &HaStatus, facts: &Facts, master: Option<&str>) {
        let node = row.node.as_ref().map_or("-", NodeName::as_str);
        let state = facts.manager.as_ref().ok().and_then(|it| it.manager.nodes.get(node));
        let is_wrong = is_stale(row) || state.is_some_and(|it| it != "online");
        let role = if master == Some(node) { "master" } else { "local" };
        // `birch (active, Mon …)`: the word in front says it.
        let word = row.status.split(['(', ',', ')']).nth(1).unwrap_or(&row.status).trim();
        let state = match state {
            Some(state) if state != "online" => format!("{word}, {state}"),
            _ => word.to_owned(),
        };
        self.managers.push(
            is_wrong,
            vec![Cell::text(format!("{key}/{node}")), Cell::text(role), Cell::text(state)],
        );
    }

    fn rule(&mut self, key: &str, rule: &Placement) {
        self.rules.push(
            rule.problem.is_some(),
            vec![
                Cell::text(format!("{key}/{}", rule.name)),
                Cell::text(&*rule.kind),
                Cell::words(&rule.resources),
                Cell::words(&rule.nodes),
                Cell::words(&rule.options),
                Cell::opt(rule.problem.clone()),
                Cell::opt(rule.comment.as_deref().map(Cell::foreign)),
            ],
        );
    }
}
