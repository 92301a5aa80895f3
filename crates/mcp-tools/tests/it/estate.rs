//! A simulated estate, a fleet over it, and a way to ask.

use std::{io, path::Path, sync::Arc, time::Duration};

use api_core::endpoint::FileContent;
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::{CallContext, Caller, JsonObject};
use mcp_tools::{
    facts::{Own, Protecting},
    fleet::{Fleet, Traits},
    redaction,
    tool::{Cx, EstateTool},
    tools::TOOLSETS,
};
use proxmox_sim::{Product, Sim, SimConfig};
use serde_json::{Value, json};
use stdx::{Clock, SystemClock};

use crate::fake_desk::FakeDesk;

/// A simulator and the fleet over it.
pub(crate) struct Estate {
    pub(crate) sim: Sim,
    pub(crate) cx: Cx,
}

/// A clock that runs from the same evening in every test, for the simulator and for us: what
/// happened within the last day, and its date, must not depend on when the tests are run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evening {
    ahead: SignedDuration,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) failed: bool,
    pub(crate) text: String,
    pub(crate) object: JsonObject,
}

impl Evening {
    pub(crate) fn falls() -> Self {
        let evening: Timestamp = "2026-11-22T22:30:00Z".parse().expect("a time");
        Self { ahead: evening.duration_since(SystemClock.now()) }
    }
}

impl Evening {
    /// A simulator that lives in this evening, and a fleet over it with this clock.
    pub(crate) async fn over(
        self,
        config: SimConfig,
        token: &str,
        clock: Arc<dyn Clock>,
    ) -> (Sim, Fleet) {
        let config = config.with_ahead_ms(self.ahead.as_millis() as i64);
        let sim = Sim::start(config).await.expect("the simulator starts");
        let fleet = fleet(&sim, token, clock);
        (sim, fleet)
    }
}

impl Clock for Evening {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.ahead
    }
}

impl Estate {
    /// The demo estate, seen with the given token.
    pub(crate) async fn start(token: &str) -> Self {
        Self::of(SimConfig::fast(), token, 16 * 1024).await
    }

    pub(crate) async fn of(config: SimConfig, token: &str, ceiling: usize) -> Self {
        let clock = Evening::falls();
        let (sim, fleet) = clock.over(config, token, Arc::new(clock)).await;
        let call = CallContext::detached(Caller::new("local:0"));
        let mut cx = Cx::new(Arc::new(fleet), call);
        cx.mode = guard::Mode::Trusted;
        cx.ceiling = ceiling;
        cx.events = Some(FakeDesk::sample(clock.now()));
        Self { sim, cx }
    }

    /// The same, with another patience for what is late.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        let fleet = Arc::into_inner(self.cx.fleet).expect("nobody else holds the fleet");
        self.cx.fleet = Arc::new(fleet.with_deadline(deadline));
        self
    }

    /// The same, with schemas from elsewhere.
    pub(crate) fn with_library(mut self, library: mcp_tools::tools::api::Library) -> Self {
        let fleet = Arc::into_inner(self.cx.fleet).expect("nobody else holds the fleet");
        self.cx.fleet = Arc::new(fleet.with_library(library));
        self
    }

    /// Calls a tool.
    pub(crate) async fn ask(&self, tool: &str, args: Value) -> Answer {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let result = self::tool(tool).call(&self.cx, args).await;
        let failed = result.is_err();
        let mut report = result.unwrap_or_else(mcp_tools::error::ToolError::into_report);
        redaction::Redaction::default().report(&mut report);
        let rendered = report.render(self.cx.ceiling);
        assert!(rendered.text.len() <= self.cx.ceiling, "{tool}: {}", rendered.text.len());
        let object = serde_json::to_string(&rendered.structured).expect("an object is JSON");
        assert!(object.len() <= self.cx.ceiling, "{tool}: {}", object.len());
        if !failed {
            fits_output_schema(tool, &rendered.structured);
        }
        Answer { failed, text: rendered.text, object: rendered.structured }
    }

    /// Calls a tool that must not fail.
    pub(crate) async fn text(&self, tool: &str, args: Value) -> String {
        let answer = self.ask(tool, args).await;
        assert!(!answer.failed, "{}", answer.text);
        answer.text
    }

    /// Calls a tool that must fail.
    pub(crate) async fn failure(&self, tool: &str, args: Value) -> String {
        let answer = self.ask(tool, args).await;
        assert!(answer.failed, "{}", answer.text);
        answer.text
    }
}

/// What a tool declares of its answer is so, as far as types go.
fn fits_output_schema(name: &str, object: &JsonObject) {
    let schema = tool(name).definition().output.build();
    for (key, value) in object {
        let declared = match &schema["properties"][key]["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fits = declared.contains(&is) || is == "integer" && declared.contains(&"number");
        assert!(fits, "{name}: {key} is declared {declared:?}, and is {value}");
    }
}

pub(crate) fn tool(name: &str) -> &'static dyn EstateTool {
    let mut all = TOOLSETS.iter().flat_map(|toolset| toolset.tools);
    *all.find(|tool| tool.definition().name == name).unwrap_or_else(|| panic!("no tool {name}"))
}

fn fleet(sim: &Sim, token: &str, clock: Arc<dyn Clock>) -> Fleet {
    // What tools do is tested on protected guests as well.
    let protecting = Protecting { tags: Vec::new(), own: Own::none() };
    let mut fleet = Fleet::new(clock).with_protecting(protecting);
    for target in sim.targets() {
        let ca = target.ca_pem.clone();
        let files = move |_: &Path| -> io::Result<FileContent> {
            Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
        };
        let token = target.token(token);
        let urls: Vec<_> = target.nodes.iter().map(|node| node.url.clone()).collect();
        let table = json!({
            "endpoints": urls, "token_id": token.id, "token": token.secret, "ca_file": "ca.pem",
        });
        let key = target.key.parse().expect("a key");
        let traits = |options: &api_core::endpoint::EndpointOptions| {
            let addresses = options.targets.iter().map(|at| (at.host.clone(), at.port)).collect();
            let accounts = vec![options.credential.id().to_owned()];
            Traits { addresses, accounts, ..Traits::default() }
        };
        match target.product {
            Product::Pve => {
                let config: pve_client::Config = serde_json::from_value(table).expect("a table");
                let options = config.validate(&target.key, &files).expect("a valid table").value;
                let client = pve_client::Client::connect(&options).expect("a client");
                fleet = fleet.with_pve(key, &client, traits(&options));
            }
            Product::Pbs => {
                let config: pbs_client::Config = serde_json::from_value(table).expect("a table");
                let options = config.validate(&target.key, &files).expect("a valid table").value;
                let client = pbs_client::Client::connect(&options).expect("a client");
                fleet = fleet.with_pbs(key, &client, traits(&options));
            }
        }
    }
    fleet
}

/// Replaces what changes from run to run: shares, loads, ages and times.
pub(crate) fn steady(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '(', ')', ',']);
    words.map(steady_word).collect()
}

fn steady_word(word: &str) -> String {
    let end = word.len() - word.trim_end_matches([' ', '\n', '(', ')', ',']).len();
    let (word, tail) = word.split_at(word.len() - end);
    let number =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_unit = |unit| word.strip_suffix(unit).is_some_and(number);
    let is_load = word.split_once('.').is_some_and(|(whole, part)| {
        part.len() == 2 && number(whole) && part.bytes().all(|b| b.is_ascii_digit())
    });
    let shown = if is_load {
        "LOAD"
    } else if is_unit('%') {
        "N%"
    } else if ['s', 'm', 'h', 'd'].into_iter().any(is_unit) {
        "AGE"
    } else if word.len() == 20 && word.ends_with('Z') && word.contains('T') {
        "TIME"
    } else {
        word
    };
    format!("{shown}{tail}")
}
