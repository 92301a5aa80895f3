//! The Slack output against a server that answers as Slack's Web API and its webhooks do.

use std::time::Duration;

use async_trait::async_trait;
use event_core::{Delivery, EventSink as _, Receipt, Retry};
use outputs::slack::{Config, Place, Slack};
use serde_json::{Value, json};
use testkit::contract::sink::{Mood, Service, Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::{all, delivery, failure, golden, resolved},
};

const WEBHOOK: &str = "w3bhookTokenOfTheseTests";
const BOT: &str = "xoxb-token-of-these-tests";

#[derive(Default)]
struct Server {
    next: u64,
    /// Name, thread and body of each message.
    messages: Vec<(String, Option<String>, Value)>,
    /// What the Web API says to everything.
    error: Option<&'static str>,
}

impl Server {
    fn problem(body: &Value) -> Option<&'static str> {
        let blocks = body["blocks"].as_array().map_or(&[][..], Vec::as_slice);
        if body["text"].as_str().is_none_or(str::is_empty) {
            return Some("no_text");
        }
        let is_long = |block: &Value| {
            block["text"]["text"].as_str().is_some_and(|text| text.chars().count() > 3000)
        };
        if blocks.is_empty() || blocks.len() > 50 || blocks.iter().any(is_long) {
            return Some("invalid_blocks");
        }
        (body["blocks"].to_string().len() > 13_000).then_some("msg_blocks_too_long")
    }

    fn keep(&mut self, body: Value) -> String {
        self.next += 1;
        let name = format!("1700000000.{:06}", self.next);
        let thread = body["thread_ts"].as_str().map(str::to_owned);
        self.messages.push((name.clone(), thread, body));
        name
    }

    fn api(&mut self, method: &str, body: Value) -> Value {
        let error = |name: &str| json!({ "ok": false, "error": name });
        if let Some(name) = self.error {
            return error(name);
        }
        let at = self.messages.iter().position(|(name, ..)| body["ts"] == name.as_str());
        match (method, at) {
            ("auth.test", _) => json!({ "ok": true, "user": "proxmox", "team": "lab" }),
            _ if !matches!(body["channel"].as_str(), Some("C0PS" | "CDB")) => {
                error("channel_not_found")
            }
            ("chat.postMessage", _) => match Self::problem(&body) {
                Some(problem) => error(problem),
                None => json!({ "ok": true, "channel": body["channel"], "ts": self.keep(body) }),
            },
            ("chat.update" | "chat.delete", None) => error("message_not_found"),
            ("chat.delete", Some(at)) => {
                self.messages.remove(at);
                json!({ "ok": true })
            }
            ("chat.update", Some(at)) => match Self::problem(&body) {
                Some(problem) => error(problem),
                None => {
                    self.messages[at].2 = body;
                    json!({ "ok": true, "ts": self.messages[at].0 })
                }
            },
            _ => error("unknown_method"),
        }
    }
}

impl Rules for Server {
    fn answer(&mut self, call: &Call) -> Reply {
        if let Some(method) = call.path.strip_prefix("/api/") {
            if call.header("authorization") != format!("Bearer {BOT}") {
                return Reply::json(200, &json!({ "ok": false, "error": "invalid_auth" }));
            }
            return Reply::json(200, &self.api(method, call.json()));
        }
        if call.path != format!("/services/T0/B0/{WEBHOOK}") {
            return Reply::text(404, "no_service");
        }
        match Self::problem(&call.json()) {
            Some(problem) => Reply::text(400, problem),
            None => {
                self.keep(call.json());
                Reply::text(200, "ok")
            }
        }
    }

    fn shown(&self) -> Vec<String> {
        let text = |(_, _, body): &(String, Option<String>, Value)| {
            let mut text = String::new();
            for block in body["blocks"].as_array().unwrap() {
                let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                let texts =
                    fields.iter().chain([&block["text"]]).filter_map(|it| it["text"].as_str());
                for it in texts {
                    text.push_str(it);
                    text.push_str(" \n");
                }
            }
            text
        };
        self.messages.iter().map(text).collect()
    }

    fn refuse(&self, call: &Call) -> Reply {
        if call.path.starts_with("/api/") {
            return Reply::json(200, &json!({ "ok": false, "error": "not_in_channel" }));
        }
        Reply::text(403, &format!("invalid_token {}", call.path))
    }

    fn traits(&self) -> Traits {
        let secrets = vec![WEBHOOK.to_owned(), BOT.to_owned()];
        Traits { knows_keys: false, edits: true, moods: moods(), secrets }
    }
}

/// Webhooks cannot edit.
struct OfWebhooks<'a>(&'a Fake<Server>);

#[async_trait]
impl Service for OfWebhooks<'_> {
    async fn set_mood(&self, mood: Mood) {
        self.0.set_mood(mood).await;
    }

    async fn shown(&self) -> Vec<String> {
        self.0.shown().await
    }

    fn traits(&self) -> Traits {
        Traits { edits: false, ..self.0.traits() }
    }
}

fn webhook(fake: &Fake<Server>, token: &str) -> Place {
    Place::Webhook(fake.url(&format!("/services/T0/B0/{token}")).into())
}

fn output(fake: &Fake<Server>, place: Place) -> Slack {
    let mut config = Config::new(place);
    config.bot_token = Some(BOT.into());
    config.api = fake.url("/api");
    config.routes.insert("db".to_owned(), Place::Channel("CDB".to_owned()));
    Slack::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn a_bot_keeps_the_contract() {
    let fake = Fake::start(Server::default()).await;
    sink(&output(&fake, Place::Channel("C0PS".to_owned())), &fake).await;
}

#[tokio::test]
async fn a_webhook_keeps_the_contract() {
    let fake = Fake::start(Server::default()).await;
    sink(&output(&fake, webhook(&fake, WEBHOOK)), &OfWebhooks(&fake)).await;
}

#[tokio::test]
async fn what_the_api_refuses_is_sorted_by_its_name() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("C0PS".to_owned()));
    for (name, retry) in [
        ("channel_not_found", Retry::Never),
        ("is_archived", Retry::Never),
        ("invalid_auth", Retry::Never),
        ("some_error_of_the_future", Retry::Never),
        ("internal_error", Retry::Backoff),
        ("ratelimited", Retry::Backoff),
    ] {
        fake.with(|server| server.error = Some(name));
        let error = output.deliver(&delivery(failure())).await.unwrap_err();
        assert_eq!(error.retry(), retry, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    fake.set_mood(Mood::Busy(Duration::from_secs(30))).await;
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(30)));
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_found_without_telling_anybody() {
    let fake = Fake::start(Server::default()).await;
    let error = output(&fake, webhook(&fake, "revoked")).check().await.unwrap_err();
    assert!(error.to_string().contains("404 (no_service)"), "{error}");
    assert_eq!(
        output(&fake, webhook(&fake, WEBHOOK)).check().await.unwrap(),
        "Slack knows a webhook, the bot proxmox"
    );
    assert_eq!(fake.shown().await, [""; 0]);
}

#[tokio::test]
async fn what_is_long_goes_on_in_a_thread_and_shrinks_with_its_update() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("C0PS".to_owned()));
    let mut long = failure();
    long.text = "a line of the log that is quite long\n".repeat(900);
    long.route = Some("db".to_owned());
    let receipt = output.deliver(&delivery(long.clone())).await.unwrap();
    assert!(receipt.ids.len() > 2, "{receipt:?}");
    let threads = fake.with(|server| {
        server.messages.iter().map(|(_, thread, _)| thread.clone()).collect::<Vec<_>>()
    });
    assert_eq!(threads[0], None);
    assert!(threads[1..].iter().all(|thread| thread.as_deref() == Some(&receipt.ids[0])));

    let so_far = Receipt { ids: receipt.ids[..1].to_vec(), extra: receipt.extra.clone() };
    let again = Delivery { so_far: Some(so_far), ..delivery(long) };
    let again = output.deliver(&again).await.unwrap();
    assert_eq!((again.ids.len(), &again.ids[0]), (receipt.ids.len(), &receipt.ids[0]));

    let mut update = Delivery { prior: Some(receipt), ..delivery(resolved()) };
    // Rules that send it elsewhere by now move nothing: what is edited is where it was told.
    update.message.route = None;
    let edited = output.deliver(&update).await.unwrap();
    assert_eq!(edited.ids.len(), 1);
    let shown = fake.shown().await;
    assert_eq!(shown.len(), again.ids.len(), "the first, and what was told again");
    assert!(shown[0].contains("Resolved: backup of 104 failed"), "{shown:?}");
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("C0PS".to_owned()));
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("slack", name, &format!("{:#}\n", fake.last().json()));
    }
}
