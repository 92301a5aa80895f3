//! Notifications of Proxmox by the webhook body that we ask for, in every type that there is.

use estate::NodeName;
use event_core::{ComponentId, Event};
use expect_test::{Expect, expect};
use inputs::recognize::webhook::{Format, recognize};
use inputs::{Identity, Origin};
use serde_json::{Value, json};

use crate::webhooks::{read, shown};

pub(crate) const RUN: &str = "\
could not back up all guests

Details
=======
VMID    Name       Status    Time     Size       Filename
104     db main    ok        2m 5s    1.5 GiB    vm/104/2026-11-22T01:00:02Z
105     VM 105     err       3s       0 B        null
106     web        todo      0s       0 B        null

Total running time: 2m 8s
Total size: 1.5 GiB

Logs
====
vzdump --mode snapshot --all 1

104: 2026-11-22 01:00:02 INFO: Starting Backup of VM 104 (qemu)
104: 2026-11-22 01:02:07 INFO: Finished Backup of VM 104 (00:02:05)

105: 2026-11-22 01:02:07 INFO: Starting Backup of VM 105 (qemu)
105: 2026-11-22 01:02:10 ERROR: Backup of VM 105 failed - storage 'nas' is not online
";

/// 2026-11-22T01:02:11Z
const SENT: i64 = 1_795_309_331;

fn body(title: &str, message: &str, severity: &str, fields: &Value) -> Vec<Event> {
    let body = json!({
        "title": title, "message": message, "severity": severity, "timestamp": SENT, "fields": fields,
    });
    read(body.to_string().as_bytes(), &Format::Auto)
}

fn check(title: &str, message: &str, severity: &str, fields: &Value, expect: &Expect) {
    expect.assert_eq(&shown(&body(title, message, severity, fields)));
}

#[test]
fn a_run_of_backups() {
    let fields = json!({"type": "vzdump", "hostname": "alder", "job-id": "backup-1f"});
    check(
        "vzdump backup status (alder.lab.example): backup failed ",
        RUN,
        "error",
        &fields,
        &expect![[r#"
            error backup.failed lab/job/backup-1f at 2026-11-22T01:02:11Z
              vzdump backup status (alder.lab.example): backup failed
              on alder
              host: alder
              v1:run:lab:backup-1f:124674
              v1:run:lab:backup-1f:124675
              v1:own:report:834236b5944c08884a64f6076d4cc3d4
            info backup.finished lab/guest/104 at 2026-11-22T01:02:07Z
              backup of guest 104 (db main) finished
              on alder
              archive: vm/104/2026-11-22T01:00:02Z
              bytes: 1610612736
              seconds: 125
              v1:run:lab:backup-1f:124674
              v1:run:lab:backup-1f:124675
              v1:own:report:834236b5944c08884a64f6076d4cc3d4
            error backup.failed lab/guest/105 at 2026-11-22T01:02:10Z
              backup of guest 105 failed: storage 'nas' is not online
              on alder
              bytes: 0
              seconds: 3
              v1:run:lab:backup-1f:124674
              v1:run:lab:backup-1f:124675
              v1:own:report:834236b5944c08884a64f6076d4cc3d4
            error backup.failed lab/guest/106 at 2026-11-22T01:02:11Z
              backup of guest 106 (web) was not begun when the run ended
              on alder
              bytes: 0
              seconds: 0
              v1:run:lab:backup-1f:124674
              v1:run:lab:backup-1f:124675
              v1:own:report:834236b5944c08884a64f6076d4cc3d4
        "#]],
    );
}

#[test]
fn a_run_that_somebody_began_has_no_job() {
    let events = body(
        "vzdump backup status (alder): backup failed",
        RUN,
        "error",
        &json!({"type": "vzdump", "hostname": "alder"}),
    );
    let [first, guests @ ..] = &events[..] else { panic!("no event") };
    assert_eq!(guests.len(), 3);
    for guest in guests {
        assert!(!guest.keys.is_disjoint(&first.keys), "{:?} {:?}", guest.keys, first.keys);
    }
}

#[test]
fn every_type() {
    check(
        "Replication Job: '105-0' failed",
        "Replication job '105-0' with target 'birch' failed.\n\nLast successful sync: 2026-11-21 22:15:00\nNext sync try: 2026-11-22 01:05:00\nFailure count: 2\n\nError:\nno route",
        "error",
        &json!({"type": "replication", "hostname": "alder", "job-id": "105-0"}),
        &expect![[r#"
            error replication.failed lab/guest/105 at 2026-11-22T01:02:11Z
              Replication Job: '105-0' failed
              on alder
              failures: 2
              host: alder
              v1:run:lab:105-0:124674
              v1:run:lab:105-0:124675
        "#]],
    );
    check(
        "Trying to fence node 'birch'",
        "Status: x",
        "error",
        &json!({"type": "fencing", "hostname": "birch"}),
        &expect![[r#"
            critical node.fenced lab/node/birch at 2026-11-22T01:02:11Z
              Trying to fence node 'birch'
              on birch
              host: birch
        "#]],
    );
    check(
        "Successfully fenced node 'birch'",
        "Status: x",
        "error",
        &json!({"type": "fencing", "hostname": "birch"}),
        &expect![[r#"
            notice node.fenced lab/node/birch at 2026-11-22T01:02:11Z
              Successfully fenced node 'birch'
              on birch
              fencing: done
              host: birch
        "#]],
    );
    check(
        "New software packages available (alder)",
        "x",
        "info",
        &json!({"type": "package-updates", "hostname": "alder"}),
        &expect![[r#"
            info updates.available lab/node/alder at 2026-11-22T01:02:11Z
              New software packages available (alder)
              on alder
              host: alder
        "#]],
    );
    check(
        "SMART error (SelfTest) detected on host: alder",
        "The disk /dev/sdb says so.",
        "unknown",
        &json!({"type": "system-mail", "hostname": "alder"}),
        &expect![[r#"
            error disk.failing lab/node/alder at 2026-11-22T01:02:11Z
              SMART error (SelfTest) detected on host: alder
              on alder
              host: alder
        "#]],
    );
    check(
        "Cron <root@alder> x",
        "y",
        "unknown",
        &json!({"type": "system-mail", "hostname": "alder"}),
        &expect![[r#"
            warning system.mail lab/node/alder at 2026-11-22T01:02:11Z
              Cron <root@alder> x
              on alder
              host: alder
        "#]],
    );
    check(
        "Garbage Collect Datastore 'main' successful",
        "Datastore:            main\nTask ID:              UPID:vault:0000AA01:0001BB02:00000003:6B033EDA:garbage_collection:main:root@pam:\nIndex file count:     12\n\nRemoved garbage:      1.5 GiB\nRemoved chunks:       600\nRemoved bad chunks:   0\nPending removals:     12 MiB (in 5 chunks)\nOriginal Data usage:  3 TiB\nOn-Disk usage:        500 GiB (16.28%)\nDeduplication Factor: 6.14\n",
        "info",
        &json!({"type": "gc", "hostname": "vault", "datastore": "main"}),
        &expect![[r#"
            info gc.finished lab/datastore/main at 2026-11-22T01:02:11Z
              Garbage Collect Datastore 'main' successful
              on vault
              bad_chunks: 0
              deduplication: 6.14
              disk_bytes: 536870912000
              host: vault
              original_bytes: 3298534883328
              pending_bytes: 12582912
              removed_bytes: 1610612736
              v1:upid:UPID:vault:0000AA01:0001BB02:00000003:6B033EDA:garbage_collection:main:root@pam:
        "#]],
    );
    check(
        "Verify Datastore 'main' failed",
        "Job ID:    v-1\nDatastore: main\n",
        "error",
        &json!({"type": "verify", "hostname": "vault", "datastore": "main", "job-id": "v-1"}),
        &expect![[r#"
            error verify.failed lab/datastore/main/job/v-1 at 2026-11-22T01:02:11Z
              Verify Datastore 'main' failed
              on vault
              host: vault
              v1:run:lab:v-1:124674
              v1:run:lab:v-1:124675
        "#]],
    );
    check(
        "Verify Datastore 'main' successful",
        "",
        "info",
        &json!({"type": "verification", "hostname": "vault", "datastore": "main", "job-id": "v-1"}),
        &expect![[r#"
            info verify.finished lab/datastore/main/job/v-1 at 2026-11-22T01:02:11Z
              Verify Datastore 'main' successful
              on vault
              host: vault
              v1:run:lab:v-1:124674
              v1:run:lab:v-1:124675
        "#]],
    );
    check(
        "Pruning datastore 'main' successful",
        "",
        "info",
        &json!({"type": "prune", "hostname": "vault", "datastore": "main", "job-id": "p-1"}),
        &expect![[r#"
            info prune.finished lab/datastore/main/job/p-1 at 2026-11-22T01:02:11Z
              Pruning datastore 'main' successful
              on vault
              host: vault
              v1:run:lab:p-1:124674
              v1:run:lab:p-1:124675
        "#]],
    );
    check(
        "Sync remote 'far' datastore 'main' failed",
        "Job ID: s-1\nDatastore: main\nRemote: far\nRemote Store: second\n",
        "error",
        &json!({"type": "sync", "hostname": "vault", "datastore": "main", "job-id": "s-1"}),
        &expect![[r#"
            error sync.failed lab/datastore/main/job/s-1 at 2026-11-22T01:02:11Z
              Sync remote 'far' datastore 'main' failed
              on vault
              host: vault
              remote: far
              remote_store: second
              v1:run:lab:s-1:124674
              v1:run:lab:s-1:124675
        "#]],
    );
    check(
        "Tape Backup 'weekly' datastore 'main' failed",
        "",
        "error",
        &json!({"type": "tape-backup", "hostname": "vault", "datastore": "main", "media-pool": "blue", "job-id": "weekly"}),
        &expect![[r#"
            error tape.failed lab/datastore/main/job/weekly at 2026-11-22T01:02:11Z
              Tape Backup 'weekly' datastore 'main' failed
              on vault
              host: vault
              media_pool: blue
              v1:run:lab:weekly:124674
              v1:run:lab:weekly:124675
        "#]],
    );
    check(
        "Load Media 'T1' request for drive 'lto'",
        "",
        "notice",
        &json!({"type": "tape-load", "hostname": "vault"}),
        &expect![[r#"
            notice tape.wanted lab/node/vault at 2026-11-22T01:02:11Z
              Load Media 'T1' request for drive 'lto'
              on vault
              host: vault
        "#]],
    );
    check(
        "Could not renew certificate",
        "x",
        "info",
        &json!({"type": "acme", "hostname": "vault"}),
        &expect![[r#"
            error certificate.expiring lab/node/vault at 2026-11-22T01:02:11Z
              Could not renew certificate
              on vault
              host: vault
        "#]],
    );
    check(
        "Threshold Exceeded For Datastore 'main'",
        "The datastore has exceeded the configured s3-upload threshold.\n\nLimit: 1 GiB\nValue: 2 GiB\n",
        "warning",
        &json!({"type": "thresholds", "hostname": "vault", "datastore": "main"}),
        &expect![[r#"
            warning threshold.exceeded lab/datastore/main at 2026-11-22T01:02:11Z
              Threshold Exceeded For Datastore 'main'
              on vault
              host: vault
              limit: 1 GiB
              threshold: s3-upload
              value: 2 GiB
        "#]],
    );
    check(
        "Test notification",
        "This is a test.",
        "info",
        &json!({}),
        &expect![[r#"
        info notification.test lab at 2026-11-22T01:02:11Z
          Test notification
    "#]],
    );
    check(
        "Weather report",
        "Rain.",
        "notice",
        &json!({"type": "weather", "hostname": "alder"}),
        &expect![[r#"
            notice other.weather lab/node/alder at 2026-11-22T01:02:11Z
              Weather report
              on alder
              host: alder
        "#]],
    );
}

#[test]
fn the_same_notification_again_is_the_same_event() {
    let fields = json!({"type": "vzdump", "hostname": "alder"});
    let key =
        |message: &str, fields: &Value| body("t", message, "info", fields)[0].source_key.clone();
    assert_eq!(key("a", &fields), key("a", &fields));
    assert_ne!(key("a", &fields), key("b", &fields));
    assert_ne!(key("a", &fields), key("a", &json!({"type": "vzdump", "hostname": "birch"})));
}

#[test]
fn two_clusters_that_say_the_same_at_the_same_moment_are_two() {
    let body = json!({
        "title": "Test notification", "message": "This is a test.", "severity": "info", "timestamp": SENT, "fields": {},
    });
    let source: ComponentId = "hook".parse().unwrap();
    let key = |cluster: &str, node: &str| {
        let (cluster, node) = (cluster.parse().ok(), NodeName::try_new(node).ok());
        let identity = Identity { cluster, node, ..Identity::default() };
        let origin =
            Origin::new(&source, "webhook", &identity, "2026-11-22T01:02:12Z".parse().unwrap());
        recognize(body.to_string().as_bytes(), &Format::Auto, &origin)[0].source_key.clone()
    };
    assert_eq!(key("lab", ""), key("lab", ""));
    assert_ne!(key("lab", ""), key("edge", ""));
    assert_ne!(key("lab", ""), key("lab", "alder"));
}

#[test]
fn a_changed_title_leaves_the_fields() {
    let fields = json!({"type": "gc", "hostname": "vault", "datastore": "main"});
    let events = body("Alles gut", "", "info", &fields);
    assert_eq!(
        (events[0].kind.as_str(), events[0].subject.address().as_str()),
        ("gc.finished", "lab/datastore/main")
    );
}
