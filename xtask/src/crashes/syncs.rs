//! What the kernel saw: before each 200 and each 250, the log of the store was written and synced.
//!
//! The manager runs under `strace`. For each report its mark is looked for in what was read from the connection, in what
//! was written to the write-ahead log after that, then comes a sync of the log that succeeds, and only then the answer on
//! that connection.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::events::load::{Mailer, post};
use crate::daemon::{Home, PATIENCE};
use crate::services;
use crate::workspace::path;

/// How many of each are looked at.
const REPORTS: u64 = 25;
const CALLS: &str =
    "trace=read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync";
/// How much of what is read and written is shown, in bytes: more than a page.
const SHOWN: &str = "8192";
const LOG: &str = "store.db-wal>";

/// A call, from the line in which it began to the one in which it ended.
struct Call {
    began: usize,
    ended: usize,
    text: String,
}

/// The calls that prove one report, in their order.
struct Proof<'a>([&'a Call; 4]);

/// Runs it under `strace` and reads what that saw.
pub(super) fn run(binaries: &Path) -> Result<()> {
    println!("proxmox-manager under strace: what comes before an answer");
    if let Err(error) = services::install_strace() {
        println!("  skipped: {error:#}");
        return Ok(());
    }
    let home = Home::new("")?;
    let trace = home.folder().join("trace");
    let strace = ["strace", "-f", "-yy", "-s", SHOWN, "-e", CALLS, "-o", path(&trace)?];
    let mut daemon = home.start(binaries, &strace)?;
    home.until_ready(&mut daemon)?;
    let traced = traced(daemon.pid())?;
    let mut mailer = Mailer::connect(home.smtp)?;
    for number in 0..REPORTS {
        post(home.http, number, &format!("crash-post-{number}."))?;
        mailer.send(&format!("crash-mail-{number}."))?;
    }
    drop(mailer);
    daemon.stop(traced)?;
    let calls = calls(&fs::read_to_string(&trace).context("read what strace saw")?);
    let mut proven = 0;
    for (way, answer, title) in
        [("post", "HTTP/1.1 200", "a 2xx of HTTP"), ("mail", "\"250 ", "a 250 of SMTP")]
    {
        for number in 0..REPORTS {
            let mark = format!("crash-{way}-{number}.");
            let proof = prove(&calls, &mark, answer)
                .with_context(|| format!("the sync before the answer to {mark}"))?;
            proven += 1;
            if number == 0 {
                println!("  before {title}, such as that to {mark}");
                proof.print(&mark);
            }
        }
    }
    println!("  ok  {proven} answers, each after a sync of the log that has its report");
    Ok(())
}

/// The process that strace runs.
fn traced(strace: u32) -> Result<u32> {
    let children = format!("/proc/{strace}/task/{strace}/children");
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(&children).context("look for what strace runs")?;
        if let Some(child) = text.split_whitespace().next() {
            return Ok(child.parse()?);
        }
        ensure!(begun.elapsed() < PATIENCE, "strace runs nothing");
    }
}

/// All calls; those that others interrupted are put together again.
fn calls(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread, (line, head.to_owned()));
        } else if text.starts_with("<... ") {
            let tail = text.split_once(" resumed>").map_or("", |(_, tail)| tail);
            if let Some((began, head)) = open.remove(thread) {
                calls.push(Call { began, ended: line, text: format!("{head}{tail}") });
            }
        } else {
            calls.push(Call { began: line, ended: line, text: text.to_owned() });
        }
    }
    calls
}

/// Read, written, synced, answered: each after the one before has ended.
fn prove<'a>(calls: &'a [Call], mark: &str, answer: &str) -> Result<Proof<'a>> {
    let find = |after: usize, what: &str, fits: &dyn Fn(&Call) -> bool| {
        calls
            .iter()
            .filter(|call| call.began > after && fits(call))
            .min_by_key(|call| call.ended)
            .with_context(|| format!("{mark} was not {what}"))
    };
    let is = |call: &Call, names: &[&str]| names.iter().any(|name| call.text.starts_with(name));
    let read = find(0, "read", &|call| {
        is(call, &["read(", "recvfrom(", "recvmsg("]) && call.text.contains(mark)
    })?;
    let connection = read.text.split_once('(').and_then(|(_, rest)| rest.split_once('>'));
    let connection = connection.context("the connection has no name")?.0.to_owned();
    let answered = find(read.ended, "answered", &|call| {
        is(call, &["write(", "writev(", "sendto(", "sendmsg("])
            && call.text.contains(&connection)
            && call.text.contains(answer)
    })?;
    let written = find(read.ended, "written to the log", &|call| {
        is(call, &["pwrite64("]) && call.text.contains(LOG) && call.text.contains(mark)
    })?;
    let synced = find(written.ended, "synced", &|call| {
        is(call, &["fsync(", "fdatasync("]) && call.text.contains(LOG) && call.text.ends_with("= 0")
    })?;
    ensure!(synced.ended < answered.began, "{mark} was answered before the sync had ended");
    Ok(Proof([read, written, synced, answered]))
}

// === impl Proof ===

impl Proof<'_> {
    /// A few words of each call.
    fn print(&self, mark: &str) {
        for call in self.0 {
            let end = call.text.find(">,").or_else(|| call.text.find('>'));
            let (head, rest) = call.text.split_at(end.map_or(0, |at| at + 1));
            let folder = head.split_once('<').and_then(|(_, place)| place.rsplit_once('/'));
            let head = folder.map_or(head.to_owned(), |(folder, _)| head.replace(folder, "…"));
            let result = rest.rsplit_once(" = ").map_or("", |(_, result)| result);
            let said = match rest.find(mark) {
                Some(_) => format!(", … {mark} …) = {result}"),
                None if rest.len() < 40 => rest.to_owned(),
                None => format!("{}…) = {result}", rest.chars().take(28).collect::<String>()),
            };
            println!("    {:>6}-{:<6} {head}{said}", call.began + 1, call.ended + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
        10 recvfrom(21<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"POST crash-post-0.\", 8192) = 18\n\
        11 pwrite64(9</s/store.db-wal>, \"crash-post-0.\", 4096, 32) = 4096\n\
        11 fdatasync(9</s/store.db-wal> <unfinished ...>\n\
        10 sendto(22<TCP:[127.0.0.1:3->127.0.0.1:2]>, \"HTTP/1.1 200 OK\", 15) = 15\n\
        11 <... fdatasync resumed>) = 0\n\
        10 sendto(21<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"HTTP/1.1 200 OK\", 15) = 15\n";

    fn judged(trace: &str) -> Result<(), String> {
        let calls = calls(trace);
        // The first line is before everything.
        let proof = prove(&calls, "crash-post-0.", "HTTP/1.1 200");
        proof.map(drop).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_answer_after_the_sync_is_proven() {
        assert_eq!(judged(&format!("9 read(3</x>, \"\", 1) = 0\n{GOOD}")), Ok(()));
    }

    #[test]
    fn an_answer_before_the_end_of_the_sync_is_found_out() {
        let early = GOOD.replace("sendto(22<TCP:[127.0.0.1:3", "sendto(21<TCP:[127.0.0.1:1");
        let found = judged(&format!("9 read(3</x>, \"\", 1) = 0\n{early}")).unwrap_err();
        assert!(found.contains("answered before the sync"), "{found}");
    }

    #[test]
    fn a_sync_that_failed_or_was_of_something_else_is_none() {
        for (from, to) in
            [("resumed>) = 0", "resumed>) = -1 EIO"), ("9</s/store.db-wal> <", "9</s/store.db> <")]
        {
            let found = judged(&format!("9 read(3</x>, \"\", 1) = 0\n{}", GOOD.replace(from, to)));
            assert!(found.unwrap_err().contains("not synced"), "{from}");
        }
    }
}
