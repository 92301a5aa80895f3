//! Settings of a Discord output: where messages go, and as whom.

use std::collections::BTreeMap;

use event_core::ComponentId;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{
    InvalidConfig, Wording,
    http::{below, url},
};

/// Settings of a Discord output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where messages go that no rule sends elsewhere.
    pub place: Place,
    /// Where messages go whose rule names a route.
    pub routes: BTreeMap<String, Place>,
    /// The bot's token, for places that are channels.
    pub bot_token: Option<SecretString>,
    /// What webhooks call themselves; without it, as they were named when they were made.
    pub username: Option<String>,
    /// Discord's API, for bots.
    pub api: String,
    /// Other words.
    pub wording: Wording,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Place {
    /// To the channel of a webhook.
    Webhook {
        /// The webhook's address, which is a secret.
        url: SecretString,
        /// A thread of the channel, by its id.
        thread: Option<String>,
    },
    /// To a channel or thread, by its id, as the bot.
    Channel(String),
}

/// A place, checked.
pub(super) struct Target {
    name: String,
    way: Way,
}

enum Way {
    Webhook { url: Url, thread: Option<String> },
    Channel { url: Url, token: SecretString },
}

// === impl Config ===

impl Config {
    /// Everything goes there.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            routes: BTreeMap::new(),
            bot_token: None,
            username: None,
            api: "https://discord.com/api/v10".to_owned(),
            wording: Wording::default(),
        }
    }

    /// The numbers of its webhooks, by which an input knows what was posted through them.
    pub fn webhooks(&self) -> Vec<String> {
        let number = |place: &Place| {
            let Place::Webhook { url, .. } = place else { return None };
            let (_, rest) = url.expose_secret().split_once("/webhooks/")?;
            let number = rest.split('/').next()?;
            number.bytes().all(|c| c.is_ascii_digit()).then(|| number.to_owned())
        };
        self.routes.values().chain([&self.place]).filter_map(number).collect()
    }

    /// What must not stand in any error: tokens, and the addresses of webhooks with the tokens in them.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let mut secrets: Vec<SecretString> = self.bot_token.iter().cloned().collect();
        for place in self.routes.values().chain([&self.place]) {
            if let Place::Webhook { url, .. } = place {
                secrets.push(url.clone());
                let token = url.expose_secret().rsplit('/').next().unwrap_or_default();
                secrets.push(token.split('?').next().unwrap_or_default().into());
            }
        }
        secrets
    }
}

// === impl Target ===

impl Target {
    pub(super) fn try_new(
        output: &ComponentId,
        name: &str,
        place: &Place,
        config: &Config,
    ) -> Result<Self, InvalidConfig> {
        let id = |id: &str| {
            let is_id = !id.is_empty() && id.len() <= 20 && id.bytes().all(|c| c.is_ascii_digit());
            if is_id {
                return Ok(id.to_owned());
            }
            let shown: String = id.chars().take(40).collect();
            let said = format!(
                "`{shown}` is no id of a channel or thread: copy it in Discord, it has digits only"
            );
            Err(InvalidConfig::new(output, said))
        };
        let way = match place {
            Place::Webhook { url: address, thread } => {
                let url = url(output, "webhook_url", address.expose_secret())?;
                if !url.path().contains("/webhooks/") {
                    let said = "`webhook_url` is no webhook's: it has /api/webhooks/… in it";
                    return Err(InvalidConfig::new(output, said));
                }
                let thread = thread.as_deref().map(id).transpose()?;
                Way::Webhook { url, thread }
            }
            Place::Channel(channel) => {
                let token = config.bot_token.clone().ok_or_else(|| {
                    InvalidConfig::new(output, "a channel needs `bot_token`, or take a webhook")
                })?;
                let api = url(output, "api", &config.api)?;
                Way::Channel { url: below(&api, &["channels", &id(channel)?]), token }
            }
        };
        Ok(Self { name: name.to_owned(), way })
    }

    /// The route's name; empty for the place of everything else.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What stands in `Authorization`, for a bot.
    pub(super) fn token(&self) -> Option<String> {
        match &self.way {
            Way::Webhook { .. } => None,
            Way::Channel { token, .. } => Some(format!("Bot {}", token.expose_secret())),
        }
    }

    /// Where the place itself can be looked at.
    pub(super) fn about(&self) -> Url {
        let (Way::Webhook { url, .. } | Way::Channel { url, .. }) = &self.way;
        url.clone()
    }

    /// Where a message is posted, or where one is.
    pub(super) fn url(&self, method: &Method, message: Option<&str>) -> Url {
        match &self.way {
            Way::Channel { url, .. } => match message {
                Some(message) => below(url, &["messages", message]),
                None => below(url, &["messages"]),
            },
            Way::Webhook { url, thread } => {
                let mut url = match message {
                    Some(message) => below(url, &["messages", message]),
                    None => url.clone(),
                };
                if method == Method::POST {
                    // Without it Discord answers before it has kept the message, and does not name it.
                    url.query_pairs_mut().append_pair("wait", "true");
                }
                if let Some(thread) = thread {
                    url.query_pairs_mut().append_pair("thread_id", thread);
                }
                url
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_are_known_by_their_numbers() {
        let webhook = |url: &str| Place::Webhook { url: url.into(), thread: None };
        let mut config = Config::new(webhook("https://discord.com/api/webhooks/111/planted"));
        config.routes = BTreeMap::from([
            ("a".to_owned(), webhook("https://discord.com/api/v10/webhooks/222/planted?x=1")),
            ("b".to_owned(), Place::Channel("333".to_owned())),
            ("c".to_owned(), webhook("https://discord.com/api/webhooks/planted")),
        ]);
        assert_eq!(config.webhooks(), ["222", "111"]);
    }
}
