//! What posts, mails and sends lines, and remembers what was acknowledged.
//!
//! Whoever gets no answer tells the same again, as mail servers do, until it is acknowledged: so what was kept and not
//! answered must be known when it comes again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::attacks::raw::Ask;
use crate::daemon::{Home, SECRET};

/// How many post at once.
const POSTERS: u64 = 6;
/// One in so many posts is of something that is wrong.
const ALARMS: u64 = 5;
/// The pauses of those who post, mail and send lines.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(3), Duration::from_millis(15), Duration::from_millis(20)];
/// How long whoever was refused waits before the next try.
const AGAIN: Duration = Duration::from_millis(10);

/// What was acknowledged: its mark, and how often it had to be told.
pub(crate) type Acknowledged = BTreeMap<String, u32>;

/// Everybody who sends; they go on until they are told to end.
pub(crate) struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    numbers: AtomicU64,
    lines: AtomicU64,
    acknowledged: Mutex<Acknowledged>,
}

/// An SMTP client with its connection.
pub(crate) struct Mailer {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

// === impl Load ===

impl Load {
    /// Begins to send to this home, whoever listens there.
    pub(crate) fn start(home: &Home) -> Self {
        let shared = Arc::new(Shared::default());
        let mut senders = Vec::new();
        for _ in 0..POSTERS {
            let (shared, port) = (Arc::clone(&shared), home.http);
            senders.push(thread::spawn(move || {
                shared.go_on("post", PAUSES[0], |number, mark| post(port, number, mark));
            }));
        }
        let (sharing, port) = (Arc::clone(&shared), home.smtp);
        senders.push(thread::spawn(move || {
            let mut mailer = None;
            sharing.go_on("mail", PAUSES[1], |_, mark| {
                let mut connected = match mailer.take() {
                    Some(connected) => connected,
                    None => Mailer::connect(port)?,
                };
                connected.send(mark)?;
                mailer = Some(connected);
                Ok(())
            });
        }));
        let (sharing, port) = (Arc::clone(&shared), home.syslog);
        senders.push(thread::spawn(move || sharing.send_lines(port)));
        Self { shared, senders }
    }

    /// Lets everybody end when what they are telling is acknowledged; what was, and how many lines were sent.
    pub(crate) fn end(self) -> Result<(Acknowledged, u64)> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.join().map_err(|_| anyhow::anyhow!("a sender has ended by a fault"))?;
        }
        let lines = self.shared.lines.load(Ordering::Relaxed);
        let acknowledged =
            self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((acknowledged, lines))
    }
}

// === impl Shared ===

impl Shared {
    /// Tells one thing after another, each until it is acknowledged.
    fn go_on(&self, way: &str, pause: Duration, mut tell: impl FnMut(u64, &str) -> Result<()>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let mark = format!("crash-{way}-{number}");
            let mut times = 1;
            while tell(number, &mark).is_err() {
                times += 1;
                thread::sleep(AGAIN);
            }
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(mark, times);
            thread::sleep(pause);
        }
    }

    /// Lines, which nobody acknowledges.
    fn send_lines(&self, port: u16) {
        let mut stream = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.lines.load(Ordering::Relaxed);
            let line = format!("<30>1 - alder app 1 - - crash-line-{number}");
            let sent = match stream.take() {
                Some(connected) => Ok(connected),
                None => TcpStream::connect(("127.0.0.1", port)),
            }
            .and_then(|mut connected: TcpStream| {
                connected.write_all(format!("{} {line}", line.len()).as_bytes())?;
                Ok(connected)
            });
            if let Ok(connected) = sent {
                self.lines.fetch_add(1, Ordering::Relaxed);
                stream = Some(connected);
            }
            thread::sleep(PAUSES[2]);
        }
    }
}

/// Posts one report. Its id is what makes it the same when it comes again.
pub(crate) fn post(port: u16, number: u64, mark: &str) -> Result<()> {
    let severity = if number.is_multiple_of(ALARMS) { "error" } else { "info" };
    let body = json!({"id": mark, "title": mark, "message": "under load", "severity": severity});
    let ask = Ask::new("POST", "/hooks/hook/load").bearer(SECRET).json(&body);
    let answer = ask.send(&format!("127.0.0.1:{port}"))?;
    ensure!((200..300).contains(&answer.status), "the answer is {}", answer.status);
    Ok(())
}

// === impl Mailer ===

impl Mailer {
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connect for mail")?;
        let answers = BufReader::new(stream.try_clone()?);
        let mut mailer = Self { stream, answers };
        mailer.expect("220")?;
        mailer.say("EHLO alder\r\n", "250")?;
        Ok(mailer)
    }

    /// Sends one mail. Its words and its date are what make it the same when it comes again.
    pub(crate) fn send(&mut self, mark: &str) -> Result<()> {
        self.say("MAIL FROM:<root@alder.example>\r\n", "250")?;
        self.say("RCPT TO:<events@manager.example>\r\n", "250")?;
        self.say("DATA\r\n", "354")?;
        let mail = format!(
            "From: root@alder.example\r\nTo: events@manager.example\r\n\
             Date: Mon, 30 Nov 2026 02:00:00 +0000\r\nMessage-ID: <{mark}@alder.example>\r\n\
             Subject: {mark}\r\n\r\nunder load\r\n.\r\n"
        );
        self.say(&mail, "250")
    }

    fn say(&mut self, text: &str, code: &str) -> Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.expect(code)
    }

    /// Reads one answer, of as many lines as it has.
    fn expect(&mut self, code: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            ensure!(self.answers.read_line(&mut line)? > 0, "the connection has ended");
            ensure!(line.starts_with(code), "the answer is {}", line.trim());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
