//! It starts once, answers, tells the service manager, and ends as it is told.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use control_api::{Client, ErrorKind};

use crate::support::{Account, House, LONG, Manager, VERSION, connect, is_root};
use crate::waiting::Notified;

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_once_and_ends_as_it_is_told() {
    let house = House::new("").await;
    let (manager, client) = house.start().await;
    let status = client.status().await.unwrap();
    assert!(status.members.contains(&"lab".to_owned()), "{:?}", status.members);
    let names: Vec<&str> = status.components.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["approvals", "reverts"]);
    assert!(!client.tools().await.unwrap().tools.is_empty());

    let second = house.command().output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("process {} has it", manager.pid())), "{said}");
    assert!(client.status().await.is_ok(), "the first one goes on");

    manager.signal("TERM");
    let output = manager.ended().await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!house.socket().exists());
    let error = Client::connect(&house.socket(), VERSION).await.unwrap_err();
    assert!(error.is_absent());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_leaves_nothing_in_the_way() {
    let house = House::new("").await;
    let (manager, client) = house.start().await;
    manager.signal("KILL");
    manager.ended().await;
    tokio::time::timeout(LONG, client.closed()).await.expect("it hears that the manager is gone");
    assert!(house.socket().exists(), "nobody could take it away");
    let (manager, client) = house.start().await;
    assert_eq!(client.status().await.unwrap().pid, manager.pid());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_and_settings_are_checked() {
    let house = House::new("").await;
    let path = house.folder.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(LONG)).unwrap();
    let mut command = house.command();
    command.env("NOTIFY_SOCKET", &path);
    let manager = Manager::of(command.spawn().unwrap());
    let hear = || {
        let mut buffer = [0; 256];
        let length = listener.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // The simulator answers in this very process: what blocks goes elsewhere.
    assert!(tokio::task::block_in_place(hear).contains("READY=1"));
    let check = tokio::task::block_in_place(|| house.command().arg("--check").output().unwrap());
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&check.stderr));
    assert!(said.contains("good: ") && said.contains("a manager runs on it now"), "{said}");
    assert!(said.contains(&format!("the manager of process {} answers", manager.pid())), "{said}");
    assert!(said.contains("lab https://") && said.contains("checks are well"), "{said}");
    manager.signal("HUP");
    manager.signal("TERM");
    assert!(tokio::task::block_in_place(hear).contains("STOPPING=1"));
    assert_eq!(manager.ended().await.status.code(), Some(0));

    std::fs::write(&house.config, "[manager]\npublic_url = \"http://mcp.example.lan\"\n").unwrap();
    let check = house.command().arg("--check").output().unwrap();
    assert_eq!(check.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&check.stderr).contains("would send links unencrypted"));
}

/// What `--check` found of a check, and its exit code.
fn checked(house: &House, more: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = tokio::task::block_in_place(|| {
        house.command().args(["--check", "--json"]).args(more).output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_else(|error| panic!("{error}: {said}")))
}

fn status<'a>(document: &'a serde_json::Value, check: &str) -> &'a str {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["check"] == check).unwrap();
    found["status"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_is_wrong_and_makes_nothing() {
    let house = House::new("").await;
    house.add_settings("[input.look]\ntype = \"tasks\"\n[output.out]\ntype = \"stdout\"\n");
    let (code, document) = checked(&house, &[]);
    assert_eq!(code, Some(0), "{document:#}");
    for check in ["reach", "input", "output", "settings", "state", "store", "spool", "socket"] {
        assert_eq!(status(&document, check), "pass", "{check}: {document:#}");
    }
    let store = house.state().join("store.db");
    assert!(!store.exists() && !house.socket().exists(), "nothing is made");

    // Something that is no store, where it should be, and an output that cannot work.
    std::fs::create_dir_all(house.state()).unwrap();
    std::fs::write(&store, "this is no database at all\n".repeat(50)).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    house.add_settings(&format!(
        "[output.away]\ntype = \"gotify\"\nserver = \"http://{nobody}\"\ntoken = \"Axxxxxxxxxxxxxx\"\n"
    ));
    let (code, document) = checked(&house, &[]);
    assert_eq!(code, Some(1), "{document:#}");
    assert_eq!(status(&document, "store"), "fail", "{document:#}");
    assert_eq!(document["summary"]["fail"], 2, "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_manager_at_a_time_has_a_store() {
    let house = House::new("").await;
    let (manager, _client) = house.start().await;
    // Another state folder, as on another machine, and the same store.
    let other = |more: &str| {
        let settings = std::fs::read_to_string(&house.config).unwrap();
        let state = house.state().display().to_string();
        let folder = format!("{state}-of-another");
        let server = format!("[server]\nstore_url = \"sqlite://{state}/store.db\"\n");
        let settings = settings
            .replace(&format!("state_dir = \"{state}\""), &format!("state_dir = \"{folder}\""))
            .replace("[server]\n", &server)
            .replace("[manager]\n", &format!("[manager]\n{more}"));
        let config = house.config.with_file_name("another.toml");
        std::fs::write(&config, settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-manager"));
        command.arg("--config").arg(config).env_clear();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let refused = tokio::task::block_in_place(|| other("").output().unwrap());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("process {} has it since", manager.pid())), "{said}");

    // One that stands by takes over when the first is gone, however it went, with the settings of then.
    let mut command = other("standby = true\n");
    let notified = Notified::by(&house, &mut command);
    let next = Manager::of(command.spawn().unwrap());
    assert!(notified.hear().contains("stands by"));
    let config = house.config.with_file_name("another.toml");
    let settings = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, settings.replace("[server]\n", "[server]\nmode = \"read-only\"\n"))
        .unwrap();
    next.signal("HUP");
    assert!(notified.hear().contains("stands by"), "it has read them and goes on waiting");
    manager.signal("KILL");
    manager.ended().await;
    assert!(notified.hear().contains("STATUS=runs"));
    let state = format!("{}-of-another", house.state().display());
    let client = connect(&std::path::Path::new(&state).join(control_api::SOCKET)).await;
    assert_eq!(client.status().await.unwrap().mode, "read-only");
    next.signal("TERM");
    assert_eq!(next.ended().await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_let_in_by_their_group_alone() {
    let hint = "tests of second accounts run as root and speak by curl";
    if !is_root() || Command::new("curl").arg("--version").output().is_err() {
        testkit::skip_aloud("a second account", "REQUIRE_SERVICES", hint);
        return;
    }
    let house = House::new("socket_group = \"4711\"\n").await;
    // Others may pass through the folders, as they may through /run.
    for folder in [house.home(Account::Own), house.state()] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (manager, client) = house.start().await;
    assert_eq!(client.welcome().principal, "local:0");
    let ask = |gid: u32| {
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"manager.hello","params":[{"version":"x","revision":0}]}"#;
        let mut command = Command::new("curl");
        command.args(["-s", "-S", "--unix-socket"]).arg(house.socket());
        command.args(["-H", "content-type: application/json", "-d", hello, "http://localhost/"]);
        command.uid(3001).gid(gid).output().unwrap()
    };
    let stranger = ask(3001);
    assert!(!stranger.status.success(), "{stranger:?}");
    let member = ask(4711);
    let said: serde_json::Value = serde_json::from_slice(&member.stdout).unwrap();
    assert_eq!(said["result"]["principal"], "local:3001");
    assert_eq!(said["result"]["standing"]["type"], "caller");
    manager.signal("KILL");
    manager.ended().await;
    assert_eq!(client.status().await.unwrap_err().kind(), ErrorKind::Lost);
}
