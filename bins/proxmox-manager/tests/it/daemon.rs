//! It starts once, answers, tells the service manager, and ends as it is told.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use control_api::{Client, ErrorKind};

use crate::support::{Account, House, LONG, Manager, VERSION, is_root};

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
    let check = house.command().arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("settings are good") && said.contains("runs on it now"), "{said}");
    manager.signal("HUP");
    manager.signal("TERM");
    assert!(tokio::task::block_in_place(hear).contains("STOPPING=1"));
    assert_eq!(manager.ended().await.status.code(), Some(0));

    std::fs::write(&house.config, "[manager]\npublic_url = \"http://mcp.example.lan\"\n").unwrap();
    let check = house.command().arg("--check").output().unwrap();
    assert_eq!(check.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&check.stderr).contains("would send links unencrypted"));
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
