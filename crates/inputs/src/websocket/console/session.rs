//! One console that is open: read until it ends, and what of it is told.

use std::time::Duration;

use api_core::ErrorKind;
use event_core::{Event, RunContext, Signal, SourceError, SourceErrorKind, Subject};
use jiff::Timestamp;
use pve_client::console::{Console, ConsoleError, ConsoleTarget};
use tokio::{sync::mpsc, time::timeout};

use super::{Match, Place, Screen, Shared, Watch};
use crate::channel::Teller;

/// How long part of a line waits for its end before it is looked at as it is.
const PARTIAL: Duration = Duration::from_secs(2);
/// How much is read before the lines in it are looked at, in bytes.
const PIECE: usize = 4096;

/// What came of opening a console.
pub(super) enum Opened {
    /// It is open.
    Open(Box<Console>),
    /// There is none; what to do about it.
    NoTerminal(String),
}

/// One console that is open.
pub(super) struct Session<'a> {
    shared: &'a Shared,
    console: Box<Console>,
    subject: Subject,
    screen: Screen,
    watch: &'a mut Watch,
    waiting: &'a mpsc::Sender<Event>,
    lost: u64,
}

// === impl Shared ===

impl Shared {
    pub(super) async fn open(&self, target: &ConsoleTarget) -> Result<Opened, SourceError> {
        let error = match self.opener.connect_console(target).await {
            Ok(console) => return Ok(Opened::Open(Box::new(console))),
            Err(error) => error,
        };
        let name = self.name();
        let (kind, hint) = match &error {
            ConsoleError::Open(refused) if refused.message().contains("serial") => {
                let port = self.config.serial.unwrap_or_default();
                return Ok(Opened::NoTerminal(format!(
                    "{name} has no serial terminal: give it one (serial{port}=socket), stop and start it, and let its \
                     system write there (console=ttyS{port})"
                )));
            }
            ConsoleError::Open(refused) if refused.is_permission_denied() => {
                let hint = match self.config.place {
                    Place::Guest(_) => ": its credential may not; give it VM.Console on the guest",
                    Place::Node(_) => ": its credential may not; give it Sys.Console on the node",
                };
                (SourceErrorKind::Settings, hint)
            }
            ConsoleError::Open(refused) if refused.kind() == ErrorKind::Unauthorized => {
                (SourceErrorKind::Settings, ": its credential is refused; make a new one")
            }
            ConsoleError::Connect(refused) if stdx::tls::rejection(refused).is_some() => (
                SourceErrorKind::Settings,
                ": its certificate is another one than the settings say; see `proxmox-mcp test`",
            ),
            ConsoleError::NoConnection => (SourceErrorKind::Settings, ""),
            _ => (SourceErrorKind::Unavailable, ""),
        };
        let message = format!("open the console of {name}{hint}");
        Err(SourceError::new(kind, message).because(error))
    }

    /// The event of a match.
    fn event(&self, subject: &Subject, session: &str, watch: &Watch, found: &Match) -> Event {
        let pattern = watch.pattern(found);
        let origin = self.origin(found.at);
        let title = pattern.title.as_deref().unwrap_or(&found.line);
        let around = found.around.join("\n");
        let mut builder = origin
            .event(format!("{session}/{}", found.number), pattern.kind.clone(), found.at)
            .severity(pattern.severity)
            .subject(subject.clone())
            .title(title)
            .message(&around)
            .raw(around.as_bytes())
            .told_apart_by(&pattern.name)
            .label("pattern", &pattern.name);
        if pattern.title.is_some() {
            builder = builder.label("line", &found.line);
        }
        if found.held_back > 0 {
            builder = builder.label("held_back", found.held_back.to_string());
        }
        builder.build(found.at)
    }
}

// === impl Session ===

impl<'a> Session<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        console: Box<Console>,
        subject: Subject,
        watch: &'a mut Watch,
        waiting: &'a mpsc::Sender<Event>,
    ) -> Self {
        Self { shared, console, subject, screen: Screen::default(), watch, waiting, lost: 0 }
    }

    /// Reads until the console ends; gives what ended it.
    pub(super) async fn follow(mut self, cx: &RunContext, teller: &Teller) -> SourceError {
        let error = loop {
            let piece = match self.pause(cx.now()) {
                // A pause cuts short how long the connection waits to be kept alive, so there is one only while
                // something waits.
                Some(pause) => match timeout(pause, self.console.read()).await {
                    Ok(piece) => piece,
                    Err(_) => {
                        if pause >= PARTIAL {
                            self.screen.flush();
                        }
                        self.lines(cx, teller);
                        continue;
                    }
                },
                None => self.console.read().await,
            };
            match piece {
                Ok(Some(bytes)) => {
                    for part in bytes.chunks(PIECE) {
                        self.screen.push(part);
                        self.lines(cx, teller);
                    }
                }
                Ok(None) => {
                    let message = format!("go on watching {}: its console closed", self.name());
                    break SourceError::new(SourceErrorKind::Unavailable, message);
                }
                Err(error) => {
                    let message = format!("go on watching {}", self.name());
                    break SourceError::new(SourceErrorKind::Unavailable, message).because(error);
                }
            }
        };
        self.screen.flush();
        self.lines(cx, teller);
        while let Some(found) = self.watch.end() {
            self.tell(&found, teller);
        }
        error
    }

    fn name(&self) -> String {
        self.shared.name()
    }

    /// How long nothing may come before something is to be done all the same.
    fn pause(&self, now: Timestamp) -> Option<Duration> {
        let partial = self.screen.is_held().then_some(PARTIAL);
        let due = self.watch.deadline().map(|deadline| {
            // One that has passed is now.
            Duration::try_from(deadline.duration_since(now)).unwrap_or_default()
        });
        partial.into_iter().chain(due).min()
    }

    fn lines(&mut self, cx: &RunContext, teller: &Teller) {
        loop {
            let line = self.screen.next_line();
            let is_last = line.is_none();
            if let Some(line) = line {
                self.watch.line(line, cx.now());
            }
            while let Some(found) = self.watch.due(cx.now()) {
                self.tell(&found, teller);
            }
            if is_last {
                return;
            }
        }
    }

    fn tell(&mut self, found: &Match, teller: &Teller) {
        let session = self.console.upid().as_str();
        let event = self.shared.event(&self.subject, session, self.watch, found);
        self.lost += u64::from(self.waiting.try_send(event).is_err());
        if self.lost > 0 {
            let reason = "the log did not keep up with a console";
            let said = teller.0.try_send(Signal::Lost { count: self.lost, reason });
            if said.is_ok() {
                self.lost = 0;
            }
        }
    }
}

/// Why the cluster did not say where a console is.
pub(super) fn failed(name: &str, error: api_core::Error) -> SourceError {
    let (kind, hint) = match error.kind() {
        ErrorKind::Unauthorized => {
            (SourceErrorKind::Settings, ": its credential is refused; make a new one")
        }
        ErrorKind::Tls => (
            SourceErrorKind::Settings,
            ": its certificate is another one than the settings say; see `proxmox-mcp test`",
        ),
        ErrorKind::Decode => (SourceErrorKind::Protocol, ""),
        _ => (SourceErrorKind::Unavailable, ""),
    };
    SourceError::new(kind, format!("look for {name}{hint}")).because(error)
}
