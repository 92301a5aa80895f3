//! Where the server tells what happens: targets, endpoints, matchers.

use api_core::{Request, de::Done, params, path, reply, words};
use secrecy::SecretString;

words! {
    /// What a target or endpoint is.
    pub enum TargetKind {
        /// The server's own mail.
        Sendmail = "sendmail",
        /// A mail server.
        Smtp = "smtp",
        /// A Gotify server.
        Gotify = "gotify",
        /// Any HTTP server (since 3.3).
        Webhook = "webhook",
    }
}

reply! {
    /// A place that can be told.
    pub struct Target {
        pub name: String,
        pub kind: TargetKind = "type",
        pub comment: Option<String>,
        pub disabled: bool = "disable",
        /// `builtin`, `modified-builtin` or `user-created`.
        pub origin: Option<String>,
    }
}

reply! {
    /// An endpoint's settings; which are there depends on its kind.
    pub struct Endpoint {
        pub name: String,
        pub comment: Option<String>,
        pub disabled: bool = "disable",
        pub origin: Option<String>,
        /// Gotify and SMTP.
        pub server: Option<String>,
        pub port: Option<u16>,
        pub mode: Option<String>,
        pub username: Option<String>,
        pub author: Option<String>,
        pub from_address: Option<String> = "from-address",
        pub mail_to: Vec<String> = "mailto",
        pub mail_to_user: Vec<String> = "mailto-user",
        /// Webhook.
        pub url: Option<String>,
        pub method: Option<String>,
        /// In base64.
        pub body: Option<String>,
        /// `name=…,value=<base64>`.
        pub headers: Vec<SecretString> = "header",
        /// Names only: the values are never shown.
        pub secrets: Vec<String> = "secret",
        pub filter: Option<String>,
    }
}

reply! {
    /// A rule that says what goes where.
    pub struct Matcher {
        pub name: String,
        pub comment: Option<String>,
        pub disabled: bool = "disable",
        pub origin: Option<String>,
        /// `all` or `any`.
        pub mode: Option<String>,
        pub invert: Option<bool> = "invert-match",
        pub fields: Vec<MatchRule> = "match-field",
        pub severities: Vec<MatchRule> = "match-severity",
        pub calendars: Vec<MatchRule> = "match-calendar",
        pub targets: Vec<String> = "target",
    }
}

/// A condition of a [`Matcher`], such as `exact:type=prune`, as it is written: it can hold commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule(pub String);

impl<'de> api_core::de::Lenient<'de> for MatchRule {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(String::read(deserializer)?.map(Self))
    }
}

reply! {
    /// A value that a field of notifications is known to have.
    pub struct MatcherFieldValue {
        pub field: String,
        pub value: String,
        pub comment: Option<String>,
    }
}

params! {
    /// A webhook.
    pub struct WebhookParams {
        pub url: Option<String>,
        /// `post`, `put` or `get`.
        pub method: Option<String>,
        /// `name=…,value=<base64>`.
        pub headers: Vec<String> = "header",
        /// In base64.
        pub body: Option<String>,
        /// `name=…,value=<base64>`.
        pub secrets: Vec<SecretString> = "secret",
        pub comment: Option<String>,
        pub disabled: Option<bool> = "disable",
    }
}

params! {
    /// A rule that says what goes where.
    pub struct MatcherParams {
        pub targets: Vec<String> = "target",
        pub mode: Option<String>,
        pub fields: Vec<String> = "match-field",
        pub severities: Vec<String> = "match-severity",
        pub calendars: Vec<String> = "match-calendar",
        pub invert: Option<bool> = "invert-match",
        pub comment: Option<String>,
        pub disabled: Option<bool> = "disable",
    }
}

/// `GET /config/notifications/targets`. Needs `Sys.Audit` on `/system/notifications`.
pub fn targets() -> Request<Vec<Target>> {
    Request::get(path!["config", "notifications", "targets"])
}

/// `POST /config/notifications/targets/{name}/test`: sends a test message. Needs `Sys.Modify` on
/// `/system/notifications`.
pub fn test_target(name: &str) -> Request<Done> {
    Request::post(path!["config", "notifications", "targets", name, "test"])
}

/// `GET /config/notifications/endpoints/{kind}`. Needs `Sys.Audit` on `/system/notifications`.
pub fn endpoints(kind: &TargetKind) -> Request<Vec<Endpoint>> {
    Request::get(path!["config", "notifications", "endpoints", kind])
}

/// `GET /config/notifications/endpoints/{kind}/{name}`. Needs `Sys.Audit` on
/// `/system/notifications`.
pub fn endpoint(kind: &TargetKind, name: &str) -> Request<Endpoint> {
    Request::get(path!["config", "notifications", "endpoints", kind, name])
}

/// `GET /config/notifications/matchers`. Needs `Sys.Audit` on `/system/notifications`.
pub fn matchers() -> Request<Vec<Matcher>> {
    Request::get(path!["config", "notifications", "matchers"])
}

/// `GET /config/notifications/matchers/{name}`. Needs `Sys.Audit` on `/system/notifications`.
pub fn matcher(name: &str) -> Request<Matcher> {
    Request::get(path!["config", "notifications", "matchers", name])
}

/// `GET /config/notifications/matcher-field-values`. Needs `Sys.Audit` on `/system/notifications`.
pub fn matcher_field_values() -> Request<Vec<MatcherFieldValue>> {
    Request::get(path!["config", "notifications", "matcher-field-values"])
}

/// `POST /config/notifications/endpoints/webhook` (since 3.3). Needs `Sys.Modify` on
/// `/system/notifications`.
pub fn create_webhook(name: &str, options: WebhookParams) -> Request<Done> {
    Request::post(path!["config", "notifications", "endpoints", "webhook"])
        .param("name", name)
        .params(options.into())
}

/// `DELETE /config/notifications/endpoints/{kind}/{name}`. Needs `Sys.Modify` on
/// `/system/notifications`.
pub fn delete_endpoint(kind: &TargetKind, name: &str) -> Request<Done> {
    Request::delete(path!["config", "notifications", "endpoints", kind, name])
}

/// `POST /config/notifications/matchers`. Needs `Sys.Modify` on `/system/notifications`.
pub fn create_matcher(name: &str, options: MatcherParams) -> Request<Done> {
    Request::post(path!["config", "notifications", "matchers"])
        .param("name", name)
        .params(options.into())
}

/// `DELETE /config/notifications/matchers/{name}`. Needs `Sys.Modify` on `/system/notifications`.
pub fn delete_matcher(name: &str) -> Request<Done> {
    Request::delete(path!["config", "notifications", "matchers", name])
}
