//! `[input.<name>]`: into the settings of the sources.

mod chat;
mod hook;
mod websocket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_core::endpoint::ExpectedOff;
use estate::{ClusterKey, NodeName};
use event_core::{ComponentId, Severity};
use inputs::email::{self, imap, smtp};
use inputs::websocket::{console, feed};
use inputs::{Identity, discord, gotify, ntfy, syslog, tasks, webhook};
use stdx::Chain;

use super::client::Around;
use super::fields::Fields;
use crate::error::Complaint;
use crate::layers::Merged;
use crate::load::Loader;

/// The longest name of a component, in bytes.
const MAX_NAME: usize = 40;

/// The settings of one source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InputSettings {
    /// Asks one cluster or backup server, that of its identity.
    Tasks(Box<tasks::Config>),
    /// Listens for syslog.
    Syslog(Box<syslog::Config>),
    /// Takes what is posted.
    Webhook(Box<webhook::Config>),
    /// Listens for mail.
    Smtp(Box<smtp::Config>),
    /// Reads a mailbox.
    Imap(Box<imap::Config>),
    /// Hears a Gotify server.
    Gotify(Box<gotify::Config>),
    /// Hears topics of an ntfy server.
    Ntfy(Box<ntfy::Config>),
    /// Watches a console of the cluster of its identity.
    Console(Box<console::Config>),
    /// Hears a feed.
    Feed(Box<feed::Config>),
    /// Hears channels of Discord.
    Discord(Box<discord::Config>),
}

/// The sources, by their names.
pub(super) type Inputs = Vec<(ComponentId, InputSettings)>;

/// What is expected to tell of what the task list sees, and of which clusters.
pub(super) fn expected(inputs: &Inputs) -> BTreeMap<ComponentId, BTreeSet<ClusterKey>> {
    let others = inputs.iter().filter(|(_, it)| !matches!(it, InputSettings::Tasks(_)));
    others.map(|(id, it)| (id.clone(), it.clusters())).collect()
}

// === impl InputSettings ===

impl InputSettings {
    /// What kind of input it is, as its events name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tasks(_) => tasks::KIND,
            Self::Syslog(_) => syslog::KIND,
            Self::Webhook(_) => webhook::KIND,
            Self::Smtp(_) | Self::Imap(_) => email::KIND,
            Self::Gotify(_) => gotify::KIND,
            Self::Ntfy(_) => ntfy::KIND,
            Self::Console(_) | Self::Feed(_) => inputs::websocket::KIND,
            Self::Discord(_) => discord::KIND,
        }
    }

    /// What it drops since our own outputs sent it, for whoever counts; the same in every copy.
    pub fn echo(&self) -> Option<&inputs::Echo> {
        match self {
            Self::Webhook(it) => Some(&it.echo),
            Self::Smtp(it) => Some(&it.echo),
            Self::Imap(it) => Some(&it.echo),
            Self::Gotify(it) => Some(&it.echo),
            Self::Ntfy(it) => Some(&it.echo),
            Self::Discord(it) => Some(&it.echo),
            _ => None,
        }
    }

    /// The clusters and backup servers whose notifications come by it, as the settings say.
    fn clusters(&self) -> BTreeSet<ClusterKey> {
        let identities: Vec<&Identity> = match self {
            Self::Webhook(it) => it.hooks.values().map(|hook| &hook.identity).collect(),
            Self::Smtp(it) => {
                let peers = it.peers.values().map(|peer| &peer.identity);
                let users = it.users.values().map(|user| &user.identity);
                peers.chain(users).chain(it.recipients.values()).collect()
            }
            Self::Imap(it) => it.recipients.values().chain([&it.identity]).collect(),
            Self::Gotify(it) => vec![&it.identity],
            Self::Ntfy(it) => vec![&it.identity],
            // Which lines of syslog are sent is known only when they have come.
            _ => Vec::new(),
        };
        identities.into_iter().filter_map(|it| it.cluster.clone()).collect()
    }

    /// What its source would refuse; each is made once and let go.
    fn check(&self, id: &ComponentId) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| Chain(error).to_string();
        let id = id.clone();
        match self.clone() {
            // Its pauses are looked at key by key; to make it takes a client.
            Self::Tasks(_) => Ok(()),
            Self::Console(it) => it.check().map_err(|e| said(&e)),
            Self::Feed(it) => feed::Feed::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Syslog(it) => syslog::Syslog::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Webhook(it) => webhook::Webhook::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Smtp(it) => smtp::Smtp::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Imap(it) => imap::Imap::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Gotify(it) => gotify::Gotify::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Ntfy(it) => ntfy::Ntfy::try_new(id, *it).map(drop).map_err(|e| said(&e)),
            Self::Discord(it) => discord::Discord::try_new(id, *it).map(drop).map_err(|e| said(&e)),
        }
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// Every input; those without errors.
    pub(super) fn inputs(&mut self, merged: &Merged, around: &Around<'_>, polls: bool) -> Inputs {
        let mut inputs = Inputs::new();
        let mut has_tasks = false;
        for (name, _) in merged.tables("input") {
            let Ok(id) = name.parse::<ComponentId>() else { continue };
            let mut fields = Fields::open(self, merged, &["input", name]);
            let Some(word) = fields.text("type") else { continue };
            if word == "tasks" {
                has_tasks = true;
                inputs.extend(fields.tasks(name, around));
                continue;
            }
            if word == "console" {
                inputs.extend(fields.consoles(name, around));
                continue;
            }
            let Some(input) = fields.input(&word, around) else { continue };
            if fields.is_good()
                && let Err(reason) = input.check(&id)
            {
                fields.wrong_table(reason, "");
            }
            if fields.is_good() {
                inputs.push((id, input));
            }
        }
        if polls && !has_tasks {
            // A table that nobody wrote: everything is as by default.
            inputs.extend(
                Fields::open_unwritten(self, merged, "input", "tasks").tasks("tasks", around),
            );
        }
        self.check_twice(merged, &inputs);
        self.check_listener(merged, &inputs);
        inputs
    }

    /// A webhook input opens no port of its own.
    fn check_listener(&mut self, merged: &Merged, inputs: &Inputs) {
        if Fields::open(self, merged, &["manager"]).flag("http") {
            return;
        }
        for (id, _) in inputs.iter().filter(|(_, it)| matches!(it, InputSettings::Webhook(_))) {
            let origin = merged.origin(&["input".to_owned(), id.to_string()]);
            let reason = "cannot be posted to: the manager has no HTTP listener (manager.http)";
            let complaint = Complaint::new(reason, "set http = true in [manager]");
            self.findings.warn(&origin, format!("input.{id}"), complaint);
        }
    }

    /// Names that are made of two can meet another one.
    fn check_twice(&mut self, merged: &Merged, inputs: &Inputs) {
        let mut seen = BTreeSet::new();
        for (id, _) in inputs {
            if !seen.insert(id) {
                let path = ["input".to_owned(), id.to_string()];
                let hint = "rename it: it is also the name under which a cluster is asked";
                let complaint = Complaint::new("is the name of two inputs", hint);
                self.findings.error(&merged.origin(&path), format!("input.{id}"), complaint);
            }
        }
    }
}

// === impl Fields ===

impl Fields<'_, '_> {
    fn input(&mut self, word: &str, around: &Around<'_>) -> Option<InputSettings> {
        Some(match word {
            "syslog" => InputSettings::Syslog(Box::new(self.syslog(around)?)),
            "webhook" => InputSettings::Webhook(Box::new(self.webhook(around))),
            "smtp" => InputSettings::Smtp(Box::new(self.smtp(around)?)),
            "imap" => InputSettings::Imap(Box::new(self.imap(around)?)),
            "gotify" => InputSettings::Gotify(Box::new(self.gotify(around))),
            "ntfy" => InputSettings::Ntfy(Box::new(self.ntfy(around))),
            "feed" => InputSettings::Feed(Box::new(self.feed(around)?)),
            "discord" => InputSettings::Discord(Box::new(self.chat(around))),
            _ => return None,
        })
    }

    /// One input for each cluster and backup server.
    fn tasks(&mut self, name: &str, around: &Around<'_>) -> Inputs {
        let pace = self.pace();
        // Complained about once, not for every cluster.
        self.zone("zone");
        let asked = self.list("clusters");
        let keys: Vec<ClusterKey> = if self.has("clusters") {
            asked.iter().filter_map(|it| self.cluster("clusters", it)).collect()
        } else {
            around.pve.keys().chain(around.pbs.keys()).cloned().collect()
        };
        let mut inputs = Inputs::new();
        for key in keys {
            let mut config = tasks::Config::new(self.identity_of(key.clone(), None, around));
            config.pace = pace.clone();
            let pve = around.pve.get(&key).map(|options| &options.expected_off);
            let off = pve.or(around.pbs.get(&key).map(|options| &options.expected_off));
            config.expected_off = off
                .into_iter()
                .flatten()
                .filter_map(|it| match it {
                    ExpectedOff::Guest(id) => Some(*id),
                    ExpectedOff::Node(_) => None,
                })
                .collect();
            // Both are of a-z, 0-9 and _, so the whole is a name again, if it is not too long.
            let whole: String = format!("{name}_{key}").chars().take(MAX_NAME).collect();
            if let Ok(id) = whole.parse() {
                inputs.push((id, InputSettings::Tasks(Box::new(config))));
            }
        }
        inputs
    }

    fn pace(&mut self) -> tasks::Pace {
        let mut pace = tasks::Pace::default();
        let places = [
            ("busy_secs", &mut pace.busy),
            ("calm_secs", &mut pace.calm),
            ("often_secs", &mut pace.often),
            ("pools_secs", &mut pace.pools),
            ("jobs_secs", &mut pace.jobs),
            ("seldom_secs", &mut pace.seldom),
            ("disks_secs", &mut pace.disks),
        ];
        for (key, place) in places {
            if let Some(pause) = self.duration(key) {
                *place = pause;
            }
        }
        if pace.busy > pace.calm {
            let reason =
                format!("is {}, and calm_secs {}", pace.busy.as_secs(), pace.calm.as_secs());
            self.wrong("busy_secs", reason, "let it be the shorter one");
        }
        pace
    }

    fn syslog(&mut self, around: &Around<'_>) -> Option<syslog::Config> {
        let listen = self
            .parsed("listen", |text| text.parse::<syslog::Listen>().map_err(|it| it.to_string()));
        let mut config = syslog::Config::new(listen);
        config.tls = self.certificate();
        for name in self.names_below("peer") {
            let mut peer = self.below("peer", &name);
            let addresses = peer.addresses();
            let identity = peer.identity(around);
            let hosts = peer.hosts(around);
            config.peers.insert(name, syslog::Peer { addresses, identity, hosts });
        }
        self.check_addresses();
        let stranger = self.identity(around);
        if self.text("strangers").as_deref() == Some("refuse") {
            config.strangers = syslog::Strangers::Refuse;
            self.refuses_strangers(config.peers.is_empty());
        } else {
            config.strangers = syslog::Strangers::Accept(Box::new(stranger));
        }
        config.least = self.severity("least").unwrap_or(Severity::Debug);
        config.max_connections = self.count("max_connections");
        config.receive_buffer_bytes = self.count("receive_buffer_bytes");
        self.is_good().then_some(config)
    }

    fn refuses_strangers(&mut self, has_no_peer: bool) {
        for key in ["cluster", "zone", "labels"] {
            if self.has(key) {
                let hint = "it is about strangers: put it into the tables of the peers";
                self.wrong(key, "means nothing with strangers = \"refuse\"", hint);
            }
        }
        if has_no_peer && self.is_good() {
            let hint = "add a table [input.….peer.…] with its addresses";
            self.wrong("strangers", "refuses everybody, since there is no peer", hint);
        }
    }

    fn addresses(&mut self) -> Vec<IpAddr> {
        self.parsed("addresses", |text| {
            let shown: String = text.chars().take(60).collect();
            text.parse().map_err(|_| format!("{shown:?} is no IP address"))
        })
    }

    /// An address can be one peer's only.
    fn check_addresses(&mut self) {
        let mut seen: BTreeMap<IpAddr, String> = BTreeMap::new();
        for name in self.names_below("peer") {
            let mut peer = self.below("peer", &name);
            for text in peer.list("addresses") {
                let Ok(address) = text.parse::<IpAddr>() else { continue };
                match seen.get(&address.to_canonical()) {
                    Some(other) if *other != name => {
                        let reason = format!("lists {address}, which peer {other} lists too");
                        peer.wrong("addresses", reason, "an address can be one peer's only");
                    }
                    _ => drop(seen.insert(address.to_canonical(), name.clone())),
                }
            }
        }
    }

    /// Whose lines a relay passes on, as cluster or cluster/node.
    fn hosts(&mut self, around: &Around<'_>) -> BTreeMap<String, Identity> {
        let mut hosts = BTreeMap::new();
        for (host, whose) in self.texts("hosts") {
            let (cluster, node) =
                whose.split_once('/').map_or((whose.as_str(), None), |(c, n)| (c, Some(n)));
            let node = match node.map(NodeName::try_new).transpose() {
                Ok(node) => node,
                Err(error) => {
                    self.wrong_entry(
                        "hosts",
                        &host,
                        error.to_string(),
                        "write cluster or cluster/node",
                    );
                    continue;
                }
            };
            let Some(cluster) = self.cluster("hosts", cluster) else { continue };
            hosts.insert(host, self.identity_of(cluster, node, around));
        }
        hosts
    }

    fn smtp(&mut self, around: &Around<'_>) -> Option<smtp::Config> {
        let listen =
            self.parsed("listen", |text| text.parse::<smtp::Listen>().map_err(|it| it.to_string()));
        let mut config = smtp::Config::new(listen);
        config.name = self.needed("name");
        config.tls = self.certificate();
        config.login_without_tls = self.flag("login_without_tls");
        config.max_bytes = self.count("max_bytes");
        config.max_connections = self.count("max_connections");
        for name in self.names_below("peer") {
            let mut peer = self.below("peer", &name);
            let (addresses, identity) = (peer.addresses(), peer.identity(around));
            config.peers.insert(name, smtp::Peer { addresses, identity });
        }
        self.check_addresses();
        for name in self.names_below("login") {
            let mut user = self.below("login", &name);
            let (password, identity) = (user.needed_secret("password"), user.identity(around));
            config.users.insert(name, smtp::User { password, identity });
        }
        config.recipients = self.recipients(around);
        self.is_good().then_some(config)
    }

    /// Whose mail it is that comes to an address.
    fn recipients(&mut self, around: &Around<'_>) -> BTreeMap<String, Identity> {
        let mut recipients = BTreeMap::new();
        for name in self.names_below("recipient") {
            let mut recipient = self.below("recipient", &name);
            let address = recipient.needed("address").to_lowercase();
            let identity = recipient.identity(around);
            if !address.contains('@') {
                recipient.wrong("address", "is no address of mail", "write it as home@events.lan");
            }
            if recipients.insert(address, identity).is_some() {
                recipient.wrong("address", "is that of two recipients", "keep one of them");
            }
        }
        recipients
    }

    fn imap(&mut self, around: &Around<'_>) -> Option<imap::Config> {
        let password = self.needed_secret("password");
        let (server, user) = (self.needed("server"), self.needed("user"));
        let mut config = imap::Config::new(server, user, password);
        config.mailbox = self.needed("mailbox");
        config.poll = self.duration("poll_secs")?;
        config.max_bytes = self.number("max_bytes")?.try_into().ok()?;
        config.tls = self.tls();
        config.identity = self.identity(around);
        config.recipients = self.recipients(around);
        self.is_good().then_some(config)
    }

    fn gotify(&mut self, around: &Around<'_>) -> gotify::Config {
        let token = self.needed_secret("token");
        let mut config = gotify::Config::new(self.server(), token);
        config.tls = self.tls();
        config.identity = self.identity(around);
        let read = |text: &str| {
            let shown: String = text.chars().take(40).collect();
            text.parse::<u64>().map_err(|_| format!("{shown:?} is no number"))
        };
        config.applications = self.parsed("applications", read).into_iter().collect();
        config
    }

    fn ntfy(&mut self, around: &Around<'_>) -> ntfy::Config {
        let mut config = ntfy::Config::new(self.server(), self.list("topics"));
        config.token = self.secret("token");
        config.tls = self.tls();
        config.identity = self.identity(around);
        config
    }
}
