//! A secret in every field that holds one or that people write one into: none of them is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use guard::Principal;
use mcp_protocol::{CallContext, schema_object};
use mcp_tools::{
    build_app,
    journal::{Entry, Journal},
};
use proxmox_sim::{Place, PlaceKind};
use serde_json::{Value, json};

use super::ask::{Reader, Said};
use crate::surface::options;

/// What every planted secret begins with.
const MARK: &str = "pLANT3d";

/// Which secret stands where.
type Numbers = Arc<Mutex<BTreeMap<Place, usize>>>;

/// Plants a secret of its own in every place, as people write them.
fn plant(reader: &Reader) -> Numbers {
    let numbers = Numbers::default();
    let kept = Arc::clone(&numbers);
    reader.estate.sim.levers().plant(move |place, was| {
        let mut kept = kept.lock().unwrap();
        let next = kept.len();
        let number = *kept.entry(place.clone()).or_insert(next);
        let secret = format!("{MARK}{number:04}abcdefghij0123456789KLMNOP");
        Some(match place.kind {
            // Known by its name, or not at all.
            PlaceKind::Secret => secret,
            PlaceKind::Name => format!("{was}-glpat-{secret}"),
            _ => match number % 12 {
                0 => format!("{was} password={secret}"),
                1 => format!("{was} Authorization: Bearer {secret}"),
                2 => format!("{was} https://bob:{secret}@db.example/x"),
                3 => format!("{was} glpat-{secret} and more"),
                4 => format!("{was} --cipassword {secret} --cores 2"),
                5 => format!("{{\"api_key\": \"{secret}\", \"was\": 1}}"),
                6 => format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
                7 => format!("{was} eyJhbGciOiJIUzI1NiJ9.{secret}.{secret}"),
                8 => format!("The root password is {secret}"),
                9 => format!("{was} https://discord.com/api/webhooks/123/{secret}"),
                10 => format!("{was} PVE:root@pam:6B033EDA::{secret}=="),
                _ => format!("{was} ghp_{secret}, DB_PASSWORD='{secret}'"),
            },
        })
    });
    numbers
}

/// Which planted secrets an answer tells.
fn told(said: &Said, numbers: &BTreeMap<Place, usize>) -> Vec<String> {
    let all = format!("{} {}", said.text, said.object);
    let mut out = Vec::new();
    for (at, _) in all.match_indices(MARK) {
        let number = all[at + MARK.len()..].chars().take(4).collect::<String>();
        let place = numbers.iter().find(|(_, it)| number.parse() == Ok(**it));
        out.push(format!("{}: {:?}", said.asked, place.map(|(place, _)| place)));
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_tells_a_planted_secret() {
    let reader = Reader::start().await;
    let numbers = plant(&reader);
    let levers = reader.estate.sim.levers();

    let mut leaks = Vec::new();
    let mut shown = BTreeMap::<String, usize>::new();
    for (template, said) in reader.paths().await {
        leaks.extend(told(&said, &numbers.lock().unwrap()));
        if !said.failed {
            let redacted = said.text.matches("[redacted]").count();
            *shown.entry(template).or_default() += redacted;
        }
    }
    // A path that was planted into shows that something was taken out: otherwise what was planted
    // never came this far, and nothing was proven.
    let planted = levers.planted();
    let paths: BTreeSet<&str> = planted.iter().map(|it| it.place.path.as_str()).collect();
    let silent: Vec<_> = paths.iter().filter(|path| shown.get(**path) == Some(&0)).collect();
    assert_eq!(silent, Vec::<&&str>::new(), "these were planted into, and show nothing redacted");

    let mut redacted = 0;
    for said in reader.tools().await.into_iter().chain(reader.resources().await) {
        redacted += said.text.matches("[redacted]").count();
        leaks.extend(told(&said, &numbers.lock().unwrap()));
    }
    leaks.sort();
    leaks.dedup();
    assert_eq!(leaks, Vec::<String>::new(), "told");
    assert!(redacted >= 40, "only {redacted} secrets came into the answers of tools");

    // The fields that matter most were reached, each with a secret of its own.
    let planted = levers.planted();
    let served: BTreeSet<(&str, &str)> =
        planted.iter().map(|it| (it.place.path.as_str(), it.place.field.as_str())).collect();
    for (path, field) in [
        ("/cluster/resources", "name"),
        ("/cluster/resources", "tags"),
        ("/nodes/{node}/qemu/{vmid}/config", "description"),
        ("/nodes/{node}/qemu/{vmid}/snapshot", "description"),
        ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "cipassword"),
        ("/nodes/{node}/qemu/{vmid}/cloudinit/dump", "text"),
        ("/nodes/{node}/qemu/{vmid}/pending", "description"),
        ("/nodes/{node}/qemu/{vmid}/agent/get-host-name", "host-name"),
        ("/nodes/{node}/lxc/{vmid}/config", "env"),
        ("/nodes/{node}/tasks/{upid}/log", "t"),
        ("/nodes/{node}/tasks/{upid}/status", "exitstatus"),
        ("/nodes/{node}/journal", "line"),
        ("/nodes/{node}/config", "description"),
        ("/cluster/log", "msg"),
        ("/cluster/backup", "comment"),
        ("/cluster/notifications/endpoints/webhook", "secret"),
        ("/access/users", "keys"),
        ("/access/users", "comment"),
        ("/access/groups", "comment"),
        ("/pools", "comment"),
        ("/storage", "password"),
        ("/nodes/{node}/storage/{storage}/content", "notes"),
        ("/admin/datastore/{store}/snapshots", "comment"),
        ("/admin/datastore/{store}/groups", "comment"),
        ("/config/remote", "password"),
        ("/config/sync", "comment"),
    ] {
        assert!(served.contains(&(path, field)), "{field} of {path} was never served");
    }
    assert!(planted.len() >= 80, "only {} fields were planted", planted.len());
}

/// Keeps entries.
#[derive(Default)]
struct Kept(Mutex<Vec<Entry>>);

#[async_trait]
impl Journal for Kept {
    async fn record(&self, entry: Entry) -> Result<(), String> {
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_action_writes_a_planted_secret_down() {
    let reader = Reader::start().await;
    let numbers = plant(&reader);
    let kept = Arc::new(Kept::default());
    let mut options = options("all");
    options.principal = Principal::local(1000);
    options.journal = Some(Arc::clone(&kept) as Arc<dyn Journal>);
    let app = build_app(Arc::clone(&reader.estate.cx.fleet), &options).expect("a catalogue");
    let secret = format!("{MARK}9999abcdefghij0123456789KLMNOP");
    let noted = format!("password={secret}");
    for (tool, args) in [
        ("snapshot_create", json!({"guest": "lab/104", "name": "one", "description": noted})),
        ("guest_configure", json!({"guest": "lab/106", "set": {"description": noted}})),
        ("guest_power", json!({"guest": "lab/106", "action": "reboot"})),
        ("backup_run", json!({"guests": ["lab/106"], "notes": noted})),
        (
            "api_call",
            json!({"cluster": "lab", "method": "POST", "path": "/access/groups", "params": {"groupid": "g", "comment": noted}}),
        ),
    ] {
        for plan in [true, false] {
            let mut args = schema_object(args.clone());
            if plan {
                args.insert("plan".to_owned(), true.into());
            }
            let cx = CallContext::detached(app.caller().clone());
            let outcome =
                app.call_tool(&cx, tool, args).await.unwrap_or_else(|e| panic!("{tool}: {e}"));
            let said = match outcome {
                mcp_protocol::Outcome::Ask { inputs, .. } => {
                    inputs.into_iter().map(|input| input.message).collect()
                }
                outcome => {
                    let answer = outcome.answer().unwrap_or_else(|| panic!("{tool} answers"));
                    let object = Value::Object(answer.structured.clone().unwrap_or_default());
                    format!("{} {object}", answer.plain_text())
                }
            };
            let said =
                Said { asked: tool.to_owned(), failed: false, text: said, object: Value::Null };
            assert_eq!(
                told(&said, &numbers.lock().unwrap()),
                Vec::<String>::new(),
                "{}",
                said.text
            );
        }
    }
    let entries = kept.0.lock().unwrap();
    assert!(entries.len() >= 6, "{} entries", entries.len());
    let written = format!("{entries:?}");
    assert!(!written.contains(MARK), "{written}");
    assert!(written.contains("[redacted]"), "{written}");
}
