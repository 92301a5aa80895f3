//! The Gotify output.
//!
//! Gotify cannot edit: where the settings have a client's token, an update is posted and what it updates is deleted
//! then, in this order, so that nothing is missing in between. Without one, updates are further messages of priority 0,
//! which alert nobody. Gotify knows no keys: after an answer that was lost, a message may be there twice.
//!
//! *Invariant:* every message carries the delivery's key and this manager's name in its extras, by which inputs of ours
//! know it.

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Message, Receipt, Severity, SinkError, Stand};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    InvalidConfig, Kit, Wording,
    escape::Escape,
    http::{Answer, Http, Request, below, url},
    template::{MARKDOWN_BODY, Slot, TITLE, Templates, context, urgency},
};

const HINT: &str = "look at the settings `server` and `token` (an application's), then replay it";

/// Settings of a Gotify output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server's address, with its path if it has one.
    pub server: String,
    /// The application's token.
    pub token: SecretString,
    /// A client's token, to delete what an update takes the place of.
    pub client_token: Option<SecretString>,
    /// Other words.
    pub wording: Wording,
}

/// The output.
pub struct Gotify {
    id: ComponentId,
    kit: Kit,
    http: Http,
    server: Url,
    config: Config,
    templates: Templates,
}

// === impl Config ===

impl Config {
    /// An application of this server.
    pub fn new(server: impl Into<String>, token: SecretString) -> Self {
        Self { server: server.into(), token, client_token: None, wording: Wording::default() }
    }
}

// === impl Gotify ===

impl Gotify {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let server = url(&id, "server", &config.server)?;
        if config.token.expose_secret().is_empty() {
            return Err(InvalidConfig::new(&id, "`token` is empty: give an application's token"));
        }
        let slots = [
            // Titles are shown as they are, texts as Markdown.
            Slot {
                name: "title",
                own: config.wording.title.as_ref(),
                default: TITLE,
                escape: Escape::None,
            },
            Slot {
                name: "body",
                own: config.wording.body.as_ref(),
                default: MARKDOWN_BODY,
                escape: Escape::CommonMark,
            },
        ];
        let templates = Templates::try_new(&id, &slots)?;
        let secrets = [Some(&config.token), config.client_token.as_ref()];
        let http = Http::new(&id, "Gotify", kit, secrets.into_iter().flatten().cloned());
        Ok(Self { id, kit: kit.clone(), http, server, config, templates })
    }

    fn request(&self, method: Method, path: &[&str], token: &SecretString) -> Request {
        let url = below(&self.server, path);
        Request::new(method, url).secret("x-gotify-key", token.expose_secret())
    }

    fn refused(&self, answer: &Answer) -> SinkError {
        self.http.refused(answer, self.kit.clock.now(), HINT)
    }

    /// Deletes what the update took the place of. A message that stays is no reason to tell it again.
    async fn delete(&self, prior: &Receipt) {
        let Some(token) = &self.config.client_token else { return };
        for id in &prior.ids {
            let deleting = self.request(Method::DELETE, &["message", id], token);
            let problem = match self.http.send(deleting).await {
                Ok(answer) if answer.is_good() || answer.status == 404 => continue,
                Ok(answer) => self.refused(&answer),
                Err(error) => error,
            };
            tracing::warn!(sink = %self.id, error = %stdx::Chain(&problem), "an outdated message stays");
        }
    }
}

#[async_trait]
impl EventSink for Gotify {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Posts a message without its text: Gotify looks at the token first, and then refuses it.
    async fn check(&self) -> Result<String, SinkError> {
        let empty = self.request(Method::POST, &["message"], &self.config.token).json(&json!({}));
        let answer = self.http.send(empty).await?;
        if answer.status != 400 {
            return Err(self.refused(&answer));
        }
        let version = Request::new(Method::GET, below(&self.server, &["version"]));
        let version = self.http.send(version).await?.json();
        let version = version["version"].as_str().unwrap_or("of an unknown version").to_owned();
        let version = stdx::untrusted::word(&version, 40).into_owned();
        Ok(format!("Gotify {version} takes the token"))
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let body = payload(delivery, &self.templates, &self.kit.instance);
        let posting = self.request(Method::POST, &["message"], &self.config.token).json(&body);
        let answer = self.http.send(posting).await?;
        if !answer.is_good() {
            return Err(self.refused(&answer));
        }
        let id = answer.json()["id"].as_u64().map(|id| id.to_string());
        if let (true, Some(prior)) = (delivery.message.stand.edits(), &delivery.prior) {
            self.delete(prior).await;
        }
        Ok(Receipt { ids: id.into_iter().collect(), extra: Value::Null })
    }
}

/// What is posted.
fn payload(delivery: &Delivery, templates: &Templates, instance: &str) -> Value {
    let context = context(&delivery.message, instance);
    let title = templates.render("title", &context);
    let mut body = templates.render("body", &context);
    if body.is_empty() {
        // Gotify takes no message without a text.
        body = Escape::CommonMark.apply(&title).into_owned();
    }
    let mut extras = json!({
        "client::display": { "contentType": "text/markdown" },
        "proxmox-mcp::delivery": { "key": delivery.key.as_str(), "instance": instance },
    });
    if let Some(link) = &delivery.message.link {
        extras["client::notification"] = json!({ "click": { "url": link } });
    }
    json!({
        "title": title,
        "message": body,
        "priority": priority(&delivery.message),
        "extras": extras,
    })
}

/// Gotify's apps stay silent at 0, show from 1, sound from 4 and insist from 8.
fn priority(message: &Message) -> u8 {
    if message.silent {
        return 0;
    }
    match urgency(message) {
        _ if message.stand == Stand::Digest => 2,
        Severity::Debug | Severity::Info => 1,
        Severity::Notice => 3,
        Severity::Warning => 5,
        Severity::Error => 8,
        Severity::Critical => 10,
    }
}

impl std::fmt::Debug for Gotify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gotify").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use event_core::Kind;

    use super::*;

    #[test]
    fn what_is_over_does_not_insist() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let of = |stand| {
            let kind = Kind::BackupFailed;
            priority(&Message::new(stand, "i", kind, Severity::Critical, "a backup", now))
        };
        let stands = [Stand::New, Stand::Resolved, Stand::Acknowledged];
        assert_eq!(stands.map(of), [10, 3, 3]);
    }
}
