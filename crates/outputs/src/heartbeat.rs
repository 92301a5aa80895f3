//! Tells a service elsewhere that all is well, again and again; its silence is the alarm.
//!
//! Who watches the watcher: if this program, its machine or its network dies, nobody is left to say so. A service such
//! as Healthchecks or Uptime Kuma is called every few minutes as long as inputs and outbox are healthy, and alerts people
//! by ways of its own when the calls stop. Not a sink: it carries no messages and has no outbox; a call that was missed
//! is not made up for.

use std::time::Duration;

use event_core::{ComponentId, Retry, SinkError};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::Chain;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    InvalidConfig, Kit,
    http::{Http, Request, url},
};

/// The shortest time between two calls.
const SHORTEST: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(10);

/// Settings of a heartbeat.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What is called; a secret, since whoever knows it can say that all is well.
    pub url: SecretString,
    /// What is called once when something is not well, for services that take that as an alarm at once.
    pub fail_url: Option<SecretString>,
    /// How often.
    pub every: Duration,
}

/// The heartbeat.
pub struct Heartbeat {
    id: ComponentId,
    kit: Kit,
    http: Http,
    url: Url,
    fail_url: Option<Url>,
    every: Duration,
}

// === impl Config ===

impl Config {
    /// Calls there, every five minutes.
    pub fn new(url: SecretString) -> Self {
        Self { url, fail_url: None, every: Duration::from_mins(5) }
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// A heartbeat of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: &Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let address = url(&id, "url", config.url.expose_secret())?;
        let fail_url =
            config.fail_url.as_ref().map(|text| url(&id, "fail_url", text.expose_secret()));
        if config.every < SHORTEST {
            let said = format!("`every_secs` is too short: at least {}", SHORTEST.as_secs());
            return Err(InvalidConfig::new(&id, said));
        }
        let secrets = [Some(&config.url), config.fail_url.as_ref()];
        let http = Http::new(&id, "a heartbeat", kit, secrets.into_iter().flatten().cloned());
        let fail_url = fail_url.transpose()?;
        Ok(Self { id, kit: kit.clone(), http, url: address, fail_url, every: config.every })
    }

    /// Its name in the settings.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Whether the service can be reached. It is not called: a call says that all is well.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn check(&self) -> Result<String, SinkError> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(443);
        let connecting = timeout(CONNECT, TcpStream::connect((host, port))).await;
        let connected = connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        match connected {
            Ok(_) => Ok(format!("{host}:{port} takes connections")),
            Err(error) => {
                let said = format!("no connection came about ({error})");
                Err(self.http.error(Retry::Backoff, &said))
            }
        }
    }

    /// Calls while `healthy` says nothing is wrong, until it is stopped. `healthy` gives what is wrong otherwise.
    pub async fn run(
        self,
        healthy: impl Fn() -> Result<(), String> + Send,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_healthy = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let is_healthy = match healthy() {
                Ok(()) => {
                    self.call(&self.url).await;
                    true
                }
                Err(why) => {
                    if was_healthy {
                        tracing::warn!(sink = %self.id, error = why, "the heartbeat stops until all is well");
                        if let Some(url) = &self.fail_url {
                            self.call(url).await;
                        }
                    }
                    false
                }
            };
            if is_healthy && !was_healthy {
                tracing::info!(sink = %self.id, "the heartbeat goes on");
            }
            was_healthy = is_healthy;
        }
    }

    /// One call. That it failed is the service's to notice; here it is only said.
    async fn call(&self, url: &Url) {
        let answer = self.http.send(Request::new(Method::GET, url.clone())).await;
        let problem = match answer {
            Ok(answer) if answer.is_good() => return,
            Ok(answer) => {
                self.http.refused(&answer, self.kit.clock.now(), "look at the setting `url`")
            }
            Err(error) => error,
        };
        tracing::warn!(sink = %self.id, error = %Chain(&problem), "a heartbeat did not arrive");
    }
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat").field("id", &self.id).finish_non_exhaustive()
    }
}
