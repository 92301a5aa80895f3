//! The Gotify input: hears what is posted to a Gotify server, as one of its clients.
//!
//! The stream (a websocket) has no memory, so each time it is opened anew the list of messages is read down to the last
//! number that is known: first the stream, then the list, so that nothing comes between them.
//!
//! *Invariant:* a message is told in the order of its number, once per run, and its number is kept with it. *Invariant:*
//! memory is bounded: a page of the list and one message at a time. *Invariant:* what our own outputs posted is dropped
//! and counted.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::{SinkExt as _, StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;
use stdx::tls::TlsOptions;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tracing::debug;

use crate::{
    Echo, Identity, Origin,
    channel::{self, Teller},
    recognize::gotify::{Posted, posted},
    remote::{Connection, Remote, Reopen, Stop},
};

/// The kind of input that its events name.
pub const KIND: &str = "gotify";

/// What waits between the server and the log, in events.
const QUEUE: usize = 64;
/// The header with the token.
const TOKEN: &str = "x-gotify-key";
/// The most messages of a page, and the most bytes of it and of one message.
const PAGE: u32 = 50;
const MAX_PAGE: usize = 16 << 20;
/// A connection that is silent for so long is asked whether it lives, and is given up after as long again. Gotify pings
/// every 45 seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// Settings of the Gotify input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server's address, such as `https://push.example.lan`.
    pub server: String,
    /// A client's token (`C…`): an application's cannot read.
    pub token: SecretString,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Whose messages they are.
    pub identity: Identity,
    /// The numbers of the applications that are heard; all if there are none.
    pub applications: BTreeSet<u64>,
    /// What our own outputs sent.
    pub echo: Echo,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Gotify {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    remote: Remote,
}

/// The last message that is known. A server that was made anew counts from 1 again, but its time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: u64,
    date: Timestamp,
}

type Socket = WebSocketStream<Connection>;

// === impl Config ===

impl Config {
    /// Hears everything that this client may see, as nobody's.
    pub fn new(server: impl Into<String>, token: SecretString) -> Self {
        Self {
            server: server.into(),
            token,
            tls: TlsOptions::default(),
            identity: Identity::default(),
            applications: BTreeSet::new(),
            echo: Echo::default(),
        }
    }
}

// === impl Gotify ===

impl Gotify {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        let remote = Remote::try_new(&config.server, config.tls.clone()).map_err(InvalidConfig)?;
        Ok(Self { shared: Arc::new(Shared { id, config, remote }) })
    }
}

#[async_trait]
impl EventSource for Gotify {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let newest = self.shared.page(None, 1).await?;
        let name = self.shared.remote.name();
        Ok(match newest.first() {
            Some(message) => format!("reads {name}; its last message is number {}", message.id),
            None => format!("reads {name}; it has no message yet"),
        })
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
        // What was posted before we first looked is history of others.
        let known = resume.as_ref().and_then(Place::read);
        let mut last = match known {
            Some(last) => last,
            None => self.page(None, 1).await?.first().map_or(Place::START, Place::of),
        };
        let mut socket = Ok(self.open().await?);
        teller.say(Signal::SyncFinished(last.cursor())).await?;
        let mut reopen = Reopen::new();
        loop {
            let error = match socket {
                Ok(ref mut socket) => match self.follow(&cx, &teller, socket, &mut last).await {
                    Ok(error) => {
                        reopen.is_well();
                        error
                    }
                    Err(Stop::Failed(error)) => error,
                    Err(Stop::Gone) => return Err(Stop::Gone),
                },
                Err(error) => error,
            };
            reopen.pause(error).await?;
            socket = self.open().await;
        }
    }

    async fn open(&self) -> Result<Socket, SourceError> {
        let proof = Some((TOKEN, &self.config.token));
        self.remote.websocket("stream", proof, MAX_PAGE).await
    }

    /// Tells what came while nobody listened and then what comes; gives what ended it.
    async fn follow(
        &self,
        cx: &RunContext,
        teller: &Teller,
        socket: &mut Socket,
        last: &mut Place,
    ) -> Result<SourceError, Stop> {
        self.catch_up(cx, teller, last).await?;
        let mut was_asked = false;
        loop {
            let Ok(message) = timeout(SILENCE, socket.next()).await else {
                if was_asked || socket.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return Ok(self.remote.slow());
                }
                was_asked = true;
                continue;
            };
            was_asked = false;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let value = serde_json::from_str(&text).ok();
                    match value.and_then(posted) {
                        Some(message) => self.tell(cx, teller, &message, last).await?,
                        None => debug!(source = %self.id, "gotify sent a frame that is no message"),
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    let message = format!("go on hearing {}: it closed", self.remote.name());
                    return Ok(SourceError::new(SourceErrorKind::Unavailable, message));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(self.remote.odd(error)),
            }
        }
    }

    /// Tells the messages of the list that are newer than the last one, in their order.
    ///
    /// The list begins with the newest and is read downward, so where its pages begin is noted first and each is read
    /// again from the oldest on: what is held is one page, however many there are.
    async fn catch_up(
        &self,
        cx: &RunContext,
        teller: &Teller,
        last: &mut Place,
    ) -> Result<(), Stop> {
        let mut starts: Vec<u64> = Vec::new();
        let mut page = self.page(None, PAGE).await?;
        // What is posted meanwhile comes through the stream.
        let mut start = page.first().map_or(0, |newest| newest.id.saturating_add(1));
        while let Some(lowest) = page.last().filter(|lowest| last.is_before(lowest)) {
            starts.push(std::mem::replace(&mut start, lowest.id));
            page = self.page(Some(start), PAGE).await?;
        }
        loop {
            for message in page.iter().rev() {
                self.tell(cx, teller, message, last).await?;
            }
            let Some(start) = starts.pop() else { return Ok(()) };
            page = self.page(Some(start), PAGE).await?;
        }
    }

    /// The messages with numbers below that, the newest first.
    async fn page(&self, below: Option<u64>, most: u32) -> Result<Vec<Posted>, SourceError> {
        let mut limit = most;
        let since = below.map(|below| format!("&since={below}")).unwrap_or_default();
        let body = loop {
            let path = format!("message?limit={limit}{since}");
            let proof = Some((TOKEN, &self.config.token));
            match self.remote.get(&path, proof, MAX_PAGE).await? {
                Some(body) => break body,
                // Long messages: fewer at a time.
                None if limit > 1 => limit /= 2,
                None => return Err(self.misread("a message is larger than 16 MiB")),
            }
        };
        let mut answer: Value = serde_json::from_slice(&body)
            .map_err(|error| self.misread("its list is no JSON").because(error))?;
        let Some(Value::Array(messages)) = answer.get_mut("messages").map(Value::take) else {
            return Err(self.misread("its list has no `messages`: is it a Gotify server?"));
        };
        Ok(messages.into_iter().filter_map(posted).collect())
    }

    fn misread(&self, why: &str) -> SourceError {
        let message = format!("read {}: {why}", self.remote.name());
        SourceError::new(SourceErrorKind::Protocol, message)
    }

    async fn tell(
        &self,
        cx: &RunContext,
        teller: &Teller,
        message: &Posted,
        last: &mut Place,
    ) -> Result<(), Stop> {
        if !last.is_before(message) {
            return Ok(());
        }
        let Config { applications, echo, identity, .. } = &self.config;
        let is_heard = applications.is_empty() || applications.contains(&message.application);
        let marks =
            [format!("application:{}", message.application), format!("message:{}", message.id)];
        if is_heard && !echo.is_ours(message.is_marked, marks.iter().map(String::as_str)) {
            let events = message.events(&Origin::new(&self.id, KIND, identity, cx.now()));
            teller.keep(events, Some(Place::of(message).cursor())).await?;
        }
        *last = Place::of(message);
        Ok(())
    }
}

// === impl Place ===

impl Place {
    const START: Self = Self { id: 0, date: Timestamp::MIN };

    fn of(message: &Posted) -> Self {
        Self { id: message.id, date: message.date.unwrap_or(Timestamp::MIN) }
    }

    fn is_before(self, message: &Posted) -> bool {
        message.id > self.id
            || message.date.is_some_and(|date| date > self.date && self.date > Timestamp::MIN)
    }

    fn cursor(self) -> Cursor {
        Cursor::new(format!("{} {}", self.id, self.date))
    }

    fn read(cursor: &Cursor) -> Option<Self> {
        let (id, date) = cursor.as_str().split_once(' ')?;
        Some(Self { id: id.parse().ok()?, date: date.parse().ok()? })
    }
}
