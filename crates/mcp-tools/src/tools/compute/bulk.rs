//! `guests_power`: one power action for many guests, chosen by a filter, planned as a whole.

use std::{fmt::Write as _, sync::Arc};

use async_trait::async_trait;
use estate::Access;
use futures::{StreamExt as _, future::join_all, stream};
use guard::ports::TaskTrace;
use mcp_protocol::JsonObject;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    follow::{Pace, Until, state::State},
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome, Undo, planned},
    report::{Cell, Report, Table, Unreachable},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition},
    tools::{
        guests::{self, Filter, Seen},
        power::{
            decide::{Action, Verdict, decide},
            named, object, request,
        },
    },
    view::{Guest, View},
};

/// How many guests one call changes at most, where nothing is said.
const LIMIT: usize = 20;

/// How many are changed at the same time, where nothing is said: the workers of one node.
const PARALLEL: usize = 3;

/// How many names stand in a sentence.
const NAMED: usize = 12;

/// How long a guest has to be in its new state after its task has ended.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(5);

const WHAT: &str = "change all of them";
const ORDERS: &[&str] = &["id", "name", "memory"];

/// Turns many guests on or off.
pub(super) struct GuestsPower;

#[derive(Debug, Deserialize)]
struct Args {
    action: Action,
    guests: Option<String>,
    cluster: Option<String>,
    node: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    tag: Option<String>,
    pool: Option<String>,
    text: Option<String>,
    limit: Option<usize>,
    parallel: Option<usize>,
    order: Option<String>,
}

/// One guest that is to be changed.
#[derive(Clone)]
struct Target {
    member: Arc<Pve>,
    guest: Guest,
    managed: bool,
}

/// What came of one guest, as it travels from the step to the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fate {
    guest: String,
    name: String,
    /// `done`, `requested`, `failed`, `unknown`, `unchanged`, `refused` or `not begun`.
    outcome: String,
    detail: Option<String>,
    upid: Option<String>,
}

/// What is told of all that the filter chose.
#[derive(Default)]
struct Sorted {
    go: Vec<Target>,
    still: Vec<Fate>,
}

#[async_trait]
impl ActionTool for GuestsPower {
    fn definition(&self) -> Definition {
        Definition {
            name: "guests_power",
            title: "Start or stop many guests",
            description: "One power action for all guests that fit every filter; says of each what \
                came of it. plan: true shows which. Use guest_power for one.",
            input: Input::new()
                .choice("action", Action::NAMES, "")
                .required("action")
                .text("guests", "cluster/vmid or names, by comma")
                .cluster()
                .node()
                .choice("kind", &["vm", "ct"], "")
                .choice("status", &["running", "stopped", "paused"], "")
                .text("tag", "")
                .text("pool", "")
                .text("text", "in name, id or tags")
                .integer("limit", 1..=200, "more is refused; default 20")
                .integer("parallel", 1..=10, "default 3")
                .choice("order", ORDERS, ""),
            output: Output::new()
                .table("guests")
                .fact("action", "string")
                .fact("status", "string")
                .fact("done", "integer")
                .fact("failed", "integer")
                .fact("refused", "integer")
                .fact("unchanged", "integer"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let word = args.action.as_str();
        let (chosen, silent, words) = chosen(cx, &args).await?;
        let limit = args.limit.unwrap_or(LIMIT);
        let (chosen, so_already) = split(args.action, chosen);
        if chosen.len() > limit {
            return Err(too_many(&chosen, limit, word));
        }
        let mut sorted = sort(&args, chosen).await;
        sorted.still.extend(so_already);
        if sorted.go.is_empty() {
            return Ok(Plan::already(nothing_to_do(word, &words, sorted.still, silent)));
        }
        let count = sorted.go.len();
        let plural = if count == 1 { "guest" } else { "guests" };
        let mut plan = Plan::new(format!("{word} of {count} {plural} ({words})"))
            .fact("action", word)
            .undo(undo(&args, &sorted.go));
        let names: Vec<String> = sorted.go.iter().map(|target| named(&target.guest)).collect();
        plan = plan.effect(format!("{word}: {}", some(&names)));
        let managed: Vec<String> = sorted
            .go
            .iter()
            .filter(|target| target.managed && args.action.through_ha().is_some())
            .map(|target| target.guest.at.to_string())
            .collect();
        if !managed.is_empty() {
            plan = plan
                .effect(format!("HA is asked for, and does it when it can: {}", some(&managed)));
        }
        if args.action.cuts() {
            plan = plan.warn("power_cut", "what the guests have not written to disk is lost");
        }
        let still: Vec<String> = sorted
            .still
            .iter()
            .map(|fate| format!("{} ({})", fate.guest, fate.detail.as_deref().unwrap_or_default()))
            .collect();
        if !still.is_empty() {
            plan = plan.effect(format!("left as they are: {}", some(&still)));
        }
        for part in &silent {
            plan =
                plan.effect(format!("{} did not answer and is left out: {}", part.what, part.why));
        }
        for target in &sorted.go {
            let state =
                [("status", target.guest.status.as_str()), ("node", target.guest.node.as_str())];
            plan = plan.target(target.guest.at.to_string(), state);
        }
        let calls = sorted.go.iter().map(|target| {
            planned(target.member.key.as_str(), &request(args.action, &target.guest))
        });
        let step =
            Step::other(WHAT, calls.collect(), work(args.action, args.parallel, sorted.go.clone()));
        let (action, targets, still) = (args.action, sorted.go, sorted.still);
        Ok(plan.step(step).settle(move |_, done| settle(action, targets, still, silent, done)))
    }
}

/// The guests that the filters mean, and who was silent.
async fn chosen(
    cx: &Cx,
    args: &Args,
) -> Result<(Vec<(Arc<Pve>, Guest)>, Vec<Unreachable>, String), ToolError> {
    let given = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    let mut filter = Filter {
        cluster: given(&args.cluster),
        node: given(&args.node),
        kind: args.kind.clone(),
        status: args.status.clone(),
        tag: given(&args.tag),
        pool: given(&args.pool),
        text: given(&args.text),
        ..Filter::default()
    };
    if filter.cluster.is_none()
        && let Some((cluster, node)) = filter.node.as_deref().and_then(|at| at.split_once('/'))
    {
        (filter.cluster, filter.node) = (Some(cluster.to_owned()), Some(node.to_owned()));
    }
    let words = filter_words(&filter, args.guests.as_deref());
    if words.is_empty() {
        return Err(ToolError::new("nothing says which guests are meant")
            .hint("give guests, or filter by cluster, node, kind, status, tag, pool or text")
            .next("guests_list", JsonObject::new()));
    }
    if let Some(list) = given(&args.guests) {
        let mut found = Vec::new();
        for text in list.split([',', ';', ' ']).filter(|text| !text.is_empty()) {
            let one = cx.fleet.find_guest(text, Purpose::Write).await?;
            if filter.fit(&one.guest)
                && !found.iter().any(|(_, guest): &(_, Guest)| guest.at == one.guest.at)
            {
                found.push((one.member, one.guest));
            }
        }
        return Ok((found, Vec::new(), words));
    }
    let members = cx.fleet.pve(filter.cluster.as_deref())?;
    let now = cx.now();
    let load = |member: Arc<Pve>| async move {
        let (view, held) =
            futures::join!(View::load(Arc::clone(&member)), sight::of_pve(&member, now));
        Ok::<Seen, api_core::Error>((view?, held))
    };
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
    guests::check_filters(&filter, &gathered)?;
    if gathered.answers.is_empty() {
        return Err(ToolError::new(sight::NOBODY)
            .of_kind(crate::error::Kind::Unavailable)
            .with_silence(&gathered));
    }
    let mut silent = gathered.unreachable.clone();
    silent.extend(
        gathered
            .refused
            .iter()
            .map(|(key, why)| Unreachable { what: key.to_string(), why: why.clone() }),
    );
    let mut found = Vec::new();
    for (member, (view, _)) in &gathered.answers {
        let fit = view.guests.iter().filter(|guest| !guest.is_template() && filter.fit(guest));
        found.extend(fit.map(|guest| (Arc::clone(member), guest.clone())));
    }
    let order = args.order.as_deref().unwrap_or("id");
    found.sort_by(|(_, a), (_, b)| match order {
        "name" => a.name.cmp(&b.name).then_with(|| a.at.cmp(&b.at)),
        // What needs the most goes last, up or down: the small ones free or take little.
        "memory" => a.max_mem.cmp(&b.max_mem).then_with(|| a.at.cmp(&b.at)),
        _ => a.at.cmp(&b.at),
    });
    Ok((found, silent, words))
}

/// What was asked for, in a few words.
fn filter_words(filter: &Filter, guests: Option<&str>) -> String {
    let pairs = [
        ("guests", guests),
        ("cluster", filter.cluster.as_deref()),
        ("node", filter.node.as_deref()),
        ("kind", filter.kind.as_deref()),
        ("status", filter.status.as_deref()),
        ("tag", filter.tag.as_deref()),
        ("pool", filter.pool.as_deref()),
        ("text", filter.text.as_deref()),
    ];
    let words = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    let words = words.collect::<Vec<_>>().join(", ");
    stdx::untrusted::line(&words, 200).into_owned()
}

/// Those that are to be looked at, and those that are so already as their clusters say.
fn split(action: Action, chosen: Vec<(Arc<Pve>, Guest)>) -> (Vec<(Arc<Pve>, Guest)>, Vec<Fate>) {
    let restarts = matches!(action, Action::Reboot | Action::Reset);
    let is_so = |guest: &Guest| {
        // HA may be about to change what it manages.
        !restarts && !guest.is_ha_managed() && guest.status == action.goal()
    };
    let (so, rest): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, guest)| is_so(guest));
    let so = so.iter().map(|(_, guest)| {
        Fate::new(guest, "unchanged", Some(format!("already {}", guest.status.as_str())))
    });
    (rest, so.collect())
}

fn too_many(chosen: &[(Arc<Pve>, Guest)], limit: usize, word: &str) -> ToolError {
    let count = chosen.len();
    let mut table = Table::new("guests", &["guest", "name", "status"]);
    for (_, guest) in chosen.iter().take(50) {
        table.push(vec![
            Cell::text(guest.at.to_string()),
            Cell::text(&*guest.name),
            Cell::text(guest.status.as_str()),
        ]);
    }
    table.total = Some(count);
    let report = Report::new(format!(
        "{word} was not tried: {count} guests fit, and no more than {limit} are changed at once"
    ));
    ToolError::from_report(report.fact("status", "refused"))
        .hint("narrow the filter, or raise limit if all of them are meant")
        .choices(table)
}

/// Reads the state of each, and tells those to be changed from those that are so already or cannot
/// be.
async fn sort(args: &Args, chosen: Vec<(Arc<Pve>, Guest)>) -> Sorted {
    let asked = chosen.into_iter().map(|(member, guest)| async move {
        let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
        (member, guest, state)
    });
    let mut sorted = Sorted::default();
    for (member, mut guest, state) in join_all(asked).await {
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                let why = format!("its state cannot be read: {}", stdx::Chain(&error));
                sorted.still.push(Fate::new(&guest, "refused", Some(why)));
                continue;
            }
        };
        let managed = guest.is_ha_managed() || state.ha_managed;
        let ha_state = guest.ha_state.as_deref().filter(|_| managed);
        match decide(args.action, guest.kind, &state, ha_state) {
            Verdict::Go => {
                guest.status = state.status;
                sorted.go.push(Target { member, guest, managed });
            }
            Verdict::Already => {
                let why = format!("already {}", state.status.as_str());
                sorted.still.push(Fate::new(&guest, "unchanged", Some(why)));
            }
            Verdict::Refuse(why, instead) => {
                let why = format!("{why} ({instead})");
                sorted.still.push(Fate::new(&guest, "refused", Some(why)));
            }
        }
    }
    sorted
}

/// The call that does the opposite, with the guests that are changed now.
fn undo(args: &Args, targets: &[Target]) -> Undo {
    let back = match args.action {
        Action::Start => "shutdown",
        Action::Shutdown | Action::Stop => "start",
        Action::Suspend => "resume",
        Action::Resume => "suspend",
        Action::Reboot | Action::Reset => {
            return Undo::Never("guests that were restarted were restarted".to_owned());
        }
    };
    let guests: Vec<String> = targets.iter().map(|target| target.guest.at.to_string()).collect();
    let mut call = json!({"action": back, "guests": guests.join(",")});
    if targets.len() > LIMIT {
        call["limit"] = targets.len().into();
    }
    Undo::Call("guests_power", object(call))
}

/// Changes all of them, some at a time; one that fails holds none of the others up.
fn work(action: Action, parallel: Option<usize>, targets: Vec<Target>) -> crate::plan::Work {
    Box::new(move |running: Running| {
        Box::pin(async move {
            let count = targets.len();
            let each = targets.into_iter().map(|target| change(running.clone(), action, target));
            let mut all = stream::iter(each).buffered(parallel.unwrap_or(PARALLEL).max(1));
            let mut fates = Vec::with_capacity(count);
            while let Some(fate) = all.next().await {
                running.tell(format!(
                    "{} of {count}: {} {}",
                    fates.len() + 1,
                    fate.guest,
                    fate.outcome
                ));
                fates.push(fate);
            }
            let mut outcome = StepOutcome::default();
            outcome.value = json!(fates);
            Ok(outcome)
        })
    })
}

async fn change(running: Running, action: Action, target: Target) -> Fate {
    let Target { member, guest, managed } = target;
    if running.stop.is_cancelled() {
        return Fate::new(&guest, "not begun", Some("the call was cancelled before".to_owned()));
    }
    let what = format!("{} of {}", action.as_str(), named(&guest));
    let call = request(action, &guest);
    let trace = TaskTrace {
        member: member.key.to_string(),
        node: guest.node.to_string(),
        kinds: action.task_kinds(guest.kind).iter().map(|kind| (*kind).to_owned()).collect(),
        id: guest.at.vmid.to_string(),
        user: member.traits.user.clone(),
    };
    let running = match running.within(&member, &what, &call, Some(trace)).await {
        Ok(running) => running,
        Err(error) => return Fate::new(&guest, "not begun", Some(error.message().to_owned())),
    };
    let upid = match member.operator.call(call).await {
        Ok(upid) => upid,
        Err(error) => {
            let outcome = if error.may_have_run() { "unknown" } else { "failed" };
            let why = stdx::Chain(&error).to_string();
            let report = Report::new(why.as_str()).fact("status", outcome);
            running.ended(Some(&ToolError::from_report(report))).await;
            return Fate::new(&guest, outcome, Some(why));
        }
    };
    let followed = running.follow_pve(&member, &what, &upid, false).await;
    running.ended(followed.as_ref().err()).await;
    let mut fate = match followed {
        Ok(_) if managed && action.through_ha().is_some() => Fate::new(&guest, "requested", None),
        Ok(_) => Fate::new(&guest, "done", None),
        Err(error) => {
            let report = error.into_report();
            let cause = report.facts.get("cause").and_then(|cause| cause.as_str());
            let outcome = if cause.is_some() { "failed" } else { "unknown" };
            let why = cause.map_or_else(|| report.lead.clone(), str::to_owned);
            Fate::new(&guest, outcome, Some(why))
        }
    };
    fate.upid = Some(upid.as_str().to_owned());
    fate
}

// === impl Fate ===

impl Fate {
    fn new(guest: &Guest, outcome: &str, detail: Option<String>) -> Self {
        let detail = detail.map(|text| stdx::untrusted::line(&text, 200).into_owned());
        Self {
            guest: guest.at.to_string(),
            name: stdx::untrusted::line(&guest.name, 64).into_owned(),
            outcome: outcome.to_owned(),
            detail,
            upid: None,
        }
    }
}

/// Looks at each once more, and tells what came of it.
async fn settle(
    action: Action,
    targets: Vec<Target>,
    still: Vec<Fate>,
    silent: Vec<Unreachable>,
    done: Done,
) -> Result<Report, ToolError> {
    let value = done.value(WHAT).cloned().unwrap_or_default();
    let mut fates: Vec<Fate> = serde_json::from_value(value).unwrap_or_default();
    let looks = fates.iter_mut().map(|fate| {
        let target = targets.iter().find(|target| target.guest.at.to_string() == fate.guest);
        async move {
            if let Some(target) =
                target.filter(|_| matches!(fate.outcome.as_str(), "done" | "requested"))
            {
                look(action, target, fate).await;
            }
        }
    });
    join_all(looks).await;
    let took = done.span();
    let mut report = told(action.as_str(), fates, still, &took);
    report.unreachable.extend(silent);
    let failed = report.facts.get("failed").and_then(serde_json::Value::as_u64).unwrap_or_default();
    if failed > 0 { Err(ToolError::from_report(report)) } else { Ok(report) }
}

/// What the guest is now, against what it should be.
async fn look(action: Action, target: &Target, fate: &mut Fate) {
    let Target { member, guest, .. } = target;
    let until = Until::patient().at_most(SETTLE);
    let mut pace = Pace::new();
    loop {
        let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
        match state {
            Ok(state) if state.status == action.goal() => {
                "done".clone_into(&mut fate.outcome);
                return;
            }
            // How a suspended container shows depends on the release.
            Ok(_) if action == Action::Suspend && guest.kind == estate::GuestKind::Lxc => return,
            Ok(state) if until.is_over() => {
                let is_wish = fate.outcome == "requested";
                let word = state.status.as_str();
                fate.detail = Some(if is_wish {
                    format!("HA was asked; it is {word} yet")
                } else {
                    format!("its task ended well, but it is {word}")
                });
                if !is_wish {
                    "failed".clone_into(&mut fate.outcome);
                }
                return;
            }
            Err(error) if until.is_over() => {
                fate.detail = Some(format!("its state cannot be read: {}", stdx::Chain(&error)));
                return;
            }
            _ => pace.wait(&until).await,
        }
    }
}

/// The answer: how many, then those that stand out, then the rest.
fn told(word: &str, fates: Vec<Fate>, still: Vec<Fate>, took: &str) -> Report {
    let begun = fates.len();
    let mut all: Vec<Fate> = fates.into_iter().chain(still).collect();
    let rank = |fate: &Fate| match fate.outcome.as_str() {
        "failed" => 0,
        "unknown" => 1,
        "not begun" => 2,
        "refused" => 3,
        "requested" => 4,
        "done" => 5,
        _ => 6,
    };
    all.sort_by_key(rank);
    let count =
        |words: &[&str]| all.iter().filter(|fate| words.contains(&fate.outcome.as_str())).count();
    let (done, failed) = (count(&["done"]), count(&["failed", "unknown", "not begun"]));
    let (refused, unchanged, requested) =
        (count(&["refused"]), count(&["unchanged"]), count(&["requested"]));
    let mut lead = if begun == 0 {
        format!("{word}: nothing was done")
    } else {
        format!("{word}: {done} of {begun} done ({took})")
    };
    for (number, what) in [
        (failed, "failed"),
        (requested, "asked of HA"),
        (refused, "left alone"),
        (unchanged, "were so already"),
    ] {
        if number > 0 {
            let _ = write!(lead, "; {number} {what}");
        }
    }
    let mut table = Table::new("guests", &["guest", "outcome", "name", "detail"]);
    // What was so already is counted: its rows would only hide the others.
    for fate in all.iter().filter(|fate| fate.outcome != "unchanged") {
        table.push(vec![
            Cell::text(&*fate.guest),
            Cell::text(&*fate.outcome),
            Cell::text(&*fate.name),
            Cell::opt(fate.detail.as_deref()),
        ]);
    }
    let status = if failed > 0 {
        "failed"
    } else if begun == 0 {
        "unchanged"
    } else {
        "ok"
    };
    let mut report = Report::new(lead)
        .fact("action", word)
        .fact("status", status)
        .fact("done", done)
        .fact("failed", failed)
        .fact("refused", refused)
        .fact("unchanged", unchanged);
    if !table.rows.is_empty() {
        report = report.table(table);
    }
    let worst = all.iter().find(|fate| matches!(fate.outcome.as_str(), "failed" | "unknown"));
    if let Some(fate) = worst {
        report = match &fate.upid {
            Some(upid) => {
                let cluster = fate.guest.split('/').next().unwrap_or_default();
                report.next("task_get", json!({"upid": upid, "cluster": cluster}))
            }
            None => report.next("guest_get", json!({"guest": fate.guest})),
        };
    }
    report
}

fn nothing_to_do(word: &str, words: &str, still: Vec<Fate>, silent: Vec<Unreachable>) -> Report {
    let is_none = still.is_empty();
    let mut report = told(word, Vec::new(), still, "0 s");
    if is_none {
        report.lead = format!("{word}: no guest fits ({words}): nothing was done");
        report = report.next("guests_list", serde_json::Value::Object(object(json!({}))));
    }
    report.unreachable.extend(silent);
    report
}

fn some(names: &[String]) -> String {
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out_comes_first() {
        let fate = |guest: &str, outcome: &str| Fate {
            guest: guest.to_owned(),
            name: "x".to_owned(),
            outcome: outcome.to_owned(),
            detail: None,
            upid: None,
        };
        let fates =
            vec![fate("lab/1", "done"), fate("lab/2", "failed"), fate("lab/3", "requested")];
        let report = told("stop", fates, vec![fate("lab/4", "unchanged")], "3 s");
        assert_eq!(
            report.lead,
            "stop: 1 of 3 done (3 s); 1 failed; 1 asked of HA; 1 were so already"
        );
        assert_eq!(report.tables[0].rows[0][0].value(), "lab/2");
        assert_eq!(report.facts["status"], "failed");
    }
}
