//! rsyslog, as a node's syslog, sends what the node's programs write.

use event_core::{Event, Signal};
use futures::{FutureExt as _, StreamExt as _};
use inputs::{Identity, syslog::Peer};
use testkit::{Progress, peers::Rsyslog, wait_for};

use super::{Door, authority, line, show};
use crate::sockets::{self, PATIENCE, event, start};

/// What tells operators how their nodes send.
const PAGE: &str = include_str!("../../../../../docs/dev/inputs.md");

/// Level, program and words of lines that nodes write, and the event that each becomes.
const LINES: [(u8, &str, &str, &str); 18] = [
    (
        6,
        "pvedaemon[1234]",
        "<root@pam> starting task UPID:pve1:0000B2C4:0012A4F0:6B033EDA:vzdump:104:root@pam:",
        "info backup.started home/104",
    ),
    (
        3,
        "pvedaemon[1234]",
        "<root@pam> end task UPID:pve1:0000B2C4:0012A4F0:6B033EDA:vzdump:104:root@pam: job errors",
        "error backup.failed home/104",
    ),
    (
        6,
        "pvedaemon[1234]",
        "<root@pam> successful auth for user 'ada@pve'",
        "info auth.succeeded home",
    ),
    (
        3,
        "pvedaemon[1234]",
        "authentication failure; rhost=::ffff:10.0.0.9 user=root@pam msg=Authentication failure",
        "warning auth.failed home",
    ),
    // It spans two lines, and is one all the same.
    (
        3,
        "pvedaemon[1234]",
        "authentication failure; rhost=10.0.0.9 user=eve@pve msg=no such user\nindeed",
        "warning auth.failed home",
    ),
    (
        6,
        "pvescheduler[77]",
        "INFO: Starting Backup of VM 104 (qemu)",
        "info backup.started home/104",
    ),
    (
        6,
        "pvescheduler[77]",
        "INFO: Finished Backup of VM 104 (00:02:05)",
        "info backup.finished home/104",
    ),
    (
        3,
        "pvescheduler[77]",
        "ERROR: Backup of VM 105 failed - storage 'nas' is not online",
        "error backup.failed home/105",
    ),
    (6, "qmeventd[901]", "Finished cleanup for 104", "debug other.guest.cleaned_up home/104"),
    (4, "pvestatd[812]", "status update time (12.345 seconds)", "warning storage.error home"),
    (3, "pvestatd[812]", "storage status update error: nas: no route", "error storage.error home"),
    (5, "pmxcfs[640]", "[status] notice: node lost quorum", "critical quorum.lost home"),
    (6, "corosync[655]", "  [KNET  ] link: host: 2 link: 0 is down", "warning link.down home"),
    (
        6,
        "pve-ha-crm",
        "node 'pve2': state changed from 'online' => 'unknown'",
        "error node.offline home/pve2",
    ),
    (3, "pve-ha-lrm", "unable to start service vm:104", "error ha.error home/104"),
    (
        3,
        "proxmox-backup-api[512]",
        "authentication failure; rhost=[10.0.0.9]:52114 user=root@pam msg=invalid credentials",
        "warning auth.failed home",
    ),
    (
        4,
        "kernel",
        "EXT4-fs warning (device sdb1): a disk that nobody knows",
        "warning other.syslog.kernel home",
    ),
    (6, "pvedaemon[1234]", "ein Gerät mit Umlaut, größer", "info other.syslog.pvedaemon home"),
];

/// An input that knows this machine as a node of the cluster `home`.
fn config(listen: &str) -> inputs::syslog::Config {
    let mut config = sockets::config(&[listen]);
    let identity = Identity { cluster: "home".parse().ok(), ..Identity::default() };
    let addresses = vec!["127.0.0.1".parse().unwrap()];
    config.peers.insert("node".to_owned(), Peer { addresses, identity, ..Peer::default() });
    config
}

/// What rsyslog is told to do with lines.
fn forward(port: u16, more: &str) -> String {
    format!(
        "*.* action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" {more}\
         queue.type=\"LinkedList\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")"
    )
}

async fn events(stream: &mut sockets::Stream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(event(stream).await);
    }
    events
}

/// Sends all lines one way, and holds what came of them to what comes of them every way.
async fn every_line_arrives(listen: &str, way: &str, more: &str) {
    let (_input, mut stream, to, _stop) = start(config(listen)).await;
    let forward = forward(to[0].port(), more);
    let Some(rsyslog) = Rsyslog::start("pve1", &[], &forward).await else { return };
    for (level, program, words, _) in LINES {
        rsyslog.log(level, program, words);
    }
    let events = events(&mut stream, LINES.len()).await;
    hold(way, &events);
}

/// Holds what came of all lines to what is to come of them.
fn hold(way: &str, events: &[Event]) {
    let mut rows = Vec::new();
    for ((level, program, words, expected), event) in LINES.iter().zip(events) {
        rows.push((format!("<{level}> {program}: {words}").replace('\n', "\\n"), line(event)));
        assert_eq!(line(event), *expected, "{words}");
        assert_eq!(event.title, words.trim_start().replace('\n', "#012"));
        assert_eq!(event.labels["program"], program.split('[').next().unwrap());
        assert_eq!(event.labels["host"], "pve1");
    }
    show(way, &rows);
}

#[tokio::test]
async fn every_line_arrives_over_udp_as_of_rfc_3164() {
    let more = "protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\" ";
    every_line_arrives("udp://127.0.0.1:0", "rsyslog, UDP, RFC 3164", more).await;
}

#[tokio::test]
async fn every_line_arrives_over_udp_as_of_rfc_5424() {
    let more = "protocol=\"udp\" template=\"RSYSLOG_SyslogProtocol23Format\" ";
    every_line_arrives("udp://127.0.0.1:0", "rsyslog, UDP, RFC 5424", more).await;
}

#[tokio::test]
async fn every_line_arrives_over_tcp_before_a_line_feed() {
    let more = "protocol=\"tcp\" TCP_Framing=\"traditional\" template=\"RSYSLOG_TraditionalForwardFormat\" ";
    every_line_arrives("tcp://127.0.0.1:0", "rsyslog, TCP, before a line feed", more).await;
}

/// What our page tells nodes to do, without its target.
fn of_the_page(port: u16) -> String {
    let (_, rest) = PAGE.split_once("```\n*.* action(type=\"omfwd\" ").expect("the page shows it");
    let (more, _) = rest.split_once("\n```").unwrap();
    let (theirs, ours) =
        ("target=\"10.0.0.5\" port=\"5514\"", format!("target=\"127.0.0.1\" port=\"{port}\""));
    assert!(more.contains(theirs) && more.contains("octet-counted"), "{more}");
    format!("*.* action(type=\"omfwd\" {}", more.replace(theirs, &ours))
}

#[tokio::test]
async fn every_line_arrives_over_tcp_behind_its_length_with_what_our_page_says() {
    let (_input, mut stream, to, _stop) = start(config("tcp://127.0.0.1:0")).await;
    let settings = of_the_page(to[0].port());
    let Some(rsyslog) = Rsyslog::start("pve1", &[], &settings).await else { return };
    for (level, program, words, _) in LINES {
        rsyslog.log(level, program, words);
    }
    let events = events(&mut stream, LINES.len()).await;
    hold("rsyslog, TCP, behind its length, as docs/dev/inputs.md says", &events);
    assert_eq!(rsyslog.said(), "", "it has nothing to say against the page");
}

#[tokio::test]
async fn what_was_written_while_nobody_listened_arrives_in_its_order_and_long_lines_whole() {
    const COUNT: usize = 300;
    let mut door = Door::new();
    let more = "protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\" ";
    let forward = forward(door.address.port(), more);
    let Some(rsyslog) = Rsyslog::start("pve1", &[], &forward).await else { return };
    rsyslog.log(3, "prog[1]", "line 0");
    wait_for("rsyslog to find nobody", PATIENCE, async || {
        let said = rsyslog.said();
        if said.contains("Connection refused") {
            Progress::Ready(())
        } else {
            Progress::Pending(said)
        }
    })
    .await;
    for at in 1..COUNT {
        rsyslog.log(3, "prog[1]", &format!("line {at}"));
    }
    rsyslog.log(3, "prog[1]", &"long ".repeat(8000));
    let (_input, mut stream, to, _stop) = start(config("tcp://127.0.0.1:0")).await;
    door.open(to[0]);
    let events = events(&mut stream, COUNT + 1).await;
    for (at, event) in events[..COUNT].iter().enumerate() {
        assert_eq!(event.title, format!("line {at}"));
    }
    let size = events[COUNT].raw.as_ref().unwrap().size;
    assert!((40_000..40_200).contains(&size), "{size}");
}

fn within_tls(port: u16, name: &str) -> String {
    let driver =
        "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{folder}/ca.pem\")";
    let more = format!(
        "protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\" \
         StreamDriver=\"ossl\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
         StreamDriverPermittedPeers=\"{name}\" "
    );
    format!("{driver}\n{}", forward(port, &more))
}

#[tokio::test]
async fn every_line_arrives_over_tls_from_a_node_that_knows_our_authority() {
    let (authority, pem) = authority();
    let mut config = config("tls://127.0.0.1:0");
    config.tls = Some(pem);
    let (_input, mut stream, to, _stop) = start(config).await;
    let settings = within_tls(to[0].port(), "localhost");
    let files = [("ca.pem", authority.as_str())];
    let Some(rsyslog) = Rsyslog::start("pve1", &files, &settings).await else { return };
    for (level, program, words, _) in LINES {
        rsyslog.log(level, program, words);
    }
    let events = events(&mut stream, LINES.len()).await;
    hold("rsyslog, TLS, with our certificate checked", &events);
}

#[tokio::test]
async fn a_node_that_does_not_know_our_authority_sends_nothing_over_tls() {
    let (_, pem) = authority();
    let (another, _) = authority();
    let mut config = config("tls://127.0.0.1:0");
    config.tls = Some(pem);
    let (_input, mut stream, to, _stop) = start(config).await;
    let files = [("ca.pem", another.as_str())];
    let settings = within_tls(to[0].port(), "localhost");
    let Some(rsyslog) = Rsyslog::start("pve1", &files, &settings).await else { return };
    rsyslog.log(3, "prog[1]", "for trusted ears");
    wait_for("rsyslog to refuse", PATIENCE, async || {
        let said = rsyslog.said();
        let is_refused = said.contains("certificate verify failed");
        if is_refused { Progress::Ready(()) } else { Progress::Pending(said) }
    })
    .await;
    while let Some(told) = stream.next().now_or_never() {
        let told = told.unwrap().unwrap();
        assert!(!matches!(told, Signal::Changed { .. }), "{told:?}");
    }
}
