//! `[output.<name>]`: into the settings of the sinks, and what the rules have to know of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_core::ComponentId;
use outputs::deliver::Pace;
use outputs::{
    Kit, Wording, discord, email, gotify, heartbeat, ntfy, slack, stdout, syslog, webhook,
};
use rules::{Limit, OutputConfig, Places};
use secrecy::SecretString;
use stdx::http::HttpOptions;
use stdx::tls::{TlsOptions, TlsPolicy};
use stdx::{Chain, SystemClock};

use super::client::Around;
use super::fields::Fields;
use crate::keys::did_you_mean;
use crate::layers::Merged;
use crate::load::Loader;

/// The settings of one output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutputSettings {
    /// What it is, with the settings of its own.
    pub channel: OutputChannel,
    /// How its server is reached, where that is done over HTTP.
    pub http: HttpOptions,
    /// How long a message is tried, and from when on an output counts as down.
    pub pace: Pace,
    /// The output that is told when this one is down.
    pub fallback: Option<ComponentId>,
}

/// What an output is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutputChannel {
    /// A channel of Discord.
    Discord(Box<discord::Config>),
    /// A Gotify server.
    Gotify(Box<gotify::Config>),
    /// A topic of ntfy.
    Ntfy(Box<ntfy::Config>),
    /// Mail.
    Email(Box<email::Config>),
    /// A channel of Slack.
    Slack(Box<slack::Config>),
    /// Any address.
    Webhook(Box<webhook::Config>),
    /// A receiver of syslog.
    Syslog(Box<syslog::Config>),
    /// The manager's standard output.
    Stdout(Box<stdout::Config>),
    /// Calls an address while all is well. No sink: it carries no messages, and no rule knows it.
    Heartbeat(Box<heartbeat::Config>),
}

/// The keys of an output that carries messages.
const OF_MESSAGES: [&str; 9] = [
    "quiet_hours",
    "digest",
    "flood",
    "flood_secs",
    "fallback",
    "fallback_secs",
    "give_up_secs",
    "title_file",
    "body_file",
];

// === impl OutputSettings ===

impl OutputSettings {
    /// What kind of output it is, as the settings name it.
    pub fn kind(&self) -> &'static str {
        match self.channel {
            OutputChannel::Discord(_) => "discord",
            OutputChannel::Gotify(_) => "gotify",
            OutputChannel::Ntfy(_) => "ntfy",
            OutputChannel::Email(_) => "email",
            OutputChannel::Slack(_) => "slack",
            OutputChannel::Webhook(_) => "webhook",
            OutputChannel::Syslog(_) => "syslog",
            OutputChannel::Stdout(_) => "stdout",
            OutputChannel::Heartbeat(_) => "heartbeat",
        }
    }
}

// === impl OutputChannel ===

impl OutputChannel {
    /// What its sink would refuse; each is made once and let go.
    fn check(&self, id: &ComponentId, kit: &Kit) -> Result<(), outputs::InvalidConfig> {
        let id = id.clone();
        match self.clone() {
            Self::Discord(config) => discord::Discord::try_new(id, *config, kit).map(drop),
            Self::Gotify(config) => gotify::Gotify::try_new(id, *config, kit).map(drop),
            Self::Ntfy(config) => ntfy::Ntfy::try_new(id, *config, kit).map(drop),
            Self::Email(config) => email::Email::try_new(id, *config, kit).map(drop),
            Self::Slack(config) => slack::Slack::try_new(id, *config, kit).map(drop),
            Self::Webhook(config) => webhook::Webhook::try_new(id, *config, kit).map(drop),
            Self::Syslog(config) => syslog::Syslog::try_new(id, *config, kit).map(drop),
            Self::Stdout(config) => {
                stdout::Stdout::try_new(id, *config, kit, Vec::<u8>::new()).map(drop)
            }
            Self::Heartbeat(config) => heartbeat::Heartbeat::try_new(id, &config, kit).map(drop),
        }
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// Every output; those without errors. What the rules have to know goes into `told`, for those
    /// with errors as well, so that no rule is blamed for naming them.
    pub(super) fn outputs(
        &mut self,
        merged: &Merged,
        around: &Around<'_>,
        told: &mut BTreeMap<String, OutputConfig>,
    ) -> Vec<(ComponentId, OutputSettings)> {
        let tables = merged.tables("output");
        if tables.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> =
            tables.into_keys().filter(|name| carries_messages(merged, name)).collect();
        // Nothing is connected to, so no certificate has to be believed.
        let tls = TlsOptions { policy: TlsPolicy::Insecure, server_name: None };
        let client = stdx::http::client(&HttpOptions::with_tls(tls));
        let kit = client.ok().map(|client| Kit::new(client, Arc::new(SystemClock), "settings"));
        let mut outputs = Vec::new();
        for (name, _) in merged.tables("output") {
            let Ok(id) = name.parse::<ComponentId>() else { continue };
            let mut fields = Fields::open(self, merged, &["output", name]);
            if carries_messages(merged, name) {
                told.insert(name.to_owned(), fields.told());
            }
            let Some(output) = fields.output(name, &names, around) else { continue };
            if fields.is_good()
                && let Some(kit) = &kit
                && let Err(error) = output.channel.check(&id, kit)
            {
                let mut reason = error.reason().to_owned();
                if let Some(source) = std::error::Error::source(&error) {
                    reason = format!("{reason}: {}", Chain(source));
                }
                fields.wrong_table(reason, "");
            }
            if fields.is_good() {
                outputs.push((id, output));
            }
        }
        outputs
    }
}

/// Whether rules can send messages to that output.
fn carries_messages(merged: &Merged, name: &str) -> bool {
    let path = ["output".to_owned(), name.to_owned()];
    merged.type_of(&path).is_none_or(|of_type| of_type.name != "heartbeat")
}

// === impl Fields ===

impl Fields<'_, '_> {
    /// When it is told something.
    fn told(&mut self) -> OutputConfig {
        let per = self.span("flood_secs").unwrap_or_default();
        let flood = Limit { count: self.count("flood"), per };
        let quiet_hours = self.hours("quiet_hours");
        OutputConfig { quiet_hours, digest: self.flag("digest"), flood, places: self.places() }
    }

    /// Where else than in its own place rules can send it something.
    fn places(&self) -> Places {
        match self.text("type").as_deref() {
            Some("discord" | "slack") => {
                Places::Named(self.names_below("route").into_iter().collect())
            }
            Some("ntfy") => Places::Fitting {
                what: "a topic: letters, digits, `_` and `-`, at most 64",
                fits: ntfy::is_topic,
            },
            Some("email") => {
                Places::Fitting { what: "an address of mail", fits: email::is_address }
            }
            Some("webhook") => Places::Fitting {
                what: "a word, which the receiver finds as `route`",
                fits: |word| !word.trim().is_empty(),
            },
            _ => Places::None,
        }
    }

    fn output(
        &mut self,
        name: &str,
        names: &[&str],
        around: &Around<'_>,
    ) -> Option<OutputSettings> {
        let word = self.text("type")?;
        let fallback = self.fallback(name, names);
        let mut pace = Pace::default();
        if let Some(after) = self.duration("fallback_secs") {
            pace.down_after = after;
        }
        if let Some(after) = self.duration("give_up_secs") {
            pace.give_up_after = after;
        }
        if self.has("fallback_secs") && !self.has("fallback") {
            let hint = "name the output that is told then, or take it out";
            self.wrong("fallback_secs", "means nothing without fallback", hint);
        }
        let (channel, http) = match word.as_str() {
            "discord" => (OutputChannel::Discord(Box::new(self.discord()?)), self.http()),
            "gotify" => (OutputChannel::Gotify(Box::new(self.gotify_output())), self.http()),
            "ntfy" => (OutputChannel::Ntfy(Box::new(self.ntfy_output())), self.http()),
            "slack" => (OutputChannel::Slack(Box::new(self.slack()?)), self.http()),
            "webhook" => (OutputChannel::Webhook(Box::new(self.webhook_output())), self.http()),
            "heartbeat" => (OutputChannel::Heartbeat(Box::new(self.heartbeat())), self.http()),
            "email" => (OutputChannel::Email(Box::new(self.email())), HttpOptions::default()),
            "syslog" => (
                OutputChannel::Syslog(Box::new(self.syslog_output(around)?)),
                HttpOptions::default(),
            ),
            "stdout" => (OutputChannel::Stdout(Box::new(self.stdout())), HttpOptions::default()),
            _ => return None,
        };
        Some(OutputSettings { channel, http, pace, fallback })
    }

    fn fallback(&mut self, name: &str, names: &[&str]) -> Option<ComponentId> {
        let other = self.text("fallback")?;
        if other == name {
            self.wrong("fallback", "names the output itself", "name another one");
        } else if !names.contains(&other.as_str()) {
            let shown: String = other.chars().take(40).collect();
            let others: Vec<&str> = names.iter().copied().filter(|it| *it != name).collect();
            let hint = match others.as_slice() {
                [] => "there is no other one; add a table".to_owned(),
                others => did_you_mean(&other, others, "the outputs are"),
            };
            self.wrong("fallback", format!("names {shown:?}, which carries no messages"), hint);
        }
        other.parse().ok()
    }

    fn wording(&mut self) -> Wording {
        let (title, body) = (self.contents("title_file"), self.contents("body_file"));
        Wording { title, body, html: None }
    }

    fn discord(&mut self) -> Option<discord::Config> {
        let mut config = discord::Config::new(self.discord_place()?);
        for name in self.names_below("route") {
            let place = self.below("route", &name).discord_place()?;
            config.routes.insert(name, place);
        }
        config.bot_token = self.secret("bot_token");
        self.check_bot(config.bot_token.as_ref());
        config.username = self.text("username");
        if let Some(api) = self.text("api") {
            config.api = api;
        }
        config.wording = self.wording();
        Some(config)
    }

    fn discord_place(&mut self) -> Option<discord::Place> {
        let thread = self.text("thread");
        match self.place()? {
            Place::Webhook(url) => Some(discord::Place::Webhook { url, thread }),
            Place::Channel(channel) => {
                if thread.is_some() {
                    let hint = "a thread is a channel of its own for a bot: name it as `channel`";
                    self.wrong("thread", "is set, and channel too", hint);
                }
                Some(discord::Place::Channel(channel))
            }
        }
    }

    fn slack(&mut self) -> Option<slack::Config> {
        let place = |place| match place {
            Place::Webhook(url) => slack::Place::Webhook(url),
            Place::Channel(channel) => slack::Place::Channel(channel),
        };
        let mut config = slack::Config::new(place(self.place()?));
        for name in self.names_below("route") {
            let other = self.below("route", &name).place()?;
            config.routes.insert(name, place(other));
        }
        config.bot_token = self.secret("bot_token");
        self.check_bot(config.bot_token.as_ref());
        if let Some(api) = self.text("api") {
            config.api = api;
        }
        config.wording = self.wording();
        Some(config)
    }

    /// A webhook or a channel, and one of them.
    fn place(&mut self) -> Option<Place> {
        let url = self.secret("webhook_url");
        match (url, self.text("channel")) {
            (Some(url), None) => Some(Place::Webhook(url)),
            (None, Some(channel)) => Some(Place::Channel(channel)),
            (Some(_), Some(_)) => {
                self.wrong("channel", "is set, and a webhook too", "keep one of them");
                None
            }
            (None, None) => {
                if self.is_good() {
                    let hint = "set webhook_url_file, or channel with a bot's token";
                    self.wrong_table("names no place", hint);
                }
                None
            }
        }
    }

    /// A bot's token and channels go together.
    fn check_bot(&mut self, token: Option<&SecretString>) {
        let mut has_channel = self.has("channel");
        for name in self.names_below("route") {
            has_channel |= self.below("route", &name).has("channel");
        }
        if has_channel && token.is_none() && self.is_good() {
            let hint = "set bot_token_file: only a bot writes to a channel by its id";
            self.wrong("bot_token", "is missing", hint);
        }
        if !has_channel && token.is_some() {
            let key = if self.has("bot_token") { "bot_token" } else { "bot_token_file" };
            self.wrong(key, "means nothing without channel", "name a channel, or take it out");
        }
    }

    fn gotify_output(&mut self) -> gotify::Config {
        let token = self.needed_secret("token");
        let mut config = gotify::Config::new(self.server(), token);
        config.client_token = self.secret("client_token");
        config.wording = self.wording();
        config
    }

    fn ntfy_output(&mut self) -> ntfy::Config {
        let mut config = ntfy::Config::new(self.server(), self.needed("topic"));
        config.login = match (self.secret("token"), self.text("user")) {
            (Some(token), None) => ntfy::Login::Token(token),
            (None, Some(user)) => {
                ntfy::Login::Password { user, password: self.needed_secret("password") }
            }
            (None, None) => {
                self.no_password();
                ntfy::Login::None
            }
            (Some(_), Some(_)) => {
                self.wrong("user", "is set, and a token too", "keep one of them");
                ntfy::Login::None
            }
        };
        config.wording = self.wording();
        config
    }

    /// A password is somebody's.
    fn no_password(&mut self) {
        for key in ["password", "password_file"] {
            if self.has(key) {
                self.wrong(key, "is set without user", "say whose password it is");
            }
        }
    }

    fn email(&mut self) -> email::Config {
        let server = self.needed("server");
        let mut config = email::Config::new(server, self.needed("from"), self.list("to"));
        config.port = self.number("port").and_then(|port| port.try_into().ok());
        config.security = match self.text("security").as_deref() {
            Some("tls") => email::Security::Tls,
            Some("none") => email::Security::None,
            _ => email::Security::StartTls,
        };
        config.tls = self.tls();
        config.login = match self.text("user") {
            Some(user) => Some(email::Login { user, password: self.needed_secret("password") }),
            None => {
                self.no_password();
                None
            }
        };
        config.hello = self.text("hello");
        config.wording = self.wording();
        config.wording.html = self.contents("html_file");
        config
    }

    fn webhook_output(&mut self) -> webhook::Config {
        let mut config = webhook::Config::new(self.needed_secret("url"));
        config.secret = self.secret("secret");
        config.token = self.secret("token");
        config.raw = self.flag("raw");
        config.wording = self.wording();
        config
    }

    fn syslog_output(&mut self, around: &Around<'_>) -> Option<syslog::Config> {
        let read = |text: &str| text.parse::<syslog::Target>().map_err(|it| it.to_string());
        let target = self.parsed("target", read).pop();
        // RFC 5424 writes what is not known as a hyphen.
        let host = self.text("host").or_else(|| around.instance.clone());
        let host = host.unwrap_or_else(|| "-".to_owned());
        let mut config = syslog::Config::new(target?, host, std::process::id());
        config.facility = self.number("facility").and_then(|it| it.try_into().ok()).unwrap_or(3);
        config.tls = self.tls();
        config.wording = self.wording();
        Some(config)
    }

    fn stdout(&mut self) -> stdout::Config {
        let mut config = stdout::Config::default();
        if self.text("format").as_deref() == Some("json") {
            config.format = stdout::Format::Json;
        }
        config.wording = self.wording();
        config
    }

    fn heartbeat(&mut self) -> heartbeat::Config {
        for key in OF_MESSAGES {
            if self.has(key) {
                let reason = "means nothing with type = \"heartbeat\", which carries no messages";
                self.wrong(key, reason, "take it out");
            }
        }
        let mut config = heartbeat::Config::new(self.needed_secret("url"));
        config.fail_url = self.secret("fail_url");
        if let Some(every) = self.duration("every_secs") {
            config.every = every;
        }
        config
    }
}

/// Where messages go in a service that has webhooks and bots.
enum Place {
    Webhook(SecretString),
    Channel(String),
}
