//! Power: starting, stopping and everything between, with high availability in the way where it is.

use serde_json::json;

use crate::call::{Call, Handlers, missing};
use crate::http::{Answer, Fault, data};
use crate::state::guest::Quirk;
use crate::state::{Estate, GuestKind, Home, Outcome, Plan, Power};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/qemu/{vmid}/status/start", |call| power(call, Qemu, Action::Start)),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/stop", |call| power(call, Qemu, Action::Stop)),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/shutdown", |call| {
        power(call, Qemu, Action::Shutdown)
    }),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/reboot", |call| power(call, Qemu, Action::Reboot)),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/reset", |call| power(call, Qemu, Action::Reset)),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/suspend", |call| power(call, Qemu, Action::Suspend)),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/resume", |call| power(call, Qemu, Action::Resume)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/start", |call| power(call, Lxc, Action::Start)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/stop", |call| power(call, Lxc, Action::Stop)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/shutdown", |call| power(call, Lxc, Action::Shutdown)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/reboot", |call| power(call, Lxc, Action::Reboot)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/suspend", |call| power(call, Lxc, Action::Suspend)),
    ("POST", "/nodes/{node}/lxc/{vmid}/status/resume", |call| power(call, Lxc, Action::Resume)),
    ("POST", "/nodes/{node}/startall", |call| all(call, "startall")),
    ("POST", "/nodes/{node}/stopall", |call| all(call, "stopall")),
];

/// What to do with a guest's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Shutdown,
    Reboot,
    Reset,
    Suspend,
    Resume,
}

fn power(call: &mut Call<'_>, kind: GuestKind, action: Action) -> Answer {
    let vmid = call.vmid();
    if action == Action::Start && !call.cluster().quorate {
        return Err(Fault::internal("cluster not ready - no quorum?"));
    }
    let user = call.who.to_string();
    let (home, node) = (call.pve(), call.node);
    let cluster = call.cluster();
    let managed = cluster.guest_on(vmid, kind, node).and_then(|guest| cluster.managed(guest));
    if let Some(sid) = managed
        && let Some(wish) = action.wish()
    {
        let word = if wish == "started" { "start" } else { "stop" };
        let task = if wish == "started" { "hastart" } else { "hastop" };
        let line = format!("Requesting HA {word} for {} {vmid}", kind.short());
        let plan = Plan::new(task, vmid, 400.0, move |estate| {
            super::ha::wish(estate, home, &sid, wish);
            Outcome::ok()
        });
        let upid = call.estate.start_task(home, node, &user, plan.lines(vec![line]));
        return data(upid);
    }
    let timeout = call.int("timeout");
    let force = call.flag("forceStop") == Some(true);
    let plan = plan(call.estate, home, node, vmid, kind, action, timeout, force);
    data(call.estate.start_task(home, node, &user, plan))
}

impl Action {
    /// What it means for a managed guest, if the manager has to do it.
    fn wish(self) -> Option<&'static str> {
        match self {
            Self::Start => Some("started"),
            Self::Stop | Self::Shutdown => Some("stopped"),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }
}

/// The task type, which must live as long as the program.
fn task_type(kind: GuestKind, action: Action) -> &'static str {
    match (kind, action) {
        (Qemu, Action::Start) => "qmstart",
        (Qemu, Action::Stop) => "qmstop",
        (Qemu, Action::Shutdown) => "qmshutdown",
        (Qemu, Action::Reboot) => "qmreboot",
        (Qemu, Action::Reset) => "qmreset",
        (Qemu, Action::Suspend) => "qmpause",
        (Qemu, Action::Resume) => "qmresume",
        (Lxc, Action::Start) => "vzstart",
        (Lxc, Action::Stop) => "vzstop",
        (Lxc, Action::Shutdown) => "vzshutdown",
        (Lxc, Action::Reboot | Action::Reset) => "vzreboot",
        (Lxc, Action::Suspend) => "vzsuspend",
        (Lxc, Action::Resume) => "vzresume",
    }
}

/// The task of an action, as it stands when it begins.
#[expect(clippy::too_many_arguments, reason = "one guest, one action and its options")]
pub(crate) fn plan(
    estate: &Estate,
    home: Home,
    node: usize,
    vmid: u32,
    kind: GuestKind,
    action: Action,
    timeout: Option<i64>,
    force: bool,
) -> Plan {
    let name = task_type(kind, action);
    let fail = |cause: String| Plan::new(name, vmid, 60.0, move |_| Outcome::fail(cause));
    let Home::Pve(at) = home else { return fail("no such guest".to_owned()) };
    let cluster = &estate.clusters[at];
    let Some(guest) = cluster.guest_on(vmid, kind, node) else {
        return fail(missing(&cluster.nodes[node].name, kind, vmid));
    };
    if let Some(lock) = guest.lock()
        && !(action == Action::Stop && lock == "backup")
    {
        return fail(format!("{} is locked ({lock})", kind.short()));
    }
    let short = kind.short();
    let running = guest.running();
    let set = move |power: Power| {
        move |estate: &mut Estate| {
            let now = estate.now;
            if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
                match power {
                    Power::Running if guest.power == Power::Stopped => guest.starts(now),
                    Power::Stopped => guest.stops(),
                    power => guest.power = power,
                }
            }
            Outcome::ok()
        }
    };
    match action {
        Action::Start if guest.template() => {
            fail("you can't start a vm if it's a template".to_owned())
        }
        Action::Start if running => fail(match kind {
            Qemu => format!("VM {vmid} already running"),
            Lxc => format!("CT {vmid} already running"),
        }),
        Action::Start => {
            if let Quirk::StartFails(lines) = &guest.quirk {
                let mut lines = lines.clone();
                let cause = lines.pop().unwrap_or_default();
                let end = move |_: &mut Estate| Outcome::fail(cause);
                return Plan::new(name, vmid, 1200.0, end).lines(lines);
            }
            Plan::new(name, vmid, 1300.0, set(Power::Running))
        }
        Action::Stop if !running && kind == Lxc => fail(format!("CT {vmid} not running")),
        Action::Stop => Plan::new(name, vmid, 700.0, set(Power::Stopped)),
        _ if !running => fail(format!("{short} {vmid} not running")),
        Action::Shutdown | Action::Reboot if guest.quirk == Quirk::IgnoresShutdown && running => {
            let seconds = timeout.unwrap_or(60).clamp(1, 600);
            // At demo pace nobody wants to wait the whole minute.
            let ms = (seconds as f64 * 1000.0).min(20_000.0);
            let line = format!(
                "QEMU Guest Agent is not running - VM {vmid} qga command 'guest-ping' failed - got timeout"
            );
            let end = move |estate: &mut Estate| {
                if force {
                    let mut outcome = set(Power::Stopped)(estate);
                    outcome
                        .lines
                        .push("VM still running - terminating now with SIGTERM".to_owned());
                    return outcome;
                }
                Outcome::fail("VM quit/powerdown failed - got timeout")
            };
            Plan::new(name, vmid, ms, end).lines(vec![line])
        }
        Action::Shutdown => Plan::new(name, vmid, 3000.0, set(Power::Stopped)),
        Action::Reboot | Action::Reset => {
            let ms = if action == Action::Reset { 200.0 } else { 4000.0 };
            Plan::new(name, vmid, ms, move |estate: &mut Estate| {
                let now = estate.now;
                if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
                    if action == Action::Reboot {
                        guest.stops();
                    }
                    guest.starts(now);
                }
                Outcome::ok()
            })
        }
        Action::Suspend => Plan::new(name, vmid, 300.0, set(Power::Paused)),
        Action::Resume => Plan::new(name, vmid, 300.0, set(Power::Running)),
    }
}

/// Starts or stops all guests of a node, each with a task of its own.
fn all(call: &mut Call<'_>, name: &'static str) -> Answer {
    let (home, node) = (call.pve(), call.node);
    let start = name == "startall";
    let wanted: Option<Vec<u32>> = call
        .text("vms")
        .map(|list| list.split([',', ';', ' ']).filter_map(|vmid| vmid.parse().ok()).collect());
    let guests: Vec<(u32, GuestKind)> = call
        .cluster()
        .guests
        .values()
        .filter(|guest| guest.node == node && guest.running() != start && !guest.template())
        .filter(|guest| wanted.as_ref().is_none_or(|wanted| wanted.contains(&guest.vmid)))
        .filter(|guest| !start || guest.flag("onboot"))
        .map(|guest| (guest.vmid, guest.kind))
        .collect();
    let user = call.who.to_string();
    let action = if start { Action::Start } else { Action::Shutdown };
    let lines = guests
        .iter()
        .map(|(vmid, kind)| format!("{} {} {vmid}", action.word(), kind.short()))
        .collect();
    let by = user.clone();
    let plan = Plan::new(name, "", 2000.0, move |estate| {
        for (vmid, kind) in guests {
            let plan = plan(estate, home, node, vmid, kind, action, None, false);
            estate.start_task(home, node, &by, plan);
        }
        Outcome::ok()
    });
    let upid = call.estate.start_task(home, node, &user, plan.lines(lines));
    data(json!(upid))
}
