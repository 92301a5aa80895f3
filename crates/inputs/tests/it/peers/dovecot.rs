//! Dovecot has the mailbox that is read.

use event_core::Ruling;
use testkit::{Progress, wait_for};

use super::{line, show};
use crate::{
    imap::{Real, Run, mail, reader},
    sockets::PATIENCE,
};

#[tokio::test]
async fn a_mail_of_dovecot_is_marked_when_it_is_kept_and_not_before() {
    let Some(real) = Real::new("marks") else { return };
    let input = reader(real.config());
    assert!(input_is_told(&input).await);
    let mut run = Run::start(&input, None).await;
    // It waits by now; the server wakes it.
    real.deliver(&mail("vzdump backup status (pve1.lan): backup failed")).await;
    let (event, ack) = run.told().await;
    assert_eq!(real.unseen().await, 1, "it is not kept yet");
    ack.resolve(Ruling::Committed);
    wait_for("the mark", PATIENCE, async || match real.unseen().await {
        0 => Progress::Ready(()),
        count => Progress::Pending(format!("{count} are unseen")),
    })
    .await;
    let rows = [
        ("a mail, appended while the reader waits (IDLE)", line(&event)),
        ("its \\Seen", "after the log had it, not before".to_owned()),
    ];
    show("Dovecot", &rows.map(|(sent, came)| (sent.to_owned(), came)));
}

async fn input_is_told(input: &inputs::email::imap::Imap) -> bool {
    event_core::EventSource::check(input).await.unwrap().contains("is told of new mail")
}

#[tokio::test]
async fn what_could_not_be_kept_is_read_again_and_what_was_kept_is_not() {
    let Some(real) = Real::new("again") else { return };
    let input = reader(real.config());
    let mut run = Run::start(&input, None).await;
    real.deliver(&mail("kept")).await;
    assert_eq!(run.title().await, "kept");
    let cursor = run.cursor.clone();
    real.deliver(&mail("lost on the way")).await;
    let (event, ack) = run.told().await;
    // The program is killed before the log has it.
    drop((ack, run));
    let mut run = Run::start(&input, Some(cursor)).await;
    let (again, ack) = run.told().await;
    ack.resolve(Ruling::Committed);
    assert_eq!((again.source_key, again.title.as_str()), (event.source_key, "lost on the way"));
    let cursor = run.cursor.clone();
    drop(run);
    let mut run = Run::start(&input, Some(cursor)).await;
    real.deliver(&mail("after that")).await;
    assert_eq!(run.title().await, "after that", "nothing was read twice");
    let rows = [
        ("a mail that was kept, and a restart", "read once"),
        ("a mail that the log did not get, and a restart", "read again, with the same key"),
    ];
    show("Dovecot, restarts", &rows.map(|(sent, came)| (sent.to_owned(), came.to_owned())));
}

#[tokio::test]
async fn of_a_mailbox_that_was_made_anew_what_nobody_has_seen_is_read() {
    let Some(real) = Real::new("anew") else { return };
    let mut config = real.config();
    config.mailbox = "Alerts".to_owned();
    let input = reader(config);
    let mut session = real.session().await;
    session.create("Alerts").await.unwrap();
    let append = async |session: &mut async_imap::Session<_>, subject: &str, flags| {
        let text = mail(subject).replace('\n', "\r\n");
        session.append("Alerts", flags, None, text.as_bytes()).await.unwrap();
    };
    let mut run = Run::start(&input, None).await;
    for subject in ["first", "second"] {
        append(&mut session, subject, None).await;
        assert_eq!(run.title().await, subject);
    }
    let cursor = run.cursor.clone();
    drop(run);
    let before = session.select("Alerts").await.unwrap().uid_validity;
    session.close().await.unwrap();
    // As after a restore: the same name, other numbers.
    session.delete("Alerts").await.unwrap();
    session.create("Alerts").await.unwrap();
    append(&mut session, "seen by somebody", Some("(\\Seen)")).await;
    append(&mut session, "seen by nobody", None).await;
    assert_ne!(session.select("Alerts").await.unwrap().uid_validity, before);
    let mut run = Run::start(&input, Some(cursor)).await;
    assert_eq!(run.title().await, "seen by nobody");
    append(&mut session, "news", None).await;
    assert_eq!(run.title().await, "news");
    let rows = [
        ("a mail that is marked as seen, after UIDVALIDITY changed", "nothing"),
        ("a mail that nobody has seen, after UIDVALIDITY changed", "read once"),
        ("a new mail", "read once"),
    ];
    show("Dovecot, numbered anew", &rows.map(|(sent, came)| (sent.to_owned(), came.to_owned())));
}
