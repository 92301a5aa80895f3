//! Real peers, started by `cargo xtask services`: Postfix, rsyslog and an ntfy server take what the outputs send. Of
//! Discord and Gotify there are none to be had; servers that keep their documented limits stand for them.
//!
//! Each test prints what was sent and what arrived; `--nocapture` shows it.

mod chat;

use std::{fmt::Write as _, time::Duration};

use event_core::{Delivery, EventSink as _, Receipt};
use outputs::{
    email::{self, Email, Security},
    ntfy::{self, Ntfy},
    syslog::{self, Syslog},
};
use serde_json::Value;
use stdx::tls::{Fingerprint, TlsOptions};
use testkit::{
    Progress,
    peers::{Postfix, Rsyslog},
    wait_for,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    email::{Server, header, pins, read},
    fake::kit,
    messages::{all, delivery, failure, resolved},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Shows what was sent and what arrived.
#[expect(clippy::print_stdout, reason = "it is for whoever runs the test")]
fn show(way: &str, rows: &[(String, String)]) {
    let mut text = format!("\n{way}: what was sent -> what arrived\n");
    for (sent, came) in rows {
        let came: String = came.chars().take(160).collect();
        writeln!(text, "  {sent}\n      -> {}", came.replace('\n', " | ")).unwrap();
    }
    println!("{text}");
}

/// So many words, each with its number.
fn numbered(word: &str, count: usize) -> String {
    let words: Vec<String> = (0..count).map(|at| format!("{word}{at} ")).collect();
    words.concat()
}

/// A certificate for `localhost`, its key, and how it is known.
fn certificate() -> (String, String, Fingerprint) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem(), Fingerprint::of(certificate.der()))
}

#[tokio::test]
async fn postfix_takes_mails_over_starttls_and_passes_them_on_as_they_are() {
    // Whoever has the mailbox, behind Postfix.
    let mailbox = Server::start(Security::None).await;
    let (certificate, key, fingerprint) = certificate();
    let files = [("cert.pem", certificate.as_str()), ("key.pem", key.as_str())];
    let settings = "smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {folder}/cert.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_loglevel = 1
smtp_tls_security_level = none";
    let Some(postfix) = Postfix::start(mailbox.port, &files, settings).await else { return };
    let to = vec!["Ops <ops@example.org>".to_owned(), "boss@example.org".to_owned()];
    let mut config = email::Config::new("127.0.0.1", "Proxmox at home <pve@home.example>", to);
    config.port = Some(postfix.address().port());
    config.tls = pins(fingerprint);
    let output = Email::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    output.check().await.unwrap();
    let receipt = output.deliver(&delivery(failure())).await.unwrap();
    let update = Delivery { prior: Some(receipt.clone()), ..delivery(resolved()) };
    output.deliver(&update).await.unwrap();
    let mut mails = wait_for("four mails", PATIENCE, async || {
        let mails = mailbox.with(|state| state.mails.clone());
        if mails.len() == 4 { Progress::Ready(mails) } else { Progress::Pending(postfix.log()) }
    })
    .await;
    mails.sort_by_key(|(to, mail)| (header(mail, "Message-ID") != receipt.ids[0], to.clone()));
    let to: Vec<&str> = mails.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["boss@example.org", "ops@example.org", "boss@example.org", "ops@example.org"]);
    for (at, (_, mail)) in mails.iter().enumerate() {
        let received = header(mail, "Received");
        assert!(received.contains("by mta.lab.example (Postfix) with ESMTPS"), "{received}");
        assert_eq!(header(mail, "X-Proxmox-Mcp"), "home");
        assert_eq!(header(mail, "Message-ID") == receipt.ids[0], at < 2, "it keeps our ids");
        assert_eq!(header(mail, "In-Reply-To") == receipt.ids[0], at >= 2, "the end hangs on it");
    }
    assert!(postfix.log().contains("TLSv1.3"), "{}", postfix.log());
    let rows: Vec<_> = ["a failure", "its end"]
        .into_iter()
        .zip([&mails[1], &mails[3]])
        .map(|(sent, (_, mail))| (sent.to_owned(), read(mail)))
        .collect();
    show("mail output, STARTTLS, Postfix, a mailbox", &rows);
}

#[tokio::test]
async fn a_recipient_that_postfix_refuses_is_told_from_those_that_it_takes() {
    let mailbox = Server::start(Security::None).await;
    let settings =
        "smtpd_recipient_restrictions = check_recipient_access inline:{nobody@example.org=REJECT}";
    let Some(postfix) = Postfix::start(mailbox.port, &[], settings).await else { return };
    let to = vec!["ops@example.org".to_owned(), "nobody@example.org".to_owned()];
    let mut config = email::Config::new("127.0.0.1", "pve@home.example", to);
    config.port = Some(postfix.address().port());
    config.security = Security::None;
    let output = Email::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    output.deliver(&delivery(failure())).await.unwrap();
    let mails = wait_for("a mail", PATIENCE, async || {
        let mails = mailbox.with(|state| state.mails.clone());
        if mails.is_empty() { Progress::Pending(postfix.log()) } else { Progress::Ready(mails) }
    })
    .await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].0, "ops@example.org");
    assert!(postfix.log().contains("554 5.7.1 <nobody@example.org>"), "{}", postfix.log());
}

/// rsyslog as a receiver: it writes what it heard to a file, and where it listens to another.
const RECEIVER: &str = "template(name=\"heard\" type=\"string\" string=\"%syslogseverity% %hostname% %app-name% %procid% %msgid% %msg%\\n\")
*.* action(type=\"omfile\" file=\"{folder}/heard\" template=\"heard\")";

/// Starts a receiver, and gives it with the output that tells it.
async fn receiver(
    scheme: &str,
    files: &[(&str, &str)],
    input: &str,
    tls: TlsOptions,
) -> Option<(Rsyslog, Syslog)> {
    let settings = format!("{input}\n{RECEIVER}");
    let rsyslog = Rsyslog::start("log1", files, &settings).await?;
    let port = wait_for("rsyslog to listen where it says", PATIENCE, async || {
        let Ok(port) = rsyslog.wrote("port").trim().parse::<u16>() else {
            return Progress::Pending(rsyslog.said());
        };
        // It says so a moment before it does.
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => Progress::Ready(port),
            Err(error) => Progress::Pending(error.to_string()),
        }
    })
    .await;
    let target = format!("{scheme}://127.0.0.1:{port}").parse().unwrap();
    let mut config = syslog::Config::new(target, "mcp1", 4711);
    config.tls = tls;
    Some((rsyslog, Syslog::try_new("ops".parse().unwrap(), config, &kit()).unwrap()))
}

/// What it heard, as soon as this is in it.
async fn heard(rsyslog: &Rsyslog, words: &str) -> String {
    wait_for("rsyslog to write all", PATIENCE, async || {
        let heard = rsyslog.wrote("heard");
        let is_all = heard.contains(words) && heard.ends_with('\n');
        if is_all { Progress::Ready(heard) } else { Progress::Pending(heard) }
    })
    .await
}

#[tokio::test]
async fn rsyslog_hears_lines_over_tcp() {
    let input = "module(load=\"imtcp\")
input(type=\"imtcp\" port=\"0\" address=\"127.0.0.1\" listenPortFileName=\"{folder}/port\")";
    let receiver = receiver("tcp", &[], input, TlsOptions::default()).await;
    let Some((rsyslog, output)) = receiver else { return };
    output.check().await.unwrap();
    for (_, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
    }
    // More than one line may have: several, and nothing of it is lost.
    let mut long = delivery(failure());
    let words = numbered("word", 4000);
    long.message.text.clone_from(&words);
    output.deliver(&long).await.unwrap();
    let heard = heard(&rsyslog, "word3999 ").await;
    let lines: Vec<&str> = heard.lines().collect();
    let is = |line: &str, start: &str, words: &str| {
        assert!(line.starts_with(start) && line.contains(words), "{line}");
    };
    is(
        lines[0],
        "3 mcp1 proxmox-mcp 4711 backup.failed ",
        "stand=new severity=error backup of 104",
    );
    is(
        lines[1],
        "3 mcp1 proxmox-mcp 4711 backup.failed ",
        "Update: backup of 104 failed (and 2 more)",
    );
    is(lines[2], "5 mcp1 proxmox-mcp 4711 backup.failed ", "Resolved: backup of 104 failed");
    is(lines[3], "6 mcp1 proxmox-mcp 4711 other.digest ", "all is well: 12 backups");
    let text =
        |line: &&str| line.split_once("part=").unwrap().1.split_once(' ').unwrap().1.to_owned();
    let long: String = lines[4..].iter().map(text).collect();
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    assert!(bare(&long).contains(&bare(&words)), "{long}");
    let names = ["a failure", "more of it", "its end", "a digest"];
    let rows: Vec<_> = names
        .iter()
        .zip(&lines)
        .map(|(sent, came)| ((*sent).to_owned(), (*came).to_owned()))
        .collect();
    show("syslog output, TCP, rsyslog", &rows);
}

#[tokio::test]
async fn rsyslog_hears_a_line_over_tls() {
    let (certificate, key, fingerprint) = certificate();
    let files = [("cert.pem", certificate.as_str()), ("key.pem", key.as_str())];
    let input = "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{folder}/cert.pem\"
    defaultNetstreamDriverCertFile=\"{folder}/cert.pem\" defaultNetstreamDriverKeyFile=\"{folder}/key.pem\")
module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")
input(type=\"imtcp\" port=\"0\" address=\"127.0.0.1\" listenPortFileName=\"{folder}/port\")";
    let receiver = receiver("tls", &files, input, pins(fingerprint)).await;
    let Some((rsyslog, output)) = receiver else { return };
    // One connection alone: on later ones rsyslog 8.2302 now and then sends, behind our goodbye, what rustls cannot
    // read as a record of theirs, and a debug build of rustls panics at that.
    output.deliver(&delivery(failure())).await.unwrap();
    let heard = heard(&rsyslog, "backup of 104").await;
    assert!(heard.starts_with("3 mcp1 proxmox-mcp 4711 backup.failed "), "{heard}");
    show("syslog output, TLS, rsyslog", &[("a failure".to_owned(), heard)]);
}

/// What a topic of a real server has.
async fn posted(url: &str, topic: &str) -> Vec<Value> {
    let server = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET /{topic}/json?poll=1 HTTP/1.0\r\nhost: {server}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_ntfy_server_has_messages_whole_with_sign_priority_and_link() {
    let Some(url) = testkit::services::ntfy_url() else { return };
    // A topic of this run's alone: the server outlives it.
    let topic = format!("outputs-{}", std::process::id());
    let before = posted(&url, &topic).await.len();
    let config = ntfy::Config::new(url.as_str(), topic.as_str());
    let output = Ntfy::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    output.check().await.unwrap();
    let mut receipts: Vec<Receipt> = Vec::new();
    for (_, delivery) in all() {
        receipts.push(output.deliver(&delivery).await.unwrap());
    }
    let mut long = delivery(failure());
    long.message.text = numbered("wörd", 2000);
    receipts.push(output.deliver(&long).await.unwrap());
    let posted = posted(&url, &topic).await.split_off(before);
    let ids: Vec<&str> = posted.iter().map(|it| it["id"].as_str().unwrap()).collect();
    let told: Vec<&str> = receipts.iter().flat_map(|it| &it.ids).map(String::as_str).collect();
    assert_eq!(ids, told, "each message is one, in order, and known by the server's name for it");
    assert!(receipts[4].ids.len() > 3, "a long one is several");
    let text = |it: &Value| it["message"].as_str().unwrap().to_owned();
    let whole: String = posted[4..].iter().map(text).collect();
    for at in 0..2000 {
        assert!(whole.contains(&format!("wörd{at}")), "wörd{at} is missing");
    }
    assert!(posted.iter().all(|it| it["attachment"].is_null()), "none became a file");
    let first = &posted[0];
    assert_eq!(first["title"], "backup of 104 failed: <@everyone> *disk*");
    assert_eq!(first["priority"], 4);
    assert_eq!(first["tags"], serde_json::json!(["x", "backup.failed", "proxmox-mcp"]));
    assert_eq!(first["click"], "https://mcp.example.org/incidents/7f3a9c1e");
    assert_eq!(first["actions"][0]["url"], first["click"]);
    let names = ["a failure", "more of it", "its end", "a digest", "a long failure (first of it)"];
    let rows: Vec<_> = names
        .iter()
        .zip(&posted)
        .map(|(sent, it)| {
            let came = format!("{} {} {}", it["priority"], it["title"], it["message"]);
            ((*sent).to_owned(), came)
        })
        .collect();
    show("ntfy output, an ntfy server", &rows);
}
