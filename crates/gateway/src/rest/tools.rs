//! `/api/v1/tools`: the list, and a call.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use guard::Grant;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use mcp_protocol::{Answer, CallContext, CallError, InputRequest, Outcome, ToolSpec};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{JOBS, TOOL_CALLS};
use crate::body;
use crate::entrance::RequestId;
use crate::problem::{Kind, Problem};
use crate::shared::{Shared, caller};

/// The tools that this caller may use.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
) -> Response {
    let app = shared.catalogue.app(&grant);
    let tools: Vec<Value> = app.listed_specs().await.into_iter().map(row).collect();
    json_response(StatusCode::OK, &json!({ "tools": tools }))
}

/// Calls a tool. If the client goes, the work stops.
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(RequestId(id)): Extension<RequestId>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let plain = wants_text(request.headers());
    if let Some(problem) = shared.insufficient(&grant, &name) {
        return Err(problem);
    }
    let app = shared.catalogue.app(&grant);
    let args = body::object(request, &shared.options).await?;
    let wrong = app.check_arguments(&name, &args).map_err(|error| problem_of(&error))?;
    if !wrong.is_empty() {
        let problem = Problem::new(Kind::Arguments, wrong.join("\n"));
        return Err(problem.with("problems", wrong));
    }
    let cancelled = CancellationToken::new();
    // Dropped with this future when the client goes; work that the tool handed elsewhere hears of it by the token.
    let gone = cancelled.clone().drop_guard();
    let cx = CallContext::detached(caller(&grant)).with_request(&id, cancelled);
    let outcome = app.call_tool(&cx, &name, args).await;
    gone.disarm();
    match outcome.map_err(|error| problem_of(&error))? {
        Outcome::Done(answer) if plain => {
            let text = answer.plain_text();
            Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
        }
        Outcome::Done(answer) => Ok(json_response(StatusCode::OK, &document(answer))),
        Outcome::Failed(answer) => Err(failure(answer)),
        Outcome::Ask { inputs, .. } => Err(consent(&inputs)),
        Outcome::Job(handle) => {
            let mut told = document(handle.answer);
            told["job"] = json!(handle.id.as_str());
            let mut response = json_response(StatusCode::ACCEPTED, &told);
            if let Ok(place) = format!("{JOBS}{}", handle.id).parse() {
                response.headers_mut().insert(LOCATION, place);
            }
            Ok(response)
        }
        _ => Err(Problem::new(Kind::Internal, "the tool ended in a way that REST cannot tell")),
    }
}

/// A tool as the list has it: what MCP clients get, and where to call it.
fn row(spec: &ToolSpec) -> Value {
    let hints = spec.annotations;
    json!({
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "path": format!("{TOOL_CALLS}{}", spec.name),
        "inputSchema": spec.input_schema,
        "outputSchema": spec.output_schema,
        "annotations": {
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        },
    })
}

/// An answer as one object: the structured content, with the text beside its fields under `text`.
pub(super) fn document(answer: Answer) -> Value {
    let text = answer.plain_text();
    let mut document = answer.structured.unwrap_or_default();
    document.insert("text".to_owned(), Value::String(text));
    Value::Object(document)
}

/// A failed call. Its structured content may say by a word what sort of failure it is: `error`, and `status` where it is
/// that nobody could be asked.
fn failure(answer: Answer) -> Problem {
    let detail = answer.plain_text();
    let word = |name| answer.structured.as_ref()?.get(name).and_then(Value::as_str);
    let kind = match word("error") {
        Some("not_found") => Kind::NotFound,
        Some("ambiguous") => Kind::Ambiguous,
        Some("unreachable" | "timeout") => Kind::Unreachable,
        Some("forbidden") => Kind::Forbidden,
        _ if word("status") == Some("refused") => Kind::Consent,
        _ => Kind::ToolFailed,
    };
    let problem = Problem::new(kind, detail);
    match answer.structured {
        Some(structured) => problem.with("result", structured),
        None => problem,
    }
}

/// A call that would ask somebody, which REST cannot.
fn consent(inputs: &[InputRequest]) -> Problem {
    let questions: Vec<&str> = inputs.iter().map(|input| input.message.as_str()).collect();
    Problem::new(Kind::Consent, questions.join("\n\n"))
        .hint("nothing was done; call the tool from an MCP client that can ask the person at it")
        .with("questions", questions)
}

fn problem_of(error: &CallError) -> Problem {
    match error {
        CallError::UnknownTool { .. } => Problem::new(Kind::NoTool, error.to_string())
            .hint("GET /api/v1/tools lists the tools that this caller may use"),
        _ => Problem::new(Kind::Internal, error.to_string()),
    }
}

/// Whether text is asked for rather than JSON.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let position = |essence: &str| {
        accept.split(',').position(|part| part.split(';').next().unwrap_or("").trim() == essence)
    };
    match (position("text/plain"), position("application/json")) {
        (Some(text), Some(json)) => text < json,
        (text, _) => text.is_some(),
    }
}

/// A JSON answer.
pub(super) fn json_response(status: StatusCode, document: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
