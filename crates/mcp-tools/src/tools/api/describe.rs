//! `api_describe`: what one endpoint takes.

use api_core::schema::{Endpoint, Kind, Located, Param, Target};
use async_trait::async_trait;
use estate::{Access, Product};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    Book,
    find::{books, product_of, short},
    rating_of, tier_word,
};
use crate::{
    address::quoted,
    cursor,
    error::ToolError,
    report::{Cell, Paging, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

const NAME: &str = "api_describe";

/// The most characters of what a parameter is: in a long list, and in a short one.
const ABOUT_LONG_LIST: usize = 60;
const ABOUT: usize = 160;
/// From how many parameters on a list is long.
const LONG_LIST: usize = 25;
/// The most choices that a row shows.
const CHOICES: usize = 16;
/// The longest pattern that a row shows.
const PATTERN: usize = 60;

/// Describes an endpoint.
pub(super) struct ApiDescribe;

#[derive(Debug, Deserialize)]
struct Args {
    path: String,
    method: Option<String>,
    product: Option<String>,
    param: Option<String>,
    cursor: Option<String>,
}

#[async_trait]
impl EstateTool for ApiDescribe {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Describe an API endpoint",
            description: "What an endpoint takes; param: the keys of one.",
            input: Input::new()
                .text("path", "")
                .required("path")
                .text("method", "")
                .text("product", "")
                .text("param", "")
                .text("cursor", ""),
            output: Output::new()
                .table("methods")
                .table("parameters")
                .fact("path", "string")
                .fact("method", "string")
                .fact("tier", "string"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let given = args.clone();
        let args: Args = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &given)
            .map_err(|error| ToolError::new(error.to_string()))?;
        let target = Target::parse(&args.path).map_err(|error| {
            ToolError::new(format!("{} is no path: {error}", quoted(&args.path)))
        })?;
        let books = books(cx, product_of(args.product.as_deref())?).await?;
        let found = books.iter().filter_map(|book| Some((book, book.schema.locate(&target)?)));
        let found: Vec<(&Book, Located<'_>)> = found.collect();
        let Some((book, located)) = found.first() else { return Err(nowhere(&target, &books)) };
        let product = book.product;
        let mut report = match endpoint_of(located, args.method.as_deref())? {
            Some(endpoint) => match &args.param {
                Some(name) => one_param(product, endpoint, name)?,
                None => {
                    let paging = Paging { tool: NAME, args: without_cursor(&given), offset };
                    one_endpoint(product, endpoint, paging)
                }
            },
            None => methods(product, located),
        };
        let others = found.iter().skip(1).map(|(book, _)| book.product);
        if let Some(other) = others.into_iter().find(|other| *other != product) {
            report = report
                .note(format!("this is {}'s; {other} has it too: give product", product.name()));
        }
        report.notes.extend(book.note());
        Ok(report)
    }
}

fn without_cursor(args: &JsonObject) -> JsonObject {
    let mut args = args.clone();
    args.remove("cursor");
    args
}

/// The endpoint that is meant: the path's only one, or that of the method.
fn endpoint_of<'a>(
    located: &Located<'a>,
    method: Option<&str>,
) -> Result<Option<Endpoint<'a>>, ToolError> {
    match method {
        Some(method) => {
            let found = located.method(method.trim());
            found.map(Some).map_err(|problem| ToolError::not_found(problem.text))
        }
        None if located.endpoints.len() == 1 => Ok(located.endpoints.first().copied()),
        None => Ok(None),
    }
}

fn nowhere(target: &Target, books: &[Book]) -> ToolError {
    let path = target.to_string();
    let words: Vec<_> = super::words_of(&path).collect();
    let error = ToolError::not_found(format!("no endpoint has the path {}", quoted(&path)));
    let args = json!({"query": words.join(" ")});
    let error = error.next("api_find", args.as_object().cloned().unwrap_or_default());
    books.iter().filter_map(Book::note).fold(error, ToolError::hint)
}

fn methods(product: Product, located: &Located<'_>) -> Report {
    let path = located.path();
    let mut table = Table::new("methods", &["method", "tier", "about"]);
    let mut first = "GET";
    for endpoint in &located.endpoints {
        first = endpoint.method();
        table.push(vec![
            Cell::text(endpoint.method()),
            Cell::text(tier_word(rating_of(product, *endpoint))),
            Cell::text(short(endpoint.about(), ABOUT)),
        ]);
    }
    Report::new(format!("{path} of {} has {} methods", product.name(), table.rows.len()))
        .fact("path", path)
        .table(table)
        .next(NAME, json!({"path": path, "method": first, "product": product.as_str()}))
}

fn one_endpoint(product: Product, endpoint: Endpoint<'_>, paging: Paging) -> Report {
    let rating = rating_of(product, endpoint);
    let (method, path) = (endpoint.method(), endpoint.path());
    let about = short(endpoint.about(), ABOUT * 2);
    let lead = if about.is_empty() {
        format!("{method} {path}")
    } else {
        format!("{method} {path}: {about}")
    };
    let said = |text: &str| if text.is_empty() { Cell::none() } else { Cell::text(text) };
    let mut report = Report::new(lead)
        .fact("path", path)
        .fact("method", method)
        .detail("tier", tier_word(rating))
        .detail("returns", said(endpoint.returns()))
        .detail("needs", said(endpoint.permissions()));
    if let Some(reason) = rating.reason {
        report = report.note(format!("it {reason}"));
    }
    if endpoint.is_open() {
        report = report.note("it takes parameters that are not listed as well");
    }
    let params: Vec<_> = endpoint.params().collect();
    let about = if params.len() > LONG_LIST { ABOUT_LONG_LIST } else { ABOUT };
    let mut table = table_of(Some(endpoint), &params, about);
    let total = table.rows.len();
    table.rows.drain(..paging.offset.min(total));
    table.total = Some(total);
    table.paging = Some(paging);
    if total > 0 {
        report = report.table(table);
    }
    match params.iter().find(|param| param.has_keys()) {
        Some(param) if rating.access.is_some() => report.next(
            NAME,
            json!({"path": path, "method": method, "product": product.as_str(), "param": param.name()}),
        ),
        _ => report,
    }
}

fn one_param(product: Product, endpoint: Endpoint<'_>, name: &str) -> Result<Report, ToolError> {
    let (method, path) = (endpoint.method(), endpoint.path());
    let Some(param) = endpoint.param(name) else {
        let args = json!({"path": path, "method": method, "product": product.as_str()});
        let error = ToolError::not_found(format!("{method} {path} takes no {}", quoted(name)));
        return Err(error.next(NAME, args.as_object().cloned().unwrap_or_default()));
    };
    let mut lead = format!("{} of {method} {path}", param.name());
    if !param.about().is_empty() {
        lead.push_str(": ");
        lead.push_str(param.about());
    }
    let mut report = Report::new(lead).fact("path", path).fact("method", method);
    report = report.table(table_of(Some(endpoint), &[param], ABOUT));
    if param.has_keys() {
        // The row above says what the parameter is; these are what stands inside of it.
        let keys: Vec<_> = param.keys().filter(|key| key.alias().is_empty()).collect();
        let mut table = table_of(None, &keys, ABOUT);
        table.name = "keys";
        report = report.table(table);
        let default = keys.iter().find(|key| key.is_default_key());
        let written = match default {
            Some(key) => format!("{},key=value; the first is {}", key.name(), key.name()),
            None => "key=value,key=value".to_owned(),
        };
        report = report.note(format!("written as one text ({written}), or given as an object"));
    }
    if param.is_indexed() {
        let stem = param.name().trim_end_matches("[n]");
        report = report.note(format!("numbered: {stem}0, {stem}1 and so on"));
    }
    Ok(report)
}

fn table_of(endpoint: Option<Endpoint<'_>>, params: &[Param<'_>], about: usize) -> Table {
    let columns = ["name", "type", "need", "default", "allowed", "about"];
    let mut table = Table::new("parameters", &columns);
    // What is needed comes first: a list may be cut, and is read from its head.
    let in_path = |param: &Param<'_>| endpoint.is_some_and(|one| one.is_in_path(param.name()));
    let mut params = params.to_vec();
    params.sort_by_key(|param| (!in_path(param), param.is_optional(), param.name()));
    for param in params {
        let need = match (in_path(&param), param.is_optional()) {
            (true, _) => "path",
            (false, true) => "-",
            (false, false) => "yes",
        };
        let default = param.default();
        table.push(vec![
            Cell::text(param.name()),
            Cell::text(type_of(param)),
            Cell::text(need),
            if default.is_empty() { Cell::none() } else { Cell::text(short(default, 40)) },
            allowed(param),
            if param.about().is_empty() {
                Cell::none()
            } else {
                Cell::text(short(param.about(), about))
            },
        ]);
    }
    table
}

fn type_of(param: Param<'_>) -> String {
    match (param.kind(), param.item()) {
        (Kind::Array, Some(item)) => format!("list:{}", item.kind().as_str()),
        (Kind::Array, None) => "list".to_owned(),
        _ if param.has_keys() => "keys".to_owned(),
        (kind, _) => kind.as_str().to_owned(),
    }
}

/// What a value may be: choices, limits, or the format's name.
fn allowed(param: Param<'_>) -> Cell {
    let param = param.item().filter(|_| param.kind() == Kind::Array).unwrap_or(param);
    let count = param.choices().len();
    if count > 0 {
        let mut named: Vec<_> = param.choices().take(CHOICES).collect();
        let more = format!("…{} more", count.saturating_sub(CHOICES));
        if count > CHOICES {
            named.push(&more);
        }
        return Cell::text(named.join("|"));
    }
    let mut said = Vec::new();
    match param.range() {
        ("", "") => {}
        (least, most) => said.push(format!("{least}..{most}")),
    }
    match param.length() {
        ("", "") => {}
        (least, most) => said.push(format!("{least}..{most} characters")),
    }
    if !param.format().is_empty() {
        said.push(param.format().to_owned());
    } else if !param.pattern().is_empty() && param.pattern().len() <= PATTERN {
        said.push(param.pattern().to_owned());
    }
    if !param.requires().is_empty() {
        said.push(format!("with {}", param.requires()));
    }
    if said.is_empty() { Cell::none() } else { Cell::text(said.join(", ")) }
}
