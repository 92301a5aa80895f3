//! Notifications that belong to a call, over the wire.

#![expect(
    deprecated,
    reason = "logging is deprecated in 2026-07-28 and still part of every revision that we speak"
)]

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::RoleServer;
use rmcp::model::{
    GetExtensions as _, LoggingLevel, LoggingMessageNotification, LoggingMessageNotificationParam,
    ProgressNotification, ProgressNotificationParam, ProgressToken, RequestId, ServerNotification,
};
use rmcp::service::{OriginatingRequestId, Peer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::context::{LogLevel, Outlet};
use crate::http::feed::Feed;

/// The way out of one call.
pub(super) struct PeerOutlet {
    pub(super) peer: Peer<RoleServer>,
    pub(super) token: Option<ProgressToken>,
    /// The call, so that what it says goes out on its own stream.
    pub(super) request: RequestId,
    /// The SDK ends this when the request is cancelled and when it is answered.
    pub(super) over: CancellationToken,
    /// The stream of the call, if it is one that the client can resume.
    pub(super) stream: Option<Arc<Feed>>,
}

#[async_trait]
impl Outlet for PeerOutlet {
    async fn progress(&self, current: f64, total: Option<f64>, message: Option<String>) {
        let Some(token) = &self.token else { return };
        let mut params = ProgressNotificationParam::new(token.clone(), current);
        params.total = total;
        params.message = message;
        self.send(ProgressNotification::new(params)).await;
    }

    async fn log(&self, level: LogLevel, logger: Option<String>, data: Value) {
        let mut params = LoggingMessageNotificationParam::new(to_wire(level), data);
        params.logger = logger;
        self.send(LoggingMessageNotification::new(params)).await;
    }

    fn let_go(&self) {
        if let Some(stream) = &self.stream {
            stream.let_go();
        }
    }
}

impl PeerOutlet {
    async fn send(&self, notification: impl Into<ServerNotification>) {
        let mut notification = notification.into();
        notification.extensions_mut().insert(OriginatingRequestId(self.request.clone()));
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            // A client that is gone needs no progress; the transport notices by itself.
            _ = self.peer.send_notification(notification) => {}
        }
    }
}

pub(super) fn to_wire(level: LogLevel) -> LoggingLevel {
    match level {
        LogLevel::Debug => LoggingLevel::Debug,
        LogLevel::Info => LoggingLevel::Info,
        LogLevel::Notice => LoggingLevel::Notice,
        LogLevel::Warning => LoggingLevel::Warning,
        LogLevel::Error => LoggingLevel::Error,
        LogLevel::Critical => LoggingLevel::Critical,
        LogLevel::Alert => LoggingLevel::Alert,
        LogLevel::Emergency => LoggingLevel::Emergency,
    }
}

pub(super) fn from_wire(level: LoggingLevel) -> LogLevel {
    match level {
        LoggingLevel::Debug => LogLevel::Debug,
        LoggingLevel::Info => LogLevel::Info,
        LoggingLevel::Notice => LogLevel::Notice,
        LoggingLevel::Warning => LogLevel::Warning,
        LoggingLevel::Error => LogLevel::Error,
        LoggingLevel::Critical => LogLevel::Critical,
        LoggingLevel::Alert => LogLevel::Alert,
        LoggingLevel::Emergency => LogLevel::Emergency,
    }
}
