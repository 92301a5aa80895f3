//! The table: every builder with a sample call, its place in the schema, and for recorded replies
//! what they hold.

use estate::{NodeName, StorageName, Upid, VmId};
use jiff::Timestamp;
use pve_client::{
    access, agent, cluster,
    cluster::{backup, replication},
    console, disks, fetch, ha, lxc, network, nodes, notifications, pools, qemu, rrd, storage,
    tasks, version, vzdump,
};

use testkit::calls::{Case, case, checked};

pub(crate) fn node() -> NodeName {
    "pve1".parse().expect("a node's name")
}

fn vmid() -> VmId {
    "101".parse().expect("a guest id")
}

fn store() -> StorageName {
    "local".parse().expect("a storage's name")
}

fn upid() -> Upid {
    "UPID:pve1:00000580:00093421:6B033663:qmdestroy:910:root@pam:".parse().expect("a UPID")
}

/// Every builder, by module.
pub(crate) fn all() -> Vec<Case> {
    [
        general(),
        cluster_wide(),
        node_wide(),
        machines(),
        machine_writes(),
        containers(),
        container_writes(),
        agents(),
        storages(),
        access_control(),
        crate::admin::calls(),
        crate::net::calls(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn general() -> Vec<Case> {
    let n = &node();
    vec![
        checked("/version", version::get(), |v: &version::Version| {
            assert_eq!((v.version.as_str(), v.release.as_str()), ("9.2.11", "9.2"));
            assert!(v.at_least(9, 2) && v.at_least(8, 4) && !v.at_least(9, 3));
        }),
        checked("/nodes/{node}/tasks", tasks::list(n, tasks::TaskListParams::default()), |tasks| {
            let task: &tasks::Task = &tasks[0];
            assert_eq!((task.kind.as_str(), task.id.as_deref()), ("qmdestroy", Some("910")));
            assert!(task.outcome().is_some_and(|outcome| outcome.is_success()));
        })
        .takes(tasks::TaskListParams::NAMES),
        checked("/nodes/{node}/tasks/{upid}/status", tasks::status(&upid()), |task| {
            assert_eq!(task.status, tasks::RunState::Stopped);
            assert!(task.outcome().is_some_and(|outcome| outcome.is_success()));
        }),
        checked("/nodes/{node}/tasks/{upid}/log", tasks::log(&upid(), 0, Some(0)), |lines| {
            let line: &tasks::LogLine = &lines[0];
            assert_eq!((line.number, line.text.as_str()), (1, "TASK OK"));
            assert!(!line.is_placeholder());
        }),
        case("/nodes/{node}/tasks/{upid}", tasks::stop(&upid())),
        checked("/pools", pools::list(), |pools| {
            let pool: &pools::Pool = &pools[0];
            assert_eq!((pool.id.as_str(), pool.members.len()), ("lab", 0));
        }),
        checked("/pools/{poolid}", pools::get("lab"), |pool| {
            assert_eq!(pool.members[0].vmid.map(VmId::get), Some(100));
        }),
        case("/pools", pools::get_nested("lab")),
        case("/pools", pools::create("lab", Some("text"))),
        case("/pools", pools::update("lab", pools::PoolParams::default()))
            .takes(pools::PoolParams::NAMES),
        case("/pools", pools::delete("lab")),
        case("/nodes/{node}/vzdump", vzdump::run(n, vzdump::VzdumpParams { ..Default::default() }))
            .takes(vzdump::VzdumpParams::NAMES),
        checked("/nodes/{node}/vzdump/defaults", vzdump::defaults(n, Some(&store())), |defaults| {
            assert_eq!(defaults.mode, vzdump::BackupMode::Snapshot);
            assert_eq!((defaults.lock_wait_mins, defaults.remove), (Some(180), Some(true)));
        }),
        case("/nodes/{node}/vzdump/extractconfig", vzdump::extract_config(n, "local:backup/x")),
        case(
            "/nodes/{node}/rrddata",
            rrd::node(n, &rrd::Timeframe::Hour, Some(&rrd::Consolidation::Max)),
        ),
        case("/nodes/{node}/qemu/{vmid}/rrddata", rrd::qemu(n, vmid(), &rrd::Timeframe::Day, None)),
        case("/nodes/{node}/lxc/{vmid}/rrddata", rrd::lxc(n, vmid(), &rrd::Timeframe::Day, None)),
        case(
            "/nodes/{node}/storage/{storage}/rrddata",
            rrd::storage(n, &store(), &rrd::Timeframe::Day, None),
        ),
    ]
}

fn cluster_wide() -> Vec<Case> {
    let n = &node();
    vec![
        checked("/cluster/status", cluster::status(), |rows| {
            let (lab, first): (&cluster::ClusterStatus, _) = (&rows[0], &rows[1]);
            assert_eq!((&lab.kind, lab.quorate), (&cluster::MemberKind::Cluster, Some(true)));
            assert_eq!(
                (first.name.as_str(), first.online, first.local),
                ("pve1", Some(true), Some(true))
            );
        }),
        checked("/cluster/resources", cluster::resources(None), |rows| {
            let guest: &cluster::Resource =
                rows.iter().find(|row| row.id == "qemu/100").expect("it was there");
            assert_eq!(
                (&guest.kind, guest.vmid.map(VmId::get)),
                (&cluster::ResourceKind::Qemu, Some(100))
            );
            assert_eq!((guest.tags.len(), guest.max_memory_bytes), (2, Some(134_217_728)));
        }),
        case("/cluster/resources", cluster::resources(Some(&cluster::ResourceFilter::Guests))),
        checked("/cluster/tasks", cluster::tasks(), |tasks| {
            let task: &cluster::ClusterTask = &tasks[0];
            assert_eq!((task.saved, task.status.as_deref()), (true, Some("OK")));
            assert_eq!(task.ended.map(Timestamp::as_second), Some(1_795_372_643));
        }),
        checked("/cluster/log", cluster::log(Some(10)), |lines| {
            let line: &cluster::LogEntry = &lines[0];
            assert_eq!((line.priority, line.tag.as_str()), (6, "pvedaemon"));
        }),
        checked("/cluster/nextid", cluster::next_id(Some(vmid())), |id| assert_eq!(id.get(), 103)),
        checked("/cluster/options", cluster::options(), |options| {
            assert_eq!(options.allowed_tags, ["a", "b"]);
            assert!(options.rest.is_empty());
        }),
        case("/cluster/options", cluster::set_options(cluster::ClusterOptionsParams::default()))
            .takes(cluster::ClusterOptionsParams::NAMES),
        case("/cluster/backup", backup::jobs()),
        case("/cluster/backup/{id}", backup::job("daily")),
        case("/cluster/backup", backup::create_job(backup::BackupJobParams::default()))
            .takes(backup::BackupJobParams::NAMES),
        case(
            "/cluster/backup/{id}",
            backup::update_job("daily", backup::BackupJobParams::default(), &["pool"]),
        ),
        case("/cluster/backup/{id}", backup::delete_job("daily")),
        case("/cluster/backup/{id}/included_volumes", backup::included_volumes("daily")),
        checked("/cluster/backup-info/not-backed-up", backup::not_backed_up(), |guests| {
            let guest: &backup::NotBackedUp = guests.last().expect("one at least");
            assert_eq!((guest.vmid.get(), guest.kind), (200, Some(estate::GuestKind::Lxc)));
        }),
        checked(
            "/cluster/jobs/schedule-analyze",
            backup::analyze_schedule("daily", Some(3)),
            |runs| {
                assert_eq!(runs[0].utc, "Mon Nov 23 00:00:00 2026");
            },
        ),
        case("/cluster/replication", replication::jobs()),
        case("/cluster/replication/{id}", replication::job("100-0")),
        case(
            "/cluster/replication",
            replication::create_job("100-0", n, replication::ReplicationParams::default()),
        )
        .takes(replication::ReplicationParams::NAMES),
        case(
            "/cluster/replication/{id}",
            replication::update_job("100-0", replication::ReplicationParams::default()),
        )
        .takes(replication::ReplicationParams::NAMES),
        case("/cluster/replication/{id}", replication::delete_job("100-0", true)),
        case("/nodes/{node}/replication", replication::status(n, Some(vmid()))),
        case("/nodes/{node}/replication/{id}/log", replication::log(n, "100-0", Some(5))),
        case("/nodes/{node}/replication/{id}/schedule_now", replication::schedule_now(n, "100-0")),
        checked("/cluster/ha/status/current", ha::current(), |rows| {
            let row: &ha::HaStatus = &rows[0];
            assert_eq!((&row.kind, row.quorate), (&ha::HaRowKind::Quorum, Some(true)));
            assert_eq!(rows[1].armed_state.as_deref(), Some("standby"));
        }),
        checked("/cluster/ha/status/manager_status", ha::manager_status(), |status| {
            assert!(status.quorum.as_ref().is_some_and(|quorum| quorum.quorate));
        }),
        case("/cluster/ha/resources", ha::resources()),
        case("/cluster/ha/resources/{sid}", ha::resource("vm:101")),
        case("/cluster/ha/resources", ha::add_resource("vm:101", ha::HaResourceParams::default())),
        case(
            "/cluster/ha/resources/{sid}",
            ha::update_resource("vm:101", ha::HaResourceParams::default()),
        )
        .takes(ha::HaResourceParams::NAMES),
        case("/cluster/ha/resources/{sid}", ha::remove_resource("vm:101")),
        case("/cluster/ha/resources/{sid}/migrate", ha::migrate("vm:101", n)),
        case("/cluster/ha/resources/{sid}/relocate", ha::relocate("vm:101", n)),
        case("/cluster/ha/groups", ha::groups()),
        case("/cluster/ha/rules", ha::rules()),
        case("/cluster/ha/rules/{rule}", ha::rule("together")),
        checked("/cluster/notifications/targets", notifications::targets(), |targets| {
            let target: &notifications::Target = &targets[0];
            assert_eq!(target.kind, notifications::TargetKind::Sendmail);
        }),
        case("/cluster/notifications/targets/{name}/test", notifications::test_target("ops")),
        checked(
            "/cluster/notifications/endpoints/sendmail",
            notifications::endpoints(&notifications::TargetKind::Sendmail),
            |endpoints| {
                let endpoint: &notifications::Endpoint = &endpoints[0];
                assert_eq!(endpoint.mail_to_user, ["root@pam"]);
            },
        ),
        case(
            "/cluster/notifications/endpoints/sendmail/{name}",
            notifications::endpoint(&notifications::TargetKind::Sendmail, "mail-to-root"),
        ),
        case(
            "/cluster/notifications/endpoints/smtp",
            notifications::endpoints(&notifications::TargetKind::Smtp),
        ),
        case(
            "/cluster/notifications/endpoints/gotify",
            notifications::endpoints(&notifications::TargetKind::Gotify),
        ),
        case(
            "/cluster/notifications/endpoints/webhook",
            notifications::endpoints(&notifications::TargetKind::Webhook),
        ),
        checked("/cluster/notifications/matchers", notifications::matchers(), |matchers| {
            let matcher: &notifications::Matcher = &matchers[0];
            assert_eq!((matcher.mode.as_deref(), matcher.targets.len()), (Some("all"), 1));
        }),
        case("/cluster/notifications/matchers/{name}", notifications::matcher("default-matcher")),
        checked(
            "/cluster/notifications/matcher-fields",
            notifications::matcher_fields(),
            |fields| {
                assert_eq!(fields[0].name, "type");
            },
        ),
        checked(
            "/cluster/notifications/matcher-field-values",
            notifications::matcher_field_values(),
            |values| assert_eq!(values[0].value, "package-updates"),
        ),
        case(
            "/cluster/notifications/endpoints/webhook",
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
            "/cluster/notifications/endpoints/webhook/{name}",
            notifications::delete_endpoint(&notifications::TargetKind::Webhook, "ops"),
        ),
        case(
            "/cluster/notifications/matchers",
            notifications::create_matcher("ops", notifications::MatcherParams::default()),
        )
        .takes(notifications::MatcherParams::NAMES),
        case("/cluster/notifications/matchers/{name}", notifications::delete_matcher("ops")),
    ]
}

fn node_wide() -> Vec<Case> {
    let n = &node();
    vec![
        case("/nodes/{node}/termproxy", console::termproxy(&console::ConsoleTarget::Node(node()))),
        checked("/nodes", nodes::list(), |nodes| {
            let node: &nodes::Node = &nodes[0];
            assert_eq!((node.node.as_str(), &node.status), ("pve1", &nodes::NodeState::Online));
            assert_eq!(node.max_memory_bytes, Some(25_276_502_016));
        }),
        checked("/nodes/{node}/status", nodes::status(n), |status| {
            assert_eq!(status.load, [0.14, 0.22, 0.98]);
            assert_eq!(status.memory.total_bytes, 25_276_502_016);
            assert!(status.memory.available_bytes.is_some());
            let cpu = status.cpu_info.as_ref().expect("it is there");
            assert_eq!((cpu.cpus, cpu.hvm), (2, false));
        }),
        checked("/nodes/{node}/version", nodes::version(n), |v| assert_eq!(v.release, "9.2")),
        checked("/nodes/{node}/time", nodes::time(n), |time| assert_eq!(time.timezone, "Etc/UTC")),
        checked("/nodes/{node}/dns", nodes::dns(n), |dns| {
            assert_eq!(dns.dns1.as_deref(), Some("10.255.255.53"));
        }),
        checked("/nodes/{node}/subscription", nodes::subscription(n), |subscription| {
            assert_eq!(subscription.status, "notfound");
        }),
        case("/nodes/{node}/config", nodes::config(n)),
        checked("/nodes/{node}/services", nodes::services(n), |services| {
            let service: &nodes::Service = &services[1];
            assert_eq!((service.service.as_str(), service.state.as_str()), ("corosync", "running"));
        }),
        checked(
            "/nodes/{node}/services/{service}/state",
            nodes::service(n, "pveproxy"),
            |service| {
                assert_eq!(service.active_state.as_deref(), Some("active"));
            },
        ),
        case(
            "/nodes/{node}/services/{service}/restart",
            nodes::service_action(n, "pveproxy", "restart"),
        ),
        case("/nodes/{node}/syslog", nodes::syslog(n, nodes::SyslogParams::default()))
            .takes(nodes::SyslogParams::NAMES),
        case("/nodes/{node}/journal", nodes::journal(n, nodes::JournalParams::default()))
            .takes(nodes::JournalParams::NAMES),
        checked("/nodes/{node}/apt/update", nodes::updates(n), |updates| {
            let update: &nodes::AptUpdate = &updates[0];
            assert_eq!(
                (update.package.as_str(), update.origin.as_deref()),
                ("tzdata", Some("Debian"))
            );
        }),
        case("/nodes/{node}/apt/update", nodes::refresh_updates(n, Some(false))),
        case("/nodes/{node}/apt/versions", nodes::package_versions(n)),
        checked("/nodes/{node}/apt/repositories", nodes::repositories(n), |repositories| {
            assert_eq!(repositories.files[0].repositories[0].suites, ["trixie"]);
            assert_eq!(repositories.standard[0].enabled, None);
        }),
        checked("/nodes/{node}/certificates/info", nodes::certificates(n), |certificates| {
            let certificate: &nodes::Certificate = &certificates[1];
            assert_eq!((certificate.names.len(), certificate.key_bits), (5, Some(2048)));
            assert_eq!(certificate.not_after.map(Timestamp::as_second), Some(1_858_357_265));
        }),
        case("/nodes/{node}/status", nodes::power(n, "reboot")),
        case("/nodes/{node}/wakeonlan", nodes::wake(n)),
        checked("/nodes/{node}/network", network::list(n, None), |interfaces| {
            let bridge: &network::Interface = &interfaces[0];
            assert_eq!(
                (&bridge.kind, bridge.cidr.as_deref()),
                (&network::InterfaceKind::Bridge, Some("10.99.0.11/24"))
            );
            assert!(bridge.active && bridge.bridge_ports.is_empty());
        }),
        case("/nodes/{node}/network", network::list(n, Some("any_bridge"))),
        case("/nodes/{node}/network/{iface}", network::get(n, "vmbr0")),
        case(
            "/nodes/{node}/network",
            network::create(
                n,
                "vmbr1",
                &network::InterfaceKind::Bridge,
                network::InterfaceParams::default(),
            ),
        )
        .takes(network::InterfaceParams::NAMES),
        case(
            "/nodes/{node}/network/{iface}",
            network::update(
                n,
                "vmbr1",
                &network::InterfaceKind::Bridge,
                network::InterfaceParams::default(),
                &["comments"],
            ),
        )
        .takes(network::InterfaceParams::NAMES),
        case("/nodes/{node}/network/{iface}", network::delete(n, "vmbr1")),
        case("/nodes/{node}/network", network::apply(n)),
        case("/nodes/{node}/network", network::revert(n)),
        case("/nodes/{node}/disks/list", disks::list(n, true)),
        case("/nodes/{node}/disks/smart", disks::smart(n, "/dev/sda")),
        case("/nodes/{node}/disks/zfs", disks::zfs(n)),
        case("/nodes/{node}/disks/zfs/{name}", disks::zfs_pool(n, "rpool")),
        case("/nodes/{node}/disks/lvm", disks::lvm(n)),
        case("/nodes/{node}/disks/lvmthin", disks::thin_pools(n)),
        case("/nodes/{node}/disks/directory", disks::directories(n)),
    ]
}

fn machines() -> Vec<Case> {
    let (n, id) = (&node(), vmid());
    vec![
        checked("/nodes/{node}/qemu", qemu::list(n, true), |guests| {
            let guest: &qemu::QemuGuest = &guests[1];
            assert_eq!((guest.vmid.get(), guest.template, guest.tags.len()), (101, true, 2));
        }),
        checked("/nodes/{node}/qemu/{vmid}/status/current", qemu::status(n, id), |status| {
            assert_eq!(status.status, pve_client::guest::GuestState::Stopped);
            assert!(status.ha.as_ref().is_some_and(|ha| !ha.managed));
        }),
        checked("/nodes/{node}/qemu/{vmid}/config", qemu::config(n, id), |config| {
            assert_eq!(
                (config.memory_mib(), config.kvm, config.cores),
                (Some(128), Some(false), Some(1))
            );
            assert_eq!((config.nets().count(), config.disks().count()), (1, 1));
            // Nothing but the numbered keys is left without a name.
            assert_eq!(config.rest.len(), 2);
        }),
        case("/nodes/{node}/qemu/{vmid}/config", qemu::current_config(n, id)),
        checked("/nodes/{node}/qemu/{vmid}/pending", qemu::pending(n, id), |values| {
            let value: &pve_client::guest::PendingValue = &values[1];
            assert_eq!(value.value.as_ref().and_then(|v| v.as_str()), Some("clone101"));
        }),
        case("/nodes/{node}/qemu/{vmid}/cloudinit", qemu::cloudinit_pending(n, id)),
        case("/nodes/{node}/qemu/{vmid}/cloudinit/dump", qemu::cloudinit_dump(n, id, "user")),
        checked("/nodes/{node}/qemu/{vmid}/snapshot", qemu::snapshots(n, id), |snapshots| {
            let snapshot: &pve_client::guest::Snapshot = &snapshots[0];
            assert!(snapshot.is_current());
        }),
        checked(
            "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config",
            qemu::snapshot_config(n, id, "before"),
            |config| {
                assert!(config.snapshot_time.is_some());
                assert_eq!(
                    config.rest.keys().map(String::as_str).collect::<Vec<_>>(),
                    ["net0", "scsi0"]
                );
            },
        ),
        checked("/nodes/{node}/qemu/{vmid}/migrate", qemu::migrate_check(n, id, None), |check| {
            assert_eq!(check.local_disks[0].size_bytes, Some(2_147_483_648));
            assert_eq!(check.allowed_nodes[0].as_str(), "pve2");
        }),
        checked("/nodes/{node}/qemu/{vmid}/feature", qemu::feature(n, id, "snapshot"), |feature| {
            assert_eq!((feature.available, feature.nodes.len()), (false, 1));
        }),
    ]
}

fn machine_writes() -> Vec<Case> {
    let (n, id) = (&node(), vmid());
    vec![
        case(
            "/nodes/{node}/qemu/{vmid}/status/start",
            qemu::start(n, id, qemu::QemuStartParams::default()),
        )
        .takes(qemu::QemuStartParams::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/status/shutdown",
            qemu::shutdown(n, id, qemu::QemuShutdownParams::default()),
        )
        .takes(qemu::QemuShutdownParams::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/status/stop",
            qemu::stop(n, id, qemu::QemuStopParams::default()),
        )
        .takes(qemu::QemuStopParams::NAMES),
        case("/nodes/{node}/qemu/{vmid}/status/reboot", qemu::reboot(n, id, Some(5))),
        case("/nodes/{node}/qemu/{vmid}/status/reset", qemu::reset(n, id)),
        case(
            "/nodes/{node}/qemu/{vmid}/status/suspend",
            qemu::suspend(n, id, qemu::QemuSuspendParams::default()),
        )
        .takes(qemu::QemuSuspendParams::NAMES),
        case("/nodes/{node}/qemu/{vmid}/status/resume", qemu::resume(n, id)),
        case("/nodes/{node}/qemu", qemu::create(n, id, qemu::QemuCreateParams::default()))
            .takes(qemu::QemuCreateParams::NAMES)
            .takes(qemu::QemuSettings::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/config",
            qemu::set_config(n, id, qemu::QemuConfigParams::default()),
        )
        .takes(qemu::QemuConfigParams::NAMES)
        .takes(qemu::QemuSettings::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/config",
            qemu::set_config_async(n, id, qemu::QemuConfigParams::default()),
        )
        .takes(qemu::QemuConfigParams::NAMES)
        .takes(qemu::QemuSettings::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/clone",
            qemu::clone(n, id, id, qemu::QemuCloneParams::default()),
        )
        .takes(qemu::QemuCloneParams::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/migrate",
            qemu::migrate(n, id, n, qemu::QemuMigrateParams::default()),
        )
        .takes(qemu::QemuMigrateParams::NAMES),
        case("/nodes/{node}/qemu/{vmid}", qemu::delete(n, id, qemu::QemuDeleteParams::default()))
            .takes(qemu::QemuDeleteParams::NAMES),
        case("/nodes/{node}/qemu/{vmid}/resize", qemu::resize(n, id, "scsi0", "+1G")),
        case(
            "/nodes/{node}/qemu/{vmid}/move_disk",
            qemu::move_disk(n, id, "scsi0", qemu::QemuMoveDiskParams::default()),
        )
        .takes(qemu::QemuMoveDiskParams::NAMES),
        case("/nodes/{node}/qemu/{vmid}/template", qemu::make_template(n, id)),
        case("/nodes/{node}/qemu/{vmid}/unlink", qemu::unlink(n, id, &["scsi1"], true)),
        case("/nodes/{node}/qemu/{vmid}/cloudinit", qemu::regenerate_cloudinit(n, id)),
        case(
            "/nodes/{node}/qemu/{vmid}/snapshot",
            qemu::create_snapshot(n, id, "before", qemu::QemuSnapshotParams::default()),
        )
        .takes(qemu::QemuSnapshotParams::NAMES),
        case(
            "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
            qemu::delete_snapshot(n, id, "before", true),
        ),
        case(
            "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
            qemu::rollback(n, id, "before", Some(true)),
        ),
        case(
            "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config",
            qemu::describe_snapshot(n, id, "before", "text"),
        ),
    ]
}

fn containers() -> Vec<Case> {
    let (n, id) = (&node(), vmid());
    vec![
        checked("/nodes/{node}/lxc", lxc::list(n), |guests| {
            let guest: &lxc::LxcGuest = &guests[0];
            assert_eq!((guest.vmid.get(), guest.max_disk_bytes), (200, Some(1_073_741_824)));
        }),
        checked("/nodes/{node}/lxc/{vmid}/status/current", lxc::status(n, id), |status| {
            assert_eq!(status.name.as_deref(), Some("ct200"));
        }),
        checked("/nodes/{node}/lxc/{vmid}/config", lxc::config(n, id), |config| {
            assert_eq!((config.memory_mib, config.swap_mib), (Some(64), Some(0)));
            assert_eq!((config.nets().count(), config.rest.len()), (1, 1));
        }),
        case("/nodes/{node}/lxc/{vmid}/config", lxc::current_config(n, id)),
        case("/nodes/{node}/lxc/{vmid}/pending", lxc::pending(n, id)),
        case("/nodes/{node}/lxc/{vmid}/interfaces", lxc::interfaces(n, id)),
        case("/nodes/{node}/lxc/{vmid}/snapshot", lxc::snapshots(n, id)),
        case(
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config",
            lxc::snapshot_config(n, id, "before"),
        ),
        checked("/nodes/{node}/lxc/{vmid}/migrate", lxc::migrate_check(n, id, Some(n)), |check| {
            assert_eq!(check.allowed_nodes[0].as_str(), "pve2");
        }),
        case("/nodes/{node}/lxc/{vmid}/feature", lxc::feature(n, id, "clone")),
    ]
}

fn container_writes() -> Vec<Case> {
    let (n, id) = (&node(), vmid());
    vec![
        case("/nodes/{node}/lxc/{vmid}/status/start", lxc::start(n, id)),
        case(
            "/nodes/{node}/lxc/{vmid}/status/shutdown",
            lxc::shutdown(n, id, lxc::LxcShutdownParams::default()),
        )
        .takes(lxc::LxcShutdownParams::NAMES),
        case(
            "/nodes/{node}/lxc/{vmid}/status/stop",
            lxc::stop(n, id, lxc::LxcStopParams::default()),
        )
        .takes(lxc::LxcStopParams::NAMES),
        case("/nodes/{node}/lxc/{vmid}/status/reboot", lxc::reboot(n, id, Some(5))),
        case("/nodes/{node}/lxc/{vmid}/status/suspend", lxc::suspend(n, id)),
        case("/nodes/{node}/lxc/{vmid}/status/resume", lxc::resume(n, id)),
        case(
            "/nodes/{node}/lxc",
            lxc::create(n, id, "local:vztmpl/x", lxc::LxcCreateParams::default()),
        )
        .takes(lxc::LxcCreateParams::NAMES)
        .takes(lxc::LxcSettings::NAMES),
        case(
            "/nodes/{node}/lxc/{vmid}/config",
            lxc::set_config(n, id, lxc::LxcConfigParams::default()),
        )
        .takes(lxc::LxcConfigParams::NAMES)
        .takes(lxc::LxcSettings::NAMES),
        case(
            "/nodes/{node}/lxc/{vmid}/clone",
            lxc::clone(n, id, id, lxc::LxcCloneParams::default()),
        )
        .takes(lxc::LxcCloneParams::NAMES),
        case(
            "/nodes/{node}/lxc/{vmid}/migrate",
            lxc::migrate(n, id, n, lxc::LxcMigrateParams::default()),
        )
        .takes(lxc::LxcMigrateParams::NAMES),
        case("/nodes/{node}/lxc/{vmid}", lxc::delete(n, id, lxc::LxcDeleteParams::default()))
            .takes(lxc::LxcDeleteParams::NAMES),
        case("/nodes/{node}/lxc/{vmid}/resize", lxc::resize(n, id, "rootfs", "+1G")),
        case(
            "/nodes/{node}/lxc/{vmid}/move_volume",
            lxc::move_volume(n, id, "rootfs", lxc::LxcMoveVolumeParams::default()),
        )
        .takes(lxc::LxcMoveVolumeParams::NAMES),
        case("/nodes/{node}/lxc/{vmid}/template", lxc::make_template(n, id)),
        case(
            "/nodes/{node}/lxc/{vmid}/snapshot",
            lxc::create_snapshot(n, id, "before", Some("text")),
        ),
        case(
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}",
            lxc::delete_snapshot(n, id, "before", true),
        ),
        case(
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback",
            lxc::rollback(n, id, "before", Some(true)),
        ),
        case(
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config",
            lxc::describe_snapshot(n, id, "before", "text"),
        ),
    ]
}

fn agents() -> Vec<Case> {
    let (n, id) = (&node(), vmid());
    vec![
        case("/nodes/{node}/qemu/{vmid}/agent/ping", agent::ping(n, id)),
        case("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", agent::interfaces(n, id)),
        case("/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", agent::file_systems(n, id)),
        case("/nodes/{node}/qemu/{vmid}/agent/get-osinfo", agent::os_info(n, id)),
        case("/nodes/{node}/qemu/{vmid}/agent/get-host-name", agent::host_name(n, id)),
        case(
            "/nodes/{node}/qemu/{vmid}/agent/exec",
            agent::exec(n, id, &["id", "-u"], Some(&"x".into())),
        ),
        case("/nodes/{node}/qemu/{vmid}/agent/exec-status", agent::exec_status(n, id, 7)),
        case("/nodes/{node}/qemu/{vmid}/agent/fstrim", agent::trim(n, id)),
    ]
}

fn storages() -> Vec<Case> {
    let (n, s) = (&node(), &store());
    vec![
        checked("/storage", storage::configs(Some("dir")), |storages| {
            let local: &storage::StorageConfig = &storages[0];
            assert_eq!((local.storage.as_str(), local.kind.as_str()), ("local", "dir"));
            assert!(local.content.contains(&storage::ContentKind::Iso) && local.rest.is_empty());
        }),
        case("/storage/{storage}", storage::config(s)),
        checked(
            "/nodes/{node}/storage",
            storage::list(n, storage::StorageListParams::default()),
            |storages| {
                let local: &storage::StorageStatus = &storages[0];
                assert_eq!(local.total_bytes, Some(270_553_174_016));
                assert!(local.active && local.enabled && !local.shared);
            },
        )
        .takes(storage::StorageListParams::NAMES),
        case("/nodes/{node}/storage/{storage}/status", storage::status(n, s)),
        checked(
            "/nodes/{node}/storage/{storage}/content",
            storage::content(n, s, Some(&storage::ContentKind::Images), Some(vmid())),
            |volumes| {
                let volume: &storage::Volume = &volumes[0];
                assert_eq!(
                    (volume.size_bytes, volume.vmid.map(VmId::get)),
                    (2_147_483_648, Some(101))
                );
                assert_eq!(
                    (&volume.content, &volume.parent),
                    (&storage::ContentKind::Images, &None)
                );
            },
        ),
        checked(
            "/nodes/{node}/storage/{storage}/content/{volume}",
            storage::volume(n, s, "local:iso/lab.iso"),
            |volume| {
                assert_eq!((volume.size_bytes, volume.format.as_deref()), (524_288, Some("raw")));
            },
        ),
        case(
            "/nodes/{node}/storage/{storage}/content/{volume}",
            storage::update_volume(n, s, "local:backup/x", Some("text"), Some(true)),
        ),
        case(
            "/nodes/{node}/storage/{storage}/content/{volume}",
            storage::delete_volume(n, s, "local:backup/x", Some(5)),
        ),
        case(
            "/nodes/{node}/storage/{storage}/upload",
            storage::upload(n, s, &storage::ContentKind::Iso, "x.iso", None),
        )
        .takes(&["checksum", "checksum-algorithm"]),
        case(
            "/nodes/{node}/storage/{storage}/download-url",
            storage::download_url(
                n,
                s,
                storage::DownloadUrlParams {
                    url: "https://example.org/x.iso".to_owned(),
                    filename: "x.iso".to_owned(),
                    content: Some(storage::ContentKind::Iso),
                    ..Default::default()
                },
            ),
        )
        .takes(storage::DownloadUrlParams::NAMES),
        case("/nodes/{node}/aplinfo", fetch::appliances(n)),
        case("/nodes/{node}/aplinfo", fetch::download_appliance(n, s, "debian-13.tar.zst")),
        case(
            "/nodes/{node}/query-url-metadata",
            fetch::url_metadata(n, "https://example.org/x.qcow2"),
        ),
        case(
            "/nodes/{node}/storage/{storage}/prunebackups",
            storage::prune_preview(n, s, storage::PruneParams::default()),
        )
        .takes(storage::PruneParams::NAMES),
        case(
            "/nodes/{node}/storage/{storage}/prunebackups",
            storage::prune(n, s, storage::PruneParams::default()),
        )
        .takes(storage::PruneParams::NAMES),
        case(
            "/nodes/{node}/storage/{storage}/file-restore/list",
            storage::backup_files(n, s, "backup/vm/100/x", "/"),
        ),
        case(
            "/nodes/{node}/storage/{storage}/file-restore/download",
            storage::backup_file(n, s, "backup/vm/100/x", "L2V0Yw=="),
        ),
    ]
}

fn access_control() -> Vec<Case> {
    vec![
        checked(
            "/access/permissions",
            access::permissions(Some("a@pve!t1"), Some("/")),
            |permissions| {
                assert_eq!(permissions["/vms/100"].get("VM.Audit"), Some(&access::Propagate(true)));
            },
        )
        .table(),
        checked("/access/users", access::users(true), |users| {
            let user: &access::User = &users[0];
            assert_eq!(
                (user.id.as_str(), user.enabled, user.expires),
                ("alice@pve", Some(true), None)
            );
        }),
        checked("/access/users/{userid}", access::user("alice@pve"), |user| {
            assert!(user.tokens["t1"].separate && user.groups.is_empty());
        }),
        checked("/access/users/{userid}/token", access::tokens("alice@pve"), |tokens| {
            assert_eq!((tokens[0].name.as_str(), tokens[0].separate), ("t1", true));
        }),
        checked(
            "/access/users/{userid}/token/{tokenid}",
            access::token("alice@pve", "t1"),
            |token| {
                assert!(token.separate && token.expires.is_none());
            },
        ),
        checked("/access/groups", access::groups(), |groups| {
            assert_eq!((groups[0].id.as_str(), groups[0].users.len()), ("g", 0));
        }),
        checked("/access/groups/{groupid}", access::group("g"), |group| {
            assert!(group.members.is_empty());
        }),
        checked("/access/roles", access::roles(), |roles| {
            let role: &access::Role = &roles[1];
            assert_eq!((role.special, role.privileges.len()), (true, 2));
        }),
        checked("/access/roles/{roleid}", access::role("PVEAuditor"), |privileges| {
            assert!(privileges.contains_key("VM.Audit"));
        })
        .table(),
        checked("/access/acl", access::acl(), |entries| {
            let entry: &access::AclEntry = &entries[2];
            assert_eq!(
                (entry.kind.as_str(), entry.id.as_str(), entry.propagate),
                ("token", "alice@pve!t1", true)
            );
        }),
        checked("/access/domains", access::realms(), |realms| assert_eq!(realms[0].kind, "pam")),
        case(
            "/access/ticket",
            access::ticket(access::TicketParams {
                username: "root@pam".to_owned(),
                password: Some("x".into()),
                ..Default::default()
            }),
        )
        .takes(access::TicketParams::NAMES),
        case(
            "/access/users",
            access::create_user("a@pve", Some(&"x".into()), access::UserParams::default()),
        )
        .takes(access::UserParams::NAMES),
        case("/access/users/{userid}", access::update_user("a@pve", access::UserParams::default()))
            .takes(access::UserParams::NAMES),
        case("/access/users/{userid}", access::delete_user("a@pve")),
        case(
            "/access/users/{userid}/token/{tokenid}",
            access::create_token("a@pve", "t1", access::TokenParams::default()),
        )
        .takes(access::TokenParams::NAMES),
        case(
            "/access/users/{userid}/token/{tokenid}",
            access::update_token("a@pve", "t1", access::TokenParams::default()),
        )
        .takes(access::TokenParams::NAMES),
        case("/access/users/{userid}/token/{tokenid}", access::regenerate_token("a@pve", "t1")),
        case("/access/users/{userid}/token/{tokenid}", access::delete_token("a@pve", "t1")),
        case("/access/roles", access::create_role("Mcp", &["VM.Audit"])),
        case("/access/roles/{roleid}", access::update_role("Mcp", &["VM.Audit"], true)),
        case("/access/roles/{roleid}", access::delete_role("Mcp")),
        case(
            "/access/acl",
            access::update_acl(access::AclParams {
                path: "/".to_owned(),
                roles: ["Mcp"].into_iter().collect(),
                ..Default::default()
            }),
        )
        .takes(access::AclParams::NAMES),
    ]
}
