//! `proxmox-mcp call` and `tools`: the catalogue from a terminal.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use guard::Principal;
use mcp_protocol::{
    Answers, App, CallContext, ClientCapabilities, InputAnswer, InputKind, InputRequest,
    JsonObject, Outcome,
};
use mcp_tools::{Options, fleet::Fleet, redaction::Redaction};
use serde_json::{Value, json};

use crate::{
    cli::{CallArgs, ToolsArgs},
    estate, output,
};

/// How often a tool may ask before it has to come to an end.
const MOST_QUESTIONS: usize = 8;

/// How long a call on a terminal follows what it began.
const FOLLOW: Duration = Duration::from_hours(24);

/// The longest question, in characters.
const MAX_QUESTION: usize = 8000;

/// What somebody at the terminal says to a tool that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// That is asked.
    Ask,
    /// They have seen what it is about, and have agreed.
    Given,
}

/// Calls one tool and prints its answer.
pub(crate) async fn call(args: CallArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut estate = estate::prepare(&args.surface, log).await?;
    // Nobody gives up on a terminal but the person, and what is not done when this ends is not done.
    estate.options.task_wait = FOLLOW;
    offer(&mut estate.options.toolsets, &args.tool, args.surface.toolsets.is_some())?;
    let app = estate.app()?;
    let arguments = parse(&args.args)?;
    let asked = ask(&app, &args.tool, arguments, Consent::Ask).await;
    estate.audit.finish().await;
    let (answer, failed) = asked?;
    tell_of_revert(&estate, &answer);
    if args.json {
        let structured = answer.structured.unwrap_or_default();
        output::line(&serde_json::to_string_pretty(&structured)?)?;
    } else {
        output::line(&answer.plain_text())?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Sees to it that the tool is offered: which tools a client is shown is no matter of who names one here,
/// unless the command line says which.
fn offer(toolsets: &mut Vec<String>, tool: &str, is_chosen: bool) -> anyhow::Result<()> {
    let known = mcp_tools::explain::toolsets_of(tool);
    let is_offered = toolsets.iter().any(|it| it == "all" || known.contains(&it.as_str()));
    let (false, Some(first)) = (is_offered, known.first()) else { return Ok(()) };
    if is_chosen {
        bail!(
            "{tool} is not in the toolsets {}; it is in {}: leave out --toolsets, or add it there",
            toolsets.join(", "),
            known.join(" and "),
        );
    }
    toolsets.push((*first).to_owned());
    Ok(())
}

/// Says, where nothing else runs on the state folder, that nobody is there to put a change back.
fn tell_of_revert(estate: &assembly::Estate, answer: &mcp_protocol::Answer) {
    let facts = answer.structured.as_ref();
    let id = facts.and_then(|facts| facts.get("confirm_id")?.as_str());
    let state = &estate.loaded.settings.server.state_dir;
    let Some(id) = id.filter(|_| estate.demo_folder().is_none()) else { return };
    if !manager::Lock::is_held(state) {
        tracing::warn!(
            "this command ends now and puts nothing back: proxmox-manager or `proxmox-mcp serve` does, and \
             `proxmox-mcp call change_confirm confirm_id={id}` keeps the change"
        );
    }
}

/// Lists the tools. No estate is needed for that: the catalogue is the same over any.
pub(crate) fn tools(args: &ToolsArgs) -> anyhow::Result<ExitCode> {
    let app = catalogue(args)?;
    if args.json {
        let tools = app.tool_specs().map(|spec| {
            let hints = spec.annotations;
            json!({
                "name": spec.name, "title": spec.title, "description": spec.description,
                "inputSchema": spec.input_schema, "outputSchema": spec.output_schema,
                "annotations": {
                    "readOnlyHint": hints.read_only, "destructiveHint": hints.destructive,
                    "idempotentHint": hints.idempotent, "openWorldHint": hints.open_world,
                },
            })
        });
        output::line(&serde_json::to_string_pretty(&tools.collect::<Vec<_>>())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = Vec::new();
    for spec in app.tool_specs() {
        let kind = if spec.annotations.read_only { "reads" } else { "acts" };
        lines.push(format!("{:<22} {kind:<6} {}", spec.name, spec.description));
    }
    output::line(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The catalogue over no estate at all.
fn catalogue(args: &ToolsArgs) -> anyhow::Result<App> {
    let fleet = Arc::new(Fleet::new(stdx::SystemClock::shared()));
    let options = Options {
        mode: args.mode.unwrap_or_default(),
        toolsets: args.toolsets.clone().unwrap_or_else(|| vec!["default".to_owned()]),
        ceiling: mcp_tools::DEFAULT_CEILING,
        task_wait: Duration::from_secs(45),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        principal: Principal::local(0),
        redaction: Redaction::default(),
        journal: None,
        jobs: None,
        scope: None,
        guard: mcp_tools::gate::Guard::default(),
        process: mcp_tools::process::Process::new(),
        observer: None,
        events: None,
        exec_allow: Vec::new(),
    };
    Ok(mcp_tools::build_app(fleet, &options)?)
}

/// Calls a tool as a client would; `true` if it failed. What it asks is asked on the terminal, if
/// somebody sits there. Where nobody does, consent that was given beforehand does not count either.
pub(crate) async fn ask(
    app: &App,
    tool: &str,
    args: JsonObject,
    consent: Consent,
) -> anyhow::Result<(mcp_protocol::Answer, bool)> {
    let mut capabilities = ClientCapabilities::default();
    capabilities.elicitation_form = std::io::stdin().is_terminal();
    let mut cx = CallContext::detached(app.caller().clone()).with_capabilities(capabilities);
    for _ in 0..MOST_QUESTIONS {
        match app.call_tool(&cx, tool, args.clone()).await? {
            Outcome::Done(answer) => return Ok((answer, false)),
            Outcome::Failed(answer) => return Ok((answer, true)),
            Outcome::Job(job) => return Ok((job.answer, false)),
            Outcome::Ask { inputs, state } => {
                let mut by_key = BTreeMap::new();
                for input in &inputs {
                    let answer = match consent {
                        Consent::Ask => put(input)?,
                        Consent::Given => agree(input)?,
                    };
                    by_key.insert(input.key.clone(), answer);
                }
                cx = cx.with_answers(Answers { state, by_key });
            }
            _ => bail!("{tool} answered in a way that only an MCP client understands"),
        }
    }
    bail!("{tool} does not stop asking")
}

/// Says yes to what asks for yes or no, and to nothing else.
fn agree(input: &InputRequest) -> anyhow::Result<InputAnswer> {
    let InputKind::Form { schema } = &input.kind else {
        bail!("this question can only be answered in an MCP client: {}", input.message)
    };
    let mut fields = JsonObject::new();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if field.get("type").and_then(Value::as_str) != Some("boolean") {
            bail!("{name} is asked for, which takes more than a yes: {}", input.message)
        }
        fields.insert(name.clone(), Value::Bool(true));
    }
    Ok(InputAnswer::Accepted(fields))
}

/// Puts a question to whoever sits at the terminal. Every field is one line; nothing typed is `no`.
fn put(input: &InputRequest) -> anyhow::Result<InputAnswer> {
    let InputKind::Form { schema } = &input.kind else {
        bail!("this question can only be answered in an MCP client: {}", input.message)
    };
    let mut console = io::stderr();
    writeln!(console, "{}", stdx::untrusted::text(&input.message, MAX_QUESTION))?;
    let mut fields = JsonObject::new();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let title = field.get("title").and_then(Value::as_str).unwrap_or(name);
        let is_choice = field.get("type").and_then(Value::as_str) == Some("boolean");
        write!(console, "{title}{}: ", if is_choice { " (yes or no)" } else { "" })?;
        console.flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(InputAnswer::Cancelled);
        }
        let line = line.trim();
        let value = if is_choice {
            Value::Bool(line.eq_ignore_ascii_case("yes"))
        } else {
            Value::String(line.to_owned())
        };
        fields.insert(name.clone(), value);
    }
    Ok(InputAnswer::Accepted(fields))
}

/// Reads `key=value` pairs; a value that is JSON is taken as such, anything else as text.
pub(crate) fn parse(pairs: &[String]) -> anyhow::Result<JsonObject> {
    let mut out = JsonObject::new();
    for pair in pairs {
        let (key, value) =
            pair.split_once('=').with_context(|| format!("{pair:?} is not KEY=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        if out.insert(key.to_owned(), value).is_some() {
            bail!("{key} is given twice");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_arguments() {
        let pairs = ["guest=lab/104", "limit=5", "include=[\"status\"]", "text=a=b"];
        let args = parse(&pairs.map(str::to_owned)).expect("they are pairs");
        assert_eq!(
            Value::Object(args),
            json!({"guest": "lab/104", "limit": 5, "include": ["status"], "text": "a=b"})
        );
        assert!(parse(&["guest".to_owned()]).is_err());
        assert!(parse(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }

    #[test]
    fn a_tool_that_is_named_is_offered_unless_the_flag_says_otherwise() {
        let offered = |tool: &str, is_chosen: bool| {
            let mut toolsets = vec!["default".to_owned()];
            let done = offer(&mut toolsets, tool, is_chosen).map_err(|error| error.to_string());
            done.map(|()| toolsets.join(","))
        };
        assert_eq!(offered("guest_get", true).unwrap(), "default");
        assert_eq!(offered("guest_delete", false).unwrap(), "default,guests");
        assert_eq!(offered("change_confirm", false).unwrap(), "default,guard");
        // What is in none is told by the catalogue, with the nearest name.
        assert_eq!(offered("guest_gte", true).unwrap(), "default");
        assert_eq!(
            offered("guest_delete", true).unwrap_err(),
            "guest_delete is not in the toolsets default; it is in guests: leave out --toolsets, or add it there"
        );
    }
}
