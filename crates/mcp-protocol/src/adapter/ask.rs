//! Questions to the person at the client and to the client itself, in both eras.
//!
//! Modern: the question goes out as the result, and the client calls again with the answers and with our state, which is
//! sealed (HMAC with a key of this process) and bound to caller, tool and arguments. Older: the question is a request of
//! its own while the call waits.

#![expect(
    deprecated,
    reason = "sampling and roots are deprecated in 2026-07-28 and still part of every revision that we speak"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CreateMessageRequest, CreateMessageRequestParams, ElicitRequest, ElicitRequestParams,
    ElicitationSchema, ErrorData, InputRequest as WireInput, InputRequests, InputRequiredResult,
    InputResponses, ListRootsRequest, RequestStateCodec, SealOptions, ServerRequest,
};
use rmcp::service::{Peer, PeerRequestOptions};
use serde_json::{Value, json};

use super::answer;
use crate::JsonObject;
use crate::ask::{Answers, InputAnswer, InputKind, InputRequest, Root};
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
    /// What asks: the method and the name.
    pub(super) method: &'static str,
    pub(super) name: &'a str,
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

    /// Reads answers that belong to no question of ours.
    pub(super) fn read_unasked(responses: Option<InputResponses>) -> Option<Answers> {
        let responses = responses.filter(|responses| !responses.is_empty())?;
        let by_key = responses.into_iter().filter_map(|(key, response)| {
            let answer = read_unknown(&response)?;
            Some((key, answer))
        });
        Some(Answers { state: Value::Null, by_key: by_key.collect() })
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
        let requests = to_wire(inputs)?;
        let asked: JsonObject = inputs
            .iter()
            .map(|input| (input.key.clone(), Shape::of(&input.kind).to_json()))
            .collect();
        let bound = binding.bytes();
        let options = SealOptions::new().associated_data(&bound).ttl(ttl);
        let payload = json!({ "round": round, "state": state, "asked": asked });
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
        let asked = payload.get("asked").and_then(Value::as_object);
        let by_key = responses.unwrap_or_default().into_iter().filter_map(|(key, response)| {
            let shape = Shape::from_json(asked?.get(&key)?)?;
            Some((key, shape.read(&response)?))
        });
        let by_key = by_key.collect();
        let round = payload.get("round").and_then(Value::as_u64).unwrap_or(MAX_ROUNDS);
        let state = payload.get("state").cloned().unwrap_or(Value::Null);
        Ok(Returned { round, answers: Answers { state, by_key } })
    }
}

/// What is remembered of a question until its answer comes.
enum Shape<'a> {
    Form(&'a JsonObject),
    Url,
    Sampling,
    Roots,
}

// === impl Shape ===

impl<'a> Shape<'a> {
    fn of(kind: &'a InputKind) -> Self {
        match kind {
            InputKind::Form { schema } => Self::Form(schema),
            InputKind::Url { .. } => Self::Url,
            InputKind::Sampling { .. } => Self::Sampling,
            InputKind::Roots => Self::Roots,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Form(schema) => Value::Object((*schema).clone()),
            Self::Url => "url".into(),
            Self::Sampling => "sampling".into(),
            Self::Roots => "roots".into(),
        }
    }

    fn from_json(json: &'a Value) -> Option<Self> {
        match json {
            Value::Object(schema) => Some(Self::Form(schema)),
            Value::String(word) => match word.as_str() {
                "url" => Some(Self::Url),
                "sampling" => Some(Self::Sampling),
                "roots" => Some(Self::Roots),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a client answered; `None` if that is no answer to this question, so that it counts as missing.
    fn read(&self, response: &Value) -> Option<InputAnswer> {
        match self {
            Self::Form(_) | Self::Url => match response.get("action")?.as_str()? {
                "accept" => {
                    let form = if let Self::Form(schema) = self { Some(*schema) } else { None };
                    accepted(response.get("content"), form)
                }
                "decline" => Some(InputAnswer::Declined),
                // Cancelled, or something that a later revision adds: no consent either way.
                _ => Some(InputAnswer::Cancelled),
            },
            Self::Sampling => sampled(response),
            Self::Roots => roots(response),
        }
    }
}

/// What a client answered to this question; `None` if it does not fit.
pub(super) fn read_answer(kind: &InputKind, response: &Value) -> Option<InputAnswer> {
    Shape::of(kind).read(response)
}

/// The same without knowing the question.
fn read_unknown(response: &Value) -> Option<InputAnswer> {
    if response.get("action").is_some() {
        return Shape::Url.read(response).and_then(|answer| match answer {
            InputAnswer::Accepted(_) => accepted(response.get("content"), None),
            other => Some(other),
        });
    }
    roots(response).or_else(|| sampled(response))
}

fn sampled(response: &Value) -> Option<InputAnswer> {
    let model = response.get("model")?.as_str()?.to_owned();
    let content = response.get("content")?;
    let blocks = content.as_array().map_or_else(|| std::slice::from_ref(content), Vec::as_slice);
    let texts: Vec<&str> =
        blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
    Some(InputAnswer::Sampled { model, text: texts.join("\n") })
}

fn roots(response: &Value) -> Option<InputAnswer> {
    let roots = response.get("roots")?.as_array()?.iter().map(|root| {
        let name = root.get("name").and_then(Value::as_str).map(str::to_owned);
        Some(Root { uri: root.get("uri")?.as_str()?.to_owned(), name })
    });
    Some(InputAnswer::Roots(roots.collect::<Option<_>>()?))
}

// === impl Binding ===

impl Binding<'_> {
    /// The same for the same call, whatever order the client writes the arguments in.
    fn bytes(&self) -> Vec<u8> {
        let args = sorted(&Value::Object(self.args.clone()));
        json!([self.caller, self.method, self.name, args]).to_string().into_bytes()
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

/// What a client has to be able to do to be asked this.
pub(super) fn needed(inputs: &[InputRequest]) -> ClientCapabilities {
    let mut needed = ClientCapabilities::default();
    for input in inputs {
        match input.kind {
            InputKind::Form { .. } => needed.elicitation_form = true,
            InputKind::Url { .. } => needed.elicitation_url = true,
            InputKind::Sampling { .. } => needed.sampling = true,
            InputKind::Roots => needed.roots = true,
        }
    }
    needed
}

/// Why this client cannot be asked; `None` if it can.
pub(super) fn obstacle(inputs: &[InputRequest], client: ClientCapabilities) -> Option<String> {
    let cannot = inputs.iter().find_map(|input| match input.kind {
        InputKind::Form { .. } if !client.elicitation_form => Some("show a form (elicitation)"),
        InputKind::Url { .. } if !client.elicitation_url => Some("open a page (elicitation, url)"),
        InputKind::Sampling { .. } if !client.sampling => Some("run a model (sampling)"),
        InputKind::Roots if !client.roots => Some("list its folders (roots)"),
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
        let request = match one_to_wire(input)? {
            WireInput::Elicitation(request) => ServerRequest::ElicitRequest(request),
            WireInput::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
            WireInput::ListRoots(request) => ServerRequest::ListRootsRequest(request),
            _ => continue,
        };
        let options = PeerRequestOptions::with_timeout(timeout);
        let reply = match peer.send_request_with_option(request, options).await {
            Ok(handle) => handle.await_response().await,
            Err(error) => Err(error),
        };
        let answer = match reply {
            Ok(reply) => {
                let reply = serde_json::to_value(reply).unwrap_or_default();
                read_answer(&input.kind, &reply)
            }
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

/// The questions as clients read them.
pub(super) fn to_wire<'a>(
    inputs: impl IntoIterator<Item = &'a InputRequest>,
) -> Result<InputRequests, ErrorData> {
    inputs.into_iter().map(|input| Ok((input.key.clone(), one_to_wire(input)?))).collect()
}

fn one_to_wire(input: &InputRequest) -> Result<WireInput, ErrorData> {
    let params = match &input.kind {
        InputKind::Form { schema } => {
            let schema: ElicitationSchema = read(input, Value::Object(schema.clone()))?;
            ElicitRequestParams::FormElicitationParams {
                meta: None,
                message: input.message.clone(),
                requested_schema: schema,
            }
        }
        InputKind::Url { url } => ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: input.message.clone(),
            url: url.clone(),
            elicitation_id: uuid::Uuid::new_v4().simple().to_string(),
        },
        InputKind::Sampling { messages, system_prompt, max_tokens } => {
            let messages = messages.iter().cloned().map(answer::sampling_message);
            let mut params = json!({
                "messages": messages.collect::<Vec<Value>>(),
                "maxTokens": max_tokens,
            });
            if let Some(system_prompt) = system_prompt {
                params["systemPrompt"] = json!(system_prompt);
            }
            let params: CreateMessageRequestParams = read(input, params)?;
            return Ok(WireInput::CreateMessage(CreateMessageRequest::new(params)));
        }
        InputKind::Roots => return Ok(WireInput::ListRoots(ListRootsRequest::default())),
    };
    Ok(WireInput::Elicitation(ElicitRequest::new(params)))
}

fn read<T: serde::de::DeserializeOwned>(input: &InputRequest, json: Value) -> Result<T, ErrorData> {
    serde_json::from_value(json).map_err(|error| {
        tracing::error!(key = input.key, %error, "a question is not one that clients can show");
        let message = "the question cannot be shown; the server's log has the details";
        ErrorData::internal_error(message, None)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::schema_object;

    fn json() -> impl Strategy<Value = Value> {
        let words =
            ["action", "accept", "decline", "content", "roots", "uri", "model", "text", "n"];
        let word = prop::sample::select(words.to_vec());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            let key = word.clone().prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Nothing that a client sends is taken for an answer that it is not.
        #[test]
        fn answers_are_of_their_questions_kind(response in json()) {
            let schema = schema_object(json!({
                "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"],
            }));
            match read_answer(&InputKind::Form { schema }, &response) {
                Some(InputAnswer::Accepted(fields)) => {
                    prop_assert_eq!(response.get("action"), Some(&json!("accept")));
                    prop_assert!(fields["n"].is_i64());
                }
                Some(InputAnswer::Declined | InputAnswer::Cancelled) | None => {}
                Some(other) => prop_assert!(false, "{other:?}"),
            }
            let roots = read_answer(&InputKind::Roots, &response);
            prop_assert!(matches!(roots, None | Some(InputAnswer::Roots(_))));
            let kind = InputRequest::sampling("k", "m", 1).kind;
            let sampled = read_answer(&kind, &response);
            let is_sample = matches!(sampled, None | Some(InputAnswer::Sampled { .. }));
            prop_assert!(is_sample);
        }

        /// What was sealed opens only for the same call, whatever order its arguments are in.
        #[test]
        fn a_state_belongs_to_one_call(first in json(), second in json(), name in "[a-c]{1,2}") {
            let args = |one: &Value, two: &Value| {
                schema_object(json!({ "one": one, "two": two }))
            };
            let turned = schema_object(json!({ "two": second, "one": first }));
            let given = args(&first, &second);
            let bind = |name, args| Binding { caller: "c", method: "tools/call", name, args };
            let sealer = Sealer::new();
            let inputs = [InputRequest::roots("r")];
            let state = json!({ "s": second });
            let minute = Duration::from_mins(1);
            let asked = sealer.ask(&bind(&name, &given), 3, &inputs, &state, minute).unwrap();
            let sealed = asked.request_state.unwrap();
            let opened = sealer.open(&bind(&name, &turned), &sealed, None).unwrap();
            prop_assert_eq!((opened.round, opened.answers.state), (3, state));
            let other = args(&second, &json!([first]));
            prop_assert!(sealer.open(&bind(&name, &other), &sealed, None).is_err());
            prop_assert!(sealer.open(&bind("b d", &given), &sealed, None).is_err());
            prop_assert!(Sealer::new().open(&bind(&name, &given), &sealed, None).is_err());
        }
    }
}
