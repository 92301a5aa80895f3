//! The client: what a program holds of one Proxmox VE cluster or node.

use std::{fmt, sync::Arc};

use api_core::{
    ApiClient, Body, ByteStream, DualClient, Error, FailoverOptions, Health, Page, Request,
    Transport,
    auth::InvalidCredential,
    multipart::Form,
    path,
    task::{TaskCalls, TaskLogLine, TaskOutcome, TaskStatusReply, WaitOptions},
};
use estate::Upid;
use serde::de::DeserializeOwned;
use stdx::{Clock, SystemClock};

use crate::{auth::Auth, config::ConnectOptions, error::classify, storage::FILE_NAME};

/// A path that answers without login: what a probe of an endpoint asks for.
const PROBE_PATH: &str = "/api2/json/access/domains";

/// Where the server publishes what its API is.
const SCHEMA_PATH: &str = "/pve-docs/api-viewer/apidoc.js";

/// The most bytes of that: it is about 1.5 MiB.
const SCHEMA_LIMIT: usize = 16 << 20;

/// Runs requests. Cheap to clone.
///
/// With an operate token configured, reads use the other one, and everything else uses the operate
/// token. [`Client::read_only`] gives a view that does not hold it at all.
#[derive(Clone)]
pub struct Client {
    dual: DualClient,
    /// For websockets, which no transport carries: the settings, and who opens consoles.
    console: Option<Arc<Console>>,
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A credential holds characters that cannot be sent.
    #[error("use the credential {id}")]
    Credential {
        /// Whose it is.
        id: String,
        /// What is wrong with it.
        #[source]
        source: InvalidCredential,
    },
}

/// What it takes to open a console.
pub(crate) struct Console {
    pub(crate) options: ConnectOptions,
    pub(crate) auth: Auth,
}

// === impl Client ===

impl Client {
    /// A client over a transport that does all the rest, authentication included.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { dual: DualClient::new(ApiClient::new(transport, classify)), console: None }
    }

    /// A client as the settings say. Nothing is sent before the first call.
    pub fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        Self::connect_with_clock(options, &SystemClock::shared())
    }

    /// The same with another clock.
    pub fn connect_with_clock(
        options: &ConnectOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        let mut behaviour = FailoverOptions::default();
        behaviour.probe_path = PROBE_PATH;
        let failover = options.transport(behaviour, Arc::clone(clock));
        let auth = |credential: &api_core::endpoint::Credential| {
            Auth::new(credential, Arc::new(failover.clone()), Arc::clone(clock)).map_err(|source| {
                ConnectError::Credential { id: credential.id().to_owned(), source }
            })
        };
        let read = auth(&options.credential)?;
        let mut dual = DualClient::new(ApiClient::new(read.transport(), classify))
            .with_failover(failover.clone());
        let mut opener = read;
        if let Some(credential) = &options.operate {
            let operate = auth(credential)?;
            dual =
                dual.with_operate(ApiClient::new(operate.transport(), classify), credential.id());
            opener = operate;
        }
        Ok(Self {
            dual,
            console: Some(Arc::new(Console { options: options.clone(), auth: opener })),
        })
    }

    /// A view that holds the reading credential only: a tool that reads is given this one.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self { dual: self.dual.read_only(), console: None }
    }

    /// A view that uses the operate token for reads too; the same as this client where one
    /// credential does everything.
    #[must_use]
    pub fn operate(&self) -> Self {
        Self { dual: self.dual.operate(), console: self.console.clone() }
    }

    /// Whether changes are made with a credential of their own.
    pub fn has_operate(&self) -> bool {
        self.dual.has_operate()
    }

    /// How the endpoints stand; `None` for a client that was made from a bare transport.
    pub fn health(&self) -> Option<Health> {
        self.dual.health()
    }

    /// Sends the request and reads its `data`.
    pub async fn call<T: DeserializeOwned>(&self, request: Request<T>) -> Result<T, Error> {
        self.dual.call(request).await
    }

    /// Sends the request and reads `data` with the total and digest that stand beside it.
    pub async fn call_page<T: DeserializeOwned>(
        &self,
        request: Request<T>,
    ) -> Result<Page<T>, Error> {
        self.dual.call_page(request).await
    }

    /// Sends the request and gives the answer's bytes as they came.
    pub async fn call_bytes<T>(&self, request: Request<T>) -> Result<bytes::Bytes, Error> {
        self.dual.call_bytes(request).await
    }

    /// Sends the request and gives the answer as it streams in.
    pub async fn open<T>(&self, request: Request<T>) -> Result<http::Response<Body>, Error> {
        self.dual.open(request).await
    }

    /// Sends a file: [`storage::upload`](crate::storage::upload) says where to and as what,
    /// `content` gives its bytes ([`api_core::read_pieces`] makes it of an open file) and `size` how
    /// many they are. The task that puts it in its place is the answer.
    ///
    /// Nothing is kept of the content, so an upload is sent once: with the first endpoint out of
    /// reach it fails, and a second call goes to the next.
    ///
    /// # Errors
    ///
    /// As for every call; [`ErrorKind::Parameter`](api_core::ErrorKind::Parameter) too where the
    /// content ends early, goes on for longer than `size` or cannot be read.
    pub async fn upload(
        &self,
        request: Request<Upid>,
        content: ByteStream,
        size: u64,
    ) -> Result<Upid, Error> {
        let mut form = Form::new();
        let mut file_name = "";
        for (name, value) in request.parameters().iter() {
            if name == FILE_NAME {
                file_name = value;
            } else {
                form = form.field(name, value);
            }
        }
        let content_type = form.content_type();
        let body = form.file(FILE_NAME, file_name, content, size);
        self.dual.send_body(request, content_type, body).await
    }

    /// The schema of the API as the server that answers publishes it: JavaScript for its API
    /// viewer, which [`Schema::parse`](api_core::schema::Schema::parse) reads.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](api_core::ErrorKind::NotFound) and others where the documentation is
    /// not installed.
    pub async fn published_schema(&self) -> Result<bytes::Bytes, Error> {
        self.dual.document(SCHEMA_PATH, SCHEMA_LIMIT).await
    }

    /// Follows a task until it ends or the deadline passes; gives each line of its log to `on_log`
    /// once, in order. A node that is out of reach meanwhile is waited for.
    ///
    /// # Errors
    ///
    /// When the server refuses to tell. How the task ended, or that it has not, is the outcome.
    pub async fn wait(
        &self,
        task: &Upid,
        options: &WaitOptions,
        on_log: impl FnMut(&str) + Send,
    ) -> Result<TaskOutcome, Error> {
        self.dual.wait(TaskCalls { status, log }, task, options, on_log).await
    }

    /// What it takes to open a console.
    pub(crate) fn console(&self) -> Option<&Console> {
        self.console.as_deref()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("health", &self.health()).finish_non_exhaustive()
    }
}

fn status(task: &Upid) -> Request<TaskStatusReply> {
    Request::get(path!["nodes", task.node(), "tasks", task, "status"]).on(task.node()).protected()
}

fn log(task: &Upid, start: u64, limit: u64) -> Request<Vec<TaskLogLine>> {
    Request::get(path!["nodes", task.node(), "tasks", task, "log"])
        .param("start", start)
        .param("limit", limit)
        .on(task.node())
        .protected()
}
