//! From one line of input to a message of the SDK, or to the error that answers it.

#![expect(
    deprecated,
    reason = "logging is deprecated in 2026-07-28 and still part of every revision that we speak"
)]

use rmcp::model::{
    CallToolRequestParams, CancelTaskParams, ClientJsonRpcMessage, ClientNotification,
    ClientRequest, CompleteRequestParams, GetExtensions as _, GetMeta as _, GetPromptRequestParams,
    GetTaskParams, InitializeRequestParams, JsonRpcMessage, ProtocolVersion,
    ReadResourceRequestParams, RequestId, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionsListenRequestParams, UnsubscribeRequestParams, UpdateTaskParams,
};
use serde_json::{Value, json};

use super::listen;
use super::session::Session;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INVALID_PARAMS: i32 = -32602;

/// What a line turned out to be.
pub(super) enum Incoming {
    /// A message for the service loop.
    Message(Box<ClientJsonRpcMessage>),
    /// A line that is answered here: the reply, as JSON text.
    Reply(Vec<u8>),
    /// A line that has no answer, such as a notification that cannot be understood.
    Ignored,
}

/// Reads one line. Requests are noted as in flight.
pub(super) fn read(line: &[u8], session: &Session) -> Incoming {
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => {
            let message = format!("the line is not JSON: {error}");
            return Incoming::Reply(error_line(&Value::Null, PARSE_ERROR, &message));
        }
    };
    read_value(value, session)
}

/// The same for a line that is JSON.
pub(super) fn read_value(value: Value, session: &Session) -> Incoming {
    let Value::Object(object) = &value else {
        let message = if value.is_array() {
            "batches are not supported; send one message per line"
        } else {
            "a message is a JSON object"
        };
        return Incoming::Reply(error_line(&Value::Null, INVALID_REQUEST, message));
    };
    let id = object.get("id");
    let known_id = id.filter(|id| is_id(id)).cloned().unwrap_or(Value::Null);
    let refuse = |message: &str| Incoming::Reply(error_line(&known_id, INVALID_REQUEST, message));
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse("jsonrpc must be \"2.0\"");
    }
    if id.is_some() && known_id.is_null() {
        return refuse("id must be a string or an integer");
    }
    let is_request = id.is_some();
    match object.get("method") {
        Some(Value::String(method)) => {
            let method = method.clone();
            if is_request {
                read_request(value, &method, &known_id, session)
            } else {
                read_notification(value, &method, session)
            }
        }
        Some(_) => refuse("method must be a string"),
        None if object.contains_key("result") || object.contains_key("error") => {
            match serde_json::from_value(value) {
                Ok(message) => Incoming::Message(Box::new(message)),
                Err(_) => Incoming::Ignored,
            }
        }
        None => refuse("a request has a method"),
    }
}

/// The reply to a line beyond the limit.
pub(super) fn too_long(limit: usize) -> Vec<u8> {
    let message = format!("the line is longer than {limit} bytes and was skipped");
    error_line(&Value::Null, INVALID_REQUEST, &message)
}

fn read_request(value: Value, method: &str, id: &Value, session: &Session) -> Incoming {
    let refuse = |code: i32, message: &str| Incoming::Reply(error_line(id, code, message));
    // Kept for the error: the SDK turns a request whose parameters do not fit into one of an unknown method.
    let params = value.get("params").cloned();
    if params.as_ref().is_some_and(|params| !params.is_object() && !params.is_null()) {
        return refuse(INVALID_PARAMS, "params must be an object");
    }
    // The SDK takes a cursor that is not a text for none, and would begin again at the first page.
    let cursor = params.as_ref().and_then(|params| params.get("cursor"));
    if method.ends_with("/list") && cursor.is_some_and(|cursor| !cursor.is_string()) {
        return refuse(INVALID_PARAMS, "cursor must be a string");
    }
    let task_ids = match listen::task_ids(method, params.as_ref()) {
        Ok(task_ids) => task_ids,
        Err(problem) => return refuse(INVALID_PARAMS, &problem),
    };
    let mut message: ClientJsonRpcMessage = match serde_json::from_value(value) {
        Ok(message) => message,
        Err(_) => return refuse(INVALID_REQUEST, "the request cannot be understood"),
    };
    let JsonRpcMessage::Request(request) = &mut message else {
        return refuse(INVALID_REQUEST, "the request cannot be understood");
    };
    if let Some(task_ids) = task_ids {
        request.request.extensions_mut().insert(task_ids);
    }
    let request = &*request;
    if let ClientRequest::CustomRequest(_) = &request.request
        && let Some(problem) = params_problem(method, params.unwrap_or(Value::Null))
    {
        let message = format!("params of {method}: {problem}");
        return refuse(INVALID_PARAMS, &message);
    }
    if let Err(reason) = session.begin(&request.id) {
        return refuse(INVALID_REQUEST, reason);
    }
    match &request.request {
        ClientRequest::InitializeRequest(_) => session.set_initialized(),
        ClientRequest::PingRequest(_) => {}
        other => {
            let meta = other.get_meta();
            if meta.protocol_version().is_none() && !session.is_initialized() {
                session.end(&request.id);
                let missing = meta.missing_required_keys(&ProtocolVersion::V_2026_07_28);
                let message = format!(
                    "request _meta is missing or has malformed required fields: {}; an older client sends initialize first",
                    missing.join(", ")
                );
                return refuse(INVALID_PARAMS, &message);
            }
        }
    }
    Incoming::Message(Box::new(message))
}

fn read_notification(value: Value, method: &str, session: &Session) -> Incoming {
    let Ok(message) = serde_json::from_value::<ClientJsonRpcMessage>(value) else {
        tracing::debug!(method, "ignored a notification that cannot be understood");
        return Incoming::Ignored;
    };
    if let JsonRpcMessage::Notification(notification) = &message
        && let ClientNotification::CancelledNotification(cancelled) = &notification.notification
        && let Some(id) = &cancelled.params.request_id
    {
        // A cancelled request gets no answer, so nothing else would take it out.
        session.end(id);
    }
    Incoming::Message(Box::new(message))
}

/// Why the parameters of a known method do not fit; `None` for a method that we do not know, which is another error.
fn params_problem(method: &str, params: Value) -> Option<String> {
    let has_params = params.is_object();
    let problem = match method {
        "initialize" => fits::<InitializeRequestParams>(params),
        "tools/call" => fits::<CallToolRequestParams>(params),
        "resources/read" => fits::<ReadResourceRequestParams>(params),
        "prompts/get" => fits::<GetPromptRequestParams>(params),
        "completion/complete" => fits::<CompleteRequestParams>(params),
        "logging/setLevel" => fits::<SetLevelRequestParams>(params),
        "resources/subscribe" => fits::<SubscribeRequestParams>(params),
        "resources/unsubscribe" => fits::<UnsubscribeRequestParams>(params),
        "subscriptions/listen" => fits::<SubscriptionsListenRequestParams>(params),
        "tasks/get" => fits::<GetTaskParams>(params),
        "tasks/update" => fits::<UpdateTaskParams>(params),
        "tasks/cancel" => fits::<CancelTaskParams>(params),
        "tools/list"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list"
        | "ping"
        | "server/discover" => None,
        _ => return None,
    };
    match problem {
        Some(_) if !has_params => Some("they are missing".to_owned()),
        Some(problem) => Some(problem),
        None => Some("they cannot be understood".to_owned()),
    }
}

fn fits<T: serde::de::DeserializeOwned>(params: Value) -> Option<String> {
    serde_json::from_value::<T>(params).err().map(|error| error.to_string())
}

pub(super) fn is_id(id: &Value) -> bool {
    serde_json::from_value::<RequestId>(id.clone()).is_ok()
}

fn error_line(id: &Value, code: i32, message: &str) -> Vec<u8> {
    let reply = json!({
        "jsonrpc": "2.0",
        "id": id,
        "error": { "code": code, "message": message },
    });
    reply.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anything() -> impl Strategy<Value = Value> {
        let words =
            ["name", "uri", "taskId", "taskIds", "notifications", "cursor", "x", "2026-07-28"];
        let word = prop::sample::select(words.to_vec());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let key = word.clone().prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn id() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
            anything(),
        ]
    }

    proptest! {
        /// Whatever a request looks like, it is passed on or answered under its own id, and noted as in flight only in
        /// the first case.
        #[test]
        fn a_request_is_passed_on_or_answered(
            method in prop::sample::select(vec![
                "initialize", "ping", "tools/call", "tools/list", "resources/read", "resources/subscribe",
                "subscriptions/listen", "tasks/get", "tasks/update", "prompts/get", "completion/complete", "nope",
            ]),
            id in id(),
            params in anything(),
        ) {
            let session = Session::new();
            session.set_initialized();
            let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            match read(line.to_string().as_bytes(), &session) {
                Incoming::Message(message) => {
                    let JsonRpcMessage::Request(request) = *message else { panic!("a request") };
                    prop_assert_eq!(&request.id.clone().into_json_value(), &id);
                    prop_assert!(session.begin(&request.id).is_err());
                }
                Incoming::Reply(reply) => {
                    let reply: Value = serde_json::from_slice(&reply).unwrap();
                    let expected = if is_id(&id) { &id } else { &Value::Null };
                    prop_assert_eq!(&reply["id"], expected);
                    prop_assert!(reply["error"]["code"].is_i64());
                    prop_assert!(!session.is_busy());
                }
                Incoming::Ignored => prop_assert!(false, "a request has an answer"),
            }
        }
    }
}
