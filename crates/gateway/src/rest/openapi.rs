//! `/api/v1/openapi.json`: the API described in OpenAPI 3.1, made from the same specs that MCP clients get.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use guard::Grant;
use http::StatusCode;
use mcp_protocol::{Implementation, JsonObject, ToolSpec};
use serde_json::{Value, json};

use super::tools::json_response;
use super::{JOBS, OPENAPI, TOOL_CALLS, TOOLS};
use crate::problem::{Kind, TYPE};
use crate::shared::Shared;

/// The description of what this caller may use.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
) -> Response {
    let app = shared.catalogue.app(&grant);
    let tools = app.listed_specs().await;
    let document = document(app.implementation(), &tools, !shared.authenticator.is_open());
    json_response(StatusCode::OK, &document)
}

/// The description; `secured` says whether calls need a token.
fn document(about: &Implementation, tools: &[&ToolSpec], secured: bool) -> Value {
    let mut paths = JsonObject::new();
    paths.insert(TOOLS.to_owned(), json!({ "get": list() }));
    for spec in tools {
        paths.insert(format!("{TOOL_CALLS}{}", spec.name), json!({ "post": call(spec) }));
    }
    paths.insert(format!("{JOBS}{{id}}"), json!({ "get": job(), "delete": stop() }));
    paths.insert(OPENAPI.to_owned(), json!({ "get": description() }));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": "The tools of this server as plain HTTP calls. What is listed is what the caller may use.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "read", "description": "Tools that change nothing." },
            { "name": "act", "description": "Tools that can change something." },
            { "name": "service", "description": "The API itself." },
        ],
        "paths": paths,
        "components": { "schemas": { "Problem": problem(), "Job": job_schema() } },
    });
    if secured {
        document["security"] = json!([{ "bearer": [] }]);
        document["components"]["securitySchemes"] = json!({
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token made by `proxmox-mcp token new`, or an access token of an issuer that the server knows.",
            },
        });
    }
    document
}

fn call(spec: &ToolSpec) -> Value {
    let has_required = spec.input_schema.get("required").and_then(Value::as_array);
    let has_required = has_required.is_some_and(|names| !names.is_empty());
    let mut operation = json!({
        "operationId": spec.name,
        "summary": spec.title,
        "description": spec.description,
        "tags": [if spec.annotations.read_only { "read" } else { "act" }],
        "requestBody": {
            "required": has_required,
            "content": { "application/json": { "schema": spec.input_schema } },
        },
        "responses": {
            "200": {
                "description": "It worked. With `Accept: text/plain`, the text alone.",
                "content": {
                    "application/json": { "schema": answer(spec) },
                    "text/plain": { "schema": { "type": "string" } },
                },
            },
            "default": failed("It did not work; `detail` says why and `type` what sort of problem it is."),
        },
    });
    if !spec.annotations.read_only {
        operation["responses"]["202"] = json!({
            "description": "The work goes on; ask for it at `Location`.",
            "headers": { "Location": { "description": "The job.", "schema": { "type": "string" } } },
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": { "job": { "type": "string" }, "text": text() },
                "required": ["job", "text"],
            } } },
        });
        operation["x-destructive"] = json!(spec.annotations.destructive);
    }
    operation
}

/// The schema of an answer: the tool's own, and the text.
fn answer(spec: &ToolSpec) -> Value {
    let own = spec.output_schema.clone().map_or(json!({ "type": "object" }), Value::Object);
    let mut schema = own;
    schema["properties"]["text"] = text();
    match schema.get_mut("required").and_then(Value::as_array_mut) {
        Some(required) => required.push(json!("text")),
        None => schema["required"] = json!(["text"]),
    }
    schema
}

fn text() -> Value {
    json!({ "type": "string", "description": "The answer for people and models." })
}

fn list() -> Value {
    json!({
        "operationId": "list_tools",
        "summary": "List the tools",
        "tags": ["service"],
        "responses": {
            "200": {
                "description": "The tools that this caller may use.",
                "content": { "application/json": { "schema": {
                    "type": "object",
                    "properties": { "tools": { "type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "name": { "type": "string" },
                            "title": { "type": "string" },
                            "description": { "type": "string" },
                            "path": { "type": "string" },
                            "inputSchema": { "type": "object" },
                            "outputSchema": { "type": ["object", "null"] },
                            "annotations": { "type": "object" },
                        },
                        "required": ["name", "title", "description", "path", "inputSchema"],
                    } } },
                    "required": ["tools"],
                } } },
            },
            "default": failed("It did not work."),
        },
    })
}

fn job() -> Value {
    on_job("get_job", "Ask how far a job is")
}

fn stop() -> Value {
    on_job("stop_job", "Stop a job, as far as it can be stopped")
}

fn on_job(id: &str, summary: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "tags": ["service"],
        "parameters": [{
            "name": "id", "in": "path", "required": true,
            "description": "As in the `Location` of the call that began it.",
            "schema": { "type": "string" },
        }],
        "responses": {
            "200": {
                "description": "How far it is.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Job" } } },
            },
            "default": failed("It did not work."),
        },
    })
}

fn job_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "job": { "type": "string" },
            "label": { "type": "string", "description": "What it is, for people." },
            "state": { "enum": super::jobs::STATES },
            "created": { "type": "string", "format": "date-time" },
            "updated": { "type": "string", "format": "date-time" },
            "text": text(),
            "result": { "type": "object", "description": "When it has ended: what the call would have answered." },
        },
        "required": ["job", "label", "state", "created", "updated", "text"],
    })
}

fn description() -> Value {
    json!({
        "operationId": "get_openapi",
        "summary": "Get this description",
        "tags": ["service"],
        "responses": {
            "200": {
                "description": "This document.",
                "content": { "application/json": { "schema": { "type": "object" } } },
            },
            "default": failed("It did not work."),
        },
    })
}

fn failed(description: &str) -> Value {
    json!({
        "description": description,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn problem() -> Value {
    let types: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{TYPE}{}", kind.word())).collect();
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "properties": {
            "type": { "type": "string", "description": "What sort of problem it is.", "examples": types },
            "title": { "type": "string", "description": "The same in a few words." },
            "status": { "type": "integer", "description": "The status of the answer." },
            "detail": { "type": "string", "description": "What is the matter this time." },
            "hint": { "type": "string", "description": "What to do about it." },
            "problems": { "type": "array", "items": { "type": "string" }, "description": "Each wrong argument." },
            "questions": { "type": "array", "items": { "type": "string" }, "description": "What a person has to answer first." },
            "result": { "type": "object", "description": "The failed tool's structured answer." },
        },
        "required": ["type", "title", "status", "detail"],
    })
}
