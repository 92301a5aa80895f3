//! The whole client against the simulator, over TLS: credentials, failover, tasks, consoles.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::time::Duration;

use api_core::{
    ErrorKind,
    endpoint::Disk,
    read_pieces,
    task::{TaskEnd, WaitOptions},
};
use estate::{NodeName, StorageName, VmId};
use proxmox_sim::{Sim, SimConfig, SimTarget};
use pve_client::{
    Client, Config, ConnectOptions,
    console::{ConsoleError, ConsoleTarget},
    nodes, qemu,
    storage::{self, Checksum, ChecksumAlgorithm, ContentKind},
    version,
};
use serde_json::{Value, json};
use stdx::{Chain, tls};

async fn sim() -> Sim {
    Sim::start(SimConfig::fast().with_auth_delay(Duration::ZERO)).await.unwrap()
}

/// The settings of a target with its own fingerprints and the token for agents.
fn table(lab: &SimTarget) -> Value {
    let pins = lab
        .nodes
        .iter()
        .map(|node| (node.url.trim_start_matches("https://").to_owned(), json!(node.fingerprint)));
    let token = lab.token("agent");
    json!({
        "endpoints": lab.nodes.iter().map(|node| &node.url).collect::<Vec<_>>(),
        "fingerprints": pins.collect::<serde_json::Map<_, _>>(),
        "token_id": token.id,
        "token": token.secret,
    })
}

fn with(mut table: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        let fields = table.as_object_mut().unwrap();
        if value.is_null() {
            fields.remove(key)
        } else {
            fields.insert(key.clone(), value.clone())
        };
    }
    table
}

fn options(table: Value) -> ConnectOptions {
    let config: Config = serde_json::from_value(table).unwrap();
    config.validate("lab", &Disk).unwrap().value
}

fn connect(table: Value) -> Client {
    Client::connect(&options(table)).unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn vmid(id: u32) -> VmId {
    VmId::try_new(id).unwrap()
}

#[tokio::test]
async fn every_way_to_prove_oneself_is_taken() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let login = |user: &str, password: &str, more: Value| {
        let login =
            json!({"token_id": null, "token": null, "username": user, "password": password});
        with(with(table(lab), &login), &more)
    };
    let (admin, password) = &lab.admin;
    let (user, secret, totp) = lab.totp.as_ref().unwrap();
    for table in [
        table(lab),
        login(admin, password, json!({})),
        login(user, secret, json!({"totp_secret": totp})),
    ] {
        assert_eq!(connect(table).call(version::get()).await.unwrap().numbers().0, 9);
    }

    let folder = std::env::temp_dir().join(format!("pve-client-{}.pem", std::process::id()));
    std::fs::write(&folder, &lab.ca_pem).unwrap();
    let ca = with(
        table(lab),
        &json!({"fingerprints": null, "ca_file": folder, "server_name": "localhost"}),
    );
    connect(ca).call(version::get()).await.unwrap();
    std::fs::remove_file(folder).unwrap();

    for (table, kind) in [
        (with(table(lab), &json!({"token": "wrong"})), ErrorKind::Unauthorized),
        (login(admin, "wrong", json!({})), ErrorKind::Unauthorized),
        (login(user, secret, json!({})), ErrorKind::Unauthorized),
        (with(table(lab), &json!({"fingerprints": {"x": "00".repeat(32)}})), ErrorKind::Tls),
    ] {
        let error = connect(table).call(version::get()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", Chain(&error));
        assert!(!format!("{error:?}").contains(secret));
    }
}

#[tokio::test]
async fn a_login_outlives_its_ticket_and_writes_carry_the_csrf_token() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let (user, password) = &lab.admin;
    let login = json!({"token_id": null, "token": null, "username": user, "password": password});
    let client = connect(with(table(lab), &login));
    client.call(version::get()).await.unwrap();
    sim.levers().expire_tickets("lab").unwrap();
    let upid =
        client.call(qemu::start(&node("alder"), vmid(108), qemu::QemuStartParams::default())).await;
    assert!(upid.is_ok() || upid.is_err_and(|error| error.kind() == ErrorKind::NotFound));
}

#[tokio::test]
async fn another_certificate_is_told_and_the_other_nodes_go_on() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let first = lab.nodes[0].clone();
    let seen = sim.levers().rotate_certificate("lab", &first.name).unwrap();
    let client = connect(table(lab));
    client.call(version::get()).await.unwrap();
    let health = client.health().unwrap();
    assert_eq!(health.preferred, lab.nodes[1].url);
    assert!(health.endpoints[0].why.contains(&seen), "{health:?}");

    let alone = options(table(lab));
    let alone = Client::connect(&alone.only(&alone.targets[0])).unwrap();
    let error = alone.call(version::get()).await.unwrap_err();
    assert_eq!(tls::seen_fingerprint(&error).unwrap().to_string(), seen);
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over_and_named() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let client = connect(table(lab));
    sim.levers().node_offline("lab", &lab.nodes[0].name, true).unwrap();
    client.call(version::get()).await.unwrap();
    assert_eq!(client.health().unwrap().preferred, lab.nodes[1].url);
    let error = client.call(nodes::status(&node(&lab.nodes[0].name))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NodeUnreachable, "{}", Chain(&error));
    assert_eq!(error.node(), Some(lab.nodes[0].name.as_str()));
}

#[tokio::test]
async fn dropped_connections_are_not_seen_by_who_reads() {
    let sim = sim().await;
    let client = connect(table(sim.target("lab")));
    client.call(version::get()).await.unwrap();
    sim.levers().drop_connections("lab").unwrap();
    client.call(version::get()).await.unwrap();
    // What the server cuts before its head is out is asked for again, too.
    sim.levers().drop_requests("lab", 1).unwrap();
    client.call(version::get()).await.unwrap();
}

#[tokio::test]
async fn a_task_that_fails_is_followed_to_its_cause() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let client = connect(table(lab));
    let guests = client.call(pve_client::cluster::resources(None)).await.unwrap();
    let place = guests.iter().find(|guest| guest.vmid.map(VmId::get) == Some(108)).unwrap();
    let on = place.node.clone().unwrap();
    let upid =
        client.call(qemu::start(&on, vmid(108), qemu::QemuStartParams::default())).await.unwrap();
    let mut log = Vec::new();
    let options = WaitOptions::within(Duration::from_secs(30));
    let outcome = client.wait(&upid, &options, |line| log.push(line.to_owned())).await.unwrap();
    let TaskEnd::Failed(cause) = &outcome.state else { panic!("{outcome:?}") };
    assert!(!cause.is_empty() && log.last().unwrap().starts_with("TASK ERROR"), "{log:?}");
    assert_eq!(outcome.log_tail, log);
}

#[tokio::test]
async fn a_file_is_uploaded_and_a_wrong_one_refused() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let (user, password) = &lab.admin;
    let login = json!({"token_id": null, "token": null, "username": user, "password": password});
    let client = connect(with(table(lab), &login));
    let (on, local) = (node("birch"), "local".parse::<StorageName>().unwrap());
    let bytes = b"0123456789".repeat(20_000);
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Sha256, value: "0a".repeat(32) };
    let send = async |name: &str, size: u64| {
        let request = storage::upload(&on, &local, &ContentKind::Iso, name, Some(&checksum));
        let content = read_pieces(std::io::Cursor::new(bytes.clone()));
        client.upload(request, content, size).await
    };
    let size = bytes.len() as u64;
    let upid = send("a \"small\" one.iso", size).await.unwrap();
    assert_eq!((upid.kind(), upid.node()), ("imgcopy", &on));
    let options = WaitOptions::within(Duration::from_secs(30));
    let outcome = client.wait(&upid, &options, |_| ()).await.unwrap();
    assert_eq!(outcome.state, TaskEnd::Ok);
    let volumes = storage::content(&on, &local, Some(&ContentKind::Iso), None);
    let volumes = client.call(volumes).await.unwrap();
    let uploaded = volumes.iter().find(|volume| volume.id.contains("small")).unwrap();
    assert_eq!(uploaded.size_bytes, size);

    let error = send("small.txt", size).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Parameter, Some(400)));
    assert_eq!(error.params()["filename"], "wrong file extension");
    let error = send("small.iso", size + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter, "{}", Chain(&error));

    // A session that the server has forgotten costs one upload, not every one.
    sim.levers().expire_tickets("lab").unwrap();
    assert_eq!(send("late.iso", size).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    send("late.iso", size).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_in_the_servers_words_and_not_shown() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let id = &lab.token("agent").id;
    for id in [id.as_str(), "mcp@pve!nosuch", "nobody@pve!agent"] {
        let wrong = json!({"token_id": id, "token": "planted-0f5a"});
        let error = connect(with(table(lab), &wrong)).call(version::get()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
        let shown = format!("{error} {error:?} {}", Chain(&error));
        assert!(!shown.contains("planted"), "{shown}");
        assert_eq!(error.to_string(), "GET /version: Authentication failed! (status 401)");
    }
    // What the settings refuse already says how a token's name is spelt.
    let config: Config =
        serde_json::from_value(with(table(lab), &json!({"token_id": "mcp@pve"}))).unwrap();
    let error = config.validate("lab", &Disk).unwrap_err();
    expect_test::expect![[r#"pve.lab.token_id: "mcp@pve" is not a token's id (write user@realm!name, such as mcp@pve!agent)"#]].assert_eq(&format!("{error} ({})", error.hint));
}

#[tokio::test]
async fn a_console_is_opened_typed_into_and_left() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let (user, password) = &lab.admin;
    let login = json!({"token_id": null, "token": null, "username": user, "password": password});
    let client = connect(with(table(lab), &login));
    let shell = ConsoleTarget::Node(node(&lab.nodes[1].name));
    let mut console = client.connect_console(&shell).await.unwrap();
    console.resize(120, 40).await.unwrap();
    console.write(b"uname\n").await.unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("Linux") {
        shown.extend(console.read().await.unwrap().expect("it goes on"));
    }
    console.close().await.unwrap();

    let nobody = lab.token("nothing");
    let table = with(table(lab), &json!({"token_id": nobody.id, "token": nobody.secret}));
    let error = connect(table).connect_console(&shell).await.unwrap_err();
    let ConsoleError::Open(error) = error else { panic!("{error:?}") };
    assert!(error.is_permission_denied());
}
