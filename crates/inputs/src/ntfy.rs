//! The ntfy input: hears what is posted to topics of an ntfy server.
//!
//! The stream (one JSON object per line) begins behind the last message that is known; the server keeps what was posted
//! for half a day or as its settings say. What it has forgotten by then cannot be told.
//!
//! *Invariant:* memory is bounded: one line, of at most [`MAX_LINE`]. *Invariant:* what our own outputs posted is dropped
//! and counted.

mod lines;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use secrecy::{ExposeSecret as _, SecretString};
use stdx::tls::TlsOptions;
use tokio::time::timeout;
use tracing::debug;

pub use lines::{Line, Lines};

use crate::{
    Echo, Identity, Origin,
    channel::{self, Teller},
    recognize::ntfy::{self, Posted},
    remote::{Remote, Reopen, Stop},
};

/// The kind of input that its events name.
pub const KIND: &str = "ntfy";
/// The longest line, in bytes. A message has at most 4096 unless the server's settings say otherwise.
pub const MAX_LINE: usize = 256 * 1024;

/// What waits between the server and the log, in events.
const QUEUE: usize = 64;
/// A stream that is silent for so long has broken off: the server says that it lives every 45 seconds.
const SILENCE: Duration = Duration::from_mins(2);

/// Settings of the ntfy input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The server's address, such as `https://ntfy.example.lan`.
    pub server: String,
    /// The topics; at least one.
    pub topics: Vec<String>,
    /// An access token (`tk_…`), where the topics are protected.
    pub token: Option<SecretString>,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Whose messages they are.
    pub identity: Identity,
    /// What our own outputs sent.
    pub echo: Echo,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Ntfy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    remote: Remote,
    /// The whole header.
    proof: Option<SecretString>,
}

// === impl Config ===

impl Config {
    /// Hears these topics, as nobody's.
    pub fn new(server: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            server: server.into(),
            topics,
            token: None,
            tls: TlsOptions::default(),
            identity: Identity::default(),
            echo: Echo::default(),
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        if self.topics.is_empty() {
            return Err(InvalidConfig("the input hears no topic: name one in `topics`".to_owned()));
        }
        for topic in &self.topics {
            let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
            if topic.is_empty() || topic.len() > 64 || !topic.bytes().all(plain) {
                let message = "a topic is of A-Z, a-z, 0-9, _ and -, at most 64 of them";
                return Err(InvalidConfig(message.to_owned()));
            }
        }
        Ok(())
    }
}

// === impl Ntfy ===

impl Ntfy {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let remote = Remote::try_new(&config.server, config.tls.clone()).map_err(InvalidConfig)?;
        let proof = config.token.as_ref();
        let proof = proof.map(|token| format!("Bearer {}", token.expose_secret()).into());
        Ok(Self { shared: Arc::new(Shared { id, config, remote, proof }) })
    }
}

#[async_trait]
impl EventSource for Ntfy {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let shared = &self.shared;
        let mut stream = shared.open(None).await?;
        let mut lines = Lines::new(MAX_LINE);
        shared.opened(&mut stream, &mut lines).await?;
        let count = shared.config.topics.len();
        Ok(format!("hears {count} topics of {}", shared.remote.name()))
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
        let plain = |cursor: &Cursor| {
            let text = cursor.as_str();
            !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric())
        };
        let mut since = resume.filter(plain);
        let mut stream = self.open(since.as_ref()).await?;
        let mut lines = Lines::new(MAX_LINE);
        let start = self.opened(&mut stream, &mut lines).await?;
        // Where nothing is posted before the next run, that one begins at the time of this one.
        let from = since.get_or_insert(start).clone();
        teller.say(Signal::SyncFinished(from.clone())).await?;
        let mut since = from;
        let mut reopen = Reopen::new();
        loop {
            let error = self.follow(&cx, &teller, &mut stream, &mut lines, &mut since).await?;
            let mut error = error;
            loop {
                reopen.pause(error).await?;
                lines = Lines::new(MAX_LINE);
                error = match self.open(Some(&since)).await {
                    Ok(opened) => {
                        stream = opened;
                        match self.opened(&mut stream, &mut lines).await {
                            Ok(_) => break,
                            Err(error) => error,
                        }
                    }
                    Err(error) => error,
                };
            }
            reopen.is_well();
        }
    }

    async fn open(
        &self,
        since: Option<&Cursor>,
    ) -> Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError> {
        let topics = self.config.topics.join(",");
        let since = since.map(|since| format!("?since={}", since.as_str())).unwrap_or_default();
        let proof = self.proof.as_ref().map(|proof| ("Authorization", proof));
        let stream = self.remote.open(&format!("{topics}/json{since}"), proof).await?;
        Ok(stream.boxed())
    }

    /// Waits until the server says that the stream is open; gives its time, as a cursor.
    async fn opened(
        &self,
        stream: &mut (impl Stream<Item = Result<Bytes, SourceError>> + Unpin),
        lines: &mut Lines,
    ) -> Result<Cursor, SourceError> {
        let Some(Line::Whole(first)) = self.next(stream, lines).await? else {
            return Err(self.closed());
        };
        match ntfy::line(&first) {
            Some(ntfy::Line::Open(time)) => {
                let second = time.map_or(0, jiff::Timestamp::as_second);
                Ok(Cursor::new(second.to_string()))
            }
            _ => {
                let name = self.remote.name();
                let message = format!("hear {name}: its stream does not begin as ntfy's do");
                Err(SourceError::new(SourceErrorKind::Protocol, message))
            }
        }
    }

    /// Tells what comes; gives what ended it.
    async fn follow(
        &self,
        cx: &RunContext,
        teller: &Teller,
        stream: &mut (impl Stream<Item = Result<Bytes, SourceError>> + Unpin),
        lines: &mut Lines,
        since: &mut Cursor,
    ) -> Result<SourceError, Stop> {
        loop {
            let line = match self.next(stream, lines).await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(self.closed()),
                Err(error) => return Ok(error),
            };
            let Line::Whole(line) = line else {
                let reason = "a line of ntfy was too long";
                teller.say(Signal::Lost { count: 1, reason }).await?;
                continue;
            };
            match ntfy::line(&line) {
                Some(ntfy::Line::Message(posted)) => self.tell(cx, teller, &posted, since).await?,
                Some(_) => {}
                None => debug!(source = %self.id, "ntfy sent a line that is none of its own"),
            }
        }
    }

    async fn next(
        &self,
        stream: &mut (impl Stream<Item = Result<Bytes, SourceError>> + Unpin),
        lines: &mut Lines,
    ) -> Result<Option<Line>, SourceError> {
        loop {
            if let Some(line) = lines.next_line() {
                return Ok(Some(line));
            }
            let piece = timeout(SILENCE, stream.next()).await.map_err(|_| self.remote.slow())?;
            let Some(piece) = piece else { return Ok(None) };
            lines.push(&piece?);
        }
    }

    async fn tell(
        &self,
        cx: &RunContext,
        teller: &Teller,
        posted: &Posted,
        since: &mut Cursor,
    ) -> Result<(), Stop> {
        let mark = format!("message:{}", posted.id);
        let Config { echo, identity, .. } = &self.config;
        let next = Cursor::new(posted.id.clone());
        if !echo.is_ours(posted.is_marked, [mark.as_str()]) {
            let events = posted.events(&Origin::new(&self.id, KIND, identity, cx.now()));
            teller.keep(events, Some(next.clone())).await?;
        }
        *since = next;
        Ok(())
    }

    fn closed(&self) -> SourceError {
        let message = format!("go on hearing {}: it closed", self.remote.name());
        SourceError::new(SourceErrorKind::Unavailable, message)
    }
}
