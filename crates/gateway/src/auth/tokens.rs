//! Static tokens as the server checks them: the file followed as it changes, and no hashing where it
//! is known already how that ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guard::{Grant, Principal};
use jiff::Timestamp;
use jiff::civil::Date;
use ring::hmac;
use ring::rand::SystemRandom;
use stdx::{Chain, Clock};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::{AuthFailure, Reason};
use super::secret;
use super::token_file::{Row, Stamp, TokenFile, day_of};

/// How long a token that was found good is not hashed again.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// How long one that was found wrong is not.
const WRONG_FOR: Duration = Duration::from_mins(1);
/// How many answers of each kind are remembered.
const REMEMBERED: usize = 1024;
/// How many hashes are computed at a time.
const AT_A_TIME: usize = 2;
/// How many requests may wait for one.
const WAITING: usize = 32;

const UNKNOWN: &str = "no such token is known: it may be mistyped, or revoked";

/// The tokens of the file, ready to check.
pub struct Tokens {
    file: TokenFile,
    clock: Arc<dyn Clock>,
    /// Under which what is remembered stands, so that no token does.
    key: hmac::Key,
    state: Mutex<State>,
    hashing: Semaphore,
    waiting: AtomicUsize,
    /// How often a hash was computed.
    hashed: AtomicUsize,
    /// Whether it was said already that the days of use are not kept.
    warned: Arc<AtomicBool>,
}

/// What is known at the moment.
#[derive(Default)]
struct State {
    /// What the file looked like when it was read; `Some(None)` where there was none.
    #[expect(clippy::option_option, reason = "not looked at, no file, a file")]
    seen: Option<Option<Stamp>>,
    /// The rows by id; `None` where the file could not be read.
    rows: Option<Arc<HashMap<String, Row>>>,
    /// What was last said about a file that could not be read.
    trouble: Option<String>,
    good: Memory,
    wrong: Memory,
}

/// Hashes that tokens were held against, by the tokens' tags.
#[derive(Default)]
struct Memory(HashMap<Tag, (String, Instant)>);

type Tag = [u8; 32];

/// Counts itself among those who wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Tokens ===

impl Tokens {
    /// The tokens of this file. Nothing is read before the first request.
    ///
    /// # Panics
    ///
    /// When the system gives no random bytes.
    pub fn new(file: TokenFile, clock: Arc<dyn Clock>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            file,
            clock,
            key: key.expect("every system that runs TLS gives random bytes"),
            state: Mutex::default(),
            hashing: Semaphore::new(AT_A_TIME),
            waiting: AtomicUsize::new(0),
            hashed: AtomicUsize::new(0),
            warned: Arc::default(),
        }
    }

    /// How often a token was hashed so far, which is what checking costs.
    pub fn hashed(&self) -> usize {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Whether there is no token at all, as far as that can be told.
    pub(super) fn is_empty(&self) -> bool {
        self.rows().is_ok_and(|rows| rows.is_empty())
    }

    /// The grant of this token.
    pub(super) async fn check(&self, token: &str) -> Result<Grant, AuthFailure> {
        let Some(id) = secret::id_of(token) else {
            let detail = "a token of this server has another length; was it copied whole?";
            return Err(AuthFailure::new(Reason::Invalid, detail));
        };
        let rows = self.rows()?;
        // Whether the id is known may be told by the time that an answer takes: it is no secret.
        let row = rows.get(id).ok_or_else(unknown)?;
        let now = self.clock.now();
        if !self.is_good(token, row).await? {
            return Err(unknown());
        }
        if let Some(expired) = row.info.expires.filter(|expires| *expires <= now) {
            let detail = format!("the token {:?} expired at {expired}", row.info.name);
            return Err(AuthFailure::new(Reason::Invalid, detail));
        }
        self.note_use(row, now);
        let principal = Principal::token(&row.info.name).map_err(|_| unknown())?;
        Ok(Grant::new(principal, row.info.scope.clone()))
    }

    /// Whether the token fits the row's hash, by memory or by hashing.
    async fn is_good(&self, token: &str, row: &Row) -> Result<bool, AuthFailure> {
        let tag = self.tag(token);
        if let Some(known) = self.recall(&tag, &row.hash) {
            return Ok(known);
        }
        let _waiting = Waiting::join(&self.waiting).ok_or_else(|| {
            AuthFailure::new(Reason::Unavailable, "too many tokens are being checked at once")
                .retry_after(Duration::from_secs(1))
        })?;
        let _permit = self.hashing.acquire().await.map_err(|_| unknown())?;
        // Whoever came first with the same token has done the work.
        if let Some(known) = self.recall(&tag, &row.hash) {
            return Ok(known);
        }
        self.hashed.fetch_add(1, Ordering::Relaxed);
        let (given, hash) = (secrecy::SecretString::from(token), row.hash.clone());
        let checked = tokio::task::spawn_blocking(move || {
            secret::verify(secrecy::ExposeSecret::expose_secret(&given), &hash)
        });
        let is_good = checked.await.unwrap_or(false);
        self.remember(tag, &row.hash, is_good);
        Ok(is_good)
    }

    /// The rows as the file has them now.
    fn rows(&self) -> Result<Arc<HashMap<String, Row>>, AuthFailure> {
        // The stamp is of before the reading: a change in between is seen with the next request.
        let stamp = self.file.stamp();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(stamp), Some(rows)) = (&stamp, &state.rows)
            && state.seen == Some(*stamp)
        {
            return Ok(Arc::clone(rows));
        }
        match stamp.and_then(|stamp| Ok((stamp, self.file.read()?))) {
            Ok((stamp, rows)) => {
                let rows = rows.0.into_iter().map(|row| (row.info.id.clone(), row));
                let rows = Arc::new(rows.collect());
                state.rows = Some(Arc::clone(&rows));
                state.seen = Some(stamp);
                state.trouble = None;
                Ok(rows)
            }
            Err(error) => {
                state.rows = None;
                let trouble = Chain(&error).to_string();
                if state.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(error = %trouble, "the tokens cannot be read: all are refused");
                    state.trouble = Some(trouble);
                }
                Err(unreadable())
            }
        }
    }

    fn tag(&self, token: &str) -> Tag {
        let tag = hmac::sign(&self.key, token.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn recall(&self, tag: &Tag, hash: &str) -> Option<bool> {
        let now = Instant::now();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.good.has(tag, hash, now) {
            Some(true)
        } else if state.wrong.has(tag, hash, now) {
            Some(false)
        } else {
            None
        }
    }

    fn remember(&self, tag: Tag, hash: &str, is_good: bool) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if is_good {
            state.good.put(tag, hash, now, GOOD_FOR);
        } else {
            state.wrong.put(tag, hash, now, WRONG_FOR);
        }
    }

    /// Writes down the day, once per token and day, without keeping the request waiting.
    fn note_use(&self, row: &Row, now: Timestamp) {
        let day: Date = day_of(now);
        if row.info.last_used.is_some_and(|known| known >= day) {
            return;
        }
        let noted = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(rows) = &mut state.rows else { return };
            // In memory first, so that the requests that follow leave it be, written or not.
            let known = Arc::make_mut(rows).get_mut(&row.info.id);
            known.is_some_and(|row| {
                let is_news = row.info.last_used.is_none_or(|known| known < day);
                row.info.last_used = Some(day);
                is_news
            })
        };
        if !noted {
            return;
        }
        let (file, id) = (self.file.clone(), row.info.id.clone());
        let warned = Arc::clone(&self.warned);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = file.touch(&id, day)
                && !warned.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(error = %Chain(&error), "the days on which tokens are used are not kept");
            }
        });
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("file", &self.file.path()).finish_non_exhaustive()
    }
}

// === impl Memory ===

impl Memory {
    fn has(&self, tag: &Tag, hash: &str, now: Instant) -> bool {
        // A row that was made anew under an old id has another hash.
        self.0.get(tag).is_some_and(|(known, until)| known == hash && *until > now)
    }

    fn put(&mut self, tag: Tag, hash: &str, now: Instant, good_for: Duration) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= REMEMBERED
            && let Some(any) = self.0.keys().next().copied()
        {
            self.0.remove(&any);
        }
        self.0.insert(tag, (hash.to_owned(), now + good_for));
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Option<Self> {
        let joined = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unknown() -> AuthFailure {
    AuthFailure::new(Reason::Invalid, UNKNOWN)
}

fn unreadable() -> AuthFailure {
    let detail = "the server cannot read its tokens; its log says why";
    AuthFailure::new(Reason::Unavailable, detail).retry_after(Duration::from_secs(5))
}
