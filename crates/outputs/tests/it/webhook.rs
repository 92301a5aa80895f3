//! The webhook output against the receiver that the docs show.

use std::fmt::Write as _;

use event_core::EventSink as _;
use outputs::webhook::{Config, Webhook};
use ring::hmac;
use serde_json::Value;
use testkit::contract::sink::{Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::{all, golden},
};

const SECRET: &str = "a-secret-of-these-tests";
const TOKEN: &str = "t0ken-of-these-tests";

/// Checks timestamp and signature, and remembers ids.
struct Receiver {
    kept: Vec<(String, Value)>,
    /// What it says to a HEAD.
    head: u16,
}

impl Rules for Receiver {
    fn answer(&mut self, call: &Call) -> Reply {
        if call.method == "HEAD" {
            return Reply::text(self.head, "");
        }
        if call.header("authorization") != format!("Bearer {TOKEN}") {
            return Reply::text(401, "no");
        }
        let timestamp = call.header("x-timestamp");
        let now: jiff::Timestamp = "2026-11-22T01:00:31Z".parse().unwrap();
        let off = timestamp.parse::<i64>().unwrap() - now.as_second();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("{timestamp}.{}", call.body).as_bytes());
        let mut digits = String::new();
        for byte in tag.as_ref() {
            write!(digits, "{byte:02x}").unwrap();
        }
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
            let mut fields = String::new();
            for field in body["fields"].as_array().unwrap() {
                let value = field["value"].as_str().unwrap();
                writeln!(fields, "{}: {value} ", field["name"]).unwrap();
            }
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

fn receiver() -> Receiver {
    Receiver { kept: Vec::new(), head: 405 }
}

fn output(fake: &Fake<Receiver>) -> Webhook {
    let mut config = Config::new(fake.url("/hook/hidden-path").into());
    config.secret = Some(SECRET.into());
    config.token = Some(TOKEN.into());
    Webhook::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let fake = Fake::start(receiver()).await;
    sink(&output(&fake), &fake).await;
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(receiver()).await;
    let output = output(&fake);
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("webhook", name, &format!("{:#}\n", fake.last().json()));
    }
    assert_eq!(fake.last().header("x-proxmox-mcp"), "home");
}

#[tokio::test]
async fn a_check_tells_a_receiver_that_is_there_from_one_that_is_not() {
    let fake = Fake::start(receiver()).await;
    let output = output(&fake);
    for (status, is_there) in [(200, true), (405, true), (501, true), (404, false), (502, false)] {
        fake.with(|receiver| receiver.head = status);
        assert_eq!(output.check().await.is_ok(), is_there, "{status}");
    }
    assert!(fake.calls().iter().all(|call| call.method == "HEAD"));
}
