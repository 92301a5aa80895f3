//! `[input.<name>]` of the types `console` and `feed`.

use inputs::recognize::json::Pointer;
use inputs::websocket::console::{self, Pattern, Place, SHIPPED};
use inputs::websocket::feed;

use super::{InputSettings, Inputs, MAX_NAME};
use crate::events::client::Around;
use crate::events::fields::Fields;
use crate::keys::did_you_mean;

// === impl Fields ===

impl Fields<'_, '_> {
    /// One input for each guest and node.
    pub(super) fn consoles(&mut self, name: &str, around: &Around<'_>) -> Inputs {
        let patterns = self.patterns();
        let places = self.watched();
        let cluster = self.text("cluster").and_then(|name| self.cluster("cluster", &name));
        let Some(cluster) = cluster else { return Inputs::new() };
        if !around.pve.contains_key(&cluster) {
            let reason = "is a backup server, which has no consoles that can be watched";
            self.wrong("cluster", reason, "name a table [pve.…]");
        }
        if places.is_empty() && self.is_good() {
            self.wrong_table("watches nothing", "name guests = [104] or nodes = [\"pve1\"]");
        }
        let has_guest = places.iter().any(|(_, place)| matches!(place, Place::Guest(_)));
        if self.has("serial") && !has_guest && self.is_good() {
            self.wrong("serial", "means nothing for nodes", "take it out");
        }
        let mut inputs = Inputs::new();
        for (whose, place) in places {
            let is_guest = matches!(place, Place::Guest(_));
            let mut config =
                console::Config::new(self.identity_of(cluster.clone(), None, around), place);
            config.patterns.clone_from(&patterns);
            let port = self.number("serial").and_then(|port| port.try_into().ok());
            config.serial = port.filter(|_| is_guest);
            if let Some(window) = self.duration("window_secs") {
                config.window = window;
            }
            // A node may be called what no component can be.
            let plain =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            let whose: String = whose.chars().map(plain).collect();
            let whole: String = format!("{name}_{whose}").chars().take(MAX_NAME).collect();
            if self.is_good()
                && let Err(error) = config.check()
            {
                self.wrong_table(error.to_string(), "");
            }
            if self.is_good()
                && let Ok(id) = whole.parse()
            {
                inputs.push((id, InputSettings::Console(Box::new(config))));
            }
        }
        inputs
    }

    /// What is watched, with what it adds to the name of the input.
    fn watched(&mut self) -> Vec<(String, Place)> {
        let guests = self.parsed("guests", |text| {
            text.parse().map(Place::Guest).map_err(|error: estate::InvalidName| error.to_string())
        });
        let nodes = self.parsed("nodes", |text| {
            text.parse().map(Place::Node).map_err(|error: estate::InvalidName| error.to_string())
        });
        let named = |place: Place| {
            let name = match &place {
                Place::Guest(vmid) => vmid.to_string(),
                Place::Node(node) => node.to_string(),
                _ => String::new(),
            };
            (name, place)
        };
        guests.into_iter().chain(nodes).map(named).collect()
    }

    /// The table's own patterns, and those of the shipped set that it leaves in.
    fn patterns(&mut self) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for name in self.names_below("pattern") {
            let mut fields = self.below("pattern", &name);
            let regex = fields.needed("regex");
            if !fields.is_good() {
                continue;
            }
            match Pattern::try_new(&name, &regex) {
                Ok(mut pattern) => {
                    pattern.severity = fields.severity("severity").unwrap_or(pattern.severity);
                    pattern.title = fields.text("title");
                    match fields.needed("kind").parse() {
                        Ok(kind) => pattern.kind = kind,
                        Err(error) => {
                            let error: event_core::InvalidKind = error;
                            fields.wrong("kind", error.to_string(), "");
                        }
                    }
                    patterns.push(pattern);
                }
                Err(error) => fields.wrong("regex", error.to_string(), ""),
            }
        }
        let without = self.list("without");
        let known = SHIPPED.map(|(name, ..)| name);
        for name in without.iter().filter(|name| !known.contains(&name.as_str())) {
            let shown: String = name.chars().take(40).collect();
            let hint = did_you_mean(name, &known, "the shipped ones are");
            self.wrong("without", format!("names {shown:?}, which is no shipped pattern"), hint);
        }
        patterns.extend(console::shipped(&without));
        patterns
    }

    pub(super) fn feed(&mut self, around: &Around<'_>) -> Option<feed::Config> {
        let mut config = feed::Config::new(self.needed("url"));
        config.token = self.secret("token");
        config.token_header = self.text("token_header");
        config.headers = self.texts("headers");
        config.subscribe = self.list("subscribe");
        config.resume = self.resume();
        config.only = self.only();
        config.mapping = self.mapping();
        config.heartbeat.every = self.duration("heartbeat_secs")?;
        config.heartbeat.text = self.text("heartbeat_text");
        config.heartbeat.silence = self.duration("silence_secs")?;
        config.max_bytes = self.count("max_bytes");
        config.tls = self.tls();
        config.identity = self.identity(around);
        self.is_good().then_some(config)
    }

    fn resume(&mut self) -> Option<feed::Resume> {
        let (query, subscribe) = (self.text("place_query"), self.list("subscribe_from"));
        let Some(place) = self.text("place") else {
            for key in ["place_query", "subscribe_from"] {
                if self.has(key) {
                    let hint = "say in place where a message says what it is known by";
                    self.wrong(key, "means nothing without place", hint);
                }
            }
            return None;
        };
        match place.parse() {
            Ok(place) => Some(feed::Resume { place, query, subscribe }),
            Err(error) => {
                let error: inputs::recognize::json::InvalidPointer = error;
                self.wrong("place", error.to_string(), "");
                None
            }
        }
    }

    /// What a message has to say, and where.
    fn only(&mut self) -> Vec<(Pointer, Vec<String>)> {
        let mut only = Vec::new();
        for (place, value) in self.entries("only") {
            let words = match &value {
                toml::Value::Array(items) => {
                    items.iter().filter_map(|it| it.as_str()).map(str::to_owned).collect()
                }
                other => other.as_str().into_iter().map(str::to_owned).collect(),
            };
            if let Some(pointer) = self.pointer("only", &place, &place) {
                only.push((pointer, words));
            }
        }
        only
    }
}
