//! The steps of an action at which a program is killed, and what is to be found afterwards.

use std::fmt;

/// Which program does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `proxmox-manager`: a change that people are asked about.
    Manager,
    /// `proxmox-mcp serve` with no manager: a change that runs unasked.
    Serve,
}

/// When it is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// In the middle of this write into the store: table, event, and the condition on the row.
    Write(&'static str, &'static str, &'static str),
    /// When this request has arrived at Proxmox: method, and a part of its path.
    Arrived(&'static str, &'static str),
    /// The same, in the second round of planning: after people have agreed.
    Replanned(&'static str, &'static str),
    /// When this request was done and is not answered.
    Done(&'static str, &'static str),
    /// When this request arrives after the change was answered.
    Afterwards(&'static str, &'static str),
}

/// What becomes of a request that is held while its sender is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Proxmox never does it.
    Lost,
    /// Proxmox does it before the program is started again.
    Done,
}

/// One step.
pub(super) struct Step {
    pub(super) program: Program,
    pub(super) name: &'static str,
    pub(super) at: Moment,
    pub(super) fate: Fate,
    pub(super) expects: Found,
}

/// What is found after the program was started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// How often the change was sent.
    pub(super) sent: usize,
    /// How the approval is; `none` if there is none.
    pub(super) approval: String,
    /// How many actions nobody can tell the end of.
    pub(super) unknown: usize,
    /// The states of all actions, for the reader.
    pub(super) actions: Vec<String>,
    /// What `audit verify` says; empty if the chain is intact.
    pub(super) audit: String,
}

// === impl Program ===

impl Program {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Manager => "proxmox-manager; a shutdown that people agree to",
            Self::Serve => {
                "proxmox-mcp serve alone; a start that runs unasked, and a manager after it"
            }
        }
    }
}

// === impl Found ===

impl Found {
    fn new(sent: usize, approval: &str, unknown: usize) -> Self {
        let approval = approval.to_owned();
        Self { sent, approval, unknown, actions: Vec::new(), audit: String::new() }
    }

    /// Whether what was found is this: the states of actions are told, and do not count by themselves.
    pub(super) fn fits(&self, found: &Self) -> bool {
        let open = found.actions.iter().any(|state| state == "running");
        let same = (self.sent, &self.approval, self.unknown);
        same == (found.sent, &found.approval, found.unknown) && found.audit.is_empty() && !open
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, approval {}, unknown {}", self.sent, self.approval, self.unknown)?;
        if !self.actions.is_empty() {
            write!(f, " (actions: {})", self.actions.join(", "))?;
        }
        if self.audit.is_empty() { f.write_str(", chain intact") } else { f.write_str(&self.audit) }
    }
}

/// The steps of one program, in their order.
pub(super) fn of(program: Program) -> impl Iterator<Item = Step> {
    let steps = match program {
        Program::Manager => manager(),
        Program::Serve => serve(),
    };
    steps.into_iter()
}

const CHANGE: &str = "/status/shutdown";
const START: &str = "/status/start";

fn manager() -> Vec<Step> {
    use Moment::{Afterwards, Arrived, Done, Replanned, Write};

    let step = |name, at, sent, approval: &str, unknown| Step {
        program: Program::Manager,
        name,
        at,
        fate: Fate::Lost,
        expects: Found::new(sent, approval, unknown),
    };
    vec![
        step("the plan is made", Arrived("GET", "/qemu/124/"), 0, "none", 0),
        step("the question is written down", Write("approvals", "INSERT", "1"), 0, "none", 0),
        step(
            "the question is told to the audit log",
            Write("audit", "INSERT", "NEW.action LIKE '%.asked'"),
            1,
            "done",
            0,
        ),
        step(
            "the decision is written down",
            Write("approvals", "UPDATE", "NEW.state = 'approved'"),
            1,
            "done",
            0,
        ),
        step(
            "the decision is told to the audit log",
            Write("audit", "INSERT", "NEW.action = 'approval.decide'"),
            1,
            "done",
            0,
        ),
        step("the plan is made again", Replanned("GET", "/qemu/124/"), 1, "done", 0),
        step("the action is begun", Write("actions", "INSERT", "1"), 1, "done", 0),
        step(
            "the approval is claimed",
            Write("approvals", "UPDATE", "NEW.state = 'running'"),
            1,
            "done",
            0,
        ),
        step(
            "the beginning is told to the audit log",
            Write("audit", "INSERT", "NEW.action LIKE '%.begin'"),
            1,
            "done",
            0,
        ),
        step("the intent is written down", Write("actions", "UPDATE", INTENDED), 1, "done", 0),
        step("the change has arrived, and is never done", Arrived("POST", CHANGE), 1, "unknown", 1),
        Step {
            fate: Fate::Done,
            ..step(
                "the change has arrived, and is done later",
                Arrived("POST", CHANGE),
                1,
                "done",
                0,
            )
        },
        step("the change is done, and not answered", Done("POST", CHANGE), 1, "done", 0),
        step("its task is written down", Write("actions", "UPDATE", SENT), 1, "done", 0),
        step("its task is followed", Arrived("GET", "/tasks/UPID"), 1, "done", 0),
        step("its end is written down", Write("actions", "UPDATE", ENDED), 1, "done", 0),
        step("what came of it is read back", Afterwards("GET", "/qemu/124/"), 1, "done", 0),
        step(
            "the outcome is told to the audit log",
            Write("audit", "INSERT", "NEW.action LIKE '%.done'"),
            1,
            "done",
            0,
        ),
        step("the action is ended", Write("actions", "UPDATE", "NEW.state = 'done'"), 1, "done", 0),
        step(
            "the answer is kept for the asker",
            Write("approvals", "UPDATE", "NEW.state = 'done'"),
            1,
            "done",
            0,
        ),
    ]
}

/// The first intent, before anything is known of it.
const INTENDED: &str = "NEW.doc LIKE '%\"intents\":[{%' AND NEW.doc NOT LIKE '%\"upid\":\"UPID%'";
/// The task is known, and its end is not.
const SENT: &str = "NEW.doc LIKE '%\"upid\":\"UPID%' AND NEW.doc NOT LIKE '%\"end\":\"done\"%'";
/// The end is known, and the action goes on.
const ENDED: &str = "NEW.doc LIKE '%\"end\":\"done\"%' AND NEW.state = 'running'";

fn serve() -> Vec<Step> {
    use Moment::{Afterwards, Arrived, Done, Write};

    let step = |name, at, sent, unknown| Step {
        program: Program::Serve,
        name,
        at,
        fate: Fate::Lost,
        expects: Found::new(sent, "none", unknown),
    };
    vec![
        step("the plan is made", Arrived("GET", "/qemu/125/"), 0, 0),
        step("the action is begun", Write("actions", "INSERT", "1"), 0, 0),
        step(
            "the beginning is told to the audit log",
            Write("audit", "INSERT", "NEW.action LIKE '%.begin'"),
            0,
            0,
        ),
        step("the intent is written down", Write("actions", "UPDATE", INTENDED), 0, 0),
        step("the change has arrived, and is never done", Arrived("POST", START), 1, 1),
        Step {
            fate: Fate::Done,
            ..step("the change has arrived, and is done later", Arrived("POST", START), 1, 0)
        },
        step("the change is done, and not answered", Done("POST", START), 1, 0),
        step("its task is written down", Write("actions", "UPDATE", SENT), 1, 0),
        step("its task is followed", Arrived("GET", "/tasks/UPID"), 1, 0),
        step("its end is written down", Write("actions", "UPDATE", ENDED), 1, 0),
        step("what came of it is read back", Afterwards("GET", "/qemu/125/"), 1, 0),
        step(
            "the outcome is told to the audit log",
            Write("audit", "INSERT", "NEW.action LIKE '%.done'"),
            1,
            0,
        ),
        step("the action is ended", Write("actions", "UPDATE", "NEW.state = 'done'"), 1, 0),
    ]
}
