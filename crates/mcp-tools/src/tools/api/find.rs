//! `api_find`: endpoints by words.

use std::{collections::BTreeSet, sync::Arc};

use api_core::schema::search;
use async_trait::async_trait;
use estate::{Access, Product};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{Book, place, rating_of, tier_word};
use crate::{
    address::quoted,
    error::ToolError,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// How many endpoints are listed unless it is said otherwise.
const LIMIT: usize = 10;
/// How many at most.
const MOST: usize = 50;
/// The most characters of what an endpoint does.
const ABOUT: usize = 110;

/// Finds endpoints.
pub(super) struct ApiFind;

#[derive(Debug, Deserialize)]
struct Args {
    query: String,
    product: Option<String>,
    limit: Option<usize>,
}

#[async_trait]
impl EstateTool for ApiFind {
    fn definition(&self) -> Definition {
        Definition {
            name: "api_find",
            title: "Find API endpoints",
            description: "Find Proxmox API endpoints by words.",
            input: Input::new()
                .text("query", "")
                .required("query")
                .choice("product", &["pve", "pbs"], "")
                .count("limit"),
            output: Output::new().table("endpoints").fact("count", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let product = product_of(args.product.as_deref())?;
        let books = books(cx, product).await?;
        let schemas: Vec<_> = books.iter().map(|book| &*book.schema).collect();
        let limit = args.limit.unwrap_or(LIMIT).clamp(1, MOST);
        // The same endpoint in several versions of a product is one.
        let mut seen = BTreeSet::new();
        let hits = search(&schemas, &args.query, limit * schemas.len().max(1));
        let hits = hits.into_iter().filter(|hit| {
            seen.insert((books[hit.schema].product, hit.endpoint.method(), hit.endpoint.path()))
        });
        let mut table = Table::new("endpoints", &["product", "method", "path", "tier", "about"]);
        let mut first = None;
        for hit in hits.take(limit) {
            let product = books[hit.schema].product;
            first.get_or_insert((product, hit.endpoint));
            table.push(vec![
                Cell::text(product.as_str()),
                Cell::text(hit.endpoint.method()),
                Cell::text(hit.endpoint.path()),
                Cell::text(tier_word(rating_of(product, hit.endpoint))),
                Cell::text(short(hit.endpoint.about(), ABOUT)),
            ]);
        }
        let count = table.rows.len();
        let query = quoted(&args.query);
        let mut report = match count {
            0 => Report::new(format!("no endpoint fits {query}; try other words")),
            1 => Report::new(format!("1 endpoint for {query}")),
            _ => Report::new(format!("{count} endpoints for {query}, best first")),
        };
        report = report.fact("count", count).table(table);
        if let Some((product, endpoint)) = first {
            report = report.next(
                "api_describe",
                json!({"path": endpoint.path(), "method": endpoint.method(), "product": product.as_str()}),
            );
        }
        report.notes.extend(books.iter().filter_map(Book::note));
        Ok(report)
    }
}

pub(super) fn product_of(word: Option<&str>) -> Result<Option<Product>, ToolError> {
    word.map(str::parse)
        .transpose()
        .map_err(|error: estate::InvalidName| ToolError::new(error.to_string()))
}

/// The schemas that speak for the estate, each version once. A product that the estate does not have
/// is known by its bundled list, if it is asked for.
pub(super) async fn books(cx: &Cx, product: Option<Product>) -> Result<Vec<Book>, ToolError> {
    let now = cx.now();
    let places = place::all(&cx.fleet, product)?;
    let asked = places.iter().map(|place| cx.fleet.library().of(place, now));
    let mut books: Vec<Book> = Vec::new();
    for book in futures::future::join_all(asked).await {
        if !books.iter().any(|known| Arc::ptr_eq(&known.schema, &book.schema)) {
            books.push(book);
        }
    }
    // A bundled list has nothing to add to a published schema of the same product.
    let published: Vec<_> =
        books.iter().filter(|book| book.why_bundled.is_none()).map(|book| book.product).collect();
    books.retain(|book| book.why_bundled.is_none() || !published.contains(&book.product));
    if let (true, Some(product)) = (books.is_empty(), product) {
        let why = format!("no {} is set up", product.name());
        books.push(cx.fleet.library().bundled(product, None, why));
    }
    Ok(books)
}

/// The beginning of a text, cut at a word.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most).collect();
    let cut = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
    format!("{cut}…")
}
