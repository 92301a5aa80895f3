//! The Discord input: hears what is posted in some channels, and what mentions the bot.
//!
//! The gateway tells what is posted while somebody listens. What was posted meanwhile is read from the list of each
//! channel, down to the last number that is known: first the gateway, then the lists, so that nothing comes between
//! them. See ADR 0010.
//!
//! *Invariant:* a message of a channel is told once per run, and its number is kept with it. *Invariant:* memory is
//! bounded: a page of a list, a queue, and the numbers of the last messages. *Invariant:* what our own outputs posted,
//! what this bot wrote and what another manager posted is dropped and counted.

mod gateway;
mod places;
mod rest;
pub(crate) mod session;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::stream::BoxStream;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::http::HttpOptions;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

pub use gateway::{Gateway, Heard};

use crate::{
    Echo, Identity, Origin,
    channel::{self, Teller},
    discord::{gateway::Live, places::Places, rest::Rest},
    recognize::discord::{Posted, posted},
    remote::Stop,
};

/// The kind of input that its events name.
pub const KIND: &str = "discord";

/// What waits between the gateway, the reader and the log, in messages and in events.
const QUEUE: usize = 64;
/// The most channels: each is asked for by itself whenever it is listened anew.
const MAX_CHANNELS: usize = 100;
/// Messages of servers, and what they hold.
const GUILD_MESSAGES: u64 = 1 << 9;
const MESSAGE_CONTENT: u64 = 1 << 15;

/// Settings of the Discord input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bot's token.
    pub token: SecretString,
    /// The numbers of the channels and threads that are heard.
    pub channels: BTreeSet<u64>,
    /// Whether messages are heard that mention the bot, in whatever channel.
    pub mentions: bool,
    /// The numbers of the users, bots and webhooks that are heard; all if there are none.
    pub authors: BTreeSet<u64>,
    /// Discord's API.
    pub api: String,
    /// How Discord is reached, and how it proves itself.
    pub http: HttpOptions,
    /// Whose messages they are.
    pub identity: Identity,
    /// What our own outputs sent.
    pub echo: Echo,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Discord {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    rest: Arc<Rest>,
    gateway: Arc<dyn Gateway>,
}

// === impl Config ===

impl Config {
    /// Hears these channels, and what mentions the bot, as nobody's.
    pub fn new(token: SecretString, channels: impl IntoIterator<Item = u64>) -> Self {
        Self {
            token,
            channels: channels.into_iter().collect(),
            mentions: true,
            authors: BTreeSet::new(),
            api: "https://discord.com/api/v10".to_owned(),
            http: HttpOptions::default(),
            identity: Identity::default(),
            echo: Echo::default(),
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let token = self.token.expose_secret();
        if token.is_empty() || token.contains(char::is_whitespace) {
            let message = "`token` is no bot's: it has no blanks in it, and no word before it";
            return Err(InvalidConfig(message.to_owned()));
        }
        if self.channels.is_empty() && !self.mentions {
            let message = "there is nothing to hear: name `channels`, or let `mentions` be heard";
            return Err(InvalidConfig(message.to_owned()));
        }
        if self.channels.len() > MAX_CHANNELS {
            let message = format!("there are more than {MAX_CHANNELS} channels: split them");
            return Err(InvalidConfig(message));
        }
        Ok(())
    }

    /// What is asked of Discord: what messages hold is shown to whoever is mentioned in them, without more rights.
    fn intents(&self) -> u64 {
        let content = if self.channels.is_empty() { 0 } else { MESSAGE_CONTENT };
        GUILD_MESSAGES | content
    }
}

// === impl Discord ===

impl Discord {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        Self::with(id, config, |config, rest| {
            Arc::new(Live {
                rest: Arc::clone(rest),
                options: config.http.clone(),
                token: config.token.clone(),
                intents: config.intents(),
            })
        })
    }

    /// The same, with another gateway than Discord's own: a library's, or one of a test.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn with_gateway(
        id: ComponentId,
        config: Config,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, InvalidConfig> {
        Self::with(id, config, |_, _| gateway)
    }

    fn with(
        id: ComponentId,
        config: Config,
        gateway: impl FnOnce(&Config, &Arc<Rest>) -> Arc<dyn Gateway>,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        let rest = Rest::try_new(&config.api, config.http.clone(), &config.token);
        let rest = Arc::new(rest.map_err(InvalidConfig)?);
        let gateway = gateway(&config, &rest);
        Ok(Self { shared: Arc::new(Shared { id, config, rest, gateway }) })
    }
}

#[async_trait]
impl EventSource for Discord {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    /// Logs in and looks at each channel, without beginning a session: of those there is a number a day.
    async fn check(&self) -> Result<String, SourceError> {
        let Shared { config, rest, .. } = &*self.shared;
        let entrance = rest.entrance().await?;
        if !config.channels.is_empty() && !rest.sees_content().await? {
            let message = "read what messages hold: the bot may not; switch on Message Content \
                           Intent on its page (Bot, Privileged Gateway Intents)";
            return Err(SourceError::new(SourceErrorKind::Settings, message));
        }
        let mut names = Vec::new();
        for channel in &config.channels {
            let name = rest.channel(*channel).await?.name;
            names.push(stdx::untrusted::word(&name, 80).into_owned());
        }
        let mut hears = names.join(", ");
        if config.mentions {
            hears.push_str(if names.is_empty() { "" } else { " and " });
            hears.push_str("what mentions the bot");
        }
        Ok(format!(
            "hears {hears}; {} of {} sessions are left today",
            entrance.left, entrance.total
        ))
    }

    fn run(
        &self,
        cx: RunContext,
        resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let shared = Arc::clone(&self.shared);
        channel::hear(cx, QUEUE, resume, async move |cx, teller, resume| {
            shared.hear(cx, teller, resume).await
        })
    }
}

// === impl Shared ===

impl Shared {
    async fn hear(
        &self,
        cx: RunContext,
        teller: Teller,
        resume: Option<Cursor>,
    ) -> Result<(), Stop> {
        teller.say(Signal::SyncStarted).await?;
        let mut places = resume.as_ref().map(Places::read).unwrap_or_default();
        places.keep_only(&self.config.channels);
        for channel in &self.config.channels {
            let found = self.rest.channel(*channel).await?;
            // What was posted before we first looked is history of others.
            places.enter(*channel, found.guild, found.last);
        }
        let (sender, mut heard) = mpsc::channel(QUEUE);
        let gateway = Arc::clone(&self.gateway);
        let listening =
            AbortOnDropHandle::new(tokio::spawn(async move { gateway.listen(sender).await }));
        let mut me = None;
        while let Some(news) = heard.recv().await {
            match news {
                Heard::Begun(user) => {
                    if me.is_none() {
                        teller.say(Signal::SyncFinished(places.cursor())).await?;
                    }
                    me = Some(user);
                    for channel in &self.config.channels {
                        self.catch_up((&cx, &teller), user, *channel, &mut places).await?;
                    }
                }
                Heard::Message(message) => match (posted(*message), me) {
                    (Some(message), Some(me)) => {
                        self.tell((&cx, &teller), me, message, &mut places).await?;
                    }
                    _ => debug!(source = %self.id, "discord sent a message that is none"),
                },
            }
        }
        match listening.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Stop::Failed(error)),
            Err(error) => {
                let message = "go on hearing Discord: what listens broke off";
                let failed = SourceError::new(SourceErrorKind::Unavailable, message);
                Err(Stop::Failed(failed.because(error)))
            }
        }
    }

    /// Tells what was posted in a channel behind the last message that is known.
    async fn catch_up(
        &self,
        to: (&RunContext, &Teller),
        me: u64,
        channel: u64,
        places: &mut Places,
    ) -> Result<(), Stop> {
        loop {
            let (page, has_more) = self.rest.after(channel, places.last(channel)).await?;
            for message in page {
                self.tell(to, me, message, places).await?;
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    async fn tell(
        &self,
        (cx, teller): (&RunContext, &Teller),
        me: u64,
        mut message: Posted,
        places: &mut Places,
    ) -> Result<(), Stop> {
        let is_new = places.reach(message.channel, message.id);
        if !is_new || !self.is_heard(&message, me) {
            return Ok(());
        }
        message.guild = message.guild.or_else(|| places.guild(message.channel));
        let origin = Origin::new(&self.id, KIND, &self.config.identity, cx.now());
        teller.keep(message.events(&origin), Some(places.cursor())).await?;
        Ok(())
    }

    /// Whether the settings want it, and it is not our own.
    fn is_heard(&self, message: &Posted, me: u64) -> bool {
        let Config { channels, authors, mentions, echo, .. } = &self.config;
        let is_wanted =
            channels.contains(&message.channel) || (*mentions && message.mentions.contains(&me));
        let writers = [message.author, message.webhook];
        let is_known = || writers.iter().flatten().any(|writer| authors.contains(writer));
        if !message.is_written || !is_wanted || !(authors.is_empty() || is_known()) {
            return false;
        }
        let marks = [("author", message.author), ("webhook", message.webhook)];
        let marks = marks.map(|(name, number)| number.map(|number| format!("{name}:{number}")));
        let is_marked = message.is_marked || message.author == Some(me);
        !echo.is_ours(is_marked, marks.iter().flatten().map(String::as_str))
    }
}
