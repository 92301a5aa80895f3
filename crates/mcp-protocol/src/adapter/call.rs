//! One call: its context, its rounds of questions, and what it becomes in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CreateTaskResult, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, InputRequiredResult, InputResponses,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;

use super::ask::{self, Binding, MAX_ROUNDS, Returned, Sealer};
use super::handler::{Handler, era};
use super::http::Carried;
use super::outlet::{self, PeerOutlet};
use super::{answer, tasks};
use crate::JsonObject;
use crate::app::CallError;
use crate::ask::InputRequest;
use crate::context::{CallContext, ClientCapabilities, ClientInfo, Era, Request, TraceContext};
use crate::job::JobHandle;
use crate::prompt::{PromptError, PromptReply, PromptSpec, Prompts};
use crate::tool::{Answer, Outcome};

const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const UNANSWERED: &str = "the questions were not answered in a way that fits";

/// What came of a question.
enum Asked {
    /// It is the result; the client calls again.
    Now(Box<InputRequiredResult>),
    /// The client has answered; the context of the next round.
    Answered(CallContext),
}

impl Handler {
    /// Calls the tool, as often as it has to ask.
    pub(super) async fn run_tool(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        first: &CallContext,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Ok(entry) = self.app.entry(&request.name)
            && let Some(lacking) = entry.tool.spec().requires.lacking(first.capabilities())
            && first.era() == Era::Modern
        {
            return Err(answer::missing_capability(lacking));
        }
        let args = request.arguments.unwrap_or_default();
        let binding = Binding {
            caller: first.caller().subject(),
            method: "tools/call",
            name: &request.name,
            args: &args,
        };
        let (mut cx, mut round) =
            self.resume(first, &binding, request.request_state, request.input_responses)?;
        let (answer, is_error) = loop {
            let outcome = self.app.call_tool(&cx, &request.name, args.clone()).await;
            let (inputs, state) = match outcome.map_err(|error| call_error(&error))? {
                Outcome::Done(answer) => break (answer, false),
                Outcome::Failed(answer) => break (answer, true),
                Outcome::Job(handle) => match self.task_for(&cx, &handle).await {
                    Some(task) => return Ok(task.into()),
                    None => break (handle.answer, false),
                },
                Outcome::Ask { inputs, state } => (inputs, state),
            };
            if let Some(obstacle) = ask::obstacle(&inputs, cx.capabilities()) {
                break (Answer::text(obstacle), true);
            }
            round += 1;
            if round > MAX_ROUNDS {
                break (Answer::text(format!("nothing was done: {UNANSWERED}")), true);
            }
            match self.ask(context, &cx, &binding, round, inputs, state).await? {
                Asked::Now(result) => return Ok((*result).into()),
                Asked::Answered(next) => cx = next,
            }
        };
        Ok(answer::call_result(answer, is_error, cx.protocol_version()).into())
    }

    /// Gets the prompt, as often as it has to ask.
    pub(super) async fn run_prompt(
        &self,
        prompts: &dyn Prompts,
        request: GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let name = request.name;
        let Some(spec) = prompts.list().iter().find(|spec| spec.name == name) else {
            let names: Vec<&str> = prompts.list().iter().map(|spec| spec.name.as_str()).collect();
            let message = format!("unknown prompt {name}; known: {}", names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let args = prompt_arguments(spec, request.arguments.unwrap_or_default())
            .map_err(|message| ErrorData::invalid_params(message, None))?;
        let first = self.call_context(context);
        let given = args.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let binding = Binding {
            caller: first.caller().subject(),
            method: "prompts/get",
            name: &name,
            args: &given,
        };
        let (mut cx, mut round) =
            self.resume(&first, &binding, request.request_state, request.input_responses)?;
        let reply = loop {
            let (inputs, state) = match prompts.get(&cx, &name, args.clone()).await {
                Ok(reply) => break reply,
                Err(PromptError::Ask { inputs, state }) => (inputs, state),
                Err(error @ PromptError::Unavailable { .. }) => {
                    return Err(ErrorData::internal_error(error.to_string(), None));
                }
                Err(error) => return Err(ErrorData::invalid_params(error.to_string(), None)),
            };
            if let Some(lacking) = ask::needed(&inputs).lacking(cx.capabilities()) {
                return Err(match cx.era() {
                    Era::Modern => answer::missing_capability(lacking),
                    Era::Legacy => ErrorData::invalid_params(lacking.to_string(), None),
                });
            }
            round += 1;
            if round > MAX_ROUNDS {
                return Err(ErrorData::invalid_params(UNANSWERED, None));
            }
            match self.ask(context, &cx, &binding, round, inputs, state).await? {
                Asked::Now(result) => return Ok((*result).into()),
                Asked::Answered(next) => cx = next,
            }
        };
        cx.finish().await;
        let PromptReply { description, messages } = reply;
        let version = cx.protocol_version();
        let messages = messages.into_iter().map(|message| answer::prompt_message(message, version));
        let mut result = GetPromptResult::new(messages.collect());
        result.description = description;
        Ok(result.into())
    }

    /// Asks, in the way of the client's era.
    async fn ask(
        &self,
        context: &RequestContext<RoleServer>,
        cx: &CallContext,
        binding: &Binding<'_>,
        round: u64,
        inputs: Vec<InputRequest>,
        state: Value,
    ) -> Result<Asked, ErrorData> {
        let patience = self.app.inner.ask_timeout;
        match cx.era() {
            Era::Modern => {
                let result = self.sealer.ask(binding, round, &inputs, &state, patience)?;
                Ok(Asked::Now(Box::new(result)))
            }
            Era::Legacy => {
                let answers = ask::ask_older(&context.peer, &inputs, state, patience).await?;
                Ok(Asked::Answered(cx.with_answers(answers)))
            }
        }
    }

    /// The context and the round of a request that may come with answers.
    fn resume(
        &self,
        first: &CallContext,
        binding: &Binding<'_>,
        state: Option<String>,
        responses: Option<InputResponses>,
    ) -> Result<(CallContext, u64), ErrorData> {
        if first.era() != Era::Modern {
            return Ok((first.clone(), 0));
        }
        match state {
            Some(sealed) => {
                let Returned { round, answers } = self.sealer.open(binding, &sealed, responses)?;
                Ok((first.with_answers(answers), round))
            }
            None => match Sealer::read_unasked(responses) {
                Some(answers) => Ok((first.with_unasked(answers), 0)),
                None => Ok((first.clone(), 0)),
            },
        }
    }

    /// What stands for a call whose work goes on: a task, for a client that knows what that is.
    async fn task_for(&self, cx: &CallContext, handle: &JobHandle) -> Option<CreateTaskResult> {
        let tasks = self.app.inner.tasks.as_ref().filter(|_| cx.capabilities().tasks)?;
        // Never a handle that could not be asked about: then the answer in words has to do.
        match tasks.kept(cx.caller().subject(), &handle.id).await {
            Ok(Some(job)) => Some(tasks::created(&job)),
            Ok(None) => {
                tracing::error!(job = %handle.id, "a tool names a job that is not its caller's");
                None
            }
            Err(error) => {
                tracing::error!(job = %handle.id, error = %stdx::Chain(&error), "a job that goes on cannot be read");
                None
            }
        }
    }

    pub(super) fn call_context(&self, context: &RequestContext<RoleServer>) -> CallContext {
        let meta = &context.meta;
        let era = era(context);
        let version = context.protocol_version();
        let client = context.client_info();
        let declared = match meta.get(CAPABILITIES_KEY) {
            Some(declared) => declared.clone(),
            None => context
                .client_capabilities()
                .and_then(|declared| serde_json::to_value(declared).ok())
                .unwrap_or_default(),
        };
        let mut capabilities =
            declared.as_object().map(ClientCapabilities::from).unwrap_or_default();
        // Extensions belong to the modern era.
        capabilities.tasks &= era == Era::Modern;
        let token = meta.get_progress_token();
        let request = Request {
            id: context.id.to_string(),
            era,
            protocol_version: version.map(|version| version.to_string()).unwrap_or_default(),
            client: client
                .map(|client| ClientInfo {
                    name: client.name,
                    version: client.version,
                    title: client.title,
                })
                .unwrap_or_default(),
            capabilities,
            trace: trace(context),
            log_level: match era {
                Era::Modern => meta.log_level().map(outlet::from_wire),
                Era::Legacy => Some(self.session.log_level()),
            },
            wants_progress: token.is_some(),
        };
        let carried = context.extensions.get::<Carried>();
        let outlet = PeerOutlet {
            peer: context.peer.clone(),
            token,
            request: context.id.clone(),
            over: context.ct.clone(),
            stream: carried.and_then(|carried| carried.stream.clone()),
        };
        let caller = carried.map_or(self.app.caller(), |carried| &carried.caller).clone();
        CallContext::new(request, caller, context.ct.clone(), None, Arc::new(outlet))
    }
}

/// The trace that a request says it belongs to.
pub(super) fn trace(context: &RequestContext<RoleServer>) -> TraceContext {
    let meta = &context.meta;
    TraceContext::parse(meta.get_traceparent(), meta.get_tracestate(), meta.get_baggage())
}

/// The arguments as texts, or what is wrong with them.
fn prompt_arguments(
    spec: &PromptSpec,
    given: JsonObject,
) -> Result<BTreeMap<String, String>, String> {
    let mut args = BTreeMap::new();
    for (name, value) in given {
        if !spec.arguments.iter().any(|argument| argument.name == name) {
            let known: Vec<&str> =
                spec.arguments.iter().map(|argument| argument.name.as_str()).collect();
            return Err(format!("unknown argument {name}; known: {}", known.join(", ")));
        }
        match value {
            Value::String(text) => {
                args.insert(name, text);
            }
            Value::Null => {}
            _ => return Err(format!("argument {name} must be a string")),
        }
    }
    let missing = spec
        .arguments
        .iter()
        .find(|argument| argument.required && !args.contains_key(&argument.name));
    match missing {
        Some(argument) => Err(format!("argument {} is required", argument.name)),
        None => Ok(args),
    }
}

fn call_error(error: &CallError) -> ErrorData {
    match error {
        CallError::UnknownTool { .. } => ErrorData::invalid_params(error.to_string(), None),
        _ => ErrorData::internal_error(error.to_string(), None),
    }
}
