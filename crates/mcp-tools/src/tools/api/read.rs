//! `api_read`: GET on any path.

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    guest,
    place::{self, Place},
    plain_path, rating_of_call, refused,
    shape::{self, Condition, Wanted},
};
use crate::{
    address::quoted,
    cursor,
    error::{Kind, ToolError},
    report::{Paging, Report, Unreachable},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

const NAME: &str = "api_read";

/// How many rows are shown unless it is said otherwise.
const LIMIT: usize = 100;

/// How many at most.
const MOST: usize = 1000;

/// Reads any path.
pub(super) struct ApiRead;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    path: String,
    #[serde(default)]
    query: Map<String, Value>,
    #[serde(default)]
    fields: String,
    filter: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[async_trait]
impl EstateTool for ApiRead {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Read from the API",
            description: "GET a path. filter: a=b,c~d,e>1.",
            input: Input::new()
                .cluster()
                .text("path", "")
                .required("path")
                .object("query", "")
                .text("fields", "")
                .text("filter", "")
                .count("limit")
                .text("cursor", ""),
            output: Output::new()
                .table("rows")
                .fact("cluster", "string")
                .fact("path", "string")
                .fact("count", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut paged = args.clone();
        let args: Args = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &paged)
            .map_err(|error| ToolError::new(error.to_string()))?;
        paged.remove("cursor");
        let filter = args.filter.as_deref().map(Condition::parse).transpose()?.unwrap_or_default();

        let fits = |book: &super::Book| book.schema.check("GET", &args.path, &Map::new()).is_ok();
        let (place, book) = place::pick(cx, args.cluster.as_deref(), &args.path, fits).await?;
        let product = place.product();
        let checked = book.schema.check("GET", &args.path, &args.query);
        let checked = checked.map_err(|problems| refused("GET", &args.path, &problems, product))?;
        let paths = [checked.path.as_str(), &plain_path(&args.path)];
        let rating = rating_of_call(product, "GET", &paths, &args.query);
        if rating.access != Some(Access::Read) {
            let reason = rating.reason.unwrap_or("is more than a read");
            let error =
                ToolError::new(format!("GET {} is not read here: it {reason}", quoted(&args.path)));
            let error = error.of_kind(Kind::Forbidden);
            return Err(match rating.access {
                None => error,
                Some(_) => {
                    let args = json!({"cluster": place.key(), "method": "GET", "path": args.path, "params": args.query});
                    error.next("api_call", args.as_object().cloned().unwrap_or_default())
                }
            });
        }
        let is_known = checked.endpoint.is_some();
        let path = checked.request.path().to_string();
        let page = match place.read(checked.request.clone()).await {
            Ok(page) => page,
            Err(error) => {
                if error.is_not_found() {
                    guest::at_home(cx, &place, &checked, NAME, &paged).await?;
                }
                return Err(failed(&place, &path, &error));
            }
        };

        let shown = page.data.as_array().map(Vec::len);
        let wanted = Wanted {
            fields: args
                .fields
                .split(',')
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            filter,
            limit: args.limit.unwrap_or(LIMIT).clamp(1, MOST),
            paging: Some(Paging { tool: NAME, args: paged, offset }),
        };
        let report = Report::default().fact("cluster", place.key()).fact("path", path.as_str());
        let (said, mut report) = shape::show(report, &path, page.data, wanted);
        report.lead = format!("{path} of {}: {said}", place.key());
        if let (Some(total), Some(shown)) = (page.total, shown)
            && total > shown as u64
        {
            report = report.note(format!(
                "the server gave {shown} of {total}: ask on with its own start and limit in query"
            ));
        }
        if !is_known {
            report = report.note("the path is not in the bundled list and was sent as it is");
        }
        report.notes.extend(book.note());
        Ok(report)
    }
}

/// A read that the server did not answer, or refused.
pub(super) fn failed(place: &Place, path: &str, error: &api_core::Error) -> ToolError {
    let key = place.key();
    let told = ToolError::api(format!("read {path} of {key}"), error);
    let told = if error.kind() == api_core::ErrorKind::Decode {
        told.hint("what this path gives is no data but a file or a stream")
    } else {
        told
    };
    told.map(|report| {
        if !error.is_unreachable() {
            return report;
        }
        let why = stdx::Chain(error).to_string();
        report.unreachable(vec![Unreachable { what: key.to_owned(), why }])
    })
}
