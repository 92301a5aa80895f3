//! Checks a call against the schema before anything is sent, and builds its request.

use estate::NodeName;
use serde_json::{Map, Value};

use super::{
    Endpoint, Param, Schema,
    problem::{Problem, ProblemKind, listed, nearest},
    target::Target,
    value,
};
use crate::{Path, Request};

/// The place in a path that names the node that works.
const NODE: &str = "node";

/// A call that may be sent.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The endpoint; `None` where the schema is not complete and does not have it.
    pub endpoint: Option<Endpoint<'a>>,
    /// What to send.
    pub request: Request<Value>,
    /// The path with its places; the path itself where the endpoint is not known.
    pub path: String,
    /// What stands in the places, by name.
    pub values: Vec<(&'a str, String)>,
}

// === impl Schema ===

impl Schema {
    /// Checks a call and builds its request: method, concrete path, parameters.
    ///
    /// Every segment is escaped; numbers, booleans, lists and objects are written as the API takes
    /// them. Against a schema that is not complete only what it knows is checked.
    ///
    /// # Errors
    /// Everything that is wrong, each with what is allowed.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        params: &Map<String, Value>,
    ) -> Result<Checked<'_>, Vec<Problem>> {
        let one = |problem| vec![problem];
        let target = Target::parse(path)
            .map_err(|error| one(Problem::new("path", ProblemKind::Path, error.to_string())))?;
        let Some(method) = super::method_of(method.trim()) else {
            let said = format!("choose from {}", listed(super::METHODS.into_iter()));
            return Err(one(Problem::new("method", ProblemKind::Method, said)));
        };
        let located = self.locate(&target);
        let found = match &located {
            Some(located) => match located.method(method) {
                Ok(endpoint) => Some(endpoint),
                Err(problem) if self.complete => return Err(one(problem)),
                Err(_) => None,
            },
            None if self.complete => return Err(one(self.unknown_path(&target))),
            None => None,
        };
        let (Some(located), Some(endpoint)) = (located, found) else {
            return unchecked(method, &target, params);
        };
        let mut problems = Vec::new();
        let mut request = None;
        if let Some(escaped) = path_of(endpoint, &located.values, &located.segments, &mut problems)
        {
            request = Some(new_request(method, escaped));
        }
        let request = add_params(endpoint, request, params, &mut problems);
        let Some(mut request) = request.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let node = located.values.iter().find(|(name, _)| *name == NODE);
        if let Some(node) = node.and_then(|(_, name)| NodeName::try_new(name).ok()) {
            request = request.on(&node);
        }
        if endpoint.is_protected() {
            request = request.protected();
        }
        let path = endpoint.path().to_owned();
        Ok(Checked { endpoint: Some(endpoint), request, path, values: located.values })
    }
}

/// What a schema that is not complete does not know goes out as it is, escaped.
fn unchecked<'a>(
    method: &'static str,
    target: &Target,
    params: &Map<String, Value>,
) -> Result<Checked<'a>, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Some(place) = target.segments().iter().find_map(|segment| super::placeholder(segment)) {
        problems.push(unfilled(place));
    }
    if target.segments().iter().any(|segment| segment.contains('/')) {
        let said = "a name in a path that is not known here has no slash".to_owned();
        problems.push(Problem::new("path", ProblemKind::Path, said));
    }
    let escaped = target.segments().iter().fold(Path::new(), Path::push);
    let mut request = new_request(method, escaped);
    for (name, value) in params {
        for text in plain(name, value, &mut problems) {
            request = request.param(name, text);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Checked { endpoint: None, request, path: target.to_string(), values: Vec::new() })
}

fn new_request(method: &'static str, path: Path) -> Request<Value> {
    match method {
        "POST" => Request::post(path),
        "PUT" => Request::put(path),
        "DELETE" => Request::delete(path),
        _ => Request::get(path),
    }
}

/// The path, escaped, each value in it checked as the parameter that it is.
fn path_of(
    endpoint: Endpoint<'_>,
    values: &[(&str, String)],
    segments: &[String],
    problems: &mut Vec<Problem>,
) -> Option<Path> {
    let before = problems.len();
    for (name, value) in values {
        if let Some(place) = super::placeholder(value) {
            problems.push(unfilled(place));
        } else if *name == NODE && NodeName::try_new(value).is_err() {
            let said = "give a node's name: letters, digits, - and . only";
            problems.push(Problem::new(*name, ProblemKind::Pattern, said));
        } else if let Some(param) = endpoint.param(name) {
            value::check(param, name, value.clone(), problems);
        }
    }
    if problems.len() > before {
        return None;
    }
    Some(segments.iter().fold(Path::new(), Path::push))
}

fn unfilled(place: &str) -> Problem {
    let said = "put a value in its place in the path";
    Problem::new(place, ProblemKind::Missing, said)
}

fn add_params(
    endpoint: Endpoint<'_>,
    mut request: Option<Request<Value>>,
    params: &Map<String, Value>,
    problems: &mut Vec<Problem>,
) -> Option<Request<Value>> {
    let given = || params.iter().filter(|(_, value)| !value.is_null());
    for (name, value) in given() {
        if endpoint.is_in_path(name) {
            let said = "it stands in the path and is not given again";
            problems.push(Problem::new(name, ProblemKind::Unknown, said));
            continue;
        }
        let texts = match endpoint.param(name) {
            Some(param) => value::texts(param, name, value, problems),
            None if endpoint.is_open() => plain(name, value, problems),
            None => {
                problems.push(unknown(endpoint, name));
                continue;
            }
        };
        for text in texts {
            request = request.map(|request| request.param(name, text));
        }
    }
    let is_given = |name: &str| given().any(|(given, _)| given == name);
    for param in endpoint.params().filter(|param| !endpoint.is_in_path(param.name())) {
        if !param.is_optional() && !param.is_indexed() && !is_given(param.name()) {
            problems.push(Problem::new(param.name(), ProblemKind::Missing, said_of(param)));
        }
        let other = param.requires();
        if !other.is_empty()
            && is_given(param.name())
            && !is_given(other)
            && !endpoint.is_in_path(other)
        {
            let said = format!("it needs {other} beside it");
            problems.push(Problem::new(param.name(), ProblemKind::Requires, said));
        }
    }
    request
}

fn unknown(endpoint: Endpoint<'_>, name: &str) -> Problem {
    let known = || {
        let params = endpoint.params().filter(|param| !endpoint.is_in_path(param.name()));
        params.map(Param::name).collect::<Vec<_>>()
    };
    let said = match nearest(name, known().into_iter()) {
        Some(close) => format!("there is no such parameter; did you mean {close}?"),
        None if known().is_empty() => "there is no such parameter: the call takes none".to_owned(),
        None => format!("there is no such parameter: there are {}", listed(known().into_iter())),
    };
    Problem::new(stdx::untrusted::line(name, 60), ProblemKind::Unknown, said)
}

/// What is wanted of a parameter that is missing.
fn said_of(param: Param<'_>) -> String {
    if param.choices().len() > 0 {
        return format!("it is needed: choose from {}", listed(param.choices()));
    }
    let about = param.about();
    if about.is_empty() { "it is needed".to_owned() } else { format!("it is needed: {about}") }
}

/// The texts of a value of which nothing is known.
fn plain(name: &str, value: &Value, problems: &mut Vec<Problem>) -> Vec<String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(set) => Some(u8::from(*set).to_string()),
        _ => None,
    };
    let texts: Option<Vec<_>> = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(scalar).collect(),
        other => scalar(other).map(|text| vec![text]),
    };
    texts.unwrap_or_else(|| {
        let said = "give a text, a number, true or false, or a list of them";
        problems.push(Problem::new(stdx::untrusted::line(name, 60), ProblemKind::Type, said));
        Vec::new()
    })
}
