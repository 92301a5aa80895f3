//! Lines of PVE and PBS, made for these tests in the forms of the catalogue.

use std::fmt::Write as _;

use super::*;
use crate::Identity;
use event_core::ComponentId;
use expect_test::{Expect, expect};
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

fn with<T>(identity: &Identity, run: impl FnOnce(&Origin<'_>) -> T) -> T {
    let source: ComponentId = "syslog".parse().unwrap();
    let received: Timestamp = "2026-11-22T17:55:06Z".parse().unwrap();
    run(&Origin::new(&source, "syslog", identity, received))
}

fn read(line: &str) -> Event {
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    with(&identity, |origin| recognize(line.as_bytes(), origin, "peer/1"))
}

/// One row per line: what it became.
fn check(lines: &[&str], expect: &Expect) {
    let mut shown = String::new();
    for line in lines {
        let event = read(line);
        assert_eq!(event.raw.as_ref().unwrap().text, *line);
        let labels: Vec<String> = event
            .labels
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "program" | "host"))
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        let user = event.subject.user.as_ref().map(|user| format!(" user {user}"));
        let node = event.subject.node.as_ref().map(|node| format!(" on {node}"));
        let _ = writeln!(
            shown,
            "{} {} {}{}{}{}",
            event.severity,
            event.kind,
            event.subject.address(),
            node.unwrap_or_default(),
            user.unwrap_or_default(),
            labels.concat(),
        );
    }
    expect.assert_eq(&shown);
}

fn lines<'a>(program: &str, messages: &[&str], out: &'a mut Vec<String>) -> Vec<&'a str> {
    out.extend(
        messages.iter().map(|message| format!("<30>Nov 22 17:55:05 alder {program}: {message}")),
    );
    out.iter().map(String::as_str).collect()
}

fn of(program: &str, messages: &[&str], expect: &Expect) {
    let mut out = Vec::new();
    check(&lines(program, messages, &mut out), expect);
}

#[test]
fn framings_of_one_line_read_alike() {
    let message =
        "<root@pam> starting task UPID:alder:0000AA01:0001BB02:6B033EDA:qmstart:104:root@pam:";
    let mut kinds = Vec::new();
    for line in [
        format!("<30>Nov 22 17:55:05 alder pvedaemon[1234]: {message}"),
        format!("<30>2026-11-22T17:55:05.999334+00:00 alder pvedaemon[1234]: {message}"),
        format!("<30>1 2026-11-22T17:55:05.999334+00:00 alder pvedaemon 1234 - -  {message}\n"),
        format!(
            "<30>1 2026-11-22T18:55:05.999334+01:00 alder pvedaemon 1234 - - \u{feff}{message}"
        ),
    ] {
        let event = read(&line);
        assert_eq!(event.time.as_second(), 1_795_370_105, "{line}");
        assert_eq!(event.labels["program"], "pvedaemon", "{line}");
        assert_eq!(event.labels["host"], "alder", "{line}");
        assert_eq!(event.title, message, "{line}");
        kinds.push(event.kind);
    }
    // Without any header it is a message all the same.
    kinds.push(read(message).kind);
    assert!(kinds.iter().all(|kind| *kind == Kind::TaskStarted), "{kinds:?}");
}

#[test]
fn tasks() {
    of(
        "pvedaemon[1234]",
        &[
            "<root@pam> starting task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam:",
            "<root@pam> end task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:104:root@pam: OK",
            "<ops@pve!bot> end task UPID:alder:0000AA01:0001BB02:6B033EDA:qmstart:104:ops@pve!bot: start failed: exit code 1",
            "<root@pam> end task UPID:alder:0000AA01:0001BB02:6B033EDA:aptupdate::root@pam: WARNINGS: 2",
            "<root@pam> end task UPID:alder:0000AA01:0001BB02:6B033EDA:qmigrate:104:root@pam: interrupted (ic)",
            "start VM 104: UPID:alder:0000AA01:0001BB02:6B033EDA:qmstart:104:root@pam:",
            "requesting reboot of VM 104: UPID:alder:0000AA01:0001BB02:6B033EDA:qmreboot:104:root@pam:",
            "VM 104 started with PID 4711.",
            "something of UPID:alder:0000AA01:0001BB02:6B033EDA:qmreboot:104:root@pam:",
        ],
        &expect![[r#"
            info backup.started lab/guest/104 on alder user root@pam
            info backup.finished lab/guest/104 on alder user root@pam status=OK
            error task.failed lab/guest/104 on alder user ops@pve!bot status=start failed: exit code 1
            warning task.finished lab/node/alder on alder user root@pam status=WARNINGS: 2
            error task.failed lab/guest/104 on alder user root@pam status=interrupted (ic)
            info task.started lab/guest/104 on alder user root@pam
            info task.started lab/guest/104 on alder user root@pam
            info guest.started lab/guest/104
            info other.syslog.pvedaemon lab
        "#]],
    );
}

#[test]
fn access() {
    of(
        "pvedaemon[1234]",
        &[
            "<root@pam> successful auth for user 'ada@pve'",
            "authentication failure; rhost=::ffff:10.0.0.9 user=ada@pve msg=no such user ('user=x')",
            "openid authentication failure; rhost=10.0.0.9 msg=bad user=x",
            "<root@pam> changed password for user 'ada@pve'",
            "<root@pam> adding node cedar to cluster",
            "<root@pam> deleting node cedar from cluster",
        ],
        &expect![[r#"
            info auth.succeeded lab user ada@pve
            warning auth.failed lab user ada@pve rhost=10.0.0.9
            warning auth.failed lab rhost=10.0.0.9
            notice user.changed lab user ada@pve actor=root@pam
            notice other.cluster.member_added lab/node/cedar on cedar actor=root@pam
            notice other.cluster.member_removed lab/node/cedar on cedar actor=root@pam
        "#]],
    );
    of(
        "proxmox-backup-api[77]",
        &[
            "authentication failure; rhost=[10.0.0.9]:51234 user=ada@pbs msg=invalid credentials",
            "authentication failure; rhost=[fd00::9]:51234 msg=no ticket",
            "authentication failure; rhost=unknown user=x msg=",
            "POST /api2/json/access/ticket: 401 Unauthorized: [client [10.0.0.9]:51234] permission check failed",
            "GET /api2/json/version: 200 OK",
        ],
        &expect![[r#"
            warning auth.failed lab user ada@pbs rhost=10.0.0.9
            warning auth.failed lab rhost=fd00::9
            warning auth.failed lab user x rhost=unknown
            notice other.api.refused lab code=401
            info other.syslog.proxmox_backup_api lab
        "#]],
    );
}

#[test]
fn backups() {
    of(
        "pvescheduler[9]",
        &[
            "INFO: starting new backup job: vzdump --all 1",
            "INFO: Starting Backup of VM 104 (qemu)",
            "INFO: Finished Backup of VM 104 (00:02:05)",
            "ERROR: Backup of VM 105 failed - storage 'nas' is not online",
            "INFO: Backup job finished successfully",
            "INFO: Backup job finished with errors",
            "ERROR: Backup job failed - could not lock",
            "105-0: got unexpected replication job error - no route to host",
            "replication: 105-0 took too long",
            "unresponsive job-worker, killing now: 4711",
        ],
        &expect![[r#"
            info backup.started lab
            info backup.started lab/guest/104
            info backup.finished lab/guest/104 took=00:02:05
            error backup.failed lab/guest/105 cause=storage 'nas' is not online
            info backup.finished lab
            error backup.failed lab
            error backup.failed lab cause=could not lock
            error replication.failed lab/guest/105 cause=no route to host
            warning other.replication.told lab
            warning other.service.job_worker_killed lab
        "#]],
    );
}

#[test]
fn guests() {
    of(
        "qmeventd[12]",
        &[
            "Starting cleanup for 104",
            "Finished cleanup for 104",
            "Restarting VM 104",
            "cleanup failed, terminating pid '4711' with SIGKILL",
            "Starting cleanup for nobody",
        ],
        &expect![[r#"
            notice guest.stopped lab/guest/104
            debug other.guest.cleaned_up lab/guest/104
            info other.guest.restarting lab/guest/104
            warning other.guest.cleanup_failed lab
            info other.syslog.qmeventd lab
        "#]],
    );
}

#[test]
fn the_cluster() {
    of(
        "pmxcfs[800]",
        &[
            "[status] notice: node lost quorum",
            "[status] notice: node has quorum",
            "[dcdb] notice: members: 1/800, 2/801",
            "[dcdb] crit: cannot write the file",
            "[quorum] crit: quorum_dispatch failed: 2",
            "[status] notice: received log",
        ],
        &expect![[r#"
            critical quorum.lost lab
            info quorum.regained lab
            debug other.cluster.members lab
            error other.cluster.filesystem lab group=dcdb
            error other.cluster.filesystem lab group=quorum
            info other.syslog.pmxcfs lab
        "#]],
    );
    of(
        "corosync[801]",
        &[
            "  [TOTEM ] Token has not been received in 2250 ms",
            "  [TOTEM ] A processor failed, forming new configuration: token timed out (3000ms), waiting 3600ms for consensus.",
            "  [TOTEM ] A new membership (1.2a) was formed. Members left: 2",
            "  [TOTEM ] A new membership (1.2b) was formed. Members joined: 2",
            "  [TOTEM ] Retransmit List: 1a 1b",
            "  [QUORUM] This node is within the non-primary component and will NOT provide any services.",
            "  [QUORUM] Members[2]: 1 3",
            "  [KNET  ] link: host: 2 link: 0 is down",
            "  [KNET  ] link: host: 2 link: 0 is up",
        ],
        &expect![[r#"
            warning other.cluster.token_late lab
            warning other.cluster.token_lost lab
            warning other.cluster.membership lab left=2
            notice other.cluster.membership lab
            notice other.cluster.retransmit lab
            critical quorum.lost lab
            debug other.cluster.members lab
            warning link.down lab link=0 peer=2
            info link.up lab link=0 peer=2
        "#]],
    );
}

#[test]
fn high_availability() {
    of(
        "pve-ha-crm[900]",
        &[
            "status change wait_for_quorum => slave",
            "node 'birch': state changed from 'online' => 'unknown'",
            "node 'birch': state changed from 'unknown' => 'fence'",
            "fencing: acknowledged - got agent lock for node 'birch'",
            "node 'birch': state changed from 'unknown' => 'online'",
            "service 'vm:104': state changed from 'started' to 'fence'",
            "service 'vm:104': state changed from 'recovery' to 'started'  (node = cedar)",
            "service 'ct:200': state changed from 'started' to 'error'",
            "service 'vm:104' is in an error state and needs manual intervention",
            "recovering service 'vm:104' from fenced node 'birch' failed, no recovery node found",
            "adding new service 'vm:106' on node 'cedar'",
            "got crm command: migrate vm:104 cedar",
        ],
        &expect![[r#"
            info other.ha.status lab
            error node.offline lab/node/birch on birch state=unknown
            critical node.fenced lab/node/birch on birch state=fence
            notice node.fenced lab/node/birch on birch fencing=done
            info node.online lab/node/birch on birch state=online
            warning ha.error lab/guest/104 service=vm:104 state=fence
            info ha.started lab/guest/104 service=vm:104 state=started
            error ha.error lab/guest/200 service=ct:200 state=error
            error ha.error lab/guest/104 service=vm:104
            critical ha.error lab/guest/104 service=vm:104
            info other.ha.services lab
            info other.ha.command lab
        "#]],
    );
    of(
        "pve-ha-lrm[901]",
        &[
            "status change active => lost_agent_lock",
            "status change wait_for_agent_lock => active",
            "starting service vm:104",
            "service status vm:104 started",
            "service status vm:104 stopped",
            "unable to start service vm:104",
            "watchdog update failed - Broken pipe",
        ],
        &expect![[r#"
            critical ha.error lab
            info other.ha.status lab
            info other.ha.starting lab/guest/104 service=vm:104
            info ha.started lab/guest/104 service=vm:104
            info guest.stopped lab/guest/104 service=vm:104
            error ha.error lab/guest/104 service=vm:104
            critical ha.error lab
        "#]],
    );
}

#[test]
fn daemons() {
    of(
        "pvestatd[70]",
        &[
            "status update time (12.345 seconds)",
            "storage status update error: no route#012to host",
            "qemu status update error: timeout",
            "restarting server after 72 cycles to reduce memory usage",
        ],
        &expect![[r#"
            warning storage.error lab seconds=12.345
            error storage.error lab cause=no route to host
            warning other.service.status_error lab
            debug other.service.restarted lab
        "#]],
    );
    of(
        "proxmox-backup-proxy[71]",
        &[
            "could not notify via target `mail-to-root`: could not connect",
            "send gc notification failed: no such target",
            "notified via target `ops`",
            "queued notification (id=1)",
        ],
        &expect![[r#"
            error notification.failed lab target=mail-to-root
            error notification.failed lab notification=gc
            debug other.notification.sent lab
            debug other.notification.sent lab
        "#]],
    );
}

#[test]
fn what_nobody_knows_is_told_as_it_is() {
    check(
        &[
            "<3>Nov 22 17:55:05 alder kernel: EXT4-fs error (device dm-1): bad block",
            "<165>1 2026-11-22T17:55:05Z alder Über.Prog - - [x@1 a=\"b\"] hello",
            "no header at all",
            "<30>",
            "",
        ],
        &expect![[r#"
            error other.syslog.kernel lab
            notice other.syslog._ber.prog lab
            notice other.syslog.unnamed lab
            notice other.syslog.unnamed lab
            notice other.syslog.unnamed lab
        "#]],
    );
}

#[test]
fn what_a_line_says_of_its_host_is_no_identity() {
    let node = "cedar".parse().ok();
    let identity = Identity { cluster: "lab".parse().ok(), node, ..Identity::default() };
    let line = b"<30>Nov 22 17:55:05 alder kernel: hello";
    let event = with(&identity, |origin| recognize(line, origin, "1"));
    assert_eq!(event.subject.address(), "lab/node/cedar");
    assert_eq!(event.labels["host"], "alder");
    let stranger = with(&Identity::default(), |origin| recognize(line, origin, "1"));
    assert_eq!((stranger.subject.cluster, stranger.subject.node), (None, None));
    assert!(stranger.keys.is_empty());
}

#[test]
fn years_and_zones_come_from_who_receives() {
    let zone = TimeZone::posix("CET-1").unwrap();
    let identity = Identity { zone, ..Identity::default() };
    let source: ComponentId = "syslog".parse().unwrap();
    let at = |received: &str, stamp: &str| {
        let origin = Origin::new(&source, "syslog", &identity, received.parse().unwrap());
        let line = format!("<30>{stamp} alder kernel: x");
        recognize(line.as_bytes(), &origin, "1").time.to_string()
    };
    assert_eq!(at("2027-01-01T00:00:03Z", "Dec 31 23:59:59"), "2026-12-31T22:59:59Z");
    assert_eq!(at("2026-12-31T22:59:59Z", "Jan  1 00:00:01"), "2026-12-31T23:00:01Z");
    assert_eq!(at("2026-11-22T17:55:06Z", "Nov 22 18:55:05"), "2026-11-22T17:55:05Z");
    assert_eq!(at("2029-02-28T23:30:00Z", "Feb 29 00:00:00"), "2028-02-28T23:00:00Z");
    // A date that there is not is no date.
    assert_eq!(at("2026-11-22T17:55:06Z", "Feb 31 00:00:00"), "2026-11-22T17:55:06Z");
}

#[test]
fn reports_of_one_fact_share_a_key() {
    let task = read(
        "<30>Nov 22 17:55:05 alder pvedaemon[1]: <root@pam> end task UPID:alder:0000AA01:0001BB02:6B033EDA:vzdump:105:root@pam: job errors",
    );
    let line = read("<27>Nov 22 17:54:59 alder vzdump[1]: ERROR: Backup of VM 105 failed - x");
    assert!(!task.keys.is_disjoint(&line.keys), "{:?} {:?}", task.keys, line.keys);
    let one = read("<30>Nov 22 17:55:05 alder pmxcfs[1]: [status] notice: node lost quorum");
    let two = read(
        "<30>Nov 22 17:55:05 birch corosync[1]:   [QUORUM] This node is within the non-primary component",
    );
    assert!(!one.keys.is_disjoint(&two.keys));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::syslog_line(&data);
    }

    #[test]
    fn headers(stamp in "([A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9TZ:+.-]{10,30})", rest in "[\\[\\]a-z:<>' =0-9-]{0,60}", level in 0..200_u8) {
        crate::fuzzing::syslog_line(format!("<{level}>{stamp} {rest}").as_bytes());
        crate::fuzzing::syslog_line(format!("<{level}>1 {stamp} {rest}").as_bytes());
    }

    #[test]
    fn messages_of_the_catalogue_with_anything_in_them(at in 0..16_usize, text in "[\\[\\]a-zé:<>' =0-9-]{0,40}") {
        let before = [
            "pvedaemon[1]: <root@pam> end task UPID:", "pvedaemon[1]: authentication failure; ", "pmxcfs[1]: [", "corosync[1]: [KNET ] link: host: ",
            "pve-ha-crm[1]: node '", "pve-ha-crm[1]: service '", "pve-ha-lrm[1]: service status ", "vzdump[1]: ERROR: Backup of VM ",
            "pvestatd[1]: status update time (", "proxmox-backup-api[1]: POST /", "x: could not notify via target ", "x: VM ", "pve-ha-crm: service ",
            "x: send ", "pvescheduler: ", "corosync[1]: [TOTEM ] A new membership",
        ][at];
        crate::fuzzing::syslog_line(format!("<30>Nov 22 17:55:05 alder {before}{text}").as_bytes());
    }
}

#[test]
fn the_machine_under_the_guests() {
    of(
        "kernel",
        &[
            "[53542.948247] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/qemu.slice/104.scope,task=kvm,pid=1234,uid=0",
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/lxc/105,task_memcg=/lxc/105/ns/app.service,task=java,pid=99,uid=100000",
            "oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/system.slice/pveproxy.service,task=pveproxy worker,pid=7,uid=33",
            "oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/qemu.slice/nonsense.scope,task=kvm",
            "[  12.5] blk_update_request: I/O error, dev sdc, sector 4096 op 0x0:(READ) flags 0x80700",
            "I/O error, dev nvme0n1, sector 0 op 0x1:(WRITE)",
            "Kernel panic - not syncing: Fatal exception",
            "[not a clock] Kernel panic - not syncing: x",
            "usb 1-1: new high-speed USB device",
        ],
        &expect![[r#"
            error guest.crashed lab/guest/104 cause=killed by the kernel: out of memory process=kvm
            error other.kernel.out_of_memory lab/guest/105 process=java
            error other.kernel.out_of_memory lab process=pveproxy worker
            error other.kernel.out_of_memory lab process=kvm
            warning disk.failing lab what=sdc
            warning disk.failing lab what=nvme0n1
            critical other.kernel.panic lab
            info other.syslog.kernel lab
            info other.syslog.kernel lab
        "#]],
    );
    of(
        "zed",
        &[
            "eid=7 class=statechange pool='tank' vdev=sdb1 vdev_state=FAULTED",
            "eid=8 class=statechange pool=tank vdev_state=ONLINE",
            "eid=9 class=checksum pool='tank' vdev=sdb1 algorithm=fletcher4 size=4096",
            "eid=10 class=scrub_finish pool='tank'",
            "eid=11 class=statechange",
        ],
        &expect![[r#"
            critical pool.degraded lab device=sdb1 state=FAULTED what=tank
            info pool.restored lab state=ONLINE what=tank
            warning other.pool.errors lab device=sdb1 what=tank
            info other.syslog.zed lab
            info other.syslog.zed lab
        "#]],
    );
    of(
        "smartd",
        &[
            "Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors",
            "Device: /dev/sda [SAT], FAILED SMART self-check. BACK UP DATA NOW!",
            "Device: /dev/nvme0, number of Error Log entries increased from 3 to 4",
            "Device: /dev/sda [SAT], SMART Usage Attribute: 194 Temperature_Celsius changed from 70 to 69",
        ],
        &expect![[r#"
            error disk.failing lab what=sda
            error disk.failing lab what=sda
            info other.syslog.smartd lab
            info other.syslog.smartd lab
        "#]],
    );
}
