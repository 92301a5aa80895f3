//! TLS, connections, refusals at the level of HTTP.

use std::time::{Duration, Instant};

use proxmox_sim::{Sim, SimConfig};

use crate::wire::{Caller, Wire, demo};

#[tokio::test]
async fn every_node_has_its_own_certificate_from_its_targets_authority() {
    let sim = demo().await;
    let mut seen = std::collections::BTreeSet::new();
    for target in sim.targets() {
        for at in 0..target.nodes.len() {
            let wire = Wire::open(target, at).await.unwrap();
            assert_eq!(wire.fingerprint(), target.nodes[at].fingerprint);
            assert!(seen.insert(wire.fingerprint()));
        }
    }
    let lab = sim.target("lab");
    let agent = Caller::token(&sim, "lab", "agent");
    let nodes = agent.get("/nodes").await.data();
    assert_eq!(nodes[1]["ssl_fingerprint"], lab.nodes[1].fingerprint.as_str());
}

#[tokio::test]
async fn refusals_of_pve_keep_their_reasons_and_their_empty_bodies() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let nobody = Caller::nobody(&sim, "lab");
    let mut wrong = agent.clone();
    wrong.auth[0].1.push('x');
    let checks = [
        (nobody.get("/version").await, "401 No ticket", true),
        (nobody.get("/nope").await, "401 No ticket", true),
        (wrong.get("/version").await, "401 Authentication failed!", true),
        (agent.get("/nope").await, "501 Method 'GET /nope' not implemented", false),
        (
            agent.get("/nodes/nosuch/status").await,
            "500 hostname lookup 'nosuch' failed - failed to get address info for: nosuch: Temporary failure in name resolution",
            false,
        ),
        (
            agent.get("/nodes/alder/qemu/999/config").await,
            "403 Permission check failed (/vms/999, VM.Audit)",
            false,
        ),
        (
            agent.get("/nodes/birch/qemu/100/config").await,
            "500 Configuration file 'nodes/birch/qemu-server/100.conf' does not exist",
            false,
        ),
        (
            agent.post("/nodes/alder/qemu/100/status/start", &[("colour", "red")]).await,
            "400 Parameter verification failed.",
            false,
        ),
        (
            agent.try_send("PATCH", "/api2/json/version", &[], "").await.unwrap(),
            "501 method 'PATCH' not available",
            true,
        ),
        (
            agent.try_send("HEAD", "/api2/json/version", &[], "").await.unwrap(),
            "501 method 'HEAD' not available",
            true,
        ),
        (
            agent.try_send("DELETE", "/api2/json/pools", &[], "poolid=x").await.unwrap(),
            "501 Unexpected content for method 'DELETE'",
            true,
        ),
    ];
    for (got, line, empty) in checks {
        if line.contains("/vms/999") {
            // A privilege on / covers guests that do not exist.
            assert_eq!(
                got.line(),
                "500 Configuration file 'nodes/alder/qemu-server/999.conf' does not exist"
            );
            continue;
        }
        assert_eq!(got.line(), line);
        assert_eq!(got.body.is_empty(), empty, "{line}: {}", got.text());
        assert_eq!(got.connection(), "close", "{line}");
    }
    let extjs =
        agent.try_send("GET", "/api2/extjs/nodes/birch/qemu/100/config", &[], "").await.unwrap();
    assert_eq!((extjs.status, extjs.json()["success"].clone()), (200, 0.into()));
}

#[tokio::test]
async fn a_login_that_fails_is_held_back() {
    let config = SimConfig::fast().with_auth_delay(Duration::from_millis(120));
    let sim = Sim::start(config).await.unwrap();
    for key in ["lab", "vault"] {
        let began = Instant::now();
        let got = Caller::nobody(&sim, key).get("/version").await;
        assert_eq!(got.status, 401);
        assert!(began.elapsed() >= Duration::from_millis(120));
    }
}

#[tokio::test]
async fn a_connection_serves_a_hundred_requests() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let mut wire = Wire::open(sim.target("lab"), 0).await.unwrap();
    for at in 1..=100 {
        let got = wire.send("GET", "/api2/json/version", &agent.auth, "").await.unwrap();
        assert_eq!(
            got.connection(),
            if at == 100 { "close" } else { "Keep-Alive" },
            "request {at}"
        );
    }
    assert!(wire.send("GET", "/api2/json/version", &agent.auth, "").await.is_err());
    // A method that a root worker runs says both.
    let status = agent.get("/nodes/alder/qemu/100/status/current").await;
    assert_eq!(status.connection(), "close, Keep-Alive");
}

#[tokio::test]
async fn any_node_answers_for_the_others() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent").on(2);
    assert_eq!(agent.get("/nodes/alder/qemu/100/config").await.data()["name"], "web-01");
    let status = agent.get("/cluster/status").await.data();
    let local: Vec<&str> = status
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["local"] == 1)
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(local, ["cedar"]);
}

#[tokio::test]
async fn a_body_beyond_the_limit_drops_the_connection() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let body = format!("description={}", "x".repeat(600 << 10));
    assert!(
        agent.try_send("POST", "/api2/json/nodes/alder/qemu/100/config", &[], &body).await.is_err()
    );
}
