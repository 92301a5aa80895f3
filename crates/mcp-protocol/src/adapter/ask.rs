//! Questions to the person at the client, in both eras.
//!
//! Modern: the question goes out as the result, and the client calls again with the answers and with our state, which is
//! sealed (HMAC with a key of this process) and bound to caller, tool and arguments. Older: the question is a request of
//! its own while the call waits.

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationAction, ElicitationSchema, ErrorData,
    InputRequest as WireInput, InputRequiredResult, InputResponses, RequestStateCodec, SealOptions,
};
use rmcp::service::Peer;
use serde_json::{Value, json};

use crate::JsonObject;
use crate::ask::{Answers, InputAnswer, InputKind, InputRequest};
use crate::context::ClientCapabilities;
use crate::schema::LazySchema;

/// A call may ask so many times before it has to end.
pub(super) const MAX_ROUNDS: u64 = 8;

/// Seals what travels through the client.
pub(super) struct Sealer {
    codec: RequestStateCodec,
}

/// What came back with a call that asked before.
pub(super) struct Returned {
    pub(super) round: u64,
    pub(super) answers: Answers,
}

/// What a sealed state is bound to, besides this process.
pub(super) struct Binding<'a> {
    pub(super) caller: &'a str,
    pub(super) tool: &'a str,
    pub(super) args: &'a JsonObject,
}

// === impl Sealer ===

impl Sealer {
    pub(super) fn new() -> Self {
        // 244 random bits, new for each connection over stdio and for each process over HTTP.
        let mut key = uuid::Uuid::new_v4().into_bytes().to_vec();
        key.extend_from_slice(&uuid::Uuid::new_v4().into_bytes());
        let codec =
            RequestStateCodec::try_new(key).expect("the key has the least length, 32 bytes");
        Self { codec }
    }

    /// The result that asks.
    pub(super) fn ask(
        &self,
        binding: &Binding<'_>,
        round: u64,
        inputs: &[InputRequest],
        state: &Value,
        ttl: Duration,
    ) -> Result<InputRequiredResult, ErrorData> {
        let mut requests = BTreeMap::new();
        let mut forms = JsonObject::new();
        for input in inputs {
            let params = elicitation(input)?;
            requests.insert(input.key.clone(), WireInput::Elicitation(ElicitRequest::new(params)));
            if let InputKind::Form { schema } = &input.kind {
                forms.insert(input.key.clone(), Value::Object(schema.clone()));
            }
        }
        let bound = binding.bytes();
        let options = SealOptions::new().associated_data(&bound).ttl(ttl);
        let payload = json!({ "round": round, "state": state, "forms": forms });
        let sealed = self.codec.seal_json_with(&payload, &options).map_err(|_| {
            ErrorData::internal_error("the state of the question cannot be kept", None)
        })?;
        Ok(InputRequiredResult::new(Some(requests), Some(sealed)))
    }

    /// Opens what came back.
    pub(super) fn open(
        &self,
        binding: &Binding<'_>,
        sealed: &str,
        responses: Option<InputResponses>,
    ) -> Result<Returned, ErrorData> {
        let payload: Value =
            self.codec.open_json_with(sealed, &binding.bytes()).map_err(|error| {
                ErrorData::invalid_params(
                    format!("requestState does not belong to this call: {error}"),
                    None,
                )
            })?;
        let forms = payload.get("forms").and_then(Value::as_object);
        let mut by_key = BTreeMap::new();
        for (key, response) in responses.unwrap_or_default() {
            let action = response.get("action").and_then(Value::as_str);
            let answer = match action {
                Some("accept") => {
                    let form = forms.and_then(|forms| forms.get(&key)).and_then(Value::as_object);
                    accepted(response.get("content"), form)
                }
                Some("decline") => Some(InputAnswer::Declined),
                Some("cancel") => Some(InputAnswer::Cancelled),
                _ => None,
            };
            if let Some(answer) = answer {
                by_key.insert(key, answer);
            }
        }
        let round = payload.get("round").and_then(Value::as_u64).unwrap_or(MAX_ROUNDS);
        let state = payload.get("state").cloned().unwrap_or(Value::Null);
        Ok(Returned { round, answers: Answers { state, by_key } })
    }
}

// === impl Binding ===

impl Binding<'_> {
    /// The same for the same call, whatever order the client writes the arguments in.
    fn bytes(&self) -> Vec<u8> {
        let args = sorted(&Value::Object(self.args.clone()));
        json!([self.caller, self.tool, args]).to_string().into_bytes()
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<&String, Value> =
                object.iter().map(|(key, value)| (key, sorted(value))).collect();
            ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Why this client cannot be asked; `None` if it can.
pub(super) fn obstacle(inputs: &[InputRequest], client: ClientCapabilities) -> Option<String> {
    let cannot = inputs.iter().find_map(|input| match input.kind {
        InputKind::Form { .. } if !client.elicitation_form => Some("show a form (elicitation)"),
        InputKind::Url { .. } if !client.elicitation_url => Some("open a page (elicitation, url)"),
        _ => None,
    })?;
    let questions: Vec<&str> = inputs.iter().map(|input| input.message.as_str()).collect();
    Some(format!(
        "nothing was done: this needs an answer from a person, and this client cannot {cannot}. The question is: {}",
        questions.join(" / ")
    ))
}

/// Asks over the wire while the call waits.
pub(super) async fn ask_older(
    peer: &Peer<RoleServer>,
    inputs: &[InputRequest],
    state: Value,
    timeout: Duration,
) -> Result<Answers, ErrorData> {
    let mut by_key = BTreeMap::new();
    for input in inputs {
        let params = elicitation(input)?;
        let reply = peer.create_elicitation_with_timeout(params, Some(timeout)).await;
        let answer = match reply {
            Ok(reply) => match reply.action {
                ElicitationAction::Accept => {
                    let form = match &input.kind {
                        InputKind::Form { schema } => Some(schema),
                        InputKind::Url { .. } => None,
                    };
                    accepted(reply.content.as_ref(), form)
                }
                ElicitationAction::Decline => Some(InputAnswer::Declined),
                // Cancelled, or something that a later revision adds: no consent either way.
                _ => Some(InputAnswer::Cancelled),
            },
            Err(error) => {
                tracing::debug!(%error, "a question was not answered");
                Some(InputAnswer::Cancelled)
            }
        };
        if let Some(answer) = answer {
            by_key.insert(input.key.clone(), answer);
        }
    }
    Ok(Answers { state, by_key })
}

/// The accepted fields, if they fit the form; an answer that does not fit counts as missing, so the tool asks again.
fn accepted(content: Option<&Value>, form: Option<&JsonObject>) -> Option<InputAnswer> {
    let empty = Value::Object(JsonObject::new());
    let content = content.filter(|content| !content.is_null()).unwrap_or(&empty);
    if let Some(form) = form
        && LazySchema::default().check(form, content).is_err()
    {
        return None;
    }
    content.as_object().cloned().map(InputAnswer::Accepted)
}

fn elicitation(input: &InputRequest) -> Result<ElicitRequestParams, ErrorData> {
    match &input.kind {
        InputKind::Form { schema } => {
            let schema: ElicitationSchema = serde_json::from_value(Value::Object(schema.clone()))
                .map_err(|error| {
                tracing::error!(key = input.key, %error, "a form is not one that clients can show");
                ErrorData::internal_error(
                    "the question cannot be shown; the server's log has the details",
                    None,
                )
            })?;
            Ok(ElicitRequestParams::FormElicitationParams {
                meta: None,
                message: input.message.clone(),
                requested_schema: schema,
            })
        }
        InputKind::Url { url } => Ok(ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: input.message.clone(),
            url: url.clone(),
            elicitation_id: uuid::Uuid::new_v4().simple().to_string(),
        }),
    }
}
