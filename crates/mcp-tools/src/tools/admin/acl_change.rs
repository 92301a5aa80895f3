//! `acl_change`: gives a role on a path, or takes it away; the plan says who gains and loses what.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    access::POWERFUL,
    act::object,
    ask::few,
    book::Keeper,
    rights::{Book, Line, Shift, clean, shifts},
};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
};

const NAME: &str = "acl_change";

/// The most pairs of principal and path that are worked out.
const WORKED_OUT: usize = 4000;
/// The most effects that are told.
const TOLD: usize = 20;

/// Changes who may do what.
pub struct AclChange;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    path: String,
    who: String,
    role: String,
    propagate: Option<bool>,
    #[serde(default)]
    remove: bool,
}

#[async_trait]
impl ActionTool for AclChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Change access",
            description: "Gives a role on a path to a user, token or group, or takes it away (remove); the plan says who gains and loses what.",
            input: Input::new()
                .cluster()
                .text("path", "/vms/104, /pool/lab, /")
                .required("path")
                .text("who", "user@realm, user@realm!token or group")
                .required("who")
                .text("role", "")
                .required("role")
                .boolean("propagate", "also below; yes without")
                .boolean("remove", ""),
            output: Output::new()
                .fact("path", "string")
                .fact("who", "string")
                .fact("role", "string")
                .fact("status", "string"),
            access: Access::Destroy,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        // It can lock people out, and let others take everything.
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let keeper = Keeper::find(cx, args.cluster.as_deref())?;
        let read = keeper.read(cx).await?;
        if let Some(gap) = read.gaps.first() {
            return Err(ToolError::new(format!(
                "who gains and loses what on {} cannot be told: {gap}",
                keeper.key()
            ))
            .hint("nothing is changed that cannot be said"));
        }
        let before = read.book;
        let line = wanted(&keeper, &before, &args)?;
        let same = |it: &&Line| it.path == line.path && it.who == line.who && it.role == line.role;
        let known = before.lines.iter().find(same).cloned();
        let is_there = known.as_ref().is_some_and(|it| it.propagate == line.propagate);
        let sentence = told(&line);
        if args.remove && known.is_none() || !args.remove && is_there {
            let state = if args.remove { "is not there" } else { "is there already" };
            let lead = format!("{sentence} on {} {state}: nothing was done", keeper.key());
            return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
        }
        let mut after = before.clone();
        after.lines.retain(|it| !same(&it));
        if !args.remove {
            after.lines.push(line.clone());
        }
        let doing = if args.remove { "removal" } else { "addition" };
        let what = format!("{doing} of {sentence} on {}", keeper.key());
        let step = step(&keeper, &what, &line, args.remove);
        let here: Vec<String> =
            before.lines.iter().filter(|it| it.path == line.path).map(told).collect();
        let at = format!("{} {}", keeper.key(), line.path);
        let back = back(&keeper, known.as_ref(), &line, args.remove);
        let mut plan = Plan::new(what)
            .fact("path", line.path.as_str())
            .fact("who", line.who.as_str())
            .fact("role", line.role.as_str())
            .target(
                at,
                [("lines", if here.is_empty() { "none".to_owned() } else { here.join("; ") })],
            )
            .change(
                format!("{} on {}", line.who, line.path),
                known.as_ref().map_or_else(|| "-".to_owned(), role_of),
                if args.remove { "-".to_owned() } else { role_of(&line) },
            )
            .undo(Undo::Call(NAME, back.clone()))
            .step(step);
        let own = shifts(&before, &after, &keeper.accounts(), &before.reach(&line.path));
        plan = match own.into_iter().find(|shift| !shift.lost.is_empty()) {
            // Whoever loses a right here may be the one who would have to give it back.
            Some(shift) => plan.not_reverted(&format!(
                "{}, by which this server works, loses {} on {}",
                shift.who,
                few(&shift.lost.iter().collect::<Vec<_>>()),
                shift.path
            )),
            None => plan.unless_confirmed([(NAME, back)]),
        };
        plan = consequences(plan, &before, &after, &line, args.remove, cx.now());
        Ok(plan.settle(move |cx, done| async move {
            let now = keeper.read(&cx).await?.book;
            let is_there = now.lines.contains(&line);
            if is_there == args.remove {
                let lead = format!("{sentence} was asked for, but the list does not say so");
                return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
            }
            let state = if args.remove { "is gone" } else { "holds" };
            let next = json!({"cluster": keeper.key(), "path": line.path});
            let lead = format!("{sentence} on {} {state}", keeper.key());
            Ok(done.report(lead).next("access_explain", next))
        }))
    }
}

/// The line that the arguments mean, checked against what there is.
fn wanted(keeper: &Keeper, book: &Book, args: &Args) -> Result<Line, ToolError> {
    let role = args.role.trim();
    if !book.roles.contains_key(role) {
        let shown = stdx::untrusted::line(role, 60);
        let mut table = Table::new("roles", &["role", "privileges"]);
        for (name, privileges) in &book.roles {
            table.push(vec![Cell::text(name), Cell::number(privileges.len())]);
        }
        let error = ToolError::not_found(format!("{} has no role `{shown}`", keeper.key()));
        return Err(error.choices(table));
    }
    let who = args.who.trim();
    let bare = who.strip_prefix('@').unwrap_or(who);
    let is_group = book.groups.contains_key(bare);
    let who = if is_group { bare } else { who };
    let exists = is_group
        || match who.split_once('!') {
            Some((user, token)) => {
                book.users.get(user).is_some_and(|account| account.tokens.contains_key(token))
            }
            None => book.users.contains_key(who),
        };
    // What is gone can still be named by lines that are to go.
    let is_named = args.remove && book.lines.iter().any(|line| line.who == who);
    if !exists && !is_named {
        let shown = stdx::untrusted::line(who, 60);
        let mut table = Table::new("principals", &["who"]);
        book.users.keys().take(40).for_each(|user| table.push(vec![Cell::text(user)]));
        book.groups.keys().take(20).for_each(|it| table.push(vec![Cell::text(format!("@{it}"))]));
        let error = ToolError::not_found(format!("{} has no `{shown}`", keeper.key()));
        return Err(error.choices(table));
    }
    Ok(Line {
        path: clean(args.path.trim()),
        who: who.to_owned(),
        is_group: is_group || is_named && !who.contains('@'),
        role: role.to_owned(),
        propagate: args.propagate.unwrap_or(true),
    })
}

/// `PVEVMUser for group developers on /pool/lab`
fn told(line: &Line) -> String {
    let group = if line.is_group { "group " } else { "" };
    let alone = if line.propagate { "" } else { " (this path only)" };
    format!("{} for {group}{} on {}{alone}", line.role, line.who, line.path)
}

fn role_of(line: &Line) -> String {
    let alone = if line.propagate { "" } else { " (this path only)" };
    format!("{}{alone}", line.role)
}

/// The arguments that take it back.
fn back(keeper: &Keeper, known: Option<&Line>, line: &Line, remove: bool) -> JsonObject {
    let mut args = json!({
        "cluster": keeper.key(), "path": line.path, "who": line.who, "role": line.role,
    });
    match known {
        // It was there, otherwise or as it was.
        Some(known) => args["propagate"] = known.propagate.into(),
        None if !remove => args["remove"] = true.into(),
        None => {}
    }
    object(args)
}

fn step(keeper: &Keeper, what: &str, line: &Line, remove: bool) -> Step {
    let propagate = (!remove).then_some(line.propagate);
    let delete = remove.then_some(true);
    match keeper {
        Keeper::Pve(member) => {
            use pve_client::access::{AclParams, update_acl};

            let one = [line.who.as_str()];
            let mut options = AclParams {
                path: line.path.clone(),
                roles: [line.role.as_str()].into_iter().collect(),
                propagate,
                delete,
                ..AclParams::default()
            };
            if line.is_group {
                options.groups = one.into_iter().collect();
            } else if line.who.contains('!') {
                options.tokens = one.into_iter().collect();
            } else {
                options.users = one.into_iter().collect();
            }
            Step::pve(member, what, update_acl(options))
        }
        Keeper::Pbs(member) => {
            use pbs_client::access::{AclParams, update_acl};

            let options = AclParams {
                path: line.path.clone(),
                role: line.role.clone(),
                auth_id: (!line.is_group).then(|| line.who.clone()),
                group: line.is_group.then(|| line.who.clone()),
                propagate,
                delete,
            };
            Step::pbs(member, what, update_acl(options))
        }
    }
}

/// Says who gains and loses what, and what that could mean.
fn consequences(
    mut plan: Plan,
    before: &Book,
    after: &Book,
    line: &Line,
    remove: bool,
    now: jiff::Timestamp,
) -> Plan {
    let who = before.concerned(&line.who, line.is_group);
    let mut paths = before.reach(&line.path);
    let most = WORKED_OUT / who.len().max(1);
    if paths.len() > most {
        plan = plan.note(format!("worked out for {most} of {} paths", paths.len()));
        paths = paths.into_iter().take(most).collect();
        paths.insert(line.path.clone());
    }
    let all = shifts(before, after, &who, &paths);
    for effect in effects(&all).into_iter().take(TOLD) {
        plan = plan.effect(effect);
    }
    if all.is_empty() {
        plan = plan.effect("nobody's rights change by it now");
    }
    let gained: BTreeSet<&String> = all.iter().flat_map(|shift| &shift.gained).collect();
    let lost: BTreeSet<&String> = all.iter().flat_map(|shift| &shift.lost).collect();
    let powerful: Vec<&str> =
        POWERFUL.iter().copied().filter(|it| gained.iter().any(|gain| gain == it)).collect();
    if powerful.contains(&"Permissions.Modify") {
        plan = plan.warn(
            "escalates",
            "Permissions.Modify lets its holder give itself everything below this path",
        );
    } else if !powerful.is_empty() {
        plan = plan.warn("powerful", format!("brings {}", few(&powerful)));
    }
    if !remove && !lost.is_empty() {
        let lost: Vec<&String> = lost.into_iter().collect();
        plan = plan.warn(
            "replaces",
            format!(
                "a line on a deeper path replaces what came from above: {} is lost there",
                few(&lost)
            ),
        );
    }
    let keepers = |book: &Book| {
        let all = book.principals().into_iter();
        let able = all.filter(|it| it != "root@pam" && book.barred(it, now).is_none());
        able.filter(|it| book.rights(it, "/").privileges.contains_key("Permissions.Modify")).count()
    };
    if keepers(before) > 0 && keepers(after) == 0 {
        plan =
            plan.warn("last_administrator", "after this only root@pam may change permissions on /");
    }
    let capped = who.iter().filter(|it| it.contains('!')).filter_map(|token| {
        let capped = after.rights(token, &line.path).capped;
        (!remove && !capped.is_empty() && *token == line.who).then_some(capped)
    });
    for capped in capped {
        let capped: Vec<String> = capped.into_iter().collect();
        plan = plan.warn(
            "capped",
            format!(
                "the token's user lacks {} there, so the token gets nothing of that",
                few(&capped)
            ),
        );
    }
    plan
}

/// Who, what it gains, and what it loses.
type Gist<'a> = (&'a str, &'a BTreeSet<String>, &'a BTreeSet<String>);

/// The shifts in sentences, the same for several paths said once.
fn effects(all: &[Shift]) -> Vec<String> {
    let mut by: BTreeMap<Gist<'_>, Vec<&str>> = BTreeMap::new();
    for shift in all {
        by.entry((&shift.who, &shift.gained, &shift.lost)).or_default().push(&shift.path);
    }
    let sentences = by.into_iter().map(|((who, gained, lost), paths)| {
        let names = |all: &BTreeSet<String>| {
            let all: Vec<&String> = all.iter().collect();
            let count = if all.len() > 6 {
                format!("{} (", counted(all.len(), "privilege"))
            } else {
                String::new()
            };
            let end = if count.is_empty() { "" } else { ")" };
            format!("{count}{}{end}", few(&all))
        };
        let mut parts = Vec::new();
        if !gained.is_empty() {
            parts.push(format!("gains {}", names(gained)));
        }
        if !lost.is_empty() {
            parts.push(format!("loses {}", names(lost)));
        }
        format!("{who} {} on {}", parts.join(" and "), few(&paths))
    });
    sentences.collect()
}

/// The effects of another change on rights, for plans that touch them on the way.
pub(super) fn effects_of(before: &Book, after: &Book, paths: &BTreeSet<String>) -> Vec<String> {
    let who: BTreeSet<String> =
        before.principals().into_iter().filter(|it| it != "root@pam").collect();
    if who.len() * paths.len() > WORKED_OUT {
        return vec![
            "who may do what changes with it: too many to tell here (access_explain)".to_owned(),
        ];
    }
    effects(&shifts(before, after, &who, paths))
}
