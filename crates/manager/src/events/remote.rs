//! The pipeline of a manager, for a `serve` that is attached to it.

use std::path::PathBuf;

use async_trait::async_trait;
use control_api::Client;
use event_core::Logged;
use event_core::desk::{
    DeskError, EventCounts, EventDesk, EventQuery, EventsFound, EventsHealth, IncidentQuery,
    IncidentStory, IncidentView, NewSilence, Notice, SilenceView,
};
use event_core::live::{LiveQuery, LiveView};
use tokio::sync::Mutex;

/// Asks the manager at a socket; connects when it is asked, and anew when the manager was restarted.
#[derive(Debug)]
pub struct RemoteEvents {
    socket: PathBuf,
    version: String,
    client: Mutex<Option<Client>>,
}

// === impl RemoteEvents ===

impl RemoteEvents {
    /// Of the manager that listens there, for a program of this version.
    pub fn new(socket: PathBuf, version: impl Into<String>) -> Self {
        Self { socket, version: version.into(), client: Mutex::default() }
    }

    async fn client(&self) -> Result<Client, DeskError> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| client.is_connected()) {
            return Ok(client.clone());
        }
        let client = Client::connect(&self.socket, &self.version).await.map_err(DeskError::from)?;
        *kept = Some(client.clone());
        Ok(client)
    }
}

/// The manager knows by the system's word which account asks, and by ours for whom: what is done bears both.
#[async_trait]
impl EventDesk for RemoteEvents {
    async fn find(&self, query: EventQuery) -> Result<EventsFound, DeskError> {
        self.client().await?.find_events(query).await.map_err(DeskError::from)
    }

    async fn event(&self, name: &str) -> Result<Logged, DeskError> {
        self.client().await?.event(name).await.map_err(DeskError::from)
    }

    async fn count(&self, query: EventQuery) -> Result<EventCounts, DeskError> {
        self.client().await?.count_events(query).await.map_err(DeskError::from)
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<IncidentView>, DeskError> {
        self.client().await?.incidents(query).await.map_err(DeskError::from)
    }

    async fn incident(&self, name: &str, reports: u32) -> Result<IncidentStory, DeskError> {
        self.client().await?.incident(name, reports).await.map_err(DeskError::from)
    }

    async fn acknowledge(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        self.client().await?.on_behalf_of(by).acknowledge(name).await.map_err(DeskError::from)
    }

    async fn resolve(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        self.client().await?.on_behalf_of(by).resolve(name).await.map_err(DeskError::from)
    }

    async fn silence(&self, silence: NewSilence, by: &str) -> Result<SilenceView, DeskError> {
        self.client().await?.on_behalf_of(by).silence(silence).await.map_err(DeskError::from)
    }

    async fn unsilence(&self, name: &str, by: &str) -> Result<(), DeskError> {
        self.client().await?.on_behalf_of(by).unsilence(name).await.map_err(DeskError::from)
    }

    async fn silences(&self) -> Result<Vec<SilenceView>, DeskError> {
        self.client().await?.silences().await.map_err(DeskError::from)
    }

    async fn send(&self, notice: Notice, by: &str) -> Result<Vec<String>, DeskError> {
        self.client().await?.on_behalf_of(by).send_notice(notice).await.map_err(DeskError::from)
    }

    async fn health(&self) -> Result<EventsHealth, DeskError> {
        self.client().await?.events_health().await.map_err(DeskError::from)
    }

    async fn live(&self, query: LiveQuery) -> Result<LiveView, DeskError> {
        self.client().await?.live(query).await.map_err(DeskError::from)
    }

    async fn changed(&self, at_most_secs: u64) -> Result<(), DeskError> {
        self.client().await?.events_changed(at_most_secs).await.map_err(DeskError::from)
    }
}
