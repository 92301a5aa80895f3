//! Discord, as far as its documentation goes: messages of channels and webhooks over REST, and the [gateway](Gateway).
//!
//! It keeps the limits of messages, counts requests by bucket and altogether, knows nonces, and shows what a message
//! holds only to a bot that has the intent. Its webhook, bot and channels are made by [`Discord::new`].

mod gateway;
mod limits;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub use gateway::{Counts, Gateway, Order};

use super::{Call, Reply, Rules, moods};
use crate::contract::sink::{Mood, Traits};

/// The bot's token.
pub const BOT: &str = "b0t-token-of-these-tests";
/// The bot's user.
pub const ME: u64 = 900;
/// The token of the webhook [`WEBHOOK`].
pub const WEBHOOK_TOKEN: &str = "w3bhook-token-of-these-tests";
/// A webhook of the channel [`OPS`].
pub const WEBHOOK: u64 = 111;
/// A channel that the bot may read and write.
pub const OPS: u64 = 222;
/// A thread of that channel.
pub const THREAD: u64 = 333;
/// Another channel.
pub const LOBBY: u64 = 444;
/// A channel that is there, but not for the bot.
pub const SECRET: u64 = 555;

/// Where Discord's time begins, in milliseconds, and when these tests are, on that clock.
const EPOCH: i64 = 1_420_070_400_000;
const NOW: u64 = 375_300_000_000;
const GUILD: u64 = 100;

/// So many requests of a kind within that time.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How many.
    pub most: u32,
    /// Within which time.
    pub within: Duration,
}

/// A limit, and what is used of it.
#[derive(Debug)]
struct Bucket {
    limit: Limit,
    used: u32,
    until: Instant,
}

/// A message as it was sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number.
    pub id: u64,
    /// The channel or thread that it stands in.
    pub channel: u64,
    /// The webhook that it was posted through.
    pub webhook: Option<u64>,
    /// Who wrote it: the bot, a webhook, or anybody.
    pub author: u64,
    /// What was posted, or last edited.
    pub body: Value,
}

/// The service's rules.
#[derive(Debug)]
pub struct Discord {
    /// Every message that there is, oldest first.
    pub messages: Vec<Message>,
    /// How often a message could have alerted somebody.
    pub alarms: u32,
    /// How many requests were refused because there were too many.
    pub limited: u32,
    /// How many requests were refused with 401, 403 or 429: ten thousand in ten minutes close the door.
    pub invalid: u32,
    /// Whether the bot may see what messages of others hold.
    pub shows_content: bool,
    /// How often the bot may still begin a session today.
    pub starts_left: u32,
    /// How its gateway is reached: `ws`, or `wss` behind something that ends TLS.
    pub scheme: &'static str,
    /// What every bucket allows; nothing is counted without it.
    pub limit: Option<Limit>,
    /// What is allowed altogether.
    pub global_limit: Option<Limit>,
    buckets: BTreeMap<String, Bucket>,
    global: Option<Bucket>,
    nonces: BTreeMap<String, u64>,
    channels: BTreeMap<u64, &'static str>,
    gateway: Arc<Gateway>,
    next: u64,
}

// === impl Discord ===

impl Default for Discord {
    fn default() -> Self {
        Self::new()
    }
}

impl Discord {
    /// With nothing in it yet.
    pub fn new() -> Self {
        Self {
            messages: Vec::new(),
            alarms: 0,
            limited: 0,
            invalid: 0,
            shows_content: true,
            starts_left: 1000,
            scheme: "ws",
            limit: None,
            global_limit: None,
            buckets: BTreeMap::new(),
            global: None,
            nonces: BTreeMap::new(),
            channels: BTreeMap::from([
                (OPS, "ops"),
                (THREAD, "a thread"),
                (LOBBY, "lobby"),
                (SECRET, "secret"),
            ]),
            gateway: Arc::new(Gateway::new()),
            next: 0,
        }
    }

    /// The gateway, for what happens there.
    pub fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.gateway)
    }

    /// Somebody writes this into a channel, be it through [`WEBHOOK`]. Gives the message's number.
    pub fn say(&mut self, channel: u64, author: u64, body: Value) -> u64 {
        self.put(channel, (author == WEBHOOK).then_some(WEBHOOK), author, body)
    }

    /// Closes the bucket of this method and path, such as `channels/222/messages`, for so long, as if somebody else had
    /// emptied it.
    pub fn close_bucket(&mut self, method: &str, route: &str, pause: Duration) {
        let limit = Limit { most: 0, within: pause };
        let until = Instant::now() + pause;
        self.buckets.insert(format!("{method} {route}"), Bucket { limit, used: 0, until });
    }

    /// Opens every bucket.
    pub fn open_buckets(&mut self) {
        self.buckets.clear();
    }

    fn put(&mut self, channel: u64, webhook: Option<u64>, author: u64, body: Value) -> u64 {
        self.next += 1;
        // A second from one to the next.
        let id = (NOW + self.next * 1000) << 22 | self.next & 0xfff;
        if limits::alarms(&body) && (webhook.is_some() || author == ME) {
            self.alarms += 1;
        }
        let message = Message { id, channel, webhook, author, body };
        self.gateway.dispatch(&seen(&message));
        self.messages.push(message);
        id
    }

    /// Counts a request. Gives the headers that say what is left, or the refusal.
    fn count(&mut self, call: &Call, route: &str) -> Result<Vec<(&'static str, String)>, Reply> {
        let now = Instant::now();
        if let Some(limit) = self.global_limit {
            let bucket = self.global.take();
            let mut bucket = bucket.filter(|it| it.until > now).unwrap_or(Bucket {
                limit,
                used: 0,
                until: now + limit.within,
            });
            bucket.used += 1;
            let is_full = bucket.used > limit.most;
            let until = bucket.until;
            self.global = Some(bucket);
            if is_full {
                return Err(self.too_many(until - now, true));
            }
        }
        let name = format!("{} {route}", call.method);
        if self.buckets.get(&name).is_some_and(|it| it.until <= now) {
            self.buckets.remove(&name);
        }
        if let Some(limit) = self.limit {
            let fresh = Bucket { limit, used: 0, until: now + limit.within };
            self.buckets.entry(name.clone()).or_insert(fresh);
        }
        let Some(bucket) = self.buckets.get_mut(&name) else { return Ok(Vec::new()) };
        let left = bucket.limit.most.checked_sub(bucket.used + 1);
        let (most, pause) = (bucket.limit.most, bucket.until - now);
        let Some(left) = left else { return Err(self.too_many(pause, false)) };
        bucket.used += 1;
        Ok(vec![
            ("x-ratelimit-limit", most.to_string()),
            ("x-ratelimit-remaining", left.to_string()),
            ("x-ratelimit-reset-after", format!("{:.3}", pause.as_secs_f64())),
            ("x-ratelimit-bucket", format!("{:x}", name.len())),
        ])
    }

    fn too_many(&mut self, pause: Duration, is_global: bool) -> Reply {
        self.limited += 1;
        limited(pause, is_global)
    }

    /// A post to a channel, or through a webhook.
    fn post(&mut self, channel: u64, webhook: Option<u64>, call: &Call) -> Reply {
        let body = call.json();
        if let Some(problem) = limits::problem(&body) {
            return problem;
        }
        let author = webhook.unwrap_or(ME);
        let nonce = body["nonce"].as_str().filter(|_| body["enforce_nonce"] == true);
        let nonce = nonce.filter(|_| webhook.is_none()).map(str::to_owned);
        // Discord remembers nonces for some minutes, and this for as long as it runs.
        let known = nonce.as_ref().and_then(|nonce| self.nonces.get(nonce)).copied();
        let id = known.unwrap_or_else(|| self.put(channel, webhook, author, body));
        if let Some(nonce) = nonce {
            self.nonces.insert(nonce, id);
        }
        // Without `wait` a webhook answers before it has kept the message, and does not name it.
        if webhook.is_some() && call.param("wait") != Some("true") {
            return Reply::text(204, "");
        }
        match self.messages.iter().find(|message| message.id == id) {
            Some(message) => Reply::json(200, &seen(message)),
            None => error(404, 10_008, "Unknown Message"),
        }
    }

    /// An edit or a deletion.
    fn change(&mut self, place: (u64, Option<u64>), id: &str, call: &Call) -> Reply {
        let found = self.messages.iter().position(|message| {
            message.id.to_string() == id && (message.channel, message.webhook) == place
        });
        let Some(at) = found else { return error(404, 10_008, "Unknown Message") };
        if place.1.is_none() && self.messages[at].author != ME {
            return error(403, 50_005, "Cannot edit a message authored by another user");
        }
        if call.method == "DELETE" {
            self.messages.remove(at);
            return Reply::text(204, "");
        }
        let body = call.json();
        if let Some(problem) = limits::problem(&body) {
            return problem;
        }
        self.messages[at].body = body;
        Reply::json(200, &seen(&self.messages[at]))
    }

    /// A page of a channel, the newest first whatever was asked for.
    fn history(&self, channel: u64, call: &Call) -> Reply {
        let number = |name| call.param(name).map(str::parse::<u64>);
        let most = match number("limit") {
            None => 50,
            Some(Ok(most @ 1..=100)) => usize::try_from(most).unwrap_or(100),
            Some(_) => return limits::refused("limit", "Value should be between 1 and 100."),
        };
        let (after, before) = (number("after"), number("before"));
        if matches!(after, Some(Err(_))) || matches!(before, Some(Err(_))) {
            return limits::refused("after", "Value is not snowflake.");
        }
        let (after, before) = (after.and_then(Result::ok), before.and_then(Result::ok));
        let mut page: Vec<&Message> = self
            .messages
            .iter()
            .filter(|it| it.channel == channel)
            .filter(|it| after.is_none_or(|after| it.id > after))
            .filter(|it| before.is_none_or(|before| it.id < before))
            .collect();
        page.sort_by_key(|it| it.id);
        // Behind a number the next ones, otherwise the last ones.
        if after.is_some() {
            page.truncate(most);
        } else {
            page.drain(..page.len().saturating_sub(most));
        }
        let page = page.into_iter().rev().map(|message| {
            let seen = seen(message);
            if self.shows_content { seen } else { blank(seen) }
        });
        Reply::json(200, &page.collect())
    }

    fn about(&self, channel: u64) -> Reply {
        let Some(name) = self.channels.get(&channel) else { return unknown_channel() };
        let last = self.messages.iter().filter(|it| it.channel == channel).map(|it| it.id).max();
        let last = last.map(|id| id.to_string());
        let (id, guild) = (channel.to_string(), GUILD.to_string());
        Reply::json(
            200,
            &json!({ "id": id, "type": 0, "guild_id": guild, "name": name, "last_message_id": last }),
        )
    }

    /// What the bot asks.
    fn of_bot(&mut self, call: &Call, parts: &[&str]) -> Reply {
        match (call.method.as_str(), parts) {
            ("GET", ["gateway", "bot"]) => {
                let url = format!("{}://{}", self.scheme, call.header("host"));
                let start = json!({
                    "total": 1000, "remaining": self.starts_left, "reset_after": 14_400_000,
                    "max_concurrency": 1,
                });
                Reply::json(200, &json!({ "url": url, "shards": 1, "session_start_limit": start }))
            }
            ("GET", ["users", "@me"]) => Reply::json(200, &gateway::me()),
            ("GET", ["applications", "@me"]) => {
                // Bots on few servers have a flag of their own for it.
                let flags = u32::from(self.shows_content) << 19;
                Reply::json(
                    200,
                    &json!({ "id": ME.to_string(), "name": "proxmox", "flags": flags }),
                )
            }
            (method, ["channels", channel, rest @ ..]) => {
                let channel = channel.parse().ok().filter(|id| self.channels.contains_key(id));
                let Some(channel) = channel else { return unknown_channel() };
                match (method, rest) {
                    _ if channel == SECRET => error(403, 50_001, "Missing Access"),
                    ("GET", []) => self.about(channel),
                    ("GET", ["messages"]) => self.history(channel, call),
                    ("POST", ["messages"]) => self.post(channel, None, call),
                    ("PATCH" | "DELETE", ["messages", id]) => {
                        self.change((channel, None), id, call)
                    }
                    _ => error(405, 0, "405: Method Not Allowed"),
                }
            }
            _ => error(404, 0, "404: Not Found"),
        }
    }

    /// What is asked of the webhook.
    fn of_webhook(&mut self, call: &Call, rest: &[&str]) -> Reply {
        let thread = call.param("thread_id").map(|id| id.parse().ok());
        let channel = match thread {
            None => OPS,
            Some(Some(THREAD)) => THREAD,
            Some(_) => return unknown_channel(),
        };
        match (call.method.as_str(), rest) {
            ("GET", []) => Reply::json(
                200,
                &json!({ "id": WEBHOOK.to_string(), "type": 1, "name": "Captain Hook" }),
            ),
            ("POST", []) => self.post(channel, Some(WEBHOOK), call),
            ("PATCH" | "DELETE", ["messages", id]) => {
                self.change((channel, Some(WEBHOOK)), id, call)
            }
            _ => error(405, 0, "405: Method Not Allowed"),
        }
    }
}

impl Rules for Discord {
    fn answer(&mut self, call: &Call) -> Reply {
        if call.path == "/" && !call.header("sec-websocket-key").is_empty() {
            return self.gateway.open(call, self.shows_content);
        }
        let mut parts: Vec<&str> = call.path.trim_matches('/').split('/').skip(1).collect();
        // A version may be named.
        if parts.first().is_some_and(|part| *part == "v10") {
            parts.remove(0);
        }
        // What is counted by itself: a channel, or a webhook with its token.
        let place = if parts.first() == Some(&"webhooks") { 3 } else { 2 };
        // All messages of a place are one.
        let route = parts.iter().take(place + 1).copied().collect::<Vec<_>>().join("/");
        let is_bot = call.header("authorization") == format!("Bot {BOT}");
        let known = [WEBHOOK.to_string(), WEBHOOK_TOKEN.to_owned()];
        let reply = match self.count(call, &route) {
            Err(refusal) => refusal,
            Ok(headers) => match &parts[..] {
                ["webhooks", id, token, rest @ ..] if known == [*id, *token] => {
                    self.of_webhook(call, rest).with(headers)
                }
                ["webhooks", ..] => error(404, 10_015, "Unknown Webhook"),
                _ if !is_bot => error(401, 0, "401: Unauthorized"),
                parts => self.of_bot(call, parts).with(headers),
            },
        };
        if matches!(reply, Reply::Answer(401 | 403 | 429, ..)) {
            self.invalid += 1;
        }
        reply
    }

    fn shown(&self) -> Vec<String> {
        self.messages.iter().map(|message| limits::words(&message.body)).collect()
    }

    fn busy(&self, pause: Duration) -> Reply {
        limited(pause, false)
    }

    fn refuse(&self, call: &Call) -> Reply {
        let quoted = format!("{} {}", call.path, call.header("authorization"));
        error(403, 50_013, &quoted)
    }

    /// Those of a bot; webhooks know no keys.
    fn traits(&self) -> Traits {
        let secrets = vec![WEBHOOK_TOKEN.to_owned(), BOT.to_owned()];
        // A 429 closes the bucket for as long as it says, which a test has to wait for.
        let moods = moods().into_iter().filter(|it| !matches!(it, Mood::Busy(_)));
        Traits { knows_keys: true, edits: true, moods: moods.collect(), secrets }
    }
}

/// A message as Discord shows it.
fn seen(message: &Message) -> Value {
    let Message { id, channel, webhook, author, body } = message;
    let milliseconds = i64::try_from(id >> 22).unwrap_or(i64::MAX - EPOCH) + EPOCH;
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string();
    let list = |name: &str| body.get(name).cloned().unwrap_or_else(|| json!([]));
    let content = body["content"].as_str().unwrap_or_default();
    let is_mentioned = content.contains(&format!("<@{ME}>"));
    let mut seen = json!({
        "id": id.to_string(),
        "type": body.get("type").cloned().unwrap_or_else(|| json!(0)),
        "channel_id": channel.to_string(),
        "author": { "id": author.to_string(), "username": format!("user{author}"), "bot": webhook.is_some() || *author == ME },
        "content": content,
        "timestamp": time,
        "edited_timestamp": null,
        "tts": false,
        "mention_everyone": false,
        "mentions": if is_mentioned { json!([gateway::me()]) } else { json!([]) },
        "mention_roles": [],
        "attachments": list("attachments"),
        "embeds": list("embeds"),
        "pinned": false,
    });
    if let Some(webhook) = webhook {
        seen["webhook_id"] = webhook.to_string().into();
        if let Some(name) = body["username"].as_str() {
            seen["author"]["username"] = name.into();
        }
    }
    for name in ["nonce", "components", "message_snapshots"] {
        if let Some(value) = body.get(name) {
            seen[name] = value.clone();
        }
    }
    seen
}

/// The same for a bot that may not see what messages hold: its own and those that mention it are whole.
fn blank(mut seen: Value) -> Value {
    let is_own = seen["author"]["id"].as_str() == Some(&ME.to_string());
    if !is_own && seen["mentions"] == json!([]) {
        seen["content"] = "".into();
        seen["embeds"] = json!([]);
        seen["attachments"] = json!([]);
        seen["components"] = json!([]);
    }
    seen
}

fn unknown_channel() -> Reply {
    error(404, 10_003, "Unknown Channel")
}

fn error(status: u16, code: u32, message: &str) -> Reply {
    Reply::json(status, &json!({ "message": message, "code": code }))
}

fn limited(pause: Duration, is_global: bool) -> Reply {
    let seconds = format!("{:.3}", pause.as_secs_f64());
    let body = format!(
        r#"{{"message":"You are being rate limited.","retry_after":{seconds},"global":{is_global}}}"#
    );
    let whole = pause.as_secs_f64().ceil();
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("retry-after", format!("{whole:.0}")),
        ("x-ratelimit-scope", if is_global { "global" } else { "user" }.to_owned()),
    ];
    if is_global {
        headers.push(("x-ratelimit-global", "true".to_owned()));
    } else {
        headers.push(("x-ratelimit-remaining", "0".to_owned()));
        headers.push(("x-ratelimit-reset-after", seconds));
    }
    Reply::Answer(429, headers, body)
}
