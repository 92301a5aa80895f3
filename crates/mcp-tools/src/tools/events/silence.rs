//! `silence_set`: nobody is told of some events for some time.
//!
//! *Invariant:* a silence that a tool makes never covers what is critical, what is about logins and
//! permissions, changes, or whether anything is heard at all ([`NEVER`]): who could silence that could
//! hide what they do. It lasts a day at most, and is about something.
//! *Invariant:* a caller that is kept to some clusters silences one of them, whatever its condition
//! says.

use std::sync::Arc;

use async_trait::async_trait;
use condition::Condition;
use estate::{Access, NodeName};
use event_core::{
    ComponentId, Kind,
    desk::{EventDesk, NewSilence},
};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::JsonObject;
use rules::SHAPE;
use serde::Deserialize;
use serde_json::json;

use super::{Sight, desk, refused, shown::bare_node, sight, silences, step};
use crate::{
    address::quoted,
    error::ToolError,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, age, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::since,
};

/// What no silence of a tool covers.
pub(super) const NEVER: &str = "event.severity != 'critical' && \
    !(event.family in ['auth', 'user', 'change', 'monitor', 'input', 'output'])";

/// The families that are among it.
const NEVER_FAMILIES: &[&str] = &["auth", "user", "change", "monitor", "input", "output"];

/// The longest silence.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// The longest reason and condition, in characters, and how much of them is one line of a question.
const REASON: usize = 300;
const WHEN: usize = 600;
const LINE: usize = 200;

const SET: &str = "begin the silence";

/// Begins a silence.
pub struct SilenceSet;

#[derive(Debug, Deserialize)]
struct Args {
    silence: String,
    reason: String,
    until: String,
    #[serde(default)]
    kinds: Vec<String>,
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    when: Option<String>,
}

/// What a silence is about.
struct About {
    condition: String,
    cluster: Option<String>,
    /// What it is narrowed by, as the caller said it: name and value.
    said: Vec<(&'static str, String)>,
}

#[async_trait]
impl ActionTool for SilenceSet {
    fn definition(&self) -> Definition {
        Definition {
            name: "silence_set",
            title: "Silence events",
            description: "Nobody is told of some events for at most 24 h; they are kept and shown all the \
                          same. Never covers critical ones, logins, changes, or inputs and outputs.",
            input: Input::new()
                .text("silence", "name: a-z, 0-9, _")
                .text("reason", "")
                .text("until", "time or 2h")
                .texts("kinds", "")
                .cluster()
                .node()
                .text("guest", "cluster/vmid or vmid")
                .text("when", "CEL over event")
                .required("silence")
                .required("reason")
                .required("until"),
            output: Output::new()
                .fact("silence", "string")
                .fact("until", "string")
                .fact("when", "string")
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
        let desk = desk(cx)?.clone();
        let name = name(&args.silence)?;
        let reason = stdx::untrusted::line(args.reason.trim(), REASON).into_owned();
        if reason.is_empty() {
            return Err(ToolError::new("the reason is empty")
                .hint("say why nobody is to be told, so that others can judge it"));
        }
        let until = args.until.trim().to_owned();
        let length = length(&until, cx.now())?;
        let about = about(cx, &args)?;
        let known = desk.silences().await;
        let known = known.map_err(|error| refused("list silences", &error))?;
        if let Some(known) = known.iter().find(|it| it.name == name) {
            let until = rfc3339(known.until);
            return Err(ToolError::new(format!("a silence {name} holds already, until {until}"))
                .hint("end it first with silence_end, or give another name"));
        }
        let object = crate::tools::power::object;
        let mut plan = described(&name, length, &about.said, &reason)
            .undo(Undo::Call("silence_end", object(json!({"silence": name}))))
            .target(step::part("silence", &name), [("state", "none")])
            .settle(settled);
        // One that names no cluster is about all of them, and so is what policy says of it.
        for key in all_or(cx, about.cluster.as_deref()) {
            plan = plan.target(key, [("silence", name.as_str())]);
        }
        let wanted = Wanted { name, about, until, reason, by: cx.principal.to_string() };
        Ok(plan.step(begin(desk, wanted)))
    }
}

/// A silence that somebody wants.
struct Wanted {
    name: String,
    about: About,
    until: String,
    reason: String,
    by: String,
}

/// A plan that says what it hides: each part by itself, and long ones in lines, so that a person
/// reads all of it before agreeing.
fn described(
    name: &str,
    length: SignedDuration,
    said: &[(&'static str, String)],
    reason: &str,
) -> Plan {
    let length = crate::report::span(length.as_secs().unsigned_abs());
    let plan = Plan::new(format!("silence {name}")).effect(format!(
        "nobody is told for {length} of what is described here, unless it is critical"
    ));
    let parts = said.iter().map(|(name, value)| (*name, value.as_str()));
    let parts = parts.chain([("reason", reason)]);
    let parts = parts.flat_map(|(name, value)| {
        lines(value).into_iter().map(move |line| format!("{name}: {line}"))
    });
    parts.fold(plan, Plan::effect)
}

fn begin(desk: Arc<dyn EventDesk>, wanted: Wanted) -> Step {
    let Wanted { name, about, until, reason, by } = wanted;
    let mut params = about.said;
    params.extend([("until", until.clone()), ("reason", reason.clone())]);
    let path = format!("silences/{name}");
    step::step(SET, &path, params, async move |running| {
        // The time counts from when it begins, however long the question took.
        let length = length(&until, running.cx.now())?;
        let silence = NewSilence {
            name,
            when: Some(about.condition),
            for_secs: length.as_secs().unsigned_abs(),
            reason,
        };
        let set = desk.silence(silence, &by).await;
        let set = set.map_err(|error| refused(SET, &error))?;
        Ok(json!({"silence": set.name, "until": rfc3339(set.until), "when": set.when}))
    })
}

async fn settled(cx: Cx, done: Done) -> Result<Report, ToolError> {
    let set = done.value(SET).cloned().unwrap_or_default();
    let text = |name: &str| set[name].as_str().unwrap_or_default().to_owned();
    let (name, until) = (text("silence"), text("until"));
    let length = until.parse::<Timestamp>().map(|until| age(until, cx.now()));
    let length = length.map_or_else(|_| String::new(), |length| format!(" ({length})"));
    Ok(done
        .report(format!("silence {name} holds until {until}{length}"))
        .fact("silence", name)
        .fact("until", until)
        .fact("when", set["when"].clone())
        .note("what it covers is kept and shown; nobody is told"))
}

/// A name that a silence can have.
fn name(text: &str) -> Result<String, ToolError> {
    let name: ComponentId = text.trim().parse().map_err(|_| {
        ToolError::new(format!("{} is no name of a silence", quoted(text)))
            .hint("a name is made of a-z, 0-9 and _, at most 40 characters")
    })?;
    Ok(name.to_string())
}

/// How long it is until then.
fn length(text: &str, now: Timestamp) -> Result<SignedDuration, ToolError> {
    let end = since::from_now(text, now)?;
    let length = end.duration_since(now);
    if length <= SignedDuration::ZERO {
        return Err(ToolError::new(format!("{} is over already", rfc3339(end))));
    }
    if length > LONGEST {
        return Err(ToolError::new("a silence of a tool lasts 24 h at most")
            .hint("a person sets a longer one: `proxmox-mcp events silence set`"));
    }
    Ok(length)
}

/// What it is about, as one condition.
fn about(cx: &Cx, args: &Args) -> Result<About, ToolError> {
    let guest = args.guest.as_deref().map(sight::guest).transpose()?;
    let of_guest = guest.and_then(|(cluster, _)| cluster);
    let cluster = sight::cluster(cx, args.cluster.as_deref().or(of_guest))?;
    if cluster.is_none() && Sight::of(cx).is_part() {
        return Err(ToolError::new("a caller that is kept to some clusters silences one of them")
            .hint("say which with `cluster`"));
    }
    let mut parts = vec![NEVER.to_owned()];
    let mut said = Vec::new();
    if let Some(cluster) = cluster {
        parts.push(silences::of_cluster(cluster));
        said.push(("cluster", cluster.to_owned()));
    }
    if let Some(node) = args.node.as_deref() {
        let node: NodeName = bare_node(node)
            .parse()
            .map_err(|_| ToolError::new(format!("{} is no name of a node", quoted(node))))?;
        parts.push(format!("event.node == '{node}'"));
        said.push(("node", node.to_string()));
    }
    if let Some((_, vmid)) = guest {
        parts.push(format!("event.vmid == {vmid}"));
        said.push(("guest", vmid.to_string()));
    }
    if !args.kinds.is_empty() {
        parts.push(of_kinds(&args.kinds)?);
        said.push(("kinds", args.kinds.join(", ")));
    }
    if let Some(when) = args.when.as_deref().map(str::trim).filter(|when| !when.is_empty()) {
        parts.push(format!("(\n{}\n)", condition(when)?));
        said.push(("when", when.to_owned()));
    }
    if said.is_empty() {
        return Err(ToolError::new("a silence of everything would hide everything")
            .hint("say what it is about: kinds, cluster, node, guest or when"));
    }
    let condition = parts.join(" && ");
    Condition::compile(&condition, SHAPE)
        .map_err(|error| ToolError::new(format!("the silence cannot be meant: {error}")))?;
    Ok(About { condition, cluster: cluster.map(str::to_owned), said })
}

/// A condition that is whole by itself, so that no part of it can end the brackets around it, and
/// that a person can read.
fn condition(when: &str) -> Result<&str, ToolError> {
    if when.chars().count() > WHEN {
        return Err(ToolError::new(format!("`when` has more than {WHEN} characters"))
            .hint("use kinds, cluster, node and guest, or several silences"));
    }
    Condition::compile(when, SHAPE)
        .map_err(|error| ToolError::new(format!("`when` cannot be meant: {error}")))?;
    Ok(when)
}

/// A text in lines that a question shows whole.
fn lines(text: &str) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all: Vec<char> = text.chars().collect();
    all.chunks(LINE).map(|part| part.iter().collect()).collect()
}

/// One of these kinds or families.
fn of_kinds(kinds: &[String]) -> Result<String, ToolError> {
    let mut words = Vec::new();
    for kind in kinds {
        let is_kind = kind.contains('.') && kind.parse::<Kind>().is_ok();
        let is_family = || {
            let begins = format!("{kind}.");
            Kind::LIST.iter().any(|(word, _)| word.starts_with(&begins))
        };
        let family = kind.split('.').next().unwrap_or_default();
        if NEVER_FAMILIES.contains(&family) {
            return Err(ToolError::new(format!("no tool silences {}", quoted(kind)))
                .hint("logins, permissions, changes, inputs and outputs are always told"));
        }
        words.push(match is_kind {
            true => format!("event.kind == '{kind}'"),
            false if is_family() => format!("event.family == '{kind}'"),
            false => {
                let what = format!("{} is no kind of event, and no family", quoted(kind));
                return Err(
                    ToolError::new(what).hint("events_stats lists the kinds that there are")
                );
            }
        });
    }
    Ok(format!("({})", words.join(" || ")))
}

/// The cluster that is meant, or every one.
fn all_or(cx: &Cx, cluster: Option<&str>) -> Vec<String> {
    match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => cx.fleet.keys().map(|(key, _)| key.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lasts_longer_than_a_day() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(length("2h", now).unwrap(), SignedDuration::from_hours(2));
        assert_eq!(length("2026-11-23T12:00:00Z", now).unwrap(), LONGEST);
        for text in ["25h", "2026-11-24T12:00:00Z", "0s", "2026-11-22T11:00:00Z", "for ever"] {
            assert!(length(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_question_shows_all_of_a_condition() {
        let when = format!("event.title == '{}'", "x ".repeat(250));
        let shown = lines(&when);
        assert_eq!(shown.concat().replace(' ', ""), when.replace(' ', ""));
        assert!(shown.iter().all(|line| line.chars().count() <= LINE));
        // With the reason and the rest they are fewer than a question has lines.
        let most = WHEN.div_ceil(LINE) + REASON.div_ceil(LINE) + 5;
        assert!(most <= 12, "{most}");
    }

    #[test]
    fn kinds_and_families_are_known_ones() {
        let kinds = |kinds: &[&str]| {
            of_kinds(&kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            kinds(&["backup.failed", "gc"]).unwrap(),
            "(event.kind == 'backup.failed' || event.family == 'gc')"
        );
        for wrong in ["", "backup.exploded", "auth.failed", "change", "gc' || true", "other."] {
            assert!(kinds(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_cannot_leave_its_brackets() {
        for when in ["true) || (true", "true // ", "event.nod == 'a'", "", ") || ("] {
            let part = format!("{NEVER} && (\n{when}\n)");
            let whole = Condition::compile(when, SHAPE).is_ok();
            // What is whole by itself is so in brackets, too, and ends in front of the last.
            assert!(!whole || Condition::compile(&part, SHAPE).is_ok(), "{when}");
            assert_eq!(whole, when == "true // ", "{when}");
        }
    }

    #[test]
    fn what_is_critical_is_never_covered() {
        let event = |severity: &str, family: &str| json!({"event": {"severity": severity, "family": family}});
        let never = Condition::compile(NEVER, SHAPE).unwrap();
        assert!(never.holds(&event("error", "backup")).unwrap());
        assert!(!never.holds(&event("critical", "backup")).unwrap());
        for family in NEVER_FAMILIES {
            assert!(!never.holds(&event("info", family)).unwrap(), "{family}");
        }
    }
}
