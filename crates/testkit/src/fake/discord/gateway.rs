//! Discord's gateway: sessions that are begun and gone on with, heartbeats, and what goes wrong there.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::{
    Message as Frame,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{BOT, ME, blank};
use crate::fake::{Call, Reply, Socket};

const GUILD_MESSAGES: u64 = 1 << 9;
const MESSAGE_CONTENT: u64 = 1 << 15;

/// What happens to the connections that are open.
#[derive(Clone, Debug)]
pub enum Order {
    /// They are closed, with this code.
    Close(u16),
    /// They are dropped, without a word.
    Drop,
    /// They are asked to come again (opcode 7).
    Reconnect,
    /// Their session is not valid any more (opcode 9), for ever or for now.
    Invalidate {
        /// Whether it can be gone on with.
        is_resumable: bool,
    },
    /// They are asked for a heartbeat (opcode 1).
    Beat,
    /// They are sent this, whatever it is.
    Say(String),
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    state: Mutex<State>,
    /// Counted up when there is something for a session.
    news: watch::Sender<u64>,
    orders: broadcast::Sender<Order>,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that were opened.
    pub opened: u32,
    /// Sessions that were begun.
    pub identified: u32,
    /// Sessions that were gone on with.
    pub resumed: u32,
    /// Heartbeats.
    pub beats: u32,
}

#[derive(Debug)]
struct State {
    sessions: Vec<Session>,
    counts: Counts,
    heartbeat: Duration,
    is_mute: bool,
    is_shut: bool,
    shows_content: bool,
}

/// A session: what it was told, whose sequence numbers begin with 1.
#[derive(Debug)]
struct Session {
    intents: u64,
    told: Vec<Value>,
    is_valid: bool,
}

/// What becomes of a connection after a frame.
enum Step {
    Nothing,
    Say(Value),
    /// It is of this session, which has been told so much.
    Joins(usize, usize),
    Close(u16),
}

/// The bot, as a user.
pub(super) fn me() -> Value {
    json!({ "id": ME.to_string(), "username": "proxmox", "discriminator": "0", "bot": true })
}

// === impl Gateway ===

impl Gateway {
    pub(super) fn new() -> Self {
        let state = State {
            sessions: Vec::new(),
            counts: Counts::default(),
            heartbeat: Duration::from_millis(41_250),
            is_mute: false,
            is_shut: false,
            shows_content: true,
        };
        Self {
            state: Mutex::new(state),
            news: watch::channel(0).0,
            orders: broadcast::channel(64).0,
        }
    }

    /// How often something happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Lets this happen to every connection that is open.
    pub fn order(&self, order: Order) {
        // Nobody may be connected.
        let _ = self.orders.send(order);
    }

    /// How often connections that come from now on have to say that they live.
    pub fn set_heartbeat(&self, heartbeat: Duration) {
        self.state().heartbeat = heartbeat;
    }

    /// Whether heartbeats are left without an answer.
    pub fn set_mute(&self, is_mute: bool) {
        self.state().is_mute = is_mute;
    }

    /// Whether nobody comes in.
    pub fn set_shut(&self, is_shut: bool) {
        self.state().is_shut = is_shut;
    }

    /// Forgets every session: none can be gone on with.
    pub fn forget(&self) {
        for session in &mut self.state().sessions {
            session.is_valid = false;
        }
    }

    /// A message is there: every session that may is told.
    pub(super) fn dispatch(&self, message: &Value) {
        for session in &mut self.state().sessions {
            if session.is_valid && session.intents & GUILD_MESSAGES != 0 {
                let is_whole = session.intents & MESSAGE_CONTENT != 0;
                let seen = if is_whole { message.clone() } else { blank(message.clone()) };
                session.tell("MESSAGE_CREATE", &seen);
            }
        }
        self.news.send_modify(|count| *count += 1);
    }

    pub(super) fn open(self: &Arc<Self>, call: &Call, shows_content: bool) -> Reply {
        let mut state = self.state();
        state.shows_content = shows_content;
        if state.is_shut {
            return Reply::HangUp;
        }
        state.counts.opened += 1;
        drop(state);
        let is_known = call.param("v") == Some("10") && call.param("encoding") == Some("json");
        let (gateway, host) = (Arc::clone(self), call.header("host"));
        Reply::Socket(Box::new(move |socket| gateway.talk(socket, is_known, host).boxed()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn talk(self: Arc<Self>, mut socket: Socket, is_known: bool, host: String) {
        let mut orders = self.orders.subscribe();
        let mut news = self.news.subscribe();
        if !is_known {
            return close(&mut socket, 4012).await;
        }
        let pause = u64::try_from(self.state().heartbeat.as_millis()).unwrap_or(u64::MAX);
        let hello = json!({ "op": 10, "d": { "heartbeat_interval": pause }, "s": null, "t": null });
        if socket.send(Frame::text(hello.to_string())).await.is_err() {
            return;
        }
        let mut session: Option<(usize, usize)> = None;
        loop {
            if let Some((number, told)) = &mut session {
                let rest = self.state().sessions[*number].told[*told..].to_vec();
                for frame in rest {
                    if socket.send(Frame::text(frame.to_string())).await.is_err() {
                        return;
                    }
                    *told += 1;
                }
            }
            let step = tokio::select! {
                // What happens to a connection happens before anything that is posted later.
                biased;
                order = orders.recv() => match order {
                    Ok(Order::Close(code)) => Step::Close(code),
                    Ok(Order::Drop) | Err(_) => return,
                    Ok(Order::Reconnect) => Step::Say(json!({ "op": 7, "d": null })),
                    Ok(Order::Beat) => Step::Say(json!({ "op": 1, "d": null })),
                    Ok(Order::Invalidate { is_resumable }) => {
                        if let Some((number, _)) = session {
                            self.state().sessions[number].is_valid = is_resumable;
                        }
                        Step::Say(json!({ "op": 9, "d": is_resumable }))
                    }
                    Ok(Order::Say(text)) => {
                        if socket.send(Frame::text(text)).await.is_err() {
                            return;
                        }
                        Step::Nothing
                    }
                },
                frame = socket.next() => match frame {
                    Some(Ok(Frame::Text(text))) if text.len() <= 4096 => {
                        let frame = serde_json::from_str(&text).unwrap_or_default();
                        self.hear(&frame, session.is_some(), &host)
                    }
                    Some(Ok(Frame::Text(_) | Frame::Binary(_))) => Step::Close(4002),
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => Step::Nothing,
                    _ => return,
                },
                changed = news.changed() => match changed {
                    Ok(()) => Step::Nothing,
                    Err(_) => return,
                },
            };
            match step {
                Step::Nothing => {}
                Step::Say(frame) => {
                    if socket.send(Frame::text(frame.to_string())).await.is_err() {
                        return;
                    }
                }
                Step::Joins(number, told) => session = Some((number, told)),
                Step::Close(code) => return close(&mut socket, code).await,
            }
        }
    }

    fn hear(&self, frame: &Value, is_joined: bool, host: &str) -> Step {
        let data = &frame["d"];
        let is_bot = data["token"] == BOT;
        let mut state = self.state();
        match frame["op"].as_u64() {
            Some(1) => {
                state.counts.beats += 1;
                if state.is_mute { Step::Nothing } else { Step::Say(json!({ "op": 11 })) }
            }
            Some(2 | 6) if is_joined => Step::Close(4005),
            Some(2 | 6) if !is_bot => Step::Close(4004),
            Some(2) => state.identify(data, host),
            Some(6) => state.resume(data),
            Some(_) if !is_joined => Step::Close(4003),
            Some(_) => Step::Close(4001),
            None => Step::Close(4002),
        }
    }
}

// === impl State ===

impl State {
    fn identify(&mut self, data: &Value, host: &str) -> Step {
        let Some(intents) = data["intents"].as_u64() else { return Step::Close(4002) };
        if intents >> 26 != 0 {
            return Step::Close(4013);
        }
        if intents & MESSAGE_CONTENT != 0 && !self.shows_content {
            return Step::Close(4014);
        }
        let properties = &data["properties"];
        if ["os", "browser", "device"].iter().any(|name| !properties[*name].is_string()) {
            return Step::Close(4002);
        }
        self.counts.identified += 1;
        let number = self.sessions.len();
        let mut session = Session { intents, told: Vec::new(), is_valid: true };
        session.tell(
            "READY",
            &json!({
                "v": 10,
                "user": me(),
                "guilds": [{ "id": "100", "unavailable": true }],
                "session_id": format!("session{number}"),
                "resume_gateway_url": format!("ws://{host}"),
                "application": { "id": ME.to_string(), "flags": 0 },
            }),
        );
        self.sessions.push(session);
        Step::Joins(number, 0)
    }

    fn resume(&mut self, data: &Value) -> Step {
        let number = data["session_id"].as_str().and_then(|id| id.strip_prefix("session"));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let known = number.and_then(|number| Some((number, self.sessions.get_mut(number)?)));
        let Some((number, session)) = known.filter(|(_, session)| session.is_valid) else {
            return Step::Say(json!({ "op": 9, "d": false }));
        };
        let told = data["seq"].as_u64().and_then(|told| usize::try_from(told).ok());
        let Some(told) = told.filter(|told| *told <= session.told.len()) else {
            return Step::Close(4007);
        };
        session.tell("RESUMED", &json!({}));
        self.counts.resumed += 1;
        Step::Joins(number, told)
    }
}

// === impl Session ===

impl Session {
    fn tell(&mut self, what: &str, data: &Value) {
        let sequence = self.told.len() + 1;
        self.told.push(json!({ "op": 0, "t": what, "s": sequence, "d": data }));
    }
}

async fn close(socket: &mut Socket, code: u16) {
    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
    // It may have gone already.
    let _ = socket.close(Some(frame)).await;
    // A close is answered, and the connection is let go after that.
    while let Some(Ok(_)) = socket.next().await {}
}
