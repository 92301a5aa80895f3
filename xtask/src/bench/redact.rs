//! What the redactor costs per answer: it is on the way of every read.
//!
//! Counted is the time that this thread had a processor, so that what else runs on the machine
//! matters less.

use std::{fs, hint::black_box, time::Duration};

use anyhow::{Context, Result};
use stdx::{redact::Redactor, untrusted};

use super::{goal, heading, row};

/// The size of a typical answer, in bytes.
const ANSWER: usize = 4096;

/// How often each is done.
const ROUNDS: u32 = 5_000;

/// What rows and logs look like.
const LINE: &str = "lab/104 db-main vm alder running 3% 8/16G 12d prod;db \
    UPID:alder:000002D6:000C8274:6B033EDA:vzdump:104:root@pam: vault:backup/vm/104/2026-11-28T01:00:02Z \
    name=web, cores: 4; net0: virtio=BC:24:11:0A:7F:3C,bridge=vmbr0\n";

pub(super) fn run() -> Result<()> {
    let secrets = (0..8).map(|n| format!("{n:08x}-9d2b-4a77-8c10-5f2be1a4d9c3").into());
    let redactor = Redactor::new([""; 0]).with_fields(["env", "keyring"]).with_values(secrets);
    let answer = LINE.repeat(ANSWER / LINE.len() + 1);
    let cells: Vec<&str> = answer.split_whitespace().collect();
    heading("µs to redact an answer of 4 KiB");
    let show = |what: &str, work: &dyn Fn()| -> Result<()> {
        row(what, measure(work)?.as_secs_f64() * 1e6, None, goal::REDACTION_MICROS);
        Ok(())
    };
    show("one text", &|| {
        black_box(redactor.text(black_box(&answer)));
    })?;
    show("one text, cleaned and redacted", &|| {
        let text = untrusted::text(black_box(&answer), usize::MAX);
        black_box(untrusted::blunt(&redactor.text(&text)));
    })?;
    show("its cells, cleaned and redacted", &|| {
        for cell in &cells {
            let line = untrusted::line(black_box(cell), 400);
            black_box(untrusted::blunt(&redactor.text(&line)));
        }
    })
}

/// The time of one round.
fn measure(work: &dyn Fn()) -> Result<Duration> {
    work();
    let begin = on_processor()?;
    for _ in 0..ROUNDS {
        work();
    }
    Ok(on_processor()?.saturating_sub(begin) / ROUNDS)
}

/// How long this thread has run.
fn on_processor() -> Result<Duration> {
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("read the thread's time")?;
    let nanos = text.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(nanos.parse().context("read the thread's time")?))
}
