//! Levers: nodes that go away, replies that go wrong.

use std::time::{Duration, Instant};

use proxmox_sim::serve_control;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::wire::{Caller, Wire, demo};

#[tokio::test]
async fn an_offline_node_refuses_and_its_peers_say_595() {
    let sim = demo().await;
    let levers = sim.levers();
    let agent = Caller::token(&sim, "lab", "agent");
    let mut open = Wire::open(sim.target("lab"), 2).await.unwrap();
    levers.node_offline("lab", "cedar", true).unwrap();
    assert!(open.send("GET", "/api2/json/version", &agent.auth, "").await.is_err());
    assert!(agent.on(2).try_send("GET", "/api2/json/version", &[], "").await.is_err());
    let got = agent.get("/nodes/cedar/status").await;
    assert_eq!((got.line().as_str(), got.body.len()), ("595 Connection refused", 0));
    let guests = agent.get("/cluster/resources?type=vm").await.data();
    let row = guests.as_array().unwrap().iter().find(|row| row["vmid"] == 102).unwrap();
    assert_eq!((row["status"].as_str(), row.get("cpu")), (Some("unknown"), None));
    let nodes = agent.get("/nodes").await.data();
    assert_eq!(nodes[2]["status"], "offline");
    levers.node_offline("lab", "cedar", false).unwrap();
    let mut back = None;
    for _ in 0..500 {
        back = agent.on(2).try_send("GET", "/api2/json/version", &agent.auth, "").await.ok();
        if back.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(back.unwrap().status, 200);
}

#[tokio::test]
async fn without_quorum_reads_work_and_writes_do_not() {
    let sim = demo().await;
    sim.levers().quorum_lost("lab", true).unwrap();
    let admin = Caller::admin(&sim, "lab").await;
    assert_eq!(admin.get("/cluster/status").await.data()[0]["quorate"], 0);
    assert_eq!(
        admin.post("/nodes/alder/qemu/125/status/start", &[]).await.line(),
        "500 cluster not ready - no quorum?"
    );
    let pool = admin.post("/pools", &[("poolid", "fresh")]).await;
    assert!(pool.reason.contains("no quorum!"), "{}", pool.reason);
    let config = admin.put("/nodes/alder/qemu/125/config", &[("cores", "1")]).await;
    assert!(config.reason.ends_with("Permission denied"), "{}", config.reason);
    sim.levers().quorum_lost("lab", false).unwrap();
    assert_eq!(admin.post("/pools", &[("poolid", "fresh")]).await.status, 200);
}

#[tokio::test]
async fn replies_are_delayed_replaced_slowed_cut_and_dropped() {
    let sim = demo().await;
    let levers = sim.levers();
    let agent = Caller::token(&sim, "lab", "agent");
    levers.status_next("lab", 596, "Connection timed out", 2).unwrap();
    for _ in 0..2 {
        let got = agent.get("/version").await;
        assert_eq!((got.line().as_str(), got.body.len()), ("596 Connection timed out", 0));
    }
    assert_eq!(agent.get("/version").await.status, 200);
    levers.truncate_body("lab", 1).unwrap();
    let cut = agent.get("/nodes").await;
    assert!(!cut.complete && !cut.body.is_empty());
    assert!(agent.get("/nodes").await.complete);
    levers.drop_requests("lab", 1).unwrap();
    assert!(agent.try_send("GET", "/api2/json/version", &agent.auth, "").await.is_err());
    levers.latency("lab", Duration::from_millis(60)).unwrap();
    let began = Instant::now();
    agent.get("/version").await;
    assert!(began.elapsed() >= Duration::from_millis(60));
    levers.clear("lab").unwrap();
    levers.slow_body("lab", Some(Duration::from_millis(10))).unwrap();
    let began = Instant::now();
    assert!(agent.get("/nodes").await.complete);
    assert!(began.elapsed() >= Duration::from_millis(80));
    levers.set_storage_usage("lab", "nas", 0.99).unwrap();
    levers.clear("lab").unwrap();
    let status = agent.get("/nodes/alder/storage/nas/status").await.data();
    assert!(status["used"].as_f64().unwrap() / status["total"].as_f64().unwrap() > 0.98);
    assert!(levers.latency("nowhere", Duration::ZERO).is_err());
}

#[tokio::test]
async fn a_rotated_certificate_is_seen_by_the_next_connection() {
    let sim = demo().await;
    let lab = sim.target("lab");
    let new = sim.levers().rotate_certificate("lab", "birch").unwrap();
    assert_ne!(new, lab.nodes[1].fingerprint);
    assert_eq!(Wire::open(lab, 1).await.unwrap().fingerprint(), new);
    let agent = Caller::token(&sim, "lab", "agent");
    let shown = agent.get("/nodes/birch/certificates/info").await.data();
    assert_eq!(shown[1]["fingerprint"], new.as_str());
}

#[tokio::test]
async fn the_control_endpoint_pulls_levers() {
    let sim = demo().await;
    let address = serve_control(sim.levers(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let post = async |body: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let text = format!(
            "POST /levers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    let good = post(r#"{"lever": "status_next", "target": "vault", "code": 503, "reason": "Service Unavailable"}"#).await;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    assert_eq!(Caller::token(&sim, "vault", "agent").get("/version").await.status, 503);
    let bad =
        post(r#"{"lever": "node_offline", "target": "lab", "node": "oak", "on": true}"#).await;
    assert!(bad.contains("400") && bad.contains("no node"), "{bad}");
}
