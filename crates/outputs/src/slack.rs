//! The Slack output: messages of Block Kit, through incoming webhooks or as a bot.
//!
//! A bot edits what it has posted, and what is too long for one message goes on in a thread below it. A webhook is told
//! nothing but "ok", so its updates are further messages. Slack knows no keys: after an answer that was lost, a message
//! may be there twice. Errors of the Web API come with status 200 and `ok: false`; they are sorted by their names.

mod blocks;

use std::collections::BTreeMap;

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Receipt, Retry, SinkError};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    InvalidConfig, Kit, Wording,
    escape::Escape,
    http::{Answer, Http, Request, below, url},
    template::{BODY, Slot, TITLE, Templates, context},
};

const HINT: &str = "look at the webhook, or at the bot's token, scopes and channel, then replay it";

/// Settings of a Slack output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where messages go that no rule sends elsewhere.
    pub place: Place,
    /// Where messages go whose rule names a route.
    pub routes: BTreeMap<String, Place>,
    /// The bot's token (`xoxb-…`), for places that are channels; it needs the scope `chat:write`.
    pub bot_token: Option<SecretString>,
    /// Slack's API, for bots.
    pub api: String,
    /// Other words.
    pub wording: Wording,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Place {
    /// To the channel of an incoming webhook; its address is a secret.
    Webhook(SecretString),
    /// To a channel, by its id, as the bot.
    Channel(String),
}

/// The output.
pub struct Slack {
    id: ComponentId,
    kit: Kit,
    http: Http,
    templates: Templates,
    default: Target,
    routes: BTreeMap<String, Target>,
}

/// A place, checked.
struct Target {
    name: String,
    way: Way,
}

enum Way {
    Webhook(Url),
    Bot { api: Url, token: SecretString, channel: String },
}

// === impl Config ===

impl Config {
    /// Everything goes there.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            routes: BTreeMap::new(),
            bot_token: None,
            api: "https://slack.com/api".to_owned(),
            wording: Wording::default(),
        }
    }

    fn secrets(&self) -> Vec<SecretString> {
        let mut secrets: Vec<SecretString> = self.bot_token.iter().cloned().collect();
        for place in self.routes.values().chain([&self.place]) {
            if let Place::Webhook(url) = place {
                secrets.push(url.clone());
                secrets.push(url.expose_secret().rsplit('/').next().unwrap_or_default().into());
            }
        }
        secrets
    }

    fn target(&self, id: &ComponentId, name: &str, place: &Place) -> Result<Target, InvalidConfig> {
        let way = match place {
            Place::Webhook(address) => {
                Way::Webhook(url(id, "webhook_url", address.expose_secret())?)
            }
            Place::Channel(channel) => {
                let token = self.bot_token.clone().ok_or_else(|| {
                    InvalidConfig::new(id, "a channel needs `bot_token`, or take a webhook")
                })?;
                if channel.is_empty() || !channel.bytes().all(|c| c.is_ascii_alphanumeric()) {
                    let said = "`channel` is no channel's id: it is at the end of the channel's details, such as C0123456789";
                    return Err(InvalidConfig::new(id, said));
                }
                Way::Bot { api: url(id, "api", &self.api)?, token, channel: channel.clone() }
            }
        };
        Ok(Target { name: name.to_owned(), way })
    }
}

// === impl Slack ===

impl Slack {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let default = config.target(&id, "", &config.place)?;
        let routes = config
            .routes
            .iter()
            .map(|(name, place)| Ok((name.clone(), config.target(&id, name, place)?)))
            .collect::<Result<_, InvalidConfig>>()?;
        let http = Http::new(&id, "Slack", kit, config.secrets());
        let Wording { title, body, .. } = config.wording;
        let slots = [
            // A heading is plain; what notifications show is read as markup.
            Slot { name: "title", own: title.as_ref(), default: TITLE, escape: Escape::None },
            Slot {
                name: "notification",
                own: title.as_ref(),
                default: TITLE,
                escape: Escape::Slack,
            },
            Slot { name: "body", own: body.as_ref(), default: BODY, escape: Escape::Slack },
        ];
        let templates = Templates::try_new(&id, &slots)?;
        Ok(Self { id, kit: kit.clone(), http, templates, default, routes })
    }

    fn target(&self, route: Option<&str>) -> &Target {
        let Some(route) = route else { return &self.default };
        self.routes.get(route).unwrap_or_else(|| {
            tracing::warn!(sink = %self.id, route, "the output has no such route; told in its own place");
            &self.default
        })
    }

    /// Where a message is that was told before: there it is edited, whatever rules say by now.
    fn target_of(&self, receipt: &Receipt) -> Option<&Target> {
        match receipt.extra["place"].as_str()? {
            "" => Some(&self.default),
            route => self.routes.get(route),
        }
    }

    /// Posts to a webhook.
    async fn post(&self, url: &Url, body: &Value) -> Result<Answer, SinkError> {
        let answer = self.http.send(Request::new(Method::POST, url.clone()).json(body)).await?;
        if answer.is_good() {
            return Ok(answer);
        }
        Err(self.http.refused(&answer, self.kit.clock.now(), HINT))
    }

    /// Calls the Web API. Gives what it answered, or the name of its error; anything else than an answer of the API is
    /// an error of its own.
    async fn call(
        &self,
        (api, token): (&Url, &SecretString),
        method: &str,
        body: &Value,
    ) -> Result<Result<Value, String>, SinkError> {
        let request = Request::new(Method::POST, below(api, &[method])).bearer(token);
        let request = request.text("application/json; charset=utf-8", body.to_string());
        let answer = self.http.send(request).await?;
        if !answer.is_good() {
            return Err(self.http.refused(&answer, self.kit.clock.now(), HINT));
        }
        let json = answer.json();
        match (json["ok"].as_bool(), json["error"].as_str()) {
            (Some(true), _) => Ok(Ok(json)),
            (_, Some(name)) => Ok(Err(name.to_owned())),
            _ => Err(self
                .http
                .error(Retry::Backoff, "the answer is not one of Slack's")
                .maybe_sent()),
        }
    }

    /// The error for what the Web API refused.
    fn refused(&self, name: &str) -> SinkError {
        let said = self.http.excerpt(name);
        match sort_error(name) {
            Retry::Never => {
                let said = format!("Slack refuses it{said}; it is not tried again: {HINT}");
                self.http.error(Retry::Never, &said)
            }
            retry => self.http.error(retry, &format!("Slack cannot take it now{said}")),
        }
    }

    /// Edits a message, or says that it is not there or cannot be edited any more.
    async fn edit(
        &self,
        bot: (&Url, &SecretString),
        channel: &str,
        ts: &str,
        body: &Value,
    ) -> Result<bool, SinkError> {
        let mut body = body.clone();
        body["channel"] = channel.into();
        body["ts"] = ts.into();
        match self.call(bot, "chat.update", &body).await? {
            Ok(_) => Ok(true),
            Err(name) if is_beyond_edit(&name) => Ok(false),
            Err(name) => Err(self.refused(&name)),
        }
    }

    async fn delete(&self, bot: (&Url, &SecretString), channel: &str, ts: &str) {
        let body = json!({ "channel": channel, "ts": ts });
        let problem = match self.call(bot, "chat.delete", &body).await {
            Ok(Ok(_)) => return,
            Ok(Err(name)) => self.refused(&name),
            Err(error) => error,
        };
        tracing::warn!(sink = %self.id, error = %stdx::Chain(&problem), "an outdated message stays");
    }

    /// Tells one part, and keeps in the receipt what Slack said.
    async fn tell(
        &self,
        target: &Target,
        delivery: &Delivery,
        body: &Value,
        prior: Option<&str>,
        told: &mut Receipt,
    ) -> Result<(), SinkError> {
        let (api, token, channel) = match &target.way {
            Way::Webhook(url) => {
                self.post(url, body).await?;
                // Webhooks do not name what they posted; the key stands for it.
                told.ids.push(delivery.key.as_str().to_owned());
                return Ok(());
            }
            Way::Bot { api, token, channel } => (api, token, channel),
        };
        let bot = (api, token);
        if let (Some(ts), Some(channel)) = (prior, told.extra["channel"].as_str())
            && self.edit(bot, channel, ts, body).await?
        {
            told.ids.push(ts.to_owned());
            return Ok(());
        }
        let mut body = body.clone();
        body["channel"] = channel.as_str().into();
        body["metadata"] = json!({
            "event_type": "proxmox_mcp",
            "event_payload": { "key": delivery.key.as_str(), "instance": self.kit.instance },
        });
        if let Some(first) = told.ids.first() {
            body["thread_ts"] = first.as_str().into();
        }
        let answer = match self.call(bot, "chat.postMessage", &body).await? {
            Ok(answer) => answer,
            Err(name) => return Err(self.refused(&name)),
        };
        // Edits want the channel as Slack names it.
        told.extra["channel"] = answer["channel"].clone();
        told.ids.push(answer["ts"].as_str().unwrap_or_default().to_owned());
        Ok(())
    }

    async fn check_target(&self, target: &Target) -> Result<String, SinkError> {
        match &target.way {
            Way::Webhook(url) => {
                let request = Request::new(Method::POST, url.clone()).json(&json!({}));
                let answer = self.http.send(request).await?;
                match answer.body.trim() {
                    "no_text" | "invalid_payload" | "missing_text_or_fallback_or_attachments" => {
                        Ok("a webhook".to_owned())
                    }
                    _ => Err(self.http.refused(&answer, self.kit.clock.now(), HINT)),
                }
            }
            Way::Bot { api, token, .. } => {
                match self.call((api, token), "auth.test", &json!({})).await? {
                    Ok(answer) => {
                        let user = answer["user"].as_str().unwrap_or("a bot");
                        Ok(format!("the bot {}", stdx::untrusted::word(user, 80)))
                    }
                    Err(name) => Err(self.refused(&name)),
                }
            }
        }
    }
}

#[async_trait]
impl EventSink for Slack {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Asks who the bot is; a webhook is sent a message without text, which it refuses.
    async fn check(&self) -> Result<String, SinkError> {
        let mut found = vec![self.check_target(&self.default).await?];
        for target in self.routes.values() {
            found.push(self.check_target(target).await?);
        }
        Ok(format!("Slack knows {}", found.join(", ")))
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let message = &delivery.message;
        let prior = delivery.prior.as_ref().filter(|_| message.stand.edits());
        let target = prior
            .and_then(|receipt| self.target_of(receipt))
            .unwrap_or_else(|| self.target(message.route.as_deref()));
        let here = |receipt: &&Receipt| receipt.extra["place"] == target.name.as_str();
        let prior = prior.filter(here);
        let so_far = delivery.so_far.as_ref().filter(here);
        let mut told = Receipt { ids: Vec::new(), extra: json!({ "place": target.name }) };
        if let Some(known) = so_far.or(prior) {
            told.extra = known.extra.clone();
        }
        if let Some(so_far) = so_far {
            told.ids.clone_from(&so_far.ids);
        }
        let context = context(message, &self.kit.instance);
        let words = blocks::Words {
            title: self.templates.render("title", &context),
            notification: self.templates.render("notification", &context),
            body: self.templates.render("body", &context),
        };
        let parts = blocks::messages(message, &self.kit.instance, &words);
        let prior = prior.map_or(&[][..], |receipt| &receipt.ids);
        for (number, part) in parts.iter().enumerate().skip(told.ids.len()) {
            let prior = prior.get(number).map(String::as_str);
            if let Err(error) = self.tell(target, delivery, part, prior, &mut told).await {
                let is_begun = !told.ids.is_empty();
                return Err(if is_begun { error.so_far(told) } else { error });
            }
        }
        if let (Way::Bot { api, token, .. }, Some(channel)) =
            (&target.way, told.extra["channel"].as_str())
        {
            for left_over in prior.iter().skip(parts.len()) {
                self.delete((api, token), channel, left_over).await;
            }
        }
        Ok(told)
    }
}

/// Whether trying again can help, by the name of the Web API's error.
fn sort_error(name: &str) -> Retry {
    match name {
        "ratelimited"
        | "rate_limited"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        | "accesslimited" => Retry::Backoff,
        _ => Retry::Never,
    }
}

/// Whether it says that a message is not there, or cannot be edited any more.
fn is_beyond_edit(name: &str) -> bool {
    matches!(
        name,
        "message_not_found" | "cant_update_message" | "edit_window_closed" | "channel_not_found"
    )
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack").field("id", &self.id).finish_non_exhaustive()
    }
}
