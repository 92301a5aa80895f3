//! Answers requests: the gate around every one of them, and one method for each kind.

#![expect(
    deprecated,
    reason = "logging is deprecated in 2026-07-28 and still part of every revision that we speak"
)]

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientNotification,
    ClientRequest, CompleteRequestParams, CompleteResult, CompletionInfo, DiscoverResult,
    GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult,
    Implementation as WireImplementation, InitializeRequestParams, InitializeResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, PromptsCapability, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Reference, ResourcesCapability, ServerCapabilities,
    ServerConfig, ServerResult, SetLevelRequestMethod, SetLevelRequestParams,
    SubscribeRequestParams, ToolsCapability, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, Service};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tracing::{Instrument as _, Span};

use super::answer;
use super::ask::{self, Sealer};
use super::call;
use super::http::Carried;
use super::listen::{self, Ear};
use super::outlet;
use super::session::Session;
use super::tasks;
use crate::JsonObject;
use crate::app::{App, Implementation};
use crate::ask::InputRequest;
use crate::completion::CompletionRef;
use crate::context::{CallContext, Era, TASKS};
use crate::cursor;
use crate::job::{Job, JobId, JobStoreError};
use crate::notify::{Changes, MAX_WATCHED};
use crate::prompt::PromptSpec;
use crate::resource::ResourceError;
use crate::tasks::Tasks;

/// What a client calls things is logged up to so many characters.
const MAX_LOGGED: usize = 64;

/// The gate: ends work that nobody waits for, catches panics, and says on every modern result who answers.
pub(super) struct Server {
    handler: Handler,
    server_info: Value,
}

/// One method for each kind of request.
pub(super) struct Handler {
    pub(super) app: App,
    pub(super) session: Arc<Session>,
    pub(super) sealer: Arc<Sealer>,
}

// === impl Server ===

impl Server {
    pub(super) fn new(app: App, session: Arc<Session>) -> Self {
        let ours = app.implementation();
        let server_info = serde_json::to_value(wire_implementation(ours)).unwrap_or_default();
        let sealer = Arc::new(Sealer::new());
        Self { handler: Handler { app, session, sealer }, server_info }
    }

    /// The same with a sealer that is shared with other servers: one opens what another has sealed.
    pub(super) fn with_sealer(mut self, sealer: Arc<Sealer>) -> Self {
        self.handler.sealer = sealer;
        self
    }
}

impl Service<RoleServer> for Server {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let era = era(&context);
        let cancelled = context.ct.clone();
        let method = stdx::untrusted::line(request.method(), MAX_LOGGED).into_owned();
        let span = request_span(&method, &context);
        let handler = self.handler.serving(&context);
        // Listening ends by itself when the request or the connection does, with an answer that says so.
        let listens = matches!(request, ClientRequest::SubscriptionsListenRequest(_));
        let work = async {
            match request {
                ClientRequest::SubscriptionsListenRequest(request) => {
                    listen::listen(&handler, request.params.notifications, &context).await
                }
                request => handler.handle_request(request, context).await,
            }
        };
        let work = AssertUnwindSafe(work.instrument(span)).catch_unwind();
        let result = tokio::select! {
            biased;
            // Neither of the two answers reaches anybody but whoever still reads at the end of a pipe.
            () = cancelled.cancelled(), if !listens => {
                return Err(ErrorData::internal_error("cancelled", None));
            }
            () = self.handler.session.stopped(), if !listens => {
                return Err(ErrorData::internal_error("the server is ending", None));
            }
            result = work => result,
        };
        let Ok(result) = result else {
            tracing::error!(method, "a handler panicked");
            let message = "a fault in this server; its log has the details";
            return Err(ErrorData::internal_error(message, None));
        };
        let mut result = result?;
        if era == Era::Modern {
            answer::stamp(&mut result, &self.server_info);
        }
        Ok(result)
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.handler.handle_notification(notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        ServerHandler::get_info(&self.handler)
    }
}

fn wire_implementation(ours: &Implementation) -> WireImplementation {
    let mut wire = WireImplementation::new(&ours.name, &ours.version).with_title(&ours.title);
    wire.icons = answer::icons(&ours.icons);
    wire
}

/// The span of a request, within the trace that it says it belongs to.
fn request_span(method: &str, context: &RequestContext<RoleServer>) -> Span {
    let id = context.id.to_string();
    let request_id = stdx::untrusted::line(&id, MAX_LOGGED);
    let trace = call::trace(context);
    tracing::info_span!(
        "mcp.request",
        request_id = &*request_id,
        method,
        traceparent = trace.traceparent,
        tracestate = trace.tracestate,
    )
}

pub(super) fn era(context: &RequestContext<RoleServer>) -> Era {
    match context.protocol_version() {
        Some(version) if !version.has_initialize() => Era::Modern,
        _ => Era::Legacy,
    }
}

// === impl Handler ===

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let app = &self.app.inner;
        let ours = &app.implementation;
        let mut capabilities = ServerCapabilities::default();
        capabilities.logging = Some(JsonObject::new());
        capabilities.completions = app.completer.is_some().then(JsonObject::new);
        let announced = |announced: bool| announced.then_some(true);
        capabilities.prompts = app.prompts.is_some().then(|| {
            let mut prompts = PromptsCapability::default();
            prompts.list_changed = announced(app.changes.prompts);
            prompts
        });
        capabilities.resources = app.resources.is_some().then(|| {
            let mut resources = ResourcesCapability::default();
            resources.list_changed = announced(app.changes.resources);
            resources.subscribe = announced(app.changes.updates);
            resources
        });
        capabilities.tools = (!app.tools.is_empty()).then(|| {
            let mut tools = ToolsCapability::default();
            tools.list_changed = announced(app.changes.tools);
            tools
        });
        if app.tasks.is_some() {
            let extensions = [(TASKS.to_owned(), JsonObject::new())];
            capabilities.extensions = Some(extensions.into_iter().collect());
        }
        let mut config =
            ServerConfig::new(capabilities).with_server_info(wire_implementation(ours));
        config.instructions = (!app.instructions.is_empty()).then(|| app.instructions.clone());
        config.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        config
    }

    async fn initialize(
        &self,
        mut request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.negotiate_initialize(&request)?;
        // Extensions belong to the modern era.
        result.capabilities.extensions = None;
        // What the connection is remembered by is what was agreed, not what was asked for.
        request.protocol_version = result.protocol_version.clone();
        context.peer.set_peer_info(request);
        Ok(result)
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = ServerHandler::supported_protocol_versions(self).into_owned();
        let mut result = DiscoverResult::from_server_info(versions, ServerHandler::get_info(self));
        result.ttl_ms = self.list_ttl_ms();
        result.cache_scope = CacheScope::Private;
        Ok(result)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if era(&context) == Era::Modern {
            return Err(ErrorData::method_not_found::<SetLevelRequestMethod>());
        }
        self.session.set_log_level(outlet::from_wire(request.level));
        Ok(())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.app.listed().await;
        let key = |entry: &&crate::app::Entry| entry.tool.spec().name.clone();
        let (shown, next) = self.page("tools", &tools, key, request)?;
        let shown = shown.iter().map(|entry| answer::tool(entry.tool.spec())).collect();
        let mut result = ListToolsResult::with_all_items(shown);
        (result.next_cursor, result.ttl_ms, result.cache_scope) = self.hints(next);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let cx = self.call_context(&context);
        let result = self.run_tool(request, &context, &cx).await;
        cx.finish().await;
        result
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let Some(resources) = &self.app.inner.resources else {
            return Err(not_offered("resources/list"));
        };
        let all = resources
            .list(&self.call_context(&context))
            .await
            .map_err(|error| resource_error(&error))?;
        let key = |resource: &crate::Resource| resource.uri.clone();
        let (shown, next) = self.page("resources", &all, key, request)?;
        let mut result =
            ListResourcesResult::with_all_items(shown.iter().map(answer::resource).collect());
        (result.next_cursor, result.ttl_ms, result.cache_scope) = self.hints(next);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let Some(resources) = &self.app.inner.resources else {
            return Err(not_offered("resources/templates/list"));
        };
        let all = resources
            .templates(&self.call_context(&context))
            .await
            .map_err(|error| resource_error(&error))?;
        let key = |template: &crate::ResourceTemplate| template.uri_template.clone();
        let (shown, next) = self.page("templates", &all, key, request)?;
        let shown = shown.iter().map(answer::template).collect();
        let mut result = ListResourceTemplatesResult::with_all_items(shown);
        (result.next_cursor, result.ttl_ms, result.cache_scope) = self.hints(next);
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(resources) = &self.app.inner.resources else {
            return Err(not_offered("resources/read"));
        };
        let cx = self.call_context(&context);
        let contents = resources.read(&cx, &request.uri).await;
        cx.finish().await;
        let contents = match contents {
            Ok(contents) if contents.is_empty() => Err(ResourceError::not_found(&request.uri)),
            other => other,
        };
        let contents = contents.map_err(|error| match error {
            ResourceError::NotFound { .. } | ResourceError::Invalid { .. } => {
                let data = json!({ "uri": request.uri });
                ErrorData::invalid_params(error.to_string(), Some(data))
            }
            ResourceError::Unavailable { .. } => resource_error(&error),
        })?;
        let contents = contents.into_iter().map(answer::resource_contents).collect();
        // What is read is a state of things: true now.
        let result =
            ReadResourceResult::new(contents).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let Some(prompts) = &self.app.inner.prompts else {
            return Err(not_offered("prompts/list"));
        };
        let key = |spec: &PromptSpec| spec.name.clone();
        let (shown, next) = self.page("prompts", prompts.list(), key, request)?;
        let mut result =
            ListPromptsResult::with_all_items(shown.iter().map(answer::prompt).collect());
        (result.next_cursor, result.ttl_ms, result.cache_scope) = self.hints(next);
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(prompts) = &self.app.inner.prompts else {
            return Err(not_offered("prompts/get"));
        };
        self.run_prompt(prompts.as_ref(), request, &context).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let Some(completer) = &self.app.inner.completer else {
            return Err(not_offered("completion/complete"));
        };
        let target = match request.r#ref {
            Reference::Prompt(prompt) => CompletionRef::Prompt(prompt.name),
            Reference::Resource(resource) => CompletionRef::Resource(resource.uri),
            _ => return Err(ErrorData::invalid_params("ref is of an unknown type", None)),
        };
        let chosen: BTreeMap<String, String> = request
            .context
            .and_then(|context| context.arguments)
            .map(|arguments| arguments.into_iter().collect())
            .unwrap_or_default();
        let argument = request.argument;
        let cx = self.call_context(&context);
        let completion = completer
            .complete(&cx, &target, &argument.name, &argument.value, &chosen)
            .await
            .bounded();
        let mut info = CompletionInfo::default();
        info.values = completion.values;
        info.total = completion.total;
        info.has_more = Some(completion.has_more);
        Ok(CompleteResult::new(info))
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let Some(resources) = self.app.inner.resources.as_ref().filter(|_| self.tells_updates())
        else {
            return Err(not_offered("resources/subscribe"));
        };
        let uri = request.uri;
        if !resources.is_watchable(&self.call_context(&context), &uri).await {
            let message = format!("no resource at {uri} that tells of its changes");
            return Err(ErrorData::invalid_params(message, Some(json!({ "uri": uri }))));
        }
        let listener = self.session.listener(|| Ear::open(&self.app, &context.peer));
        match listener {
            Some(listener) if listener.watch(&uri) => Ok(()),
            Some(_) => {
                let message = format!("at most {MAX_WATCHED} resources can be watched at once");
                Err(ErrorData::invalid_params(message, Some(json!({ "uri": uri }))))
            }
            None => Err(ErrorData::internal_error("the server is ending", None)),
        }
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if self.app.inner.resources.is_none() || !self.tells_updates() {
            return Err(not_offered("resources/unsubscribe"));
        }
        if let Some(listener) = self.session.listener(|| Ear::open(&self.app, &context.peer)) {
            listener.unwatch(&request.uri);
        }
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let (tasks, cx) = self.tasks("tasks/get", &context)?;
        let id = JobId::from_text(request.task_id);
        let job = tasks.look(cx.caller().subject(), &id, self.app.inner.clock.now()).await;
        let job = job.map_err(|error| tasks::store_error(&error))?.ok_or_else(tasks::unknown)?;
        tasks::detailed(job, cx.protocol_version()).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (tasks, cx) = self.tasks("tasks/update", &context)?;
        let id = JobId::from_text(request.task_id);
        let responses = request.input_responses;
        let read = |input: &InputRequest| ask::read_answer(&input.kind, responses.get(&input.key)?);
        let now = self.app.inner.clock.now();
        let job = tasks.answer(cx.caller().subject(), &id, now, read).await;
        self.acknowledge(&id, job)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (tasks, cx) = self.tasks("tasks/cancel", &context)?;
        let id = JobId::from_text(request.task_id);
        let now = self.app.inner.clock.now();
        let job = tasks.cancel(cx.caller().subject(), &id, now).await;
        self.acknowledge(&id, job)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        if self.app.inner.changes != Changes::NONE {
            let _listener = self.session.listener(|| Ear::open(&self.app, &context.peer));
        }
    }
}

impl Handler {
    /// The handler for one request: over HTTP, what is served may differ from one to the next.
    fn serving(&self, context: &RequestContext<RoleServer>) -> Self {
        let carried = context.extensions.get::<Carried>();
        let app = carried.map_or(&self.app, |carried| &carried.app).clone();
        Self { app, session: Arc::clone(&self.session), sealer: Arc::clone(&self.sealer) }
    }

    fn tells_updates(&self) -> bool {
        self.app.inner.changes.updates
    }

    /// The jobs, and who asks about them.
    fn tasks(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
    ) -> Result<(&Tasks, CallContext), ErrorData> {
        let cx = self.call_context(context);
        match &self.app.inner.tasks {
            Some(tasks) if cx.era() == Era::Modern => Ok((tasks, cx)),
            _ => Err(not_offered(method)),
        }
    }

    /// An empty result for a job that is there, told to those who follow it.
    fn acknowledge(
        &self,
        id: &JobId,
        job: Result<Option<Job>, JobStoreError>,
    ) -> Result<(), ErrorData> {
        let job = job.map_err(|error| tasks::store_error(&error))?;
        job.map(|_| self.app.inner.notifier.job_changed(id)).ok_or_else(tasks::unknown)
    }

    fn page<'a, T>(
        &self,
        list: &str,
        items: &'a [T],
        key: impl Fn(&T) -> String,
        request: Option<PaginatedRequestParams>,
    ) -> Result<(&'a [T], Option<String>), ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        cursor::page(list, items, key, self.app.inner.page_size, cursor.as_deref())
            .map_err(|error| ErrorData::invalid_params(error.to_string(), None))
    }

    /// The next cursor and for how long the page may be kept. What a list holds may depend on the caller some day.
    fn hints(&self, next: Option<String>) -> (Option<String>, Option<u64>, Option<CacheScope>) {
        (next, Some(self.list_ttl_ms()), Some(CacheScope::Private))
    }

    fn list_ttl_ms(&self) -> u64 {
        let ttl: Duration = self.app.inner.list_ttl;
        u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

fn not_offered(method: &'static str) -> ErrorData {
    ErrorData::new(rmcp::model::ErrorCode::METHOD_NOT_FOUND, method, None)
}

fn resource_error(error: &ResourceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
