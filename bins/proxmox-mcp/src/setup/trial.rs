//! The test: the server sends a message, and the manager has to hear it.

use std::net::SocketAddr;
use std::time::Duration;

use control_api::Client;
use estate::Product;
use event_core::desk::EventQuery;
use inputs::MARKER;
use mcp_protocol::{App, JsonObject};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use stdx::Chain;
use stdx::http::HttpOptions;
use stdx::tls;
use stdx::{Clock as _, SystemClock};
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use super::apply::{self, Done};
use super::cause::{self, Cause, Evidence, Met};
use super::plan;
use crate::call::Consent;

/// What a test is, once it is heard.
const KIND: &str = "notification.test";
/// How long this machine's own look at the hook may take.
const LOOK: Duration = Duration::from_secs(10);
/// How long the manager waits for news at a time, in seconds.
const ROUND: u64 = 25;

/// What is tested.
pub(super) struct Trial<'a> {
    pub(super) app: &'a App,
    /// The manager that has to hear it.
    pub(super) client: &'a Client,
    pub(super) cluster: &'a str,
    pub(super) product: Product,
    /// The target's name.
    pub(super) target: &'a str,
    /// The input that has the hook.
    pub(super) input: &'a str,
    pub(super) url: &'a str,
    pub(super) secret: &'a SecretString,
    /// How long it may take to arrive.
    pub(super) patience: Duration,
    pub(super) proxy: Option<&'a str>,
    pub(super) listens: Option<SocketAddr>,
    pub(super) is_here: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It was heard, as this event.
    Arrived(String),
    /// It was not; with the server's words if it did not call it good.
    Missing {
        /// The server's words.
        said: Option<String>,
        /// The likely causes.
        causes: Vec<Cause>,
    },
    /// It was not sent.
    Unsent(String),
}

// === impl Trial ===

impl Trial<'_> {
    /// Sends the test and waits for it.
    pub(super) async fn run(&self, consent: Consent) -> anyhow::Result<Outcome> {
        let before = self.client.find_events(self.query(None)).await?;
        if let Some(last) = before.events.first() {
            // Servers tell whole seconds: of two tests in one of them the second would be the first again.
            let since = SystemClock.now().duration_since(last.event.received);
            let rest = Duration::from_secs(1).saturating_sub(since.unsigned_abs());
            tokio::time::sleep(rest).await;
        }
        let path = format!("{}/targets/{}/test", plan::root(self.product), self.target);
        let params = JsonObject::new();
        let sent = apply::send(self.app, self.cluster, "POST", &path, params, consent).await?;
        let said = match sent {
            Done::Made(_) => None,
            Done::Failed(why) => Some(why),
            waits @ Done::Waits(_) => return Ok(Outcome::Unsent(waits.said())),
        };
        if said.is_none()
            && let Some(event) = self.heard(before.head).await?
        {
            return Ok(Outcome::Arrived(event));
        }
        let url: Url = self.url.parse()?;
        let met = look(&url, self.secret).await;
        let causes = cause::causes(&Evidence {
            url: &url,
            said: said.as_deref(),
            proxy: self.proxy,
            listens: self.listens,
            is_here: self.is_here,
            met: &met,
        });
        Ok(Outcome::Missing { said, causes })
    }

    /// The event that was heard behind this place of the log.
    async fn heard(&self, before: u64) -> anyhow::Result<Option<String>> {
        let ends = Instant::now() + self.patience;
        loop {
            let found = self.client.find_events(self.query(Some(before))).await?.events;
            if let Some(heard) = found.first() {
                return Ok(Some(heard.event.id.to_string()));
            }
            let left = ends.saturating_duration_since(Instant::now());
            match timeout(left, self.client.events_changed(ROUND)).await {
                Ok(changed) => changed?,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Tests that came by this hook's input from this cluster.
    fn query(&self, after: Option<u64>) -> EventQuery {
        EventQuery {
            kinds: vec![KIND.to_owned()],
            cluster: Some(self.cluster.to_owned()),
            source: Some(self.input.to_owned()),
            after,
            limit: 1,
            ..EventQuery::default()
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether it failed.
    pub(super) fn is_bad(&self) -> bool {
        !matches!(self, Self::Arrived(_))
    }

    /// For people.
    pub(super) fn said(&self, patience: Duration) -> Vec<String> {
        match self {
            Self::Arrived(event) => vec![format!("arrived, as event {event}")],
            Self::Unsent(why) => vec![format!("not sent: {why}")],
            Self::Missing { said, causes } => {
                let lead = match said {
                    Some(said) => format!("failed: {said}"),
                    None => format!(
                        "the server called it good, and it did not arrive within {} s",
                        patience.as_secs()
                    ),
                };
                let causes =
                    causes.iter().map(|it| format!("likely ({}): {}", it.kind.as_str(), it.text));
                std::iter::once(lead).chain(causes).collect()
            }
        }
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Arrived(event) => json!({"outcome": "arrived", "event": event}),
            Self::Unsent(why) => json!({"outcome": "unsent", "why": why}),
            Self::Missing { said, causes } => {
                let causes =
                    causes.iter().map(|it| json!({"kind": it.kind.as_str(), "text": it.text}));
                json!({"outcome": "missing", "said": said, "causes": causes.collect::<Vec<_>>()})
            }
        }
    }
}

/// Posts to the hook from here what it takes and does not keep, as it does with what our outputs send.
async fn look(url: &Url, secret: &SecretString) -> Met {
    let client = match stdx::http::client(&HttpOptions::default()) {
        Ok(client) => client,
        Err(error) => return Met::Nobody(Chain(&error).to_string()),
    };
    let request = client
        .post(url.clone())
        .bearer_auth(secret.expose_secret())
        .header(MARKER, "events setup")
        .timeout(LOOK)
        .body("{}");
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            if let Some(rejected) = tls::rejection(&error) {
                let why = rejected
                    .cause()
                    .map_or("it is not the expected one".to_owned(), ToString::to_string);
                return untrusted(url, why).await;
            }
            return Met::Nobody(Chain(&error.without_url()).to_string());
        }
    };
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let is_kept = serde_json::from_slice::<Value>(&body).is_ok_and(|it| it["kept"] == true);
    if status.is_success() && is_kept { Met::Hook } else { Met::Status(status.as_u16()) }
}

/// A certificate that is not believed, with what it says of itself.
async fn untrusted(url: &Url, why: String) -> Met {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    };
    let port = url.port_or_known_default().unwrap_or(443);
    match tls::peer_certificate(&host, port, LOOK).await {
        Ok(shown) => Met::Untrusted { issuer: shown.issuer, self_signed: shown.self_signed, why },
        Err(_) => Met::Untrusted { issuer: "somebody unknown".to_owned(), self_signed: false, why },
    }
}
