//! Mail of Proxmox's notifier in the forms of both its targets, and of a node's own programs.

use expect_test::{Expect, expect};
use inputs::recognize::mail::recognize;
use proptest::prelude::*;

use crate::{
    notifications::RUN,
    webhooks::{shown, with_origin},
};

fn check(mail: &str, expect: &Expect) {
    let events = with_origin(|origin| recognize(mail.as_bytes(), origin));
    assert_eq!(events[0].raw.as_ref().unwrap().text, mail, "the original is kept");
    expect.assert_eq(&shown(&events));
}

fn smtp(author: &str, subject: &str, text: &str) -> String {
    format!(
        "From: \"{author}\" <pve@lab.example>\r\nTo: <ops@lab.example>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Date: Sun, 22 Nov 2026 01:02:11 +0000\r\nAuto-Submitted: auto-generated;\r\n\
         Content-Type: multipart/alternative; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n{}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>x</p>\r\n--b--\r\n",
        text.replace('\n', "\r\n"),
    )
}

#[test]
fn a_run_of_backups_by_smtp() {
    check(
        &smtp("Proxmox VE", "vzdump backup status (alder.lab.example): backup failed", RUN),
        &expect![[r#"
            error backup.failed lab/node/alder at 2026-11-22T01:02:11Z
              vzdump backup status (alder.lab.example): backup failed
              on alder
              from: pve@lab.example
              host: alder.lab.example
              v1:own:report:44c7756a39e289c85bda76429637e16c
            info backup.finished lab/guest/104 at 2026-11-22T01:02:07Z
              backup of guest 104 (db main) finished
              on alder
              archive: vm/104/2026-11-22T01:00:02Z
              bytes: 1610612736
              seconds: 125
              v1:own:report:44c7756a39e289c85bda76429637e16c
            error backup.failed lab/guest/105 at 2026-11-22T01:02:10Z
              backup of guest 105 failed: storage 'nas' is not online
              on alder
              bytes: 0
              seconds: 3
              v1:own:report:44c7756a39e289c85bda76429637e16c
            error backup.failed lab/guest/106 at 2026-11-22T01:02:11Z
              backup of guest 106 (web) was not begun when the run ended
              on alder
              bytes: 0
              seconds: 0
              v1:own:report:44c7756a39e289c85bda76429637e16c
        "#]],
    );
}

#[test]
fn a_backup_server_names_its_node() {
    check(
        &smtp(
            "Proxmox Backup Server - vault",
            "Garbage Collect Datastore 'main' failed",
            "Datastore: main\n",
        ),
        &expect![[r#"
            error gc.failed lab/datastore/main at 2026-11-22T01:02:11Z
              Garbage Collect Datastore 'main' failed
              on vault
              from: pve@lab.example
              host: vault
        "#]],
    );
}

#[test]
fn encoded_subjects_and_texts_are_read() {
    let mail = "Content-Type: multipart/alternative;\n boundary=\"----_=_NextPart_002_1\"\nMIME-Version: 1.0\n\
        Subject: =?utf-8?B?dnpkdW1wIGJhY2t1cCBzdGF0dXMgKGFsZGVyKTogYmFja3VwIGZhaWxlZDog?=\n =?utf-8?B?a2VpbiBQbGF0eiDDvGJyaWc=?=\n\
        From: vzdump backup tool <root@alder.lab.example>\nTo: <root@localhost>\nDate: Sun, 22 Nov 2026 02:02:11 +0100\n\n\
        ------_=_NextPart_002_1\nContent-Type: text/plain;\n charset=\"UTF-8\"\nContent-Transfer-Encoding: base64\n\nw7xicmlnCg==\n------_=_NextPart_002_1--\n";
    check(
        mail,
        &expect![[r#"
        error backup.failed lab/node/alder at 2026-11-22T01:02:11Z
          vzdump backup status (alder): backup failed: kein Platz übrig
          on alder
          cause: kein Platz übrig
          from: root@alder.lab.example
          host: alder
    "#]],
    );
}

#[test]
fn what_a_node_writes_to_root() {
    check(
        "From: root <root@alder.lab.example>\nTo: root@alder.lab.example\nSubject: SMART error (SelfTest) detected on host: alder\nMessage-ID: <1@alder>\nDate: Sun, 22 Nov 2026 01:00:00 +0000\n\nThe disk says so.\n",
        &expect![[r#"
            error disk.failing lab/node/alder at 2026-11-22T01:00:00Z
              SMART error (SelfTest) detected on host: alder
              on alder
              from: root@alder.lab.example
              host: alder.lab.example
        "#]],
    );
    check(
        "From: Ada <ada@example.com>\nSubject: lunch?\n\nAt noon.\n",
        &expect![[r#"
        warning system.mail lab at 2026-11-22T01:02:12Z
          lunch?
          from: ada@example.com
    "#]],
    );
}

#[test]
fn what_is_hardly_a_mail_is_told_all_the_same() {
    check(
        "",
        &expect![[r#"
        warning other.notification lab at 2026-11-22T01:02:12Z
          empty report
    "#]],
    );
    check(
        "hello",
        &expect![[r#"
        warning system.mail lab at 2026-11-22T01:02:12Z
          mail without subject
    "#]],
    );
    check(
        "Subject:\n\n\n  first words\n",
        &expect![[r#"
        warning system.mail lab at 2026-11-22T01:02:12Z
          first words
    "#]],
    );
}

#[test]
fn a_mail_that_comes_twice_is_one() {
    let mail = smtp("Proxmox VE", "Test notification", "This is a test.");
    let key =
        |mail: &str| with_origin(|origin| recognize(mail.as_bytes(), origin))[0].source_key.clone();
    let relayed = format!(
        "Received: from relay by mx; Sun, 22 Nov 2026 01:03:00 +0000\r\nMessage-ID: <2@relay>\r\n{mail}"
    );
    assert_eq!(key(&mail), key(&relayed));
}

proptest! {
    #[test]
    fn bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        inputs::fuzzing::mail_message(&data);
    }

    #[test]
    fn headers(
        name in "(From|Subject|Date|Content-Type|Auto-Submitted|MIME-Version|Content-Transfer-Encoding)",
        value in "[ -~é]{0,60}", body in "[ -~\n]{0,60}",
    ) {
        inputs::fuzzing::mail_message(format!("{name}: {value}\nSubject: {value}\n\n{body}").as_bytes());
    }
}
