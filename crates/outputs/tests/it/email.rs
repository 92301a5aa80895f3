//! The mail output against a server that speaks SMTP, in the clear, with STARTTLS and in TLS.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{Delivery, EventSink as _, Retry};
use mail_parser::MessageParser;
use outputs::email::{Config, Email, Login, Security};
use stdx::tls::{Acceptor, Fingerprint, TlsOptions, TlsPolicy};
use testkit::contract::sink::{Mood, Service, Traits, sink};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    fake::kit,
    messages::{all, delivery, failure, golden, resolved},
};

const PASSWORD: &str = "a-password-of-these-tests";

#[derive(Default)]
pub(crate) struct State {
    /// Recipient and mail.
    pub(crate) mails: Vec<(String, String)>,
    /// What is said to a recipient instead of 250.
    recipients: BTreeMap<&'static str, &'static str>,
    mood: Option<Mood>,
    is_secret: Vec<bool>,
    logins: Vec<String>,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    fingerprint: Fingerprint,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub(crate) async fn start(security: Security) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let acceptor =
            Acceptor::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
                .unwrap();
        let fingerprint = Fingerprint::of(certificate.der());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, security, acceptor.clone(), Arc::clone(&serving)));
            }
        });
        Self { port, state, fingerprint, _task: AbortOnDropHandle::new(task) }
    }

    fn output(&self, security: Security, change: impl FnOnce(&mut Config)) -> Email {
        let to = vec!["Ops <ops@example.org>".to_owned()];
        let mut config = Config::new("127.0.0.1", "Proxmox at home <pve@home.example>", to);
        config.port = Some(self.port);
        config.security = security;
        config.tls = pins(self.fingerprint);
        config.login = Some(Login { user: "pve".to_owned(), password: PASSWORD.into() });
        change(&mut config);
        Email::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }
}

pub(crate) fn pins(fingerprint: Fingerprint) -> TlsOptions {
    TlsOptions { policy: TlsPolicy::Pins(vec![fingerprint]), server_name: None }
}

async fn serve(
    tcp: TcpStream,
    security: Security,
    acceptor: Acceptor,
    state: Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let tcp = match security {
        Security::Tls => return talk(acceptor.accept(tcp).await?, &state, true, true).await,
        Security::None => return talk(tcp, &state, true, false).await,
        Security::StartTls => tcp,
    };
    let mut stream = BufStream::new(tcp);
    stream.write_all(b"220-mail.example\r\n220 ready\r\n").await?;
    loop {
        stream.flush().await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.trim() {
            "STARTTLS" => {
                stream.write_all(b"220 go ahead\r\n").await?;
                stream.flush().await?;
                return talk(acceptor.accept(stream.into_inner()).await?, &state, false, true)
                    .await;
            }
            line if line.starts_with("EHLO") => {
                stream
                    .write_all(b"250-mail.example\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n")
                    .await?;
            }
            // A login or a mail in the clear.
            line => panic!("before TLS it said {line:?}"),
        }
    }
}

/// A whole conversation.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
    greets: bool,
    is_secret: bool,
) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mood = state.lock().unwrap().mood;
    state.lock().unwrap().is_secret.push(is_secret);
    if greets {
        let greeting: &[u8] = match mood {
            Some(Mood::Broken) => b"421 mail.example is not available\r\n",
            _ => b"220 mail.example\r\n",
        };
        stream.write_all(greeting).await?;
    }
    let mut recipients = Vec::new();
    loop {
        stream.flush().await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer = match (word.as_str(), mood) {
            ("EHLO", _) => "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
            ("AUTH", _) => {
                state.lock().unwrap().logins.push(line.clone());
                "235 welcome".to_owned()
            }
            ("MAIL", Some(Mood::Busy(_))) => "451 4.7.1 greylisted, come back later".to_owned(),
            ("MAIL", Some(Mood::Broken)) => "451 4.3.0 queue file write error".to_owned(),
            ("MAIL", Some(Mood::Refuses)) => format!("550 5.7.1 not after {PASSWORD}"),
            ("RCPT", _) => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let said = state.lock().unwrap().recipients.get(address.as_str()).copied();
                if said.is_none() {
                    recipients.push(address);
                }
                said.unwrap_or("250 ok").to_owned()
            }
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                stream.flush().await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await? == 0 {
                        return Ok(());
                    }
                }
                if mood == Some(Mood::HangsUp) {
                    return Ok(());
                }
                let mail = mail.trim_end_matches(".\r\n").replace("\r\n..", "\r\n.");
                let mails = recipients.drain(..).map(|to| (to, mail.clone()));
                state.lock().unwrap().mails.extend(mails);
                "250 queued".to_owned()
            }
            ("QUIT", _) => {
                stream.write_all(b"221 bye\r\n").await?;
                return stream.flush().await;
            }
            _ => "250 ok".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// Subject and text as a program that reads mail has them.
pub(crate) fn read(mail: &str) -> String {
    let mail = MessageParser::default().parse(mail.as_bytes()).unwrap();
    let text = mail.body_text(0).unwrap().into_owned();
    format!("{} \n{} ", mail.subject().unwrap(), text.replace('\n', " \n"))
}

pub(crate) fn header(mail: &str, name: &str) -> String {
    let mail = MessageParser::default().parse(mail.as_bytes()).unwrap();
    // Long ones are folded.
    let raw = mail.header_raw(name).unwrap_or_default();
    raw.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Service for Server {
    async fn set_mood(&self, mood: Mood) {
        self.with(|state| state.mood = Some(mood).filter(|mood| *mood != Mood::Well));
    }

    async fn shown(&self) -> Vec<String> {
        self.with(|state| state.mails.iter().map(|(_, mail)| read(mail)).collect())
    }

    fn traits(&self) -> Traits {
        let busy = Mood::Busy(Duration::from_secs(7));
        let moods = vec![busy, Mood::Broken, Mood::HangsUp, Mood::Refuses];
        Traits { knows_keys: false, edits: false, moods, secrets: vec![PASSWORD.to_owned()] }
    }
}

#[tokio::test]
async fn it_keeps_the_contract_however_the_line_is_kept_from_others() {
    for security in [Security::None, Security::StartTls, Security::Tls] {
        let server = Server::start(security).await;
        sink(&server.output(security, |_| {}), &server).await;
        server.with(|state| {
            assert!(state.is_secret.iter().all(|it| *it == (security != Security::None)));
            // user pve, in base64
            assert!(
                state.logins.iter().all(|it| it.starts_with("AUTH PLAIN AHB2ZQ")),
                "{:?}",
                state.logins
            );
        });
    }
}

#[tokio::test]
async fn a_server_that_is_another_gets_no_password() {
    for security in [Security::StartTls, Security::Tls] {
        let server = Server::start(security).await;
        let output =
            server.output(security, |config| config.tls = pins(Fingerprint::of(b"another")));
        let error = output.check().await.unwrap_err();
        assert!(error.to_string().contains("agree on TLS with"), "{error}");
        assert_eq!(server.with(|state| state.logins.len()), 0);
    }
    // And neither does one that would take it in the clear.
    let server = Server::start(Security::None).await;
    let output = server.output(Security::StartTls, |_| {});
    let error = output.check().await.unwrap_err();
    assert!(error.to_string().contains("it does not offer STARTTLS"), "{error}");
    assert_eq!(server.with(|state| state.logins.len()), 0);
}

#[tokio::test]
async fn mails_of_an_incident_hang_together_and_are_marked() {
    let server = Server::start(Security::None).await;
    let output = server.output(Security::None, |_| {});
    let first = delivery(failure());
    let receipt = output.deliver(&first).await.unwrap();
    output.deliver(&first).await.unwrap();
    let update = Delivery { prior: Some(receipt.clone()), ..delivery(resolved()) };
    output.deliver(&update).await.unwrap();
    let mails: Vec<String> =
        server.with(|state| state.mails.iter().map(|(_, mail)| mail.clone()).collect());
    assert_eq!(mails[0], mails[1], "a second attempt is the same mail");
    assert_eq!(header(&mails[0], "Message-ID"), receipt.ids[0]);
    assert_eq!(header(&mails[2], "In-Reply-To"), receipt.ids[0]);
    let thread = header(&mails[0], "References");
    assert_eq!(header(&mails[2], "References"), format!("{thread} {}", receipt.ids[0]));
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Proxmox-Mcp", "home")] {
        assert_eq!(header(&mails[2], name), value);
    }
}

#[tokio::test]
async fn who_has_taken_it_is_not_sent_it_again() {
    let server = Server::start(Security::None).await;
    let output = server.output(Security::None, |config| {
        config.to = ["a@example.org", "b@example.org", "c@example.org"].map(str::to_owned).to_vec();
    });
    server.with(|state| {
        state.recipients.insert("b@example.org", "450 4.2.1 mailbox busy");
        state.recipients.insert("c@example.org", "550 5.1.1 no such user");
    });
    let mut mail = delivery(failure());
    let error = output.deliver(&mail).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Backoff, "{error}");
    mail.so_far = error.receipt_so_far().cloned();
    server.with(|state| state.recipients.remove("b@example.org"));
    output.deliver(&mail).await.unwrap();
    let to: Vec<String> =
        server.with(|state| state.mails.iter().map(|(to, _)| to.clone()).collect());
    assert_eq!(to, ["a@example.org", "b@example.org"]);

    // Nobody at all is for good, and a route is an address of its own.
    server.with(|state| state.recipients.insert("d@example.org", "550 5.1.1 no such user"));
    let mut routed = delivery(failure());
    routed.message.route = Some("d@example.org".to_owned());
    let error = output.deliver(&routed).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error}");
    assert!(error.to_string().contains("no such user"), "{error}");
}

#[tokio::test]
async fn a_title_is_one_header_whatever_is_in_it() {
    let server = Server::start(Security::None).await;
    let output = server.output(Security::None, |_| {});
    let mut mail = delivery(failure());
    mail.message.title = "a\r\nBcc: everybody@example.org\r\n\r\nthe end\n".repeat(20);
    output.deliver(&mail).await.unwrap();
    let (to, mail) = server.with(|state| state.mails[0].clone());
    assert_eq!((to.as_str(), header(&mail, "Bcc").as_str()), ("ops@example.org", ""));
    let whole = ["a Bcc: everybody@example.org the end"; 20].join(" ");
    assert!(read(&mail).contains(&whole), "{}", read(&mail));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut Config), said: &str| {
        let mut config =
            Config::new("mail.example.org", "a@example.org", vec!["b@example.org".to_owned()]);
        change(&mut config);
        let error = Email::try_new("ops".parse().unwrap(), config, &kit()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    };
    refused(|config| config.to.clear(), "`to` names nobody");
    refused(|config| config.to.push("nobody".to_owned()), r#"`to` has "nobody""#);
    refused(|config| config.from = "a b".to_owned(), "`from` has");
    refused(|config| config.server = "smtp://x".to_owned(), "`server` is no name");
    refused(|config| config.hello = Some("a b".to_owned()), "`hello` is no name");
    refused(
        |config| {
            config.security = Security::None;
            config.login = Some(Login { user: "a".to_owned(), password: PASSWORD.into() });
        },
        "in the clear",
    );
}

#[tokio::test]
async fn what_is_sent() {
    let server = Server::start(Security::None).await;
    let output = server.output(Security::None, |_| {});
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        let mail = server.with(|state| state.mails.pop().unwrap().1);
        golden("email", name, &mail.replace("\r\n", "\n"));
    }
}
