//! The Discord output: messages of embeds, through webhooks or as a bot.
//!
//! What is too long for one embed or one message becomes several, by the limits of Discord's API. Progress and
//! resolution edit the messages that are there; a bot's messages carry a nonce, so that the same delivery again is the
//! same message again. Webhooks have no such thing: after an answer that was lost a message may be there twice.
//! Rate limits are those that Discord's answers announce, for each place and method; short ones are waited out, longer
//! ones given to whoever delivers. A webhook or token that Discord does not know is not used again, since ten thousand
//! refused requests close the door for the whole address. See ADR 0009.
//!
//! *Invariant:* no message mentions anybody: `allowed_mentions` is empty in all of them.

mod config;
mod layout;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, DeliveryKey, EventSink, Receipt, Retry, SinkError};
use http::Method;
use serde_json::{Value, json};
use stdx::http::limits::{Buckets, retry_after_429};

pub use config::{Config, Place};

use crate::{
    InvalidConfig, Kit,
    discord::config::Target,
    escape::Escape,
    http::{Answer, Http, Request, sort},
    template::{BODY, Slot, TITLE, Templates, context},
};

const HINT: &str = "look at the webhook, or at the bot's token and rights, then replay it";

/// Discord's word for a message that is not there.
const UNKNOWN_MESSAGE: u64 = 10_008;
/// A message that makes no sound.
const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;

/// The output.
pub struct Discord {
    id: ComponentId,
    kit: Kit,
    http: Http,
    config: Config,
    templates: Templates,
    default: Line,
    routes: BTreeMap<String, Line>,
    buckets: Buckets,
}

/// A place with what is known about it.
struct Line {
    target: Target,
    /// Discord does not know it, or not us.
    is_gone: AtomicBool,
}

/// What to do with one part.
struct Step<'a> {
    line: &'a Line,
    method: Method,
    message: Option<&'a str>,
    body: Option<Value>,
}

// === impl Discord ===

impl Discord {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let line = |name: &str, place| {
            let target = Target::try_new(&id, name, place, &config)?;
            Ok::<_, InvalidConfig>(Line { target, is_gone: AtomicBool::new(false) })
        };
        let default = line("", &config.place)?;
        let routes = config
            .routes
            .iter()
            .map(|(name, place)| Ok((name.clone(), line(name, place)?)))
            .collect::<Result<_, InvalidConfig>>()?;
        let slot = |name, own, default| Slot { name, own, default, escape: Escape::Markdown };
        let templates = Templates::try_new(
            &id,
            &[
                slot("title", config.wording.title.as_ref(), TITLE),
                slot("body", config.wording.body.as_ref(), BODY),
            ],
        )?;
        let http = Http::new(&id, "Discord", kit, config.secrets());
        let buckets = Buckets::default();
        Ok(Self { id, kit: kit.clone(), http, config, templates, default, routes, buckets })
    }

    /// Where a message goes: to the route that its rule names, or where everything goes.
    fn line(&self, route: Option<&str>) -> &Line {
        let Some(route) = route else { return &self.default };
        self.routes.get(route).unwrap_or_else(|| {
            tracing::warn!(sink = %self.id, route, "the output has no such route; told in its own place");
            &self.default
        })
    }

    /// Where a message is that was told before: there it is edited, whatever rules say by now.
    fn line_of(&self, receipt: &Receipt) -> Option<&Line> {
        match receipt.extra["place"].as_str()? {
            "" => Some(&self.default),
            route => self.routes.get(route),
        }
    }

    /// One request, when its bucket has room.
    async fn send(&self, step: &Step<'_>) -> Result<Answer, SinkError> {
        let Step { line, method, message, body } = step;
        if line.is_gone.load(Ordering::Relaxed) {
            let said = "Discord does not know this webhook or bot any more; nothing is sent to it \
                        until the settings are read anew";
            return Err(self.http.error(Retry::Never, said));
        }
        let name = line.target.name();
        if let Err(pause) = self.buckets.room(name, method).await {
            let said = format!("Discord asks for a pause of {} s", pause.as_secs());
            return Err(self.http.error(Retry::After(pause), &said));
        }
        let url = line.target.url(method, *message);
        let mut request = Request::new(method.clone(), url);
        if let Some(token) = line.target.token() {
            request = request.secret("authorization", &token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.http.send(request).await?;
        self.buckets.heard(name, method, answer.status, &answer.headers, &answer.body);
        Ok(answer)
    }

    /// The error for an answer that is no success.
    fn refused(&self, line: &Line, answer: &Answer) -> SinkError {
        let is_unknown = answer.status == 404 && code(answer) != Some(UNKNOWN_MESSAGE);
        if answer.status == 401 || is_unknown {
            line.is_gone.store(true, Ordering::Relaxed);
        }
        if answer.status == 429 {
            let now = self.kit.clock.now();
            let after = retry_after_429(&answer.headers, &answer.body, now);
            return self.http.error(sort(429, after), "Discord asks for a pause (429)");
        }
        self.http.refused(answer, self.kit.clock.now(), HINT)
    }

    /// Edits the message if there is one, or posts it. Gives Discord's name of it.
    async fn tell(
        &self,
        line: &Line,
        prior: Option<&str>,
        body: &Value,
        nonce: &str,
        is_silent: bool,
    ) -> Result<String, SinkError> {
        if let Some(message) = prior {
            let body = Some(body.clone());
            let step = Step { line, method: Method::PATCH, message: Some(message), body };
            let answer = self.send(&step).await?;
            if answer.is_good() {
                return Ok(message.to_owned());
            }
            // Somebody has deleted it: people who want to know are told anew.
            if !(answer.status == 404 && code(&answer) == Some(UNKNOWN_MESSAGE)) {
                return Err(self.refused(line, &answer));
            }
        }
        let mut body = body.clone();
        if is_silent {
            body["flags"] = SUPPRESS_NOTIFICATIONS.into();
        }
        if line.target.token().is_some() {
            body["nonce"] = nonce.into();
            body["enforce_nonce"] = true.into();
        } else if let Some(name) = &self.config.username {
            body["username"] = name.as_str().into();
        }
        let step = Step { line, method: Method::POST, message: None, body: Some(body) };
        let answer = self.send(&step).await?;
        if !answer.is_good() {
            return Err(self.refused(line, &answer));
        }
        answer.json()["id"].as_str().map(str::to_owned).ok_or_else(|| {
            let said = "Discord took it but did not name it";
            self.http.error(Retry::Backoff, said).maybe_sent()
        })
    }

    /// Deletes what an edit has left over. What stays is no reason to tell everything again.
    async fn delete(&self, line: &Line, message: &str) {
        let step = Step { line, method: Method::DELETE, message: Some(message), body: None };
        let problem = match self.send(&step).await {
            Ok(answer) if answer.is_good() || answer.status == 404 => return,
            Ok(answer) => self.refused(line, &answer),
            Err(error) => error,
        };
        tracing::warn!(sink = %self.id, error = %stdx::Chain(&problem), "an outdated message stays");
    }

    async fn check_line(&self, line: &Line) -> Result<String, SinkError> {
        line.is_gone.store(false, Ordering::Relaxed);
        let mut request = Request::new(Method::GET, line.target.about());
        if let Some(token) = line.target.token() {
            request = request.secret("authorization", &token);
        }
        let answer = self.http.send(request).await?;
        if !answer.is_good() {
            return Err(self.refused(line, &answer));
        }
        let name = answer.json()["name"].as_str().unwrap_or("without a name").to_owned();
        let what = if line.target.token().is_some() { "channel" } else { "webhook" };
        Ok(format!("{what} {}", stdx::untrusted::word(&name, 80)))
    }
}

#[async_trait]
impl EventSink for Discord {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Asks Discord for each webhook and channel by itself, which tells nobody anything.
    async fn check(&self) -> Result<String, SinkError> {
        let mut found = vec![self.check_line(&self.default).await?];
        for line in self.routes.values() {
            found.push(self.check_line(line).await?);
        }
        Ok(format!("Discord knows {}", found.join(", ")))
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let message = &delivery.message;
        let prior = delivery.prior.as_ref().filter(|_| message.stand.edits());
        let line = prior
            .and_then(|receipt| self.line_of(receipt))
            .unwrap_or_else(|| self.line(message.route.as_deref()));
        let extra = json!({ "place": line.target.name() });
        // What was told in a place that the settings have no more cannot be edited from this one.
        let here = |receipt: &&Receipt| receipt.extra == extra;
        let prior = prior.filter(here).map_or(&[][..], |receipt| &receipt.ids);
        let mut told = Receipt { ids: Vec::new(), extra: extra.clone() };
        if let Some(so_far) = delivery.so_far.as_ref().filter(here) {
            told.ids.clone_from(&so_far.ids);
        }
        let context = context(message, &self.kit.instance);
        let title = self.templates.render("title", &context);
        let body = self.templates.render("body", &context);
        let parts = layout::messages(message, &self.kit.instance, &title, &body);
        for (number, part) in parts.iter().enumerate().skip(told.ids.len()) {
            let prior = prior.get(number).map(String::as_str);
            let nonce = DeliveryKey::of([delivery.key.as_str(), &number.to_string()]);
            match self.tell(line, prior, part, nonce.short(), message.silent).await {
                Ok(id) => told.ids.push(id),
                Err(error) if told.ids.is_empty() => return Err(error),
                Err(error) => return Err(error.so_far(told)),
            }
        }
        for left_over in prior.iter().skip(parts.len()) {
            self.delete(line, left_over).await;
        }
        Ok(told)
    }
}

/// Discord's number for what is wrong.
fn code(answer: &Answer) -> Option<u64> {
    answer.json()["code"].as_u64()
}

impl std::fmt::Debug for Discord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discord").field("id", &self.id).finish_non_exhaustive()
    }
}
