//! `proxmox-mcp call` and `tools`: the catalogue from a terminal.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use guard::Principal;
use mcp_protocol::{App, CallContext, JsonObject, Outcome};
use mcp_tools::{Options, fleet::Fleet, redaction::Redaction};
use serde_json::{Value, json};

use crate::{
    cli::{CallArgs, ToolsArgs},
    estate::Estate,
    output,
};

/// Calls one tool and prints its answer.
pub(crate) async fn call(args: CallArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = Estate::prepare(&args.surface, log).await?;
    let app = estate.app()?;
    let arguments = parse(&args.args)?;
    let (answer, failed) = ask(&app, &args.tool, arguments).await?;
    if args.json {
        let structured = answer.structured.unwrap_or_default();
        output::line(&serde_json::to_string_pretty(&structured)?)?;
    } else {
        output::line(&answer.plain_text())?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
    };
    Ok(mcp_tools::build_app(fleet, &options)?)
}

/// Calls a tool as a client would; `true` if it failed.
pub(crate) async fn ask(
    app: &App,
    tool: &str,
    args: JsonObject,
) -> anyhow::Result<(mcp_protocol::Answer, bool)> {
    let cx = CallContext::detached(app.caller().clone());
    match app.call_tool(&cx, tool, args).await? {
        Outcome::Done(answer) => Ok((answer, false)),
        Outcome::Failed(answer) => Ok((answer, true)),
        Outcome::Job(job) => Ok((job.answer, false)),
        _ => bail!("{tool} asks something that can only be answered in an MCP client"),
    }
}

/// Reads `key=value` pairs; a value that is JSON is taken as such, anything else as text.
fn parse(pairs: &[String]) -> anyhow::Result<JsonObject> {
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
}
