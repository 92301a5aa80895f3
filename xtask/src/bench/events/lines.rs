//! The lines that are sent, and how fast they could be.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};

/// So many lines are made; then they begin again.
const DIFFERENT: usize = 1000;

/// Lines such as the nodes of a cluster write all day, with their framing.
pub(super) struct Lines {
    /// All of them once.
    framed: Vec<u8>,
    /// How long the lines are without their framing.
    length: usize,
    /// How many are sent.
    pub(super) count: usize,
}

// === impl Lines ===

impl Lines {
    /// So many, rounded to what is made at once.
    pub(super) fn new(count: usize) -> Self {
        let mut framed = Vec::new();
        let mut length = 0;
        for number in 0..DIFFERENT {
            let line = line(number);
            length += line.len();
            framed.extend_from_slice(format!("{} {line}", line.len()).as_bytes());
        }
        Self { framed, length, count: count.div_ceil(DIFFERENT) * DIFFERENT }
    }

    /// How large a file is that has all lines and a line feed after each.
    pub(super) fn bytes_in_a_file(&self) -> u64 {
        (self.count / DIFFERENT * (self.length + DIFFERENT)) as u64
    }

    /// Sends them as fast as they are taken.
    pub(super) fn send(&self, port: u16) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect for lines")?;
        for _ in 0..self.count / DIFFERENT {
            stream.write_all(&self.framed).context("send lines")?;
        }
        Ok(())
    }

    /// Lines a second into something that only reads them.
    pub(super) fn rate_of_a_sink(&self) -> Result<f64> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let reader = thread::spawn(move || -> Result<u64> {
            let (mut stream, _) = listener.accept()?;
            let mut piece = vec![0; 64 * 1024];
            let mut all = 0;
            loop {
                match stream.read(&mut piece)? {
                    0 => return Ok(all),
                    count => all += count as u64,
                }
            }
        });
        let began = Instant::now();
        self.send(port)?;
        let read = reader.join().map_err(|_| anyhow!("the reader has ended by a fault"))??;
        let took = began.elapsed();
        let sent = (self.framed.len() * (self.count / DIFFERENT)) as u64;
        ensure!(read == sent, "of {sent} bytes {read} were read");
        Ok(self.count as f64 / took.as_secs_f64())
    }
}

fn line(number: usize) -> String {
    let node = ["alder", "birch", "cedar", "elm"][number % 4];
    let minute = number % 60;
    let time = format!("2026-11-30T02:{minute:02}:17.{:06}+00:00", number * 811 % 1_000_000);
    let pid = 900 + number % 37;
    let (program, words) = match number % 7 {
        0 => ("pvestatd", format!("status update time (5.{} seconds)", number % 90)),
        1 => ("systemd", format!("session-{number}.scope: Deactivated successfully.")),
        2 => ("CRON", "(root) CMD (   cd / && run-parts --report /etc/cron.hourly)".to_owned()),
        3 => ("pvedaemon", format!("worker {} finished", 40_000 + number)),
        4 => ("chronyd", format!("Selected source 192.0.2.{}", number % 250)),
        5 => ("postfix/qmgr", format!("{number:010X}: removed")),
        _ => ("pmxcfs", format!("[status] notice: received log from node {node}")),
    };
    format!("<30>1 {time} {node} {program} {pid} - - {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_they_say_and_files_as_their_lines() {
        let lines = Lines::new(2_500);
        assert_eq!(lines.count, 3 * DIFFERENT);
        let mut rest = &lines.framed[..];
        let mut length = 0;
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
            let count: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
            assert!(rest[blank + 1..].starts_with(b"<30>1 "));
            rest = &rest[blank + 1 + count..];
            length += count + 1;
        }
        assert_eq!(lines.bytes_in_a_file(), 3 * length as u64);
    }
}
