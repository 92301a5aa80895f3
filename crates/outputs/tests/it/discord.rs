//! The Discord output against a server with Discord's limits, buckets, nonces and answers.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use event_core::{Delivery, EventSink as _, Receipt, Retry};
use outputs::discord::{Config, Discord, Place};
use serde_json::{Value, json};
use testkit::contract::sink::{Mood, Service, Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::{all, delivery, failure, golden, resolved},
};

const WEBHOOK: &str = "w3bhook-token-of-these-tests";
const BOT: &str = "b0t-token-of-these-tests";

/// One webhook, `111`, and one channel, `222`, that the bot may write to.
#[derive(Default)]
struct Server {
    next: u64,
    /// Place, thread, id and body of each message.
    messages: Vec<(String, String, u64, Value)>,
    nonces: BTreeMap<String, u64>,
    /// How many posts the bucket has left, if that is counted, and until when it stays empty.
    left: Option<u32>,
    empty_until: Option<Instant>,
    /// How many posts came while it was.
    refused: u32,
}

impl Server {
    fn problem(body: &Value) -> Option<String> {
        let length = |value: &Value| value.as_str().map_or(0, |text| text.trim().chars().count());
        let embeds = body["embeds"].as_array().map_or(&[][..], Vec::as_slice);
        if embeds.is_empty() || embeds.len() > 10 {
            return Some(format!("{} embeds", embeds.len()));
        }
        if body["allowed_mentions"] != json!({ "parse": [] }) {
            return Some("this could mention somebody".to_owned());
        }
        let mut total = 0;
        for embed in embeds {
            let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
            let mut checked = vec![
                (&embed["title"], 256),
                (&embed["description"], 4096),
                (&embed["footer"]["text"], 2048),
            ];
            for field in fields {
                checked.extend([(&field["name"], 256), (&field["value"], 1024)]);
            }
            for (value, most) in checked {
                total += length(value);
                if length(value) > most || (value.is_string() && length(value) == 0) {
                    return Some(format!("{} of {most}: {value}", length(value)));
                }
            }
            if fields.len() > 25 {
                return Some(format!("{} fields", fields.len()));
            }
        }
        (total > 6000).then(|| format!("{total} of 6000"))
    }

    fn post(&mut self, place: &str, call: &Call) -> Reply {
        let mut headers = Vec::new();
        if self.empty_until.is_some_and(|until| Instant::now() < until) {
            self.refused += 1;
            return limited("0.3");
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            headers.push(("x-ratelimit-bucket", "abcd".to_owned()));
            headers.push(("x-ratelimit-remaining", left.to_string()));
            headers.push(("x-ratelimit-reset-after", "0.2".to_owned()));
            if *left == 0 {
                *left = 2;
                self.empty_until = Some(Instant::now() + Duration::from_millis(200));
            }
        }
        let body = call.json();
        if let Some(problem) = Self::problem(&body) {
            return Reply::json(
                400,
                &json!({ "code": 50035, "message": "Invalid Form Body", "errors": problem }),
            );
        }
        if let (Some(nonce), true) = (body["nonce"].as_str(), body["enforce_nonce"] == true) {
            assert!(nonce.len() <= 25, "{nonce}");
            if let Some(id) = self.nonces.get(nonce) {
                return Reply::json(200, &json!({ "id": id.to_string() }));
            }
            self.nonces.insert(nonce.to_owned(), self.next + 1);
        }
        self.next += 1;
        self.messages.push((place.to_owned(), thread(call), self.next, body));
        let answer = json!({ "id": self.next.to_string() });
        Reply::Answer(200, headers, answer.to_string())
    }

    fn change(&mut self, id: &str, call: &Call) -> Reply {
        let unknown = json!({ "message": "Unknown Message", "code": 10008 });
        let found = self.messages.iter().position(|(_, thread_id, known, _)| {
            known.to_string() == id && *thread_id == thread(call)
        });
        let Some(at) = found else { return Reply::json(404, &unknown) };
        if call.method == "DELETE" {
            self.messages.remove(at);
            return Reply::text(204, "");
        }
        let body = call.json();
        if let Some(problem) = Self::problem(&body) {
            return Reply::json(400, &json!({ "code": 50035, "message": problem }));
        }
        self.messages[at].3 = body;
        Reply::json(200, &json!({ "id": id }))
    }
}

fn thread(call: &Call) -> String {
    let pairs = call.query.split('&').find_map(|pair| pair.strip_prefix("thread_id="));
    pairs.unwrap_or_default().to_owned()
}

fn limited(seconds: &str) -> Reply {
    let body = format!(
        r#"{{"message":"You are being rate limited.","retry_after":{seconds},"global":false}}"#
    );
    let headers = vec![
        ("retry-after", "1".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset-after", seconds.to_owned()),
        ("x-ratelimit-scope", "user".to_owned()),
    ];
    Reply::Answer(429, headers, body)
}

impl Rules for Server {
    fn answer(&mut self, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').skip(1).collect();
        let is_bot = call.header("authorization") == format!("Bot {BOT}");
        match (call.method.as_str(), &parts[..]) {
            (_, ["webhooks", _, token, ..]) if *token != WEBHOOK => {
                Reply::json(404, &json!({ "message": "Unknown Webhook", "code": 10015 }))
            }
            (_, ["channels", ..]) if !is_bot => {
                Reply::json(401, &json!({ "message": "401: Unauthorized", "code": 0 }))
            }
            ("GET", ["webhooks", ..]) => Reply::json(200, &json!({ "name": "Captain Hook" })),
            ("GET", ["channels", "222"]) => Reply::json(200, &json!({ "name": "ops" })),
            ("POST", ["webhooks", "111", _]) if call.query.contains("wait=true") => {
                self.post("111", call)
            }
            ("POST", ["webhooks", "111", _]) => Reply::text(204, ""),
            ("POST", ["channels", channel, "messages"]) => self.post(channel, call),
            ("PATCH" | "DELETE", [.., "messages", id]) => self.change(id, call),
            _ => Reply::json(404, &json!({ "message": "Not Found", "code": 0 })),
        }
    }

    fn shown(&self) -> Vec<String> {
        let texts = |value: &Value| {
            let mut text = String::new();
            for embed in value["embeds"].as_array().unwrap() {
                for name in ["title", "description"] {
                    text.push_str(embed[name].as_str().unwrap_or_default());
                    text.push('\n');
                }
                for field in embed["fields"].as_array().map_or(&[][..], Vec::as_slice) {
                    writeln!(text, "{} {} ", field["name"], field["value"].as_str().unwrap())
                        .unwrap();
                }
            }
            text.replace('\n', " \n")
        };
        self.messages.iter().map(|(_, _, _, body)| texts(body)).collect()
    }

    fn busy(&self, pause: Duration) -> Reply {
        limited(&format!("{:.1}", pause.as_secs_f64()))
    }

    fn refuse(&self, call: &Call) -> Reply {
        let quoted = format!("{} {}", call.path, call.header("authorization"));
        Reply::json(403, &json!({ "message": quoted, "code": 50013 }))
    }

    fn traits(&self) -> Traits {
        let secrets = vec![WEBHOOK.to_owned(), BOT.to_owned()];
        // A 429 closes the bucket for as long as it says, which has a test of its own.
        let moods = moods().into_iter().filter(|it| !matches!(it, Mood::Busy(_)));
        Traits { knows_keys: true, edits: true, moods: moods.collect(), secrets }
    }
}

fn webhook(fake: &Fake<Server>, token: &str, thread: Option<&str>) -> Place {
    let url = fake.url(&format!("/api/webhooks/111/{token}")).into();
    Place::Webhook { url, thread: thread.map(str::to_owned) }
}

fn output(fake: &Fake<Server>, place: Place) -> Discord {
    let mut config = Config::new(place);
    config.bot_token = Some(BOT.into());
    config.api = fake.url("/api");
    config.routes.insert("db".to_owned(), webhook(fake, WEBHOOK, Some("333")));
    Discord::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

/// Webhooks cannot know keys.
struct OfWebhooks<'a>(&'a Fake<Server>);

#[async_trait::async_trait]
impl Service for OfWebhooks<'_> {
    async fn set_mood(&self, mood: Mood) {
        self.0.set_mood(mood).await;
    }

    async fn shown(&self) -> Vec<String> {
        self.0.shown().await
    }

    fn traits(&self) -> Traits {
        Traits { knows_keys: false, ..self.0.traits() }
    }
}

#[tokio::test]
async fn a_bot_keeps_the_contract() {
    let fake = Fake::start(Server::default()).await;
    sink(&output(&fake, Place::Channel("222".to_owned())), &fake).await;
}

#[tokio::test]
async fn a_webhook_keeps_the_contract() {
    let fake = Fake::start(Server::default()).await;
    sink(&output(&fake, webhook(&fake, WEBHOOK, None)), &OfWebhooks(&fake)).await;
}

#[tokio::test]
async fn an_empty_bucket_is_waited_for_and_a_429_is_given_back() {
    let fake = Fake::start(Server::default()).await;
    fake.with(|server| server.left = Some(2));
    let output = output(&fake, webhook(&fake, WEBHOOK, None));
    for _ in 0..5 {
        output.deliver(&delivery(failure())).await.unwrap();
    }
    assert_eq!(fake.with(|server| server.refused), 0, "a post came before the bucket had room");
    // Somebody else has emptied it.
    fake.with(|server| server.empty_until = Some(Instant::now() + Duration::from_hours(1)));
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_millis(300)), "{error}");
    fake.with(|server| server.empty_until = None);
    output.deliver(&delivery(failure())).await.unwrap();
    assert_eq!(fake.with(|server| server.messages.len()), 6);
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_not_asked_again() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, webhook(&fake, "deleted", None));
    for _ in 0..3 {
        let error = output.deliver(&delivery(failure())).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error}");
        assert!(!error.to_string().contains("deleted"), "{error}");
    }
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test]
async fn what_failed_in_the_middle_goes_on_there() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, webhook(&fake, WEBHOOK, None));
    let mut long = failure();
    long.text = "a line of the log that is quite long\n".repeat(600);
    let whole = output.deliver(&delivery(long.clone())).await.unwrap();
    assert!(whole.ids.len() > 2, "{whole:?}");
    let told = fake.with(|server| server.messages.split_off(0));

    let so_far = Receipt { ids: whole.ids[..2].to_vec(), extra: whole.extra.clone() };
    let again = Delivery { so_far: Some(so_far), ..delivery(long.clone()) };
    let receipt = output.deliver(&again).await.unwrap();
    assert_eq!(receipt.ids[..2], whole.ids[..2]);
    let rest = fake.with(|server| server.messages.clone());
    let bodies = |messages: &[(String, String, u64, Value)]| {
        messages.iter().map(|(_, _, _, body)| body["embeds"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(&rest), bodies(&told[2..]));

    // An edit that is shorter leaves nothing of the longer one behind; one that somebody deleted is posted anew.
    let prior = Some(Receipt { ids: receipt.ids[2..].to_vec(), extra: receipt.extra });
    let update = Delivery { prior: prior.clone(), ..delivery(resolved()) };
    let edited = output.deliver(&update).await.unwrap();
    assert_eq!(edited.ids, prior.as_ref().unwrap().ids[..1]);
    assert_eq!(fake.with(|server| server.messages.len()), 1);
    fake.with(|server| server.messages.clear());
    let anew = output.deliver(&update).await.unwrap();
    assert_ne!(anew.ids, edited.ids);
    assert_eq!(fake.with(|server| server.messages.len()), 1);
}

#[tokio::test]
async fn a_route_has_its_own_place_and_its_messages_stay_there() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("222".to_owned()));
    let said = output.check().await.unwrap();
    assert_eq!(said, "Discord knows channel ops, webhook Captain_Hook");
    let mut routed = failure();
    routed.route = Some("db".to_owned());
    let receipt = output.deliver(&delivery(routed)).await.unwrap();
    let update = Delivery { prior: Some(receipt), ..delivery(resolved()) };
    output.deliver(&update).await.unwrap();
    let places = fake.with(|server| {
        let places = server.messages.iter().map(|(place, thread, ..)| format!("{place}/{thread}"));
        places.collect::<Vec<_>>()
    });
    assert_eq!(
        places,
        ["111/333", "222/"],
        "a rule that sends elsewhere has no message there to edit"
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let fake = Fake::start(Server::default()).await;
    for (place, said) in [
        (Place::Channel("ops".to_owned()), "`ops` is no id of a channel"),
        (Place::Webhook { url: "https://discord.com/x".into(), thread: None }, "is no webhook's"),
        (webhook(&fake, WEBHOOK, Some("12a")), "`12a` is no id"),
        (Place::Channel("222".to_owned()), "a channel needs `bot_token`"),
    ] {
        let mut config = Config::new(place);
        config.bot_token = (!said.contains("bot_token")).then(|| BOT.into());
        let error = Discord::try_new("ops".parse().unwrap(), config, &kit()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("222".to_owned()));
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("discord", name, &format!("{:#}\n", fake.last().json()));
    }
}
