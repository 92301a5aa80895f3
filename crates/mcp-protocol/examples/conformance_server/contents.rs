//! Tools that answer at once: texts, pictures, sounds, resources, failures, progress and logs.

use std::sync::Arc;
use std::time::Duration;

use mcp_protocol::{
    Annotations, Answer, Content, LogLevel, Outcome, ResourceContents, Tool, ToolSpec,
    schema_object,
};
use serde_json::json;
use tokio::time::sleep;

use crate::fixture::{plain, spec, with};

/// A picture of one red pixel.
pub(crate) const PIXEL: [u8; 69] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53,
    0xde, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0x00,
    0x00, 0x03, 0x01, 0x01, 0x00, 0xc9, 0xfe, 0x92, 0xef, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e,
    0x44, 0xae, 0x42, 0x60, 0x82,
];

/// A sound of no samples.
const SILENCE: [u8; 44] = [
    b'R', b'I', b'F', b'F', 36, 0, 0, 0, b'W', b'A', b'V', b'E', b'f', b'm', b't', b' ', 16, 0, 0,
    0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, b'd', b'a', b't', b'a', 0, 0, 0,
    0,
];

const STEP: Duration = Duration::from_millis(50);

pub(crate) fn tools() -> Vec<Arc<dyn Tool>> {
    vec![
        plain("test_simple_text", "Answers with a text.", |_, _| {
            Box::pin(async { Outcome::done("This is a simple text response for testing.") })
        }),
        plain("test_image_content", "Answers with a picture.", |_, _| {
            Box::pin(async { contents(vec![Content::image(PIXEL.to_vec(), "image/png")]) })
        }),
        plain("test_audio_content", "Answers with a sound.", |_, _| {
            Box::pin(async { contents(vec![Content::audio(SILENCE.to_vec(), "audio/wav")]) })
        }),
        plain("test_embedded_resource", "Answers with a resource.", |_, _| {
            Box::pin(async {
                contents(vec![Content::embedded(ResourceContents::text(
                    "test://embedded-resource",
                    "text/plain",
                    "This is an embedded resource content.",
                ))])
            })
        }),
        plain("test_multiple_content_types", "Answers with three kinds of content.", |_, _| {
            Box::pin(async {
                contents(vec![
                    Content::text("Multiple content types test:"),
                    Content::image(PIXEL.to_vec(), "image/png"),
                    Content::embedded(ResourceContents::text(
                        "test://mixed-content-resource",
                        "application/json",
                        r#"{"test":"data","value":123}"#,
                    )),
                ])
            })
        }),
        plain("test_error_handling", "Fails.", |_, _| {
            Box::pin(async {
                Outcome::failed("This tool intentionally returns an error for testing")
            })
        }),
        plain("test_tool_with_progress", "Tells three times how far it is.", |cx, _| {
            Box::pin(async move {
                for progress in [0.0, 50.0, 100.0] {
                    cx.progress(progress, Some(100.0), None).await;
                    sleep(STEP).await;
                }
                Outcome::done("done")
            })
        }),
        plain("test_tool_with_logging", "Says three things while it works.", |cx, _| {
            Box::pin(async move {
                for message in
                    ["Tool execution started", "Tool processing data", "Tool execution completed"]
                {
                    cx.log(LogLevel::Info, message).await;
                    sleep(STEP).await;
                }
                Outcome::done("done")
            })
        }),
        plain("test_logging_tool", "Says something, if it was asked to.", |cx, _| {
            Box::pin(async move {
                cx.log(LogLevel::Info, "logged").await;
                Outcome::done("done")
            })
        }),
        plain(
            "test_reconnection",
            "Lets go of its client and answers when that is back.",
            |cx, _| {
                Box::pin(async move {
                    cx.let_go();
                    sleep(STEP).await;
                    Outcome::done("The client is back.")
                })
            },
        ),
        with(
            spec(
                "test_custom_header",
                "Takes an argument that a header repeats.",
                json!({ "region": { "type": "string", "x-mcp-header": "Region" } }),
            ),
            |_, args| Box::pin(async move { Outcome::done(format!("region: {}", args["region"])) }),
        ),
        with(modern_schema(), |_, args| Box::pin(async move { Outcome::done(args.to_string()) })),
    ]
}

fn contents(contents: Vec<Content>) -> Outcome {
    Outcome::Done(Answer { content: contents, ..Answer::default() })
}

/// A schema with what JSON Schema 2020-12 has beyond its forerunners.
fn modern_schema() -> ToolSpec {
    let schema = schema_object(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    }));
    let name = "json_schema_2020_12_tool";
    let description = "Tool with JSON Schema 2020-12 features";
    ToolSpec::new(name, name, description, schema, Annotations::READ)
}
