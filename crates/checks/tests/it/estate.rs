//! Endpoints and tables, good and bad.

use std::sync::{Arc, Mutex};

use checks::{Status, Summary, Topology, run};
use expect_test::expect;
use guard::Mode;
use proxmox_sim::{PveRelease, Sim, SimConfig};
use stdx::{Clock, ManualClock, SystemClock};

use crate::support::{pbs, pins, plan, pve, sim, table, told};

#[tokio::test]
async fn the_whole_estate_is_green_and_in_order() {
    let sim = sim().await;
    let mut plan = plan(Mode::Trusted);
    plan.pve = vec![
        pve("lab", table(sim.target("lab"), "agent")),
        pve("edge", table(sim.target("edge"), "agent")),
    ];
    plan.pbs = vec![pbs("vault", table(sim.target("vault"), "agent"))];
    plan.topology = Some(Topology::Mixed);
    let seen = Mutex::new(Vec::new());
    let findings = run(plan, |progress| {
        seen.lock().unwrap().push((progress.done, progress.total));
    })
    .await;
    expect![[""]].assert_eq(&told(&findings, &[&sim]));

    // Every check is counted once, and the last one is the end.
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    let total = findings.len();
    assert_eq!(seen, (1..=total).map(|done| (done, total)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_says_what_to_do() {
    let sim = sim().await;
    let (lab, edge, vault) = (sim.target("lab"), sim.target("edge"), sim.target("vault"));

    let mut wrong_pin = table(edge, "agent");
    wrong_pin.fingerprints = pins(vault);
    let mut bad_token = table(edge, "agent");
    bad_token.token = Some("00000000-0000-0000-0000-000000000000".into());
    let mut no_roots = table(vault, "agent");
    no_roots.fingerprints.clear();
    no_roots.ca_file = Some(ca_of(lab));
    let mut bad_pbs_token = table(vault, "agent");
    bad_pbs_token.token = Some("00000000-0000-0000-0000-000000000000".into());
    let mut insecure = table(edge, "readonly");
    insecure.fingerprints.clear();
    insecure.insecure = true;

    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![
        pve("wrong_pin", wrong_pin),
        pve("bad_token", bad_token),
        pve("no_rights", table(edge, "nothing")),
        pve("reader", insecure),
    ];
    plan.pbs = vec![
        pbs("other_root", no_roots),
        pbs("bad_secret", bad_pbs_token),
        pbs("no_rights_pbs", table(vault, "nothing")),
    ];
    let findings = run(plan, |_| ()).await;
    assert!(!Summary::of(&findings).is_ok());
    expect![[""]].assert_eq(&told(&findings, &[&sim]));
}

#[tokio::test]
async fn an_endpoint_that_is_away_does_not_hide_the_others() {
    let sim = sim().await;
    sim.levers().node_offline("lab", "cedar", true).unwrap();
    let mut gone = table(sim.target("vault"), "agent");
    // A name that no server of the world may have.
    gone.endpoints = vec!["https://pbs.invalid:8007".to_owned()];
    gone.fingerprints = pins(sim.target("vault"));
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("lab", table(sim.target("lab"), "agent"))];
    plan.pbs = vec![pbs("gone", gone)];
    let findings = run(plan, |_| ()).await;
    let text = told(&findings, &[&sim]);
    let (lab, gone) = text.split_at(text.find("Fail gone").unwrap());
    expect![[""]].assert_eq(lab);
    // The resolver's own words differ from system to system.
    assert!(gone.starts_with("Fail gone https://pbs.invalid:8007 reach: pbs.invalid has no address here"), "{gone}");
    assert!(gone.contains("getent hosts pbs.invalid"), "{gone}");
}

#[tokio::test]
async fn endpoints_of_two_clusters_are_both_named() {
    let (one, other) = (sim().await, sim().await);
    let with = |config: &mut api_core::endpoint::EndpointConfig, sim: &Sim, key: &str| {
        config.endpoints.push(sim.target(key).nodes[0].url.clone());
        config.fingerprints.extend(pins(sim.target(key)));
    };
    // The tokens of two simulators differ, so the login is that of an administrator.
    let base = |sim: &Sim, key: &str| {
        let (username, password) = sim.target(key).admin.clone();
        let mut config = table(sim.target(key), "agent");
        (config.token_id, config.token) = (None, None);
        (config.username, config.password) = (Some(username), Some(password.into()));
        config.endpoints.truncate(1);
        config
    };
    let mut mixed = base(&one, "lab");
    with(&mut mixed, &one, "edge");
    let mut namesakes = base(&one, "edge");
    with(&mut namesakes, &other, "edge");
    let mut vaults = base(&one, "vault");
    with(&mut vaults, &other, "vault");
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("mixed", mixed), pve("namesakes", namesakes)];
    plan.pbs = vec![pbs("vaults", vaults)];
    let findings = run(plan, |_| ()).await;
    let findings: Vec<_> = findings
        .into_iter()
        .filter(|finding| matches!(finding.check, "cluster" | "server" | "topology"))
        .collect();
    expect![[""]].assert_eq(&told(&findings, &[&one, &other]));
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_in_seconds() {
    let sim = sim().await;
    let clock = ManualClock::at(SystemClock.now());
    clock.advance(std::time::Duration::from_secs(3600));
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("edge", table(sim.target("edge"), "agent"))];
    plan.clock = Arc::new(clock);
    let findings = run(plan, |_| ()).await;
    let finding = findings.iter().find(|finding| finding.check == "clock").unwrap();
    assert_eq!(finding.status, Status::Fail, "{}", finding.detail);
    let seconds = finding.detail.split(' ').next().unwrap().parse::<i64>().unwrap();
    assert!((3500..=3600).contains(&seconds), "{}", finding.detail);
}

#[tokio::test]
async fn an_operate_token_is_checked_apart() {
    let sim = Sim::start(SimConfig::fast().with_pve_release(PveRelease::V8_4)).await.unwrap();
    let edge = sim.target("edge");
    let with = |operate: &str, secret: Option<&str>| {
        let token = edge.token(operate);
        let mut config = table(edge, "readonly");
        config.operate_token_id = Some(token.id.clone());
        config.operate_token = Some(secret.unwrap_or(&token.secret).into());
        config
    };
    let mut plan = plan(Mode::Trusted);
    plan.pve = vec![
        pve("good", with("agent", None)),
        pve("weak", with("nothing", None)),
        pve("bad", with("agent", Some("00000000-0000-0000-0000-000000000000"))),
    ];
    let findings = run(plan, |_| ()).await;
    let findings: Vec<_> = findings
        .into_iter()
        .filter(|finding| matches!(finding.check, "operate" | "version"))
        .collect();
    expect![[""]].assert_eq(&told(&findings, &[&sim]));
}

/// The authority of a target in a file that outlives the test's plan.
fn ca_of(target: &proxmox_sim::SimTarget) -> std::path::PathBuf {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("checks-{}-{}-ca.pem", std::process::id(), target.key));
    std::fs::write(&path, &target.ca_pem).unwrap();
    path
}
