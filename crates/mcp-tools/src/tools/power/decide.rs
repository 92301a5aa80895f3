//! What an action means for a guest in its state: to be done, already so, or not possible.

use estate::GuestKind;
use mcp_protocol::JsonObject;
use serde::Deserialize;

use crate::{follow::state::State, plan::Undo, view::GuestStatus};

/// What can be done to a guest's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Turns it on.
    Start,
    /// Asks its operating system to turn it off.
    Shutdown,
    /// Cuts its power.
    Stop,
    /// Asks its operating system to restart.
    Reboot,
    /// Presses the reset button.
    Reset,
    /// Holds it where it is.
    Suspend,
    /// Lets it go on.
    Resume,
}

/// What follows for one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do it.
    Go,
    /// Nothing to do: it is so.
    Already,
    /// It cannot be done: why, and what can be done instead.
    Refuse(String, &'static str),
}

// === impl Action ===

impl Action {
    /// Every action, in the order of the schema.
    pub(crate) const NAMES: &'static [&'static str] =
        &["start", "shutdown", "stop", "reboot", "reset", "suspend", "resume"];

    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Shutdown => "shutdown",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    /// What the guest is when it is done.
    pub(crate) fn goal(self) -> GuestStatus {
        match self {
            Self::Start | Self::Reboot | Self::Reset | Self::Resume => GuestStatus::Running,
            Self::Shutdown | Self::Stop => GuestStatus::Stopped,
            Self::Suspend => GuestStatus::Paused,
        }
    }

    /// The type of its task, without the prefix of the kind.
    pub(crate) fn task_kinds(self, kind: GuestKind) -> &'static [&'static str] {
        match (kind, self) {
            // `hastart` and `hastop` where HA came to manage it meanwhile.
            (GuestKind::Qemu, Self::Start) => &["qmstart", "hastart"],
            (GuestKind::Qemu, Self::Shutdown) => &["qmshutdown", "hastop"],
            (GuestKind::Qemu, Self::Stop) => &["qmstop", "hastop"],
            (GuestKind::Qemu, Self::Reboot) => &["qmreboot"],
            (GuestKind::Qemu, Self::Reset) => &["qmreset"],
            (GuestKind::Qemu, Self::Suspend) => &["qmpause", "qmsuspend"],
            (GuestKind::Qemu, Self::Resume) => &["qmresume"],
            (GuestKind::Lxc, Self::Start) => &["vzstart", "hastart"],
            (GuestKind::Lxc, Self::Shutdown) => &["vzshutdown", "hastop"],
            (GuestKind::Lxc, Self::Stop) => &["vzstop", "hastop"],
            (GuestKind::Lxc, Self::Reboot) => &["vzreboot"],
            (GuestKind::Lxc, Self::Reset) => &[],
            (GuestKind::Lxc, Self::Suspend) => &["vzsuspend"],
            (GuestKind::Lxc, Self::Resume) => &["vzresume"],
        }
    }

    /// Whether what the guest has not written to its disks is lost.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Self::Stop | Self::Reset)
    }

    /// How it is taken back.
    pub(crate) fn undo(self, guest: &str) -> Undo {
        let back = match self {
            Self::Start => "shutdown",
            Self::Shutdown | Self::Stop => "start",
            Self::Suspend => "resume",
            Self::Resume => "suspend",
            Self::Reboot | Self::Reset => {
                return Undo::Never("a guest that was restarted was restarted".to_owned());
            }
        };
        let mut args = JsonObject::new();
        args.insert("guest".to_owned(), guest.into());
        args.insert("action".to_owned(), back.into());
        Undo::Call("guest_power", args)
    }

    /// For a guest that HA manages: whether HA does this one, and whether it then runs.
    pub(crate) fn through_ha(self) -> Option<bool> {
        match self {
            Self::Start => Some(true),
            Self::Shutdown | Self::Stop => Some(false),
            Self::Reboot | Self::Reset | Self::Suspend | Self::Resume => None,
        }
    }
}

/// What the action means for a guest of this kind in this state. `ha_state` is what HA makes of it,
/// if it is managed.
pub(crate) fn decide(
    action: Action,
    kind: GuestKind,
    state: &State,
    ha_state: Option<&str>,
) -> Verdict {
    use GuestStatus as S;
    if state.status == S::Template {
        return refuse("it is a template", "clone it and start the clone");
    }
    if kind == GuestKind::Lxc && action == Action::Reset {
        return refuse("containers have no reset", "use reboot, or stop and then start");
    }
    if let Some(lock) = &state.lock
        && !is_passable(action, lock)
    {
        let why = format!("it is locked ({lock}): something is at work on it, or was broken off");
        return Verdict::Refuse(why, "look at its running tasks, and try again when they are done");
    }
    match (action, &state.status) {
        // HA may be about to undo what is so now, so its wish counts as well.
        (Action::Start, S::Running) if is_wished(ha_state, &["started"]) => Verdict::Already,
        (Action::Shutdown | Action::Stop, S::Stopped)
            if is_wished(ha_state, &["stopped", "disabled", "error"]) =>
        {
            Verdict::Already
        }
        // Only QEMU tells that a guest is held; a suspended container shows as running or stopped.
        (Action::Resume, _) if kind == GuestKind::Lxc => Verdict::Go,
        (Action::Suspend, S::Paused) | (Action::Resume, S::Running) => Verdict::Already,
        (Action::Start, S::Paused) => refuse("it is paused, not off", "use resume"),
        (Action::Shutdown | Action::Reboot, S::Paused) => {
            refuse("it is paused, so its system cannot answer", "use resume first, or stop")
        }
        (Action::Reboot | Action::Reset, S::Stopped) => refuse("it is stopped", "use start"),
        (Action::Suspend, S::Stopped) => refuse("it is stopped", "nothing is there to suspend"),
        (Action::Resume, S::Stopped) if state.lock.as_deref() != Some("suspended") => {
            refuse("it is stopped, not suspended", "use start")
        }
        _ => Verdict::Go,
    }
}

fn refuse(why: &str, instead: &'static str) -> Verdict {
    Verdict::Refuse(why.to_owned(), instead)
}

/// Locks that are no hindrance: a machine that was suspended to disk goes on by either word, and one
/// that waits in a backup can be let run.
fn is_passable(action: Action, lock: &str) -> bool {
    matches!(
        (action, lock),
        (Action::Start | Action::Resume, "suspended") | (Action::Resume, "backup")
    )
}

fn is_wished(ha_state: Option<&str>, settled: &[&str]) -> bool {
    ha_state.is_none_or(|state| settled.contains(&state))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;

    #[test]
    fn every_action_in_every_state() {
        let mut table = String::new();
        for kind in [GuestKind::Qemu, GuestKind::Lxc] {
            for name in Action::NAMES {
                let action: Action = serde_json::from_value((*name).into()).unwrap();
                assert_eq!(action.as_str(), *name);
                write!(table, "{kind} {name}:").unwrap();
                for word in ["running", "paused", "stopped"] {
                    let status = GuestStatus::parse(word, false);
                    let state = State { status, lock: None, uptime: 0, ha_managed: false };
                    let verdict = match decide(action, kind, &state, None) {
                        Verdict::Go => "go".to_owned(),
                        Verdict::Already => "already".to_owned(),
                        Verdict::Refuse(why, instead) => format!("{why} ({instead})"),
                    };
                    write!(table, " [{word}] {verdict}").unwrap();
                }
                table.push('\n');
            }
        }
        expect![[r"
            qemu start: [running] already [paused] it is paused, not off (use resume) [stopped] go
            qemu shutdown: [running] go [paused] it is paused, so its system cannot answer (use resume first, or stop) [stopped] already
            qemu stop: [running] go [paused] go [stopped] already
            qemu reboot: [running] go [paused] it is paused, so its system cannot answer (use resume first, or stop) [stopped] it is stopped (use start)
            qemu reset: [running] go [paused] go [stopped] it is stopped (use start)
            qemu suspend: [running] go [paused] already [stopped] it is stopped (nothing is there to suspend)
            qemu resume: [running] already [paused] go [stopped] it is stopped, not suspended (use start)
            lxc start: [running] already [paused] it is paused, not off (use resume) [stopped] go
            lxc shutdown: [running] go [paused] it is paused, so its system cannot answer (use resume first, or stop) [stopped] already
            lxc stop: [running] go [paused] go [stopped] already
            lxc reboot: [running] go [paused] it is paused, so its system cannot answer (use resume first, or stop) [stopped] it is stopped (use start)
            lxc reset: [running] containers have no reset (use reboot, or stop and then start) [paused] containers have no reset (use reboot, or stop and then start) [stopped] containers have no reset (use reboot, or stop and then start)
            lxc suspend: [running] go [paused] already [stopped] it is stopped (nothing is there to suspend)
            lxc resume: [running] go [paused] go [stopped] go
        "]]
        .assert_eq(&table);
    }

    #[test]
    fn templates_locks_and_wishes_count() {
        let state = |word: &str, lock: Option<&str>| State {
            status: GuestStatus::parse(word, word == "template"),
            lock: lock.map(str::to_owned),
            uptime: 0,
            ha_managed: false,
        };
        let qemu = |action, state: &State, ha| decide(action, GuestKind::Qemu, state, ha);
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refuse(..));
        assert!(is_refused(&qemu(Action::Start, &state("template", None), None)));
        assert!(is_refused(&qemu(Action::Stop, &state("running", Some("backup")), None)));
        assert_eq!(qemu(Action::Start, &state("stopped", Some("suspended")), None), Verdict::Go);
        assert_eq!(qemu(Action::Resume, &state("stopped", Some("suspended")), None), Verdict::Go);
        assert_eq!(qemu(Action::Resume, &state("paused", Some("backup")), None), Verdict::Go);
        // Running now, but HA is about to stop it: starting it again is no empty wish.
        let running = state("running", None);
        assert_eq!(qemu(Action::Start, &running, Some("request_stop")), Verdict::Go);
        assert_eq!(qemu(Action::Start, &running, Some("started")), Verdict::Already);
        assert_eq!(qemu(Action::Stop, &state("stopped", None), Some("starting")), Verdict::Go);
    }
}
