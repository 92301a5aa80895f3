//! The pipeline at the control socket: who asks, and whether they may.
//!
//! *Invariant:* what changes what people are told is done by the manager's own account and by
//! approvers, and written into the audit log. *Invariant:* what is read of events holds no secrets.

use control_api::{Error, ErrorKind, EventsControlServer};
use event_core::Logged;
use event_core::desk::{
    DeadLetter, DeadQuery, EventCounts, EventDesk, EventQuery, EventsFound, EventsHealth,
    IncidentQuery, IncidentStory, IncidentView, NewSilence, Notice, SilenceView,
};
use event_core::live::{LiveQuery, LiveView};
use jsonrpsee::Extensions;
use jsonrpsee::core::{RpcResult, async_trait};
use serde_json::{Value, json};

use super::Events;
use super::redacted::Redacted;
use crate::desk::{Desk, peer};

/// Answers what is asked about events.
pub(crate) struct Counter {
    pub(crate) desk: Desk,
    pub(crate) events: Option<Events>,
}

// === impl Counter ===

impl Counter {
    fn events(&self) -> Result<&Events, Error> {
        self.events.as_ref().ok_or_else(|| {
            let message = "ask about events: this manager runs none; give it an `[input.<name>]` or `[output.<name>]`, \
                           or take `events.enabled = false` away";
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Who it is, if they may change what people are told.
    fn may(&self, extensions: &Extensions, what: &str) -> Result<(Events, String), Error> {
        let peer = peer(extensions)?;
        self.desk.must_see_all(&peer, what)?;
        Ok((self.events()?.clone(), peer.principal().to_string()))
    }

    async fn note(
        &self,
        extensions: &Extensions,
        action: &str,
        target: &str,
        payload: Value,
    ) -> Result<(), Error> {
        let by = peer(extensions)?.principal();
        self.desk.deciding().note(by, action, target, payload).await
    }
}

#[async_trait]
impl EventsControlServer for Counter {
    async fn find(&self, extensions: &Extensions, query: EventQuery) -> RpcResult<EventsFound> {
        peer(extensions)?;
        let events = self.events()?;
        let found = EventDesk::find(events, query).await.map_err(Error::from)?;
        Ok(found.redacted(events.redactor()))
    }

    async fn event(&self, extensions: &Extensions, name: String) -> RpcResult<Logged> {
        peer(extensions)?;
        let events = self.events()?;
        let found = EventDesk::event(events, &name).await.map_err(Error::from)?;
        Ok(found.redacted(events.redactor()))
    }

    async fn count(&self, extensions: &Extensions, query: EventQuery) -> RpcResult<EventCounts> {
        peer(extensions)?;
        Ok(EventDesk::count(self.events()?, query).await.map_err(Error::from)?)
    }

    async fn incidents(
        &self,
        extensions: &Extensions,
        query: IncidentQuery,
    ) -> RpcResult<Vec<IncidentView>> {
        peer(extensions)?;
        let events = self.events()?;
        let found = EventDesk::incidents(events, query).await.map_err(Error::from)?;
        Ok(found.redacted(events.redactor()))
    }

    async fn incident(
        &self,
        extensions: &Extensions,
        name: String,
        reports: u32,
    ) -> RpcResult<IncidentStory> {
        peer(extensions)?;
        let events = self.events()?;
        let found = EventDesk::incident(events, &name, reports).await.map_err(Error::from)?;
        Ok(found.redacted(events.redactor()))
    }

    async fn acknowledge(&self, extensions: &Extensions, name: String) -> RpcResult<IncidentView> {
        let (events, by) = self.may(extensions, "acknowledge an incident")?;
        let incident = EventDesk::acknowledge(&events, &name, &by).await.map_err(Error::from)?;
        let incident = incident.redacted(events.redactor());
        let payload = json!({"title": incident.title});
        self.note(extensions, "incident.acknowledge", &incident.id, payload).await?;
        Ok(incident)
    }

    async fn resolve(&self, extensions: &Extensions, name: String) -> RpcResult<IncidentView> {
        let (events, by) = self.may(extensions, "resolve an incident")?;
        let incident = EventDesk::resolve(&events, &name, &by).await.map_err(Error::from)?;
        let incident = incident.redacted(events.redactor());
        let payload = json!({"title": incident.title});
        self.note(extensions, "incident.resolve", &incident.id, payload).await?;
        Ok(incident)
    }

    async fn silence(
        &self,
        extensions: &Extensions,
        silence: NewSilence,
    ) -> RpcResult<SilenceView> {
        let (events, by) = self.may(extensions, "silence events")?;
        let made = EventDesk::silence(&events, silence, &by).await.map_err(Error::from)?;
        let payload =
            json!({"when": made.when, "until": made.until.to_string(), "reason": made.reason});
        self.note(extensions, "silence.set", &made.name, payload).await?;
        Ok(made)
    }

    async fn unsilence(&self, extensions: &Extensions, name: String) -> RpcResult<()> {
        let (events, by) = self.may(extensions, "end a silence")?;
        EventDesk::unsilence(&events, &name, &by).await.map_err(Error::from)?;
        self.note(extensions, "silence.end", &name, Value::Null).await?;
        Ok(())
    }

    async fn silences(&self, extensions: &Extensions) -> RpcResult<Vec<SilenceView>> {
        peer(extensions)?;
        Ok(EventDesk::silences(self.events()?).await.map_err(Error::from)?)
    }

    async fn send(&self, extensions: &Extensions, notice: Notice) -> RpcResult<Vec<String>> {
        let (events, by) = self.may(extensions, "send a message")?;
        let title = notice.title.clone();
        let to = EventDesk::send(&events, notice, &by).await.map_err(Error::from)?;
        let payload = json!({"outputs": to, "title": title});
        self.note(extensions, "notification.send", &to.join(","), payload).await?;
        Ok(to)
    }

    async fn health(&self, extensions: &Extensions) -> RpcResult<EventsHealth> {
        peer(extensions)?;
        match &self.events {
            Some(events) => Ok(EventDesk::health(events).await.map_err(Error::from)?),
            None => Ok(EventsHealth::default()),
        }
    }

    async fn live(&self, extensions: &Extensions, query: LiveQuery) -> RpcResult<LiveView> {
        peer(extensions)?;
        match &self.events {
            Some(events) => Ok(EventDesk::live(events, query).await.map_err(Error::from)?),
            None => Ok(LiveView::default()),
        }
    }

    async fn changed(&self, extensions: &Extensions, at_most_secs: u64) -> RpcResult<()> {
        peer(extensions)?;
        Ok(EventDesk::changed(self.events()?, at_most_secs).await.map_err(Error::from)?)
    }

    async fn dead(&self, extensions: &Extensions, query: DeadQuery) -> RpcResult<Vec<DeadLetter>> {
        peer(extensions)?;
        let events = self.events()?;
        let found = events.dead(&query).await.map_err(Error::from)?;
        Ok(found.redacted(events.redactor()))
    }

    async fn replay(&self, extensions: &Extensions, query: DeadQuery) -> RpcResult<u64> {
        let (events, _) = self.may(extensions, "tell again what could not be told")?;
        let count = events.replay(&query).await.map_err(Error::from)?;
        self.note(extensions, "dead.replay", "outbox", json!({"count": count})).await?;
        Ok(count)
    }

    async fn purge(&self, extensions: &Extensions, query: DeadQuery) -> RpcResult<u64> {
        let (events, _) = self.may(extensions, "throw away what could not be told")?;
        let count = events.purge(&query).await.map_err(Error::from)?;
        self.note(extensions, "dead.purge", "outbox", json!({"count": count})).await?;
        Ok(count)
    }
}
