//! Discord: what is posted is heard once, whatever becomes of the connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    Event, EventSource as _, RunContext, Severity, Signal, SourceError, SourceErrorKind,
};
use expect_test::expect;
use futures::StreamExt as _;
use inputs::{
    Echo,
    discord::{Config, Discord, Gateway, Heard},
};
use serde_json::{Value, json};
use stdx::{
    SystemClock,
    http::Proxy,
    tls::{Acceptor, Fingerprint, TlsPolicy},
};
use testkit::{
    Progress,
    contract::source::{Reporter, Told, source},
    fake::{
        Fake,
        discord::{BOT, Discord as Server, LOBBY, Limit, ME, OPS, Order, SECRET, WEBHOOK},
    },
    wait_for,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    streams::{Run, numbered},
    webhooks::shown,
};

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Somebody who writes.
const ANN: u64 = 31;
/// A relay that posts for Proxmox.
const RELAY: u64 = 32;

fn config(fake: &Fake<Server>) -> Config {
    let mut config = Config::new(BOT.into(), [OPS]);
    config.api = fake.url("/api/v10");
    config.identity.cluster = "lab".parse().ok();
    config
}

fn input(config: Config) -> Discord {
    Discord::try_new("chat".parse().unwrap(), config).unwrap()
}

fn say(fake: &Fake<Server>, channel: u64, text: &str) -> u64 {
    fake.with(|server| server.say(channel, ANN, json!({ "content": text })))
}

fn say_all(fake: &Fake<Server>, range: std::ops::Range<u32>) {
    for at in range {
        say(fake, OPS, &format!("message {at}"));
    }
}

/// Waits until the gateway has counted that.
async fn until(
    fake: &Fake<Server>,
    what: &str,
    is_so: impl Fn(testkit::fake::discord::Counts) -> bool,
) {
    let gateway = fake.with(|server| server.gateway());
    wait_for(what, PATIENCE, async || {
        let counts = gateway.counts();
        if is_so(counts) { Progress::Ready(()) } else { Progress::Pending(format!("{counts:?}")) }
    })
    .await;
}

struct Poster(Arc<Fake<Server>>);

#[async_trait]
impl Reporter for Poster {
    async fn report(&self, text: &str) -> Told {
        say(&self.0, OPS, text);
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract() {
    let fake = Arc::new(Fake::start(Server::new()).await);
    source(Arc::new(input(config(&fake))), Arc::new(Poster(fake))).await;
}

#[tokio::test]
async fn what_was_posted_while_nobody_listened_is_heard_in_its_order() {
    let fake = Fake::start(Server::new()).await;
    let gateway = fake.with(|server| server.gateway());
    let input = input(config(&fake));
    say(&fake, OPS, "from before");
    let mut run = Run::start(&input, None).await;
    say_all(&fake, 0..3);
    assert_eq!(run.titles(3).await, numbered(0..3));
    // The connection breaks, and the session goes on.
    gateway.order(Order::Drop);
    say_all(&fake, 3..9);
    assert_eq!(run.titles(6).await, numbered(3..9));
    assert_eq!((gateway.counts().identified, gateway.counts().resumed), (1, 1));
    // It breaks, Discord forgets the session, and much is posted before a new one can be begun.
    gateway.set_shut(true);
    gateway.order(Order::Drop);
    gateway.forget();
    say_all(&fake, 9..250);
    gateway.set_shut(false);
    assert_eq!(run.titles(241).await, numbered(9..250));
    assert_eq!(gateway.counts().identified, 2);
    // The program ends and goes on.
    let cursor = run.cursor.clone();
    drop(run);
    say_all(&fake, 250..480);
    let mut run = Run::start(&input, Some(cursor)).await;
    assert_eq!(run.titles(230).await, numbered(250..480));
    say_all(&fake, 480..481);
    assert_eq!(run.titles(1).await, numbered(480..481), "nothing came twice before it");
}

#[tokio::test]
async fn whatever_the_gateway_wants_nothing_is_lost_and_nothing_comes_twice() {
    let fake = Fake::start(Server::new()).await;
    let gateway = fake.with(|server| server.gateway());
    let mut run = Run::start(&input(config(&fake)), None).await;
    let mut next = 0;
    for order in [
        Order::Beat,
        Order::Say("{no json".to_owned()),
        Order::Say(r#"{"op":0,"t":"MESSAGE_CREATE","s":null,"d":{"id":"no number"}}"#.to_owned()),
        Order::Reconnect,
        Order::Close(4000),
        Order::Close(4009),
        Order::Invalidate { is_resumable: true },
        Order::Invalidate { is_resumable: false },
    ] {
        let before = gateway.counts();
        let name = format!("{order:?}");
        let ends = !matches!(order, Order::Beat | Order::Say(_));
        gateway.order(order);
        say_all(&fake, next..next + 3);
        assert_eq!(run.titles(3).await, numbered(next..next + 3), "{name}");
        next += 3;
        let after = gateway.counts();
        let began = (after.identified - before.identified, after.resumed - before.resumed);
        let expected = match name.as_str() {
            _ if !ends => (0, 0),
            "Close(4009)" | "Invalidate { is_resumable: false }" => (1, 0),
            _ => (0, 1),
        };
        assert_eq!(began, expected, "{name}");
    }
    assert!(gateway.counts().beats >= 1, "what is asked for a heartbeat gives one");
}

#[tokio::test]
async fn a_connection_that_answers_no_heartbeat_is_given_up() {
    let fake = Fake::start(Server::new()).await;
    let gateway = fake.with(|server| server.gateway());
    gateway.set_heartbeat(Duration::from_millis(150));
    let mut run = Run::start(&input(config(&fake)), None).await;
    until(&fake, "heartbeats", |counts| counts.beats >= 4).await;
    assert_eq!(gateway.counts().opened, 1);
    gateway.set_mute(true);
    until(&fake, "another connection", |counts| counts.opened >= 2).await;
    gateway.set_mute(false);
    say(&fake, OPS, "message 0");
    assert_eq!(run.titles(1).await, numbered(0..1));
    assert_eq!(gateway.counts().identified, 1, "the session went on");
}

#[tokio::test]
async fn a_log_that_is_slow_holds_discord_back_and_the_session_lives() {
    let fake = Fake::start(Server::new()).await;
    let gateway = fake.with(|server| server.gateway());
    gateway.set_heartbeat(Duration::from_millis(100));
    let mut run = Run::start(&input(config(&fake)), None).await;
    // Far more than the queues hold.
    say_all(&fake, 0..600);
    let beats = gateway.counts().beats;
    until(&fake, "heartbeats while nothing is read", |counts| counts.beats >= beats + 5).await;
    assert_eq!(run.titles(600).await, numbered(0..600));
    assert_eq!(gateway.counts().identified, 1);
}

#[tokio::test]
async fn limits_are_kept_and_a_429_is_waited_for() {
    let fake = Fake::start(Server::new()).await;
    let limit = Limit { most: 2, within: Duration::from_millis(300) };
    fake.with(|server| server.limit = Some(limit));
    let input = input(config(&fake));
    let run = Run::start(&input, None).await;
    let cursor = run.cursor.clone();
    drop(run);
    say_all(&fake, 0..650);
    let mut run = Run::start(&input, Some(cursor.clone())).await;
    assert_eq!(run.titles(650).await, numbered(0..650), "seven pages");
    assert_eq!(fake.with(|server| server.limited), 0, "a request came before there was room");
    drop(run);
    // Somebody else with the same token has emptied the bucket.
    let route = format!("channels/{OPS}/messages");
    fake.with(|server| {
        server.limit = None;
        server.close_bucket("GET", &route, Duration::from_millis(400));
    });
    let input = self::input(config(&fake));
    let mut run = Run::start(&input, Some(cursor)).await;
    assert_eq!(run.titles(650).await, numbered(0..650));
    assert_eq!(fake.with(|server| (server.limited, server.invalid)), (1, 1));
}

/// What becomes of these messages of two channels.
async fn heard(config: Config, fake: &Fake<Server>) -> Vec<String> {
    let echo = config.echo.clone();
    let mut run = Run::start(&input(config), None).await;
    fake.with(|server| {
        let text = |text: &str| json!({ "content": text });
        server.say(OPS, ANN, text("of ann"));
        server.say(OPS, RELAY, text("of the relay"));
        server.say(LOBBY, ANN, text("elsewhere"));
        server.say(LOBBY, ANN, json!({ "content": format!("<@{ME}> elsewhere, to the bot") }));
        server.say(OPS, ME, text("of the bot itself"));
        server.say(OPS, WEBHOOK, text("of our own webhook"));
        let footer = json!({ "text": "proxmox-mcp · other · INC-7" });
        let embed = json!({ "title": "backup failed", "footer": footer });
        server.say(OPS, ANN, json!({ "embeds": [embed] }));
        server.say(OPS, ANN, json!({ "content": "", "type": 7 }));
        server.say(OPS, RELAY, text("the end"));
    });
    let mut titles = Vec::new();
    while titles.last().is_none_or(|title| title != "the end") {
        titles.extend(run.titles(1).await);
    }
    // That may have been in the list, and some of the others wait behind the gateway; this one comes after them.
    fake.with(|server| server.say(OPS, RELAY, json!({ "content": "behind the end" })));
    while titles.last().is_none_or(|title| title != "behind the end") {
        titles.extend(run.titles(1).await);
    }
    titles.sort();
    titles.push(format!("{} are ours", echo.dropped()));
    titles
}

#[tokio::test]
async fn what_is_wanted_is_heard_and_what_is_ours_is_not() {
    let fake = Fake::start(Server::new()).await;
    let ours = || Echo::new(Arc::new(|mark| mark == format!("webhook:{WEBHOOK}")));
    let with_ours = || {
        let mut config = config(&fake);
        config.echo = ours();
        config
    };
    let all = [
        "behind the end",
        "elsewhere, to the bot",
        "of ann",
        "of the relay",
        "the end",
        "3 are ours",
    ];
    assert_eq!(heard(with_ours(), &fake).await, all);
    let mut config = with_ours();
    config.mentions = false;
    config.authors = [RELAY].into();
    let some = ["behind the end", "of the relay", "the end", "0 are ours"];
    assert_eq!(heard(config, &fake).await, some);
}

#[tokio::test]
async fn messages_become_events() {
    let fake = Fake::start(Server::new()).await;
    let mut run = Run::start(&input(config(&fake)), None).await;
    let forwarded = json!({ "message": { "content": "replication job 104-0 failed" } });
    let components =
        json!([{ "type": 17, "components": [{ "type": 10, "content": "## fan 2 stands" }] }]);
    fake.with(|server| {
        for body in [
            json!({
                "content": "",
                "embeds": [{
                    "title": "vzdump backup status (pve1.lan): backup failed",
                    "description": "@everyone look",
                    "fields": [{ "name": "node", "value": "pve1" }],
                }],
            }),
            json!({ "content": "", "message_snapshots": [forwarded] }),
            json!({ "content": "", "components": components }),
            json!({ "content": "", "attachments": [{ "id": "1", "filename": "fire.jpg" }] }),
            json!({ "content": "" }),
        ] {
            server.say(OPS, RELAY, body);
        }
    });
    let events: Vec<Event> = run.next(5).await;
    assert_eq!(events[0].severity, Severity::Error);
    assert_eq!(events[0].subject.label(), "lab/pve1");
    assert!(events[0].message.contains("@everyone look"), "what others write is data");
    assert!(events[0].raw.as_ref().unwrap().text.contains(r#""embeds":[{"title":"vzdump"#));
    expect![[r#"
        error backup.failed lab/node/pve1 at 2026-11-22T18:00:01Z
          vzdump backup status (pve1.lan): backup failed
          on pve1
          author: 32
          channel: 222
          guild: 100
          host: pve1.lan
          message_id: 1574122295394304001
        warning other.notification lab at 2026-11-22T18:00:02Z
          replication job 104-0 failed
          author: 32
          channel: 222
          guild: 100
          message_id: 1574122299588608002
        warning other.notification lab at 2026-11-22T18:00:03Z
          fan 2 stands
          author: 32
          channel: 222
          guild: 100
          message_id: 1574122303782912003
        warning other.notification lab at 2026-11-22T18:00:04Z
          attached: fire.jpg
          author: 32
          channel: 222
          guild: 100
          message_id: 1574122307977216004
        warning other.notification lab at 2026-11-22T18:00:05Z
          a message without words
          author: 32
          channel: 222
          guild: 100
          message_id: 1574122312171520005
    "#]]
    .assert_eq(&shown(&events));
}

/// What a run or a check fails with.
async fn failure(input: &Discord) -> SourceError {
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream = input.run(cx, None);
    loop {
        match stream.next().await.unwrap() {
            Ok(Signal::SyncStarted) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn what_a_person_has_to_change_is_said_and_no_secret_is() {
    let fake = Fake::start(Server::new()).await;
    let said = async |config: Config, said: &str| {
        let input = input(config);
        for error in [failure(&input).await, input.check().await.unwrap_err()] {
            let shown = format!("{} {input:?} {error:?}", stdx::Chain(&error));
            assert_eq!(error.kind(), SourceErrorKind::Settings, "{shown}");
            assert!(shown.contains(said), "{shown}");
            assert!(!shown.contains("planted") && !shown.contains(BOT), "{shown}");
        }
    };
    let mut wrong = config(&fake);
    wrong.token = "planted.wrong".into();
    said(wrong.clone(), "the token is refused; make a new one").await;
    let mut closed = config(&fake);
    closed.channels = [SECRET].into();
    said(closed, "channel 555 of Discord: it answers 403: the bot may not").await;
    let mut unknown = config(&fake);
    unknown.channels = [12].into();
    said(unknown, "look at the id").await;
    fake.with(|server| server.shows_content = false);
    said(config(&fake), "switch on Message Content Intent").await;
    // Without channels no list is read, and the gateway alone is asked.
    wrong.channels.clear();
    said(wrong, "the token is refused; make a new one").await;
}

#[tokio::test]
async fn a_bot_that_may_not_see_what_messages_hold_hears_what_mentions_it() {
    let fake = Fake::start(Server::new()).await;
    fake.with(|server| server.shows_content = false);
    let mut config = config(&fake);
    config.channels.clear();
    let input = input(config);
    assert_eq!(
        input.check().await.unwrap(),
        "hears what mentions the bot; 1000 of 1000 sessions are left today"
    );
    let mut run = Run::start(&input, None).await;
    say(&fake, LOBBY, "not to the bot");
    say(&fake, LOBBY, &format!("<@{ME}>: node pve1 smells of smoke"));
    assert_eq!(run.titles(1).await, ["node pve1 smells of smoke"]);
}

#[tokio::test]
async fn a_check_says_what_is_heard_and_begins_no_session() {
    let fake = Fake::start(Server::new()).await;
    let mut config = config(&fake);
    config.channels.insert(LOBBY);
    fake.with(|server| server.starts_left = 998);
    assert_eq!(
        input(config).check().await.unwrap(),
        "hears ops, lobby and what mentions the bot; 998 of 1000 sessions are left today"
    );
    assert_eq!(fake.with(|server| server.gateway()).counts().opened, 0);
}

#[tokio::test]
async fn a_bot_without_sessions_left_says_when_the_next_may_be() {
    let fake = Fake::start(Server::new()).await;
    fake.with(|server| server.starts_left = 0);
    let error = failure(&input(config(&fake))).await;
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    assert_eq!(error.pause(), Some(Duration::from_hours(4)));
    assert!(
        error.to_string().contains("1000 today, which is all; the next may be in 14400 s"),
        "{error}"
    );
    assert_eq!(fake.with(|server| server.gateway()).counts().opened, 0);
}

/// A way to Discord as it is: TLS before it, and a proxy before that.
struct Way {
    proxy: SocketAddr,
    server: SocketAddr,
    fingerprint: Fingerprint,
    /// What the proxy was asked for.
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Way {
    async fn to(fake: &Fake<Server>) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = (certificate.pem(), key.serialize_pem());
        let acceptor = Acceptor::from_pem(pem.0.as_bytes(), pem.1.as_bytes()).unwrap();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = door.local_addr().unwrap();
        let behind = fake.address();
        let ends_tls = tokio::spawn(async move {
            while let Ok((stream, _)) = door.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut inside = TcpStream::connect(behind).await.unwrap();
                    // How it ends is the matter of both sides.
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = door.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let passes_on = tokio::spawn(async move {
            while let Ok((stream, _)) = door.accept().await {
                tokio::spawn(connect(stream, Arc::clone(&noted)));
            }
        });
        let fingerprint = Fingerprint::of(certificate.der());
        let tasks = [ends_tls, passes_on].map(AbortOnDropHandle::new);
        Self { proxy, server, fingerprint, asked, _tasks: tasks }
    }
}

/// Takes one CONNECT and does as it says.
async fn connect(mut stream: TcpStream, noted: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    noted.lock().unwrap().push(to.clone());
    let mut inside = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // How it ends is the matter of both sides.
    let _ = copy_bidirectional(&mut stream, &mut inside).await;
}

#[tokio::test]
async fn lists_and_gateway_go_through_the_same_proxy_to_the_certificate_that_is_known() {
    let fake = Fake::start(Server::new()).await;
    let way = Way::to(&fake).await;
    let mut config = config(&fake);
    config.api = format!("https://{}/api/v10", way.server);
    config.http.proxy = Proxy::Url(format!("http://{}", way.proxy));
    config.http.tls.policy = TlsPolicy::Pins(vec![way.fingerprint]);
    // The token does not go where it could be read.
    let error = failure(&input(config.clone())).await;
    assert_eq!(error.kind(), SourceErrorKind::Protocol);
    assert!(error.to_string().contains("is not protected"), "{error}");
    fake.with(|server| server.scheme = "wss");
    let mut run = Run::start(&input(config.clone()), None).await;
    say_all(&fake, 0..3);
    assert_eq!(run.titles(3).await, numbered(0..3));
    let asked = way.asked.lock().unwrap().clone();
    assert!(asked.len() >= 2, "one for the API, one for the gateway: {asked:?}");
    assert!(asked.iter().all(|to| *to == way.server.to_string()), "{asked:?}");
    // Another certificate is not believed.
    config.http.tls.policy = TlsPolicy::Pins(vec![Fingerprint::of(b"another")]);
    let error = input(config).check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(error.to_string().contains("name its authority or fingerprint"), "{error}");
}

/// A gateway that says what it was told to say, and ends with that.
#[derive(Debug)]
struct Script(Mutex<Vec<Heard>>);

#[async_trait]
impl Gateway for Script {
    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), SourceError> {
        let script = std::mem::take(&mut *self.0.lock().unwrap());
        for news in script {
            heard.send(news).await.unwrap();
        }
        Err(SourceError::new(SourceErrorKind::Unavailable, "go on with the script: it is over"))
    }
}

#[tokio::test]
async fn another_gateway_can_take_the_place_of_ours() {
    let fake = Fake::start(Server::new()).await;
    let message = |id: u64| -> Heard {
        let message: Value = json!({
            "id": id.to_string(), "channel_id": OPS.to_string(), "type": 0,
            "author": { "id": ANN.to_string() }, "content": format!("message {id}"),
        });
        Heard::Message(Box::new(message))
    };
    // Begins anew in between, tells something twice, and something late.
    let script = vec![
        Heard::Begun(ME),
        message(7),
        message(9),
        message(8),
        message(9),
        Heard::Begun(ME),
        message(10),
    ];
    let gateway = Arc::new(Script(Mutex::new(script)));
    let input = Discord::with_gateway("chat".parse().unwrap(), config(&fake), gateway).unwrap();
    let mut run = Run::start(&input, None).await;
    let titles = ["message 7", "message 9", "message 8", "message 10"];
    assert_eq!(run.titles(4).await, titles);
    let error = run.stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "go on with the script: it is over");
    assert_eq!(run.cursor.as_str(), format!("{OPS}:10"));
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let says = |token: &str, change: &dyn Fn(&mut Config), part: &str| {
        let mut config = Config::new(token.into(), [OPS]);
        change(&mut config);
        let error = Discord::try_new("chat".parse().unwrap(), config).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("planted"), "{error}");
    };
    says("Bot planted", &|_| {}, "no blanks");
    says("", &|_| {}, "is no bot's");
    says(
        "x",
        &|config| {
            config.channels.clear();
            config.mentions = false;
        },
        "nothing to hear",
    );
    says("x", &|config| config.channels = (0..200).collect(), "more than 100 channels");
    says("x", &|config| config.api = "discord.com".to_owned(), "no address");
}
