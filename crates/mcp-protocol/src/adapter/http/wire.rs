//! What the SDK's loop reads from and writes to: one message in for a request by itself, a queue in for a session, and
//! feeds out.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::{Notify, mpsc};

use super::routes::Routes;
use crate::adapter::session::Session;
use crate::http::feed::{Feed, Kind};

/// The transport of a request by itself: ends when it is answered.
pub(super) struct Single {
    message: Option<Box<ClientJsonRpcMessage>>,
    feed: Arc<Feed>,
    state: Arc<Session>,
    answered: Arc<Notify>,
}

/// The transport of a session: ends when the session does.
pub(super) struct Queue {
    pub(super) incoming: mpsc::Receiver<Box<ClientJsonRpcMessage>>,
    pub(super) routes: Arc<Routes>,
    pub(super) state: Arc<Session>,
}

// === impl Single ===

impl Single {
    pub(super) fn new(
        message: Box<ClientJsonRpcMessage>,
        feed: Arc<Feed>,
        state: Arc<Session>,
    ) -> Self {
        Self { message: Some(message), feed, state, answered: Arc::default() }
    }
}

impl Transport<RoleServer> for Single {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        // Written here and not in the future, so that messages keep their order.
        let kind = kind_of(&message);
        self.feed.push(kind, to_json(&message));
        if matches!(kind, Kind::Answer(_)) {
            self.answered.notify_one();
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(message) = self.message.take() {
            return Some(*message);
        }
        self.answered.notified().await;
        None
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.state.stop();
        self.feed.end();
        Ok(())
    }
}

// === impl Queue ===

impl Transport<RoleServer> for Queue {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        self.routes.send(&message, &self.state);
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let message = self.incoming.recv().await;
        if message.is_none() {
            self.state.stop();
        }
        message.map(|message| *message)
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.state.stop();
        self.routes.end();
        Ok(())
    }
}

pub(super) fn kind_of(message: &ServerJsonRpcMessage) -> Kind {
    match message {
        ServerJsonRpcMessage::Request(_) => Kind::Question,
        ServerJsonRpcMessage::Notification(_) => Kind::Note,
        ServerJsonRpcMessage::Response(_) => Kind::Answer(None),
        ServerJsonRpcMessage::Error(error) => Kind::Answer(Some(error.error.code.0)),
    }
}

pub(super) fn to_json(message: &ServerJsonRpcMessage) -> Bytes {
    match serde_json::to_vec(message) {
        Ok(text) => text.into(),
        Err(error) => {
            // Our answers are made of what JSON can hold, so this is a fault of ours and nothing to tell.
            tracing::error!(%error, "an answer cannot be written as JSON");
            Bytes::from_static(b"{}")
        }
    }
}
