//! A server with a gate over the simulated estate: policy, people to ask, a memory and a diary.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use guard::{
    Grant, Principal, Scope,
    policy::{Defaults, Effect, Matchers, Policy, Rule},
    ports::{Approval, ApprovalId, ApprovalState, Approvals, DecisionRecord, Freezes, Way},
};
use jiff::{Timestamp, tz::TimeZone};
use mcp_protocol::{App, CallContext, Caller, JsonObject, Outcome};
use mcp_tools::{
    Options, build_app,
    explain::{Hypothetical, explain, usual_transport},
    fleet::Fleet,
    gate::{Gate, Guard, Ports},
    journal::{Entry, Journal},
    process::Process,
};
use proxmox_sim::{Sim, SimConfig};
use serde_json::Value;
use stdx::Clock;
use testkit::ports::{AnyApprover, MemoryPorts};

use crate::{
    estate::{Answer, Evening},
    surface::options,
};

/// An evening that can be moved on.
#[derive(Debug)]
pub(crate) struct Later {
    evening: Evening,
    by: Mutex<Duration>,
}

/// Keeps what is written down.
#[derive(Debug, Default)]
pub(crate) struct Diary(Mutex<Vec<Entry>>);

pub(crate) struct House {
    pub(crate) sim: Sim,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) clock: Arc<Later>,
    pub(crate) ports: Arc<MemoryPorts>,
    pub(crate) diary: Arc<Diary>,
    pub(crate) options: Options,
}

// === impl Later ===

impl Later {
    pub(crate) fn advance(&self, by: Duration) {
        *self.by.lock().unwrap() += by;
    }
}

impl Clock for Later {
    fn now(&self) -> Timestamp {
        self.evening.now() + *self.by.lock().unwrap()
    }
}

// === impl Diary ===

impl Diary {
    /// What was written down: who, what, on what.
    pub(crate) fn lines(&self) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let line = |entry: &Entry| format!("{} {} {}", entry.principal, entry.action, entry.target);
        entries.iter().map(line).collect()
    }

    /// The payload of the newest entry of this name.
    pub(crate) fn payload(&self, action: &str) -> Value {
        let entries = self.0.lock().unwrap();
        let found = entries.iter().rev().find(|entry| entry.action == action);
        found.unwrap_or_else(|| panic!("no {action}")).payload.clone()
    }

    /// All of it as one text.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

#[async_trait]
impl Journal for Diary {
    async fn record(&self, entry: Entry) -> Result<(), String> {
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

// === impl House ===

impl House {
    /// Guarded, by the built-in lines, with somebody to ask.
    pub(crate) async fn start() -> Self {
        Self::of(Vec::new(), true).await
    }

    pub(crate) async fn of(rules: Vec<Rule>, is_set_up: bool) -> Self {
        let evening = Evening::falls();
        let clock = Arc::new(Later { evening, by: Mutex::default() });
        let shared: Arc<dyn Clock> = clock.clone();
        let (sim, fleet) = evening.over(SimConfig::fast(), "operator", shared).await;
        let (ports, diary) = (Arc::new(MemoryPorts::new()), Arc::new(Diary::default()));
        let policy = Policy::try_new(rules, Defaults::default()).expect("lines that can be");
        let guard = Guard::new(Arc::new(policy)).with_ports(all(&ports, is_set_up));
        let options = Options {
            mode: guard::Mode::Guarded,
            guard,
            journal: Some(diary.clone()),
            ..options("all")
        };
        Self { sim, fleet: Arc::new(fleet), clock, ports, diary, options }
    }

    /// The same house after its program was killed and started again.
    pub(crate) fn restarted(&mut self) {
        self.options.process = Process::new();
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate::new(Arc::clone(&self.fleet), &self.options)
    }

    /// Calls a tool as the local user.
    pub(crate) async fn call(&self, tool: &str, args: Value) -> Answer {
        self.call_by(Caller::new(&self.options.principal.to_string()), tool, args).await
    }

    /// Calls a tool with a token over HTTP.
    pub(crate) async fn call_as(&self, token: &str, tool: &str, args: Value) -> Answer {
        self.call_by(with_token(token), tool, args).await
    }

    /// Calls a tool as somebody.
    pub(crate) async fn call_by(&self, caller: Caller, tool: &str, args: Value) -> Answer {
        answered(self.raw(CallContext::detached(caller), tool, args).await)
    }

    pub(crate) fn app(&self) -> App {
        build_app(Arc::clone(&self.fleet), &self.options).expect("an app")
    }

    /// What `policy explain` says of a call.
    pub(crate) async fn explained(&self, principal: &str, tool: &str, args: Value) -> String {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let principal: Principal = principal.parse().expect("a principal");
        let call = Hypothetical {
            transport: usual_transport(&principal),
            principal,
            scope: None,
            tool: tool.to_owned(),
            args,
            mode: self.options.mode,
            exec_allow: Vec::new(),
            now: self.fleet_now().to_zoned(TimeZone::UTC),
        };
        let policy = self.options.guard.policy();
        match explain(&self.fleet, policy, self.options.events.as_ref(), &call).await {
            Ok(explained) => explained.text(&call, &self.options.redaction),
            Err(error) => error.message().to_owned(),
        }
    }

    pub(crate) async fn raw(&self, cx: CallContext, tool: &str, args: Value) -> Outcome {
        let app = self.app();
        let Value::Object(args) = args else { panic!("arguments are an object") };
        app.call_tool(&cx, tool, args).await.expect("a tool")
    }

    /// Calls, and expects that people are asked.
    pub(crate) async fn asks(&self, tool: &str, args: Value) -> ApprovalId {
        let answer = self.call(tool, args).await;
        assert!(!answer.failed, "{}", answer.text);
        let id = answer.object.get("approval_id").and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("nobody is asked: {}", answer.text)).parse().expect("an id")
    }

    pub(crate) async fn decide(&self, id: ApprovalId, who: &str, agrees: bool) -> Approval {
        let decision = self.decision(who, Principal::local(4711), agrees);
        self.ports.decide(id, decision, self.fleet.now()).await.expect("it is decided")
    }

    pub(crate) fn decision(&self, who: &str, principal: Principal, agrees: bool) -> DecisionRecord {
        DecisionRecord {
            approver: who.to_owned(),
            principal,
            way: Way::PeerUid,
            agrees,
            at: self.fleet.now(),
            note: None,
            signature: None,
        }
    }

    pub(crate) async fn approval(&self, id: ApprovalId) -> Approval {
        self.ports.approval(id).await.expect("memory").expect("the approval")
    }

    pub(crate) async fn state(&self, id: ApprovalId) -> ApprovalState {
        self.approval(id).await.state
    }

    pub(crate) fn fleet_now(&self) -> Timestamp {
        self.fleet.now()
    }

    /// How many tasks of this type there are of this guest.
    pub(crate) async fn tasks(&self, kind: &str, vmid: u32) -> usize {
        let args = serde_json::json!({"guest": format!("lab/{vmid}"), "type": kind, "since": "1h"});
        let answer = self.call("tasks_list", args).await;
        assert!(!answer.failed, "{}", answer.text);
        answer.text.matches(&format!(":{kind}:{vmid}:")).count()
    }

    pub(crate) async fn status(&self, guest: &str) -> String {
        let args = serde_json::json!({"guest": guest, "include": ["status"]});
        let answer = self.call("guest_get", args).await;
        answer.object["status"].as_str().expect("a status").to_owned()
    }
}

/// All ports of one memory.
/// A caller over HTTP with a token of this name.
pub(crate) fn with_token(name: &str) -> Caller {
    let principal = Principal::token(name).expect("a name");
    let grant = Grant::new(principal.clone(), Scope::everything());
    Caller::new(&principal.to_string()).with(grant)
}

pub(crate) fn all(ports: &Arc<MemoryPorts>, is_set_up: bool) -> Ports {
    with_freezes(ports, ports.clone(), is_set_up)
}

/// The same with other brakes.
pub(crate) fn with_freezes(
    ports: &Arc<MemoryPorts>,
    freezes: Arc<dyn Freezes>,
    is_set_up: bool,
) -> Ports {
    Ports {
        brakes: ports.clone(),
        approvals: ports.clone(),
        actions: ports.clone(),
        undos: ports.clone(),
        confirms: ports.clone(),
        freezes,
        approvers: Arc::new(AnyApprover { is_set_up }),
    }
}

pub(crate) fn line(name: &str, order: u32, effect: Effect, matchers: Matchers) -> Rule {
    Rule { name: name.to_owned(), order, about: None, matchers, effect }
}

#[expect(clippy::needless_pass_by_value, reason = "an outcome is looked at once")]
fn answered(outcome: Outcome) -> Answer {
    let failed = outcome.is_failure();
    let answer = outcome.answer().expect("an answer, not a question");
    let object: JsonObject = answer.structured.clone().unwrap_or_default();
    Answer { failed, text: answer.plain_text(), object }
}
