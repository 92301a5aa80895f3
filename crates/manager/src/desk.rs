//! Answers the control API.

use std::sync::Arc;

use control_api::{
    Component, ComponentState, ControlServer, Error, ErrorKind, Hello, REVISION, Standing, Status,
    ToolCallParams, Toolbox, Welcome,
};
use guard::{Grant, Scope};
use jiff::Timestamp;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use jsonrpsee::{Extensions, PendingSubscriptionSink};
use mcp_protocol::App;

use crate::peer::Peer;
use crate::supervise::{State, Supervisor};

mod tools;

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

/// Answers the control API. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    about: Arc<About>,
    apps: Apps,
    supervisor: Supervisor,
}

// === impl Desk ===

impl Desk {
    /// A desk over these tools.
    pub fn new(about: About, apps: Apps, supervisor: Supervisor) -> Self {
        Self { about: Arc::new(about), apps, supervisor }
    }

    fn standing(&self, peer: &Peer) -> Standing {
        if peer.uid == 0 || peer.uid == self.about.uid { Standing::Owner } else { Standing::Caller }
    }

    /// The tools of a peer. Its scope is everything: what it may do is for policy to say.
    fn app(&self, peer: &Peer) -> (App, Grant) {
        let grant = Grant::new(peer.principal(), Scope::everything());
        ((self.apps)(&grant), grant)
    }

    fn components(&self) -> Vec<Component> {
        let parts = self.supervisor.parts().into_iter();
        let component = |(name, part): (&'static str, crate::supervise::Part)| Component {
            name: name.to_owned(),
            state: match part.state {
                State::Running => ComponentState::Running,
                State::Waiting => ComponentState::Waiting,
                State::Stopped => ComponentState::Stopped,
            },
            restarts: part.restarts,
            since: part.since,
            error: part.error,
        };
        parts.map(component).collect()
    }
}

/// Who is at the other end of this connection.
fn peer(extensions: &Extensions) -> Result<Peer, Error> {
    // Put there for every connection; without it nobody is let in.
    extensions
        .get::<Peer>()
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::Forbidden, "tell who calls: the system did not say"))
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
        Ok(Status {
            version: self.about.version.clone(),
            pid: std::process::id(),
            started: self.about.started,
            mode: self.about.mode.to_string(),
            members: self.about.members.clone(),
            components: self.components(),
        })
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
