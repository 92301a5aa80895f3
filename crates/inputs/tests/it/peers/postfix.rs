//! Postfix, as a node's mail server, passes on what Proxmox's notifier and the node's programs send.

use event_core::{Event, EventSource as _, Ruling, RunContext, Signal};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Echo,
    email::smtp::{Config, Smtp},
};
use stdx::SystemClock;
use testkit::{Progress, peers::Postfix, wait_for};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{authority, line, show};
use crate::{
    contract::first,
    notifications::RUN,
    smtp::{config, connect},
    sockets::PATIENCE,
};

/// STARTTLS or nothing, with our certificate and name checked.
const CHECKED: &str = "smtp_tls_security_level = secure
smtp_tls_CAfile = {folder}/ca.pem
smtp_tls_secure_cert_match = nexthop
smtp_tls_loglevel = 1";

/// What a mail output of ours sends.
const OURS: &str = include_str!("../../../../outputs/tests/it/golden/email-new.txt");

type Stream = BoxStream<'static, Result<Signal, event_core::SourceError>>;

async fn start(config: Config) -> (Smtp, u16, Stream) {
    let input = Smtp::try_new("mail".parse().unwrap(), config).unwrap();
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream = input.run(cx, None);
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    let port = first(&mut input.addresses()).await.port();
    (input, port, stream)
}

/// The next event, of which this is said.
async fn next(stream: &mut Stream, ruling: Ruling) -> Event {
    loop {
        let signal = timeout(PATIENCE, stream.next()).await.expect("a mail comes in time");
        if let Signal::Changed { event, ack, .. } = signal.unwrap().unwrap() {
            ack.resolve(ruling);
            return event;
        }
    }
}

/// Waits until Postfix has written this, so often, and gives its log.
async fn logged(postfix: &Postfix, words: &str, count: usize) -> String {
    wait_for("Postfix to say how it went", PATIENCE, async || {
        let log = postfix.log();
        let is_there = log.matches(words).count() >= count;
        if is_there { Progress::Ready(log) } else { Progress::Pending(log) }
    })
    .await
}

/// As Proxmox's notifier writes it: the forms of both its targets.
fn notice(author: &str, subject: &str, text: &str) -> String {
    format!(
        "From: \"{author}\" <root@pve1.lab.example>\r\nTo: <ops@lab.example>\r\nSubject: {subject}\r\n\
         MIME-Version: 1.0\r\nDate: Sun, 22 Nov 2026 01:02:11 +0000\r\nAuto-Submitted: auto-generated;\r\n\
         Content-Type: multipart/alternative; boundary=\"b\"\r\n\r\n--b\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{}\r\n--b\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<p>x</p>\r\n--b--\r\n",
        text.replace('\n', "\r\n")
    )
}

/// As a program of a node writes to root: without a date and an id, which the mail server adds.
fn of_root(subject: &str, text: &str) -> String {
    format!(
        "From: root <root@pve1.lab.example>\r\nTo: root\r\nSubject: {subject}\r\n\r\n{text}\r\n"
    )
}

fn mails() -> Vec<(&'static str, String, &'static [&'static str])> {
    let pve = |subject, text| notice("Proxmox VE", subject, text);
    let pbs = |subject, text| notice("Proxmox Backup Server - vault", subject, text);
    vec![
        (
            "PVE: backups of three guests, two failed",
            pve("vzdump backup status (pve1.lab.example): backup failed", RUN),
            &[
                "error backup.failed home/pve1",
                "info backup.finished home/104 db main",
                "error backup.failed home/105",
                "error backup.failed home/106 web",
            ],
        ),
        (
            "PVE, before 2023: STATUS behind \" : \"",
            pve("vzdump backup status (pve1) : backup successful", "all is well"),
            &["info backup.finished home/pve1"],
        ),
        (
            "PVE: replication",
            pve("Replication Job: '105-0' failed", "Failure count: 2\n\nError:\nno route"),
            &["error replication.failed home/105"],
        ),
        (
            "PVE: fencing",
            pve("Trying to fence node 'pve2'", "Status: x"),
            &["critical node.fenced home/pve2"],
        ),
        (
            "PVE: updates",
            pve("New software packages available (pve1.lab.example)", "x"),
            &["info updates.available home/pve1"],
        ),
        (
            "PBS: garbage collection",
            pbs("Garbage Collect Datastore 'main' successful", "Datastore: main\n"),
            &["info gc.finished home/main"],
        ),
        (
            "PBS: verification",
            pbs("Verify Datastore 'main' failed", "Job ID: v-1\nDatastore: main\n"),
            &["error verify.failed home/main"],
        ),
        (
            "PBS: synchronization",
            pbs("Sync remote 'far' datastore 'main' failed", "Job ID: s-1\nDatastore: main\n"),
            &["error sync.failed home/main"],
        ),
        (
            "PBS: certificate",
            pbs("Could not renew certificate", "x"),
            &["error certificate.expiring home/vault"],
        ),
        (
            "smartd to root",
            of_root("SMART error (CurrentPendingSector) detected on host: pve1", "/dev/sdb"),
            &["error disk.failing home/pve1"],
        ),
        (
            "cron to root",
            of_root("Cron <root@pve1> /usr/local/bin/job", "it broke"),
            &["warning system.mail home/pve1"],
        ),
    ]
}

#[tokio::test]
async fn mails_of_nodes_and_backup_servers_become_events_over_starttls() {
    let (authority, pem) = authority();
    let mut config = config("smtp://127.0.0.1:0");
    config.tls = Some(pem);
    let (_input, port, mut stream) = start(config).await;
    let files = [("ca.pem", authority.as_str())];
    let Some(postfix) = Postfix::start(port, &files, CHECKED).await else { return };
    let mut rows = Vec::new();
    let mails = mails();
    for (what, text, expected) in &mails {
        let mut client = connect(postfix.address()).await;
        assert!(client.send("ops@lab.example", text).await.starts_with("250 "));
        let mut came = Vec::new();
        for _ in *expected {
            came.push(line(&next(&mut stream, Ruling::Committed).await));
        }
        rows.push(((*what).to_owned(), came.join(", ")));
    }
    show("Postfix, STARTTLS with our certificate checked, to the SMTP listener", &rows);
    for (row, (_, _, expected)) in rows.iter().zip(&mails) {
        assert_eq!(row.1, expected.join(", "), "{}", row.0);
    }
    let log = logged(&postfix, "status=sent (250 ", mails.len()).await;
    assert!(log.contains("Verified TLS connection established to localhost["), "{log}");
}

#[tokio::test]
async fn what_could_not_be_kept_comes_again_from_the_queue_and_is_the_same() {
    let (_input, port, mut stream) = start(config("smtp://127.0.0.1:0")).await;
    let Some(postfix) = Postfix::start(port, &[], "").await else { return };
    let mut client = connect(postfix.address()).await;
    let text = of_root("SMART error (SelfTest) detected on host: pve1", "/dev/sdb");
    assert!(client.send("ops@lab.example", &text).await.starts_with("250 "));
    let refused = next(&mut stream, Ruling::Rejected).await;
    let kept = next(&mut stream, Ruling::Committed).await;
    assert_eq!(refused.source_key, kept.source_key);
    let log = logged(&postfix, "status=sent (250 ", 1).await;
    assert!(log.contains("status=deferred (host localhost[127.0.0.1] said: 451 "), "{log}");
    show(
        "Postfix, refused for now",
        &[
            ("smartd to root, while the log takes nothing".to_owned(), "451, nothing".to_owned()),
            ("the same from the queue".to_owned(), line(&kept)),
        ],
    );
}

#[tokio::test]
async fn what_comes_while_the_listener_is_away_waits_in_the_queue() {
    let mut door = super::Door::new();
    let Some(postfix) = Postfix::start(door.address.port(), &[], "").await else { return };
    for at in 0..3 {
        let mut client = connect(postfix.address()).await;
        let text = of_root(&format!("Cron <root@pve1> job {at}"), "it broke");
        assert!(client.send("ops@lab.example", &text).await.starts_with("250 "));
    }
    logged(&postfix, "status=deferred", 3).await;
    let (_input, port, mut stream) = start(config("smtp://127.0.0.1:0")).await;
    door.open(format!("127.0.0.1:{port}").parse().unwrap());
    let mut titles = Vec::new();
    for _ in 0..3 {
        titles.push(next(&mut stream, Ruling::Committed).await.title);
    }
    titles.sort();
    assert_eq!(titles, [0, 1, 2].map(|at| format!("Cron <root@pve1> job {at}")));
}

#[tokio::test]
async fn what_our_output_sent_over_a_mail_server_is_dropped() {
    let echo = Echo::default();
    let mut config = config("smtp://127.0.0.1:0");
    config.echo = echo.clone();
    let (_input, port, mut stream) = start(config).await;
    let Some(postfix) = Postfix::start(port, &[], "").await else { return };
    let ours = OURS.replace('\n', "\r\n").replace("\r\n.", "\r\n..");
    for text in [ours, of_root("somebody's", "words")] {
        let mut client = connect(postfix.address()).await;
        assert!(client.send("ops@lab.example", &text).await.starts_with("250 "));
        if echo.dropped() == 0 {
            // One after the other.
            logged(&postfix, "status=sent (250 ", 1).await;
        }
    }
    assert_eq!(next(&mut stream, Ruling::Committed).await.title, "somebody's");
    assert_eq!(echo.dropped(), 1);
    let rows = [("a mail of our own output", "dropped"), ("a mail of somebody's", "told")];
    show("Postfix, an echo", &rows.map(|(sent, came)| (sent.to_owned(), came.to_owned())));
}
