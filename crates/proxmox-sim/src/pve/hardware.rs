//! A node's disks and what is built on them.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::admin::Zpool;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/disks/list", disks),
    ("GET", "/nodes/{node}/disks/smart", smart),
    ("GET", "/nodes/{node}/disks/zfs", zfs),
    ("GET", "/nodes/{node}/disks/zfs/{name}", zfs_pool),
    ("GET", "/nodes/{node}/disks/lvm", lvm),
    ("GET", "/nodes/{node}/disks/lvmthin", lvmthin),
];

const META: u64 = 8_589_934_592;

fn disks(call: &mut Call<'_>) -> Answer {
    let disks = &call.cluster().nodes[call.node].disks;
    let quick = call.flag("skipsmart") == Some(true);
    let rows = disks.iter().enumerate().map(|(at, (path, model, serial, size, health, left))| {
        let (health, left) =
            if quick { ("UNKNOWN", json!("N/A")) } else { (*health, json!(left)) };
        json!({
            "devpath": path, "model": model, "serial": serial, "size": size, "health": health, "wearout": left,
            "type": if path.contains("nvme") { "nvme" } else { "ssd" }, "gpt": 1, "rpm": 0, "vendor": "unknown",
            "used": if at == 0 { "BIOS boot" } else { "LVM" }, "wwn": format!("eui.{serial}"), "osdid": -1,
            "osdid-list": null, "by_id_link": format!("/dev/disk/by-id/{serial}"),
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn smart(call: &mut Call<'_>) -> Answer {
    let wanted = call.text("disk").unwrap_or_default();
    let disks = &call.cluster().nodes[call.node].disks;
    let found = disks.iter().find(|disk| disk.0 == wanted);
    let disk = found.ok_or_else(|| Fault::internal(format!("disk '{wanted}' does not exist")))?;
    let (health, left) = (disk.4, disk.5);
    if wanted.contains("nvme") {
        return data(json!({
            "health": health, "type": "text", "wearout": left,
            "text": format!(
                "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\nTemperature:                        38 Celsius\nAvailable Spare:                    100%\nAvailable Spare Threshold:          10%\nPercentage Used:                    {}%\nData Units Written:                 41,402,113 [21.1 TB]\nPower On Hours:                     12,071\nUnsafe Shutdowns:                   3\nMedia and Data Integrity Errors:    0\n",
                100 - left
            ),
        }));
    }
    let failed = health == "FAILED";
    let row = |id: u32, name: &str, value: u32, threshold: u32, raw: &str, fail: &str| {
        json!({
            "id": format!("{id:3}"), "name": name, "value": value, "normalized": value, "worst": value, "threshold": threshold,
            "raw": raw, "flags": "PO--CK", "fail": fail,
        })
    };
    let moved = if failed { ("2040", 4, "NOW") } else { ("0", 100, "-") };
    data(json!({
        "health": health, "type": "ata", "wearout": left,
        "attributes": [
            row(5, "Reallocated_Sector_Ct", moved.1, 10, moved.0, moved.2),
            row(9, "Power_On_Hours", 97, 0, "12071", "-"),
            row(197, "Current_Pending_Sector", 100, 0, if failed { "16" } else { "0" }, "-"),
            row(199, "UDMA_CRC_Error_Count", 100, 0, "0", "-"),
            row(202, "Percent_Lifetime_Remain", left, 1, &(100 - left).to_string(), "-"),
        ],
    }))
}

fn lvm(call: &mut Call<'_>) -> Answer {
    let pool = call.cluster().storage("local-lvm");
    let size = pool.map_or(0, |pool| pool.total);
    data(json!({"leaf": 0, "children": [
        {"name": "pve", "size": size + (100_u64 << 30), "free": 16_u64 << 30, "lvcount": 3, "leaf": 0,
         "children": [{"name": "/dev/nvme1n1", "size": size, "free": 16_u64 << 30, "leaf": 1}]},
    ]}))
}

fn lvmthin(call: &mut Call<'_>) -> Answer {
    let pool = call.cluster().storage("local-lvm");
    let (size, used) = pool.map_or((0, 0), |pool| (pool.total, pool.used_on(call.node)));
    let share = call.cluster().nodes[call.node].host.thin_metadata;
    let share = share.unwrap_or(used as f64 / size.max(1) as f64 * 0.2);
    data(json!([{"lv": "data", "vg": "pve", "lv_size": size, "used": used, "metadata_size": META,
        "metadata_used": (META as f64 * share) as u64}]))
}

fn zfs(call: &mut Call<'_>) -> Answer {
    let pools = &call.cluster().nodes[call.node].host.pools;
    data(pools.iter().map(pool_row).collect::<Vec<Value>>())
}

/// A pool's row, in the shape that both products share.
pub(crate) fn pool_row(pool: &Zpool) -> Value {
    json!({
        "name": pool.name, "health": pool.health, "size": pool.size, "alloc": pool.used,
        "free": pool.size - pool.used, "frag": 11, "dedup": 1.0,
    })
}

fn zfs_pool(call: &mut Call<'_>) -> Answer {
    let name = call.arg("name");
    let pools = &call.cluster().nodes[call.node].host.pools;
    let pool = pools.iter().find(|pool| pool.name == name);
    let pool =
        pool.ok_or_else(|| Fault::internal(format!("cannot open '{name}': no such pool")))?;
    data(pool_tree(pool, |flag| json!(i32::from(flag))))
}

/// A pool with its devices; PVE writes switches as numbers.
pub(crate) fn pool_tree(pool: &Zpool, flag: impl Fn(bool) -> Value) -> Value {
    let device = |(name, state): &(&str, &str)| {
        let bad = *state != "ONLINE";
        json!({
            "name": name, "state": state, "read": if bad { 4 } else { 0 }, "write": 0, "cksum": if bad { 17 } else { 0 },
            "msg": if bad { format!("was /dev/{name}") } else { String::new() }, "leaf": flag(true),
        })
    };
    let devices: Vec<Value> = pool.devices.iter().map(device).collect();
    let group = json!({
        "name": pool.group, "state": pool.health, "read": 0, "write": 0, "cksum": 0, "msg": "", "leaf": flag(false),
        "children": devices,
    });
    let mut tree = json!({
        "name": pool.name, "state": pool.health, "leaf": flag(false),
        "scan": "scrub repaired 0B in 00:41:07 with 0 errors on Sun Nov  8 01:05:08 2026",
        "errors": "No known data errors",
        "children": [{
            "name": pool.name, "state": pool.health, "read": 0, "write": 0, "cksum": 0, "msg": "", "leaf": flag(false),
            "children": [group],
        }],
    });
    if pool.health != "ONLINE" {
        tree["status"] = json!(
            "One or more devices has been removed by the administrator. Sufficient replicas exist for the pool to continue functioning in a degraded state."
        );
        tree["action"] = json!(
            "Online the device using zpool online' or replace the device with 'zpool replace'."
        );
    }
    tree
}
