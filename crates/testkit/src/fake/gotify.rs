//! A Gotify server, by the description of its API (2.x): applications post, clients read, hear and delete.

use std::collections::BTreeMap;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};

use super::{Call, Reply, Rules, Socket, moods};
use crate::contract::sink::Traits;

/// The token of the application [`APPLICATION`], and its number.
pub const APP_TOKEN: &str = "A-token-of-the-application";
/// The application that posts.
pub const APPLICATION: u64 = 5;
/// The token of another application, number 7.
pub const OTHER_TOKEN: &str = "A-token-of-another-application";
/// A client's token.
pub const CLIENT_TOKEN: &str = "C-token-of-the-client";

/// When the first message is posted, in seconds.
const BEGINNING: i64 = 1_795_370_864;
/// The most messages of a page.
const MOST: u64 = 200;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Application(u64),
    Client,
    Stranger,
}

/// The server's rules.
#[derive(Debug)]
pub struct Gotify {
    /// The messages that are there, oldest first.
    pub messages: Vec<Value>,
    applications: BTreeMap<u64, (&'static str, &'static str)>,
    next: u64,
    seconds: i64,
    posted: broadcast::Sender<Value>,
    /// Counted up to end the streams that are open; odd while none may be opened.
    epoch: watch::Sender<u64>,
}

// === impl Gotify ===

impl Default for Gotify {
    fn default() -> Self {
        Self::new()
    }
}

impl Gotify {
    /// With two applications, and no message yet.
    pub fn new() -> Self {
        Self {
            messages: Vec::new(),
            applications: BTreeMap::from([
                (APPLICATION, ("Proxmox", APP_TOKEN)),
                (7, ("doorbell", OTHER_TOKEN)),
            ]),
            next: 0,
            seconds: BEGINNING,
            posted: broadcast::channel(1024).0,
            epoch: watch::channel(0).0,
        }
    }

    /// An application posts this. Gives the message as clients see it.
    pub fn post(&mut self, application: u64, message: &Value) -> Value {
        self.next += 1;
        self.seconds += 1;
        let date = jiff::Timestamp::from_second(self.seconds).unwrap_or_default();
        let name = self.applications.get(&application).map_or("", |(name, _)| name);
        let title = message["title"].as_str().filter(|title| !title.is_empty()).unwrap_or(name);
        let mut posted = json!({
            "id": self.next,
            "appid": application,
            "message": message["message"],
            "title": title,
            "priority": message["priority"].as_i64().unwrap_or(0),
            "date": date.to_string(),
        });
        if let Some(extras) = message.get("extras").filter(|extras| extras.is_object()) {
            posted["extras"] = extras.clone();
        }
        self.messages.push(posted.clone());
        // Nobody may listen.
        let _ = self.posted.send(posted.clone());
        posted
    }

    /// Forgets everything and counts from 1 again, as a server that was set up anew. Its time goes on.
    pub fn forget(&mut self) {
        self.messages.clear();
        self.next = 0;
    }

    /// Ends the open streams, and lets none be opened until [`Gotify::open`].
    pub fn close(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Lets streams be opened again.
    pub fn open(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// The token is in a header of Gotify's own, in the usual one, or in the address.
    fn who(&self, call: &Call) -> Who {
        let bearer = call.header("authorization");
        let own = call.header("x-gotify-key");
        let token = call
            .param("token")
            .or_else(|| Some(own.as_str()).filter(|token| !token.is_empty()))
            .or_else(|| bearer.strip_prefix("Bearer "))
            .unwrap_or_default();
        if token == CLIENT_TOKEN {
            return Who::Client;
        }
        let application = self.applications.iter().find(|(_, (_, known))| *known == token);
        application.map_or(Who::Stranger, |(id, _)| Who::Application(*id))
    }

    fn create(&mut self, application: u64, call: &Call) -> Reply {
        let message =
            if call.header("content-type").starts_with("application/x-www-form-urlencoded") {
                form(&call.body)
            } else {
                match serde_json::from_str(&call.body) {
                    Ok(message) => message,
                    Err(_) => return bad("invalid character in the body"),
                }
            };
        if message["message"].as_str().is_none_or(str::is_empty) {
            return bad("Field 'message' is required");
        }
        Reply::json(200, &self.post(application, &message))
    }

    /// A page, the newest first, below the number that is asked for.
    fn list(&self, of: Option<u64>, call: &Call) -> Reply {
        let number = |name, usual| call.param(name).map_or(Some(usual), |text| text.parse().ok());
        let (Some(limit), Some(since)) = (number("limit", 100), number("since", 0)) else {
            return bad("strconv.ParseUint: invalid syntax");
        };
        if !(1..=MOST).contains(&limit) {
            return bad("Field 'limit' must be between 1 and 200");
        }
        let fitting = self.messages.iter().rev().filter(|message| {
            let id = message["id"].as_u64().unwrap_or_default();
            let is_below = since == 0 || id < since;
            is_below && of.is_none_or(|of| message["appid"] == of)
        });
        // One more than fits tells whether there is another page.
        let mut page: Vec<&Value> = fitting.take(usize::try_from(limit).unwrap_or(0) + 1).collect();
        let is_last = page.len() as u64 <= limit;
        page.truncate(usize::try_from(limit).unwrap_or(0));
        let size = page.len();
        let mut paging = json!({ "size": size, "limit": limit, "since": 0 });
        if let Some(lowest) = page.last().filter(|_| !is_last) {
            let (path, host) = (&call.path, call.header("host"));
            let next = format!("http://{host}{path}?limit={limit}&since={}", lowest["id"]);
            paging["since"] = lowest["id"].clone();
            paging["next"] = next.into();
        }
        Reply::json(200, &json!({ "paging": paging, "messages": page }))
    }

    fn delete(&mut self, id: &str) -> Reply {
        let Ok(id) = id.parse::<u64>() else { return bad("invalid id") };
        let before = self.messages.len();
        self.messages.retain(|message| message["id"] != id);
        if self.messages.len() < before {
            Reply::text(200, "")
        } else {
            error(404, "Not Found", "message does not exist")
        }
    }

    fn stream(&self) -> Reply {
        let mut epoch = self.epoch.subscribe();
        if *epoch.borrow_and_update() % 2 == 1 {
            return Reply::HangUp;
        }
        let posted = self.posted.subscribe();
        Reply::Socket(Box::new(move |socket| tell(socket, posted, epoch).boxed()))
    }

    fn applications(&self) -> Reply {
        let shown = self.applications.iter().map(|(id, (name, token))| {
            json!({
                "id": id, "token": token, "name": name, "description": "", "internal": false,
                "image": "static/defaultapp.png", "defaultPriority": 0, "lastUsed": null,
            })
        });
        Reply::json(200, &shown.collect())
    }

    fn of_client(&mut self, call: &Call, parts: &[&str]) -> Reply {
        match (call.method.as_str(), parts) {
            ("GET", ["message"]) => self.list(None, call),
            ("GET", ["application"]) => self.applications(),
            ("GET", ["application", id, "message"]) => match id.parse() {
                Ok(id) if self.applications.contains_key(&id) => self.list(Some(id), call),
                _ => error(404, "Not Found", "application does not exist"),
            },
            ("DELETE", ["message"]) => {
                self.messages.clear();
                Reply::text(200, "")
            }
            ("DELETE", ["message", id]) => self.delete(id),
            ("GET", ["stream"]) => self.stream(),
            _ => error(404, "Not Found", "page not found"),
        }
    }
}

impl Rules for Gotify {
    fn answer(&mut self, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method.as_str(), &parts[..], self.who(call)) {
            ("GET", ["version"], _) => Reply::json(
                200,
                &json!({ "version": "2.6.3", "commit": "", "buildDate": "2025-04-27" }),
            ),
            ("GET", ["health"], _) => {
                Reply::json(200, &json!({ "health": "green", "database": "green" }))
            }
            ("POST", ["message"], Who::Application(id)) => self.create(id, call),
            // To each other's doors their tokens are no tokens.
            ("POST", ["message"], _) | (_, _, Who::Application(_) | Who::Stranger) => error(
                401,
                "Unauthorized",
                "you need to provide a valid access token or user credentials to access this api",
            ),
            (_, parts, Who::Client) => self.of_client(call, parts),
        }
    }

    fn shown(&self) -> Vec<String> {
        let text = |message: &Value, name: &str| message[name].as_str().unwrap_or("").to_owned();
        let shown = self.messages.iter().map(|message| {
            format!(
                "{}\n{} ",
                text(message, "title"),
                text(message, "message").replace('\n', " \n")
            )
        });
        shown.collect()
    }

    fn refuse(&self, call: &Call) -> Reply {
        Reply::text(403, &format!("not with {}", call.header("x-gotify-key")))
    }

    fn traits(&self) -> Traits {
        let secrets = vec![APP_TOKEN.to_owned(), CLIENT_TOKEN.to_owned()];
        Traits { knows_keys: false, edits: true, moods: moods(), secrets }
    }
}

/// Tells a client what is posted, until it goes or is sent away.
async fn tell(
    mut socket: Socket,
    mut posted: broadcast::Receiver<Value>,
    mut epoch: watch::Receiver<u64>,
) {
    // It asks every 45 seconds whether the client lives; these tests do not last so long, so once.
    if socket.send(Frame::Ping(Bytes::new())).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            message = posted.recv() => {
                // A client that is too slow is let go.
                let Ok(message) = message else { return };
                if socket.send(Frame::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            heard = socket.next() => {
                if !matches!(heard, Some(Ok(_))) {
                    return;
                }
            }
            _ = epoch.changed() => return,
        }
    }
}

fn form(body: &str) -> Value {
    let mut message = json!({});
    for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
        message[&*name] = match (&*name, value.parse::<i64>()) {
            ("priority", Ok(number)) => number.into(),
            _ => value.into_owned().into(),
        };
    }
    message
}

fn bad(why: &str) -> Reply {
    error(400, "Bad Request", why)
}

fn error(status: u16, name: &str, why: &str) -> Reply {
    Reply::json(status, &json!({ "error": name, "errorCode": status, "errorDescription": why }))
}
