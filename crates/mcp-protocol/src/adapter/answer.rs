//! From our types to the SDK's.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{
    Annotations as WireHints, AudioContent, CallToolResult, ContentBlock, EmbeddedResource,
    ErrorCode, Icon as WireIcon, ImageContent, MetaObject, Prompt, PromptArgument, PromptMessage,
    Resource as WireResource, ResourceContents as WireContents, ResourceTemplate as WireTemplate,
    Role as WireRole, ServerResult, TextContent, Tool as WireTool, ToolAnnotations,
};
use serde_json::{Value, json};

use crate::content::{Audience, Content, ContentBody};
use crate::context::ClientCapabilities;
use crate::icon::Icon;
use crate::prompt::{self, PromptSpec, Role};
use crate::resource::{Resource, ResourceBody, ResourceContents, ResourceTemplate};
use crate::tool::{Answer, ToolSpec};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The first revisions that know audio and links; older clients fail on a kind of content that they do not know.
const AUDIO_SINCE: &str = "2025-03-26";
const LINK_SINCE: &str = "2025-06-18";

pub(super) fn tool(spec: &ToolSpec) -> WireTool {
    let hints = spec.annotations;
    let mut tool = WireTool::new(
        Cow::Owned(spec.name.clone()),
        Cow::Owned(spec.description.clone()),
        Arc::new(spec.input_schema.clone()),
    );
    tool.title = Some(spec.title.clone());
    tool.icons = icons(&spec.icons);
    tool.output_schema = spec.output_schema.clone().map(Arc::new);
    tool.annotations = Some(ToolAnnotations::from_raw(
        None,
        Some(hints.read_only),
        Some(hints.destructive),
        Some(hints.idempotent),
        Some(hints.open_world),
    ));
    tool
}

pub(super) fn call_result(answer: Answer, is_error: bool, version: &str) -> CallToolResult {
    let content = answer.content.into_iter().map(|block| content(block, version)).collect();
    let mut result =
        if is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = answer.structured.map(Value::Object);
    result
}

pub(super) fn content(block: Content, version: &str) -> ContentBlock {
    let hints = hints(&block);
    match block.body {
        ContentBody::Text(text) => {
            let mut content = TextContent::new(text);
            content.annotations = hints;
            ContentBlock::Text(content)
        }
        ContentBody::Image { data, mime_type } => {
            let mut content = ImageContent::new(STANDARD.encode(data), mime_type);
            content.annotations = hints;
            ContentBlock::Image(content)
        }
        ContentBody::Audio { mime_type, .. } if version < AUDIO_SINCE => {
            ContentBlock::text(format!("(a sound, {mime_type}, which this client cannot take)"))
        }
        ContentBody::Audio { data, mime_type } => {
            let mut content = AudioContent::new(STANDARD.encode(data), mime_type);
            content.annotations = hints;
            ContentBlock::Audio(content)
        }
        ContentBody::ResourceLink(link) if version < LINK_SINCE => {
            ContentBlock::text(format!("{}: {}", link.title.unwrap_or(link.name), link.uri))
        }
        ContentBody::ResourceLink(link) => {
            let mut link = resource(&link);
            link.annotations = hints.or(link.annotations);
            ContentBlock::ResourceLink(link)
        }
        ContentBody::Embedded(contents) => {
            let mut content = EmbeddedResource::new(resource_contents(contents));
            content.annotations = hints;
            ContentBlock::Resource(content)
        }
    }
}

fn hints(block: &Content) -> Option<WireHints> {
    wire_hints(&block.audience, block.priority, None)
}

fn wire_hints(
    audience: &[Audience],
    priority: Option<f32>,
    modified: Option<&str>,
) -> Option<WireHints> {
    if audience.is_empty() && priority.is_none() && modified.is_none() {
        return None;
    }
    let mut hints = WireHints::default();
    if !audience.is_empty() {
        let roles = audience.iter().map(|audience| match audience {
            Audience::User => WireRole::User,
            Audience::Assistant => WireRole::Assistant,
        });
        hints.audience = Some(roles.collect());
    }
    hints.priority = priority;
    hints.last_modified = modified.map(str::to_owned);
    Some(hints)
}

pub(super) fn icons(ours: &[Icon]) -> Option<Vec<WireIcon>> {
    let icons = ours.iter().map(|ours| {
        let mut icon = WireIcon::new(&ours.src);
        icon.mime_type.clone_from(&ours.mime_type);
        icon.sizes = (!ours.sizes.is_empty()).then(|| ours.sizes.clone());
        icon
    });
    (!ours.is_empty()).then(|| icons.collect())
}

pub(super) fn resource(ours: &Resource) -> WireResource {
    let mut resource = WireResource::new(&ours.uri, &ours.name);
    resource.title.clone_from(&ours.title);
    resource.description.clone_from(&ours.description);
    resource.mime_type.clone_from(&ours.mime_type);
    resource.size = ours.size_bytes;
    resource.icons = icons(&ours.icons);
    resource.annotations = wire_hints(&ours.audience, ours.priority, ours.modified.as_deref());
    resource
}

pub(super) fn template(ours: &ResourceTemplate) -> WireTemplate {
    let mut template = WireTemplate::new(&ours.uri_template, &ours.name);
    template.title.clone_from(&ours.title);
    template.description.clone_from(&ours.description);
    template.mime_type.clone_from(&ours.mime_type);
    template.icons = icons(&ours.icons);
    template
}

pub(super) fn resource_contents(ours: ResourceContents) -> WireContents {
    let ResourceContents { uri, mime_type, body } = ours;
    match body {
        ResourceBody::Text(text) => {
            WireContents::TextResourceContents { uri, mime_type, text, meta: None }
        }
        ResourceBody::Blob(data) => {
            let blob = STANDARD.encode(data);
            WireContents::BlobResourceContents { uri, mime_type, blob, meta: None }
        }
    }
}

pub(super) fn prompt(spec: &PromptSpec) -> Prompt {
    let arguments = spec.arguments.iter().map(|ours| {
        let mut argument = PromptArgument::new(&ours.name).with_required(ours.required);
        argument.description.clone_from(&ours.description);
        argument
    });
    let arguments: Vec<PromptArgument> = arguments.collect();
    let arguments = (!arguments.is_empty()).then_some(arguments);
    let mut prompt = Prompt::new(&spec.name, spec.description.as_deref(), arguments);
    prompt.title.clone_from(&spec.title);
    prompt.icons = icons(&spec.icons);
    prompt
}

pub(super) fn prompt_message(message: prompt::PromptMessage, version: &str) -> PromptMessage {
    let role = match message.role {
        Role::User => WireRole::User,
        Role::Assistant => WireRole::Assistant,
    };
    PromptMessage::new(role, content(message.content, version))
}

/// A message of a conversation that the client's model goes on with.
pub(super) fn sampling_message(message: prompt::PromptMessage) -> Value {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    // Everything that a model can be sent is older than sampling with more than text.
    let content = serde_json::to_value(content(message.content, LINK_SINCE)).unwrap_or_default();
    json!({ "role": role, "content": content })
}

/// The error for a client that has not declared what a tool requires.
pub(super) fn missing_capability(missing: ClientCapabilities) -> ErrorData {
    let data = json!({ "requiredCapabilities": missing.to_json() });
    let code = ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY;
    ErrorData::new(code, missing.to_string(), Some(data))
}

/// Says on a result who answers, as every modern result should.
pub(super) fn stamp(result: &mut ServerResult, server_info: &Value) {
    let meta: &mut Option<MetaObject> = match result {
        ServerResult::SubscriptionsListenResult(result) => {
            result.meta.insert(SERVER_INFO.to_owned(), server_info.clone());
            return;
        }
        ServerResult::CreateTaskResult(result) => &mut result.meta,
        ServerResult::GetTaskResult(result) => &mut result.meta,
        ServerResult::TaskAckResult(result) => &mut result.meta,
        ServerResult::DiscoverResult(result) => &mut result.meta,
        ServerResult::CompleteResult(result) => &mut result.meta,
        ServerResult::GetPromptResult(result) => &mut result.meta,
        ServerResult::ListPromptsResult(result) => &mut result.meta,
        ServerResult::ListResourcesResult(result) => &mut result.meta,
        ServerResult::ListResourceTemplatesResult(result) => &mut result.meta,
        ServerResult::ReadResourceResult(result) => &mut result.meta,
        ServerResult::ListToolsResult(result) => &mut result.meta,
        ServerResult::CallToolResult(result) => &mut result.meta,
        ServerResult::InputRequiredResult(result) => &mut result.meta,
        // The rest is of the older era, or of extensions that we do not declare.
        _ => return,
    };
    meta.get_or_insert_default().insert(SERVER_INFO.to_owned(), server_info.clone());
}
