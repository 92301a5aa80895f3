//! Resources, prompts and completion.

use std::collections::BTreeMap;

use mcp_protocol::{
    CallContext, Completer, Completion, CompletionRef, Content, InputAnswer, InputRequest,
    PromptArgument, PromptError, PromptMessage, PromptReply, PromptSpec, Prompts, Resource,
    ResourceContents, ResourceError, ResourceTemplate, Resources, Role, async_trait, schema_object,
};
use serde_json::{Value, json};

use crate::contents::PIXEL;

/// The resources.
pub(crate) struct Shelf;

/// The prompts.
pub(crate) struct Prompted(Vec<PromptSpec>);

/// Suggestions for their arguments.
pub(crate) struct Suggested;

fn listed(uri: &str, name: &str, mime_type: &str) -> Resource {
    let mut resource = Resource::new(uri, name);
    resource.description = Some(format!("The fixture {name}."));
    resource.mime_type = Some(mime_type.to_owned());
    resource
}

#[async_trait]
impl Resources for Shelf {
    async fn list(&self, _cx: &CallContext) -> Result<Vec<Resource>, ResourceError> {
        Ok(vec![
            listed("test://static-text", "static-text", "text/plain"),
            listed("test://static-binary", "static-binary", "image/png"),
            listed("test://watched-resource", "watched-resource", "text/plain"),
        ])
    }

    async fn templates(&self, _cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError> {
        let mut template = ResourceTemplate::new("test://template/{id}/data", "template");
        template.description = Some("The data of one id.".to_owned());
        template.mime_type = Some("application/json".to_owned());
        Ok(vec![template])
    }

    async fn read(
        &self,
        _cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError> {
        let contents = match uri {
            "test://static-text" => ResourceContents::text(
                uri,
                "text/plain",
                "This is the content of the static text resource.",
            ),
            "test://static-binary" => ResourceContents::blob(uri, "image/png", PIXEL.to_vec()),
            "test://watched-resource" => ResourceContents::text(uri, "text/plain", "Watched."),
            _ => {
                let id = uri
                    .strip_prefix("test://template/")
                    .and_then(|rest| rest.strip_suffix("/data"))
                    .filter(|id| !id.is_empty() && !id.contains('/'))
                    .ok_or_else(|| ResourceError::not_found(uri))?;
                let data = format!("Data for ID: {id}");
                let text = json!({ "id": id, "templateTest": true, "data": data }).to_string();
                ResourceContents::text(uri, "application/json", text)
            }
        };
        Ok(vec![contents])
    }
}

impl Prompted {
    pub(crate) fn new() -> Self {
        let spec = |name: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|name| PromptArgument {
                name: (*name).to_owned(),
                description: Some(format!("The argument {name}.")),
                required: true,
            });
            PromptSpec {
                name: name.to_owned(),
                description: Some(format!("The fixture {name}.")),
                arguments: arguments.collect(),
                ..PromptSpec::default()
            }
        };
        Self(vec![
            spec("test_simple_prompt", &[]),
            spec("test_prompt_with_arguments", &["arg1", "arg2"]),
            spec("test_prompt_with_embedded_resource", &["resourceUri"]),
            spec("test_prompt_with_image", &[]),
            spec("test_input_required_result_prompt", &[]),
        ])
    }
}

fn said(content: Content) -> PromptMessage {
    PromptMessage { role: Role::User, content }
}

#[async_trait]
impl Prompts for Prompted {
    fn list(&self) -> &[PromptSpec] {
        &self.0
    }

    async fn get(
        &self,
        cx: &CallContext,
        name: &str,
        args: BTreeMap<String, String>,
    ) -> Result<PromptReply, PromptError> {
        let arg = |name: &str| args.get(name).cloned().unwrap_or_default();
        let messages = match name {
            "test_prompt_with_arguments" => {
                let (first, second) = (arg("arg1"), arg("arg2"));
                let text = format!("Prompt with arguments: arg1='{first}', arg2='{second}'");
                vec![PromptMessage::user(text)]
            }
            "test_prompt_with_embedded_resource" => {
                let text = "Embedded resource content for testing.";
                let resource = ResourceContents::text(arg("resourceUri"), "text/plain", text);
                vec![
                    said(Content::embedded(resource)),
                    PromptMessage::user("Please process the embedded resource above."),
                ]
            }
            "test_prompt_with_image" => vec![
                said(Content::image(PIXEL.to_vec(), "image/png")),
                PromptMessage::user("Please analyze the image above."),
            ],
            "test_input_required_result_prompt" => vec![PromptMessage::user(context(cx)?)],
            _ => vec![PromptMessage::user("This is a simple prompt for testing.")],
        };
        Ok(PromptReply { description: None, messages })
    }
}

/// What the person wants to talk about, or the question.
fn context(cx: &CallContext) -> Result<String, PromptError> {
    let answers = cx.answers().or(cx.unasked_answers());
    if let Some(InputAnswer::Accepted(form)) =
        answers.and_then(|answers| answers.get("user_context"))
        && let Some(context) = form.get("context").and_then(Value::as_str)
    {
        return Ok(format!("Use this context: {context}"));
    }
    let form = schema_object(json!({
        "type": "object",
        "properties": { "context": { "type": "string" } },
        "required": ["context"],
    }));
    let question = "What context should the prompt use?";
    let inputs = vec![InputRequest::form("user_context", question, form)];
    Err(PromptError::Ask { inputs, state: Value::Null })
}

#[async_trait]
impl Completer for Suggested {
    async fn complete(
        &self,
        _cx: &CallContext,
        _target: &CompletionRef,
        _argument: &str,
        typed: &str,
        _chosen: &BTreeMap<String, String>,
    ) -> Completion {
        let cities = ["paris", "park", "party"];
        let fitting = cities.into_iter().filter(|city| city.starts_with(typed));
        Completion::of(fitting.map(str::to_owned).collect())
    }
}
