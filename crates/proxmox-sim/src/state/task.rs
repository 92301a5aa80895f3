//! Tasks of both products: they take time, write logs, and succeed, warn or fail.

use super::{Estate, Home};

/// How many finished tasks a target remembers.
const KEEP: usize = 3000;

/// The tasks of one target, oldest first.
pub(crate) struct Tasks {
    pub(crate) list: Vec<Task>,
    next_pid: u32,
    pbs: bool,
}

/// One task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// User or token.
    pub(crate) user: String,
    pub(crate) pid: u32,
    pub(crate) pstart: u64,
    /// Seconds since the epoch.
    pub(crate) start: i64,
    pub(crate) end: Option<i64>,
    pub(crate) status: Option<String>,
    pub(crate) log: Vec<String>,
    /// The guest whose lock it holds.
    lock: Option<u32>,
}

/// What a task will do.
pub(crate) struct Plan {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    /// Milliseconds at demo pace.
    pub(crate) ms: f64,
    /// Log lines, written evenly over its time.
    pub(crate) lines: Vec<String>,
    /// The guest to lock meanwhile, and the lock's name.
    pub(crate) lock: Option<(u32, &'static str)>,
    pub(crate) end: End,
    /// What a lever or a stop that ends it otherwise leaves to be cleaned up.
    pub(crate) undo: Option<Undo>,
}

/// Takes back what the beginning of a task did.
pub(crate) type Undo = Box<dyn FnOnce(&mut Estate) + Send>;

/// What happens at a task's end; not called when a lever or a stop ends it otherwise.
pub(crate) type End = Box<dyn FnOnce(&mut Estate) -> Outcome + Send>;

/// How a task ends.
pub(crate) struct Outcome {
    /// Last log lines.
    pub(crate) lines: Vec<String>,
    /// Number of warnings, or the cause of the failure.
    pub(crate) result: Result<u32, String>,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn ok() -> Self {
        Self { lines: Vec::new(), result: Ok(0) }
    }

    pub(crate) fn with(lines: Vec<String>) -> Self {
        Self { lines, result: Ok(0) }
    }

    pub(crate) fn fail(cause: impl Into<String>) -> Self {
        Self { lines: Vec::new(), result: Err(cause.into()) }
    }
}

// === impl Plan ===

impl Plan {
    pub(crate) fn new(
        kind: &'static str,
        id: impl std::fmt::Display,
        ms: f64,
        end: impl FnOnce(&mut Estate) -> Outcome + Send + 'static,
    ) -> Self {
        Self {
            kind,
            id: id.to_string(),
            ms,
            lines: Vec::new(),
            lock: None,
            end: Box::new(end),
            undo: None,
        }
    }

    pub(crate) fn lines(mut self, lines: Vec<String>) -> Self {
        self.lines = lines;
        self
    }

    pub(crate) fn undo(mut self, undo: impl FnOnce(&mut Estate) + Send + 'static) -> Self {
        self.undo = Some(Box::new(undo));
        self
    }

    pub(crate) fn lock(mut self, vmid: u32, name: &'static str) -> Self {
        self.lock = Some((vmid, name));
        self
    }
}

// === impl Tasks ===

impl Tasks {
    pub(crate) fn new(pbs: bool) -> Self {
        Self { list: Vec::new(), next_pid: 0x0001_2A40, pbs }
    }

    pub(crate) fn get(&self, upid: &str) -> Option<&Task> {
        self.list.iter().rev().find(|task| task.upid == upid)
    }

    fn get_mut(&mut self, upid: &str) -> Option<&mut Task> {
        self.list.iter_mut().rev().find(|task| task.upid == upid)
    }

    /// Records the beginning of a task and names it.
    pub(crate) fn open(
        &mut self,
        now: i64,
        booted: i64,
        node: &str,
        kind: &str,
        id: &str,
        user: &str,
    ) -> String {
        let pid = self.next_pid;
        self.next_pid = (self.next_pid + 7) % 0x003F_FFFF;
        let pstart = ((now - booted) / 10).max(0) as u64;
        let start = now / 1000;
        let upid = if self.pbs {
            let id = escape(id);
            format!(
                "UPID:{node}:{pid:08X}:{pstart:08X}:{:08X}:{start:08X}:{kind}:{id}:{user}:",
                self.list.len()
            )
        } else {
            format!("UPID:{node}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{id}:{user}:")
        };
        self.list.push(Task {
            upid: upid.clone(),
            node: node.to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
            pid,
            pstart,
            start,
            end: None,
            status: None,
            log: Vec::new(),
            lock: None,
        });
        if self.list.len() > KEEP
            && let Some(oldest) = self.list.iter().position(|task| task.end.is_some())
        {
            self.list.remove(oldest);
        }
        upid
    }

    /// Records a task that has ended already.
    pub(crate) fn past(&mut self, task: Past<'_>) -> String {
        let upid =
            self.open(task.start * 1000, task.booted, task.node, task.kind, task.id, task.user);
        let pbs = self.pbs;
        if let Some(open) = self.get_mut(&upid) {
            open.log = task.log;
            open.finish(task.start + task.seconds, task.status, pbs);
        }
        upid
    }

    fn line(&mut self, upid: &str, now: i64, text: &str) {
        let pbs = self.pbs;
        if let Some(task) = self.get_mut(upid).filter(|task| task.end.is_none()) {
            task.log.push(stamp(text, now / 1000, pbs));
        }
    }
}

/// A task that has ended before the simulator began.
pub(crate) struct Past<'a> {
    pub(crate) node: &'a str,
    pub(crate) booted: i64,
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) start: i64,
    pub(crate) seconds: i64,
    pub(crate) status: &'a str,
    pub(crate) log: Vec<String>,
}

// === impl Task ===

impl Task {
    fn finish(&mut self, now: i64, status: &str, pbs: bool) {
        let last = match status {
            "OK" => "TASK OK".to_owned(),
            warned if warned.starts_with("WARNINGS: ") => format!("TASK {warned}"),
            cause => format!("TASK ERROR: {cause}"),
        };
        self.log.push(stamp(&last, now, pbs));
        self.end = Some(now);
        self.status = Some(status.to_owned());
    }
}

impl Estate {
    /// Starts a task on a node of `home` and returns its UPID.
    pub(crate) fn start_task(&mut self, home: Home, node: usize, user: &str, plan: Plan) -> String {
        let now = self.now;
        let (name, booted, fault) = match home {
            Home::Pve(at) => {
                let cluster = &mut self.clusters[at];
                let fault = cluster.faults.take_end(plan.kind);
                (cluster.nodes[node].name.clone(), cluster.nodes[node].booted, fault)
            }
            Home::Pbs(at) => {
                let vault = &mut self.vaults[at];
                (vault.node.clone(), vault.booted, vault.faults.take_end(plan.kind))
            }
        };
        let upid = self.tasks(home).open(now, booted, &name, plan.kind, &plan.id, user);
        if let Home::Pve(at) = home {
            let text = format!("starting task {upid}");
            self.clusters[at].note(now / 1000, &name, user, "pvedaemon", 6, &text);
        }
        if let (Some((vmid, lock)), Home::Pve(at)) = (plan.lock, home)
            && let Some(guest) = self.clusters[at].guests.get_mut(&vmid)
        {
            guest.config.insert("lock".to_owned(), lock.into());
            if let Some(task) = self.tasks(home).get_mut(&upid) {
                task.lock = Some(vmid);
            }
        }
        let steps = plan.lines.len() as f64 + 1.0;
        for (at, text) in plan.lines.into_iter().enumerate() {
            let key = upid.clone();
            if at == 0 {
                self.tasks(home).line(&key, now, &text);
                continue;
            }
            self.after(plan.ms * at as f64 / steps, move |estate| {
                let now = estate.now;
                estate.tasks(home).line(&key, now, &text);
            });
        }
        let key = upid.clone();
        let (end, undo) = (plan.end, plan.undo);
        self.after(plan.ms, move |estate| {
            let undo = move |estate: &mut Estate| {
                if let Some(undo) = undo {
                    undo(estate);
                }
            };
            if estate.tasks(home).get(&key).is_none_or(|task| task.end.is_some()) {
                return undo(estate);
            }
            let outcome = match fault {
                Some(fault) if !fault.warn => {
                    undo(estate);
                    Outcome::fail(fault.message)
                }
                Some(fault) => {
                    let mut outcome = end(estate);
                    outcome.lines.push(format!("WARN: {}", fault.message));
                    outcome.result = outcome.result.map(|warnings| warnings + 1);
                    outcome
                }
                None => end(estate),
            };
            estate.end_task(home, &key, outcome);
        });
        upid
    }

    /// Ends a task and frees what it locked.
    pub(crate) fn end_task(&mut self, home: Home, upid: &str, outcome: Outcome) {
        let now = self.now;
        for line in &outcome.lines {
            self.tasks(home).line(upid, now, line);
        }
        let status = match outcome.result {
            Ok(0) => "OK".to_owned(),
            Ok(warnings) => format!("WARNINGS: {warnings}"),
            Err(cause) => cause,
        };
        let pbs = matches!(home, Home::Pbs(_));
        let Some(task) = self.tasks(home).get_mut(upid) else { return };
        task.finish(now / 1000, &status, pbs);
        let (lock, node, user) = (task.lock.take(), task.node.clone(), task.user.clone());
        if let Home::Pve(at) = home {
            let cluster = &mut self.clusters[at];
            if let Some(guest) = lock.and_then(|vmid| cluster.guests.get_mut(&vmid)) {
                guest.config.shift_remove("lock");
            }
            let failed = status != "OK" && !status.starts_with("WARNINGS");
            let text = format!("end task {upid} {status}");
            cluster.note(now / 1000, &node, &user, "pvedaemon", if failed { 3 } else { 6 }, &text);
        }
    }

    /// Asks a task to stop; it takes about a second.
    pub(crate) fn stop_task(&mut self, home: Home, upid: &str) {
        let key = upid.to_owned();
        self.after(1000.0, move |estate| {
            if estate.tasks(home).get(&key).is_some_and(|task| task.end.is_none()) {
                let cause = if matches!(home, Home::Pbs(_)) {
                    "abort requested - aborting task"
                } else {
                    "received interrupt"
                };
                estate.end_task(home, &key, Outcome::fail(cause));
            }
        });
    }
}

/// PBS writes the time before each line of a log.
fn stamp(text: &str, now: i64, pbs: bool) -> String {
    if !pbs {
        return text.to_owned();
    }
    let time = crate::clock::utc(now, "%Y-%m-%dT%H:%M:%S+00:00");
    format!("{time}: {text}")
}

/// Escapes a worker id as PBS's UPIDs do.
pub(crate) fn escape(id: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for c in id.chars() {
        match c {
            '/' => out.push('-'),
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => out.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\x{byte:02x}");
                }
            }
        }
    }
    out
}
