//! `api_call`: POST, PUT and DELETE on any path, and the few GETs that are more than a read.

use api_core::{
    Request,
    schema::{Checked, Endpoint},
};
use async_trait::async_trait;
use estate::{Access, Product};
use guard::risk::{self, Below, WayBack};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Book, cut, guest,
    mask::is_hidden,
    place::{self, Place},
    plain_path, rating_of_call, refused,
    shape::{self, Wanted},
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    plan::{ActionTool, Done, Plan, Step, Undo},
    redaction::shortened,
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
};

const NAME: &str = super::NAME_OF_CALL;

/// How many rows of an answer are shown.
const LIMIT: usize = 100;

/// Calls any endpoint.
pub(super) struct ApiCall;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    method: String,
    path: String,
    #[serde(default)]
    params: Map<String, Value>,
}

#[async_trait]
impl ActionTool for ApiCall {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Call the API",
            description: "POST, PUT or DELETE a path; checked first, task followed.",
            input: Input::new()
                .cluster()
                .text("method", "")
                .required("method")
                .text("path", "")
                .required("path")
                .object("params", ""),
            output: Output::new()
                .table("rows")
                .fact("cluster", "string")
                .fact("path", "string")
                .fact("status", "string")
                .fact("upid", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    /// The strictest of what the call would be on either product: which one is meant shows only when
    /// it is planned. What is refused everywhere is refused there, with its reason.
    fn access(&self, args: &JsonObject) -> Access {
        let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
        let method = text("method").trim().to_ascii_uppercase();
        let path = plain_path(text("path"));
        let none = Map::new();
        let params = args.get("params").and_then(Value::as_object).unwrap_or(&none);
        let rated = Product::ALL.map(|product| rating_of_call(product, &method, &[&path], params));
        // A line of the table speaks of a path that its product has; the other product, which has no
        // line for it, most likely has no such path. Where that is wrong, planning finds out.
        let told: Vec<_> = rated.iter().filter(|rating| rating.reason.is_some()).collect();
        let rated = if told.is_empty() { rated.iter().collect() } else { told };
        rated.iter().filter_map(|rating| rating.access).max().unwrap_or(Access::Read)
    }

    fn conceal(&self, args: &mut JsonObject) {
        let path = args.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Object(params)) = args.get_mut("params") else { return };
        for (_, value) in params.iter_mut().filter(|(name, _)| is_hidden(&path, name)) {
            *value = stdx::redact::REDACTED.into();
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let most = self.access(&args);
        let given = args.clone();
        let args: Args = cx.args(args)?;
        let method = args.method.trim().to_ascii_uppercase();
        let fits = |book: &Book| {
            let located = api_core::schema::Target::parse(&args.path).ok();
            let located = located.as_ref().and_then(|target| book.schema.locate(target));
            located.is_some_and(|located| located.method(&method).is_ok())
        };
        let (place, book) = place::pick(cx, args.cluster.as_deref(), &args.path, fits).await?;
        let product = place.product();
        // Refused before it is checked: nobody needs to know what is missing of a call that is not made.
        let written = plain_path(&args.path);
        let rating = rating_of_call(product, &method, &[&written], &args.params);
        let checked = match (rating.access, book.schema.check(&method, &args.path, &args.params)) {
            (None, _) => return Err(forbidden(&method, &args.path, rating.reason)),
            (_, Err(problems)) => return Err(refused(&method, &args.path, &problems, product)),
            (_, Ok(checked)) => checked,
        };
        let rating = rating_of_call(product, &method, &[&checked.path, &written], &args.params);
        let Some(access) = rating.access else {
            return Err(forbidden(&method, &args.path, rating.reason));
        };
        if access > most {
            // Consent was asked, or not, for less than this.
            return Err(ToolError::new(format!(
                "{method} {} cannot be judged",
                quoted(&args.path)
            ))
            .of_kind(Kind::Forbidden)
            .hint("write the path as api_find gives it"));
        }
        let guest = guest::at_home(cx, &place, &checked, NAME, &given).await?;
        let mut plan = planned(&place, &book, checked, &args.params, access, rating.reason).await;
        if let Some(guest) = guest {
            let lock = guest.lock.as_deref().unwrap_or("none");
            let state =
                [("node", guest.node.as_str()), ("status", guest.status.as_str()), ("lock", lock)];
            plan = plan
                .effect(format!("it is about {} {}", guest.at, guest.name))
                .target(guest.at.to_string(), state);
        }
        Ok(plan)
    }
}

fn forbidden(method: &str, path: &str, reason: Option<&str>) -> ToolError {
    let reason = reason.unwrap_or("is not for this server");
    ToolError::new(format!("{method} {} is never called from here: it {reason}", quoted(path)))
        .of_kind(Kind::Forbidden)
}

async fn planned(
    place: &Place,
    book: &Book,
    checked: Checked<'_>,
    params: &Map<String, Value>,
    access: Access,
    reason: Option<&'static str>,
) -> Plan {
    let request = checked.request.clone();
    let method = request.method().clone();
    let path = request.path().to_string();
    let key = place.key().to_owned();
    let what = format!("{method} {path} of {key}");
    let mut plan = Plan::new(what.clone()).fact("cluster", key).fact("path", path.as_str());
    if let Some(about) = checked.endpoint.map(Endpoint::about).filter(|about| !about.is_empty()) {
        plan = plan.effect(super::find::short(about, 200));
    }
    if let Some(reason) = reason {
        plan = plan.warn("risk", format!("it {reason}"));
    }
    let before = current(place, book, &checked).await;
    let mut undo = Map::new();
    let mut is_undone = !before.is_empty();
    for (name, value) in params.iter().filter(|_| method == http::Method::PUT) {
        let old = before.get(name).filter(|old| !old.is_null());
        if is_hidden(&path, name) {
            plan = plan.change(name, if old.is_some() { "(secret)" } else { "-" }, "(secret)");
            is_undone = false;
            continue;
        }
        let after = if value.is_string() { plain(value) } else { value.to_string() };
        plan = plan.change(name, old.map_or("-".to_owned(), plain), after);
        match old {
            Some(old) if name != "digest" => {
                undo.insert(name.clone(), old.clone());
            }
            _ => is_undone = false,
        }
    }
    let back = cut::way_back(place, method.as_str(), &path, params, &before).await;
    let single = back.iter().flatten().find_map(|calls| match calls.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    });
    plan = plan.undo(match (single, access, reason) {
        (Some((tool, args)), ..) => Undo::Call(tool, args),
        (None, Access::Destroy, Some(reason)) => Undo::Never(format!("it {reason}")),
        (None, Access::Destroy, None) => Undo::Never("what is deleted is gone".to_owned()),
        _ if is_undone && !undo.is_empty() => {
            let call =
                json!({"cluster": place.key(), "method": "PUT", "path": path, "params": undo});
            Undo::Call(NAME, call.as_object().cloned().unwrap_or_default())
        }
        _ if makes(place, book, &method, &path) => {
            Undo::By("by a DELETE of what it makes".to_owned())
        }
        _ => Undo::By("by the call that does the opposite, if there is one: api_find".to_owned()),
    });
    if let Some(back) = back {
        plan = plan.unless_confirmed_or(back);
    }
    // What the state was when it was asked: a change meanwhile makes it another plan.
    for name in ["digest", "status", "lock"] {
        if let Some(state) = before.get(name) {
            plan = plan.target(path.as_str(), [(name, plain(state))]);
        }
    }
    if checked.endpoint.is_none() {
        plan = plan.note("the endpoint is not in the bundled list: nothing was checked");
    }
    if let Some(note) = book.note() {
        plan = plan.note(note);
    }
    // What is told only once must not be asked twice.
    let request = if method == http::Method::GET { request.once() } else { request };
    let step = match place {
        Place::Pve(member) => Step::pve(member, what.as_str(), request),
        Place::Pbs(member) => Step::pbs(member, what.as_str(), request),
    };
    let hidden = params.keys().filter(|name| is_hidden(&path, name)).cloned();
    plan.step(step.hiding(hidden))
        .settle(move |_, done| async move { Ok(settled(&what, &path, &done)) })
}

/// Whether the call makes something that can be deleted again.
fn makes(place: &Place, book: &Book, method: &http::Method, path: &str) -> bool {
    let has = |method: &str, below: Below| {
        let path = match below {
            Below::Here => path.to_owned(),
            Below::Place => format!("{path}/1"),
        };
        let target = api_core::schema::Target::parse(&path).ok();
        let located = target.as_ref().and_then(|target| book.schema.locate(target));
        located.is_some_and(|located| located.method(method).is_ok())
    };
    let way = risk::way_back(place.product(), method.as_str(), path, has);
    way == WayBack::Delete
}

/// What the path says of itself now, where it can be read: for a diff and for what must not move.
async fn current(place: &Place, book: &Book, checked: &Checked<'_>) -> Map<String, Value> {
    let path = checked.request.path();
    if checked.request.method() == http::Method::GET || checked.endpoint.is_none() {
        return Map::new();
    }
    let Ok(read) = book.schema.check("GET", path.as_str(), &Map::new()) else { return Map::new() };
    let rating = rating_of_call(place.product(), "GET", &[&read.path], &Map::new());
    if rating.access != Some(Access::Read) {
        return Map::new();
    }
    let request: Request<Value> = read.request;
    match place.read(request).await {
        Ok(api_core::Page { data: Value::Object(fields), digest, .. }) => {
            let mut fields = fields;
            if let Some(digest) = digest {
                fields.entry("digest").or_insert(Value::String(digest));
            }
            fields
        }
        // The change itself will say what is wrong with it.
        _ => Map::new(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text, 200),
        other => shortened(&other.to_string(), 200),
    }
}

/// What came of it: how the task ended, or what the call answered.
fn settled(what: &str, path: &str, done: &Done) -> Report {
    if let Some(upid) = done.last_upid() {
        let kind = upid.kind();
        return done.report(format!(
            "{what} is done: its task {kind} ended {} ({})",
            done.ended(),
            done.span()
        ));
    }
    let value = done.value(what).cloned().unwrap_or_default();
    let report = done.report(String::new());
    let is_nothing = value.is_null();
    let wanted = Wanted { limit: LIMIT, ..Wanted::default() };
    let (said, mut report) = shape::show(report, path, value, wanted);
    report.lead = if is_nothing {
        format!("{what} is done")
    } else {
        format!("{what} is done and answered {said}")
    };
    report
}
