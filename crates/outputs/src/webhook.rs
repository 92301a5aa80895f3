//! The webhook output: each message as a POST of JSON, with its id and a signature.
//!
//! The body is one object with `"v": 1`. `X-Event-Id` (and `Idempotency-Key`) is the delivery's key: the same id
//! again is the same message again, and a receiver that remembers ids is told nothing twice. With a secret,
//! `X-Signature: sha256=<hex>` is the HMAC-SHA256 of `<X-Timestamp>.<body>`; a receiver refuses what is signed wrongly
//! or whose timestamp is more than five minutes off. `docs/dev/outputs.md` has one in full.
//!
//! *Invariant:* the body is signed as it is sent, byte for byte.

use std::fmt::Write as _;

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Message, Receipt, SinkError, wire};
use http::Method;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    InvalidConfig, Kit, MARKER_HEADER, Wording,
    escape::Escape,
    http::{Answer, Http, Request, url},
    template::{BODY, Slot, TITLE, Templates, context, facts, subject},
};

/// The version of the body.
const VERSION: u32 = 1;
const HINT: &str = "look at the receiver and the settings `url` and `token`, then replay it";

/// Settings of a webhook output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to post; a secret, since many addresses hold one.
    pub url: SecretString,
    /// The key of the signature; without one nothing is signed.
    pub secret: Option<SecretString>,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretString>,
    /// Whether the reports go with the message with their originals. These can be large.
    pub raw: bool,
    /// Other words.
    pub wording: Wording,
}

/// The output.
pub struct Webhook {
    id: ComponentId,
    kit: Kit,
    http: Http,
    url: Url,
    config: Config,
    templates: Templates,
}

// === impl Config ===

impl Config {
    /// Posts there, unsigned.
    pub fn new(url: SecretString) -> Self {
        Self { url, secret: None, token: None, raw: false, wording: Wording::default() }
    }
}

// === impl Webhook ===

impl Webhook {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let url = url(&id, "url", config.url.expose_secret())?;
        let templates = Templates::try_new(&id, &slots(&config.wording))?;
        let secrets = [Some(&config.url), config.secret.as_ref(), config.token.as_ref()];
        let http = Http::new(&id, "a webhook", kit, secrets.into_iter().flatten().cloned());
        Ok(Self { id, kit: kit.clone(), http, url, config, templates })
    }

    fn request(&self, method: Method) -> Request {
        let request = Request::new(method, self.url.clone());
        let request = request.header(MARKER_HEADER, &self.kit.instance);
        match &self.config.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }

    async fn send(&self, request: Request) -> Result<Answer, SinkError> {
        let answer = self.http.send(request).await?;
        if answer.is_good() {
            return Ok(answer);
        }
        Err(self.http.refused(&answer, self.kit.clock.now(), HINT))
    }
}

#[async_trait]
impl EventSink for Webhook {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Asks for the head of the address, which tells the receiver nothing.
    async fn check(&self) -> Result<String, SinkError> {
        let answer = self.http.send(self.request(Method::HEAD)).await?;
        match answer.status {
            // That it takes no HEAD is as good an answer as any.
            401 | 403 | 404 | 410 | 500 | 502.. => {
                Err(self.http.refused(&answer, self.kit.clock.now(), HINT))
            }
            status => Ok(format!("the receiver answers (HTTP {status})")),
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let body = payload(delivery, &self.templates, &self.kit.instance, self.config.raw);
        let body = body.to_string();
        let timestamp = self.kit.clock.now().as_second().to_string();
        let key = delivery.key.as_str();
        let mut request = self
            .request(Method::POST)
            .header("x-event-id", key)
            .header("idempotency-key", key)
            .header("x-timestamp", &timestamp);
        if let Some(secret) = &self.config.secret {
            request = request.header("x-signature", &signature(secret, &timestamp, &body));
        }
        self.send(request.text("application/json", body)).await?;
        Ok(Receipt { ids: vec![key.to_owned()], extra: Value::Null })
    }
}

pub(crate) fn slots(wording: &Wording) -> [Slot<'_>; 2] {
    let slot = |name, own, default| Slot { name, own, default, escape: Escape::None };
    [slot("title", wording.title.as_ref(), TITLE), slot("body", wording.body.as_ref(), BODY)]
}

/// What a receiver is sent.
pub(crate) fn payload(
    delivery: &Delivery,
    templates: &Templates,
    instance: &str,
    raw: bool,
) -> Value {
    let message: &Message = &delivery.message;
    let context = context(message, instance);
    let fields = facts(message);
    let fields: Vec<Value> =
        fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let events: Vec<Value> = message
        .events
        .iter()
        .map(|event| {
            let mut form = wire::to_json(event);
            if let (false, Some(form)) = (raw, form.as_object_mut()) {
                form.remove("raw");
            }
            form
        })
        .collect();
    json!({
        "v": VERSION,
        "id": delivery.key.as_str(),
        "instance": instance,
        "stand": message.stand.as_str(),
        "incident": message.incident,
        "severity": message.severity.as_str(),
        "kind": message.kind.as_str(),
        "subject": subject(&message.subject),
        "title": templates.render("title", &context),
        "text": templates.render("body", &context),
        "fields": fields,
        "began": message.began.to_string(),
        "written": message.written.to_string(),
        "link": message.link,
        "silent": message.silent,
        "route": message.route,
        "events": events,
    })
}

/// `sha256=` and the HMAC of `<timestamp>.<body>` in hexadecimal digits.
fn signature(secret: &SecretString, timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut signing = hmac::Context::with_key(&key);
    signing.update(timestamp.as_bytes());
    signing.update(b".");
    signing.update(body.as_bytes());
    let tag = signing.sign();
    tag.as_ref().iter().fold("sha256=".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).finish_non_exhaustive()
    }
}
