//! The ntfy output: messages published as JSON to a topic.
//!
//! ntfy takes 4096 bytes of a message and makes a file of what is longer, and it reads no more than twice that of JSON;
//! so a long message is several. Each has a sequence id made from the delivery's key: where the server knows that
//! (2.16 and later), the same delivery again and an update take the place of what is there; an earlier server shows them
//! as further messages. A 429 of ntfy's says nothing about time.

use async_trait::async_trait;
use event_core::{
    ComponentId, Delivery, DeliveryKey, EventSink, Message, Receipt, Severity, SinkError, Stand,
};
use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::{
    InvalidConfig, Kit, MARK, Wording,
    escape::Escape,
    http::{Answer, Http, Request, below, url},
    split::{fit, json, length, split},
    template::{PLAIN_BODY, Slot, TITLE, Templates, context, urgency},
};

const HINT: &str = "look at the topic's name and at the right to write to it, then replay it";

/// How long a message may be, as JSON writes it: 4096 bytes with room to spare.
const MAX_MESSAGE: usize = 4000;
/// How long a title may be, as JSON writes it.
const MAX_TITLE: usize = 1000;
/// How long a link may be, which stands twice in a message.
const MAX_LINK: usize = 1000;

/// Settings of an ntfy output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server's address.
    pub server: String,
    /// The topic: letters, digits, `_` and `-`, at most 64. On a public server, whoever knows it reads along.
    pub topic: String,
    /// Who publishes.
    pub login: Login,
    /// Other words.
    pub wording: Wording,
}

/// Who publishes.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Anybody.
    #[default]
    None,
    /// The owner of an access token (`tk_…`).
    Token(SecretString),
    /// A user.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// The output.
pub struct Ntfy {
    id: ComponentId,
    kit: Kit,
    http: Http,
    server: Url,
    config: Config,
    templates: Templates,
}

// === impl Config ===

impl Config {
    /// Anybody may write to this topic.
    pub fn new(server: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            topic: topic.into(),
            login: Login::None,
            wording: Wording::default(),
        }
    }
}

// === impl Login ===

impl Login {
    /// What must not stand in any error.
    fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::None => Vec::new(),
            Self::Token(secret) | Self::Password { password: secret, .. } => vec![secret.clone()],
        }
    }
}

// === impl Ntfy ===

impl Ntfy {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let server = url(&id, "server", &config.server)?;
        if !is_topic(&config.topic) {
            let said = "`topic` is none: it takes letters, digits, `_` and `-`, at most 64";
            return Err(InvalidConfig::new(&id, said));
        }
        let slot = |name, own, default| Slot { name, own, default, escape: Escape::None };
        let templates = Templates::try_new(
            &id,
            &[
                slot("title", config.wording.title.as_ref(), TITLE),
                slot("body", config.wording.body.as_ref(), PLAIN_BODY),
            ],
        )?;
        let http = Http::new(&id, "ntfy", kit, config.login.secrets());
        Ok(Self { id, kit: kit.clone(), http, server, config, templates })
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let request = Request::new(method, url);
        match &self.config.login {
            Login::None => request,
            Login::Token(token) => request.bearer(token),
            Login::Password { user, password } => request.basic(user, password),
        }
    }

    fn refused(&self, answer: &Answer) -> SinkError {
        self.http.refused(answer, self.kit.clock.now(), HINT)
    }

    async fn publish(&self, body: &Value) -> Result<String, SinkError> {
        let answer =
            self.http.send(self.request(Method::POST, self.server.clone()).json(body)).await?;
        if !answer.is_good() {
            return Err(self.refused(&answer));
        }
        Ok(answer.json()["id"].as_str().unwrap_or_default().to_owned())
    }
}

#[async_trait]
impl EventSink for Ntfy {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Asks for the server's health, and whether the login is known. Whether it may write to the topic can only be told
    /// by writing.
    async fn check(&self) -> Result<String, SinkError> {
        let health = Request::new(Method::GET, below(&self.server, &["v1", "health"]));
        let answer = self.http.send(health).await?;
        if !answer.is_good() {
            return Err(self.refused(&answer));
        }
        let topic = below(&self.server, &[&self.config.topic, "auth"]);
        let answer = self.http.send(self.request(Method::GET, topic)).await?;
        match answer.status {
            // A login that may write only is told that it may not read.
            200..300 | 403 | 404 => Ok("the server is healthy and takes the login".to_owned()),
            _ => Err(self.refused(&answer)),
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let message = &delivery.message;
        // What takes the place of a message does so where that is, whatever rules say by now.
        let prior = delivery.prior.as_ref().filter(|_| message.stand.edits());
        let topic = prior.and_then(|prior| prior.extra["topic"].as_str());
        let topic = topic.or(message.route.as_deref()).filter(|topic| is_topic(topic));
        let topic = topic.unwrap_or(&self.config.topic);
        let parts = parts(message, &self.templates, &self.kit.instance, topic);
        let sequences: Vec<String> = (0..parts.len())
            .map(|at| {
                let known = prior.and_then(|prior| prior.extra["sequences"][at].as_str());
                let own = || {
                    DeliveryKey::of([delivery.key.as_str(), &at.to_string()]).as_str().to_owned()
                };
                known.map_or_else(own, str::to_owned)
            })
            .collect();
        let so_far = delivery.so_far.as_ref().map_or(&[][..], |receipt| &receipt.ids);
        let extra = json!({ "topic": topic, "sequences": sequences });
        let mut told = Receipt { ids: so_far.to_vec(), extra };
        let numbered = parts.into_iter().zip(&sequences).skip(told.ids.len());
        for (mut part, sequence) in numbered {
            part["sequence_id"] = sequence.as_str().into();
            match self.publish(&part).await {
                Ok(id) => told.ids.push(id),
                Err(error) if told.ids.is_empty() => return Err(error),
                Err(error) => return Err(error.so_far(told)),
            }
        }
        Ok(told)
    }
}

/// Whether it can be the name of a topic.
pub fn is_topic(topic: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    (1..=64).contains(&topic.len()) && topic.bytes().all(plain)
}

/// The bodies of the messages, in order.
fn parts(message: &Message, templates: &Templates, instance: &str, topic: &str) -> Vec<Value> {
    let link = message.link.as_deref();
    let link = link.filter(|link| length(link, json) <= MAX_LINK && link.starts_with("http"));
    let mut context = context(message, instance);
    if link.is_some() {
        // It is what a tap opens, and need not stand in the text.
        context["link"] = Value::Null;
    }
    let (title, whole) = fit(&templates.render("title", &context), MAX_TITLE, json);
    let body = templates.render("body", &context);
    let body = whole.map_or_else(|| body.clone(), |whole| format!("{whole}\n\n{body}"));
    let mut texts = split(&body, MAX_MESSAGE, json);
    if texts.is_empty() {
        // ntfy would say "triggered" for a message without text.
        texts.push(title.clone());
    }
    let count = texts.len();
    let numbered = texts.into_iter().enumerate();
    numbered
        .map(|(at, text)| {
            let title =
                if count == 1 { title.clone() } else { format!("{title} ({}/{count})", at + 1) };
            let mut part = json!({
                "topic": topic,
                "title": title,
                "message": text,
                "priority": if at == 0 { priority(message) } else { 1 },
                "tags": tags(message),
            });
            if let Some(link) = link {
                part["click"] = link.into();
                part["actions"] = json!([{ "action": "view", "label": "Open", "url": link }]);
            }
            part
        })
        .collect()
}

/// From 1, which makes no sound, to 5, which insists.
fn priority(message: &Message) -> u8 {
    if message.silent {
        return 1;
    }
    match urgency(message) {
        _ if message.stand == Stand::Digest => 2,
        Severity::Debug | Severity::Info => 2,
        Severity::Notice | Severity::Warning => 3,
        Severity::Error => 4,
        Severity::Critical => 5,
    }
}

/// The first is shown as a sign, by the short codes that ntfy knows; by the last an input of ours knows it for ours.
fn tags(message: &Message) -> [&str; 3] {
    let sign = match (message.stand, message.severity) {
        (Stand::Resolved, _) => "white_check_mark",
        (Stand::Acknowledged, _) => "eyes",
        (Stand::Digest, _) => "clipboard",
        (Stand::Test, _) => "test_tube",
        (_, Severity::Critical) => "fire",
        (_, Severity::Error) => "x",
        (_, Severity::Warning) => "warning",
        _ => "information_source",
    };
    [sign, message.kind.as_str(), MARK]
}

impl std::fmt::Debug for Ntfy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ntfy").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use event_core::Kind;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_over_does_not_insist() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let of = |stand| {
            let kind = Kind::BackupFailed;
            priority(&Message::new(stand, "i", kind, Severity::Critical, "a backup", now))
        };
        let stands = [Stand::New, Stand::Resolved, Stand::Acknowledged];
        assert_eq!(stands.map(of), [5, 3, 3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_message_is_within_the_limits_and_whole(
            title in r"(\PC|[a-z ]|😀){0,60}",
            words in r#"(\PC|[*"\\ \n]|😀){1,60}"#,
            (times, wide) in (0_usize..300, 1_usize..60),
            link in prop_oneof!["https://[a-z]{1,20}", "https://[a-z]{2100}", r"\PC{0,30}"],
        ) {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let mut message =
                Message::new(Stand::New, "i", Kind::BackupFailed, Severity::Error, title.repeat(wide), now);
            message.text = words.repeat(times);
            message.link = Some(link);
            let config = Config::new("https://ntfy.example", "ops");
            let slot = |name, default| Slot { name, own: None, default, escape: Escape::None };
            let slots = [slot("title", TITLE), slot("body", PLAIN_BODY)];
            let templates = Templates::try_new(&"ops".parse().unwrap(), &slots).unwrap();
            let context = context(&message, "home");
            let parts = parts(&message, &templates, "home", &config.topic);
            let mut whole = String::new();
            for part in &parts {
                let text = part["message"].as_str().unwrap();
                prop_assert!(!text.is_empty() && text.len() <= 4096, "{}", text.len());
                prop_assert!(part.to_string().len() < 2 * 4096 - 100, "{}", part.to_string().len());
                whole.push_str(text);
            }
            whole.push_str(parts[0]["click"].as_str().unwrap_or_default());
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            let (title, body) = (templates.render("title", &context), bare(context["text"].as_str().unwrap()));
            let whole = bare(&whole);
            let has_title = bare(parts[0]["title"].as_str().unwrap()).contains(&bare(&title));
            prop_assert!(has_title || whole.contains(&bare(&title)));
            prop_assert!(whole.contains(&body));
            prop_assert!(whole.contains(&bare(message.link.as_deref().unwrap())));
        }
    }
}
