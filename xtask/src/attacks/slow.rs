//! Clients that take their time: with the head, with the body, with what they are sent.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::raw::{Answer, Ask, connect};
use super::{Report, STILL_QUICK, Target};

/// So many clients of each kind.
const CLIENTS: usize = 20;
/// A byte comes this often: no pause is ever long.
const PACE: Duration = Duration::from_millis(500);
/// What the server bears, and then some.
const MOST: Duration = Duration::from_secs(45);
/// Nobody is cut off before this.
const LEAST: Duration = Duration::from_secs(20);
/// Answers that are asked for and not read: more bytes than the buffers of both sides hold.
const UNREAD: usize = 100;

/// Slow clients at work.
pub(super) struct Clients {
    kinds: Vec<(&'static str, JoinHandle<Result<Vec<End>>>)>,
    prober: JoinHandle<Result<Duration>>,
}

/// How it ended for one of them.
struct End {
    after: Duration,
    answer: Answer,
}

// === impl Clients ===

impl Clients {
    /// Starts them all, and one more that is not slow.
    pub(super) fn start(target: &Target) -> Result<Self> {
        let token = target.token("slow");
        let address = target.address.clone();
        let ask = Ask::tool("fleet_overview", &json!({})).bearer(token);
        let whole = ask.head(&address);
        let (begun, rest) = whole.split_at(whole.len() - 4);
        // The line of a header without end.
        let (begun, filler) = (begun.to_owned() + "\r\nx-slow: ", "x".repeat(1000));
        debug_assert_eq!(rest, "\r\n\r\n");
        let head = trickling(&address, &begun, filler)?;
        let body = ask.header("content-length", "100000").head(&address);
        let body = trickling(&address, &body, " ".repeat(1000))?;
        let mut reader = connect(&address)?;
        let document = Ask::new("GET", "/api/v1/openapi.json").bearer(token).head(&address);
        let reader = std::thread::spawn(move || Ok(vec![unread(&mut reader, &document)?]));
        let calm = Ask::tool("guests_list", &json!({"limit": 1})).bearer(target.token("calm"));
        let prober = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut longest = Duration::ZERO;
            while begun.elapsed() < LEAST {
                let asked = Instant::now();
                let answer = calm.clone().send(&address)?;
                anyhow::ensure!(answer.status == 200, "the quick one got {}", answer.summary());
                longest = longest.max(asked.elapsed());
                sleep(PACE);
            }
            Ok(longest)
        });
        let kinds = vec![
            ("a head that never ends", head),
            ("a body that never ends", body),
            ("one that reads nothing", reader),
        ];
        Ok(Self { kinds, prober })
    }

    /// Waits for what comes of them.
    pub(super) fn finish(self, target: &Target, report: &mut Report) -> Result<()> {
        report.part("slow clients");
        for (what, kind) in self.kinds {
            let ends = kind.join().map_err(|_| anyhow::anyhow!("the slow clients panicked"))?;
            let ends = ends.with_context(|| what.to_owned())?;
            let first = ends.iter().map(|end| end.after).min().unwrap_or_default();
            let last = ends.iter().map(|end| end.after).max().unwrap_or_default();
            let statuses: Vec<u16> = ends.iter().map(|end| end.answer.status).collect();
            let answer = &ends[0].answer;
            let same = statuses.iter().all(|status| *status == answer.status);
            let got = format!(
                "{} of them, ended after {:.0} to {:.0} s; {}",
                ends.len(),
                first.as_secs_f64(),
                last.as_secs_f64(),
                answer.summary()
            );
            report.case(what, &got, same && first >= LEAST && last < MOST);
        }
        let longest =
            self.prober.join().map_err(|_| anyhow::anyhow!("the quick one panicked"))??;
        let got = format!("waited {} ms at most", longest.as_millis());
        report.case("a quick client meanwhile", &got, longest < STILL_QUICK);
        let open = target.metric("proxmox_mcp_http_connections")?;
        // The one that asks, and the stream of a session.
        report.case("connections that are open now", &format!("{open}"), open < 2.5);
        Ok(())
    }
}

/// Clients that have sent `begun` and send a byte of `filler` from time to time, until they are cut off.
fn trickling(address: &str, begun: &str, filler: String) -> Result<JoinHandle<Result<Vec<End>>>> {
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = connect(address)?;
        stream.write_all(begun.as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        streams.push(stream);
    }
    Ok(std::thread::spawn(move || {
        let since = Instant::now();
        let mut ends = Vec::new();
        for byte in filler.bytes() {
            let mut left = Vec::new();
            for mut stream in streams {
                let gone = stream.write_all(&[byte]).is_err();
                if gone || has_something(&stream)? {
                    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                    let answer = Answer::read(&mut stream)?;
                    ends.push(End { after: since.elapsed(), answer });
                } else {
                    left.push(stream);
                }
            }
            streams = left;
            if streams.is_empty() || since.elapsed() > MOST {
                break;
            }
            sleep(PACE);
        }
        anyhow::ensure!(streams.is_empty(), "{} are still connected after {MOST:?}", streams.len());
        Ok(ends)
    }))
}

/// Whether an answer or the end has come.
fn has_something(stream: &TcpStream) -> Result<bool> {
    match stream.peek(&mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error).context("look for an answer"),
    }
}

/// Asks for more than the buffers hold, reads nothing, and finds out when it is left.
fn unread(stream: &mut TcpStream, document: &str) -> Result<End> {
    let since = Instant::now();
    for _ in 0..UNREAD {
        stream.write_all(document.as_bytes())?;
    }
    // The server's end is noticed by a byte that it does not want any more.
    while since.elapsed() < MOST && stream.write_all(b"G").is_ok() {
        sleep(PACE);
    }
    let after = since.elapsed();
    anyhow::ensure!(after < MOST, "it is still connected after {MOST:?}");
    Ok(End { after, answer: Answer { status: 0, head: String::new(), body: String::new() } })
}
