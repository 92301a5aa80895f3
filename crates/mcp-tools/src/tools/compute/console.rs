//! `guest_console`: what a guest's text console shows while one listens; nothing is typed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::{
    console::{ConsoleTarget, termproxy},
    qemu,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    place::{Rights, Site},
    subject::Subject,
};
use crate::{
    error::ToolError,
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome, Undo, planned},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::Guest,
};

/// How long it is listened where nothing is said, and at most, in seconds.
const LISTEN_SECS: u64 = 3;
const MOST_SECS: i64 = 30;

/// How many lines are shown where nothing is said, and at most.
const LINES: usize = 40;
const MOST_LINES: i64 = 200;

/// The most bytes that are kept while listening; older ones go.
const KEPT: usize = 64 * 1024;

/// Listens to a console.
pub(super) struct GuestConsole;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    lines: Option<usize>,
    listen_s: Option<u64>,
}

#[async_trait]
impl ActionTool for GuestConsole {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_console",
            title: "Look at a guest's text console",
            description: "The last lines of a VM's serial or a container's console, as far as \
                they come while it listens; types nothing.",
            input: Input::new().guest().integer("lines", 1..=MOST_LINES, "40").integer(
                "listen_s",
                1..=MOST_SECS,
                "3",
            ),
            output: Output::new()
                .fact("guest", "string")
                .fact("lines", "integer")
                .fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let what = format!("look at the console of {}", subject.name());
        let guest = &subject.guest;
        if !subject.state.status.is_on() {
            return Err(subject
                .refused(&what, format!("it is {}", subject.state.status.as_str()))
                .next(
                    "guest_power",
                    object(json!({"guest": guest.at.to_string(), "action": "start"})),
                ));
        }
        if guest.kind == GuestKind::Qemu {
            has_serial(&subject, &what).await?;
        }
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let mut rights = Rights::default();
        rights.on_guest(guest.at.vmid, guest.pool.as_deref(), "VM.Console");
        rights.check(&what, &site)?;
        let listen = args.listen_s.unwrap_or(LISTEN_SECS).clamp(1, MOST_SECS.unsigned_abs());
        let lines = args.lines.unwrap_or(LINES).clamp(1, 200);
        let guest = guest.clone();
        let plan = subject
            .plan(&what)
            .step(step(&subject, Duration::from_secs(listen), &what))
            .effect("a task of the node serves the console meanwhile; nothing is typed into it")
            .undo(Undo::By("nothing is changed".to_owned()));
        Ok(site
            .tell_plan(plan)
            .settle(move |_, done| async move { Ok(settled(&guest, &what, lines, listen, &done)) }))
    }
}

/// A machine has a text console only where it has a serial port.
async fn has_serial(subject: &Subject, what: &str) -> Result<(), ToolError> {
    let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
    let config = subject.member.client.call(qemu::current_config(node, vmid)).await;
    let config = config.map_err(|error| {
        ToolError::api(format!("read the configuration of {}", subject.name()), &error)
    })?;
    let has = config
        .rest
        .keys()
        .any(|key| key.strip_prefix("serial").is_some_and(|number| number.parse::<u8>().is_ok()));
    if has {
        return Ok(());
    }
    let args =
        json!({"guest": subject.guest.at.to_string(), "set": {"serial0": "socket"}, "plan": true});
    Err(subject
        .refused(what, "it has no serial port, so it has no text console")
        .hint("give it one (serial0=socket), stop and start it, and have its system write there: console=ttyS0")
        .next("guest_configure", object(args)))
}

fn step(subject: &Subject, listen: Duration, what: &str) -> Step {
    let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
    let target =
        ConsoleTarget::Guest { node: guest.node.clone(), kind: guest.kind, vmid: guest.at.vmid };
    let call = planned(member.key.as_str(), &termproxy(&target));
    let work = move |running: Running| -> std::pin::Pin<
        Box<dyn Future<Output = Result<StepOutcome, ToolError>> + Send>,
    > {
        Box::pin(async move {
            let name = named(&guest);
            running.tell(format_args!("listening to the console of {name}"));
            let failed = |error: &dyn std::error::Error| {
                let why = stdx::Chain(error).to_string();
                ToolError::new(format!("cannot listen to the console of {name}: {why}"))
                    .hint("somebody else may have it open: a serial port serves one at a time")
            };
            let mut console =
                member.operator.connect_console(&target).await.map_err(|error| failed(&error))?;
            let until = Instant::now() + listen;
            let mut kept: Vec<u8> = Vec::new();
            let mut dropped = false;
            loop {
                let next = tokio::select! {
                    next = timeout_at(until, console.read()) => next,
                    () = running.stop.cancelled() => break,
                };
                match next {
                    Ok(Err(error)) if kept.is_empty() => return Err(failed(&error)),
                    Err(_) | Ok(Ok(None) | Err(_)) => break,
                    Ok(Ok(Some(bytes))) => {
                        kept.extend_from_slice(&bytes);
                        if kept.len() > KEPT {
                            kept.drain(..kept.len() - KEPT);
                            dropped = true;
                        }
                    }
                }
            }
            // It is over either way.
            let _ = console.close().await;
            let mut outcome = StepOutcome::default();
            outcome.value = json!({"text": String::from_utf8_lossy(&kept), "dropped": dropped});
            Ok(outcome)
        })
    };
    Step::other(what, vec![call], Box::new(work))
}

fn settled(guest: &Guest, what: &str, lines: usize, listened: u64, done: &Done) -> Report {
    let value = done.value(what).cloned().unwrap_or_default();
    let (text, count, more) = last_lines(value["text"].as_str().unwrap_or_default(), lines);
    let name = named(guest);
    let report = if count == 0 {
        done.report(format!("the console of {name} was silent for {listened} s"))
            .note("a console shows only what is written while one listens: listen longer, or while the guest starts")
    } else {
        let plural = if count == 1 { "line" } else { "lines" };
        done.report(format!("the console of {name}: {count} {plural} in {listened} s"))
            .untrusted(format!("console of {name}"), text)
    };
    let report = if more || value["dropped"] == true {
        report.note("earlier lines are left out")
    } else {
        report
    };
    report.fact("lines", Value::from(count))
}

/// The last lines of what a terminal was sent, without what steers terminals.
fn last_lines(raw: &str, most: usize) -> (String, usize, bool) {
    let clean = stdx::untrusted::text(raw, usize::MAX);
    let all: Vec<&str> = clean.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let from = all.len().saturating_sub(most);
    (all[from..].join("\n"), all.len() - from, from > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        let raw = "\u{1b}[2J\u{1b}[1;31mDebian\r\n\r\nweb login: \u{7}\u{1b}]0;title\u{7}";
        let (text, count, more) = last_lines(raw, 10);
        assert_eq!((text.as_str(), count, more), ("Debian\nweb login:", 2, false));
        assert_eq!(last_lines("a\nb\nc\n", 2), ("b\nc".to_owned(), 2, true));
        assert_eq!(last_lines("\r\n \r\n", 2).1, 0);
    }
}
