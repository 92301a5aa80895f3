//! What happened before the simulator began: tasks and log lines of the demo estate.

use crate::state::Estate;
use crate::state::task::Past;

/// Fills in the last days.
pub(super) fn fill(estate: &mut Estate) {
    for at in 0..estate.clusters.len() {
        backups(estate, at);
    }
    lab(estate);
    vault(estate);
    for cluster in &mut estate.clusters {
        cluster.tasks.list.sort_by_key(|task| task.start);
    }
    for vault in &mut estate.vaults {
        vault.tasks.list.sort_by_key(|task| task.start);
    }
}

/// The nightly backup runs: one task per node and night, with one guest that failed last time.
fn backups(estate: &mut Estate, at: usize) {
    let now = estate.now;
    let cluster = &mut estate.clusters[at];
    let lab = cluster.key == "lab";
    let night = (now / 86_400_000) * 86_400 + if lab { 3600 } else { 9000 };
    for day in (0..3).rev() {
        for node in 0..cluster.nodes.len() {
            let seconds = 1900 + node as i64 * 240;
            let start = last_start(night, seconds, now / 1000) - 86_400 * day;
            let mut log = vec![format!(
                "INFO: starting new backup job: vzdump --storage vault --mode snapshot --quiet 1{}",
                if lab {
                    " --pool production --notes-template '{{guestname}}'"
                } else {
                    " --all 1 --exclude 105,201"
                }
            )];
            let mut failed = false;
            let guests = cluster.guests.values().filter(|guest| {
                let covered = if lab {
                    guest.pool.as_deref() == Some("production")
                } else {
                    !matches!(guest.vmid, 105 | 201)
                };
                guest.node == node && covered && !(lab && guest.vmid == 114)
            });
            for guest in guests {
                let time =
                    crate::clock::utc(start + i64::from(guest.vmid % 50) * 61, "%Y-%m-%d %H:%M:%S");
                let broken = lab && guest.vmid == 112 && day == 0;
                log.push(format!(
                    "INFO: Starting Backup of VM {} ({})",
                    guest.vmid,
                    guest.kind.word()
                ));
                log.push(format!("INFO: Backup started at {time}"));
                log.push(format!("INFO: status = {}", guest.status()));
                log.push(format!("INFO: {} Name: {}", guest.kind.short(), guest.name()));
                if broken {
                    failed = true;
                    log.push("ERROR: job failed with err -5 - Input/output error".to_owned());
                    log.push("INFO: aborting backup job".to_owned());
                    log.push(format!("ERROR: Backup of VM {} failed - job failed with err -5 - Input/output error", guest.vmid));
                    log.push(format!("INFO: Failed at {time}"));
                } else {
                    log.push(format!(
                        "INFO: Finished Backup of VM {} (00:01:0{})",
                        guest.vmid,
                        guest.vmid % 10
                    ));
                }
            }
            log.push(format!(
                "INFO: Backup job finished {}",
                if failed { "with errors" } else { "successfully" }
            ));
            let (name, booted) = (cluster.nodes[node].name.clone(), cluster.nodes[node].booted);
            cluster.tasks.past(Past {
                node: &name,
                booted,
                kind: "vzdump",
                id: "",
                user: "root@pam",
                start,
                seconds,
                status: if failed { "job errors" } else { "OK" },
                log,
            });
        }
    }
}

/// When the last daily run began that is over by `now`; so it ended less than a day ago, at every
/// hour. One that would end within minutes began a little early, or it would be a day old to those
/// who ask a moment later.
fn last_start(today: i64, seconds: i64, now: i64) -> i64 {
    const NEARLY: i64 = 600;
    let left = today + seconds - now;
    match left {
        ..=0 => today,
        1..=NEARLY => now - seconds,
        _ => today - 86_400,
    }
}

/// Node, type, id, user, seconds ago, seconds taken, status, log.
type Row = (
    usize,
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
    &'static [&'static str],
);

fn lab(estate: &mut Estate) {
    let now = estate.now / 1000;
    let Some(cluster) = estate.clusters.first_mut() else { return };
    let rows: &[Row] = &[
        (0, "aptupdate", "", "root@pam", 30_000, 9, "OK", &["starting apt-get update"]),
        (
            1,
            "aptupdate",
            "",
            "root@pam",
            30_300,
            11,
            "WARNINGS: 1",
            &[
                "starting apt-get update",
                "WARN: repository 'enterprise' is configured but there is no subscription",
            ],
        ),
        (
            2,
            "qmstart",
            "108",
            "anna@pve",
            26_000,
            3,
            "start failed: QEMU exited with code 1",
            &[
                "kvm: -device vfio-pci,host=0000:01:00.0,id=hostpci0,bus=ich9-pcie-port-1,addr=0x0: vfio 0000:01:00.0: failed to open /dev/vfio/17: Device or resource busy",
            ],
        ),
        (
            0,
            "qmsnapshot",
            "109",
            "root@pam",
            259_200,
            4,
            "OK",
            &["snapshotting 'drive-scsi0' (ceph-vm:vm-109-disk-0)"],
        ),
        (
            1,
            "qmigrate",
            "104",
            "root@pam",
            180_000,
            212,
            "OK",
            &[
                "starting migration of VM 104 to node 'birch' (10.40.0.12)",
                "migration finished successfully (duration 00:03:32)",
            ],
        ),
        (1, "vzreboot", "137", "root@pam", 90_000, 14, "OK", &[]),
        (0, "qmshutdown", "119", "root@pam", 700_000, 61, "OK", &[]),
        (2, "vncshell", "", "root@pam", 50_000, 840, "OK", &["starting termproxy UPID"]),
        (0, "srvreload", "networking", "root@pam", 400_000, 6, "OK", &[]),
        (
            2,
            "vzstart",
            "141",
            "chris@pve",
            500_000,
            4,
            "startup for container '141' failed",
            &[
                "run_buffer: 571 Script exited with status 1",
                "lxc_init: 845 Failed to run lxc.hook.pre-start for container \"141\"",
            ],
        ),
    ];
    for (node, kind, id, user, ago, seconds, status, log) in rows.iter().copied() {
        let (name, booted) = (cluster.nodes[node].name.clone(), cluster.nodes[node].booted);
        let start = now - ago;
        let log = log.iter().map(|line| (*line).to_owned()).collect();
        let upid = cluster.tasks.past(Past {
            node: &name,
            booted,
            kind,
            id,
            user,
            start,
            seconds,
            status,
            log,
        });
        let failed = status != "OK" && !status.starts_with("WARN");
        cluster.note(start, &name, user, "pvedaemon", 6, &format!("starting task {upid}"));
        cluster.note(
            start + seconds,
            &name,
            user,
            "pvedaemon",
            if failed { 3 } else { 6 },
            &format!("end task {upid} {status}"),
        );
    }
    cluster.note(now - 5_000, "cedar", "", "pvestatd", 4, "status update time (7.412 seconds)");
    cluster.note(now - 600, "alder", "", "pvedaemon", 6, "successful auth for user 'root@pam'");
}

fn vault(estate: &mut Estate) {
    let now = estate.now / 1000;
    let Some(vault) = estate.vaults.first_mut() else { return };
    let (node, booted) = (vault.node.clone(), vault.booted);
    let line = |time: i64, text: &str| {
        format!("{}: {text}", crate::clock::utc(time, "%Y-%m-%dT%H:%M:%S+00:00"))
    };
    let mut backups = Vec::new();
    for backup in &vault.datastores[0].snapshots {
        if backup.time > now - 86_400 {
            let id = format!("main:{}/{}", backup.kind, backup.id);
            backups.push((backup.time, id, backup.owner.clone(), backup.path()));
        }
    }
    for (time, id, owner, path) in backups {
        let log = vec![
            line(
                time,
                &format!(
                    "starting new backup on datastore 'main' from ::ffff:10.40.0.11: \"{path}\""
                ),
            ),
            line(time + 41, "successfully finished backup"),
            line(time + 41, "backup finished successfully"),
        ];
        vault.tasks.past(Past {
            node: &node,
            booted,
            kind: "backup",
            id: &id,
            user: &owner,
            start: time,
            seconds: 42,
            status: "OK",
            log,
        });
    }
    let start = now - 40_812;
    let log = vec![
        line(start, "starting garbage collection on store main"),
        line(start + 800, "Removed garbage: 31 GiB"),
        line(start + 800, "Deduplication factor: 14.21"),
    ];
    let gc = vault.tasks.past(Past {
        node: &node,
        booted,
        kind: "garbage_collection",
        id: "main",
        user: "root@pam",
        start,
        seconds: 812,
        status: "OK",
        log,
    });
    vault.datastores[0].gc.upid = Some(gc.clone());
    vault.datastores[1].gc.upid = Some(gc);
    let start = now - 60_000;
    let log = vec![
        line(start, "verify datastore main"),
        line(
            start + 900,
            "can't verify chunk, load failed - store 'main', unable to load chunk 'b4c1…' - blob too small (0 bytes).",
        ),
        line(start + 900, "verify failed: lab/vm/106"),
        line(start + 3000, "Failed to verify the following snapshots/groups:"),
    ];
    let verify = vault.tasks.past(Past {
        node: &node,
        booted,
        kind: "verificationjob",
        id: "main:main-weekly",
        user: "root@pam",
        start,
        seconds: 3004,
        status: "verification failed - please check the log for details",
        log,
    });
    for backup in &mut vault.datastores[0].snapshots {
        if let Some(verified) = &mut backup.verified {
            verified.1.clone_from(&verify);
        }
    }
    for (kind, id, ago, seconds, status) in [
        ("prunejob", "main:main-daily", 50_000, 3, "OK"),
        ("syncjob", "offsite:main:archive::main-to-archive", 170_000, 5400, "OK"),
        ("logrotate", "access_and_task_log", 70_000, 1, "OK"),
    ] {
        vault.tasks.past(Past {
            node: &node,
            booted,
            kind,
            id,
            user: "root@pam",
            start: now - ago,
            seconds,
            status,
            log: Vec::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_is_over_and_ended_today_at_every_minute() {
        let (today, seconds) = (20_000 * 86_400 + 3600, 2380);
        for minute in 0..1440 {
            let now = 20_000 * 86_400 + minute * 60;
            let ended = last_start(today, seconds, now) + seconds;
            assert!((now - 86_400 + 600..=now).contains(&ended), "at minute {minute}: {ended}");
        }
    }
}
