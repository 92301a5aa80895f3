//! `/approve/{link}`: a page that shows a plan, and the form by which a person decides.
//!
//! *Invariant:* GET decides nothing: mail programs and chats look at links before people do.
//! *Invariant:* the page has no script, and nothing on it comes from elsewhere; what others wrote
//! is text.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body;
use crate::shared::Shared;

/// The route.
pub(crate) const APPROVE: &str = "/approve/{link}";
/// What may be on the page: its own form, and nothing else.
const POLICY: &str =
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Where a browser says that a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A form with one choice and a short note is smaller.
const FORM: usize = 4096;
/// The longest text of a page.
const TEXT: usize = 64 * 1024;

/// Whoever knows what a link is for. The manager implements it, tests with a toy.
#[async_trait]
pub trait ConsentPages: Send + Sync + 'static {
    /// What the link shows; `None` for whatever is no good link, all alike.
    async fn look(&self, link: &str) -> Option<ConsentPage>;

    /// Decides by the link.
    ///
    /// # Errors
    /// Why it does not count, for the person; `None` for whatever is no good link.
    async fn decide(&self, link: &str, agrees: bool) -> Result<ConsentPage, Option<String>>;
}

/// What a page shows.
#[derive(Clone, Debug)]
pub struct ConsentPage {
    /// Whose link it is.
    pub approver: String,
    /// Lines of facts: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// The plan in words.
    pub text: String,
    /// Whether it can still be decided by this link.
    pub open: bool,
}

/// Shows what a link is for.
pub(crate) async fn show(State(shared): State<Arc<Shared>>, Path(link): Path<String>) -> Response {
    let Some(pages) = &shared.consent else { return gone() };
    match pages.look(&link).await {
        Some(page) => html(StatusCode::OK, &render(&page, None)),
        None => gone(),
    }
}

/// Decides.
pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    Path(link): Path<String>,
    request: Request,
) -> Response {
    let Some(pages) = &shared.consent else { return gone() };
    if is_from_elsewhere(request.headers()) {
        return html(StatusCode::FORBIDDEN, &notice("This form was not sent from its own page."));
    }
    let mut options = shared.options.clone();
    options.max_body_bytes = FORM;
    let body = match body::read(request.into_body(), &options).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let Some(agrees) = choice(&body) else {
        let text = "Nothing was decided: the form has neither approve nor refuse in it.";
        return html(StatusCode::BAD_REQUEST, &notice(text));
    };
    match pages.decide(&link, agrees).await {
        Ok(page) => {
            let said = if agrees { "You have approved this." } else { "You have refused this." };
            html(StatusCode::OK, &render(&page, Some(said)))
        }
        Err(Some(why)) => {
            html(StatusCode::CONFLICT, &notice(&format!("Nothing was decided: {why}.")))
        }
        Err(None) => gone(),
    }
}

/// Whether a browser says that another site sent it.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// What the form says: `decision=approve` or `decision=refuse`, once.
fn choice(body: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(body).ok()?;
    let mut given = text.split('&').filter_map(|pair| pair.strip_prefix("decision="));
    let choice = match given.next()? {
        "approve" => true,
        "refuse" => false,
        _ => return None,
    };
    given.next().is_none().then_some(choice)
}

fn gone() -> Response {
    let text = "There is nothing here: the link is not one of this server, or its time is over, or it was used.";
    html(StatusCode::NOT_FOUND, &notice(text))
}

fn html(status: StatusCode, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>Approval</title></head>\
         <body>\n{body}</body></html>\n"
    );
    let mut response = (status, page).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn notice(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

fn render(page: &ConsentPage, said: Option<&str>) -> String {
    let mut body = String::new();
    if let Some(said) = said {
        let _ = writeln!(body, "<p><strong>{}</strong></p>", escaped(said));
    }
    let _ = writeln!(body, "<h1>A plan waits for {}</h1>\n<table>", escaped(&page.approver));
    for (name, value) in &page.facts {
        let _ = writeln!(
            body,
            "<tr><th align=\"left\">{}</th><td>{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    let _ = writeln!(body, "</table>\n<pre>{}</pre>", escaped(&page.text));
    if page.open {
        body.push_str(
            "<form method=\"post\">\n\
             <button name=\"decision\" value=\"approve\">Approve</button>\n\
             <button name=\"decision\" value=\"refuse\">Refuse</button>\n</form>\n",
        );
    } else if said.is_none() {
        body.push_str("<p>It is decided, or its time is over.</p>\n");
    }
    body
}

/// Text as HTML shows it: no tag, no terminal escape, no end of an attribute.
fn escaped(text: &str) -> String {
    let text = stdx::untrusted::text(text, TEXT);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text() {
        let page = ConsentPage {
            approver: "ada".to_owned(),
            facts: vec![("asked by", "<b>\"x\"</b>".to_owned())],
            text: "<script>alert('1')</script>\u{1b}[31m & more".to_owned(),
            open: true,
        };
        let body = render(&page, None);
        assert!(
            !body.contains("<script") && !body.contains("<b>") && !body.contains('\u{1b}'),
            "{body}"
        );
        assert!(body.contains("&lt;script&gt;alert(&#39;1&#39;)") && body.contains("&amp; more"));
        assert!(body.contains("value=\"approve\"") && body.contains("value=\"refuse\""));
        let closed = render(&ConsentPage { open: false, ..page }, None);
        assert!(!closed.contains("<form"));
    }

    #[test]
    fn a_form_says_one_thing() {
        assert_eq!(choice(b"decision=approve"), Some(true));
        assert_eq!(choice(b"x=1&decision=refuse"), Some(false));
        for body in [
            "",
            "decision=",
            "decision=approve&decision=refuse",
            "decision=yes",
            "a=decision=approve",
        ] {
            assert_eq!(choice(body.as_bytes()), None, "{body}");
        }
        assert_eq!(choice(&[0xff]), None);
    }
}
