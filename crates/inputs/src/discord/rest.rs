//! What is asked of Discord over REST: where its gateway is, what channels there are, and what was posted in them.
//!
//! *Invariant:* no request is sent before its bucket has room, as the answers before it have said.

use event_core::{SourceError, SourceErrorKind};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use stdx::http::{
    HttpOptions,
    limits::{Buckets, retry_after_429},
};

use crate::{
    recognize::discord::{Posted, posted},
    remote::Remote,
};

/// The most bytes of an answer, and the most messages of a page.
const MAX_PAGE: usize = 16 << 20;
const PAGE: u32 = 100;
/// How often a request is sent whose bucket turns out to be empty: others may use it too.
const TRIES: u32 = 5;
/// Where the token stands.
const HEADER: &str = "authorization";

/// Discord's API, as one bot.
#[derive(Debug)]
pub(super) struct Rest {
    remote: Remote,
    proof: SecretString,
    buckets: Buckets,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) guild: Option<u64>,
    /// The number of its last message, which may be gone.
    pub(super) last: u64,
}

/// The gateway, and how often the bot may still begin a session.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) url: String,
    pub(super) left: u64,
    pub(super) total: u64,
    /// After how many milliseconds that begins anew.
    pub(super) anew: u64,
}

// === impl Rest ===

impl Rest {
    pub(super) fn try_new(
        api: &str,
        options: HttpOptions,
        token: &SecretString,
    ) -> Result<Self, String> {
        let remote = Remote::with_options(api, options)?;
        let proof = format!("Bot {}", token.expose_secret()).into();
        Ok(Self { remote, proof, buckets: Buckets::default() })
    }

    /// The address of the API, for people.
    pub(super) fn name(&self) -> &str {
        self.remote.name()
    }

    /// Where the gateway is.
    pub(super) async fn entrance(&self) -> Result<Entrance, SourceError> {
        let answer = self.get("gateway/bot", "gateway", "the gateway").await?;
        let start = &answer["session_start_limit"];
        let number = |name: &str| start[name].as_u64();
        let url = answer["url"].as_str().ok_or_else(|| self.odd("it does not name a gateway"))?;
        Ok(Entrance {
            url: url.to_owned(),
            // What is not said is no limit.
            left: number("remaining").unwrap_or(1),
            total: number("total").unwrap_or(1),
            anew: number("reset_after").unwrap_or(0),
        })
    }

    /// Whether the bot may see what messages hold.
    pub(super) async fn sees_content(&self) -> Result<bool, SourceError> {
        const MAY: u64 = 1 << 18 | 1 << 19;
        let answer = self.get("applications/@me", "application", "the bot's application").await?;
        Ok(answer["flags"].as_u64().unwrap_or(0) & MAY != 0)
    }

    pub(super) async fn channel(&self, id: u64) -> Result<Channel, SourceError> {
        let answer = self.get(&format!("channels/{id}"), &place(id), &what(id)).await?;
        let number = |name: &str| answer[name].as_str().and_then(|text| text.parse().ok());
        Ok(Channel {
            name: answer["name"].as_str().unwrap_or_default().to_owned(),
            guild: number("guild_id"),
            last: number("last_message_id").unwrap_or(0),
        })
    }

    /// The messages that came next after that one, the oldest first, and whether there may be more behind them.
    pub(super) async fn after(
        &self,
        id: u64,
        last: u64,
    ) -> Result<(Vec<Posted>, bool), SourceError> {
        let path = format!("channels/{id}/messages?after={last}&limit={PAGE}");
        let Value::Array(page) =
            self.get(&path, &format!("{}/messages", place(id)), &what(id)).await?
        else {
            return Err(self.odd("its messages are no list"));
        };
        let is_full = page.len() >= PAGE as usize;
        let mut page: Vec<Posted> = page.into_iter().filter_map(posted).collect();
        page.retain(|message| message.id > last && message.channel == id);
        // Discord begins with the newest of them.
        page.sort_by_key(|message| message.id);
        let has_more = is_full && !page.is_empty();
        Ok((page, has_more))
    }

    /// Asks for this, when there is room in the bucket of that place. `what` names it for people.
    async fn get(&self, path: &str, place: &str, what: &str) -> Result<Value, SourceError> {
        for _ in 0..TRIES {
            if let Err(pause) = self.buckets.room(place, &Method::GET).await {
                let said = format!("Discord asks for a pause of {} s", pause.as_secs());
                return Err(self.away(&said).after(pause));
            }
            let answer = self.remote.ask(path, Some((HEADER, &self.proof))).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let Some(body) = self.remote.body(answer, MAX_PAGE).await? else {
                return Err(self.odd("an answer is larger than 16 MiB"));
            };
            let text = String::from_utf8_lossy(&body);
            self.buckets.heard(place, &Method::GET, status.as_u16(), &headers, &text);
            if status == StatusCode::TOO_MANY_REQUESTS {
                // Without a word about when, the bucket would be taken for open.
                if retry_after_429(&headers, &text, jiff::Timestamp::UNIX_EPOCH).is_none() {
                    return Err(self.away("there were too many requests"));
                }
                continue;
            }
            if !status.is_success() {
                return Err(refused(status, what));
            }
            return serde_json::from_slice(&body)
                .map_err(|error| self.odd("its answer is no JSON").because(error));
        }
        Err(self.away("there are too many requests, by whomever"))
    }

    fn away(&self, why: &str) -> SourceError {
        let message = format!("read {}: {why}", self.name());
        SourceError::new(SourceErrorKind::Unavailable, message)
    }

    fn odd(&self, why: &str) -> SourceError {
        let message = format!("read {}: {why}", self.name());
        SourceError::new(SourceErrorKind::Protocol, message)
    }
}

/// What an answer that is no success means.
fn refused(status: StatusCode, what: &str) -> SourceError {
    let (kind, hint) = match status.as_u16() {
        401 => (
            SourceErrorKind::Settings,
            ": the token is refused; make a new one on the bot's page and put it into `token`",
        ),
        403 => (
            SourceErrorKind::Settings,
            ": the bot may not; give it View Channel and Read Message History there",
        ),
        404 => (
            SourceErrorKind::Settings,
            ": there is no such thing for the bot; look at the id, and whether the bot is on that server",
        ),
        408 | 500.. => (SourceErrorKind::Unavailable, ""),
        _ => (SourceErrorKind::Protocol, ""),
    };
    let message =
        format!("read {what} of Discord: it answers {status}{hint}", status = status.as_u16());
    SourceError::new(kind, message)
}

fn place(id: u64) -> String {
    format!("channels/{id}")
}

fn what(id: u64) -> String {
    format!("channel {id}")
}
