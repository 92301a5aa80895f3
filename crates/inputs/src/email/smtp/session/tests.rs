//! Conversations, as they are written.

use super::*;
use crate::email::smtp::{Listen, Peer, User};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn identity(cluster: &str) -> Identity {
    Identity { cluster: cluster.parse().ok(), ..Identity::default() }
}

fn config() -> Config {
    let mut config = Config::new(vec![Listen::Smtp("127.0.0.1:0".parse().unwrap())]);
    config.name = "mcp.lan".to_owned();
    config.tls = Some(crate::TlsPem { certificate: Vec::new(), key: "".into() });
    config.peers.insert("home".to_owned(), Peer { identity: identity("home"), ..Peer::default() });
    let user = User { password: "kestrel".into(), identity: identity("edge") };
    config.users.insert("node".to_owned(), user);
    config.recipients.insert("lab@mcp.lan".to_owned(), identity("lab"));
    config
}

fn heard(session: &mut Session<'_>, line: &str) -> String {
    let step = session.hear(&Command::Line(line.as_bytes().to_vec()));
    let (mark, text) = match &step {
        Step::Say(text) => (' ', text),
        Step::Mail(text) => ('M', text),
        Step::StartTls(text) => ('T', text),
        Step::Bye(text) => ('B', text),
    };
    format!("> {line}\n{mark} {}\n", text.trim_end().replace("\r\n", "\n  "))
}

fn check(session: &mut Session<'_>, lines: &[&str], expected: &Expect) {
    let told: String = lines.iter().map(|line| heard(session, line)).collect();
    expected.assert_eq(&told);
}

#[test]
fn a_known_address_sends() {
    let config = config();
    let home = identity("home");
    let mut session = Session::new(&config, Some(&home), false);
    assert_eq!(session.greeting(), "220 mcp.lan ESMTP\r\n");
    check(
        &mut session,
        &[
            "MAIL FROM:<root@pve1.lan>",
            "EHLO pve1.lan",
            "DATA",
            "mail from:<root@pve1.lan> SIZE=2000 BODY=8BITMIME",
            "RCPT TO:<ops@example.lan>",
            "DATA",
        ],
        &expect![[r#"
            > MAIL FROM:<root@pve1.lan>
              503 say EHLO first
            > EHLO pve1.lan
              250-mcp.lan
              250-PIPELINING
              250-8BITMIME
              250-STARTTLS
              250 SIZE 10485760
            > DATA
              503 say MAIL and RCPT first
            > mail from:<root@pve1.lan> SIZE=2000 BODY=8BITMIME
              250 ok
            > RCPT TO:<ops@example.lan>
              250 ok
            > DATA
            M 354 end it with a dot alone
        "#]],
    );
    assert_eq!(session.identity().unwrap().cluster, home.cluster);
    assert!(session.ends_mail(Fate::Rejected).starts_with("451 "));
    assert!(session.identity().is_some());
    // The next one needs its own beginning, and may be too long.
    check(
        &mut session,
        &[
            "DATA",
            "MAIL FROM:<> SIZE=99999999",
            "MAIL FROM:<>",
            "RCPT TO:<Lab@mcp.lan>",
            "MAIL FROM:<>",
        ],
        &expect![[r#"
            > DATA
              503 say MAIL and RCPT first
            > MAIL FROM:<> SIZE=99999999
              552 it is too long
            > MAIL FROM:<>
              250 ok
            > RCPT TO:<Lab@mcp.lan>
              250 ok
            > MAIL FROM:<>
              503 another mail has begun
        "#]],
    );
    assert_eq!(
        session.identity().unwrap().cluster,
        identity("lab").cluster,
        "the address says whose"
    );
}

#[test]
fn a_stranger_needs_a_login_within_tls() {
    let config = config();
    let mut session = Session::new(&config, None, false);
    check(
        &mut session,
        &["EHLO x", "MAIL FROM:<a@b.lan>", "AUTH PLAIN AG5vZGUAa2VzdHJlbA==", "STARTTLS"],
        &expect![[r#"
            > EHLO x
              250-mcp.lan
              250-PIPELINING
              250-8BITMIME
              250-STARTTLS
              250 SIZE 10485760
            > MAIL FROM:<a@b.lan>
              530 begin TLS and log in first
            > AUTH PLAIN AG5vZGUAa2VzdHJlbA==
              538 not without TLS, or not at all
            > STARTTLS
            T 220 begin TLS
        "#]],
    );
    let mut session = Session::new(&config, None, true);
    check(
        &mut session,
        &[
            "EHLO x",
            "STARTTLS",
            "MAIL FROM:<a@b.lan>",
            "AUTH PLAIN AG5vZGUAd3Jvbmc=",
            "AUTH LOGIN",
            "bm9kZQ==",
            "a2VzdHJlbA==",
            "MAIL FROM:<a@b.lan>",
        ],
        &expect![[r#"
            > EHLO x
              250-mcp.lan
              250-PIPELINING
              250-8BITMIME
              250-AUTH PLAIN LOGIN
              250 SIZE 10485760
            > STARTTLS
              502 there is no TLS to begin
            > MAIL FROM:<a@b.lan>
              530 log in first
            > AUTH PLAIN AG5vZGUAd3Jvbmc=
              535 no such login, or not its password
            > AUTH LOGIN
              334 VXNlcm5hbWU6
            > bm9kZQ==
              334 UGFzc3dvcmQ6
            > a2VzdHJlbA==
              235 welcome
            > MAIL FROM:<a@b.lan>
              250 ok
        "#]],
    );
    assert_eq!(session.identity().unwrap().cluster, identity("edge").cluster);
}

#[test]
fn who_guesses_or_rambles_is_sent_away() {
    let config = config();
    let mut session = Session::new(&config, None, true);
    heard(&mut session, "EHLO x");
    for _ in 0..2 {
        assert!(heard(&mut session, "AUTH PLAIN AG5vZGUAd3Jvbmc=").contains("535 "));
    }
    // A name that there is not, without a password.
    let last = heard(&mut session, "AUTH PLAIN AHgA");
    assert!(last.contains("B 421 "), "{last}");
    let mut session = Session::new(&config, None, true);
    let last: Vec<String> = (0..10).map(|_| heard(&mut session, "GET / HTTP/1.1")).collect();
    assert!(last[9].contains("B 421 "), "{last:?}");
}

proptest! {
    #[test]
    fn no_conversation_takes_mail_from_who_may_not_send(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("EHLO x".to_owned()), Just("MAIL FROM:<a@b.c>".to_owned()), Just("RCPT TO:<lab@mcp.lan>".to_owned()),
                Just("DATA".to_owned()), Just("AUTH LOGIN".to_owned()), Just("bm9kZQ==".to_owned()), Just("RSET".to_owned()),
                "AUTH PLAIN [A-Za-z0-9+/]{0,12}={0,2}", ".{0,40}", "[A-Z]{4} .{0,20}",
            ], 0..30),
        is_tls in any::<bool>(),
    ) {
        let config = config();
        let mut session = Session::new(&config, None, is_tls);
        for line in &lines {
            match session.hear(&Command::Line(line.clone().into_bytes())) {
                Step::Mail(_) => prop_assert!(false, "{lines:?}"),
                Step::StartTls(text) => prop_assert!(!is_tls && text.starts_with("220 ")),
                Step::Say(text) | Step::Bye(text) => {
                    prop_assert!(text.ends_with("\r\n") && text.len() < 512);
                    prop_assert!(text.lines().all(|line| line.as_bytes()[..3].iter().all(u8::is_ascii_digit)));
                }
            }
        }
    }
}
