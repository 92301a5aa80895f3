//! A client with two credentials: one that reads, and perhaps one that changes things.

use std::sync::Arc;

use estate::Upid;
use http::HeaderValue;
use serde::de::DeserializeOwned;

use crate::{
    ApiClient, Body, Error, Failover, Health, Page, Request,
    task::{self, TaskCalls, TaskOutcome, WaitOptions},
};

/// Reads with one credential and does everything else with another, where there is one. Cheap to
/// clone; a view of it holds only the credentials that it uses.
#[derive(Clone, Debug)]
pub struct DualClient {
    read: ApiClient,
    operate: Option<Operate>,
    failover: Option<Failover>,
}

#[derive(Clone, Debug)]
struct Operate {
    client: ApiClient,
    id: Arc<str>,
}

// === impl DualClient ===

impl DualClient {
    /// A client with one credential for everything.
    pub fn new(client: ApiClient) -> Self {
        Self { read: client, operate: None, failover: None }
    }

    /// Everything but reads goes through `client`, whose credential is called `id`.
    #[must_use]
    pub fn with_operate(mut self, client: ApiClient, id: &str) -> Self {
        self.operate = Some(Operate { client, id: id.into() });
        self
    }

    /// Tells the health of these endpoints as its own.
    #[must_use]
    pub fn with_failover(mut self, failover: Failover) -> Self {
        self.failover = Some(failover);
        self
    }

    /// A view that holds the reading credential only: what has it cannot use the other.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self { operate: None, ..self.clone() }
    }

    /// A view that holds the changing credential only, for its reads too; the same as this client
    /// where there is one credential for everything.
    #[must_use]
    pub fn operate(&self) -> Self {
        match &self.operate {
            None => self.clone(),
            Some(operate) => Self { read: operate.client.clone(), operate: None, ..self.clone() },
        }
    }

    /// Whether changes are made with a credential of their own.
    pub fn has_operate(&self) -> bool {
        self.operate.is_some()
    }

    /// How the endpoints stand; `None` for a client that was made from a bare transport.
    pub fn health(&self) -> Option<Health> {
        self.failover.as_ref().map(Failover::health)
    }

    /// Sends the request and reads its `data`.
    pub async fn call<T: DeserializeOwned>(&self, request: Request<T>) -> Result<T, Error> {
        self.client_for(&request).call(request).await
    }

    /// Sends the request and reads `data` with what stands beside it.
    pub async fn call_page<T: DeserializeOwned>(
        &self,
        request: Request<T>,
    ) -> Result<Page<T>, Error> {
        self.client_for(&request).call_page(request).await
    }

    /// Sends the request with this body in place of its parameters: see [`ApiClient::send_body`].
    pub async fn send_body<T: DeserializeOwned>(
        &self,
        request: Request<T>,
        content_type: HeaderValue,
        body: Body,
    ) -> Result<T, Error> {
        self.client_for(&request).send_body(request, content_type, body).await
    }

    /// Sends the request and gives the answer's bytes as they came.
    pub async fn call_bytes<T>(&self, request: Request<T>) -> Result<bytes::Bytes, Error> {
        self.client_for(&request).call_bytes(request).await
    }

    /// Sends the request and gives the answer as it streams in.
    pub async fn open<T>(&self, request: Request<T>) -> Result<http::Response<Body>, Error> {
        self.client_for(&request).open(request).await
    }

    /// What the server has at a path of its own, beside the API, up to `limit` bytes.
    pub async fn document(&self, path: &'static str, limit: usize) -> Result<bytes::Bytes, Error> {
        self.read.document(path, limit).await
    }

    /// Follows a task: see [`task::follow`]. A task that the changing credential began is looked at
    /// with that credential, since everybody may see their own tasks.
    pub async fn wait(
        &self,
        calls: TaskCalls,
        upid: &Upid,
        options: &WaitOptions,
        on_log: impl FnMut(&str) + Send,
    ) -> Result<TaskOutcome, Error> {
        let client = match &self.operate {
            Some(operate) if *operate.id == *upid.user() => &operate.client,
            _ => &self.read,
        };
        task::follow(client, calls, upid, options, on_log).await
    }

    fn client_for<T>(&self, request: &Request<T>) -> &ApiClient {
        match &self.operate {
            Some(operate) if !request.method().is_safe() => &operate.client,
            _ => &self.read,
        }
    }
}
