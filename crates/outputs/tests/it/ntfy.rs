//! The ntfy output against a server with ntfy's limits and sequences.

use std::time::Duration;

use event_core::EventSink as _;
use outputs::ntfy::{Config, Login, Ntfy};
use serde_json::{Value, json};
use testkit::contract::sink::{Mood, Service, Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::{all, delivery, failure, golden, resolved},
};

const TOKEN: &str = "tk_of_these_tests_000000";

/// A server that lets the token's owner write to `ops` and `db`, and read nothing.
struct Server {
    next: u64,
    /// What clients show, by sequence.
    messages: Vec<(String, Value)>,
    knows_sequences: bool,
}

fn problem(code: u32, error: &str) -> Reply {
    let status = u16::try_from(code / 100).unwrap();
    Reply::json(
        status,
        &json!({ "code": code, "http": status, "error": error, "link": "https://ntfy.sh/docs" }),
    )
}

impl Rules for Server {
    fn answer(&mut self, call: &Call) -> Reply {
        let knows = call.header("authorization") == format!("Bearer {TOKEN}");
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/v1/health") => Reply::json(200, &json!({ "healthy": true })),
            _ if !knows => problem(40101, "unauthorized"),
            ("GET", _) => problem(40301, "forbidden"),
            ("POST", "/") => {
                let body = call.json();
                let topic = body["topic"].as_str().unwrap_or_default();
                if call.body.len() > 2 * 4096 {
                    return problem(41303, "JSON body too large");
                }
                if !matches!(topic, "ops" | "db") {
                    return problem(40301, "forbidden");
                }
                // What is longer would become a file.
                assert!(body["message"].as_str().unwrap().len() <= 4096);
                self.next += 1;
                let id = format!("m{}", self.next);
                let sequence = match body["sequence_id"].as_str() {
                    Some(sequence) if self.knows_sequences => sequence.to_owned(),
                    _ => id.clone(),
                };
                match self.messages.iter_mut().find(|(known, _)| *known == sequence) {
                    Some((_, known)) => *known = body,
                    None => self.messages.push((sequence, body)),
                }
                Reply::json(200, &json!({ "id": id, "event": "message" }))
            }
            _ => problem(40401, "page not found"),
        }
    }

    fn shown(&self) -> Vec<String> {
        let text = |body: &Value| {
            let text = |name: &str| body[name].as_str().unwrap().replace('\n', " \n");
            format!("{} \n{} ", text("title"), text("message"))
        };
        self.messages.iter().map(|(_, body)| text(body)).collect()
    }

    fn busy(&self, _pause: Duration) -> Reply {
        problem(42901, "limit reached: too many requests, please be nice")
    }

    fn refuse(&self, call: &Call) -> Reply {
        problem(40301, &format!("forbidden for {}", call.header("authorization")))
    }

    fn traits(&self) -> Traits {
        let knows = self.knows_sequences;
        Traits { knows_keys: knows, edits: knows, moods: moods(), secrets: vec![TOKEN.to_owned()] }
    }
}

async fn server(knows_sequences: bool) -> Fake<Server> {
    Fake::start(Server { next: 0, messages: Vec::new(), knows_sequences }).await
}

fn output(fake: &Fake<Server>) -> Ntfy {
    let mut config = Config::new(fake.url(""), "ops");
    config.login = Login::Token(TOKEN.into());
    Ntfy::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract_with_servers_of_today_and_of_before() {
    for knows_sequences in [true, false] {
        let fake = server(knows_sequences).await;
        sink(&output(&fake), &fake).await;
    }
}

#[tokio::test]
async fn a_wrong_login_is_found_without_telling_anybody() {
    let fake = server(true).await;
    let mut config = Config::new(fake.url(""), "ops");
    let password = "a-password-of-these-tests".into();
    config.login = Login::Password { user: "me".to_owned(), password };
    let output = Ntfy::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    let said = output.check().await.unwrap_err().to_string();
    assert!(said.contains("it answered 401"), "{said}");
    assert_eq!(
        fake.last().header("authorization"),
        "Basic bWU6YS1wYXNzd29yZC1vZi10aGVzZS10ZXN0cw=="
    );
    assert!(
        Ntfy::try_new("ops".parse().unwrap(), Config::new("https://x", "a b"), &kit()).is_err()
    );
}

#[tokio::test]
async fn a_route_is_a_topic_and_its_updates_stay_there() {
    let fake = server(true).await;
    let output = output(&fake);
    let mut routed = delivery(failure());
    routed.message.route = Some("db".to_owned());
    let receipt = output.deliver(&routed).await.unwrap();
    // Where the message is, there it is edited, whatever rules say by now.
    for route in [Some("db".to_owned()), None] {
        let mut update = delivery(resolved());
        update.prior = Some(receipt.clone());
        update.message.route = route;
        output.deliver(&update).await.unwrap();
    }
    let topics = fake.with(|server| {
        server.messages.iter().map(|(_, body)| body["topic"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(topics, ["db"], "each takes the place of the one before");
}

#[tokio::test]
async fn what_failed_in_the_middle_goes_on_there() {
    let fake = server(false).await;
    let output = output(&fake);
    let mut long = delivery(failure());
    long.message.text = "a line of the log that is quite long\n".repeat(400);
    let whole = output.deliver(&long).await.unwrap();
    assert!(whole.ids.len() > 2, "{whole:?}");
    long.so_far = Some(whole.clone());
    long.so_far.as_mut().unwrap().ids.truncate(1);
    fake.set_mood(Mood::Broken).await;
    let error = output.deliver(&long).await.unwrap_err();
    assert_eq!(error.receipt_so_far().unwrap().ids, whole.ids[..1]);
    fake.set_mood(Mood::Well).await;
    let before = fake.shown().await.len();
    let again = output.deliver(&long).await.unwrap();
    assert_eq!(fake.shown().await.len() - before, whole.ids.len() - 1);
    assert_eq!((again.ids.len(), &again.extra), (whole.ids.len(), &whole.extra));
}

#[tokio::test]
async fn what_is_sent() {
    let fake = server(true).await;
    let output = output(&fake);
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("ntfy", name, &format!("{:#}\n", fake.last().json()));
    }
}
