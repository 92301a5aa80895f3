//! Who is told: a receiver of our webhook, which says each message's id, and a Gotify server, which knows no ids.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// How often each delivery came, by output and key.
pub(crate) type Times = BTreeMap<(String, String), u32>;

/// Both of them, on one port. They listen until the program ends.
#[derive(Clone, Default)]
pub(crate) struct Told {
    times: Arc<Mutex<Times>>,
    titles: Arc<Mutex<Vec<(String, Instant)>>>,
    messages: Arc<AtomicU64>,
    pace: Duration,
}

// === impl Told ===

impl Told {
    /// Listens, and gives the settings of the outputs that tell it. They take up to eight times `pace` to answer.
    pub(crate) fn listen(pace: Duration) -> Result<(Self, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for messages")?;
        let port = listener.local_addr()?.port();
        let told = Self { pace, ..Self::default() };
        let hearing = told.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = hearing.clone();
                thread::spawn(move || told.answer(stream));
            }
        });
        let limits = "flood = 10000\nflood_secs = 60\n";
        let sections = format!(
            "[output.desk]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{port}/desk\"\n{limits}\
             [output.push]\ntype = \"gotify\"\nserver = \"http://127.0.0.1:{port}/\"\n\
             token = \"A00000000000000\"\n{limits}"
        );
        Ok((told, sections))
    }

    /// What came so far.
    pub(crate) fn times(&self) -> Times {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the webhook was told, and when that came.
    pub(crate) fn titles(&self) -> Vec<(String, Instant)> {
        self.titles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, mut stream: TcpStream) {
        while let Some((head, body)) = read_request(&mut stream) {
            let came = Instant::now();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let number = self.messages.fetch_add(1, Ordering::Relaxed);
            let (output, key) = if head.starts_with("POST /desk ") {
                let title = body["title"].as_str().unwrap_or_default().to_owned();
                self.titles.lock().unwrap_or_else(PoisonError::into_inner).push((title, came));
                ("desk", header(&head, "x-event-id"))
            } else {
                let mark = &body["extras"]["proxmox-mcp::delivery"]["key"];
                ("push", mark.as_str().map(str::to_owned))
            };
            if let Some(key) = key {
                let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
                *times.entry((output.to_owned(), key)).or_default() += 1;
            }
            // Services take their time, so that a kill comes between their having it and our knowing of it.
            thread::sleep(self.pace * u32::try_from(number % 8).unwrap_or_default());
            let text = json!({"id": number + 1}).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Head and body of the next request; `None` when the connection has ended.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|it| it.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                return Some((head, bytes[end + 4..whole].to_vec()));
            }
        }
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    }
}
