//! Tokens with separated privileges, tickets, second factors, and the making of accounts.

use proxmox_sim::{PveRelease, Sim, SimConfig};
use totp_rs::{Algorithm, Builder};

use crate::wire::{Caller, demo, escape};

#[tokio::test]
async fn lists_are_filtered_by_privilege_and_single_things_refused() {
    let sim = demo().await;
    let nothing = Caller::token(&sim, "lab", "nothing");
    for path in [
        "/nodes/alder/qemu",
        "/cluster/resources?type=vm",
        "/pools",
        "/storage",
        "/nodes/alder/tasks",
    ] {
        assert_eq!(nothing.get(path).await.data(), serde_json::json!([]), "{path}");
    }
    assert_eq!(nothing.get("/access/permissions").await.data(), serde_json::json!({}));
    assert_eq!(
        nothing.get("/nodes/alder/qemu/100/config").await.line(),
        "403 Permission check failed (/vms/100, VM.Audit)"
    );
    let readonly = Caller::token(&sim, "lab", "readonly");
    assert_eq!(
        readonly.post("/nodes/alder/qemu/108/status/start", &[]).await.line(),
        "403 Permission check failed (/vms/108, VM.PowerMgmt)"
    );
    assert_eq!(
        readonly.get("/nodes/alder/storage/vault/content").await.data(),
        serde_json::json!([])
    );
    let agent = Caller::token(&sim, "lab", "agent");
    assert!(
        agent.get("/nodes/alder/storage/vault/content").await.data().as_array().unwrap().len() > 50
    );
    assert_eq!(agent.get("/access/permissions").await.data()["/vms"]["VM.PowerMgmt"], 1);
}

#[tokio::test]
async fn tickets_need_their_csrf_token_to_write_and_expire_by_lever() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    assert_eq!(admin.get("/version").await.status, 200);
    let mut reader = admin.clone();
    reader.auth.truncate(1);
    assert_eq!(reader.get("/version").await.status, 200);
    let refused = reader.post("/nodes/alder/lxc/130/status/reboot", &[]).await;
    assert_eq!(
        (refused.line().as_str(), refused.body.len()),
        ("401 Permission denied - invalid csrf token", 0)
    );
    assert_eq!(admin.post("/nodes/alder/lxc/130/status/reboot", &[]).await.status, 200);
    sim.levers().expire_tickets("lab").unwrap();
    assert_eq!(admin.get("/version").await.status, 401);
    let bad = Caller::nobody(&sim, "lab")
        .post("/access/ticket", &[("username", "root@pam"), ("password", "no")])
        .await;
    assert_eq!((bad.line().as_str(), bad.body.len()), ("401 authentication failure", 0));
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_checked() {
    let sim = demo().await;
    let nobody = Caller::nobody(&sim, "lab");
    let (user, password, secret) = sim.target("lab").totp.clone().unwrap();
    assert_eq!(secret.len(), 32);
    let first =
        nobody.post("/access/ticket", &[("username", &user), ("password", &password)]).await.data();
    assert_eq!(first["NeedTFA"], 1);
    let challenge = first["ticket"].as_str().unwrap();
    assert!(challenge.starts_with("PVE:!tfa!"));
    let mut half = nobody.clone();
    half.auth = vec![("Cookie", format!("PVEAuthCookie={}", escape(challenge)))];
    assert_eq!(half.get("/version").await.status, 401);
    let key = b"Hello!\xDE\xAD\xBE\xEFHello!\xDE\xAD\xBE\xEF".to_vec();
    let now = Caller::token(&sim, "lab", "agent").get("/nodes/alder/time").await.data()["time"]
        .as_u64()
        .unwrap();
    let code = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_secret(key)
        .build_noncompliant()
        .generate(now);
    let answer = format!("totp:{code}");
    let params = [("username", user.as_str()), ("password", &answer), ("tfa-challenge", challenge)];
    let second = nobody.post("/access/ticket", &params).await.data();
    assert!(second["ticket"].as_str().unwrap().starts_with("PVE:totp@pve:"));
    let params =
        [("username", user.as_str()), ("password", "totp:000000"), ("tfa-challenge", challenge)];
    assert_eq!(nobody.post("/access/ticket", &params).await.status, 401);
}

#[tokio::test]
async fn an_administrator_makes_a_least_privilege_token_on_both_products() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "edge").await;
    assert_eq!(
        admin
            .post("/access/roles", &[("roleid", "Ops"), ("privs", "VM.Audit,VM.PowerMgmt")])
            .await
            .status,
        200
    );
    assert_eq!(admin.post("/access/users", &[("userid", "ops@pve")]).await.status, 200);
    let made = admin.post("/access/users/ops@pve/token/bot", &[("privsep", "1")]).await.data();
    assert_eq!(made["full-tokenid"], "ops@pve!bot");
    let again = admin.post("/access/users/ops@pve/token/bot", &[]).await;
    assert_eq!(
        (again.line().as_str(), again.json()["errors"]["tokenid"].as_str()),
        ("400 Parameter verification failed.", Some("Token already exists."))
    );
    let mut bot = Caller::nobody(&sim, "edge");
    bot.auth = vec![(
        "Authorization",
        format!("PVEAPIToken=ops@pve!bot={}", made["value"].as_str().unwrap()),
    )];
    assert_eq!(bot.get("/nodes/alder/qemu").await.data(), serde_json::json!([]));
    for who in [("users", "ops@pve"), ("tokens", "ops@pve!bot")] {
        assert_eq!(
            admin.put("/access/acl", &[("path", "/"), ("roles", "Ops"), who]).await.status,
            200
        );
    }
    assert_eq!(bot.get("/nodes/alder/qemu").await.data().as_array().unwrap().len(), 7);

    let admin = Caller::admin(&sim, "vault").await;
    assert_eq!(admin.post("/access/users", &[("userid", "ops@pbs")]).await.status, 200);
    let made =
        admin.json("POST", "/access/users/ops@pbs/token/bot", &serde_json::json!({})).await.data();
    for who in ["ops@pbs", "ops@pbs!bot"] {
        let params = [("path", "/datastore/main"), ("role", "DatastoreAudit"), ("auth-id", who)];
        assert_eq!(admin.put("/access/acl", &params).await.status, 200);
    }
    let mut bot = Caller::nobody(&sim, "vault");
    bot.auth = vec![(
        "Authorization",
        format!("PBSAPIToken=ops@pbs!bot:{}", made["value"].as_str().unwrap()),
    )];
    assert_eq!(bot.get("/admin/datastore").await.data().as_array().unwrap().len(), 1);
    assert_eq!(
        bot.get("/admin/datastore/archive/status").await.text(),
        "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/archive"
    );
}

#[tokio::test]
async fn release_8_has_groups_and_monitor_and_no_rules() {
    let config = SimConfig::fast().with_pve_release(PveRelease::V8_4);
    let sim = Sim::start(config).await.unwrap();
    let agent = Caller::token(&sim, "lab", "agent");
    assert_eq!(agent.get("/version").await.data()["release"], "8.4");
    assert_eq!(
        agent.get("/cluster/ha/rules").await.line(),
        "501 Method 'GET /cluster/ha/rules' not implemented"
    );
    assert_eq!(agent.get("/cluster/ha/groups").await.data()[0]["group"], "birch-first");
    assert_eq!(agent.get("/access/permissions").await.data()["/vms"]["VM.Monitor"], 1);
    assert!(
        agent.get("/nodes/alder/qemu/100/status/current").await.data().get("memhost").is_none()
    );
    assert_eq!(
        agent.get("/nodes/alder/qemu/100/agent/get-host-name").await.data()["result"]["host-name"],
        "web-01"
    );
    let admin = Caller::admin(&sim, "lab").await;
    let refused =
        admin.post("/access/roles", &[("roleid", "Ops"), ("privs", "VM.GuestAgent.Audit")]).await;
    assert_eq!(
        refused.json()["errors"]["privs"],
        "invalid format - invalid privilege 'VM.GuestAgent.Audit'\n"
    );
}

#[tokio::test]
async fn the_deepest_line_the_user_itself_and_no_access_decide() {
    let sim = demo().await;
    let admin = Caller::token(&sim, "lab", "operator");
    let held = async |who: &str, path: &str| {
        let query = format!("/access/permissions?userid={}&path={}", escape(who), escape(path));
        admin.get(&query).await.data()[path].clone()
    };
    // A pool lends to its guests, and that reaches no further.
    assert_eq!(held("anna@pve", "/vms/124").await["VM.PowerMgmt"], 0);
    assert_eq!(held("anna@pve", "/pool/lab").await["VM.PowerMgmt"], 1);
    // Her own line goes before what the group's pool lends, and takes everything away.
    assert_eq!(held("anna@pve", "/vms/120").await, serde_json::Value::Null);
    assert_eq!(held("anna@pve", "/vms/121").await["VM.Audit"], 0);
    // A line on a deeper path replaces the one on the root.
    assert_eq!(held("olaf@pve", "/nodes/birch").await["Sys.Audit"], 1);
    assert_eq!(held("olaf@pve", "/nodes/cedar").await, serde_json::Value::Null);
    // And without propagation it counts on its own path only.
    assert_eq!(held("olaf@pve", "/vms").await["VM.Audit"], 0);
    assert_eq!(held("olaf@pve", "/vms/100").await["VM.Audit"], 1);
    let groups = admin.get("/access/groups").await.data();
    assert_eq!(groups[0]["groupid"], "developers");
    assert_eq!(groups[0]["users"], "anna@pve,chris@pve");
    let bad = [("path", "/nowhere"), ("roles", "PVEAuditor"), ("users", "anna@pve")];
    let got = admin.form("PUT", "/access/acl", &bad).await;
    assert_eq!(got.json()["errors"]["path"], "invalid ACL path '/nowhere'");
}
