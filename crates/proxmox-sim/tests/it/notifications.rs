//! Notifications: what is set up is what is sent, and what the levers make of it.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::wire::{Caller, demo};

const BODY: &str =
    r#"{"title": {{ json title }}, "severity": {{ json severity }}, "fields": {{ json fields }}}"#;

/// Takes one request, answers with this status, and gives the request.
fn receiver(status: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback works");
    let address = listener.local_addr().expect("loopback works");
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("loopback works");
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).expect("loopback works");
            bytes.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
                length.is_some_and(|length| length.parse() == Ok(body.len()))
            });
            if whole || count == 0 {
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("loopback works");
                return text;
            }
        }
    });
    (address, heard)
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Makes a webhook `ops` and a matcher for it.
async fn set_up(admin: &Caller, root: &str, url: &str) {
    let header = format!("name=Authorization,value={}", base64("Bearer {{ secrets.token }}"));
    let secret = format!("name=token,value={}", base64("s3cret"));
    let hook = [
        ("name", "ops"),
        ("method", "post"),
        ("url", url),
        ("header", &header),
        ("secret", &secret),
        ("body", &base64(BODY)),
    ];
    let made = admin.post(&format!("{root}/endpoints/webhook"), &hook).await;
    assert_eq!(made.status, 200, "{}", made.reason);
    let matcher = [("name", "ops"), ("target", "ops")];
    assert_eq!(admin.post(&format!("{root}/matchers"), &matcher).await.status, 200);
}

#[tokio::test]
async fn both_products_send_what_was_set_up_and_show_no_secret() {
    let sim = demo().await;
    for (target, root) in [("lab", "/cluster/notifications"), ("vault", "/config/notifications")] {
        let admin = Caller::admin(&sim, target).await;
        let (address, heard) = receiver("200 OK");
        set_up(&admin, root, &format!("http://{address}/hooks/a?b=c")).await;
        let shown = admin.get(&format!("{root}/endpoints/webhook/ops")).await.data();
        assert_eq!(shown["secret"], json!(["name=token"]));
        assert!(!shown.to_string().contains(&base64("s3cret")), "{shown}");
        let sent = admin.post(&format!("{root}/targets/ops/test"), &[]).await;
        assert_eq!(sent.status, 200, "{target}: {}", sent.reason);
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("POST /hooks/a?b=c HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains("authorization: Bearer s3cret\r\n"), "{heard}");
        let body = r#"{"title": "Test notification", "severity": "info", "fields": {}}"#;
        assert!(heard.ends_with(body), "{heard}");

        // A secret that is named without its value is kept, and what is used is not removed.
        let change = [("secret", "name=token"), ("method", "put")];
        let changed = admin.put(&format!("{root}/endpoints/webhook/ops"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.reason);
        let (address, heard) = receiver("204 No Content");
        let url = format!("http://{address}/");
        admin.put(&format!("{root}/endpoints/webhook/ops"), &[("url", &url)]).await;
        assert_eq!(admin.post(&format!("{root}/targets/ops/test"), &[]).await.status, 200);
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("PUT / HTTP/1.1\r\n") && heard.contains("Bearer s3cret"));
        let used = admin.delete(&format!("{root}/endpoints/webhook/ops")).await;
        assert_eq!(used.status, 400);
        assert_eq!(admin.delete(&format!("{root}/matchers/ops")).await.status, 200);
        assert_eq!(admin.delete(&format!("{root}/endpoints/webhook/ops")).await.status, 200);
    }
}

#[tokio::test]
async fn a_test_that_fails_says_why_and_one_that_vanishes_says_nothing() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let root = "/cluster/notifications";
    let (address, heard) = receiver("401 Unauthorized");
    set_up(&admin, root, &format!("http://{address}/")).await;
    let test = format!("{root}/targets/ops/test");
    let refused = admin.post(&test, &[]).await;
    assert_eq!(refused.status, 500);
    assert!(refused.reason.contains("401 Unauthorized"), "{}", refused.reason);
    heard.join().unwrap();

    // Nobody listens there any more, and elsewhere nothing is sent at all.
    assert!(admin.post(&test, &[]).await.reason.contains("refused"));
    let far = [("url", "http://192.0.2.1/")];
    admin.put(&format!("{root}/endpoints/webhook/ops"), &far).await;
    assert!(admin.post(&test, &[]).await.reason.contains("No route to host"));
    sim.levers().notifications_vanish("lab", true).unwrap();
    assert_eq!(admin.post(&test, &[]).await.status, 200);
    sim.levers().notifications_vanish("lab", false).unwrap();

    // A proxy is asked with the whole address, wherever that is.
    let (proxy, heard) = receiver("200 OK");
    let proxy = format!("http://{proxy}");
    assert_eq!(admin.put("/cluster/options", &[("http_proxy", &proxy)]).await.status, 200);
    assert_eq!(admin.post(&test, &[]).await.status, 200);
    assert!(heard.join().unwrap().starts_with("POST http://192.0.2.1/ HTTP/1.1\r\n"));
}

#[tokio::test]
async fn https_takes_an_authority_that_the_nodes_trust() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let root = "/cluster/notifications";
    // The backup server stands for anybody with a certificate of an authority of their own.
    let vault = sim.target("vault");
    set_up(&admin, root, &format!("{}/api2/json/ping", vault.nodes[0].url)).await;
    let test = format!("{root}/targets/ops/test");
    let refused = admin.post(&test, &[]).await;
    assert!(refused.reason.contains("invalid peer certificate"), "{}", refused.reason);
    sim.levers().trust_authority("lab", &vault.ca_pem).unwrap();
    let refused = admin.post(&test, &[]).await;
    assert!(refused.reason.contains("http request failed"), "{}", refused.reason);
}

#[tokio::test]
async fn jobs_and_datastores_can_mail_past_it() {
    let sim = demo().await;
    sim.levers().legacy_mail("lab", "backup-staging", "ops@example.lan").unwrap();
    sim.levers().legacy_mail("vault", "main", "root@pam").unwrap();
    assert!(sim.levers().legacy_mail("vault", "nowhere", "root@pam").is_err());
    let lab = Caller::admin(&sim, "lab").await;
    let job = lab.get("/cluster/backup/backup-staging").await.data();
    assert_eq!(job["mailto"], "ops@example.lan");
    let vault = Caller::admin(&sim, "vault").await;
    let store = vault.get("/config/datastore/main").await.data();
    assert_eq!(store["notification-mode"], "legacy-sendmail");
    let mode = [("notification-mode", "notification-system")];
    assert_eq!(vault.put("/config/datastore/main", &mode).await.status, 200);
    let store = vault.get("/config/datastore/main").await.data();
    assert_eq!(store["notification-mode"], "notification-system");
}

#[tokio::test]
async fn what_a_node_mails_by_its_own_file_is_told_to_who_may_audit_it() {
    let sim = demo().await;
    let levers = sim.levers();
    levers.vzdump_conf("lab", "alder", "mailto", "ops@example.lan").unwrap();
    assert!(levers.vzdump_conf("lab", "nowhere", "mailto", "x").is_err());
    assert!(levers.vzdump_conf("vault", "vault", "mailto", "x").is_err());
    let lab = Caller::admin(&sim, "lab").await;
    let mailto = async |caller: &Caller, node: &str| {
        let told = caller.get(&format!("/nodes/{node}/vzdump/defaults")).await.data();
        assert_eq!(told["notification-mode"], "auto");
        told["mailto"].clone()
    };
    assert_eq!(mailto(&lab, "alder").await, "ops@example.lan");
    assert_eq!(mailto(&lab, "birch").await, Value::Null);
}

#[tokio::test]
async fn jobs_of_tapes_can_mail_past_it() {
    let sim = demo().await;
    let vault = Caller::admin(&sim, "vault").await;
    assert_eq!(vault.get("/config/tape-backup-job").await.data(), json!([]));
    sim.levers().legacy_tape_job("vault", "to-tape", "main", None).unwrap();
    assert!(sim.levers().legacy_tape_job("vault", "x", "nowhere", None).is_err());
    let jobs = vault.get("/config/tape-backup-job").await.data();
    assert_eq!(jobs[0]["notification-mode"], "legacy-sendmail", "{jobs}");
    let mode = [("notification-mode", "notification-system"), ("delete", "notify-user")];
    assert_eq!(vault.put("/config/tape-backup-job/to-tape", &mode).await.status, 200);
    let job = vault.get("/config/tape-backup-job/to-tape").await.data();
    assert_eq!(job["notification-mode"], "notification-system", "{job}");
}
