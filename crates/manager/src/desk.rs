//! Answers the control API.

use std::sync::Arc;
use std::time::Duration;

use control_api::{
    Action, ActionFilter, Approval, ApprovalDetail, ApprovalFilter, AuditHead, AuditPage,
    Component, ComponentState, Confirm, ControlServer, DecisionParams, Error, ErrorKind,
    EventsControlServer as _, Freeze, FreezeParams, Hello, LiftParams, REVISION, SettleParams,
    Standing, Status, ToolCallParams, Toolbox, Welcome,
};
use guard::ports::{ActionState, Actions, ApprovalState, Approvals, ConfirmId, Confirms};
use guard::{Grant, Principal, Scope, ports};
use jiff::{SignedDuration, Timestamp};
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait, to_json_raw_value};
use jsonrpsee::{Extensions, Methods, PendingSubscriptionSink};
use mcp_protocol::App;
use store::LazyStore;
use tokio::sync::broadcast::error::RecvError;

use crate::decide::{Deciding, port};
use crate::events::{Counter, Events};
use crate::peer::Peer;
use crate::supervise::{Part, State, Supervisor};
use crate::work::Engine;

mod tools;
mod view;

pub use self::view::action as shown_action;

/// The most rows of one answer.
const MOST: u32 = 500;
/// The longest that a call waits.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a waiting call looks by itself: other processes write to the store, too.
const LOOK: Duration = Duration::from_secs(1);

/// The tools that a grant may use.
pub type Apps = Arc<dyn Fn(&Grant) -> App + Send + Sync>;

/// What the manager says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub started: Timestamp,
    /// How far it goes for any caller.
    pub mode: guard::Mode,
    /// The clusters and servers that it has credentials for.
    pub members: Vec<String>,
    /// The account that it runs as.
    pub uid: u32,
}

/// What the desk answers from.
pub struct Books {
    /// What runs what was approved.
    pub engine: Engine,
    /// Takes decisions.
    pub deciding: Deciding,
    /// What was begun.
    pub actions: Arc<dyn Actions>,
    /// Changes that wait for being confirmed.
    pub confirms: Arc<dyn Confirms>,
    /// The audit log.
    pub audit: LazyStore,
    /// The event pipeline, if there is one.
    pub events: Option<Events>,
}

/// Answers the control API. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    about: Arc<About>,
    apps: Apps,
    books: Arc<Books>,
    supervisor: Supervisor,
}

// === impl Desk ===

impl Desk {
    /// A desk over these tools and books.
    pub fn new(about: About, apps: Apps, books: Books, supervisor: Supervisor) -> Self {
        Self { about: Arc::new(about), apps, books: Arc::new(books), supervisor }
    }

    /// Everything that can be asked at the socket.
    pub(crate) fn into_methods(self) -> Methods {
        let events = self.books.events.clone();
        let counter = Counter { desk: self.clone(), events };
        let mut methods = Methods::from(self.into_rpc());
        methods.merge(counter.into_rpc()).expect("the two parts have names of their own");
        methods
    }

    pub(crate) fn deciding(&self) -> &Deciding {
        &self.books.deciding
    }

    fn standing(&self, peer: &Peer) -> Standing {
        if let Some(entry) = self.books.engine.book().of_peer(peer).into_iter().next() {
            return Standing::Approver { name: entry.approver.name };
        }
        if peer.uid == 0 || peer.uid == self.about.uid { Standing::Owner } else { Standing::Caller }
    }

    /// Whose records a peer sees: everybody's, or its own.
    fn sees(&self, peer: &Peer) -> Option<Principal> {
        match self.standing(peer) {
            Standing::Caller => Some(peer.principal()),
            Standing::Owner | Standing::Approver { .. } => None,
        }
    }

    pub(crate) fn must_see_all(&self, peer: &Peer, what: &str) -> Result<(), Error> {
        match self.sees(peer) {
            None => Ok(()),
            Some(own) => {
                let message =
                    format!("{what}: {own} is neither an approver nor the manager's own account");
                Err(Error::new(ErrorKind::Forbidden, message))
            }
        }
    }

    /// The tools of a peer. Its scope is everything: what it may do is for policy to say.
    fn app(&self, peer: &Peer) -> (App, Grant) {
        let grant = Grant::at_home(peer.principal(), Scope::everything());
        ((self.apps)(&grant), grant)
    }

    fn now(&self) -> Timestamp {
        self.books.engine.now()
    }

    fn approvals(&self) -> &Arc<dyn Approvals> {
        self.books.engine.approvals()
    }

    /// The approval, if the peer may see it; another's looks like none.
    async fn find(&self, peer: &Peer, id: &str) -> Result<ports::Approval, Error> {
        let shown: String = id.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        let missing =
            || Error::new(ErrorKind::NotFound, format!("find approval {shown}: there is none"));
        let id = id.parse().map_err(|_| missing())?;
        let found = self.approvals().approval(id).await.map_err(port)?.ok_or_else(missing)?;
        match self.sees(peer) {
            Some(own) if found.requested_by.actor() != own => Err(missing()),
            _ => Ok(found),
        }
    }

    fn components(&self) -> Vec<Component> {
        let component = |(name, part): (Arc<str>, Part)| Component {
            name: name.to_string(),
            state: match part.state {
                State::Running => ComponentState::Running,
                State::Waiting => ComponentState::Waiting,
                State::Stopped => ComponentState::Stopped,
            },
            restarts: part.restarts,
            since: part.since,
            error: part.error,
        };
        self.supervisor.parts().into_iter().map(component).collect()
    }

    async fn count(&self, state: ActionState) -> Result<u64, Error> {
        let filter = ports::ActionFilter { states: vec![state], ..ports::ActionFilter::default() };
        Ok(self.books.actions.actions(&filter).await.map_err(port)?.len() as u64)
    }
}

/// Who is at the other end of this connection.
pub(crate) fn peer(extensions: &Extensions) -> Result<Peer, Error> {
    // Put there for every connection; without it nobody is let in.
    extensions
        .get::<Peer>()
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::Forbidden, "tell who calls: the system did not say"))
}

fn words<T>(
    given: &[String],
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let states = given.iter().map(|word| read(word).ok_or(word));
    states.collect::<Result<_, _>>().map_err(|word| {
        let word = stdx::untrusted::line(word, 40).into_owned();
        Error::new(ErrorKind::Invalid, format!("list {what}: {word:?} is no state of one"))
    })
}

#[async_trait]
impl ControlServer for Desk {
    async fn hello(&self, extensions: &Extensions, hello: Hello) -> RpcResult<Welcome> {
        let peer = peer(extensions)?;
        if hello.version != self.about.version || hello.revision != REVISION {
            tracing::warn!(
                theirs = hello.version,
                pid = peer.pid,
                "a program of another version called"
            );
        }
        Ok(Welcome {
            version: self.about.version.clone(),
            revision: REVISION,
            pid: std::process::id(),
            principal: peer.principal().to_string(),
            standing: self.standing(&peer),
        })
    }

    async fn status(&self, extensions: &Extensions) -> RpcResult<Status> {
        peer(extensions)?;
        let states = vec![ApprovalState::Pending];
        let filter = ports::ApprovalFilter { states, ..ports::ApprovalFilter::default() };
        let pending = self.approvals().approvals(&filter).await.map_err(port)?;
        let now = self.now();
        let pending = pending.iter().filter(|approval| !approval.is_expired(now)).count();
        let confirms = self.books.confirms.open_confirms().await.map_err(port)?;
        let approvers = self.books.engine.book().all().into_iter();
        let approvers = approvers.filter(|entry| entry.approver.has_a_way());
        Ok(Status {
            version: self.about.version.clone(),
            pid: std::process::id(),
            started: self.about.started,
            mode: self.about.mode.to_string(),
            members: self.about.members.clone(),
            frozen: self.books.deciding.frozen().await?.as_ref().map(view::freeze),
            approvals_pending: pending as u64,
            actions_running: self.count(ActionState::Running).await?,
            actions_unknown: self.count(ActionState::Unknown).await?,
            confirms_waiting: confirms.len() as u64,
            approvers: approvers.map(|entry| entry.approver.name).collect(),
            components: self.components(),
        })
    }

    async fn approvals(
        &self,
        extensions: &Extensions,
        filter: ApprovalFilter,
    ) -> RpcResult<Vec<Approval>> {
        let peer = peer(extensions)?;
        let wanted = words(&filter.states, "approvals", ApprovalState::from_word)?;
        let filter = ports::ApprovalFilter {
            requested_by: self.sees(&peer),
            states: wanted.clone(),
            limit: filter.limit.unwrap_or(MOST).clamp(1, MOST),
        };
        let found = self.approvals().approvals(&filter).await.map_err(port)?;
        let now = self.now();
        let is_wanted =
            |it: &&ports::Approval| wanted.is_empty() || wanted.contains(&it.state_at(now));
        Ok(found.iter().filter(is_wanted).map(|it| view::approval(it, now)).collect())
    }

    async fn approval(&self, extensions: &Extensions, id: String) -> RpcResult<ApprovalDetail> {
        let found = self.find(&peer(extensions)?, &id).await?;
        Ok(view::detail(&found, self.now()))
    }

    async fn decide(
        &self,
        extensions: &Extensions,
        decision: DecisionParams,
    ) -> RpcResult<Approval> {
        let peer = peer(extensions)?;
        let DecisionParams { id, digest, approve, proof, note } = decision;
        // Whoever decides need not be one who sees everything: what counts is the proof.
        let id = id
            .parse()
            .map_err(|_| Error::new(ErrorKind::NotFound, "decide: that is no approval's id"))?;
        let decided = self.books.deciding.decide(&peer, id, &digest, approve, &proof, note).await?;
        Ok(view::approval(&decided, self.now()))
    }

    async fn wait(
        &self,
        extensions: &Extensions,
        id: String,
        timeout_secs: u64,
    ) -> RpcResult<Approval> {
        let peer = peer(extensions)?;
        let patience = Duration::from_secs(timeout_secs).min(LONGEST_WAIT);
        let until = tokio::time::Instant::now() + patience;
        let mut changes = self.books.engine.changes();
        loop {
            let found = self.find(&peer, &id).await?;
            let is_over = found.state_at(self.now()).is_final();
            if is_over || tokio::time::Instant::now() >= until {
                return Ok(view::approval(&found, self.now()));
            }
            tokio::select! {
                _ = changes.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn subscribe_approvals(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
    ) -> SubscriptionResult {
        let peer = peer(extensions)?;
        let sees = self.sees(&peer);
        let mut changes = self.books.engine.changes();
        let sink = pending.accept().await?;
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = sink.closed() => return Ok(()),
            };
            match change {
                Ok(it) if sees.as_ref().is_none_or(|own| it.requested_by.actor() == *own) => {
                    let item = to_json_raw_value(&view::approval(&it, self.now()))?;
                    sink.send(item).await?;
                }
                // Another's, or one that was missed: the next one tells how things are.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn frozen(&self, extensions: &Extensions) -> RpcResult<Option<Freeze>> {
        peer(extensions)?;
        Ok(self.books.deciding.frozen().await?.as_ref().map(view::freeze))
    }

    async fn freeze(&self, extensions: &Extensions, params: FreezeParams) -> RpcResult<Freeze> {
        let peer = peer(extensions)?;
        let until = params.for_secs.map(|secs| {
            let length = SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX));
            self.now().checked_add(length).unwrap_or(Timestamp::MAX)
        });
        let reason = params.reason.unwrap_or_default();
        let freeze = self.books.deciding.freeze(peer.principal(), until, reason).await?;
        Ok(view::freeze(&freeze))
    }

    async fn lift(&self, extensions: &Extensions, params: LiftParams) -> RpcResult<()> {
        let peer = peer(extensions)?;
        Ok(self.books.deciding.lift(&peer, params.since, &params.proof).await?)
    }

    async fn confirms(&self, extensions: &Extensions) -> RpcResult<Vec<Confirm>> {
        let sees = self.sees(&peer(extensions)?);
        let open = self.books.confirms.open_confirms().await.map_err(port)?;
        let own =
            |it: &&ports::Confirm| sees.as_ref().is_none_or(|own| it.principal.actor() == *own);
        Ok(open.iter().filter(own).map(view::confirm).collect())
    }

    async fn confirm(&self, extensions: &Extensions, id: String) -> RpcResult<Confirm> {
        let peer = peer(extensions)?;
        let missing = || Error::new(ErrorKind::NotFound, "confirm a change: none of that id waits");
        let id: ConfirmId = id.parse().map_err(|_| missing())?;
        let found = self.books.confirms.confirm_record(id).await.map_err(port)?;
        let found = found.ok_or_else(missing)?;
        if self.sees(&peer).is_some_and(|own| found.principal.actor() != own) {
            return Err(missing().into());
        }
        let books = &self.books;
        let confirms = books.confirms.as_ref();
        let confirmed = books.deciding.confirm(peer.principal(), confirms, id).await?;
        Ok(view::confirm(&confirmed))
    }

    async fn actions(
        &self,
        extensions: &Extensions,
        filter: ActionFilter,
    ) -> RpcResult<Vec<Action>> {
        let peer = peer(extensions)?;
        let filter = ports::ActionFilter {
            principal: self.sees(&peer),
            states: words(&filter.states, "actions", ActionState::from_word)?,
            since: None,
            limit: filter.limit.unwrap_or(MOST).clamp(1, MOST),
        };
        let found = self.books.actions.actions(&filter).await.map_err(port)?;
        Ok(found.iter().map(view::action).collect())
    }

    async fn settle(&self, extensions: &Extensions, params: SettleParams) -> RpcResult<Action> {
        let peer = peer(extensions)?;
        let SettleParams { id, end, note, proof } = params;
        let state = ActionState::from_word(&end)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "settle: that is no end of an action"))?;
        let id = id
            .parse()
            .map_err(|_| Error::new(ErrorKind::NotFound, "settle: that is no action's id"))?;
        let settled = self.books.deciding.settle(&peer, id, state, &note, &proof).await?;
        Ok(view::action(&settled))
    }

    async fn audit_head(&self, extensions: &Extensions) -> RpcResult<Option<AuditHead>> {
        self.must_see_all(&peer(extensions)?, "read the audit log")?;
        let store = self.books.audit.get().await.map_err(unreadable)?;
        let mut head = None;
        loop {
            let after = head.as_ref().map_or(0, |head: &AuditHead| head.seq);
            let page = store.audit_records(after, MOST).await.map_err(unreadable)?;
            match page.into_iter().next_back() {
                Some(last) => head = Some(AuditHead { seq: last.seq, hash: last.hash }),
                None => return Ok(head),
            }
        }
    }

    async fn audit_records(
        &self,
        extensions: &Extensions,
        after: u64,
        limit: u32,
    ) -> RpcResult<AuditPage> {
        self.must_see_all(&peer(extensions)?, "read the audit log")?;
        let limit = limit.clamp(1, MOST);
        let store = self.books.audit.get().await.map_err(unreadable)?;
        let mut records = store.audit_records(after, limit + 1).await.map_err(unreadable)?;
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        Ok(AuditPage { records: records.into_iter().map(view::audit).collect(), more })
    }

    async fn tools(&self, extensions: &Extensions) -> RpcResult<Toolbox> {
        let (app, _) = self.app(&peer(extensions)?);
        Ok(tools::toolbox(&app).await)
    }

    async fn call_tool(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
        call: ToolCallParams,
    ) -> SubscriptionResult {
        let (app, grant) = self.app(&peer(extensions)?);
        tools::call(pending, &app, &grant, call).await
    }
}

fn unreadable(error: store::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "read the audit log").because(error)
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("about", &self.about).finish_non_exhaustive()
    }
}
