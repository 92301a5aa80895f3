//! `guest_exec`: runs one program in a machine through its guest agent, if the operator allows it.
//!
//! *Invariant:* only programs that `server.exec_allow` names are started; no shell is between.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::{agent, qemu};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    place::{Rights, Site},
    subject::{Subject, of_guest, shown},
};
use crate::{
    error::{Kind, ToolError},
    follow::{Pace, Until},
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome, Undo, planned},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::Guest,
};

/// How long a program may run where nothing is said, in seconds.
const PATIENCE_SECS: u64 = 30;

/// The longest that it may, in seconds.
const MOST_SECS: i64 = 600;

/// The most bytes of arguments and of input: the agent takes no more.
const MOST_INPUT: usize = 64 * 1024;

/// The most characters that are shown of each stream.
const SHOWN: usize = 6000;

/// Runs a program.
pub(super) struct GuestExec;

#[derive(Deserialize)]
struct Args {
    guest: String,
    command: Vec<String>,
    stdin: Option<SecretString>,
    timeout_s: Option<u64>,
}

#[async_trait]
impl ActionTool for GuestExec {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_exec",
            title: "Run a program in a VM",
            description: "Runs a program that server.exec_allow names inside a VM through its \
                guest agent: no shell, waits for its end, tells exit code and output.",
            input: Input::new()
                .guest()
                .texts("command", "program, then each argument")
                .required("command")
                .text("stdin", "")
                .integer("timeout_s", 1..=MOST_SECS, "30"),
            output: Output::new()
                .fact("guest", "string")
                .fact("program", "string")
                .fact("status", "string")
                .fact("pid", "integer")
                .fact("exit_code", "integer")
                .fact("signal", "integer")
                .fact("truncated", "boolean"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    /// What a program does nobody here can tell.
    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let program = args.command.first().map(String::as_str).unwrap_or_default().to_owned();
        if program.trim().is_empty() {
            return Err(ToolError::new("nothing to run: command needs a program"));
        }
        allowed(&cx.exec_allow, &program)?;
        let length: usize = args.command.iter().map(String::len).sum();
        let input =
            args.stdin.as_ref().map_or(0, |text| secrecy::ExposeSecret::expose_secret(text).len());
        if length > MOST_INPUT || input > MOST_INPUT {
            return Err(ToolError::new(format!(
                "command and stdin may have {MOST_INPUT} bytes each"
            )));
        }
        let subject = Subject::read(cx, &args.guest).await?;
        let what = format!("run of {} in {}", shown(&program), subject.name());
        can(&subject, &what).await?;
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let old = ["VM.GuestAgent.Unrestricted", "VM.Monitor"];
        let path = format!("/vms/{}", subject.guest.at.vmid);
        let pool = subject.guest.pool.as_ref().map(|pool| format!("/pool/{pool}"));
        let may = |name: &&str| {
            let mut paths = std::iter::once(&path).chain(&pool);
            site.held.as_deref().is_none_or(|held| paths.any(|path| held.has(path, name)))
        };
        if !old.iter().any(may) {
            let mut rights = Rights::default();
            rights.on_guest(subject.guest.at.vmid, subject.guest.pool.as_deref(), old[0]);
            rights.check(&what, &site)?;
        }
        let patience = Duration::from_secs(
            args.timeout_s.unwrap_or(PATIENCE_SECS).clamp(1, MOST_SECS.unsigned_abs()),
        );
        let guest = subject.guest.clone();
        let plan = subject
            .plan(&what)
            .step(step(&subject, &args, patience, &what))
            .effect(
                "what the program does inside is not known here, and is not undone by stopping it",
            )
            .undo(Undo::Never("nobody here knows what the program changed".to_owned()))
            .fact("program", program);
        let label = what.clone();
        Ok(site
            .tell_plan(plan)
            .settle(move |_, done| async move { Ok(settled(&guest, &label, &done)) }))
    }
}

/// Refuses what the operator did not allow.
fn allowed(list: &[String], program: &str) -> Result<(), ToolError> {
    if list.iter().any(|name| name == "*" || name == program) {
        return Ok(());
    }
    let error = if list.is_empty() {
        ToolError::new("no program may be run in guests: server.exec_allow is empty")
    } else {
        ToolError::new(format!(
            "{} may not be run in guests: server.exec_allow has {}",
            crate::address::quoted(program),
            list.join(", ")
        ))
    };
    Err(error
        .of_kind(Kind::Forbidden)
        .map(|report| report.fact("status", "refused"))
        .hint("the operator of this server allows programs by their exact names, as they are called: server.exec_allow = [\"uptime\", \"systemctl\"]; \"*\" allows every one, a shell included"))
}

/// Whether the guest can be asked at all.
async fn can(subject: &Subject, what: &str) -> Result<(), ToolError> {
    let guest = &subject.guest;
    if guest.kind == GuestKind::Lxc {
        return Err(subject
            .refused(what, "Proxmox' API cannot run programs in containers")
            .hint("on the node it can be done: pct exec; or reach the container by SSH. guest_console shows its console"));
    }
    if !subject.state.status.is_on() {
        return Err(subject
            .refused(what, format!("it is {}", subject.state.status.as_str()))
            .next(
                "guest_power",
                object(json!({"guest": guest.at.to_string(), "action": "start"})),
            ));
    }
    let client = &subject.member.client;
    let config = client.call(qemu::current_config(&guest.node, guest.at.vmid)).await;
    let config = config.map_err(|error| {
        ToolError::api(format!("read the configuration of {}", subject.name()), &error)
    })?;
    if config.agent_enabled() {
        return Ok(());
    }
    let args = json!({"guest": guest.at.to_string(), "set": {"agent": "1"}, "plan": true});
    Err(subject
        .refused(what, "its guest agent is turned off in its options")
        .hint("install qemu-guest-agent inside, set agent=1, and stop and start it")
        .next("guest_configure", object(args)))
}

fn step(subject: &Subject, args: &Args, patience: Duration, what: &str) -> Step {
    let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
    let words: Vec<&str> = args.command.iter().map(String::as_str).collect();
    let request = agent::exec(&guest.node, guest.at.vmid, &words, args.stdin.as_ref());
    let call = planned(member.key.as_str(), &request);
    let program = args.command.first().cloned().unwrap_or_default();
    let what_ = what.to_owned();
    let work = move |running: Running| -> std::pin::Pin<
        Box<dyn Future<Output = Result<StepOutcome, ToolError>> + Send>,
    > {
        Box::pin(async move {
            let name = named(&guest);
            running.tell(format_args!("{} runs in {name}", shown(&program)));
            let client = &member.operator;
            let begun = client.call(request).await.map_err(|error| {
                let told = ToolError::api(format!("start {} in {name}", shown(&program)), &error);
                if error.may_have_run() {
                    told.hint("it may have been started: look inside before starting it again")
                } else {
                    told
                }
            })?;
            let until = Until::patient().at_most(patience);
            let mut pace = Pace::new();
            let mut outcome = StepOutcome::default();
            loop {
                let asked =
                    client.call(agent::exec_status(&guest.node, guest.at.vmid, begun.pid)).await;
                let status = asked.map_err(|error| {
                    ToolError::api(format!("learn how {} in {name} ended", shown(&program)), &error)
                        .map(|report| report.fact("pid", begun.pid).fact("status", "unknown"))
                        .hint("it was started, and may still run")
                })?;
                if status.exited {
                    outcome.value = json!({
                        "pid": begun.pid, "exited": true, "code": status.exit_code, "signal": status.signal,
                        "out": status.output, "err": status.error_output,
                        "cut": status.output_truncated || status.error_output_truncated,
                    });
                    return Ok(outcome);
                }
                if until.is_over() || running.stop.is_cancelled() {
                    outcome.value =
                        json!({"pid": begun.pid, "exited": false, "after": patience.as_secs()});
                    return Ok(outcome);
                }
                tokio::select! {
                    () = pace.wait(&until) => {}
                    () = running.stop.cancelled() => {}
                }
            }
        })
    };
    Step::other(what_, vec![call], Box::new(work))
}

fn settled(guest: &Guest, what: &str, done: &Done) -> Report {
    let value = done.value(what).cloned().unwrap_or_default();
    let name = named(guest);
    let pid = value["pid"].as_u64();
    let report = |lead: String| {
        let report = done.report(lead);
        match pid {
            Some(pid) => report.fact("pid", pid),
            None => report,
        }
    };
    if value["exited"] != true {
        let seconds = value["after"].as_u64().unwrap_or_default();
        return report(format!("{what}: it still runs after {seconds} s (pid {} in the guest)", pid.unwrap_or_default()))
            .fact("status", "running")
            .note("the API can neither stop it nor tell its output later on: it goes on inside until it ends")
            .next("guest_get", of_guest(guest));
    }
    let code = value["code"].as_i64();
    let signal = value["signal"].as_i64();
    let ended = match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "its end".to_owned(),
    };
    let mut report = report(format!("{what}: {ended} ({})", done.span())).fact("status", "exited");
    if let Some(code) = code {
        report = report.fact("exit_code", code);
    }
    if let Some(signal) = signal {
        report = report.fact("signal", signal);
    }
    let mut cut = value["cut"] == true;
    let mut silent = true;
    for (key, label) in [("out", "output"), ("err", "error output")] {
        let Some(text) = value[key].as_str().filter(|text| !text.is_empty()) else { continue };
        silent = false;
        let (text, was_cut) = end_of(text);
        cut |= was_cut;
        report = report.untrusted(format!("{label} of {name}"), text);
    }
    if silent {
        report = report.note("it wrote nothing");
    }
    if cut {
        report = report
            .note("its output was longer: the beginning or what the agent dropped is missing");
    }
    report.fact("truncated", Value::Bool(cut))
}

/// The end of a text, made safe to show: what matters is mostly there.
fn end_of(text: &str) -> (String, bool) {
    let clean = stdx::untrusted::text(text, usize::MAX).into_owned();
    let count = clean.chars().count();
    if count <= SHOWN {
        return (clean.trim_end().to_owned(), false);
    }
    (clean.chars().skip(count - SHOWN).collect::<String>().trim_end().to_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_allowed() {
        let list = ["uptime".to_owned(), "/usr/bin/df".to_owned()];
        assert!(allowed(&list, "uptime").is_ok() && allowed(&list, "/usr/bin/df").is_ok());
        for wrong in ["df", "/bin/uptime", "uptime ", "./uptime", "*", ""] {
            assert!(allowed(&list, wrong).is_err(), "{wrong}");
        }
        assert!(allowed(&["*".to_owned()], "sh").is_ok());
        let error = allowed(&[], "uptime").unwrap_err();
        assert!(error.message().contains("server.exec_allow is empty"));
        assert_eq!(error.kind(), Kind::Forbidden);
    }

    #[test]
    fn of_long_output_the_end_is_kept() {
        let (text, cut) = end_of(&format!("{}the end\n", "x".repeat(SHOWN)));
        assert!(cut && text.ends_with("the end") && text.len() < SHOWN);
        assert_eq!(end_of("a\u{1b}[31mb\n"), ("ab".to_owned(), false));
    }
}
