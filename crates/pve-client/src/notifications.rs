//! Where the cluster tells what happens: targets, endpoints, matchers.

use api_core::{Request, de::Done, params, path, reply, words};
use secrecy::SecretString;

words! {
    /// What a target or endpoint is.
    pub enum TargetKind {
        /// The node's own mail.
        Sendmail = "sendmail",
        /// A mail server.
        Smtp = "smtp",
        /// A Gotify server.
        Gotify = "gotify",
        /// Any HTTP server (since 8.3).
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
        pub digest: Option<String>,
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
    }
}

reply! {
    /// A rule that says what goes where.
    pub struct Matcher {
        pub name: String,
        pub comment: Option<String>,
        pub disabled: bool = "disable",
        pub origin: Option<String>,
        pub digest: Option<String>,
        /// `all` or `any`.
        pub mode: Option<String>,
        pub invert: Option<bool> = "invert-match",
        pub fields: Vec<MatchRule> = "match-field",
        pub severities: Vec<MatchRule> = "match-severity",
        pub calendars: Vec<MatchRule> = "match-calendar",
        pub targets: Vec<String> = "target",
    }
}

/// A condition of a [`Matcher`], such as `exact:type=vzdump`, as it is written: it can hold commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule(pub String);

impl<'de> api_core::de::Lenient<'de> for MatchRule {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(String::read(deserializer)?.map(Self))
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(Self(word.to_owned()))
    }
}

reply! {
    /// A field that matchers can look at.
    pub struct MatcherField {
        pub name: String,
    }
}

reply! {
    /// A value that such a field is known to have.
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

fn part<T>(name: &str) -> Request<T> {
    Request::get(path!["cluster", "notifications", name])
}

/// `GET /cluster/notifications/targets`. Needs `Mapping.Audit`, `.Use` or `.Modify` on
/// `/mapping/notifications`.
pub fn targets() -> Request<Vec<Target>> {
    part("targets").protected()
}

/// `POST /cluster/notifications/targets/{name}/test`: sends a test message. Needs `Mapping.Audit`,
/// `.Use` or `.Modify` on `/mapping/notifications`.
pub fn test_target(name: &str) -> Request<Done> {
    Request::post(path!["cluster", "notifications", "targets", name, "test"]).protected()
}

/// `GET /cluster/notifications/endpoints/{kind}`. Needs `Mapping.Audit` on
/// `/mapping/notifications`.
pub fn endpoints(kind: &TargetKind) -> Request<Vec<Endpoint>> {
    Request::get(path!["cluster", "notifications", "endpoints", kind]).protected()
}

/// `GET /cluster/notifications/endpoints/{kind}/{name}`. Needs `Mapping.Audit` or `.Modify` on
/// `/mapping/notifications`.
pub fn endpoint(kind: &TargetKind, name: &str) -> Request<Endpoint> {
    Request::get(path!["cluster", "notifications", "endpoints", kind, name]).protected()
}

/// `GET /cluster/notifications/matchers`. Needs `Mapping.Audit`, `.Use` or `.Modify` on
/// `/mapping/notifications`.
pub fn matchers() -> Request<Vec<Matcher>> {
    part("matchers").protected()
}

/// `GET /cluster/notifications/matchers/{name}`. Needs `Mapping.Audit` or `.Modify` on
/// `/mapping/notifications`.
pub fn matcher(name: &str) -> Request<Matcher> {
    Request::get(path!["cluster", "notifications", "matchers", name]).protected()
}

/// `GET /cluster/notifications/matcher-fields`. Needs `Mapping.Audit` or `.Modify` on
/// `/mapping/notifications`.
pub fn matcher_fields() -> Request<Vec<MatcherField>> {
    part("matcher-fields")
}

/// `GET /cluster/notifications/matcher-field-values`. Needs `Mapping.Audit` or `.Modify` on
/// `/mapping/notifications`.
pub fn matcher_field_values() -> Request<Vec<MatcherFieldValue>> {
    part("matcher-field-values").protected()
}

/// `POST /cluster/notifications/endpoints/webhook` (since 8.3). Needs `Mapping.Modify` on
/// `/mapping/notifications`, and `Sys.AccessNetwork` or `Sys.Audit` and `Sys.Modify` on `/`.
pub fn create_webhook(name: &str, options: WebhookParams) -> Request<Done> {
    Request::post(path!["cluster", "notifications", "endpoints", "webhook"])
        .param("name", name)
        .params(options.into())
        .protected()
}

/// `DELETE /cluster/notifications/endpoints/{kind}/{name}`. Needs `Mapping.Modify` on
/// `/mapping/notifications`.
pub fn delete_endpoint(kind: &TargetKind, name: &str) -> Request<Done> {
    Request::delete(path!["cluster", "notifications", "endpoints", kind, name]).protected()
}

/// `POST /cluster/notifications/matchers`. Needs `Mapping.Modify` on `/mapping/notifications`.
pub fn create_matcher(name: &str, options: MatcherParams) -> Request<Done> {
    Request::post(path!["cluster", "notifications", "matchers"])
        .param("name", name)
        .params(options.into())
        .protected()
}

/// `DELETE /cluster/notifications/matchers/{name}`. Needs `Mapping.Modify` on
/// `/mapping/notifications`.
pub fn delete_matcher(name: &str) -> Request<Done> {
    Request::delete(path!["cluster", "notifications", "matchers", name]).protected()
}
