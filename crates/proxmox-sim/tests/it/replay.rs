//! The recorded conversations with real servers, played again to the simulator.
//!
//! Names are mapped; statuses, reasons, bodies of refusals and the shapes of replies must agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proxmox_sim::{EstateKind, Sim, SimConfig};
use serde_json::Value;

use crate::wire::{Caller, Got, demo, escape};

/// The recordings, or nothing where they are not at hand.
fn recorded() -> Option<Value> {
    let file: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recorded/conversations.json");
    match std::fs::read(&file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("JSON")),
        Err(error) => {
            let required =
                option_env!("REQUIRE_FIXTURES").is_some() || env_is_set("REQUIRE_FIXTURES");
            assert!(!required, "{}: {error}", file.display());
            tell(&format!("skipped: {} is not here", file.display()));
            None
        }
    }
}

#[expect(clippy::print_stdout, reason = "a skip must be seen")]
fn tell(text: &str) {
    println!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch, not a setting")]
fn env_is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// Sends a recorded request with mapped names.
async fn replay(
    caller: &Caller,
    request: &Value,
    names: &[(&str, &str)],
    upids: &BTreeMap<String, String>,
) -> Got {
    let map = |text: &str| rename(text, names, upids);
    let verb = request["method"].as_str().expect("a method");
    let path: Vec<String> = request["path"]
        .as_str()
        .expect("a path")
        .split('/')
        .map(|segment| {
            let plain =
                percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
            escape(&map(&plain))
        })
        .collect();
    let path = path.join("/");
    if let Some(body) = request.get("json") {
        return caller.json(verb, &path, body).await;
    }
    let empty = serde_json::Map::new();
    let params = request.get("params").and_then(Value::as_object).unwrap_or(&empty);
    let pairs: Vec<(String, String)> = params
        .iter()
        .map(|(key, value)| {
            (key.clone(), map(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        })
        .collect();
    if matches!(verb, "POST" | "PUT") {
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        return caller.form(verb, &path, &pairs).await;
    }
    let query: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    caller.try_send(verb, &format!("/api2/json{path}"), &[], "").await.expect("a response")
}

fn rename(text: &str, names: &[(&str, &str)], upids: &BTreeMap<String, String>) -> String {
    if let Some(upid) = upids.get(text) {
        return upid.clone();
    }
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from, to);
    }
    text
}

/// Top-level members and the kind of `data`.
fn shape(body: &Value) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let members = body.as_object().into_iter().flatten();
    members.map(|(key, value)| (key.clone(), kind(value))).collect()
}

/// Members of the recorded object, or of a recorded row, that the simulator's answer lacks.
fn lacking(recorded: &Value, ours: &Value) -> Vec<String> {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            recorded.keys().filter(|key| !ours.contains_key(*key)).cloned().collect()
        }
        (Value::Array(recorded), Value::Array(ours)) if !ours.is_empty() => {
            let known: Vec<&String> =
                ours.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
            let mut lacking: Vec<String> = recorded
                .iter()
                .filter_map(Value::as_object)
                .flat_map(serde_json::Map::keys)
                .filter(|key| !known.contains(key))
                .cloned()
                .collect();
            lacking.sort();
            lacking.dedup();
            lacking
        }
        _ => Vec::new(),
    }
}

/// Differences that are meant, by part of the path and member.
const MEANT: &[(&str, &str)] = &[
    // The simulated clusters' nodes have no pressure figures and no archived machine of the guest.
    ("/config", "vmgenid"),
    ("/cluster/resources", "memhost"),
];

#[tokio::test]
async fn the_recorded_pve_conversation_reads_the_same() {
    let Some(recorded) = recorded() else { return };
    let sim = Sim::start(SimConfig::fast().with_estate(EstateKind::Empty)).await.unwrap();
    let admin = Caller::admin(&sim, "lab").await;
    let made = admin.post("/access/users/root@pam/token/full", &[("privsep", "0")]).await.data();
    let mut full = Caller::nobody(&sim, "lab");
    full.auth = vec![(
        "Authorization",
        format!("PVEAPIToken=root@pam!full={}", made["value"].as_str().unwrap()),
    )];
    let limited = Caller::token(&sim, "lab", "readonly");
    // The recorded cluster had a guest in a pool and a container; backups and images were on one storage.
    let lxc = [
        ("vmid", "200"),
        ("ostemplate", "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"),
        ("hostname", "ct200"),
        ("rootfs", "ceph-vm:1"),
        ("memory", "64"),
    ];
    let task = admin.post("/nodes/alder/lxc", &lxc).await;
    assert_eq!(admin.run(task).await.0, "OK");
    let vm = [
        ("vmid", "100"),
        ("name", "vm100"),
        ("memory", "64"),
        ("scsi0", "ceph-vm:1"),
        ("pool", "lab"),
    ];
    let task = admin.post("/nodes/alder/qemu", &vm).await;
    assert_eq!(admin.run(task).await.0, "OK");
    // It also had an entry of access control for that guest.
    assert_eq!(
        admin
            .put(
                "/access/acl",
                &[("path", "/vms/100"), ("roles", "PVEVMUser"), ("users", "totp@pve")]
            )
            .await
            .status,
        200
    );
    let names = [("pve1", "alder"), ("pve2", "birch"), ("local", "nas")];
    let mut upids: BTreeMap<String, String> = BTreeMap::new();
    let mut differences = Vec::new();
    for entry in recorded["pve"].as_array().unwrap() {
        let request = &entry["request"];
        let note = entry["note"].as_str().unwrap_or_default();
        let caller = match (request["auth"].as_str(), note) {
            (Some("none"), _) => Caller::nobody(&sim, "lab"),
            (_, "wrong secret") => {
                let mut wrong = full.clone();
                wrong.auth[0].1.push('x');
                wrong
            }
            (Some(_), _) => limited.clone(),
            (None, _) => full.clone(),
        };
        let path = request["path"].as_str().unwrap();
        let shown =
            format!("{} {}", request["method"].as_str().unwrap(), rename(path, &names, &upids));
        let theirs = &entry["json"];
        let followed = note == "task followed to its end";
        if followed {
            let upid = theirs["data"]["upid"].as_str().unwrap();
            admin.finish(&upids[upid]).await;
        }
        let got = replay(&caller, request, &names, &upids).await;
        let reason = rename(entry["reason"].as_str().unwrap(), &names, &upids);
        let expected = format!("{} {reason}", entry["status"]);
        if got.line() != expected {
            differences.push(format!(
                "{shown}: {expected:?} became {:?} {}",
                got.line(),
                got.text()
            ));
            continue;
        }
        if theirs.is_null() {
            if !got.body.is_empty() {
                differences.push(format!("{shown}: the body should be empty"));
            }
            continue;
        }
        let ours = got.json();
        let upid = |body: &Value| {
            body["data"].as_str().filter(|data| data.starts_with("UPID:")).map(str::to_owned)
        };
        if let (Some(theirs), Some(ours)) = (upid(theirs), upid(&ours)) {
            upids.insert(theirs, ours);
        }
        if shape(theirs) != shape(&ours) {
            differences.push(format!("{shown}: {:?} became {:?}", shape(theirs), shape(&ours)));
        }
        if got.status >= 400 {
            let expected = rename(&theirs.to_string(), &names, &upids);
            let expected: Value = serde_json::from_str(&expected).unwrap();
            if expected != ours {
                differences.push(format!("{shown}: {expected} became {ours}"));
            }
        }
        let connection =
            entry["connection"].as_str().unwrap().replace("close,Keep-Alive, ", "close, ");
        if got.connection() != connection {
            differences
                .push(format!("{shown}: connection {connection:?} became {:?}", got.connection()));
        }
        let exit = |body: &Value| body["data"]["exitstatus"].as_str().map(str::to_owned);
        // Two ends belong to the recorded host alone: a guest without a system, and a QEMU that cannot back up.
        let alone = ["VM quit/powerdown failed - got timeout", "job errors"];
        let end = exit(theirs).map(|status| rename(&status, &names, &upids));
        if end != exit(&ours) && !alone.contains(&end.as_deref().unwrap_or_default()) {
            differences.push(format!("{shown}: ended with {end:?}, here {:?}", exit(&ours)));
        }
        for key in lacking(&theirs["data"], &ours["data"]) {
            if !MEANT.iter().any(|(part, name)| path.contains(part) && *name == key) {
                differences.push(format!("{shown}: lacks {key}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(upids.len() > 15);
}

#[tokio::test]
async fn the_recorded_pbs_conversation_reads_the_same() {
    let Some(recorded) = recorded() else { return };
    let sim = demo().await;
    let admin = Caller::admin(&sim, "vault").await;
    let limited = Caller::token(&sim, "vault", "readonly");
    let made = admin.post("/access/users/root@pam/token/ci", &[]).await.data();
    let acl = [("path", "/"), ("role", "Admin"), ("auth-id", "root@pam!ci")];
    assert_eq!(admin.put("/access/acl", &acl).await.status, 200);
    let mut full = Caller::nobody(&sim, "vault");
    full.auth = vec![(
        "Authorization",
        format!("PBSAPIToken=root@pam!ci:{}", made["value"].as_str().unwrap()),
    )];
    let snapshots = admin
        .get("/admin/datastore/main/snapshots?ns=lab&backup-type=vm&backup-id=100")
        .await
        .data();
    let time = snapshots[0]["backup-time"].to_string();
    let names =
        [("lab2", "archive"), ("lab", "main"), ("prod", "lab"), ("1795369927", time.as_str())];
    let mut upids: BTreeMap<String, String> = BTreeMap::new();
    let mut differences = Vec::new();
    for entry in recorded["pbs"].as_array().unwrap() {
        let mut request = entry["request"].clone();
        let is_limited = request["auth"] == "limited token";
        // The recorded backups were in the root namespace.
        if !is_limited && request["params"].get("backup-id").is_some() {
            request["params"]["ns"] = "prod".into();
        }
        let caller = match request["auth"].as_str() {
            Some("none") => Caller::nobody(&sim, "vault"),
            Some(_) => limited.clone(),
            None => full.clone(),
        };
        let path = request["path"].as_str().unwrap();
        let shown = format!("{} {path}", request["method"].as_str().unwrap());
        let theirs = &entry["json"];
        if entry["note"] == "task followed to its end" {
            admin.finish(&upids[theirs["data"]["upid"].as_str().unwrap()]).await;
        }
        let got = replay(&caller, &request, &names, &upids).await;
        let expected = format!("{} {}", entry["status"], entry["reason"].as_str().unwrap());
        if got.line() != expected {
            differences.push(format!(
                "{shown}: {expected:?} became {:?} {}",
                got.line(),
                got.text()
            ));
            continue;
        }
        if let Some(text) = entry["text"].as_str() {
            let expected = rename(text, &names, &upids);
            if got.text() != expected {
                differences.push(format!("{shown}: {expected:?} became {:?}", got.text()));
            }
            continue;
        }
        let ours = got.json();
        if let (Some(theirs), Some(ours)) = (theirs["data"].as_str(), ours["data"].as_str()) {
            upids.insert(theirs.to_owned(), ours.to_owned());
        }
        if shape(theirs) != shape(&ours) {
            differences.push(format!("{shown}: {:?} became {:?}", shape(theirs), shape(&ours)));
        }
        for key in lacking(&theirs["data"], &ours["data"]) {
            differences.push(format!("{shown}: lacks {key}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
