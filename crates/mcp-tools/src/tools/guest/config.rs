//! What matters of a guest's configuration, without its secrets.

use api_core::Error;
use estate::{GuestKind, GuestRef, NodeName, VmId};
use pve_client::{
    Client,
    guest::{PendingValue, Properties},
    lxc::{self, LxcConfig},
    qemu::{self, QemuConfig},
};
use serde_json::{Value, json};

use crate::report::{Cell, Report, Table};

/// The configuration in force, and what waits for the next start.
#[derive(Debug)]
pub(super) struct Config {
    kind: Kind,
    pending: Vec<PendingValue>,
}

#[derive(Debug)]
enum Kind {
    Qemu(Box<QemuConfig>),
    Lxc(Box<LxcConfig>),
}

/// Reads it. What waits is a nicety: without it the rest is still told.
pub(super) async fn read(
    client: &Client,
    node: &NodeName,
    kind: GuestKind,
    vmid: VmId,
) -> Result<Config, Error> {
    let (kind, pending) = match kind {
        GuestKind::Qemu => {
            let config = client.call(qemu::current_config(node, vmid));
            let (config, pending) = futures::join!(config, client.call(qemu::pending(node, vmid)));
            (Kind::Qemu(Box::new(config?)), pending)
        }
        GuestKind::Lxc => {
            let config = client.call(lxc::current_config(node, vmid));
            let (config, pending) = futures::join!(config, client.call(lxc::pending(node, vmid)));
            (Kind::Lxc(Box::new(config?)), pending)
        }
    };
    Ok(Config { kind, pending: pending.unwrap_or_default() })
}

impl Config {
    /// Whether the guest agent is turned on.
    pub(super) fn agent_enabled(&self) -> bool {
        match &self.kind {
            Kind::Qemu(config) => config.agent_enabled(),
            Kind::Lxc(_) => false,
        }
    }

    /// Adds it to a report.
    pub(super) fn tell(&self, report: Report, at: &GuestRef) -> Report {
        let report = match &self.kind {
            Kind::Qemu(config) => machine(report, config),
            Kind::Lxc(config) => container(report, config),
        };
        let waiting = self.waiting();
        let report = report.detail("pending", Cell::words(&waiting));
        let (description, protection) = match &self.kind {
            Kind::Qemu(config) => (&config.description, config.protection),
            Kind::Lxc(config) => (&config.description, config.protection),
        };
        let report = report.detail(
            "protection",
            if protection { Some("yes") } else { None }.map_or_else(Cell::none, Cell::text),
        );
        match description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => report.untrusted(format!("description of {at}"), text),
            None => report,
        }
    }

    /// What changes with the next start: `memory=6144`.
    fn waiting(&self) -> Vec<String> {
        let waits = self
            .pending
            .iter()
            .filter(|value| value.pending.is_some() || value.delete.unwrap_or_default() > 0);
        waits
            .map(|value| match &value.pending {
                Some(_) if crate::redaction::is_secret_field(&value.key) => {
                    format!("{}=(hidden)", value.key)
                }
                Some(pending) => format!("{}={}", value.key, plain(pending)),
                None => format!("{} removed", value.key),
            })
            .collect()
    }
}

fn machine(report: Report, config: &QemuConfig) -> Report {
    let cores = config.cores.unwrap_or(1);
    let sockets = config.sockets.unwrap_or(1);
    let cpu = config.cpu.as_deref().unwrap_or("default");
    let memory = config.memory_mib().unwrap_or(512);
    let balloon = match config.balloon_mib {
        Some(0) => ", no ballooning".to_owned(),
        Some(low) if low < memory => format!(", down to {low}"),
        _ => String::new(),
    };
    let firmware = [config.machine.as_deref(), config.bios.as_deref(), config.os_type.as_deref()];
    let firmware: Vec<String> = firmware.into_iter().flatten().map(str::to_owned).collect();
    let report = report
        .detail(
            "cores",
            Cell::with(
                json!({"cores": cores, "sockets": sockets, "type": cpu}),
                format!("{cores} x {sockets} ({cpu})"),
            ),
        )
        .detail("memory", Cell::with(memory << 20, format!("{memory} MiB{balloon}")))
        .detail("system", Cell::words(&firmware))
        .detail("boot", Cell::opt(config.boot.clone()))
        .detail("onboot", yes(config.on_boot))
        .detail("startup", Cell::opt(config.startup.clone()))
        .detail(
            "agent",
            Cell::with(config.agent_enabled(), if config.agent_enabled() { "on" } else { "off" }),
        )
        .detail("hookscript", Cell::opt(config.hookscript.clone()))
        .detail("cloudinit", Cell::words(&cloud_init(config)));
    let mut disks = disk_table();
    let extra = [("efidisk0", &config.efi_disk), ("tpmstate0", &config.tpm_state)];
    let extra = extra.into_iter().filter_map(|(key, disk)| Some((key, disk.as_deref()?)));
    for (key, text) in config.disks().chain(extra).chain(config.unused()) {
        disks.push(disk(key, text));
    }
    let mut nets = net_table();
    for (key, text) in config.nets() {
        let address = key.strip_prefix("net").and_then(|number| {
            let key = format!("ipconfig{number}");
            let (_, text) = config.ip_configs().find(|(name, _)| *name == key)?;
            Some(text.to_owned())
        });
        nets.push(net(key, text, address));
    }
    let mut devices = Table::new("devices", &["device", "what"]);
    for (key, value) in &config.rest {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        if matches!(stem, "hostpci" | "usb" | "serial" | "parallel" | "virtiofs") {
            devices.push(vec![Cell::text(&**key), Cell::text(plain(value))]);
        }
    }
    with_tables(report, [disks, nets, devices])
}

fn container(report: Report, config: &LxcConfig) -> Report {
    let memory = config.memory_mib.unwrap_or(512);
    let swap = config.swap_mib.unwrap_or(512);
    let cores = config.cores.map_or_else(|| "all".to_owned(), |cores| cores.to_string());
    let env = config.env.is_some().then(|| "set (values are not shown)".to_owned());
    let report = report
        .detail("cores", Cell::with(config.cores, cores))
        .detail("memory", Cell::with(memory << 20, format!("{memory} MiB, swap {swap} MiB")))
        .detail("system", Cell::opt(config.os_type.clone()))
        .detail("onboot", yes(config.on_boot))
        .detail("startup", Cell::opt(config.startup.clone()))
        .detail("unprivileged", yes(config.unprivileged))
        .detail("features", Cell::opt(config.features.clone()))
        .detail("hookscript", Cell::opt(config.hookscript.clone()))
        .detail("environment", Cell::opt(env));
    let mut disks = disk_table();
    let root = config.rootfs.as_deref().map(|text| ("rootfs", text));
    for (key, text) in root.into_iter().chain(config.mount_points()).chain(config.unused()) {
        disks.push(disk(key, text));
    }
    let mut nets = net_table();
    for (key, text) in config.nets() {
        nets.push(net(key, text, None));
    }
    with_tables(report, [disks, nets])
}

/// What cloud-init is told, but for what is secret.
fn cloud_init(config: &QemuConfig) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(config.ci_user.as_ref().map(|user| format!("user={user}")));
    told.extend(config.ci_password.as_ref().map(|_| "password set".to_owned()));
    told.extend(config.ssh_keys.as_ref().map(|_| "ssh keys set".to_owned()));
    told.extend(config.ip_configs().map(|(key, text)| format!("{key}:{}", text.replace(',', " "))));
    told.extend(config.ci_custom.as_ref().map(|files| format!("custom={files}")));
    told
}

fn disk_table() -> Table {
    Table::new("disks", &["disk", "volume", "size", "options"])
}

fn disk(key: &str, text: &str) -> Vec<Cell> {
    let properties = Properties::parse(text);
    let volume =
        properties.head.or_else(|| properties.get("file")).or_else(|| properties.get("volume"));
    vec![
        Cell::text(key),
        Cell::opt(volume),
        Cell::opt(properties.size()),
        options(&properties, &["size", "file", "volume"]),
    ]
}

fn net_table() -> Table {
    Table::new("nets", &["net", "bridge", "vlan", "mac", "ip", "options"])
}

fn net(key: &str, text: &str, address: Option<String>) -> Vec<Cell> {
    let properties = Properties::parse(text);
    // A machine's interface is `model=mac`, a container's has `hwaddr`.
    let model = properties.named.iter().find(|(_, value)| value.split(':').count() == 6);
    let mac = properties.get("hwaddr").or_else(|| model.map(|(_, mac)| *mac));
    let ip = [properties.get("ip"), properties.get("ip6")];
    let ip = ip.into_iter().flatten().collect::<Vec<_>>().join(",");
    let ip = address.or_else(|| (!ip.is_empty()).then_some(ip));
    let mut rest = options(&properties, &["bridge", "tag", "hwaddr", "ip", "ip6", "gw", "type"]);
    if let Some((model, mac)) = model.filter(|(name, _)| **name != "hwaddr") {
        // The model is said by its name; its address has a column of its own.
        let pair = format!("{model}={mac}");
        rest.edit(|text| text.replace(&pair, model).into());
    }
    vec![
        Cell::text(key),
        Cell::opt(properties.get("bridge")),
        Cell::opt(properties.get("tag")),
        Cell::opt(mac),
        Cell::opt(ip),
        rest,
    ]
}

fn options(properties: &Properties<'_>, but: &[&str]) -> Cell {
    let rest = properties.named.iter().filter(|(key, _)| !but.contains(*key));
    let rest: Vec<String> = rest.map(|(key, value)| format!("{key}={value}")).collect();
    if rest.is_empty() { Cell::none() } else { Cell::text(rest.join(",")) }
}

fn with_tables(report: Report, tables: impl IntoIterator<Item = Table>) -> Report {
    let tables = tables.into_iter().filter(|table| !table.rows.is_empty());
    tables.fold(report, Report::table)
}

fn yes(set: Option<bool>) -> Cell {
    match set {
        Some(true) => Cell::with(true, "yes"),
        _ => Cell::none(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
