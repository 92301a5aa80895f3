//! The feed input: hears the JSON messages that a service sends over a websocket.
//!
//! What a message means is said by the same mapping as for a webhook's JSON. Where messages say what they are known by,
//! that is kept, and the feed is told when it is opened again, so that it can go on there.
//!
//! *Invariant:* the place is kept with the last event of its message, and never before. *Invariant:* memory is bounded:
//! one message, of at most [`Config::max_bytes`]. *Invariant:* a connection on which nothing comes for
//! [`Heartbeat::silence`] is given up.

mod message;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::{SinkExt as _, StreamExt as _, stream::BoxStream};
use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use stdx::tls::TlsOptions;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};
use tracing::debug;

pub use message::{Heard, Reader};

use self::message::{PLACE, TOKEN, filled};
use super::KIND;
use crate::{
    Identity, Origin,
    channel::{self, Teller},
    recognize::json::{Mapping, Pointer},
    remote::{Connection, Remote, Reopen, Stop, sensitive},
};

/// What waits between the feed and the log, in events.
const QUEUE: usize = 64;
/// The most text of what is sent to a feed, in bytes.
const MAX_SENT: usize = 64 * 1024;

/// Settings of the feed input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The feed's address: `wss://` or `ws://`, with path and query.
    pub url: String,
    /// What it is asked with: in `token_header`, as `Authorization: Bearer`, or where a text that is sent says `{token}`.
    pub token: Option<SecretString>,
    /// The header that takes the token as it is.
    pub token_header: Option<String>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Whose messages they are.
    pub identity: Identity,
    /// What messages mean.
    pub mapping: Mapping,
    /// What a message has to say, and where, to be news.
    pub only: Vec<(Pointer, Vec<String>)>,
    /// What is sent when it is opened.
    pub subscribe: Vec<String>,
    /// How it goes on where it was.
    pub resume: Option<Resume>,
    /// How it is known to live.
    pub heartbeat: Heartbeat,
    /// The longest message, in bytes.
    pub max_bytes: usize,
}

/// How a feed goes on where it was.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Where a message says what it is known by.
    pub place: Pointer,
    /// The parameter of the address that takes it.
    pub query: Option<String>,
    /// What is sent in place of [`Config::subscribe`] once a place is known: `{place}` stands for it.
    pub subscribe: Vec<String>,
}

/// How a feed is known to live.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// How often it is asked (a ping of the protocol).
    pub every: Duration,
    /// What is sent besides, where the feed wants a text of its own.
    pub text: Option<String>,
    /// How long nothing at all may come.
    pub silence: Duration,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    remote: Remote,
    headers: Vec<(HeaderName, HeaderValue)>,
    reader: Reader,
}

type Socket = WebSocketStream<Connection>;

// === impl Heartbeat ===

impl Default for Heartbeat {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), text: None, silence: Duration::from_secs(90) }
    }
}

// === impl Config ===

impl Config {
    /// Hears what this feed sends, as nobody's.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            token_header: None,
            headers: BTreeMap::new(),
            tls: TlsOptions::default(),
            identity: Identity::default(),
            mapping: Mapping::default(),
            only: Vec::new(),
            subscribe: Vec::new(),
            resume: None,
            heartbeat: Heartbeat::default(),
            max_bytes: 1 << 20,
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let fail = |text: &str| Err(InvalidConfig(text.to_owned()));
        let Heartbeat { every, silence, .. } = &self.heartbeat;
        if every.is_zero() || silence < every {
            return fail(
                "the silence is shorter than the pause between heartbeats: let it be longer",
            );
        }
        let sent = self.sent().chain(&self.heartbeat.text);
        if sent.map(String::len).sum::<usize>() > MAX_SENT {
            return fail("what is sent to the feed is longer than 64 KiB");
        }
        if self.subscribe.iter().any(|text| text.contains(PLACE)) {
            return fail(
                "{place} is known only when the feed is opened again: put it into what is sent then",
            );
        }
        if self.sends_token() && self.token.is_none() {
            return fail("a text that is sent says {token}, and there is none");
        }
        let Some(resume) = &self.resume else { return Ok(()) };
        if resume.query.is_none() && !resume.subscribe.iter().any(|text| text.contains(PLACE)) {
            return fail(
                "the place is kept and the feed is never told: name a parameter of its address, or a text with {place}",
            );
        }
        Ok(())
    }

    /// What may be sent when it is opened.
    fn sent(&self) -> impl Iterator<Item = &String> {
        self.subscribe.iter().chain(self.resume.iter().flat_map(|it| &it.subscribe))
    }

    fn sends_token(&self) -> bool {
        self.sent().any(|text| text.contains(TOKEN))
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidConfig> {
        let name = |text: &str| {
            let shown: String = text.chars().take(40).collect();
            HeaderName::from_bytes(text.as_bytes())
                .map_err(|_| InvalidConfig(format!("{shown:?} is no name of a header")))
        };
        let mut headers = Vec::new();
        for (key, value) in &self.headers {
            let value = HeaderValue::from_str(value).map_err(|_| {
                InvalidConfig(format!("the header {key} holds what no header may hold"))
            })?;
            headers.push((name(key)?, value));
        }
        if let Some(token) = self.token.as_ref().filter(|_| !self.sends_token()) {
            let (key, value) = match &self.token_header {
                Some(header) => (name(header)?, token.clone()),
                None => {
                    let bearer = format!("Bearer {}", token.expose_secret());
                    (header::AUTHORIZATION, bearer.into())
                }
            };
            let value = sensitive(&value).map_err(|error| InvalidConfig(error.to_string()))?;
            headers.push((key, value));
        }
        Ok(headers)
    }
}

// === impl Feed ===

impl Feed {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let headers = config.headers()?;
        let remote =
            Remote::at_websocket(&config.url, config.tls.clone()).map_err(InvalidConfig)?;
        let reader = Reader {
            mapping: config.mapping.clone(),
            only: config.only.clone(),
            place: config.resume.as_ref().map(|resume| resume.place.clone()),
        };
        Ok(Self { shared: Arc::new(Shared { id, config, remote, headers, reader }) })
    }
}

#[async_trait]
impl EventSource for Feed {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let shared = &self.shared;
        let most = shared.config.max_bytes;
        // Nothing is sent: a feed may hand out a message once.
        let mut socket = shared.remote.websocket_with(None, shared.headers.clone(), most).await?;
        socket.close(None).await.ok();
        Ok(format!("can hear {}", shared.remote.name()))
    }

    fn run(
        &self,
        cx: RunContext,
        resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let shared = Arc::clone(&self.shared);
        channel::hear(cx, QUEUE, resume, async move |cx, teller, resume| {
            shared.hear(cx, teller, resume).await
        })
    }
}

// === impl Shared ===

impl Shared {
    async fn hear(
        &self,
        cx: RunContext,
        teller: Teller,
        resume: Option<Cursor>,
    ) -> Result<(), Stop> {
        teller.say(Signal::SyncStarted).await?;
        let mut place = resume.map(|cursor| cursor.as_str().to_owned());
        let mut socket = Ok(self.open(place.as_deref()).await?);
        let cursor = Cursor::new(place.clone().unwrap_or_default());
        teller.say(Signal::SyncFinished(cursor)).await?;
        let mut reopen = Reopen::new();
        loop {
            let error = match socket {
                Ok(ref mut socket) => {
                    let mut has_heard = false;
                    let error =
                        self.follow(&cx, &teller, socket, &mut place, &mut has_heard).await?;
                    if has_heard {
                        reopen.is_well();
                    }
                    error
                }
                Err(error) => error,
            };
            reopen.pause(error).await?;
            socket = self.open(place.as_deref()).await;
        }
    }

    /// Opens the feed where it is to go on, and says what it wants to hear.
    async fn open(&self, place: Option<&str>) -> Result<Socket, SourceError> {
        let Config { resume, subscribe, max_bytes, .. } = &self.config;
        let place = place.filter(|place| !place.is_empty());
        let known = resume.as_ref().zip(place);
        let parameter = known.and_then(|(it, place)| Some((it.query.as_deref()?, place)));
        let headers = self.headers.clone();
        let mut socket = self.remote.websocket_with(parameter, headers, *max_bytes).await?;
        let sent: Vec<String> = match known {
            Some((resume, place)) if !resume.subscribe.is_empty() => {
                resume.subscribe.iter().map(|text| filled(text, PLACE, place)).collect()
            }
            _ => subscribe.clone(),
        };
        let token = self.config.token.as_ref().map_or("", |token| token.expose_secret());
        for text in sent {
            let text = filled(&text, TOKEN, token);
            socket.send(Message::text(text)).await.map_err(|error| self.remote.odd(error))?;
        }
        Ok(socket)
    }

    /// Tells what comes; gives what ended it.
    async fn follow(
        &self,
        cx: &RunContext,
        teller: &Teller,
        socket: &mut Socket,
        place: &mut Option<String>,
        has_heard: &mut bool,
    ) -> Result<SourceError, Stop> {
        let Heartbeat { every, text, silence } = &self.config.heartbeat;
        let mut heard = Instant::now();
        let mut beat = heard + *every;
        loop {
            let Ok(message) = timeout_at(beat.min(heard + *silence), socket.next()).await else {
                if heard.elapsed() >= *silence {
                    return Ok(self.remote.slow());
                }
                let own = text.clone().map(Message::text);
                for message in own.into_iter().chain([Message::Ping(bytes::Bytes::new())]) {
                    if let Err(error) = socket.send(message).await {
                        return Ok(self.remote.odd(error));
                    }
                }
                beat = Instant::now() + *every;
                continue;
            };
            heard = Instant::now();
            let message = match message {
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Close(_))) | None => {
                    let message = format!("go on hearing {}: it closed", self.remote.name());
                    return Ok(SourceError::new(SourceErrorKind::Unavailable, message));
                }
                Some(Ok(_)) => continue,
                Some(Err(tungstenite::Error::Capacity(error))) => {
                    let name = self.remote.name();
                    let message =
                        format!("hear {name}: a message is longer than max_bytes; let it be more");
                    return Ok(SourceError::new(SourceErrorKind::Settings, message).because(error));
                }
                Some(Err(error)) => return Ok(self.remote.odd(error)),
            };
            *has_heard = true;
            self.tell(cx, teller, &message, place).await?;
        }
    }

    async fn tell(
        &self,
        cx: &RunContext,
        teller: &Teller,
        message: &[u8],
        place: &mut Option<String>,
    ) -> Result<(), Stop> {
        let origin = Origin::new(&self.id, KIND, &self.config.identity, cx.now());
        let Some(heard) = self.reader.read(message, &origin) else {
            debug!(source = %self.id, "a feed sent a message that is no JSON document");
            return Ok(());
        };
        teller.keep(heard.events, heard.place.as_deref().map(Cursor::new)).await?;
        if heard.place.is_some() {
            *place = heard.place;
        }
        Ok(())
    }
}
