//! The pipeline at the control socket: who asks, and whether they may.
//!
//! *Invariant:* what changes what people are told is done by the manager's own account and by
//! approvers, and written into the audit log. *Invariant:* what is read of events holds no secrets.

use control_api::{Error, ErrorKind, EventsControlServer, OnBehalfOf};
use event_core::Logged;
use event_core::desk::{
    DeadLetter, DeadQuery, EventCounts, EventDesk, EventQuery, EventsFound, EventsHealth,
    IncidentQuery, IncidentStory, IncidentView, NewSilence, Notice, SilenceView,
};
use event_core::live::{LiveQuery, LiveView};
use guard::Principal;
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

    /// Who does it and for whom, if they may change what people are told.
    fn may(
        &self,
        extensions: &Extensions,
        what: &str,
        by: OnBehalfOf,
    ) -> Result<(Events, Principal), Error> {
        let peer = peer(extensions)?;
        self.desk.must_see_all(&peer, what)?;
        Ok((self.events()?.clone(), together(peer.principal(), by, what)?))
    }

    async fn note(
        &self,
        by: Principal,
        action: &str,
        target: &str,
        payload: Value,
    ) -> Result<(), Error> {
        self.desk.deciding().note(by, action, target, payload).await
    }
}

/// The account, and whom it acts for; of several who act for each other the first asker counts.
fn together(account: Principal, by: OnBehalfOf, what: &str) -> Result<Principal, Error> {
    let Some(by) = by else { return Ok(account) };
    let invalid = |error| Error::new(ErrorKind::Invalid, format!("{what}: {error}"));
    let by: Principal = by.parse().map_err(invalid)?;
    let asker = by.on_behalf_of().cloned().unwrap_or(by);
    if asker == account { Ok(account) } else { account.acting_for(asker).map_err(invalid) }
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

    async fn acknowledge(
        &self,
        extensions: &Extensions,
        name: String,
        by: OnBehalfOf,
    ) -> RpcResult<IncidentView> {
        let (events, by) = self.may(extensions, "acknowledge an incident", by)?;
        let incident =
            EventDesk::acknowledge(&events, &name, &by.to_string()).await.map_err(Error::from)?;
        let incident = incident.redacted(events.redactor());
        let payload = json!({"title": incident.title});
        self.note(by, "incident.acknowledge", &incident.id, payload).await?;
        Ok(incident)
    }

    async fn resolve(
        &self,
        extensions: &Extensions,
        name: String,
        by: OnBehalfOf,
    ) -> RpcResult<IncidentView> {
        let (events, by) = self.may(extensions, "resolve an incident", by)?;
        let incident =
            EventDesk::resolve(&events, &name, &by.to_string()).await.map_err(Error::from)?;
        let incident = incident.redacted(events.redactor());
        let payload = json!({"title": incident.title});
        self.note(by, "incident.resolve", &incident.id, payload).await?;
        Ok(incident)
    }

    async fn silence(
        &self,
        extensions: &Extensions,
        silence: NewSilence,
        by: OnBehalfOf,
    ) -> RpcResult<SilenceView> {
        let (events, by) = self.may(extensions, "silence events", by)?;
        let made =
            EventDesk::silence(&events, silence, &by.to_string()).await.map_err(Error::from)?;
        let payload =
            json!({"when": made.when, "until": made.until.to_string(), "reason": made.reason});
        self.note(by, "silence.set", &made.name, payload).await?;
        Ok(made)
    }

    async fn unsilence(
        &self,
        extensions: &Extensions,
        name: String,
        by: OnBehalfOf,
    ) -> RpcResult<()> {
        let (events, by) = self.may(extensions, "end a silence", by)?;
        EventDesk::unsilence(&events, &name, &by.to_string()).await.map_err(Error::from)?;
        self.note(by, "silence.end", &name, Value::Null).await?;
        Ok(())
    }

    async fn silences(&self, extensions: &Extensions) -> RpcResult<Vec<SilenceView>> {
        peer(extensions)?;
        Ok(EventDesk::silences(self.events()?).await.map_err(Error::from)?)
    }

    async fn send(
        &self,
        extensions: &Extensions,
        notice: Notice,
        by: OnBehalfOf,
    ) -> RpcResult<Vec<String>> {
        let (events, by) = self.may(extensions, "send a message", by)?;
        let title = notice.title.clone();
        let to = EventDesk::send(&events, notice, &by.to_string()).await.map_err(Error::from)?;
        let payload = json!({"outputs": to, "title": title});
        self.note(by, "notification.send", &to.join(","), payload).await?;
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
        let (events, by) = self.may(extensions, "tell again what could not be told", None)?;
        let count = events.replay(&query).await.map_err(Error::from)?;
        self.note(by, "dead.replay", "outbox", json!({"count": count})).await?;
        Ok(count)
    }

    async fn purge(&self, extensions: &Extensions, query: DeadQuery) -> RpcResult<u64> {
        let (events, by) = self.may(extensions, "throw away what could not be told", None)?;
        let count = events.purge(&query).await.map_err(Error::from)?;
        self.note(by, "dead.purge", "outbox", json!({"count": count})).await?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_acted_for_stands_beside_the_account() {
        let account = Principal::local(1000);
        let by =
            |who: &str| together(account.clone(), Some(who.to_owned()), "acknowledge incident 7");
        assert_eq!(together(account.clone(), None, "acknowledge").unwrap(), account);
        assert_eq!(by("local:1000").unwrap(), account);
        assert_eq!(by("token:ann").unwrap().to_string(), "local:1000 for token:ann");
        // Of several who act for each other the first asker counts.
        let first = by("automation:nightly for token:ann").unwrap();
        assert_eq!(first.to_string(), "local:1000 for token:ann");
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for who in ["", "ann", "token:", "root:0", "token:ann for", "local:1000\nlocal:0"] {
            let refused =
                together(Principal::local(1000), Some(who.to_owned()), "acknowledge incident 7");
            let error = refused.expect_err(who);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{who}");
            assert!(error.to_string().contains("acknowledge incident 7: "), "{error}");
        }
    }
}
