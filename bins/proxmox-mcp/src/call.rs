//! `proxmox-mcp call` and `tools`: the catalogue from a terminal.

#![expect(clippy::print_stdout, reason = "the answer is what the command is for")]

use std::process::ExitCode;

use anyhow::{Context, bail};
use mcp_protocol::{App, CallContext, JsonObject, Outcome};
use serde_json::{Value, json};

use crate::{
    cli::{CallArgs, ToolsArgs},
    estate::Estate,
};

/// Calls one tool and prints its answer.
pub(crate) async fn call(args: CallArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = Estate::prepare(&args.surface, log).await?;
    let app = estate.app()?;
    let arguments = parse(&args.args)?;
    let (answer, failed) = ask(&app, &args.tool, arguments).await?;
    if args.json {
        let structured = answer.structured.unwrap_or_default();
        println!("{}", serde_json::to_string_pretty(&structured)?);
    } else {
        println!("{}", answer.plain_text());
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lists the tools.
pub(crate) async fn tools(args: ToolsArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = Estate::prepare(&args.surface, log).await?;
    let app = estate.app()?;
    if args.json {
        let tools = app.tool_specs().map(|spec| {
            json!({
                "name": spec.name, "title": spec.title, "description": spec.description,
                "inputSchema": spec.input_schema,
            })
        });
        println!("{}", serde_json::to_string_pretty(&tools.collect::<Vec<_>>())?);
        return Ok(ExitCode::SUCCESS);
    }
    for spec in app.tool_specs() {
        let kind = if spec.annotations.read_only { "reads" } else { "acts" };
        println!("{:<22} {kind:<6} {}", spec.name, spec.description);
    }
    Ok(ExitCode::SUCCESS)
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
