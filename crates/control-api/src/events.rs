//! The part of the control API that is about events, in the plain data of [`event_core::desk`].

use event_core::Logged;
use event_core::desk::{
    DeadLetter, DeadQuery, DeskError, DeskErrorKind, EventCounts, EventQuery, EventsFound,
    EventsHealth, IncidentQuery, IncidentStory, IncidentView, NewSilence, Notice, SilenceView,
};
use event_core::live::{LiveQuery, LiveView};
use jsonrpsee::core::RpcResult;
use jsonrpsee::proc_macros::rpc;

use crate::{Client, Error, ErrorKind};

/// For whom the account at the other end does it, in the form of a principal (`token:ann`); nothing where
/// it does so for itself. The manager has the account by the system's word, and this by the account's.
pub type OnBehalfOf = Option<String>;

/// What a manager can be asked about events.
///
/// Everybody who is let in may look; what changes what people are told is for the manager's own account
/// and for approvers, so that nobody hides what they did.
#[rpc(server, client, namespace = "events", namespace_separator = ".")]
pub trait EventsControl {
    /// The events that were asked for.
    #[method(name = "find", with_extensions)]
    async fn find(&self, query: EventQuery) -> RpcResult<EventsFound>;

    /// One event, by its id or its place in the log.
    #[method(name = "event", with_extensions)]
    async fn event(&self, name: String) -> RpcResult<Logged>;

    /// How many events of each sort there are.
    #[method(name = "count", with_extensions)]
    async fn count(&self, query: EventQuery) -> RpcResult<EventCounts>;

    /// The incidents that were asked for.
    #[method(name = "incidents", with_extensions)]
    async fn incidents(&self, query: IncidentQuery) -> RpcResult<Vec<IncidentView>>;

    /// One incident with its reports.
    #[method(name = "incident", with_extensions)]
    async fn incident(&self, name: String, reports: u32) -> RpcResult<IncidentStory>;

    /// The caller has it.
    #[method(name = "acknowledge", with_extensions)]
    async fn acknowledge(&self, name: String, by: OnBehalfOf) -> RpcResult<IncidentView>;

    /// The caller says that it is over.
    #[method(name = "resolve", with_extensions)]
    async fn resolve(&self, name: String, by: OnBehalfOf) -> RpcResult<IncidentView>;

    /// Begins a silence.
    #[method(name = "silence", with_extensions)]
    async fn silence(&self, silence: NewSilence, by: OnBehalfOf) -> RpcResult<SilenceView>;

    /// Ends a silence.
    #[method(name = "unsilence", with_extensions)]
    async fn unsilence(&self, name: String, by: OnBehalfOf) -> RpcResult<()>;

    /// The silences that have not ended.
    #[method(name = "silences", with_extensions)]
    async fn silences(&self) -> RpcResult<Vec<SilenceView>>;

    /// Tells people something.
    #[method(name = "send", with_extensions)]
    async fn send(&self, notice: Notice, by: OnBehalfOf) -> RpcResult<Vec<String>>;

    /// How inputs and outputs are doing.
    #[method(name = "health", with_extensions)]
    async fn health(&self) -> RpcResult<EventsHealth>;

    /// How the estate is now, each fact with its age.
    #[method(name = "live", with_extensions)]
    async fn live(&self, query: LiveQuery) -> RpcResult<LiveView>;

    /// Returns when something is new, or after so many seconds.
    #[method(name = "changed", with_extensions)]
    async fn changed(&self, at_most_secs: u64) -> RpcResult<()>;

    /// What could not be told.
    #[method(name = "dead", with_extensions)]
    async fn dead(&self, query: DeadQuery) -> RpcResult<Vec<DeadLetter>>;

    /// Tries again what could not be told; how many that are.
    #[method(name = "replay", with_extensions)]
    async fn replay(&self, query: DeadQuery) -> RpcResult<u64>;

    /// Throws away what could not be told; how many that are.
    #[method(name = "purge", with_extensions)]
    async fn purge(&self, query: DeadQuery) -> RpcResult<u64>;
}

/// The events part of a connection.
impl Client {
    /// The events that were asked for.
    pub async fn find_events(&self, query: EventQuery) -> Result<EventsFound, Error> {
        Ok(EventsControlClient::find(self.rpc(), query).await?)
    }

    /// One event, by its id or its place in the log.
    pub async fn event(&self, name: &str) -> Result<Logged, Error> {
        Ok(EventsControlClient::event(self.rpc(), name.to_owned()).await?)
    }

    /// How many events of each sort there are.
    pub async fn count_events(&self, query: EventQuery) -> Result<EventCounts, Error> {
        Ok(EventsControlClient::count(self.rpc(), query).await?)
    }

    /// The incidents that were asked for.
    pub async fn incidents(&self, query: IncidentQuery) -> Result<Vec<IncidentView>, Error> {
        Ok(EventsControlClient::incidents(self.rpc(), query).await?)
    }

    /// One incident, with at most so many of its reports.
    pub async fn incident(&self, name: &str, reports: u32) -> Result<IncidentStory, Error> {
        Ok(EventsControlClient::incident(self.rpc(), name.to_owned(), reports).await?)
    }

    /// This account has the incident.
    pub async fn acknowledge(&self, name: &str) -> Result<IncidentView, Error> {
        Ok(EventsControlClient::acknowledge(self.rpc(), name.to_owned(), self.by()).await?)
    }

    /// This account says that the incident is over.
    pub async fn resolve(&self, name: &str) -> Result<IncidentView, Error> {
        Ok(EventsControlClient::resolve(self.rpc(), name.to_owned(), self.by()).await?)
    }

    /// Begins a silence.
    pub async fn silence(&self, silence: NewSilence) -> Result<SilenceView, Error> {
        Ok(EventsControlClient::silence(self.rpc(), silence, self.by()).await?)
    }

    /// Ends a silence.
    pub async fn unsilence(&self, name: &str) -> Result<(), Error> {
        Ok(EventsControlClient::unsilence(self.rpc(), name.to_owned(), self.by()).await?)
    }

    /// The silences that have not ended.
    pub async fn silences(&self) -> Result<Vec<SilenceView>, Error> {
        Ok(EventsControlClient::silences(self.rpc()).await?)
    }

    /// Tells people something; which outputs.
    pub async fn send_notice(&self, notice: Notice) -> Result<Vec<String>, Error> {
        Ok(EventsControlClient::send(self.rpc(), notice, self.by()).await?)
    }

    /// How inputs and outputs are doing.
    pub async fn events_health(&self) -> Result<EventsHealth, Error> {
        Ok(EventsControlClient::health(self.rpc()).await?)
    }

    /// How the estate is now, each fact with its age.
    pub async fn live(&self, query: LiveQuery) -> Result<LiveView, Error> {
        Ok(EventsControlClient::live(self.rpc(), query).await?)
    }

    /// Returns when something is new, or after so many seconds (at most 30).
    pub async fn events_changed(&self, at_most_secs: u64) -> Result<(), Error> {
        Ok(EventsControlClient::changed(self.rpc(), at_most_secs).await?)
    }

    /// What could not be told.
    pub async fn dead_letters(&self, query: DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        Ok(EventsControlClient::dead(self.rpc(), query).await?)
    }

    /// Tries again what could not be told; how many that are.
    pub async fn replay_dead(&self, query: DeadQuery) -> Result<u64, Error> {
        Ok(EventsControlClient::replay(self.rpc(), query).await?)
    }

    /// Throws away what could not be told; how many that are.
    pub async fn purge_dead(&self, query: DeadQuery) -> Result<u64, Error> {
        Ok(EventsControlClient::purge(self.rpc(), query).await?)
    }
}

impl From<DeskError> for Error {
    fn from(error: DeskError) -> Self {
        let kind = match error.kind() {
            DeskErrorKind::NotFound => ErrorKind::NotFound,
            DeskErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Error> for DeskError {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => DeskErrorKind::NotFound,
            ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::Forbidden => {
                DeskErrorKind::Invalid
            }
            _ => DeskErrorKind::Unavailable,
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::new(kind, text)
    }
}
