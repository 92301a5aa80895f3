//! Tools that ask something of the person at the client, or of the client itself.

use std::sync::Arc;

use mcp_protocol::{
    Answers, CallContext, ClientCapabilities, InputAnswer, InputRequest, JsonObject, Outcome, Tool,
    schema_object,
};
use serde_json::{Value, json};

use crate::fixture::{plain, spec, taking, with};

pub(crate) fn tools() -> Vec<Arc<dyn Tool>> {
    let mut tools = older();
    tools.extend(modern());
    tools
}

/// Those that the older era asks for in the middle of a call. They work in the other one as well.
fn older() -> Vec<Arc<dyn Tool>> {
    vec![
        taking(
            "test_sampling",
            "Has the client's model answer.",
            json!({ "prompt": { "type": "string", "description": "What to ask." } }),
            |cx, args| {
                Box::pin(async move {
                    let prompt = args["prompt"].as_str().unwrap_or_default();
                    match answer(cx, "reply") {
                        Some(InputAnswer::Sampled { text, .. }) => {
                            Outcome::done(format!("LLM response: {text}"))
                        }
                        Some(other) => Outcome::failed(describe(other)),
                        None => ask(vec![InputRequest::sampling("reply", prompt, 100)]),
                    }
                })
            },
        ),
        taking(
            "test_elicitation",
            "Asks the person for a name and an address.",
            json!({ "message": { "type": "string", "description": "What to ask." } }),
            |cx, args| {
                Box::pin(async move {
                    let message = args["message"].as_str().unwrap_or_default();
                    let form = object(
                        json!({
                            "username": { "type": "string", "description": "User's response" },
                            "email": { "type": "string", "description": "User's email address" },
                        }),
                        &["username", "email"],
                    );
                    match answer(cx, "user") {
                        Some(said) => Outcome::done(format!("User response: {}", describe(said))),
                        None => ask(vec![InputRequest::form("user", message, form)]),
                    }
                })
            },
        ),
        plain("test_elicitation_sep1034_defaults", "Asks with defaults.", |cx, _| {
            Box::pin(async move { elicit(cx, defaults()) })
        }),
        plain("test_elicitation_sep1330_enums", "Asks with choices.", |cx, _| {
            Box::pin(async move { elicit(cx, choices()) })
        }),
    ]
}

/// Those that the modern era asks for by their results.
fn modern() -> Vec<Arc<dyn Tool>> {
    vec![
        with(
            {
                let mut spec = spec("test_missing_capability", "Needs sampling.", json!({}));
                spec.requires = sampling_only();
                spec
            },
            |_, _| Box::pin(async { Outcome::done("The client can sample.") }),
        ),
        plain("test_streaming_elicitation", "Says how far it is, then asks.", |cx, _| {
            Box::pin(async move {
                cx.progress(1.0, Some(2.0), None).await;
                greet(cx)
            })
        }),
        plain("test_input_required_result_elicitation", "Asks for a name.", |cx, _| {
            Box::pin(async move { greet(cx) })
        }),
        plain("test_input_required_result_sampling", "Asks for a capital.", |cx, _| {
            Box::pin(async move {
                match answer(cx, "capital_question") {
                    Some(InputAnswer::Sampled { text, .. }) => Outcome::done(text.clone()),
                    _ => ask(vec![capital()]),
                }
            })
        }),
        plain("test_input_required_result_list_roots", "Asks for the open folders.", |cx, _| {
            Box::pin(async move {
                match answer(cx, "client_roots") {
                    Some(roots @ InputAnswer::Roots(_)) => Outcome::done(describe(roots)),
                    _ => ask(vec![InputRequest::roots("client_roots")]),
                }
            })
        }),
        plain("test_input_required_result_request_state", "Takes its state back.", |cx, _| {
            Box::pin(async move { confirm(cx) })
        }),
        plain("test_input_required_result_tampered_state", "Takes only its own state.", |cx, _| {
            Box::pin(async move { confirm(cx) })
        }),
        plain("test_input_required_result_multiple_inputs", "Asks three things.", |cx, _| {
            Box::pin(async move {
                let keys = ["user_name", "greeting", "client_roots"];
                let answers: Vec<String> =
                    keys.iter().filter_map(|key| answer(cx, key)).map(describe).collect();
                if answers.len() == keys.len() {
                    return Outcome::done(answers.join("; "));
                }
                ask(vec![
                    user_name(),
                    InputRequest::sampling("greeting", "Generate a greeting", 50),
                    InputRequest::roots("client_roots"),
                ])
            })
        }),
        plain("test_input_required_result_multi_round", "Asks twice.", |cx, _| {
            Box::pin(async move { rounds(cx) })
        }),
        plain("test_input_required_result_capabilities", "Asks what the client can.", |cx, _| {
            Box::pin(async move {
                let client = cx.capabilities();
                let mut inputs = Vec::new();
                if client.elicitation_form {
                    inputs.push(user_name());
                }
                if client.sampling {
                    inputs.push(capital());
                }
                if client.roots {
                    inputs.push(InputRequest::roots("client_roots"));
                }
                if inputs.is_empty() || cx.answers().is_some() {
                    return Outcome::done("Nothing to ask.");
                }
                ask(inputs)
            })
        }),
    ]
}

fn sampling_only() -> ClientCapabilities {
    let mut needed = ClientCapabilities::default();
    needed.sampling = true;
    needed
}

fn ask(inputs: Vec<InputRequest>) -> Outcome {
    Outcome::Ask { inputs, state: Value::Null }
}

/// An answer, also one that the client gave without having been asked: there is nothing here to consent to.
fn answer<'a>(cx: &'a CallContext, key: &str) -> Option<&'a InputAnswer> {
    cx.answers().or(cx.unasked_answers()).and_then(|answers: &Answers| answers.get(key))
}

fn describe(answer: &InputAnswer) -> String {
    match answer {
        InputAnswer::Accepted(form) => {
            format!("action=accept, content={}", Value::Object(form.clone()))
        }
        InputAnswer::Declined => "action=decline, content={}".to_owned(),
        InputAnswer::Cancelled => "action=cancel, content={}".to_owned(),
        InputAnswer::Sampled { text, .. } => text.clone(),
        InputAnswer::Roots(roots) => {
            let uris: Vec<&str> = roots.iter().map(|root| root.uri.as_str()).collect();
            format!("roots: {}", uris.join(", "))
        }
        _ => "something new".to_owned(),
    }
}

fn object(properties: Value, required: &[&str]) -> JsonObject {
    schema_object(json!({ "type": "object", "properties": properties, "required": required }))
}

fn user_name() -> InputRequest {
    let form = object(json!({ "name": { "type": "string" } }), &["name"]);
    InputRequest::form("user_name", "What is your name?", form)
}

fn capital() -> InputRequest {
    InputRequest::sampling("capital_question", "What is the capital of France?", 100)
}

fn field<'a>(cx: &'a CallContext, key: &str, field: &str) -> Option<&'a str> {
    match answer(cx, key) {
        Some(InputAnswer::Accepted(form)) => form.get(field).and_then(Value::as_str),
        _ => None,
    }
}

fn greet(cx: &CallContext) -> Outcome {
    match field(cx, "user_name", "name") {
        Some(name) => Outcome::done(format!("Hello, {name}!")),
        None => ask(vec![user_name()]),
    }
}

/// Trusts an answer only with the state that went with the question.
fn confirm(cx: &CallContext) -> Outcome {
    let answers = cx.answers().filter(|answers| answers.state == json!("asked"));
    if let Some(InputAnswer::Accepted(_)) = answers.and_then(|answers| answers.get("confirm")) {
        return Outcome::done("state-ok");
    }
    let form = object(json!({ "ok": { "type": "boolean" } }), &["ok"]);
    let inputs = vec![InputRequest::form("confirm", "Please confirm", form)];
    Outcome::Ask { inputs, state: json!("asked") }
}

fn rounds(cx: &CallContext) -> Outcome {
    let step = |key: &str, message: &str, field: &str, state: Value| {
        let form = object(json!({ field: { "type": "string" } }), &[field]);
        Outcome::Ask { inputs: vec![InputRequest::form(key, message, form)], state }
    };
    let state = cx.answers().map(|answers| &answers.state);
    let first = || step("step1", "Step 1: What is your name?", "name", json!({ "step": 1 }));
    match state.and_then(|state| state["step"].as_u64()) {
        Some(1) => match field(cx, "step1", "name") {
            Some(name) => {
                let state = json!({ "step": 2, "name": name });
                step("step2", "Step 2: What is your favorite color?", "color", state)
            }
            None => first(),
        },
        Some(2) => {
            let name = state.and_then(|state| state["name"].as_str()).unwrap_or_default();
            match field(cx, "step2", "color") {
                Some(color) => Outcome::done(format!("{name} likes {color}.")),
                None => {
                    let state = json!({ "step": 2, "name": name });
                    step("step2", "Step 2: What is your favorite color?", "color", state)
                }
            }
        }
        _ => first(),
    }
}

fn elicit(cx: &CallContext, form: JsonObject) -> Outcome {
    match answer(cx, "form") {
        Some(said) => Outcome::done(format!("Elicitation completed: {}", describe(said))),
        None => ask(vec![InputRequest::form("form", "Please fill in the form", form)]),
    }
}

fn defaults() -> JsonObject {
    object(
        json!({
            "name": { "type": "string", "description": "User name", "default": "John Doe" },
            "age": { "type": "integer", "description": "User age", "default": 30 },
            "score": { "type": "number", "description": "User score", "default": 95.5 },
            "status": {
                "type": "string",
                "description": "User status",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "description": "Verification", "default": true },
        }),
        &[],
    )
}

fn choices() -> JsonObject {
    let titled = |titles: [&str; 3]| {
        let values = ["value1", "value2", "value3"];
        let options = values.iter().zip(titles);
        Value::Array(
            options.map(|(value, title)| json!({ "const": value, "title": title })).collect(),
        )
    };
    let plain = json!(["option1", "option2", "option3"]);
    object(
        json!({
            "untitledSingle": { "type": "string", "description": "Pick one", "enum": plain },
            "titledSingle": {
                "type": "string",
                "description": "Pick one by its title",
                "oneOf": titled(["First Option", "Second Option", "Third Option"]),
            },
            "legacyEnum": {
                "type": "string",
                "description": "Pick one by its name",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "description": "Pick some",
                "items": { "type": "string", "enum": plain },
            },
            "titledMulti": {
                "type": "array",
                "description": "Pick some by their titles",
                "items": { "anyOf": titled(["First Choice", "Second Choice", "Third Choice"]) },
            },
        }),
        &[],
    )
}
