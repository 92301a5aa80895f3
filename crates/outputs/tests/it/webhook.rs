//! The webhook output against the receiver that the docs show.

use event_core::EventSink as _;
use expect_test::{Expect, expect};
use outputs::webhook::{Config, Webhook};
use ring::hmac;
use serde_json::Value;
use testkit::contract::sink::{Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::all,
};

const SECRET: &str = "a-secret-of-these-tests";
const TOKEN: &str = "t0ken-of-these-tests";

/// Checks timestamp and signature, and remembers ids.
#[derive(Default)]
struct Receiver {
    kept: Vec<(String, Value)>,
}

impl Rules for Receiver {
    fn answer(&mut self, call: &Call) -> Reply {
        if call.method == "HEAD" {
            return Reply::text(405, "");
        }
        if call.header("authorization") != format!("Bearer {TOKEN}") {
            return Reply::text(401, "no");
        }
        let timestamp = call.header("x-timestamp");
        let now: jiff::Timestamp = "2026-11-22T01:00:31Z".parse().unwrap();
        let off = timestamp.parse::<i64>().unwrap() - now.as_second();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("{timestamp}.{}", call.body).as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if off.abs() > 300 || call.header("x-signature") != format!("sha256={digits}") {
            return Reply::text(403, "the signature is wrong");
        }
        let id = call.header("x-event-id");
        if !self.kept.iter().any(|(known, _)| *known == id) {
            self.kept.push((id, call.json()));
        }
        Reply::text(204, "")
    }

    fn shown(&self) -> Vec<String> {
        let text = |body: &Value| {
            let fields = body["fields"].as_array().unwrap().iter();
            let fields: String = fields
                .map(|field| format!("{}: {} \n", field["name"], field["value"].as_str().unwrap()))
                .collect();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            format!("{}\n{} \n{fields}", text("title"), text("text"))
        };
        self.kept.iter().map(|(_, body)| text(body)).collect()
    }

    fn refuse(&self, call: &Call) -> Reply {
        Reply::text(400, &format!("I do not take {}", call.header("authorization")))
    }

    fn traits(&self) -> Traits {
        let secrets = vec![SECRET.to_owned(), TOKEN.to_owned(), "hidden-path".to_owned()];
        Traits { knows_keys: true, edits: false, moods: moods(), secrets }
    }
}

fn output(fake: &Fake<Receiver>) -> Webhook {
    let mut config = Config::new(fake.url("/hook/hidden-path").into());
    config.secret = Some(SECRET.into());
    config.token = Some(TOKEN.into());
    Webhook::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let fake = Fake::start(Receiver::default()).await;
    sink(&output(&fake), &fake).await;
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Receiver::default()).await;
    let output = output(&fake);
    let goldens: [Expect; 4] =
        [expect![[r#"
            {
              "v": 1,
              "id": "34c7de5e2d86b6ea3b3f20defa765f0f",
              "instance": "home",
              "stand": "new",
              "incident": "7f3a9c1e",
              "severity": "error",
              "kind": "backup.failed",
              "subject": {
                "cluster": "home",
                "node": "pve1",
                "vmid": "104",
                "guest_name": "db_main"
              },
              "title": "backup of 104 failed: <@everyone> *disk*",
              "text": "no space left on device\n# df & co.: [here](http://x.example)",
              "fields": [
                {
                  "name": "where",
                  "value": "home/104 db_main"
                },
                {
                  "name": "began",
                  "value": "2026-11-22 02:00:00 +01:00"
                },
                {
                  "name": "node",
                  "value": "pve1"
                }
              ],
              "began": "2026-11-22T01:00:00Z",
              "written": "2026-11-22T01:00:30Z",
              "link": "https://mcp.example.org/incidents/7f3a9c1e",
              "silent": false,
              "route": null,
              "events": []
            }
        "#]], expect![[r#"
            {
              "v": 1,
              "id": "41699902eea109e7400b63e768608963",
              "instance": "home",
              "stand": "update",
              "incident": "7f3a9c1e",
              "severity": "error",
              "kind": "backup.failed",
              "subject": {
                "cluster": "home",
                "node": "pve1",
                "vmid": "104",
                "guest_name": "db_main"
              },
              "title": "Update: backup of 104 failed (and 2 more)",
              "text": "- backup of 104 failed\n- backup of 105 failed",
              "fields": [
                {
                  "name": "where",
                  "value": "home/104 db_main"
                },
                {
                  "name": "began",
                  "value": "2026-11-22 02:00:00 +01:00"
                },
                {
                  "name": "reports",
                  "value": "3 (syslog, webhook)"
                },
                {
                  "name": "node",
                  "value": "pve1"
                }
              ],
              "began": "2026-11-22T01:00:00Z",
              "written": "2026-11-22T01:00:30Z",
              "link": "https://mcp.example.org/incidents/7f3a9c1e",
              "silent": true,
              "route": null,
              "events": []
            }
        "#]], expect![[r#"
            {
              "v": 1,
              "id": "70ca08df1ecabd90663387c5eaa1f85e",
              "instance": "home",
              "stand": "resolved",
              "incident": "7f3a9c1e",
              "severity": "error",
              "kind": "backup.failed",
              "subject": {
                "cluster": "home",
                "node": "pve1",
                "vmid": "104",
                "guest_name": "db_main"
              },
              "title": "Resolved: backup of 104 failed",
              "text": "",
              "fields": [
                {
                  "name": "where",
                  "value": "home/104 db_main"
                },
                {
                  "name": "began",
                  "value": "2026-11-22 02:00:00 +01:00"
                },
                {
                  "name": "ended",
                  "value": "2026-11-23 02:03:00 +01:00"
                },
                {
                  "name": "node",
                  "value": "pve1"
                }
              ],
              "began": "2026-11-22T01:00:00Z",
              "written": "2026-11-22T01:00:30Z",
              "link": "https://mcp.example.org/incidents/7f3a9c1e",
              "silent": true,
              "route": null,
              "events": []
            }
        "#]], expect![[r#"
            {
              "v": 1,
              "id": "cd366723363f66ddb2fa12ebb4a77707",
              "instance": "home",
              "stand": "digest",
              "incident": "7f3a9c1e",
              "severity": "info",
              "kind": "other.digest",
              "subject": {},
              "title": "all is well: 12 backups",
              "text": "- home: 12 backups finished\n- vault: garbage collection finished",
              "fields": [],
              "began": "2026-11-22T01:00:00Z",
              "written": "2026-11-22T01:00:30Z",
              "link": null,
              "silent": false,
              "route": null,
              "events": []
            }
        "#]]];
    for ((_, delivery), golden) in all().into_iter().zip(goldens) {
        output.deliver(&delivery).await.unwrap();
        golden.assert_eq(&format!("{:#}\n", fake.last().json()));
    }
    assert_eq!(fake.last().header("x-proxmox-mcp"), "home");
}
