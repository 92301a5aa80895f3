//! The mailbox reader: each mail once, marked when it is kept, also what came while nobody read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{
    Cursor, Event, EventSource, Ruling, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Echo, Identity,
    email::imap::{Config, Imap},
};
use stdx::SystemClock;
use testkit::{
    Progress,
    contract::source::{Reporter, Told, source},
    wait_for,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::mailserver::{MailServer, PASSWORD};

const PATIENCE: Duration = Duration::from_mins(1);

fn config(server: &MailServer) -> Config {
    let mut config = Config::new(format!("imap://{}", server.address), "events", PASSWORD.into());
    config.identity.cluster = "home".parse().ok();
    config
}

pub(crate) fn reader(config: Config) -> Imap {
    Imap::try_new("mail".parse().unwrap(), config).unwrap()
}

pub(crate) fn mail(subject: &str) -> String {
    format!(
        "From: Proxmox VE <root@alder.lan>\nTo: ops@example.lan\nSubject: {subject}\n\
         Date: Sun, 22 Nov 2026 18:07:44 +0000\n\nwords\n"
    )
}

struct Deliverer(Arc<MailServer>);

#[async_trait]
impl Reporter for Deliverer {
    async fn report(&self, text: &str) -> Told {
        self.0.deliver(&mail(text));
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract_for_a_mailbox() {
    let server = Arc::new(MailServer::start(true).await);
    let input = reader(config(&server));
    source(Arc::new(input), Arc::new(Deliverer(server))).await;
}

pub(crate) struct Run {
    stream: BoxStream<'static, Result<Signal, SourceError>>,
    pub(crate) cursor: Cursor,
}

impl Run {
    pub(crate) async fn start(input: &Imap, resume: Option<Cursor>) -> Self {
        let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
        let mut stream = input.run(cx, resume);
        loop {
            match stream.next().await.unwrap().unwrap() {
                Signal::SyncFinished(cursor) => return Self { stream, cursor },
                Signal::SyncStarted | Signal::Idle => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event, and what to say of it.
    pub(crate) async fn told(&mut self) -> (Event, event_core::Ack) {
        loop {
            let signal = timeout(PATIENCE, self.stream.next()).await.expect("it is read in time");
            if let Signal::Changed { event, cursor, ack } = signal.unwrap().unwrap() {
                self.cursor = cursor.unwrap_or_else(|| self.cursor.clone());
                return (event, ack);
            }
        }
    }

    pub(crate) async fn title(&mut self) -> String {
        let (event, ack) = self.told().await;
        ack.resolve(Ruling::Committed);
        event.title
    }
}

#[tokio::test]
async fn a_mail_is_marked_when_it_is_kept_and_not_before() {
    let server = MailServer::start(true).await;
    server.deliver(&mail("from before"));
    let mut run = Run::start(&reader(config(&server)), None).await;
    server.deliver(&mail("news"));
    let (event, ack) = run.told().await;
    assert_eq!((event.title.as_str(), event.source.kind.as_ref()), ("news", "email"));
    assert!(server.mails().iter().all(|mail| !mail.is_seen), "it is not kept yet");
    ack.resolve(Ruling::Committed);
    let marked = wait_for("the mark", PATIENCE, async || {
        if server.mails()[1].is_seen {
            Progress::Ready(())
        } else {
            Progress::Pending("not marked".to_owned())
        }
    });
    marked.await;
    assert!(!server.mails()[0].is_seen, "what nobody read stays as it is");
}

#[tokio::test]
async fn what_came_while_nobody_read_is_read_in_its_order() {
    for can_idle in [true, false] {
        let server = MailServer::start(can_idle).await;
        let mut often = config(&server);
        often.poll = Duration::from_secs(1);
        let input = reader(often);
        let mut run = Run::start(&input, None).await;
        for at in 0..3 {
            server.deliver(&mail(&format!("mail {at}")));
        }
        let mut titles = Vec::new();
        for _ in 0..3 {
            titles.push(run.title().await);
        }
        // The connection breaks, and mail comes before the next one.
        server.hang_up();
        for at in 3..6 {
            server.deliver(&mail(&format!("mail {at}")));
        }
        for _ in 0..3 {
            titles.push(run.title().await);
        }
        let cursor = run.cursor.clone();
        drop(run);
        server.deliver(&mail("mail 6"));
        let mut run = Run::start(&input, Some(cursor)).await;
        titles.push(run.title().await);
        let expected: Vec<String> = (0..7).map(|at| format!("mail {at}")).collect();
        assert_eq!(titles, expected);
        let way = if can_idle { "is told of new mail" } else { "asks for new mail" };
        assert!(input.check().await.unwrap().contains(way));
    }
}

#[tokio::test]
async fn of_a_mailbox_that_is_numbered_anew_what_nobody_has_seen_is_read() {
    let server = MailServer::start(true).await;
    let input = reader(config(&server));
    let mut run = Run::start(&input, None).await;
    for at in 0..3 {
        server.deliver(&mail(&format!("mail {at}")));
        run.title().await;
    }
    // The last mark is on its way: it is there when the next mail is read.
    server.deliver(&mail("mail 3"));
    run.title().await;
    let cursor = run.cursor.clone();
    drop(run);
    server.renumber();
    server.deliver(&mail("mail 4"));
    let mut run = Run::start(&input, Some(cursor)).await;
    let mut titles = vec![run.title().await];
    // Whether the run ended before or after it marked the last one is the moment's choice; the log knows it by its key.
    if titles[0] == "mail 3" {
        titles.push(run.title().await);
    }
    assert_eq!(titles.last().unwrap(), "mail 4");
    server.deliver(&mail("mail 5"));
    assert_eq!(run.title().await, "mail 5");
}

#[tokio::test]
async fn whose_mail_it_is_is_what_the_server_wrote_on_top() {
    let server = MailServer::start(true).await;
    let mut config = config(&server);
    let lab = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    config.recipients = BTreeMap::from([("lab@mcp.lan".to_owned(), lab)]);
    let mut run = Run::start(&reader(config), None).await;
    for head in [
        "Delivered-To: Lab@mcp.lan\n",
        "Delivered-To: ops@mcp.lan\nDelivered-To: lab@mcp.lan\n",
        "",
    ] {
        server
            .deliver(&format!("{head}{}", mail("vzdump backup status (alder.lan): backup failed")));
    }
    let mut whose = Vec::new();
    for _ in 0..3 {
        let (event, ack) = run.told().await;
        ack.resolve(Ruling::Committed);
        whose.push(event.subject.label());
    }
    assert_eq!(whose, ["lab/alder", "home/alder", "home/alder"]);
}

#[tokio::test]
async fn what_our_outputs_sent_is_dropped_and_a_long_mail_is_cut() {
    let server = MailServer::start(true).await;
    let mut config = config(&server);
    config.max_bytes = 64 * 1024;
    let echo = Echo::default();
    config.echo = echo.clone();
    let mut run = Run::start(&reader(config), None).await;
    server.deliver(&format!("X-Proxmox-Mcp: main\n{}", mail("ours")));
    server.deliver(&format!("{}{}", mail("long"), "x".repeat(200_000)));
    let (event, ack) = run.told().await;
    ack.resolve(Ruling::Committed);
    assert_eq!((event.title.as_str(), event.raw.unwrap().size), ("long", 64 * 1024));
    assert_eq!(echo.dropped(), 1);
}

#[tokio::test]
async fn what_a_person_has_to_change_is_said() {
    let server = MailServer::start(true).await;
    let mut wrong = config(&server);
    wrong.password = "planted-0f5a".into();
    let error = reader(wrong).check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(!format!("{error:?}").contains("planted"), "{error:?}");
    let mut wrong = config(&server);
    wrong.mailbox = "Alerts".to_owned();
    let error = reader(wrong).check().await.unwrap_err();
    assert!(error.to_string().contains("open the mailbox Alerts"), "{error}");
    let here = config(&server);
    drop(server);
    let error = reader(here).check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
}

/// Puts mails into a mailbox of a real server, as one that delivers them.
pub(crate) struct Real {
    url: url::Url,
    user: String,
}

impl Real {
    /// A mailbox that is this test's alone; `None` where there is no server.
    pub(crate) fn new(test: &str) -> Option<Arc<Self>> {
        let url = testkit::services::imap_url()?;
        let user = format!("{test}-{}", uuid::Uuid::new_v4().simple());
        Some(Arc::new(Self { url: url.parse().unwrap(), user }))
    }

    fn address(&self) -> (String, u16) {
        (self.url.host_str().unwrap().to_owned(), self.url.port().unwrap())
    }

    pub(crate) fn config(&self) -> Config {
        let (host, port) = self.address();
        let password = self.url.password().unwrap();
        let mut config = Config::new(format!("imap://{host}:{port}"), &self.user, password.into());
        config.identity.cluster = "home".parse().ok();
        config
    }

    pub(crate) async fn session(&self) -> async_imap::Session<TcpStream> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let mut client = async_imap::Client::new(stream);
        client.read_response().await.unwrap().unwrap();
        client
            .login(&self.user, self.url.password().unwrap())
            .await
            .map_err(|(error, _)| error)
            .unwrap()
    }

    pub(crate) async fn deliver(&self, text: &str) {
        let mut session = self.session().await;
        let text = text.replace('\n', "\r\n");
        session.append("INBOX", None, None, text.as_bytes()).await.unwrap();
        session.logout().await.unwrap();
    }

    pub(crate) async fn unseen(&self) -> usize {
        let mut session = self.session().await;
        session.select("INBOX").await.unwrap();
        session.uid_search("UNSEEN").await.unwrap().len()
    }
}

#[async_trait]
impl Reporter for Real {
    async fn report(&self, text: &str) -> Told {
        self.deliver(&mail(text)).await;
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract_for_a_mailbox_of_dovecot() {
    let Some(real) = Real::new("contract") else { return };
    source(Arc::new(reader(real.config())), real).await;
}

#[tokio::test]
async fn mails_of_dovecot_are_read_in_order_and_marked_and_a_long_one_is_cut() {
    let Some(real) = Real::new("order") else { return };
    let mut config = real.config();
    config.max_bytes = 64 * 1024;
    let input = reader(config);
    assert!(input.check().await.unwrap().contains("is told of new mail"));
    real.deliver(&mail("from before")).await;
    let mut run = Run::start(&input, None).await;
    for at in 0..3 {
        real.deliver(&mail(&format!("mail {at}"))).await;
        assert_eq!(run.title().await, format!("mail {at}"));
    }
    let cursor = run.cursor.clone();
    drop(run);
    real.deliver(&mail("mail 3")).await;
    real.deliver(&format!("{}{}", mail("mail 4"), "x\n".repeat(100_000))).await;
    let mut run = Run::start(&input, Some(cursor)).await;
    assert_eq!(run.title().await, "mail 3");
    let (event, ack) = run.told().await;
    ack.resolve(Ruling::Committed);
    assert_eq!((event.title.as_str(), event.raw.unwrap().size), ("mail 4", 64 * 1024));
    let marked = wait_for("all but the first to be marked", PATIENCE, async || {
        match real.unseen().await {
            // The run that was dropped may have gone before it marked what it had kept.
            1 | 2 => Progress::Ready(()),
            count => Progress::Pending(format!("{count} are unseen")),
        }
    });
    marked.await;
}
