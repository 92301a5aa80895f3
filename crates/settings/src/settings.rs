//! The settings as the program takes them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use estate::ClusterKey;
use guard::Mode;
use guard::policy::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use crate::audit::AuditSettings;
use crate::events::EventsSettings;
use crate::guard::{ApproverSettings, GuardSettings};
use crate::http::HttpSettings;
use crate::manager::ManagerSettings;
use crate::oauth::OAuthSettings;

/// Everything that is set, checked, with every secret at hand.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The PVE clusters and standalone nodes, by key. No key is in both maps.
    pub pve: BTreeMap<ClusterKey, pve_client::config::ConnectOptions>,
    /// The backup servers, by key.
    pub pbs: BTreeMap<ClusterKey, pbs_client::config::ConnectOptions>,
    /// What the MCP server offers and how far it goes.
    pub server: ServerSettings,
    /// The listener of `serve --http`.
    pub http: HttpSettings,
    /// The issuers whose access tokens are taken, by the names of their tables.
    pub oauth: BTreeMap<String, OAuthSettings>,
    /// What is protected, and how much may change.
    pub guard: GuardSettings,
    /// Which calls run, ask or are refused; checked.
    pub policy: Policy,
    /// Who may agree to plans, by the names of their tables.
    pub approvers: BTreeMap<String, ApproverSettings>,
    /// The daemon and its control socket.
    pub manager: ManagerSettings,
    /// Where copies of audit records go.
    pub audit: AuditSettings,
    /// What is heard, what becomes of it, who is told.
    pub events: EventsSettings,
    /// The log.
    pub log: LogSettings,
}

/// `[server]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerSettings {
    /// How far the server goes for any caller.
    pub mode: Mode,
    /// The toolsets that are offered, as they are written; which exist, the catalogue knows.
    pub toolsets: Vec<String>,
    /// Where state is kept; it need not exist yet.
    pub state_dir: PathBuf,
    /// The database that is used instead of a file in `state_dir`; it can hold a password.
    pub store_url: Option<SecretString>,
    /// The ceiling of one answer, in bytes.
    pub answer_max_bytes: usize,
    /// How long a tool follows a task before it answers.
    pub task_wait: Duration,
    /// How long an answer over many clusters waits for the slowest.
    pub overview_deadline: Duration,
    /// The programs that may be started in guests, by their exact names; `*` is every one.
    pub exec_allow: Vec<String>,
    /// What the estate is meant to be, for the tester to hold against what answers.
    pub declared_topology: Option<Topology>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSettings {
    /// The least important messages that are written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Levels per part of the program, in place of `level`.
    pub filter: Option<String>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that the settings use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.as_str() == text)
                    .ok_or_else(|| "is not a known word".to_owned())
            }
        }
    };
}

words! {
    /// How important a message must be to be written.
    LogLevel {
        /// Data was lost or an operator is needed.
        Error = "error",
        /// A surprise, recovered from.
        Warn = "warn",
        /// Changes of state.
        Info = "info",
        /// Per item.
        Debug = "debug",
        /// Everything, bodies and headers included, redacted.
        Trace = "trace",
    }
}

words! {
    /// How a line of the log looks.
    LogFormat {
        /// For people.
        Text = "text",
        /// For collectors: one object per line.
        Json = "json",
    }
}

words! {
    /// What the estate is meant to be.
    Topology {
        /// Single nodes, no cluster.
        Standalone = "standalone",
        /// One cluster, no single nodes.
        Clustered = "clustered",
        /// Both.
        Mixed = "mixed",
    }
}

/// `[server]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServer {
    #[serde(deserialize_with = "word")]
    mode: Mode,
    toolsets: Vec<String>,
    state_dir: Option<PathBuf>,
    #[serde(default)]
    store_url: Option<SecretString>,
    answer_max_bytes: usize,
    task_wait_secs: u64,
    overview_deadline_secs: u64,
    exec_allow: Vec<String>,
    #[serde(default, deserialize_with = "optional_word")]
    declared_topology: Option<Topology>,
}

/// `[log]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLog {
    #[serde(deserialize_with = "word")]
    level: LogLevel,
    #[serde(deserialize_with = "word")]
    format: LogFormat,
    filter: Option<String>,
}

// === impl Settings ===

impl Settings {
    /// Whether no endpoint at all is configured.
    pub fn is_empty(&self) -> bool {
        self.pve.is_empty() && self.pbs.is_empty()
    }

    /// Every secret in the settings, for the redactor.
    pub fn secrets(&self) -> Vec<SecretString> {
        let pve = self.pve.values().flat_map(|options| options.secrets());
        let pbs = self.pbs.values().flat_map(|options| options.secrets());
        // The path of a file is none, and everything that is said of the store names it.
        let is_file = |url: &SecretString| url.expose_secret().starts_with("sqlite:");
        let store = self.server.store_url.clone().filter(|url| !is_file(url));
        let of_endpoints = pve.chain(pbs).chain(store);
        let of_events = self.events.secrets().iter().cloned();
        of_endpoints.chain(self.audit.webhook_url.clone()).chain(of_events).collect()
    }
}

impl fmt::Debug for Settings {
    /// Names without what stands behind them: an address of a proxy can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("pve", &self.pve.keys())
            .field("pbs", &self.pbs.keys())
            .field("server", &self.server)
            .field("http", &self.http)
            .field("oauth", &self.oauth.keys())
            .field("guard", &self.guard)
            .field("policy", &self.policy.rules().len())
            .field("approvers", &self.approvers.keys())
            .field("manager", &self.manager)
            .field("audit", &self.audit)
            .field("events", &self.events.enabled)
            .field("log", &self.log)
            .finish()
    }
}

// === impl LogSettings ===

impl LogSettings {
    /// What to log, as the log takes it: the filter, or else the level.
    pub fn directives(&self) -> &str {
        self.filter.as_deref().unwrap_or(self.level.as_str())
    }
}

// === impl RawServer ===

impl RawServer {
    pub(crate) fn check(self, default_state_dir: PathBuf) -> ServerSettings {
        ServerSettings {
            mode: self.mode,
            toolsets: self.toolsets,
            state_dir: self.state_dir.unwrap_or(default_state_dir),
            store_url: self.store_url,
            answer_max_bytes: self.answer_max_bytes,
            task_wait: Duration::from_secs(self.task_wait_secs),
            overview_deadline: Duration::from_secs(self.overview_deadline_secs),
            exec_allow: self.exec_allow,
            declared_topology: self.declared_topology,
        }
    }
}

// === impl RawLog ===

impl RawLog {
    pub(crate) fn check(self) -> LogSettings {
        LogSettings { level: self.level, format: self.format, filter: self.filter }
    }
}

fn word<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn optional_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}
