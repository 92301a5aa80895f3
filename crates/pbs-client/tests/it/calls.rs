//! The table: every builder with a sample call, its place in the schema, and for recorded replies
//! what they hold.

use estate::{DatastoreName, Upid};
use jiff::Timestamp;
use pbs_client::{
    access, datastores, groups,
    groups::{BackupType, GroupRef},
    jobs,
    jobs::JobKind,
    namespaces, node, notifications,
    notifications::TargetKind,
    remotes, snapshots,
    snapshots::{SnapshotRef, VerifyState},
    tasks, traffic, version,
};

use testkit::calls::{Case, case, checked};

fn store() -> DatastoreName {
    "lab".parse().expect("a datastore's name")
}

fn group() -> GroupRef {
    GroupRef::new(BackupType::Vm, "100").in_namespace("lab")
}

fn snapshot() -> SnapshotRef {
    let time = Timestamp::from_second(1_795_369_929).expect("a time");
    SnapshotRef { group: group(), time }
}

fn upid() -> Upid {
    "UPID:vm:00000753:0004E502:00000008:6B032BCA:backup:lab\\x3ahost-secret:lab@pbs!ci:"
        .parse()
        .expect("a UPID")
}

/// Every builder, by module.
pub(crate) fn all() -> Vec<Case> {
    [stores(), backups(), all_jobs(), others(), the_node(), told(), access_control()]
        .into_iter()
        .flatten()
        .collect()
}

fn stores() -> Vec<Case> {
    let s = &store();
    vec![
        checked("/admin/datastore", datastores::list(), |stores| {
            let lab: &datastores::Datastore = &stores[1];
            assert_eq!((lab.name.as_str(), lab.comment.as_deref()), ("lab", Some("lab datastore")));
            assert_eq!(lab.mount_status, Some(datastores::MountStatus::NonRemovable));
        }),
        checked("/status/datastore-usage", datastores::usage(), |stores| {
            let lab: &datastores::DatastoreUsage = &stores[0];
            assert_eq!(
                (lab.total_bytes, lab.history_step_secs),
                (Some(270_553_174_016), Some(1800))
            );
            assert_eq!(lab.history[0], None);
            assert!(stores[1].gc.as_ref().is_some_and(|gc| gc.upid.is_none()));
        }),
        checked("/admin/datastore/{store}/status", datastores::status(s, true), |status| {
            assert_eq!(status.total_bytes, 270_553_174_016);
        }),
        checked(
            "/admin/datastore/{store}/active-operations",
            datastores::active_operations(s),
            |now| {
                assert_eq!((now.read, now.write), (0, 0));
            },
        ),
        checked("/admin/datastore/{store}/rrd", datastores::rrd(s, "hour"), |points| {
            let point: &datastores::DatastorePoint = &points[0];
            assert_eq!(point.time.map(Timestamp::as_second), Some(1_795_369_860));
            assert!(point.reads_per_sec.is_some_and(|reads| reads > 137.0));
        }),
        checked("/admin/gc", datastores::gc_statuses(), |all| {
            let never: &datastores::GcStatus = &all[1];
            assert!(never.upid.is_none() && never.dedup_factor().is_none());
        }),
        checked("/admin/datastore/{store}/gc", datastores::gc_status(s), |gc| {
            assert_eq!((gc.last_state.as_deref(), gc.disk_chunks), (Some("OK"), 12));
            assert!(gc.dedup_factor().is_some_and(|factor| factor > 2.7 && factor < 2.8));
        }),
        case("/admin/datastore/{store}/gc", datastores::start_gc(s)),
        case(
            "/admin/datastore/{store}/verify",
            datastores::verify(s, datastores::VerifyParams::default()),
        )
        .takes(datastores::VerifyParams::NAMES),
        case(
            "/admin/datastore/{store}/prune-datastore",
            datastores::prune(s, datastores::PruneDatastoreParams::default()),
        )
        .takes(datastores::PruneDatastoreParams::NAMES)
        .takes(datastores::Keep::NAMES),
        checked("/config/datastore", datastores::configs(), |configs| {
            let lab: &datastores::DatastoreConfig = &configs[0];
            assert_eq!(
                (lab.path.as_str(), lab.gc_schedule.as_deref()),
                ("/mnt/datastore/store", Some("sun 03:00"))
            );
        }),
        case("/config/datastore/{name}", datastores::config(s)),
        case(
            "/config/datastore/{name}",
            datastores::update_config(s, datastores::DatastoreParams::default()),
        )
        .takes(datastores::DatastoreParams::NAMES),
        checked(
            "/admin/datastore/{store}/namespace",
            namespaces::list(s, Some("prod"), Some(2)),
            |namespaces| {
                let names: Vec<_> = namespaces.iter().map(|ns| ns.name.as_str()).collect();
                assert_eq!(names, ["", "prod", "prod/db"]);
            },
        ),
        case("/admin/datastore/{store}/namespace", namespaces::create(s, Some("prod"), "web")),
        case("/admin/datastore/{store}/namespace", namespaces::delete(s, "prod/web", true)),
    ]
}

fn backups() -> Vec<Case> {
    let (s, g, t) = (&store(), &group(), &snapshot());
    vec![
        checked("/admin/datastore/{store}/groups", groups::list(s, Some("lab")), |groups| {
            let group: &groups::Group = &groups[0];
            assert_eq!(
                (&group.backup_type, group.count, group.files.len()),
                (&BackupType::Vm, 3, 3)
            );
            assert_eq!(group.last_backup.map(Timestamp::as_second), Some(1_795_369_929));
        }),
        case("/admin/datastore/{store}/group-notes", groups::notes(s, g)),
        case("/admin/datastore/{store}/group-notes", groups::set_notes(s, g, "text")),
        checked(
            "/admin/datastore/{store}/prune",
            groups::prune(s, g, groups::PruneGroupParams::default()),
            |marks| {
                let mark: &groups::PruneMark = &marks[0];
                assert_eq!(
                    (mark.keep, mark.protected, mark.backup_id.as_str()),
                    (false, false, "100")
                );
            },
        )
        .takes(groups::PruneGroupParams::NAMES)
        .takes(datastores::Keep::NAMES),
        case(
            "/admin/datastore/{store}/prune",
            groups::prune_task(s, g, groups::PruneGroupParams::default()),
        )
        .another_reply(),
        case("/admin/datastore/{store}/groups", groups::delete(s, g)),
        case("/admin/datastore/{store}/change-owner", groups::change_owner(s, g, "lab@pbs")),
        checked(
            "/admin/datastore/{store}/snapshots",
            snapshots::list(s, Some("lab")),
            |snapshots| {
                let snapshot: &snapshots::Snapshot = &snapshots[0];
                assert_eq!(
                    snapshot.verification.as_ref().map(|v| &v.state),
                    Some(&VerifyState::Ok)
                );
                assert_eq!((snapshot.size_bytes, snapshot.files.len()), (Some(12_583_405), 3));
                assert_eq!(
                    snapshot.reference("prod").to_string(),
                    "prod:vm/100/2026-11-22T17:52:06Z"
                );
            },
        ),
        case("/admin/datastore/{store}/snapshots", snapshots::of_group(s, g)),
        checked("/admin/datastore/{store}/files", snapshots::files(s, t), |files| {
            let file: &snapshots::SnapshotFile = &files[0];
            assert_eq!(
                (file.name.as_str(), file.crypt_mode.as_deref()),
                ("drive-scsi0.img.fidx", Some("none"))
            );
        }),
        case("/admin/datastore/{store}/notes", snapshots::notes(s, t)),
        case("/admin/datastore/{store}/notes", snapshots::set_notes(s, t, "text")),
        checked("/admin/datastore/{store}/protected", snapshots::protected(s, t), |protected| {
            assert!(!protected);
        }),
        case("/admin/datastore/{store}/protected", snapshots::set_protected(s, t, true)),
        case("/admin/datastore/{store}/snapshots", snapshots::delete(s, t)),
        case("/admin/datastore/{store}/catalog", snapshots::catalog(s, t, "/")),
        case("/admin/datastore/{store}/pxar-file-download", snapshots::file(s, t, "L2V0Yw==")),
    ]
}

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The least that a new prune job takes.
fn settings() -> api_core::Params {
    let mut settings = api_core::Params::new();
    settings.push("store", "main");
    settings.push("schedule", "daily");
    settings
}

fn all_jobs() -> Vec<Case> {
    let s = &store();
    vec![
        checked("/admin/sync", jobs::sync_jobs(Some(s)), |jobs| {
            let job: &jobs::SyncJob = &jobs[0];
            assert_eq!((job.remote.as_deref(), job.datastore.as_str()), (Some("self"), "lab2"));
            assert_eq!(job.next_run.map(Timestamp::as_second), Some(1_795_924_800));
        }),
        checked("/admin/verify", jobs::verify_jobs(Some(s)), |jobs| {
            let job: &jobs::VerifyJob = &jobs[0];
            assert_eq!((job.id.as_str(), job.schedule.as_deref()), ("lab-weekly", Some("weekly")));
        }),
        checked("/admin/prune", jobs::prune_jobs(Some(s)), |jobs| {
            let job: &jobs::PruneJob = &jobs[0];
            assert_eq!((job.keep_daily, job.keep_last, job.disabled), (Some(7), Some(3), false));
        }),
        case("/config/tape-backup-job", jobs::tape_backup_jobs()),
        case("/config/sync/{id}", jobs::sync_job("selfsync")),
        case("/config/verify/{id}", jobs::verify_job("lab-weekly")),
        case("/config/prune/{id}", jobs::prune_job("lab-daily")),
        case("/admin/sync/{id}/run", jobs::run(&JobKind::Sync, "selfsync")),
        case("/admin/verify/{id}/run", jobs::run(&JobKind::Verify, "lab-weekly")),
        case("/admin/prune/{id}/run", jobs::run(&JobKind::Prune, "lab-daily")),
        case(
            "/config/sync",
            jobs::create_sync_job(
                "s",
                jobs::SyncJobParams {
                    datastore: Some(store()),
                    remote_datastore: Some("main".to_owned()),
                    ..Default::default()
                },
            ),
        )
        .takes(jobs::SyncJobParams::NAMES),
        case("/config/sync/{id}", jobs::update_sync_job("s", jobs::SyncJobParams::default()))
            .takes(jobs::SyncJobParams::NAMES),
        case(
            "/config/verify",
            jobs::create_verify_job(
                "v",
                jobs::VerifyJobParams { datastore: Some(store()), ..Default::default() },
            ),
        )
        .takes(jobs::VerifyJobParams::NAMES),
        case("/config/verify/{id}", jobs::update_verify_job("v", jobs::VerifyJobParams::default()))
            .takes(jobs::VerifyJobParams::NAMES),
        case(
            "/config/prune",
            jobs::create_prune_job(
                "p",
                jobs::PruneJobParams {
                    datastore: Some(store()),
                    schedule: Some("daily".to_owned()),
                    ..Default::default()
                },
            ),
        )
        .takes(jobs::PruneJobParams::NAMES)
        .takes(datastores::Keep::NAMES),
        case("/config/prune/{id}", jobs::update_prune_job("p", jobs::PruneJobParams::default()))
            .takes(jobs::PruneJobParams::NAMES),
        case("/config/prune/{id}", jobs::config(&JobKind::Prune, "p")),
        case("/config/prune", jobs::create(&JobKind::Prune, "p", settings())),
        case(
            "/config/prune/{id}",
            jobs::update(&JobKind::Prune, "p", settings(), &["comment".to_owned()], Some(DIGEST)),
        ),
        case("/config/prune/{id}", jobs::delete_as(&JobKind::Prune, "p", Some(DIGEST))),
        case("/config/sync/{id}", jobs::delete(&JobKind::Sync, "s")),
        case("/config/verify/{id}", jobs::delete(&JobKind::Verify, "v")),
        case("/config/prune/{id}", jobs::delete(&JobKind::Prune, "p")),
    ]
}

fn others() -> Vec<Case> {
    let s = &store();
    vec![
        checked("/version", version::get(), |v| {
            assert_eq!((v.version.as_str(), v.release.as_str()), ("4.2", "1"));
            assert!(v.at_least(3, 4) && !v.at_least(4, 3));
        }),
        checked("/ping", version::ping(), |ping| assert!(ping.pong)),
        checked("/config/remote", remotes::list(), |remotes| {
            let remote: &remotes::Remote = &remotes[0];
            assert_eq!((remote.name.as_str(), remote.auth_id.as_str()), ("self", "lab@pbs!ci"));
        }),
        case("/config/remote/{name}", remotes::get("self")),
        case("/config/remote/{name}/scan", remotes::scan("self")),
        case("/config/remote/{name}/scan/{store}/namespaces", remotes::scan_namespaces("self", s)),
        case(
            "/config/remote/{name}/scan/{store}/groups",
            remotes::scan_groups("self", s, Some("prod")),
        ),
        case(
            "/config/remote",
            remotes::create(
                "other",
                remotes::RemoteParams {
                    host: Some("192.0.2.1".to_owned()),
                    auth_id: Some("sync@pbs".to_owned()),
                    password: Some("x".into()),
                    ..Default::default()
                },
            ),
        )
        .takes(remotes::RemoteParams::NAMES),
        case("/config/remote/{name}", remotes::update("other", remotes::RemoteParams::default()))
            .takes(remotes::RemoteParams::NAMES),
        case("/config/remote/{name}", remotes::delete("other")),
        checked("/admin/traffic-control", traffic::current(), |rules| {
            let rule: &traffic::TrafficRule = &rules[0];
            assert_eq!(
                (rule.rate_in.as_deref(), rule.current_in_bytes_per_sec),
                (Some("10 MB"), Some(0))
            );
            assert_eq!(rule.networks, ["192.0.2.0/24"]);
        }),
        case("/config/traffic-control", traffic::list()),
        case("/config/traffic-control/{name}", traffic::get("slow")),
        case(
            "/config/traffic-control",
            traffic::create(
                "slow",
                traffic::TrafficRuleParams {
                    networks: vec!["192.0.2.0/24".to_owned()],
                    ..Default::default()
                },
            ),
        )
        .takes(traffic::TrafficRuleParams::NAMES),
        case(
            "/config/traffic-control/{name}",
            traffic::update("slow", traffic::TrafficRuleParams::default()),
        )
        .takes(traffic::TrafficRuleParams::NAMES),
        case("/config/traffic-control/{name}", traffic::delete("slow")),
        checked("/nodes/{node}/tasks", tasks::list(tasks::TaskListParams::default()), |tasks| {
            let task: &tasks::Task = &tasks[0];
            assert_eq!(
                (task.kind.as_str(), task.id.as_deref()),
                ("reader", Some("lab:host/db1/6B032BCA"))
            );
            assert!(task.outcome().is_some_and(|outcome| outcome.is_success()));
        })
        .takes(tasks::TaskListParams::NAMES),
        checked("/nodes/{node}/tasks/{upid}/status", tasks::status(&upid()), |task| {
            assert_eq!(
                (task.token_name.as_deref(), task.id.as_deref()),
                (Some("ci"), Some("lab:host/secret"))
            );
            assert!(task.outcome().is_some_and(|outcome| outcome.is_success()));
        }),
        checked("/nodes/{node}/tasks/{upid}/log", tasks::log(&upid(), 0, Some(0)), |lines| {
            let line: &tasks::LogLine = &lines[1];
            assert_eq!(line.number, 2);
            assert!(line.text.ends_with("protocol upgrade done"));
        }),
        case("/nodes/{node}/tasks/{upid}", tasks::stop(&upid())),
    ]
}

fn the_node() -> Vec<Case> {
    vec![
        checked("/nodes/{node}/status", node::status(), |status| {
            assert_eq!(status.load, [0.15, 0.25, 0.59]);
            assert_eq!(
                status.root.as_ref().and_then(|root| root.available_bytes),
                Some(56_703_561_728)
            );
        }),
        checked("/nodes/{node}/identity", node::identity(), |identity| {
            assert_eq!(identity.instance_id, "b764a44471de42bcb45438190d3db851");
        }),
        checked("/nodes/{node}/rrd", node::rrd("hour"), |points| {
            let point: &node::NodePoint = &points[0];
            assert_eq!(point.max_memory_bytes, Some(25_276_502_016.0));
        }),
        case("/nodes/{node}/services", node::services()),
        checked("/nodes/{node}/apt/update", node::updates(), |updates| {
            let update: &node::AptUpdate = &updates[0];
            assert_eq!((update.package.as_str(), update.version.as_str()), ("dpkg", "1.21.23"));
        }),
        case("/nodes/{node}/apt/update", node::refresh_updates()),
        checked("/nodes/{node}/certificates/info", node::certificates(), |certificates| {
            let certificate: &node::Certificate = &certificates[0];
            assert_eq!(certificate.names, ["localhost", "vm"]);
            assert_eq!(certificate.not_after.map(Timestamp::as_second), Some(33_331_369_733));
        }),
        checked("/nodes/{node}/subscription", node::subscription(), |subscription| {
            assert_eq!(subscription.status, "notfound");
        }),
        checked("/nodes/{node}/time", node::time(), |time| assert_eq!(time.timezone, "Etc/UTC")),
        case("/nodes/{node}/config", node::config()),
        case("/nodes/{node}/syslog", node::syslog(node::SyslogParams::default()))
            .takes(node::SyslogParams::NAMES),
        case("/nodes/{node}/journal", node::journal(node::JournalParams::default()))
            .takes(node::JournalParams::NAMES),
        case("/nodes/{node}/services/{service}/state", node::service("ssh")),
        case("/nodes/{node}/services/{service}/restart", node::service_action("ssh", "restart")),
        case("/nodes/{node}/apt/versions", node::package_versions()),
        case("/nodes/{node}/disks/smart", node::smart("sda")),
        case("/nodes/{node}/disks/zfs/{name}", node::zfs_pool("tank")),
        case("/nodes/{node}/status", node::power("reboot")),
        checked("/nodes/{node}/network", node::network(), |interfaces| {
            let interface: &node::Interface = &interfaces[0];
            assert_eq!((interface.name.as_str(), interface.kind.as_str()), ("eth0", "eth"));
        }),
        case("/nodes/{node}/network/{iface}", node::interface("lo")),
        checked("/nodes/{node}/dns", node::dns(), |dns| {
            assert_eq!(dns.dns1.as_deref(), Some("10.255.255.53"));
        }),
        case("/nodes/{node}/disks/list", node::disks(true)),
        case("/nodes/{node}/disks/zfs", node::zfs()),
    ]
}

fn told() -> Vec<Case> {
    vec![
        checked("/config/notifications/targets", notifications::targets(), |targets| {
            let target: &notifications::Target = &targets[0];
            assert_eq!(target.kind, TargetKind::Sendmail);
        }),
        case("/config/notifications/targets/{name}/test", notifications::test_target("ops")),
        checked(
            "/config/notifications/endpoints/sendmail",
            notifications::endpoints(&TargetKind::Sendmail),
            |endpoints| {
                let endpoint: &notifications::Endpoint = &endpoints[0];
                assert_eq!(endpoint.mail_to_user, ["root@pam"]);
            },
        ),
        case(
            "/config/notifications/endpoints/sendmail/{name}",
            notifications::endpoint(&TargetKind::Sendmail, "mail-to-root"),
        ),
        case("/config/notifications/endpoints/smtp", notifications::endpoints(&TargetKind::Smtp)),
        case(
            "/config/notifications/endpoints/gotify",
            notifications::endpoints(&TargetKind::Gotify),
        ),
        case(
            "/config/notifications/endpoints/webhook",
            notifications::endpoints(&TargetKind::Webhook),
        ),
        checked("/config/notifications/matchers", notifications::matchers(), |matchers| {
            let matcher: &notifications::Matcher = &matchers[0];
            assert_eq!(
                (matcher.invert, matcher.fields[0].0.as_str()),
                (Some(true), "exact:type=prune")
            );
        }),
        case("/config/notifications/matchers/{name}", notifications::matcher("default-matcher")),
        checked(
            "/config/notifications/matcher-field-values",
            notifications::matcher_field_values(),
            |values| {
                let value: &notifications::MatcherFieldValue = &values[1];
                assert_eq!((value.value.as_str(), &value.comment), ("lab2", &None));
            },
        ),
        case(
            "/config/notifications/endpoints/webhook",
            notifications::create_webhook(
                "ops",
                notifications::WebhookParams {
                    url: Some("https://example.org".to_owned()),
                    method: Some("post".to_owned()),
                    ..Default::default()
                },
            ),
        )
        .takes(notifications::WebhookParams::NAMES),
        case(
            "/config/notifications/endpoints/webhook/{name}",
            notifications::delete_endpoint(&TargetKind::Webhook, "ops"),
        ),
        case(
            "/config/notifications/matchers",
            notifications::create_matcher("ops", notifications::MatcherParams::default()),
        )
        .takes(notifications::MatcherParams::NAMES),
        case("/config/notifications/matchers/{name}", notifications::delete_matcher("ops")),
    ]
}

fn access_control() -> Vec<Case> {
    vec![
        checked(
            "/access/permissions",
            access::permissions(Some("a@pbs!t"), Some("/")),
            |permissions| {
                assert!(permissions["/datastore"]["Datastore.Audit"]);
            },
        )
        .table(),
        checked("/access/users", access::users(true), |users| {
            let user: &access::User = &users[1];
            assert_eq!(
                (user.id.as_str(), user.email.as_deref()),
                ("lab@pbs", Some("lab@example.invalid"))
            );
        }),
        checked("/access/tfa", access::factors(), |users: &Vec<access::UserFactors>| {
            assert!(users.is_empty());
        }),
        case("/access/users/{userid}", access::user("lab@pbs")),
        checked("/access/users/{userid}/token", access::tokens("lab@pbs"), |tokens| {
            assert_eq!(
                (tokens[0].id.as_str(), tokens[0].name.as_deref()),
                ("lab@pbs!ci", Some("ci"))
            );
        }),
        case("/access/users/{userid}/token/{token-name}", access::token("lab@pbs", "ci")),
        checked("/access/roles", access::roles(), |roles| {
            let role: &access::Role = &roles[1];
            assert_eq!((role.id.as_str(), role.privileges.len()), ("RemoteDatastorePowerUser", 3));
        }),
        checked("/access/acl", access::acl(Some("/"), true), |entries| {
            let entry: &access::AclEntry = &entries[0];
            assert_eq!(
                (entry.id.as_str(), entry.kind.as_str(), entry.propagate),
                ("ro@pbs!audit", "user", true)
            );
        }),
        checked("/access/domains", access::realms(), |realms| {
            assert_eq!((realms[1].realm.as_str(), realms[1].default), ("pam", true));
        }),
        case(
            "/access/ticket",
            access::ticket(access::TicketParams {
                username: "root@pam".to_owned(),
                ..Default::default()
            }),
        )
        .takes(access::TicketParams::NAMES),
        case(
            "/access/users",
            access::create_user("a@pbs", Some(&"x".into()), access::UserParams::default()),
        )
        .takes(access::UserParams::NAMES),
        case("/access/users/{userid}", access::update_user("a@pbs", access::UserParams::default()))
            .takes(access::UserParams::NAMES),
        case("/access/users/{userid}", access::delete_user("a@pbs")),
        case(
            "/access/users/{userid}/token/{token-name}",
            access::create_token("a@pbs", "t", access::TokenParams::default()),
        )
        .takes(access::TokenParams::NAMES),
        case(
            "/access/users/{userid}/token/{token-name}",
            access::update_token("a@pbs", "t", access::TokenParams::default()),
        )
        .takes(access::TokenParams::NAMES),
        case("/access/users/{userid}/token/{token-name}", access::regenerate_token("a@pbs", "t")),
        case("/access/users/{userid}/token/{token-name}", access::delete_token("a@pbs", "t")),
        case(
            "/access/acl",
            access::update_acl(access::AclParams {
                path: "/".to_owned(),
                role: "Audit".to_owned(),
                ..Default::default()
            }),
        )
        .takes(access::AclParams::NAMES),
    ]
}
