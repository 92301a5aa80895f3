//! From the variables about listeners and notifiers to `[input.…]` and `[output.…]`.

use secrecy::SecretString;
use toml::Value;

use super::estate::Reader;
use super::known::{LISTENERS, NOTIFIERS};
use crate::error::Origin;
use crate::keys::did_you_mean;

/// One table `[input.<key>]` or `[output.<key>]`.
pub(super) struct Channel {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// The variable that it is there by.
    pub(super) origin: Origin,
    pub(super) values: Vec<(&'static str, Value, Origin)>,
    pub(super) secrets: Vec<(&'static str, SecretString, Origin)>,
}

/// Which of several listeners or notifiers are on.
struct Gate {
    /// Whether any may be.
    is_open: bool,
    /// The variable that lists them.
    list: &'static str,
    /// The words that it lists, if it lists any.
    words: Option<Vec<String>>,
}

/// A value that is there.
type Found = (String, Origin);

// === impl Channel ===

impl Channel {
    fn new(section: &'static str, key: &'static str, of_type: &str, origin: &Origin) -> Self {
        let values = vec![("type", Value::from(of_type), origin.clone())];
        Self { section, key, origin: origin.clone(), values, secrets: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: impl Into<Value>, origin: &Origin) -> Self {
        self.values.push((key, value.into(), origin.clone()));
        self
    }

    fn with_text(self, key: &'static str, (text, origin): &Found) -> Self {
        self.with(key, text.as_str(), origin)
    }

    fn with_secret(mut self, key: &'static str, (text, origin): Found) -> Self {
        self.secrets.push((key, text.into(), origin));
        self
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// Every input and output, and the variable that wants the estate to be followed.
    pub(super) fn channels(&mut self) -> (Vec<Channel>, Option<Origin>) {
        let listens = self.switch("ENABLE_EVENT_LISTENERS").is_none_or(|(is_on, _)| is_on);
        let listeners = self.gate("ENABLED_EVENT_LISTENERS", LISTENERS, listens);
        let notifiers = self.gate("ENABLED_NOTIFIERS", NOTIFIERS, true);
        let follows = self.is_on(&listeners, "WEBSOCKET", "EVENT_WS_ENABLED");
        if let Some(origin) = &follows {
            self.warn(
                origin,
                "cannot be as it was: Proxmox publishes no WebSocket of events",
                "the clusters and backup servers are asked themselves, which hears the same and more",
            );
        }
        let inputs = [
            self.syslog_in(&listeners),
            self.email_in(&listeners),
            self.gotify_in(&listeners),
            self.ntfy("input", &listeners),
        ];
        let outputs = [
            self.discord_out(&notifiers),
            self.gotify_out(&notifiers),
            self.ntfy("output", &notifiers),
            self.email_out(&notifiers),
        ];
        (inputs.into_iter().chain(outputs).flatten().collect(), follows)
    }

    fn gate(&mut self, list: &'static str, known: &[&str], is_open: bool) -> Gate {
        let mut words = self.list(list);
        for word in &mut words {
            word.make_ascii_uppercase();
            if !known.contains(&word.as_str()) {
                let origin = self.origin(list);
                let shown: String = word.chars().take(40).collect();
                let hint = did_you_mean(word, known, "it takes");
                self.warn(&origin, format!("lists {shown:?}, which is not known"), hint);
            }
        }
        Gate { is_open, list, words: (!words.is_empty()).then_some(words) }
    }

    /// The variable by which a listener or notifier is on: its own, or the list that names it.
    fn is_on(&mut self, gate: &Gate, word: &str, own: &str) -> Option<Origin> {
        let said = self.switch(own);
        let listed = gate.words.as_ref().map(|words| words.iter().any(|it| it == word));
        match (said, listed) {
            _ if !gate.is_open => None,
            (Some((false, _)), _) | (None, None | Some(false)) => None,
            (Some((true, origin)), None | Some(true)) => Some(origin),
            (None, Some(true)) => Some(self.origin(gate.list)),
            (Some((true, origin)), Some(false)) => {
                let reason = format!("is true, but {} does not list {word}", gate.list);
                self.warn(&origin, reason, "it stays off; add it there if it should be on");
                None
            }
        }
    }

    fn switch(&mut self, name: &str) -> Option<(bool, Origin)> {
        let (text, origin) = self.take(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some((true, origin)),
            "false" | "no" | "off" | "0" => Some((false, origin)),
            _ => {
                self.warn(&origin, "is neither true nor false", "it counts as not set");
                None
            }
        }
    }

    /// A variable without which what is on cannot be.
    fn needed(&mut self, name: &str, asks: &Origin) -> Option<Found> {
        let found = self.take(name);
        if found.is_none() {
            let asks = match asks {
                Origin::EnvFile { name, .. } => name.clone(),
                _ => String::new(),
            };
            let hint = if asks.ends_with("_ENABLED") {
                format!("set it, or switch {asks} off")
            } else {
                format!("set it, or take it out of {asks}")
            };
            self.missing(name, &asks, format!("is missing, though {asks} asks for it"), &hint);
        }
        found
    }

    /// Every one of the variables, complaining about all that are missing.
    fn all<const N: usize>(&mut self, names: [&str; N], asks: &Origin) -> Option<[Found; N]> {
        let found = names.map(|name| self.needed(name, asks));
        if found.iter().any(Option::is_none) {
            return None;
        }
        Some(found.map(|it| it.expect("none of them is missing")))
    }

    fn port(&mut self, name: &str, usual: u16) -> (u16, Option<Origin>) {
        let Some((text, origin)) = self.take(name) else { return (usual, None) };
        match text.parse::<u16>() {
            Ok(port) if port > 0 => (port, Some(origin)),
            _ => {
                self.warn(&origin, "is not a port", format!("{usual} is used"));
                (usual, None)
            }
        }
    }

    /// The only cluster or server of the file: whose reports they are, then.
    fn only(&self) -> Option<String> {
        match self.tables.as_slice() {
            [table] => Some(table.key.clone()),
            _ => None,
        }
    }

    fn of_the_only(&self, channel: Channel) -> Channel {
        match self.only() {
            Some(key) => {
                let origin = channel.origin.clone();
                channel.with("cluster", key, &origin)
            }
            None => channel,
        }
    }

    fn syslog_in(&mut self, gate: &Gate) -> Option<Channel> {
        let on = self.is_on(gate, "SYSLOG", "EVENT_SYSLOG_ENABLED")?;
        let (port, at) = self.port("EVENT_SYSLOG_LISTEN_PORT", 514);
        let listen = ["udp", "tcp"].map(|way| Value::from(format!("{way}://0.0.0.0:{port}")));
        let channel = Channel::new("input", "syslog", "syslog", &on);
        let channel = channel.with("listen", listen.to_vec(), at.as_ref().unwrap_or(&on));
        Some(self.of_the_only(channel))
    }

    fn email_in(&mut self, gate: &Gate) -> Option<Channel> {
        let on = self.is_on(gate, "EMAIL", "EVENT_EMAIL_ENABLED")?;
        let (port, _) = self.port("EVENT_EMAIL_IMAP_PORT", 993);
        let folder = self.take("EVENT_EMAIL_FOLDER");
        let poll = self.take("EVENT_EMAIL_POLL_INTERVAL");
        let names = ["EVENT_EMAIL_IMAP_SERVER", "EVENT_EMAIL_USERNAME", "EVENT_EMAIL_PASSWORD"];
        let [server, user, password] = self.all(names, &on)?;
        let scheme = if port == 143 { "imap" } else { "imaps" };
        let address = format!("{scheme}://{}:{port}", bare(&server.0));
        let mut channel = Channel::new("input", "mail", "imap", &on)
            .with("server", address, &server.1)
            .with_text("user", &user)
            .with_secret("password", password);
        if let Some(folder) = &folder {
            channel = channel.with_text("mailbox", folder);
        }
        if let Some((text, origin)) = &poll {
            match text.parse::<i64>() {
                Ok(pause @ 1..=86_400) => channel = channel.with("poll_secs", pause, origin),
                _ => self.warn(origin, "is not a number of seconds", "60 is used"),
            }
        }
        Some(self.of_the_only(channel))
    }

    fn gotify_in(&mut self, gate: &Gate) -> Option<Channel> {
        let on = self.is_on(gate, "GOTIFY_IN", "GOTIFY_IN_ENABLED")?;
        let [server, token] = self.all(["GOTIFY_IN_SERVER_URL", "GOTIFY_IN_CLIENT_TOKEN"], &on)?;
        let channel = Channel::new("input", "gotify", "gotify", &on)
            .with_text("server", &server)
            .with_secret("token", token);
        Some(self.of_the_only(channel))
    }

    /// The earlier server had one topic for both ways; which of them are on, the lists say.
    fn ntfy(&mut self, section: &'static str, gate: &Gate) -> Option<Channel> {
        let on = match (&gate.words, section) {
            // Without lists a topic was for telling.
            (None, "input") => return None,
            (Some(words), _) if !words.iter().any(|word| word == "NTFY") => return None,
            _ => self.is_on(gate, "NTFY", "NTFY_ENABLED")?,
        };
        let topic = self.needed("NTFY_TOPIC", &on)?;
        let server = self.take("NTFY_SERVER_URL");
        let server = server.unwrap_or_else(|| ("https://ntfy.sh".to_owned(), topic.1.clone()));
        let channel = Channel::new(section, "ntfy", "ntfy", &on).with_text("server", &server);
        if section == "output" {
            return Some(channel.with_text("topic", &topic));
        }
        let (topic, origin) = topic;
        Some(self.of_the_only(channel.with("topics", vec![Value::from(topic)], &origin)))
    }

    fn discord_out(&mut self, gate: &Gate) -> Option<Channel> {
        let on = self.is_on(gate, "DISCORD_OUT", "DISCORD_OUT_ENABLED")?;
        let [url] = self.all(["DISCORD_OUT_WEBHOOK_URL"], &on)?;
        Some(Channel::new("output", "discord", "discord", &on).with_secret("webhook_url", url))
    }

    fn gotify_out(&mut self, gate: &Gate) -> Option<Channel> {
        let on = self.is_on(gate, "GOTIFY_OUT", "GOTIFY_OUT_ENABLED")?;
        let [server, token] = self.all(["GOTIFY_OUT_SERVER_URL", "GOTIFY_OUT_APP_TOKEN"], &on)?;
        let channel = Channel::new("output", "gotify", "gotify", &on);
        Some(channel.with_text("server", &server).with_secret("token", token))
    }

    fn email_out(&mut self, gate: &Gate) -> Option<Channel> {
        // The list of the earlier server had no word for mail.
        let gate = Gate { is_open: gate.is_open, list: gate.list, words: None };
        let on = self.is_on(&gate, "", "NOTIFY_EMAIL_ENABLED")?;
        let (port, at) = self.port("NOTIFY_EMAIL_PORT", 587);
        let password = self.take("NOTIFY_EMAIL_PASSWORD");
        let names = ["NOTIFY_EMAIL_SERVER", "NOTIFY_EMAIL_FROM", "NOTIFY_EMAIL_TO"];
        let [(server, server_at), from, (_, to_at)] = self.all(names, &on)?;
        let to = self.list("NOTIFY_EMAIL_TO").into_iter().map(Value::from);
        let to = Value::Array(to.collect());
        let mut channel = Channel::new("output", "mail", "email", &on)
            .with("server", bare(&server), &server_at)
            .with("port", i64::from(port), at.as_ref().unwrap_or(&on));
        if port == 465 {
            channel = channel.with("security", "tls", at.as_ref().unwrap_or(&on));
        }
        channel = channel.with_text("from", &from).with("to", to, &to_at);
        if let Some(password) = password {
            // It logged in as who it sent for.
            channel = channel.with_text("user", &from).with_secret("password", password);
        }
        Some(channel)
    }
}

/// The host of what may have been written as an address.
fn bare(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.trim_end_matches('/')
}
