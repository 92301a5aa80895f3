//! Those who report: they keep in mind what they were told is kept.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::site::{HOOK_PATH, SECRET};
use crate::attacks::raw::Ask;

/// What became of everything that was sent, by the title that it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Book(Arc<Mutex<Vec<Entry>>>);

/// What became of one report.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) title: String,
    /// Whether its sender was told that it is kept.
    pub(super) is_kept: bool,
    /// What was answered.
    pub(super) answer: String,
    /// How long that took.
    pub(super) took: Duration,
}

// === impl Book ===

impl Book {
    fn note(&self, title: String, is_kept: bool, answer: String, took: Duration) {
        let entry = Entry { title, is_kept, answer, took };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many were answered so.
    pub(super) fn count(&self, answer: &str) -> usize {
        self.entries().iter().filter(|entry| entry.answer == answer).count()
    }

    /// The titles of what is kept, as the senders were told.
    pub(super) fn kept(&self) -> Vec<String> {
        let kept = self.entries().into_iter().filter(|entry| entry.is_kept);
        kept.map(|entry| entry.title).collect()
    }

    /// The longest that anybody waited for an answer.
    pub(super) fn slowest(&self) -> Duration {
        self.entries().iter().map(|entry| entry.took).max().unwrap_or_default()
    }

    /// How many there were of each answer.
    pub(super) fn answers(&self) -> String {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for entry in self.entries() {
            *counts.entry(entry.answer).or_default() += 1;
        }
        let counts: Vec<String> =
            counts.iter().map(|(answer, count)| format!("{count} x {answer}")).collect();
        counts.join(", ")
    }
}

/// Posts a notification of Proxmox with this title; `bytes` is how long its text is.
pub(super) fn post(port: u16, title: &str, bytes: usize, book: &Book) {
    let body = json!({
        "title": title, "message": "x".repeat(bytes), "severity": "info",
        "timestamp": 1_796_000_000, "fields": {"type": "package-updates", "hostname": "cedar"},
    });
    let begun = Instant::now();
    let answer = Ask::new("POST", HOOK_PATH).bearer(SECRET).json(&body);
    let (is_kept, said) = match answer.send(&format!("127.0.0.1:{port}")) {
        Ok(answer) => (answer.status == 200, answer.status.to_string()),
        Err(_) => (false, "no connection".to_owned()),
    };
    book.note(title.to_owned(), is_kept, said, begun.elapsed());
}

/// Sends a mail with this subject.
pub(super) fn mail(port: u16, title: &str, book: &Book) {
    let begun = Instant::now();
    let (is_kept, said) = match talk(port, title) {
        Ok(code) => (code == "250", code),
        Err(_) => (false, "no connection".to_owned()),
    };
    book.note(title.to_owned(), is_kept, said, begun.elapsed());
}

/// One conversation; the code that the mail was answered with.
fn talk(port: u16, title: &str) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut hears = BufReader::new(stream.try_clone()?);
    let mut says = stream;
    let mut answer = move || -> Result<String> {
        loop {
            let mut line = String::new();
            if hears.read_line(&mut line)? == 0 {
                bail!("the listener hung up");
            }
            // The last line of an answer has a blank behind its code.
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(line[..3].to_owned());
            }
        }
    };
    answer()?;
    let mail = format!(
        "From: root@cedar.lan\r\nTo: ops@lan\r\nSubject: {title}\r\n\
         Message-ID: <{}@cedar.lan>\r\n\r\na mail of nobody in particular\r\n.\r\n",
        title.replace(' ', ".")
    );
    let lines = ["EHLO cedar.lan\r\n", "MAIL FROM:<root@cedar.lan>\r\n", "RCPT TO:<ops@lan>\r\n"];
    for line in lines {
        says.write_all(line.as_bytes())?;
        let code = answer()?;
        if code != "250" {
            return Ok(code);
        }
    }
    says.write_all(b"DATA\r\n")?;
    let code = answer()?;
    if code != "354" {
        return Ok(code);
    }
    says.write_all(mail.as_bytes())?;
    let code = answer()?;
    says.write_all(b"QUIT\r\n")?;
    Ok(code)
}

/// Reports on and on until it is stopped, one after another and each with a title of its own.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

// === impl Load ===

impl Load {
    /// `hooks` that post and `mails` that mail, with a pause after each.
    pub(super) fn start(
        ports: (u16, u16),
        hooks: usize,
        mails: usize,
        pause: Duration,
        name: &str,
        books: (&Book, &Book),
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = (0..hooks).map(|_| true).chain((0..mails).map(|_| false));
        let threads = senders.enumerate().map(|(at, is_hook)| {
            let stop = Arc::clone(&stop);
            let book = if is_hook { books.0.clone() } else { books.1.clone() };
            let name = format!("{name} {at}");
            std::thread::spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let title = format!("{name} {number}");
                    if is_hook {
                        post(ports.0, &title, 200, &book);
                    } else {
                        mail(ports.1, &title, &book);
                    }
                    std::thread::sleep(pause);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Comes back when the last answer has come.
    pub(super) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok().context("a sender broke off")?;
        }
        Ok(())
    }
}

/// A line of syslog that somebody could not log in, from an address of its own in every tenth.
pub(super) fn syslog_line(number: usize) -> String {
    let rhost = number / 10 % 250;
    format!(
        "<84>1 2026-11-30T04:00:00Z cedar pvedaemon {number} - - authentication failure; \
         rhost=::ffff:192.0.2.{rhost} user=root@pam msg=no such user {number}"
    )
}

/// Sends so many lines over TCP at this rate, if they are taken that fast; how long it took.
pub(super) fn syslog_tcp(port: u16, lines: usize, rate: usize) -> Result<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_write_timeout(Some(Duration::from_mins(2)))?;
    let begun = Instant::now();
    paced(lines, rate, |number| {
        let line = syslog_line(number);
        stream.write_all(format!("{line}\n").as_bytes()).context("send a line")
    })?;
    Ok(begun.elapsed())
}

/// Sends so many datagrams at this rate.
pub(super) fn syslog_udp(port: u16, from: usize, lines: usize, rate: usize) -> Result<Duration> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(("127.0.0.1", port))?;
    let begun = Instant::now();
    paced(lines, rate, |number| {
        socket.send(syslog_line(from + number).as_bytes()).context("send a datagram").map(drop)
    })?;
    Ok(begun.elapsed())
}

fn paced(count: usize, rate: usize, mut send: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    for number in 0..count {
        if number % 50 == 0 {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        send(number)?;
    }
    Ok(())
}
