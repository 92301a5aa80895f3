//! What would become of a call: the line of the policy that decides, and why. Reads only.

use std::{fmt::Write as _, sync::Arc};

use estate::Access;
use event_core::desk::EventDesk;
use guard::{
    Mode, PlanForm, Principal, PrincipalKind, Scope,
    policy::{Asked, Decided, Decision, Nature, Policy, Target, TargetKind, Transport},
};
use jiff::Zoned;
use mcp_protocol::{CallContext, Caller, JsonObject};
use serde_json::{Value, json};

use crate::{
    error::ToolError,
    facts,
    fleet::Fleet,
    reading::{self, Reader},
    redaction::Redaction,
    tool::{Cx, EstateTool},
    tools::TOOLSETS,
};

/// A call that somebody could make.
#[derive(Clone, Debug)]
pub struct Hypothetical {
    /// Who would ask.
    pub principal: Principal,
    /// By which way.
    pub transport: Transport,
    /// What their credential allows at most; `None` for everything.
    pub scope: Option<Scope>,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub args: JsonObject,
    /// How far the server goes.
    pub mode: Mode,
    /// The programs that may be started in guests.
    pub exec_allow: Vec<String>,
    /// When.
    pub now: Zoned,
}

/// What would become of it.
#[derive(Debug)]
pub struct Explained {
    /// What the call can do, by its arguments.
    pub access: Access,
    /// What kind of change it is.
    pub nature: Nature,
    /// What it touches.
    pub targets: Vec<Target>,
    /// What the plan is called, and what it is; `None` for a read.
    pub plan: Option<(String, PlanForm)>,
    /// The answer where there is nothing to do.
    pub nothing: Option<String>,
    /// What a read would go without, by the key of the cluster or backup server.
    pub without: Vec<(String, Decided)>,
    /// Why the credential's scope does not reach so far, if so: no line is asked then.
    pub out_of_scope: Option<String>,
    /// The decision.
    pub decided: Decided,
    /// The lines that were asked before, per target: the line and the matcher that did not fit.
    pub passed_over: Vec<(String, Vec<(String, &'static str)>)>,
}

/// The toolsets that a tool is in.
pub fn toolsets_of(tool: &str) -> Vec<&'static str> {
    let has = |tools: &[&dyn EstateTool]| tools.iter().any(|one| one.definition().name == tool);
    TOOLSETS.iter().filter(|set| has(set.tools)).map(|set| set.name).collect()
}

/// The way by which such a principal usually comes.
pub fn usual_transport(principal: &Principal) -> Transport {
    match principal.kind() {
        PrincipalKind::Token | PrincipalKind::OAuth => Transport::Http,
        PrincipalKind::Channel => Transport::Channel,
        PrincipalKind::Automation => Transport::Automation,
        _ => Transport::Local,
    }
}

/// Says what would become of the call. Plans about events are made with what `events` knows.
///
/// # Errors
/// There is no such tool, its plan cannot be made, or what it touches cannot be read.
pub async fn explain(
    fleet: &Arc<Fleet>,
    policy: &Policy,
    events: Option<&Arc<dyn EventDesk>>,
    call: &Hypothetical,
) -> Result<Explained, ToolError> {
    let all = || TOOLSETS.iter().flat_map(|set| set.tools);
    let Some(tool) = all().find(|one| one.definition().name == call.tool) else {
        return Err(ToolError::not_found(format!("no tool is called {:?}", call.tool))
            .hint("`proxmox-mcp tools --toolsets all` lists them"));
    };
    let fleet = match &call.scope {
        Some(scope) if !scope.clusters.is_empty() => {
            Arc::new(fleet.only(|key| scope.allows_cluster(key)))
        }
        _ => Arc::clone(fleet),
    };
    let access = tool.access(&call.args).min(tool.definition().access);
    let caller = Caller::new(&call.principal.to_string());
    let mut cx = Cx::new(Arc::clone(&fleet), CallContext::detached(caller));
    cx.mode = call.mode;
    cx.exec_allow = call.exec_allow.as_slice().into();
    cx.events = events.cloned();
    let (mut nature, mut targets, mut nothing) = (Nature::Ordinary, Vec::new(), None);
    let mut planned = None;
    if let Some(action) = tool.as_action().filter(|_| access > Access::Read) {
        let plan = action.plan(&cx, call.args.clone()).await?;
        let mut form = plan.form(tool.definition().name, &call.principal.to_string());
        nothing = plan.is_nothing().then(|| plan.what.clone());
        nature = Nature::of(&form.calls);
        let facts = facts::of_plan(&fleet, &form).await?;
        facts.settle(&mut form);
        targets = facts.targets;
        planned = Some((plan.what, form));
    }
    let scope = call.scope.as_ref();
    let out_of_scope = scope.and_then(|scope| scope.permits(access, &targets, &call.now).err());
    let asked = Asked {
        principal: &call.principal,
        transport: call.transport,
        tool: &call.tool,
        toolsets: &toolsets_of(&call.tool),
        access,
        nature,
        targets: &targets,
        args: &Value::Object(call.args.clone()),
        mode: call.mode,
        now: &call.now,
    };
    let (mut about, mut without) = (Vec::new(), Vec::new());
    let decided = if access == Access::Read {
        let (principal, transport, mode) = (&call.principal, call.transport, call.mode);
        let reader = Reader { principal, transport, mode, now: &call.now };
        let left = reading::left(policy, reader, &fleet, &call.tool, &call.args);
        without = left.without;
        if policy.refuses_reads() {
            about.extend(left.about.iter().map(|key| Target::new(TargetKind::Cluster, key, key)));
        }
        left.decided
    } else {
        policy.decide(&asked)
    };
    let over = |target: Option<&Target>| {
        let name = target.map_or_else(|| "the call".to_owned(), |it| it.address.clone());
        let lines = policy.passed_over(&asked, target).into_iter();
        (name, lines.map(|(line, matcher)| (line.to_owned(), matcher)).collect::<Vec<_>>())
    };
    about.extend(targets.iter().cloned());
    let mut passed_over: Vec<_> = match about.as_slice() {
        [] => vec![over(None)],
        about => about.iter().map(|target| over(Some(target))).collect(),
    };
    passed_over.retain(|(_, lines)| !lines.is_empty());
    Ok(Explained {
        access,
        nature,
        plan: planned,
        nothing,
        out_of_scope: out_of_scope.map(|out| out.to_string()),
        without: if decided.is_denied() { Vec::new() } else { without },
        decided,
        passed_over,
        targets,
    })
}

// === impl Explained ===

impl Explained {
    /// In one word: `allow`, `ask`, `deny`, or `nothing` where there is nothing to do.
    pub fn word(&self) -> &'static str {
        if self.out_of_scope.is_some() {
            "deny"
        } else if self.nothing.is_some() {
            "nothing"
        } else {
            self.decided.decision.as_str()
        }
    }

    /// For people. What the estate says of itself goes through `redaction`; the rest are our words.
    pub fn text(&self, call: &Hypothetical, redaction: &Redaction) -> String {
        let mut text = String::new();
        let mut line = |word: &str, said: &str| {
            let said = stdx::untrusted::line(said, 2000);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word:<9} {said}");
        };
        let redacted = |mut said: String| {
            redaction.text(&mut said);
            said
        };
        line("would", &redacted(self.outcome()));
        match &self.out_of_scope {
            Some(out) => line("because", out),
            // What does nothing needs nobody's leave.
            None if self.nothing.is_some() => {}
            None => {
                line("line", &self.decided.line);
                line("because", &self.decided.why);
            }
        }
        for (key, decided) in &self.without {
            line("without", &format!("{key}: {}", decided.why));
        }
        line(
            "call",
            &format!(
                "{} as {} by {} in mode {}, {}{}",
                call.tool,
                call.principal,
                call.transport.as_str(),
                call.mode,
                self.access,
                match self.nature {
                    Nature::Additive => " (only adds)",
                    Nature::Cuts => " (cuts the power)",
                    Nature::Ordinary => "",
                },
            ),
        );
        for target in &self.targets {
            line("touches", &redacted(touched(target)));
        }
        if let Some((what, form)) = &self.plan {
            if self.nothing.is_none() {
                let digest = form.digest();
                line("plan", &redacted(format!("{what} ({})", digest.short())));
            }
            for call in &form.calls {
                let call = format!("{} {} on {}", call.method, call.path, call.member);
                line("", &redacted(call));
            }
        }
        for (target, lines) in &self.passed_over {
            let lines: Vec<String> =
                lines.iter().map(|(line, matcher)| format!("{line} ({matcher})")).collect();
            line("not", &format!("for {target}: {}", lines.join(", ")));
        }
        text
    }

    /// For programs; redacted as [`Explained::text`].
    pub fn json(&self, call: &Hypothetical, redaction: &Redaction) -> Value {
        let ask = match &self.decided.decision {
            Decision::Ask(ask) if self.word() == "ask" => json!({
                "of": ask.of, "count": ask.count, "within_secs": ask.within.as_secs(),
                "client": ask.client,
            }),
            _ => Value::Null,
        };
        let targets = self.targets.iter().map(|target| {
            json!({
                "address": target.address, "kind": target.kind.as_str(), "node": target.node,
                "pool": target.pool, "tags": target.tags,
                "protected": self.protection(target),
            })
        });
        let over = self.passed_over.iter().map(|(target, lines)| {
            let lines = lines.iter().map(|(line, by)| json!({"line": line, "matcher": by}));
            json!({"target": target, "lines": lines.collect::<Vec<_>>()})
        });
        let without = self
            .without
            .iter()
            .map(|(key, decided)| json!({"member": key, "line": decided.line, "why": decided.why}));
        let mut targets = Value::Array(targets.collect());
        redaction.json(&mut targets);
        let mut plan = self.plan.as_ref().map_or(
            Value::Null,
            |(what, form)| json!({"what": what, "digest": form.digest().as_str()}),
        );
        redaction.json(&mut plan);
        json!({
            "decision": self.word(),
            "line": if self.out_of_scope.is_some() { "scope" } else { self.decided.line.as_str() },
            "why": self.out_of_scope.as_deref().unwrap_or(&self.decided.why),
            "without": without.collect::<Vec<_>>(),
            "ask": ask,
            "unasked_per_hour": self.decided.unasked_per_hour,
            "principal": call.principal.to_string(),
            "transport": call.transport.as_str(),
            "mode": call.mode.as_str(),
            "tool": call.tool,
            "tier": self.access.as_str(),
            "nature": self.nature.as_str(),
            "targets": targets,
            "plan": plan,
            "passed_over": over.collect::<Vec<_>>(),
        })
    }

    fn protection(&self, target: &Target) -> Option<&'static str> {
        target.protection_from(self.access, self.nature).map(guard::policy::Protection::reason)
    }

    fn outcome(&self) -> String {
        if self.out_of_scope.is_some() {
            return "be refused: it is outside of the credential's scope".to_owned();
        }
        if let Some(nothing) = &self.nothing {
            return format!("do nothing: {nothing}");
        }
        match &self.decided.decision {
            Decision::Allow => match self.decided.unasked_per_hour {
                Some(limit) => {
                    format!("run at once, up to {limit} times an hour, and ask beyond that")
                }
                None => "run at once".to_owned(),
            },
            Decision::Deny => "be refused".to_owned(),
            Decision::Ask(ask) => {
                let client = if ask.client { ", or the person at the client," } else { "" };
                let minutes = ask.within.as_secs() / 60;
                format!("ask {}{client} within {minutes} minutes; silence refuses", ask.whom())
            }
        }
    }
}

fn touched(target: &Target) -> String {
    let mut said = target.address.clone();
    if let Some(name) = &target.name {
        let _ = write!(said, " {name}");
    }
    let mut facts = Vec::new();
    if let Some(node) = target.node.as_ref().filter(|_| target.vmid.is_some()) {
        facts.push(format!("node {node}"));
    }
    if let Some(pool) = &target.pool {
        facts.push(format!("pool {pool}"));
    }
    if !target.tags.is_empty() {
        facts.push(format!("tags {}", target.tags.join(" ")));
    }
    if !facts.is_empty() {
        let _ = write!(said, " ({})", facts.join(", "));
    }
    if let Some(protection) = target.protection {
        let _ = write!(said, ", which {}", protection.reason());
    }
    said
}
