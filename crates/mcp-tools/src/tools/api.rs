//! The whole Proxmox API through four tools that the published schema drives.
//!
//! `api_find` finds endpoints by words, `api_describe` says what one takes, `api_read` gets any path
//! and `api_call` does the rest, as a plan. What each call can do stands in [`guard::risk`]; what a
//! path means, and that nothing leaves its place in it, in [`api_core::schema`].

mod call;
mod cut;
mod describe;
mod find;
mod guest;
mod library;
mod mask;
mod place;
mod read;
mod shape;

use api_core::schema::{Endpoint, Problem, Target};
use estate::{Access, Product};
use guard::risk::{self, Rating};
use serde_json::{Map, Value, json};

pub use self::library::{Book, Library};
pub use self::place::Place;
use crate::{
    address::quoted,
    error::ToolError,
    report::{Report, Table},
    tool::EstateTool,
};

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] =
    &[&find::ApiFind, &describe::ApiDescribe, &read::ApiRead, &call::ApiCall];

/// The word for a tier; `refused` where there is none.
fn tier_word(rating: Rating) -> &'static str {
    rating.access.map_or("refused", Access::as_str)
}

/// The tool that makes any call.
const NAME_OF_CALL: &str = "api_call";

/// The same after the overview: the smallest list that reaches everything.
pub(super) static COMPACT: &[&dyn EstateTool] = &[
    &super::overview::FleetOverview,
    &find::ApiFind,
    &describe::ApiDescribe,
    &read::ApiRead,
    &call::ApiCall,
];

/// What an endpoint can do, whatever its parameters are.
fn rating_of(product: Product, endpoint: Endpoint<'_>) -> Rating {
    risk::rate(product, endpoint.method(), endpoint.path())
}

/// What a call can do: judged by the template and by the path as it was written, the stricter of
/// both, so that no name in a path can pose as another endpoint.
fn rating_of_call(
    product: Product,
    method: &str,
    paths: &[&str],
    params: &Map<String, Value>,
) -> Rating {
    let given =
        |is: &dyn Fn(&str) -> bool| params.iter().any(|(name, value)| is_set(value) && is(name));
    let rated = paths.iter().map(|path| risk::rate_call(product, method, path, given));
    let strictness = |rating: &Rating| rating.access.map_or((1, None), |access| (0, Some(access)));
    rated.max_by_key(strictness).unwrap_or(Rating { access: None, reason: None })
}

/// Whether a parameter is there and not switched off.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false" | "no" | "off"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// What is wrong with a call, as an answer: nothing was sent.
fn refused(method: &str, path: &str, problems: &[Problem], product: Product) -> ToolError {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let path = quoted(path);
    let mut report = match problems {
        [_] => Report::new(format!("{method} {path} was not sent: {first}")),
        _ => Report::new(format!(
            "{method} {path} was not sent: {} things are wrong",
            problems.len()
        )),
    };
    if problems.len() > 1 {
        let mut table = Table::new("problems", &["parameter", "problem"]);
        for problem in problems {
            table.push(vec![problem.place.as_str().into(), problem.text.as_str().into()]);
        }
        report = report.table(table);
    }
    let is_path =
        problems.iter().any(|problem| matches!(problem.place.as_str(), "path" | "method"));
    let report = if is_path {
        let words: Vec<_> = words_of(&path).collect();
        report.next("api_find", json!({"query": words.join(" "), "product": product.as_str()}))
    } else {
        let product = product.as_str();
        let path = path.trim_matches('`');
        report.next("api_describe", json!({"path": path, "method": method, "product": product}))
    };
    ToolError::from_report(report.fact("error", "parameter"))
}

/// The names of a path, for a search.
fn words_of(path: &str) -> impl Iterator<Item = &str> {
    let words = path.trim_matches('`').split(['/', '?', '#', '%']);
    words
        .filter(|word| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .take(8)
}

/// A path as rules are written: without prefix and encoding. What is no path rates as nothing known.
fn plain_path(path: &str) -> String {
    Target::parse(path).map_or_else(|_| "/".to_owned(), |target| target.to_string())
}
