//! `events setup`: from nothing to a notification that arrives, and what is said of one that does not.

use std::net::TcpListener;
use std::process::Output;

use event_core::desk::EventQuery;
use serde_json::Value;

use crate::support::{Account, House, Terminal, can_run_mcp, has_terminals, said};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The same in base64, as the servers are given it.
const SECRET_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A house whose manager takes hooks of all clusters on this port.
struct Hooked {
    house: House,
    url: String,
}

impl Hooked {
    async fn new() -> Self {
        let port = free_port();
        let house = House::new("http = true\n").await;
        let secret = house.write_private(Account::Own, "hook.secret", SECRET);
        let hook = |key: &str| {
            let file = secret.display();
            format!("[input.hook.hook.{key}]\nsecret_file = \"{file}\"\ncluster = \"{key}\"\n")
        };
        house.add_settings(&format!(
            "[http]\nlisten = \"127.0.0.1:{port}\"\n[events]\npoll = false\n\
             [input.hook]\ntype = \"webhook\"\n{}{}",
            hook("lab"),
            hook("vault"),
        ));
        Self { house, url: format!("http://127.0.0.1:{port}") }
    }

    /// Runs `events setup` with nobody at a terminal.
    async fn setup(&self, args: &[&str]) -> (i32, String) {
        let all = [&["events", "setup", "--url", &self.url], args].concat();
        run(&self.house, &all).await
    }

    /// The same, read as JSON: the only cluster that was named.
    async fn setup_json(&self, args: &[&str]) -> (i32, Value) {
        let (code, text) = self.setup(&[args, &["--json"]].concat()).await;
        let mut document: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (code, document["clusters"][0].take())
    }

    /// What is shown without what is another every time.
    fn settled(&self, text: &str) -> String {
        let folder = self.house.folder.path().display().to_string();
        let text = text.replace(&self.url, "http://127.0.0.1:8808").replace(&folder, "/etc");
        let words = text.split_inclusive([' ', '\n', '=', '`', ')']);
        let words = words.map(|word| {
            let bare = word.trim_end_matches([' ', '\n', '=', '`', ')']);
            let is_id = bare.len() >= 32 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if is_id { word.replace(bare, "ID") } else { word.to_owned() }
        });
        words.collect()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn run(house: &House, args: &[&str]) -> (i32, String) {
    let mut command = house.mcp(Account::Own, args);
    let output: Output =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    said(&output)
}

/// The kinds of the likely causes.
fn kinds(place: &Value) -> Vec<&str> {
    let causes = place["test"]["causes"].as_array().unwrap_or_else(|| panic!("{place:#}"));
    causes.iter().map(|it| it["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_done_heard_and_then_nothing_is_left_to_do() {
    if !can_run_mcp() {
        return;
    }
    let hooked = Hooked::new().await;
    let house = &hooked.house;
    let levers = house.sim.levers();
    levers.legacy_mail("lab", "backup-staging", "ops@example.lan").unwrap();
    levers.legacy_mail("vault", "main", "root@pam").unwrap();

    let (code, text) = hooked.setup(&["lab", "vault"]).await;
    assert_eq!(code, 0, "{text}");
    expect_test::expect![[r#"
        lab (Proxmox VE)
          hook       [input.hook.hook.lab]
          posts to   http://127.0.0.1:8808/hooks/hook/lab
          target     proxmox-mcp: missing
          matcher    proxmox-mcp: missing
          to do      POST /cluster/notifications/endpoints/webhook
                       name    proxmox-mcp
                       method  post
                       url     http://127.0.0.1:8808/hooks/hook/lab
                       header  Authorization: Bearer {{ secrets.token }}
                       header  Content-Type: application/json
                       secret  token: «…»
                       body    {"title": {{ json title }}, "message": {{ json message }}, "severity": {{ json severity }}, "timestamp": {{ json timestamp }}, "fields": {{ json fields }}}
                       comment for proxmox-mcp, by `events setup`
            back     proxmox-mcp call api_call cluster=lab method=DELETE path=/cluster/notifications/endpoints/webhook/proxmox-mcp
          to do      POST /cluster/notifications/matchers
                       name    proxmox-mcp
                       mode    all
                       target  proxmox-mcp
                       comment for proxmox-mcp, by `events setup`
            back     proxmox-mcp call api_call cluster=lab method=DELETE path=/cluster/notifications/matchers/proxmox-mcp
          past it    backup job backup-staging mails ops@example.lan (notification-mode auto by default)
                     PUT /cluster/backup/backup-staging
                       notification-mode notification-system
            back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/backup-staging params='{"delete":"notification-mode"}'
        vault (Proxmox Backup Server)
          hook       [input.hook.hook.vault]
          posts to   http://127.0.0.1:8808/hooks/hook/vault
          target     proxmox-mcp: missing
          matcher    proxmox-mcp: missing
          to do      POST /config/notifications/endpoints/webhook
                       name    proxmox-mcp
                       method  post
                       url     http://127.0.0.1:8808/hooks/hook/vault
                       header  Authorization: Bearer {{ secrets.token }}
                       header  Content-Type: application/json
                       secret  token: «…»
                       body    {"title": {{ json title }}, "message": {{ json message }}, "severity": {{ json severity }}, "timestamp": {{ json timestamp }}, "fields": {{ json fields }}}
                       comment for proxmox-mcp, by `events setup`
            back     proxmox-mcp call api_call cluster=vault method=DELETE path=/config/notifications/endpoints/webhook/proxmox-mcp
          to do      POST /config/notifications/matchers
                       name    proxmox-mcp
                       mode    all
                       target  proxmox-mcp
                       comment for proxmox-mcp, by `events setup`
            back     proxmox-mcp call api_call cluster=vault method=DELETE path=/config/notifications/matchers/proxmox-mcp
          past it    datastore main mails root@pam (notification-mode legacy-sendmail)
                     PUT /config/datastore/main
                       notification-mode notification-system
            back     proxmox-mcp call api_call cluster=vault method=PUT path=/config/datastore/main params='{"notification-mode":"legacy-sendmail"}'
        nothing was changed: --apply asks about each cluster and does it
    "#]]
    .assert_eq(&hooked.settled(&text));
    assert_eq!(house.writes(), [""; 0], "showing changes nothing");

    let (manager, client) = house.start().await;
    let apply = ["lab", "vault", "--apply", "--yes", "--bypasses", "--mode", "trusted"];
    let (code, text) = hooked.setup(&apply).await;
    assert_eq!(code, 0, "{text}");
    let told: Vec<&str> =
        text.lines().filter(|it| it.contains(": ") && !it.starts_with(' ')).collect();
    expect_test::expect![[r#"
        lab: POST /cluster/notifications/endpoints/webhook: done
        lab: POST /cluster/notifications/matchers: done
        lab: PUT /cluster/backup/backup-staging: done
        lab: test: arrived, as event ID
        vault: POST /config/notifications/endpoints/webhook: done
        vault: POST /config/notifications/matchers: done
        vault: PUT /config/datastore/main: done; `proxmox-mcp call undo undo_id=ID` takes it back
        vault: test: arrived, as event ID
    "#]]
    .assert_eq(&hooked.settled(&(told.join("\n") + "\n")));
    for key in ["lab", "vault"] {
        let query = EventQuery { cluster: Some(key.to_owned()), ..EventQuery::default() };
        let found = client.find_events(query).await.unwrap().events;
        let kinds: Vec<_> = found.iter().map(|it| it.event.kind.as_str()).collect();
        assert_eq!(kinds, ["notification.test"], "{key}");
    }

    // A second time there is nothing to do, and a test arrives all the same.
    let before = house.writes().len();
    let (code, place) = hooked.setup_json(&["lab", "--apply", "--yes", "--mode", "trusted"]).await;
    assert_eq!((code, &place["test"]["outcome"]), (0, &"arrived".into()), "{place:#}");
    for list in ["calls", "bypasses"] {
        assert_eq!(place["plan"][list], serde_json::json!([]), "{place:#}");
    }
    let writes = &house.writes()[before..];
    assert!(writes.len() == 1 && writes[0].ends_with("/targets/proxmox-mcp/test"), "{writes:?}");

    // It is in the audit log, and the secret is nowhere.
    let (code, log) = run(house, &["audit", "export"]).await;
    assert!(code == 0 && log.contains("/cluster/notifications/endpoints/webhook"), "{log}");
    for secret in [SECRET, SECRET_BASE64] {
        assert!(!log.contains(secret) && !text.contains(secret), "{log}{text}");
    }
    manager.signal("TERM");
    manager.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_nodes_and_jobs_of_tapes_mail_past_it_too() {
    if !can_run_mcp() {
        return;
    }
    let hooked = Hooked::new().await;
    let levers = hooked.house.sim.levers();
    levers.legacy_tape_job("vault", "to-tape", "main", Some("ann@pbs")).unwrap();
    levers.vzdump_conf("lab", "birch", "mailto", "ops@example.lan").unwrap();
    let past = |text: &str| -> String {
        let lines = text.lines().map(str::trim_start).skip_while(|it| !it.starts_with("past it"));
        let told: Vec<&str> = lines.take_while(|it| !it.starts_with("nothing")).collect();
        told.join("\n") + "\n"
    };
    let (code, text) = hooked.setup(&["lab"]).await;
    assert_eq!(code, 0, "{text}");
    expect_test::expect![[r#"
        past it    /etc/vzdump.conf of birch: what is backed up there mails ops@example.lan (notification-mode auto)
        by hand  no call writes that file: put `notification-mode: notification-system` into it on birch
        past it    backup job backup-production mails ops@example.lan by /etc/vzdump.conf of birch (notification-mode auto)
        PUT /cluster/backup/backup-production
        notification-mode notification-system
        back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/backup-production params='{"delete":"notification-mode"}'
        past it    backup job backup-staging mails ops@example.lan by /etc/vzdump.conf of birch (notification-mode auto)
        PUT /cluster/backup/backup-staging
        notification-mode notification-system
        back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/backup-staging params='{"delete":"notification-mode"}'
        past it    backup job backup-dev mails ops@example.lan by /etc/vzdump.conf of birch (notification-mode auto)
        PUT /cluster/backup/backup-dev
        notification-mode notification-system
        back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/backup-dev params='{"delete":"notification-mode"}'
    "#]].assert_eq(&past(&text));
    let (code, text) = hooked.setup(&["vault"]).await;
    assert_eq!(code, 0, "{text}");
    expect_test::expect![[r#"
        past it    tape backup job to-tape mails ann@pbs (notification-mode legacy-sendmail)
        PUT /config/tape-backup-job/to-tape
        notification-mode notification-system
        back     proxmox-mcp call api_call cluster=vault method=PUT path=/config/tape-backup-job/to-tape params='{"notification-mode":"legacy-sendmail"}'
    "#]].assert_eq(&past(&text));

    // The jobs are changed, the file is not: it is told again.
    let apply = ["lab", "--apply", "--yes", "--bypasses", "--no-test", "--mode", "trusted"];
    let (code, text) = hooked.setup(&apply).await;
    assert_eq!(code, 0, "{text}");
    let (_, place) = hooked.setup_json(&["lab"]).await;
    let left = place["plan"]["bypasses"].as_array().unwrap();
    assert_eq!(left.len(), 1, "{place:#}");
    assert!(left[0]["by_hand"].as_str().unwrap().contains("on birch"), "{place:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_does_not_arrive_is_a_failure_with_its_cause() {
    if !can_run_mcp() {
        return;
    }
    let hooked = Hooked::new().await;
    let house = &hooked.house;
    // Nobody runs who could hear it.
    let apply = ["lab", "--apply", "--yes", "--mode", "trusted", "--wait", "1"];
    let (code, place) = hooked.setup_json(&[&apply[..], &["--no-test"]].concat()).await;
    assert_eq!((code, &place["test"]), (0, &Value::Null), "{place:#}");
    let test = ["lab", "--test", "--mode", "trusted", "--wait", "1"];
    let (code, place) = hooked.setup_json(&test).await;
    assert_eq!((code, &place["test"]["outcome"]), (1, &"unsent".into()), "{place:#}");
    assert!(place["test"]["why"].as_str().unwrap().starts_with("no manager runs"), "{place:#}");

    let (manager, _client) = house.start().await;
    let levers = house.sim.levers();
    levers.notifications_vanish("lab", true).unwrap();
    let (code, text) = hooked.setup(&test).await;
    assert_eq!(code, 1, "{text}");
    let told: Vec<&str> = text.lines().filter(|it| it.starts_with("lab: test: ")).collect();
    expect_test::expect![[r#"
        lab: test: the server called it good, and it did not arrive within 1 s
        lab: test: likely (route): this machine reaches the hook, so the server posts elsewhere, or nothing; what the node's journal says of notifications tells more
    "#]]
    .assert_eq(&(told.join("\n") + "\n"));
    levers.notifications_vanish("lab", false).unwrap();

    // A proxy that swallows it: whoever answers 200 to anything.
    let proxy = swallow();
    set_proxy(house, &format!("http://127.0.0.1:{proxy}")).await;
    let (code, place) = hooked.setup_json(&test).await;
    assert_eq!((code, &place["test"]["said"]), (1, &Value::Null), "{place:#}");
    assert_eq!(kinds(&place), ["proxy"], "{place:#}");
    set_proxy(house, "").await;

    // The settings have a newer secret than the manager that runs.
    house.write_private(Account::Own, "hook.secret", "another secret, not the first");
    let resend = [&apply[..], &["--resend-secret"]].concat();
    let (code, place) = hooked.setup_json(&resend).await;
    assert_eq!((code, kinds(&place)), (1, vec!["secret"]), "{place:#}");
    assert!(place["test"]["said"].as_str().unwrap().contains("401"), "{place:#}");
    manager.signal("TERM");
    manager.ended().await;

    // What makes no sense is said before anybody is asked.
    let (code, text) = hooked.setup(&["nowhere"]).await;
    assert!(code == 2 && text.contains("no [pve.nowhere] or [pbs.nowhere]"), "{text}");
    let (code, text) = hooked.setup(&["lab", "--apply"]).await;
    assert!(code == 2 && text.contains("nobody is at the terminal"), "{text}");
    let (code, text) = run(house, &["events", "setup", "--url", "mcp.example.lan"]).await;
    assert!(code == 2 && text.contains("scheme, host and port"), "{text}");
    let (code, text) = run(house, &["events", "list", "--since", "soon"]).await;
    assert!(code == 2 && !text.contains("no manager runs"), "{text}");
}

/// Answers 200 to whatever comes, for as long as the test runs.
fn swallow() -> u16 {
    use std::io::{Read as _, Write as _};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = vec![0; 65536];
            let mut read = 0;
            // The head and a body that the first line of the template ends with.
            while !String::from_utf8_lossy(&bytes[..read]).contains("\"fields\": {}}") {
                match stream.read(&mut bytes[read..]) {
                    Ok(count @ 1..) => read += count,
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    port
}

async fn set_proxy(house: &House, proxy: &str) {
    let params = match proxy {
        "" => serde_json::json!({"delete": "http_proxy"}),
        proxy => serde_json::json!({"http_proxy": proxy}),
    };
    let (params, mode) = (format!("params={params}"), "--mode=trusted");
    let call = ["call", "api_call", "cluster=lab", "method=PUT", "path=/cluster/options"];
    let (code, text) = run(house, &[&call[..], &[&params, mode]].concat()).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_each_cluster_is_asked_about_and_a_hook_is_added() {
    if !can_run_mcp() || !has_terminals() {
        return;
    }
    let house = House::new("http = true\npublic_url = \"http://127.0.0.1:8808\"\n").await;
    let config = std::fs::read_to_string(&house.config).unwrap();
    let (code, text) = run(&house, &["events", "setup", "lab"]).await;
    assert!(code == 1 && text.contains("--write adds it"), "{text}");
    for line in ["[input.hook]", "type = \"webhook\"", "[input.hook.hook.lab]", "cluster = \"lab\""]
    {
        assert!(text.contains(line), "{line}: {text}");
    }

    // No is no.
    let args = ["events", "setup", "lab", "--apply", "--write"];
    let command = house.mcp(Account::Own, &args);
    let mut terminal = Terminal::run(Account::Own, &command);
    terminal.answers("(yes or no): ", "no");
    let (code, text) = terminal.ended();
    assert_eq!(code, 1, "{text}");
    assert!(!house.config.with_file_name("secrets").exists() && house.writes().is_empty());

    let mut terminal = Terminal::run(Account::Own, &command);
    terminal.answers("lab.secret? (yes or no): ", "yes");
    terminal.answers("make these calls? (yes or no): ", "yes");
    let (code, text) = terminal.ended();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("events setup lab --test"), "{text}");
    assert_eq!(std::fs::read_to_string(&house.config).unwrap(), config, "comments and all");
    let (code, text) = run(&house, &["config", "check"]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(&house, &["events", "setup", "lab"]).await;
    assert!(code == 0 && text.contains("nothing\n"), "{text}");
    assert_eq!(house.writes().len(), 2, "{:?}", house.writes());

    // What was agreed to beforehand, with nobody there, is no consent where the policy asks.
    let args = ["events", "setup", "lab", "--apply", "--yes", "--resend-secret"];
    let (code, text) = run(&house, &args).await;
    assert_eq!((code, house.writes().len()), (1, 2), "{text}");
    assert!(text.contains("needs a person's consent"), "{text}");
    assert!(!text.contains("value="), "{text}");
}
