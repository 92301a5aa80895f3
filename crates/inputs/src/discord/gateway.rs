//! The connection to Discord's gateway: opened, kept alive, and opened again where it was.
//!
//! *Invariant:* what was heard waits in a bounded queue. While that is full nothing is read, and heartbeats go on, so
//! that a slow log holds Discord back and loses nothing.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{SourceError, SourceErrorKind};
use futures::{SinkExt as _, StreamExt as _};
use secrecy::SecretString;
use serde_json::Value;
use stdx::{Backoff, http::HttpOptions};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tracing::{debug, info};

use super::{
    rest::Rest,
    session::{Refusal, Session, Step},
};
use crate::remote::{Connection, Remote, Reopen};

/// The most bytes of a frame.
const MAX_FRAME: usize = 16 << 20;
/// How long the gateway may take to greet, and to take what is sent.
const PATIENCE: Duration = Duration::from_secs(15);
/// One bot may begin a session every five seconds.
const BEGINNINGS: Duration = Duration::from_secs(5);
/// After so many failures in a row a session is not gone on with.
const TRIES: u32 = 3;
/// What is longer is not waited out here: whoever runs the input shows meanwhile that it does not hear.
const LONG: Duration = Duration::from_mins(1);
/// The pause, at least half of it, before a session is begun in place of one that is not valid any more.
const LOST: Duration = Duration::from_secs(2);
/// The code with which a connection is given up whose session is gone on with: 1000 would end that.
const COME_AGAIN: u16 = 4000;

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// It is listened from now on, as this user. What was posted before may have been missed.
    Begun(u64),
    /// Somebody has posted this.
    Message(Box<Value>),
}

/// What hears messages while they are posted. Ours is one; a library could be another.
#[async_trait]
pub trait Gateway: fmt::Debug + Send + Sync + 'static {
    /// Listens, and gives everything on in its order. It ends when nobody takes it any more, or when it cannot go on,
    /// and says why.
    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), SourceError>;
}

/// Discord's gateway itself.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) rest: Arc<Rest>,
    pub(super) options: HttpOptions,
    pub(super) token: SecretString,
    pub(super) intents: u64,
}

/// One connection.
struct Line<'a> {
    live: &'a Live,
    socket: WebSocketStream<Connection>,
    /// What waits for room in the queue.
    waiting: Option<Heard>,
    /// The pause between heartbeats, and when the next one is due: first, the greeting.
    pause: Option<Duration>,
    due: Instant,
    /// Whether the last heartbeat was heard.
    is_heard: bool,
}

/// Why a connection ends that does not have to be the last one.
enum End {
    /// Nobody takes what is heard.
    Gone,
    /// It was well once, and broke off.
    Broke(SourceError),
    /// It never was well.
    Failed(SourceError),
}

// === impl Live ===

#[async_trait]
impl Gateway for Live {
    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), SourceError> {
        let mut session = Session::default();
        let mut reopen = Reopen::new();
        let mut begun: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let error = match self.once(&mut session, &mut begun, &heard).await {
                End::Gone => return Ok(()),
                End::Broke(error) => {
                    failures = 0;
                    reopen.is_well();
                    error
                }
                End::Failed(error) => {
                    failures += 1;
                    error
                }
            };
            if error.pause().is_some_and(|pause| pause > LONG) {
                return Err(error);
            }
            if failures >= TRIES {
                // Where it would be gone on with may not be there any more.
                session.forget();
            }
            reopen.pause(error).await?;
        }
    }
}

impl Live {
    /// One connection, from its opening to its end.
    async fn once(
        &self,
        session: &mut Session,
        begun: &mut Option<Instant>,
        heard: &mpsc::Sender<Heard>,
    ) -> End {
        let opening = async {
            let url = match session.address() {
                Some(address) => address.to_owned(),
                None => {
                    if let Some(begun) = *begun {
                        sleep_until(begun + BEGINNINGS).await;
                    }
                    *begun = Some(Instant::now());
                    self.entrance().await?
                }
            };
            self.remote(&url)?.websocket("?v=10&encoding=json", None, MAX_FRAME).await
        };
        let socket = tokio::select! {
            () = heard.closed() => return End::Gone,
            opened = opening => match opened {
                Ok(socket) => socket,
                Err(error) => return End::Failed(error),
            },
        };
        let due = Instant::now() + PATIENCE;
        let mut line = Line { live: self, socket, waiting: None, pause: None, due, is_heard: true };
        let end = line.follow(session, heard).await;
        if !matches!(end, End::Failed(_)) {
            line.close().await;
        }
        end
    }

    /// Where the gateway is, if a session may be begun.
    async fn entrance(&self) -> Result<String, SourceError> {
        let entrance = self.rest.entrance().await?;
        if entrance.left == 0 {
            let pause = Duration::from_millis(entrance.anew);
            let message = format!(
                "begin a session with Discord: the bot has begun {} today, which is all; the next may be in {} s",
                entrance.total,
                pause.as_secs()
            );
            return Err(SourceError::new(SourceErrorKind::Unavailable, message).after(pause));
        }
        Ok(entrance.url)
    }

    /// The gateway as a server. It is told the token, so it may be no less protected than the API was.
    fn remote(&self, url: &str) -> Result<Remote, SourceError> {
        let odd = |why: String| SourceError::new(SourceErrorKind::Protocol, why);
        let is_plain = self.rest.name().starts_with("http://");
        let address = match url.split_once("://") {
            Some(("wss", rest)) => format!("https://{rest}"),
            Some(("ws", rest)) if is_plain => format!("http://{rest}"),
            _ => {
                let message = "go to Discord's gateway: its address is not protected (wss://)";
                return Err(odd(message.to_owned()));
            }
        };
        Remote::with_options(&address, self.options.clone()).map_err(odd)
    }

    /// The error for a gateway that does not want this bot.
    fn refused(refusal: Refusal) -> SourceError {
        let (kind, why) = match refusal {
            Refusal::Token => (
                SourceErrorKind::Settings,
                "it refuses the token; make a new one on the bot's page and put it into `token`",
            ),
            Refusal::Intents => (
                SourceErrorKind::Settings,
                "the bot may not see what messages hold; switch on Message Content Intent on its page (Bot, Privileged Gateway Intents)",
            ),
            Refusal::Speech => {
                (SourceErrorKind::Protocol, "it does not speak version 10, or wants shards")
            }
        };
        SourceError::new(kind, format!("hear Discord's gateway: {why}"))
    }
}

// === impl Line ===

impl Line<'_> {
    /// Reads until something ends it.
    async fn follow(&mut self, session: &mut Session, heard: &mpsc::Sender<Heard>) -> End {
        let mut was_well = false;
        let end = |was_well: bool, error| {
            if was_well { End::Broke(error) } else { End::Failed(error) }
        };
        loop {
            let step = tokio::select! {
                room = heard.reserve(), if self.waiting.is_some() => {
                    let Ok(room) = room else { return End::Gone };
                    if let Some(waiting) = self.waiting.take() {
                        room.send(waiting);
                    }
                    Step::Nothing
                }
                () = heard.closed(), if self.waiting.is_none() => return End::Gone,
                frame = self.socket.next(), if self.waiting.is_none() => {
                    match read(session, frame) {
                        Ok(step) => step,
                        Err(error) => return end(was_well, error),
                    }
                }
                () = sleep_until(self.due) => match self.tick() {
                    Ok(()) => Step::Beat,
                    Err(error) => return end(was_well, error),
                },
            };
            let said = match step {
                Step::Nothing => continue,
                Step::Heard => {
                    self.is_heard = true;
                    continue;
                }
                Step::Message(message) => {
                    self.waiting = Some(Heard::Message(message));
                    continue;
                }
                Step::Begun(me) => {
                    was_well = true;
                    self.waiting = Some(Heard::Begun(me));
                    continue;
                }
                Step::GoesOn => {
                    info!("the session with discord goes on");
                    was_well = true;
                    continue;
                }
                Step::Again => {
                    let error = away("it wants to be called again");
                    return end(was_well, error);
                }
                Step::Lost => {
                    let pause = Backoff::new(LOST, LOST).next_delay();
                    return end(was_well, away("the session is not valid any more").after(pause));
                }
                Step::Greeted(pause) => {
                    self.pause = Some(pause);
                    // The first one at random within the pause, so that not all that were cut off come at once.
                    self.due = Instant::now() + Backoff::new(pause, pause).next_delay();
                    session.opening(&self.live.token, self.live.intents)
                }
                Step::Beat => session.beat(),
            };
            if let Err(error) = self.say(said).await {
                return end(was_well, error);
            }
        }
    }

    /// A heartbeat is due. One that was not heard means that the connection is dead, unless nobody has read meanwhile.
    fn tick(&mut self) -> Result<(), SourceError> {
        let Some(pause) = self.pause else { return Err(away("it does not greet")) };
        if !self.is_heard && self.waiting.is_none() {
            return Err(away("it does not answer heartbeats"));
        }
        self.is_heard = self.waiting.is_some();
        self.due = Instant::now() + pause;
        Ok(())
    }

    async fn say(&mut self, text: String) -> Result<(), SourceError> {
        match timeout(PATIENCE, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(away("it broke off").because(error)),
            Err(_) => Err(away("it takes nothing")),
        }
    }

    /// Says that it is over, so that the gateway need not find out.
    async fn close(&mut self) {
        let frame = CloseFrame { code: CloseCode::from(COME_AGAIN), reason: "".into() };
        // It may be gone, which is as well.
        let _ = timeout(Duration::from_secs(1), self.socket.close(Some(frame))).await;
    }
}

/// What a frame means, or why there is none.
fn read(session: &mut Session, frame: Option<Result<Message, Error>>) -> Result<Step, SourceError> {
    match frame {
        Some(Ok(Message::Text(text))) => session.hear(&text).or_else(|error| {
            // One thing that cannot be read is no reason to go.
            debug!(error = %stdx::Chain(&error), "discord sent a frame that cannot be read");
            Ok(Step::Nothing)
        }),
        Some(Ok(Message::Close(frame))) => {
            let code = frame.map(|frame| u16::from(frame.code));
            match session.closed(code) {
                Some(refusal) => Err(Live::refused(refusal)),
                None => Err(away(&format!("it closed ({})", code.unwrap_or(1005)))),
            }
        }
        Some(Ok(_)) => Ok(Step::Nothing),
        Some(Err(error)) => Err(away("it broke off").because(error)),
        None => Err(away("it broke off")),
    }
}

fn away(why: &str) -> SourceError {
    let message = format!("go on hearing Discord's gateway: {why}");
    SourceError::new(SourceErrorKind::Unavailable, message)
}
