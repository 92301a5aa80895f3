//! The guest agent, and consoles.

use std::time::Duration;

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::console;
use crate::http::{Answer, Fault, data, index};
use crate::state::cluster::Console;
use crate::state::{Guest, GuestKind, Outcome, Plan};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/agent", |_| {
        index(
            "name",
            &[
                "exec",
                "exec-status",
                "get-fsinfo",
                "get-host-name",
                "get-osinfo",
                "info",
                "network-get-interfaces",
                "ping",
            ],
        )
    }),
    ("POST", "/nodes/{node}/qemu/{vmid}/agent/ping", |call| {
        answering(call)?;
        data(json!({"result": {}}))
    }),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/info", |call| {
        answering(call)?;
        data(json!({"result": {"version": "10.0.2", "supported_commands": [
            {"name": "guest-ping", "enabled": true, "success-response": true},
            {"name": "guest-exec", "enabled": true, "success-response": true},
        ]}}))
    }),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", network),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/get-osinfo", |call| {
        answering(call)?;
        data(json!({"result": {
            "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 13 (trixie)", "version": "13 (trixie)",
            "version-id": "13", "machine": "x86_64", "kernel-release": "6.12.48+deb13-amd64", "kernel-version": "#1 SMP",
        }}))
    }),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/get-host-name", |call| {
        let name = answering(call)?.name();
        data(json!({"result": {"host-name": name}}))
    }),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", fsinfo),
    ("POST", "/nodes/{node}/qemu/{vmid}/agent/exec", exec),
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/exec-status", exec_status),
    ("POST", "/nodes/{node}/termproxy", |call| open(call, None, true)),
    ("POST", "/nodes/{node}/qemu/{vmid}/termproxy", |call| open(call, Some(Qemu), true)),
    ("POST", "/nodes/{node}/lxc/{vmid}/termproxy", |call| open(call, Some(Lxc), true)),
    ("POST", "/nodes/{node}/qemu/{vmid}/vncproxy", |call| open(call, Some(Qemu), false)),
    ("POST", "/nodes/{node}/lxc/{vmid}/vncproxy", |call| open(call, Some(Lxc), false)),
    ("GET", "/nodes/{node}/vncwebsocket", socket),
    ("GET", "/nodes/{node}/qemu/{vmid}/vncwebsocket", socket),
    ("GET", "/nodes/{node}/lxc/{vmid}/vncwebsocket", socket),
];

/// The guest, if its agent answers.
fn answering<'a>(call: &'a Call<'_>) -> Result<&'a Guest, Fault> {
    let vmid = call.kind(Qemu)?;
    let guest = &call.cluster().guests[&vmid];
    if !guest.flag("agent") {
        return Err(Fault::internal("No QEMU guest agent configured"));
    }
    if !guest.running() {
        return Err(Fault::internal(format!("VM {vmid} is not running")));
    }
    let is_up = call.estate.now - guest.started >= guest.boot_ms;
    if !guest.agent_answers || !is_up {
        let wait = Duration::from_secs_f64(3.0 / call.estate.speed.max(0.1));
        return Err(Fault::internal("QEMU guest agent is not running").after(wait));
    }
    Ok(guest)
}

fn network(call: &mut Call<'_>) -> Answer {
    let guest = answering(call)?;
    let mac = guest
        .text("net0")
        .and_then(|net| net.split(',').next())
        .and_then(|net| net.split('=').nth(1));
    let mac = mac.unwrap_or_default().to_lowercase();
    let now = call.estate.now;
    let statistics = |seed: u64| {
        json!({
            "rx-bytes": guest.counter(now, seed), "tx-bytes": guest.counter(now, seed + 1), "rx-packets": 10_421, "tx-packets": 9_377,
            "rx-errs": 0, "tx-errs": 0, "rx-dropped": 0, "tx-dropped": 0,
        })
    };
    let own: Vec<Value> = guest
        .addresses
        .iter()
        .map(|address| json!({"ip-address": address, "ip-address-type": "ipv4", "prefix": 24}))
        .chain([json!({"ip-address": "fe80::be24:11ff:fe00:1", "ip-address-type": "ipv6", "prefix": 64})])
        .collect();
    data(json!({"result": [
        {"name": "lo", "hardware-address": "00:00:00:00:00:00", "statistics": statistics(5), "ip-addresses": [
            {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8},
            {"ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128},
        ]},
        {"name": "eth0", "hardware-address": mac, "statistics": statistics(1), "ip-addresses": own},
    ]}))
}

fn fsinfo(call: &mut Call<'_>) -> Answer {
    let guest = answering(call)?;
    let total = guest.maxdisk();
    data(json!({"result": [
        {"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": total, "used-bytes": guest.disk_used,
         "disk": [{"bus": 0, "target": 0, "unit": 0, "bus-type": "scsi", "dev": "/dev/sda1", "serial": "0QEMU_QEMU_HARDDISK_drive-scsi0",
                   "pci-controller": {"bus": 1, "domain": 0, "function": 0, "slot": 1}}]},
        {"name": "sda15", "mountpoint": "/boot/efi", "type": "vfat", "total-bytes": 129_751_552, "used-bytes": 9_134_080, "disk": []},
    ]}))
}

fn exec(call: &mut Call<'_>) -> Answer {
    let vmid = answering(call)?.vmid;
    let command: Vec<String> = match call.params.get("command") {
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let line = command.join(" ");
    let input = call.text("input-data").unwrap_or_default().to_owned();
    let (out, code) = match command.first().map(String::as_str) {
        Some("cat") => (input, 0),
        // Never ends.
        Some("sleep") => (String::new(), -1),
        Some("yes") => ("y\n".repeat(20_000), 0),
        Some("false") => (String::new(), 1),
        Some("hostname") => (format!("{}\n", answering(call)?.name()), 0),
        Some("echo") => (format!("{}\n", command[1..].join(" ")), 0),
        Some("uptime") => {
            (" 10:00:00 up 12 days,  1 user,  load average: 0.12, 0.09, 0.08\n".to_owned(), 0)
        }
        _ if line.contains("/nonexistent") => {
            return Err(Fault::internal(
                "Agent error: Guest agent command failed, error was 'Failed to execute child process'",
            ));
        }
        _ => (format!("ran: {line}\n"), 0),
    };
    let pid = 2000 + call.estate.now % 30_000;
    if let Some(guest) = call.cluster_mut().guests.get_mut(&vmid) {
        guest.programs.push((pid, out, code));
    }
    data(json!({"pid": pid}))
}

fn exec_status(call: &mut Call<'_>) -> Answer {
    let pid = call.int("pid").unwrap_or(0);
    let guest = answering(call)?;
    let found = guest.programs.iter().find(|program| program.0 == pid);
    let Some((_, out, code)) = found else {
        return Err(Fault::internal(format!(
            "Agent error: Invalid parameter 'pid': PID {pid} does not exist"
        )));
    };
    if *code < 0 {
        return data(json!({"exited": 0}));
    }
    let mut status = json!({"exited": 1, "exitcode": code});
    if !out.is_empty() {
        status["out-data"] = json!(out);
    }
    if *code != 0 {
        status["err-data"] = json!("exit status 1\n");
    }
    data(status)
}

fn open(call: &mut Call<'_>, kind: Option<GuestKind>, shell: bool) -> Answer {
    if let Some(kind) = kind {
        let vmid = call.kind(kind)?;
        let guest = &call.cluster().guests[&vmid];
        let serial = match call.text("serial") {
            Some(port) => guest.config.contains_key(port),
            None => guest.config.keys().any(|key| key.starts_with("serial")),
        };
        if kind == Qemu
            && shell
            && !serial
            && (call.text("serial").is_some()
                || guest.text("vga").is_none_or(|vga| !vga.starts_with("serial")))
        {
            return Err(Fault::internal("unable to find a serial interface"));
        }
    }
    let now = call.estate.seconds();
    let who = call.who.to_string();
    let (home, node) = (call.pve(), call.node);
    let name = call.cluster().nodes[node].name.clone();
    let guest = kind.map(|_| call.vmid());
    let port = 5900 + (call.cluster().consoles.len() % 100) as u16;
    let seed = format!("{who}{now}{port}{}", call.cluster().access.key);
    let ticket = console::ticket(&seed, now);
    let user = call.who.user.clone();
    let prompt = match guest {
        None => format!("root@{name}:~# "),
        Some(vmid) => {
            let guest = &call.cluster().guests[&vmid];
            format!("{}{} login: ", guest.screen, guest.name())
        }
    };
    let task = match (kind, shell) {
        (None, _) => "vncshell",
        (Some(_), _) => "vncproxy",
    };
    let id = guest.map_or_else(String::new, |vmid| vmid.to_string());
    let plan = Plan::new(task, id, 10_000.0, |_| Outcome::ok());
    let by = who.clone();
    let upid = call.estate.start_task(home, node, &by, plan);
    let screen = guest.map_or(name, |vmid| vmid.to_string());
    let console = Console { who, user: user.clone(), port, shell, prompt, screen, opened: now };
    call.cluster_mut().consoles.insert(ticket.clone(), console);
    let mut reply = json!({"port": port.to_string(), "ticket": ticket, "user": user, "upid": upid});
    if !shell {
        reply["cert"] = json!(call.cluster().nodes[node].pem);
        if call.flag("generate-password") == Some(true) {
            reply["password"] = json!("simvnc01");
        }
    }
    data(reply)
}

/// Checks the console's ticket; the server then upgrades the connection.
fn socket(call: &mut Call<'_>) -> Answer {
    let ticket = call.text("vncticket").unwrap_or_default().to_owned();
    let port = call.int("port").or_else(|| call.text("port")?.parse().ok()).unwrap_or(0);
    let now = call.estate.seconds();
    let who = call.who.to_string();
    let delay = call.auth_delay;
    let found = call.cluster().consoles.get(&ticket).cloned();
    let console = found.filter(|console| {
        console.who == who && i64::from(console.port) == port && now - console.opened <= 40
    });
    let Some(console) = console else {
        return Err(Fault::bare(401, "permission denied - invalid PVEVNC ticket").after(delay));
    };
    call.cluster_mut().consoles.remove(&ticket);
    data(json!({
        "shell": console.shell, "user": console.user, "ticket": ticket, "prompt": console.prompt,
        "screen": console.screen,
    }))
}
