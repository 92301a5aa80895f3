//! The webhook input: takes what PVE, PBS and others post, and answers when it is kept.
//!
//! It opens no port of its own: `gateway` has the one listener, and gives every request below [`PATH`] to
//! [`Webhook::answer`].
//!
//! | path below [`PATH`]`/<input>` | takes |
//! |---|---|
//! | `/<hook>` | POST or PUT of any body |
//! | `/<hook>/message` | what is sent to a Gotify server: the hook's address is the server's |
//!
//! *Invariant:* 200 is answered only after the log has it on disk. Proxmox never sends a notification twice, so what
//! cannot be kept is refused aloud, well before its ten seconds are over. *Invariant:* an answer does not tell an unknown
//! hook from a wrong secret.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use event_core::{
    Ack, ComponentId, Cursor, Event, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::stream::BoxStream;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    Echo, Identity, MARKER, Origin, channel,
    recognize::{
        chat, gotify,
        webhook::{Format, recognize},
    },
};

/// The kind of input that its events name.
pub const KIND: &str = "webhook";
/// What the paths of all inputs begin with.
pub const PATH: &str = "/hooks";
/// The largest body, in bytes: a backup's notification can hold a megabyte of log.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// The shortest secret, in bytes: it stands alone between the network and the events.
pub const MIN_SECRET: usize = 16;

/// What waits between the requests and the log, in events.
const QUEUE: usize = 256;
/// How long a request may take altogether; Proxmox waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// Where Gotify's clients put their token.
const GOTIFY_KEY: &str = "x-gotify-key";

/// Settings of the webhook input.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The hooks, by their names in the settings.
    pub hooks: BTreeMap<String, Hook>,
    /// What our own outputs sent: it is answered as if it were kept.
    pub echo: Echo,
}

/// One hook: a path, and who posts there.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What whoever posts has to know; at least [`MIN_SECRET`] bytes.
    pub secret: SecretString,
    /// Who it is.
    pub identity: Identity,
    /// What the bodies are.
    pub format: Format,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Webhook {
    id: ComponentId,
    config: Config,
    running: Arc<Mutex<Option<Running>>>,
}

/// A run that takes requests.
#[derive(Clone, Debug)]
struct Running {
    cx: RunContext,
    sender: mpsc::Sender<Signal>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Method,
    Secret,
    TooLarge,
    BrokeOff,
    Slow,
    NotRunning,
    NotKept,
}

// === impl Config ===

impl Config {
    /// With these hooks.
    pub fn new(hooks: BTreeMap<String, Hook>) -> Self {
        Self { hooks, echo: Echo::default() }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        if self.hooks.is_empty() {
            return Err(InvalidConfig("the input has no hook: nobody could post to it".to_owned()));
        }
        for (name, hook) in &self.hooks {
            let plain = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(InvalidConfig(format!("hook `{name}`: a name is of a-z, 0-9 and _")));
            }
            if hook.secret.expose_secret().len() < MIN_SECRET {
                let message = format!(
                    "hook `{name}`: its secret is shorter than {MIN_SECRET} bytes; `openssl rand -hex 24` makes one"
                );
                return Err(InvalidConfig(message));
            }
        }
        Ok(())
    }
}

// === impl Webhook ===

impl Webhook {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self { id, config, running: Arc::default() })
    }

    /// The answer to a request below `/hooks/<input>`: 200 when all that it tells is on disk.
    ///
    /// | status | when |
    /// |---|---|
    /// | 401 | there is no such hook, or the secret is another |
    /// | 405 | it is neither POST nor PUT |
    /// | 408 | the body did not come in time |
    /// | 413 | the body is larger than [`MAX_BODY`] |
    /// | 503 | it could not be kept, or the input does not run |
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.take(request).await {
            Ok(is_gotify) => kept(is_gotify),
            Err(refusal) => {
                // At debug: strangers on the network may cause any number of these.
                tracing::debug!(source = %self.id, ?refusal, "webhook refused");
                refusal.response()
            }
        }
    }

    async fn take<B>(&self, request: Request<B>) -> Result<bool, Refusal>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let (parts, body) = request.into_parts();
        if !matches!(parts.method, Method::POST | Method::PUT) {
            return Err(Refusal::Method);
        }
        let (name, is_gotify) = self.hook_name(&parts.uri).ok_or(Refusal::Secret)?;
        let hook = self.authenticated(name, &parts.headers, &parts.uri).ok_or(Refusal::Secret)?;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let running = running.ok_or(Refusal::NotRunning)?;
        let body = read(body, deadline).await?;
        let is_marked = parts.headers.contains_key(MARKER) || is_marked(&body);
        if self.config.echo.is_ours(is_marked, []) {
            return Ok(is_gotify);
        }
        let origin = Origin::new(&self.id, KIND, &hook.identity, running.cx.now());
        let format = if is_gotify { &Format::Gotify } else { &hook.format };
        let events = recognize(&body, format, &origin);
        keep(events, &running.sender, deadline).await?;
        Ok(is_gotify)
    }

    /// The hook's name in `/hooks/<input>/<hook>[/message]`, and whether it is spoken to as a Gotify server.
    fn hook_name<'a>(&self, uri: &'a Uri) -> Option<(&'a str, bool)> {
        let rest = uri.path().strip_prefix(PATH)?.strip_prefix('/')?;
        let rest = rest.strip_prefix(self.id.as_str())?.strip_prefix('/')?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match rest.split_once('/') {
            None => Some((rest, false)),
            Some((name, "message")) => Some((name, true)),
            Some(_) => None,
        }
    }

    /// The hook, if the request has its secret: as bearer token, as Gotify's clients send it, or, for services that can
    /// send nothing but an address, as `?token=`.
    fn authenticated(&self, name: &str, headers: &HeaderMap, uri: &Uri) -> Option<&Hook> {
        let hook = self.config.hooks.get(name);
        // A hook that there is not takes as long as one that there is.
        let secret = hook.or(self.config.hooks.values().next())?.secret.expose_secret().as_bytes();
        let header = |name| headers.get(name).map(HeaderValue::as_bytes);
        let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
        });
        let query = uri.query().unwrap_or_default();
        let in_query =
            query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::as_bytes);
        let given = bearer.or_else(|| header(GOTIFY_KEY)).or(in_query).unwrap_or_default();
        let is_right: bool = given.ct_eq(secret).into();
        hook.filter(|_| is_right)
    }
}

#[async_trait]
impl EventSource for Webhook {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let names: Vec<String> =
            self.config.hooks.keys().map(|name| format!("{PATH}/{}/{name}", self.id)).collect();
        Ok(format!("takes POST at {}", names.join(", ")))
    }

    fn run(
        &self,
        cx: RunContext,
        _resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let slot = Arc::clone(&self.running);
        channel::stream(cx, QUEUE, async move |cx: RunContext, sender: mpsc::Sender<Signal>| {
            if sender.send(Signal::SyncStarted).await.is_err() {
                return Ok(());
            }
            {
                let mut running = slot.lock().unwrap_or_else(PoisonError::into_inner);
                if running.as_ref().is_some_and(|running| !running.sender.is_closed()) {
                    let message =
                        "run the webhook input a second time: its requests go to the first run";
                    return Err(SourceError::new(SourceErrorKind::Settings, message));
                }
                // Under the lock, so that no request is told before it, and none is refused after it.
                if sender.try_send(Signal::SyncFinished(Cursor::new(""))).is_err() {
                    return Ok(());
                }
                *running = Some(Running { cx: cx.clone(), sender: sender.clone() });
            }
            let _vacated = Vacate(&slot);
            // Only the requests send from now on.
            tokio::select! {
                () = cx.stop.cancelled() => {}
                () = sender.closed() => {}
            }
            Ok(())
        })
    }
}

/// Ends the taking of requests when the run goes.
struct Vacate<'a>(&'a Mutex<Option<Running>>);

impl Drop for Vacate<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn read<B>(body: B, deadline: Instant) -> Result<Bytes, Refusal>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // What is announced need not be waited for.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Refusal::TooLarge);
    }
    let read = std::pin::pin!(Limited::new(body, MAX_BODY).collect());
    match timeout_at(deadline, read).await {
        Err(_) => Err(Refusal::Slow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::BrokeOff),
    }
}

/// Whether a body for Gotify, Discord or Slack says that one of our outputs sent it.
fn is_marked(body: &[u8]) -> bool {
    // What the marks of all of them begin with.
    let mark = chat::MARK.as_bytes();
    // Bodies can be large, and most are none of ours.
    let has_mark = body.windows(mark.len()).any(|part| part == mark);
    has_mark
        && serde_json::from_slice(body)
            .is_ok_and(|object| gotify::is_marked(&object) || chat::is_marked(&object))
}

/// Hands the events on and waits until each is on disk.
async fn keep(
    events: Vec<Event>,
    sender: &mpsc::Sender<Signal>,
    deadline: Instant,
) -> Result<(), Refusal> {
    let keeping = async {
        // Receivers first and all of them: a batch is written when it is whole.
        let mut rulings = Vec::with_capacity(events.len());
        for event in events {
            let (ack, ruling) = Ack::promise();
            let signal = Signal::Changed { event, cursor: None, ack };
            sender.send(signal).await.map_err(|_| Refusal::NotRunning)?;
            rulings.push(ruling);
        }
        for ruling in rulings {
            if !ruling.ruling().await.is_kept() {
                return Err(Refusal::NotKept);
            }
        }
        Ok(())
    };
    timeout_at(deadline, keeping).await.unwrap_or(Err(Refusal::NotKept))
}

fn kept(is_gotify: bool) -> Response<Full<Bytes>> {
    // Gotify's clients read a message back; none looks at what is in it.
    let body =
        if is_gotify { r#"{"id":1,"appid":1,"message":"kept"}"# } else { r#"{"kept":true}"# };
    response(StatusCode::OK, body)
}

fn response(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

// === impl Refusal ===

impl Refusal {
    fn response(self) -> Response<Full<Bytes>> {
        let (status, body) = match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"use POST"}"#),
            Self::Secret => {
                (StatusCode::UNAUTHORIZED, r#"{"error":"no such hook, or not its secret"}"#)
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, r#"{"error":"the body is larger than 2 MiB"}"#)
            }
            Self::BrokeOff => (StatusCode::BAD_REQUEST, r#"{"error":"the body broke off"}"#),
            Self::Slow => {
                (StatusCode::REQUEST_TIMEOUT, r#"{"error":"the body did not come in time"}"#)
            }
            Self::NotRunning => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"error":"the input does not run; send it again"}"#,
            ),
            Self::NotKept => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"error":"it could not be kept; send it again"}"#,
            ),
        };
        let mut response = response(status, body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}
