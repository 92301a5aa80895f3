//! The client: one connection to the manager, checked to be of the same version.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::client::{
    Client as RpcClient, ClientBuilder, Subscription, SubscriptionCloseReason,
};
use tokio::net::UnixStream;

use crate::REVISION;
use crate::api::ControlClient as _;
use crate::error::{Error, ErrorKind};
use crate::events::OnBehalfOf;
use crate::types::{
    Action, ActionFilter, Approval, ApprovalDetail, ApprovalFilter, AuditHead, AuditPage, Confirm,
    DecisionParams, Freeze, FreezeParams, Hello, LiftParams, SettleParams, Status, ToolCallParams,
    ToolEvent, Toolbox, Welcome,
};

/// The address in the handshake: a Unix socket has none, and nobody resolves it.
const ADDRESS: &str = "ws://localhost/";
/// The longest that a call may take; [`Client::wait`] asks for less each time.
const CALL: Duration = Duration::from_mins(1);
/// The longest that the manager is asked to wait at a time.
const WAIT_SECS: u64 = 30;
/// The largest message, an answer with its object and text included.
const MESSAGE: usize = 16 * 1024 * 1024;

/// A connection to a manager. Cheap to clone; closed with the last clone.
#[derive(Clone, Debug)]
pub struct Client {
    rpc: Arc<RpcClient>,
    welcome: Arc<Welcome>,
    by: Option<Arc<str>>,
}

/// Approvals as they change.
#[derive(Debug)]
pub struct Approvals {
    inner: Subscription<Approval>,
}

/// A call of a tool. Dropping it cancels the call.
#[derive(Debug)]
pub struct ToolCall {
    inner: Subscription<ToolEvent>,
}

// === impl Client ===

impl Client {
    /// Connects to the manager that listens at `socket`, for a program of this version.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Absent`] where nobody listens, [`ErrorKind::Closed`] where this account is not let in,
    /// [`ErrorKind::Forbidden`] where somebody else could have put the socket there,
    /// [`ErrorKind::Version`] where the manager is of another version.
    pub async fn connect(socket: &Path, version: &str) -> Result<Self, Error> {
        let stream =
            UnixStream::connect(socket).await.map_err(|error| unreachable(socket, error))?;
        who_answers(socket, &stream)?;
        let url = Url::parse(ADDRESS).expect("a constant address");
        let transport = WsTransportClientBuilder::default()
            .max_request_size(u32::try_from(MESSAGE).unwrap_or(u32::MAX))
            .max_response_size(u32::try_from(MESSAGE).unwrap_or(u32::MAX));
        let (sender, receiver) =
            transport.build_with_stream(url, stream).await.map_err(|error| {
                let message = format!("talk to the manager at {}", socket.display());
                Error::new(ErrorKind::Lost, message).because(error)
            })?;
        let rpc = ClientBuilder::default().request_timeout(CALL).build_with_tokio(sender, receiver);
        let hello = Hello { version: version.to_owned(), revision: REVISION };
        let welcome = rpc.hello(hello).await.map_err(Error::from)?;
        if welcome.version != version || welcome.revision != REVISION {
            let message = format!(
                "use the manager at {}: it is of version {} (interface {}) and this program of {version} (interface \
                 {REVISION}); run both in one version, and restart the manager after an update",
                socket.display(),
                welcome.version,
                welcome.revision,
            );
            return Err(Error::new(ErrorKind::Version, message));
        }
        Ok(Self { rpc: Arc::new(rpc), welcome: Arc::new(welcome), by: None })
    }

    /// The connection, for the other parts of the interface.
    pub(crate) fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The same connection, for what is done about events on behalf of this principal.
    #[must_use]
    pub fn on_behalf_of(&self, principal: &str) -> Self {
        Self { by: Some(principal.into()), ..self.clone() }
    }

    /// For whom it is done.
    pub(crate) fn by(&self) -> OnBehalfOf {
        self.by.as_deref().map(str::to_owned)
    }

    /// What the manager said at first.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Ends when the connection is gone.
    pub async fn closed(&self) {
        self.rpc.on_disconnect().await;
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.rpc.is_connected()
    }

    /// How the manager is.
    pub async fn status(&self) -> Result<Status, Error> {
        Ok(self.rpc.status().await?)
    }

    /// The approvals that this account may see, newest first.
    pub async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<Approval>, Error> {
        Ok(self.rpc.approvals(filter).await?)
    }

    /// One approval with its plan.
    pub async fn approval(&self, id: &str) -> Result<ApprovalDetail, Error> {
        Ok(self.rpc.approval(id.to_owned()).await?)
    }

    /// Decides.
    pub async fn decide(&self, decision: DecisionParams) -> Result<Approval, Error> {
        Ok(self.rpc.decide(decision).await?)
    }

    /// Waits until the approval is over, for as long as `patience` lasts, and says how it is then.
    pub async fn wait(&self, id: &str, patience: Duration) -> Result<Approval, Error> {
        let mut left = patience.as_secs();
        loop {
            let round = left.min(WAIT_SECS);
            let approval = self.rpc.wait(id.to_owned(), round).await?;
            left -= round;
            if left == 0 || approval.is_over() {
                return Ok(approval);
            }
        }
    }

    /// Approvals as they are asked for and change.
    pub async fn subscribe_approvals(&self) -> Result<Approvals, Error> {
        Ok(Approvals { inner: self.rpc.subscribe_approvals().await? })
    }

    /// Whether changes are stopped.
    pub async fn frozen(&self) -> Result<Option<Freeze>, Error> {
        Ok(self.rpc.frozen().await?)
    }

    /// Stops all changes.
    pub async fn freeze(&self, params: FreezeParams) -> Result<Freeze, Error> {
        Ok(self.rpc.freeze(params).await?)
    }

    /// Lets changes run again.
    pub async fn lift(&self, params: LiftParams) -> Result<(), Error> {
        Ok(self.rpc.lift(params).await?)
    }

    /// Changes that are reverted unless somebody confirms them.
    pub async fn confirms(&self) -> Result<Vec<Confirm>, Error> {
        Ok(self.rpc.confirms().await?)
    }

    /// Confirms a change, so that it stays.
    pub async fn confirm(&self, id: &str) -> Result<Confirm, Error> {
        Ok(self.rpc.confirm(id.to_owned()).await?)
    }

    /// What was or is being done.
    pub async fn actions(&self, filter: ActionFilter) -> Result<Vec<Action>, Error> {
        Ok(self.rpc.actions(filter).await?)
    }

    /// Says how an action ended whose end is not known.
    pub async fn settle(&self, params: SettleParams) -> Result<Action, Error> {
        Ok(self.rpc.settle(params).await?)
    }

    /// The newest record of the audit chain.
    pub async fn audit_head(&self) -> Result<Option<AuditHead>, Error> {
        Ok(self.rpc.audit_head().await?)
    }

    /// Records of the audit chain after this one.
    pub async fn audit_records(&self, after: u64, limit: u32) -> Result<AuditPage, Error> {
        Ok(self.rpc.audit_records(after, limit).await?)
    }

    /// The tools that this account may use.
    pub async fn tools(&self) -> Result<Toolbox, Error> {
        Ok(self.rpc.tools().await?)
    }

    /// Calls a tool.
    pub async fn call_tool(&self, call: ToolCallParams) -> Result<ToolCall, Error> {
        Ok(ToolCall { inner: self.rpc.call_tool(call).await? })
    }
}

fn unreachable(socket: &Path, error: io::Error) -> Error {
    let place = socket.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Absent, format!("reach a manager at {place}: none listens there"))
        }
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Closed,
            format!(
                "reach the manager at {place}: this account may not open its socket; its operator names a group that \
                 may in manager.socket_group"
            ),
        ),
        _ => (ErrorKind::Lost, format!("reach the manager at {place}")),
    };
    Error::new(kind, message).because(error)
}

/// Refuses whoever may not be the manager: a socket where others put theirs is anybody's, and what is
/// shown there could be another plan than the one that is signed.
fn who_answers(socket: &Path, stream: &UnixStream) -> Result<(), Error> {
    let (place, folder) = (socket.display(), socket.parent().unwrap_or(Path::new("/")));
    let lost = |error| {
        let message = format!("tell who answers at {place}");
        Error::new(ErrorKind::Lost, message).because(error)
    };
    let entry = std::fs::metadata(folder).map_err(lost)?;
    let peer = stream.peer_cred().map_err(lost)?.uid();
    let place_of = Folder { owner: entry.uid(), mode: entry.mode() };
    if place_of.vouches_for(peer) {
        return Ok(());
    }
    let message = format!(
        "trust what answers at {place}: account {peer} does, and others than the manager may put a socket into {} \
         (owner {}, mode {:o}); let manager.socket stand in a folder that only the manager's account writes",
        folder.display(),
        entry.uid(),
        entry.mode() & 0o7777,
    );
    Err(Error::new(ErrorKind::Forbidden, message))
}

/// The folder of a socket.
struct Folder {
    owner: u32,
    mode: u32,
}

impl Folder {
    /// Whether a socket of this account in it is one that the folder's owner or root wanted there.
    fn vouches_for(&self, peer: u32) -> bool {
        let (for_group, for_all) = (self.mode & 0o020 != 0, self.mode & 0o002 != 0);
        peer == 0 || (!for_all && peer == self.owner) || (!for_all && !for_group && self.owner == 0)
    }
}

// === impl Approvals ===

impl Approvals {
    /// The next one; `None` when the manager is gone.
    ///
    /// # Errors
    ///
    /// When this client was too slow to be told everything, or the manager says something strange.
    pub async fn next(&mut self) -> Option<Result<Approval, Error>> {
        next(&mut self.inner).await
    }
}

// === impl ToolCall ===

impl ToolCall {
    /// What happens next; `None` when the manager is gone.
    ///
    /// # Errors
    ///
    /// As [`Approvals::next`].
    pub async fn next(&mut self) -> Option<Result<ToolEvent, Error>> {
        next(&mut self.inner).await
    }
}

async fn next<T: serde::de::DeserializeOwned>(
    subscription: &mut Subscription<T>,
) -> Option<Result<T, Error>> {
    match subscription.next().await {
        Some(Ok(item)) => Some(Ok(item)),
        Some(Err(error)) => {
            let message =
                "read what the manager sent: it has another form; run both in one version";
            Some(Err(Error::new(ErrorKind::Version, message).because(error)))
        }
        None if matches!(subscription.close_reason(), Some(SubscriptionCloseReason::Lagged)) => {
            let message = "follow the manager: more came than was taken";
            Some(Err(Error::new(ErrorKind::Lost, message)))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_the_managers_where_only_the_manager_puts_one() {
        for (owner, mode, peer, is_trusted) in [
            (900, 0o755, 900, true),
            (900, 0o700, 900, true),
            (900, 0o775, 900, true),
            (900, 0o755, 0, true),
            (0, 0o1777, 0, true),
            (0, 0o755, 900, true),
            (0, 0o775, 900, false),
            (0, 0o1777, 900, false),
            (900, 0o777, 900, false),
            (900, 0o755, 901, false),
            (901, 0o755, 900, false),
        ] {
            let folder = Folder { owner, mode };
            assert_eq!(folder.vouches_for(peer), is_trusted, "{owner} {mode:o} {peer}");
        }
    }
}
