//! The mailbox reader: reads each mail that comes to one mailbox, over IMAP.
//!
//! One mailbox is read once, however many nodes send to it. The server tells when mail has come (IDLE); one that cannot is
//! asked every [`Config::poll`]. A mail is marked as seen (`\Seen`) when it is on disk, and left where it is.
//!
//! *Invariant:* a mail is told in the order of its number (UID), and its number is kept with it. *Invariant:* memory is
//! bounded: one mail at a time, of at most [`Config::max_bytes`]. *Invariant:* a mail is marked only after it is kept.

mod config;

use std::{sync::Arc, time::Duration};

use async_imap::{
    Client, Session,
    error::Error,
    types::{Fetch, UnsolicitedResponse},
};
use async_trait::async_trait;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::{StreamExt as _, stream::BoxStream};
use mail_parser::MessageParser;
use secrecy::ExposeSecret as _;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

pub use config::{Config, InvalidConfig};

use self::config::Address;
use super::KIND;
use crate::{
    Identity, Origin,
    channel::{self, Teller},
    remote::{self, Connection, Reopen, Stop},
};

/// What waits between the mailbox and the log, in events.
const QUEUE: usize = 64;
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it is waited for mail before the server is spoken to again: less than what routers and servers take for
/// silence.
const IDLE: Duration = Duration::from_mins(9);

/// The input.
#[derive(Debug)]
pub struct Imap {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    address: Address,
}

/// The last mail that is known: the mailbox's own number, and the mail's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    validity: u32,
    uid: u32,
}

/// An open mailbox.
struct Mailbox {
    session: Session<Connection>,
    validity: u32,
    next: Option<u32>,
    can_idle: bool,
}

// === impl Imap ===

impl Imap {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        let address = config.check()?;
        Ok(Self { shared: Arc::new(Shared { id, config, address }) })
    }
}

#[async_trait]
impl EventSource for Imap {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let shared = &self.shared;
        let mailbox = shared.open().await?;
        let way = if mailbox.can_idle { "is told of new mail" } else { "asks for new mail" };
        Ok(format!("reads {} at {} and {way}", shared.config.mailbox, shared.address.host))
    }

    fn run(
        &self,
        cx: RunContext,
        resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let shared = Arc::clone(&self.shared);
        channel::hear(cx, QUEUE, resume, async move |cx, teller, resume| {
            shared.read(cx, teller, resume).await
        })
    }
}

// === impl Shared ===

impl Shared {
    async fn read(
        &self,
        cx: RunContext,
        teller: Teller,
        resume: Option<Cursor>,
    ) -> Result<(), Stop> {
        teller.say(Signal::SyncStarted).await?;
        let mut mailbox = self.open().await?;
        let mut last = match resume.as_ref().and_then(Place::read) {
            Some(last) => last,
            // What was there before we first looked is history.
            None => Place { validity: mailbox.validity, uid: self.newest(&mut mailbox).await? },
        };
        teller.say(Signal::SyncFinished(last.cursor())).await?;
        let mut reopen = Reopen::new();
        loop {
            let mut error = match self.follow(&cx, &teller, mailbox, &mut last, &mut reopen).await {
                Ok(never) => match never {},
                Err(Stop::Failed(error)) => error,
                Err(Stop::Gone) => return Err(Stop::Gone),
            };
            mailbox = loop {
                reopen.pause(error).await?;
                match self.open().await {
                    Ok(mailbox) => break mailbox,
                    Err(next) => error = next,
                }
            };
        }
    }

    async fn open(&self) -> Result<Mailbox, SourceError> {
        let Address { host, port, is_tls } = &self.address;
        let connection = remote::connect(host, *port, is_tls.then_some(&self.config.tls)).await?;
        let mut client = Client::new(connection);
        let greeting = self.within(client.read_response()).await?;
        if greeting.map_err(|error| self.failed("be greeted", error.into()))?.is_none() {
            return Err(self.failed("be greeted", Error::ConnectionLost));
        }
        let Config { user, password, mailbox, .. } = &self.config;
        let logged_in = self.within(client.login(user, password.expose_secret())).await?;
        let mut session = logged_in.map_err(|(error, _)| match error {
            Error::No(_) | Error::Bad(_) | Error::Validate(_) => {
                let message =
                    format!("log in to {host} as {user}: it is refused; look at the password");
                SourceError::new(SourceErrorKind::Settings, message)
            }
            error => self.failed("log in", error),
        })?;
        let capabilities = self.within(session.capabilities()).await?;
        let capabilities = capabilities.map_err(|error| self.failed("ask what it can", error))?;
        let can_idle = capabilities.has_str("IDLE");
        let selected = self.within(session.select(mailbox)).await?;
        let selected = selected.map_err(|error| match error {
            Error::No(_) => {
                let message =
                    format!("open the mailbox {mailbox} at {host}: there is none; see `mailbox`");
                SourceError::new(SourceErrorKind::Settings, message)
            }
            error => self.failed("open the mailbox", error),
        })?;
        let Some(validity) = selected.uid_validity else {
            let message = format!("read {mailbox} at {host}: its mails have no lasting numbers");
            return Err(SourceError::new(SourceErrorKind::Protocol, message));
        };
        Ok(Mailbox { session, validity, next: selected.uid_next, can_idle })
    }

    /// The number of the newest mail.
    async fn newest(&self, mailbox: &mut Mailbox) -> Result<u32, SourceError> {
        if let Some(next) = mailbox.next {
            return Ok(next.saturating_sub(1));
        }
        let all = self.within(mailbox.session.uid_search("ALL")).await?;
        let all = all.map_err(|error| self.failed("list the mails", error))?;
        Ok(all.into_iter().max().unwrap_or(0))
    }

    /// Tells what is new and waits for more, until something is in the way.
    async fn follow(
        &self,
        cx: &RunContext,
        teller: &Teller,
        mut mailbox: Mailbox,
        last: &mut Place,
        reopen: &mut Reopen,
    ) -> Result<std::convert::Infallible, Stop> {
        // A mailbox with another number has numbered its mails anew: those that nobody has seen are new.
        let is_renumbered = mailbox.validity != last.validity;
        if is_renumbered {
            warn!(source = %self.id, "the mailbox was numbered anew: what is not marked as seen is read");
            *last = Place { validity: mailbox.validity, uid: 0 };
        }
        let mut only_unseen = is_renumbered;
        loop {
            // What the server told so far is what the search finds.
            while mailbox.session.unsolicited_responses.try_recv().is_ok() {}
            let seen = if only_unseen { " UNSEEN" } else { "" };
            let query = format!("UID {}:*{seen}", last.uid.saturating_add(1));
            let found = self.within(mailbox.session.uid_search(query)).await?;
            let found = found.map_err(|error| self.failed("look for new mail", error))?;
            // `n:*` holds the last mail even if its number is lower.
            let mut new: Vec<u32> = found.into_iter().filter(|uid| *uid > last.uid).collect();
            new.sort_unstable();
            for uid in new {
                self.tell(cx, teller, &mut mailbox, uid, last).await?;
            }
            if only_unseen {
                last.uid = last.uid.max(self.newest(&mut mailbox).await?);
                only_unseen = false;
            }
            reopen.is_well();
            mailbox = self.wait(mailbox).await?;
        }
    }

    async fn tell(
        &self,
        cx: &RunContext,
        teller: &Teller,
        mailbox: &mut Mailbox,
        uid: u32,
        last: &mut Place,
    ) -> Result<(), Stop> {
        let Some(text) = self.fetch(mailbox, uid).await? else {
            debug!(source = %self.id, uid, "a mail was gone before it could be read");
            last.uid = uid;
            return Ok(());
        };
        let identity = self.identity(&text);
        let origin = Origin::new(&self.id, KIND, identity, cx.now());
        let events = super::events(&text, &origin, &self.config.echo);
        let place = Place { validity: mailbox.validity, uid };
        teller.keep(events, Some(place.cursor())).await?;
        // It is kept, whatever becomes of its mark.
        *last = place;
        let marking = async {
            let marked =
                mailbox.session.uid_store(uid.to_string(), "+FLAGS.SILENT (\\Seen)").await?;
            let mut marked = std::pin::pin!(marked);
            while let Some(answer) = marked.next().await {
                answer?;
            }
            Ok::<(), Error>(())
        };
        match self.within(marking).await? {
            Ok(()) => Ok(()),
            // A mailbox that may only be read: nothing is lost by it.
            Err(Error::No(why)) => {
                debug!(source = %self.id, uid, why, "a mail cannot be marked as seen");
                Ok(())
            }
            Err(error) => Err(self.failed("mark a mail as seen", error).into()),
        }
    }

    /// The head of a mail, up to the ceiling; `None` if it is gone.
    async fn fetch(&self, mailbox: &mut Mailbox, uid: u32) -> Result<Option<Vec<u8>>, SourceError> {
        let query = format!("(UID BODY.PEEK[]<0.{}>)", self.config.max_bytes);
        let fetching = async {
            let mut text = None;
            let mut fetched = mailbox.session.uid_fetch(uid.to_string(), query).await?;
            while let Some(answer) = fetched.next().await {
                let answer: Fetch = answer?;
                // What the server tells of other mails meanwhile has no body.
                if answer.uid == Some(uid) {
                    text = answer.body().map(<[u8]>::to_vec).or(text);
                }
            }
            Ok::<_, Error>(text)
        };
        let fetched = self.within(fetching).await?;
        fetched.map_err(|error| self.failed("read a mail", error))
    }

    /// Whose mail it is, by what the mail server wrote on top of it.
    fn identity(&self, text: &[u8]) -> &Identity {
        if self.config.recipients.is_empty() {
            return &self.config.identity;
        }
        let headers = MessageParser::new().parse_headers(text);
        let delivered = headers.as_ref().and_then(|message| {
            // The topmost alone is the server's; who sends a mail can write more below it.
            let mut all = message.headers().iter();
            let names = ["Delivered-To", "X-Original-To"];
            all.find(|it| names.iter().any(|name| it.name().eq_ignore_ascii_case(name)))
        });
        let address = delivered.and_then(|header| header.value().as_text()).map(str::to_lowercase);
        let known = address.and_then(|address| self.config.recipients.get(address.trim()));
        known.unwrap_or(&self.config.identity)
    }

    /// Waits until there may be new mail.
    async fn wait(&self, mut mailbox: Mailbox) -> Result<Mailbox, SourceError> {
        if !mailbox.can_idle {
            sleep(self.config.poll).await;
            // Some servers tell what is new only when they are spoken to.
            let asked = self.within(mailbox.session.noop()).await?;
            asked.map_err(|error| self.failed("ask for new mail", error))?;
            return Ok(mailbox);
        }
        let Mailbox { session, validity, next, can_idle } = mailbox;
        let told = session.unsolicited_responses.clone();
        let mut idle = session.idle();
        let begun = self.within(idle.init()).await?;
        begun.map_err(|error| self.failed("wait for new mail", error))?;
        // Mail that came between the search and this was told before the waiting began.
        let has_come = std::iter::from_fn(|| told.try_recv().ok())
            .any(|it| matches!(it, UnsolicitedResponse::Exists(_)));
        if !has_come {
            let (waiting, _interrupt) = idle.wait_with_timeout(IDLE);
            waiting.await.map_err(|error| self.failed("wait for new mail", error))?;
        }
        let session = self.within(idle.done()).await?;
        let session = session.map_err(|error| self.failed("wait for new mail", error))?;
        Ok(Mailbox { session, validity, next, can_idle })
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, SourceError> {
        let late = |_| {
            let message = format!("hear {} in time", self.address.host);
            SourceError::new(SourceErrorKind::Unavailable, message)
        };
        timeout(PATIENCE, work).await.map_err(late)
    }

    fn failed(&self, what: &str, error: Error) -> SourceError {
        let kind = match &error {
            Error::Io(_) | Error::ConnectionLost | Error::No(_) => SourceErrorKind::Unavailable,
            _ => SourceErrorKind::Protocol,
        };
        SourceError::new(kind, format!("{what} at {}", self.address.host)).because(error)
    }
}

// === impl Place ===

impl Place {
    fn cursor(self) -> Cursor {
        Cursor::new(format!("{} {}", self.validity, self.uid))
    }

    fn read(cursor: &Cursor) -> Option<Self> {
        let (validity, uid) = cursor.as_str().split_once(' ')?;
        Some(Self { validity: validity.parse().ok()?, uid: uid.parse().ok()? })
    }
}
