//! The Gotify output against a server that keeps the rules of Gotify's API.

use event_core::{Delivery, EventSink as _};
use expect_test::expect;
use outputs::gotify::{Config, Gotify};
use serde_json::{Value, json};
use testkit::contract::sink::{Traits, sink};

use crate::{
    fake::{Call, Fake, Reply, Rules, kit, moods},
    messages::{all, delivery, failure, golden, resolved},
};

const APP: &str = "A-token-of-the-application";
const CLIENT: &str = "C-token-of-the-client";

/// Applications post, clients delete.
#[derive(Default)]
struct Server {
    next: u64,
    messages: Vec<(u64, Value)>,
}

impl Rules for Server {
    fn answer(&mut self, call: &Call) -> Reply {
        let token = call.header("x-gotify-key");
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/version") => Reply::json(200, &json!({ "version": "2.6.3" })),
            ("POST", "/message") if token == APP => {
                let mut message = call.json();
                if message["message"].as_str().is_none_or(str::is_empty) {
                    let error = json!({ "error": "Bad Request", "errorCode": 400, "errorDescription": "Field 'message' is required" });
                    return Reply::json(400, &error);
                }
                self.next += 1;
                message["id"] = self.next.into();
                self.messages.push((self.next, message.clone()));
                Reply::json(200, &message)
            }
            ("DELETE", path) if token == CLIENT => {
                let id: u64 = path.trim_start_matches("/message/").parse().unwrap();
                let before = self.messages.len();
                self.messages.retain(|(known, _)| *known != id);
                let status = if self.messages.len() < before { 200 } else { 404 };
                Reply::text(status, "")
            }
            _ => Reply::json(
                401,
                &json!({ "error": "Unauthorized", "errorCode": 401, "errorDescription": "you need to provide a valid access token or user credentials to access this api" }),
            ),
        }
    }

    fn shown(&self) -> Vec<String> {
        let text = |message: &Value| {
            let text = |name: &str| message[name].as_str().unwrap().to_owned();
            format!("{}\n{} ", text("title"), text("message").replace('\n', " \n"))
        };
        self.messages.iter().map(|(_, message)| text(message)).collect()
    }

    fn refuse(&self, call: &Call) -> Reply {
        Reply::text(403, &format!("not with {}", call.header("x-gotify-key")))
    }

    fn traits(&self) -> Traits {
        let secrets = vec![APP.to_owned(), CLIENT.to_owned()];
        Traits { knows_keys: false, edits: true, moods: moods(), secrets }
    }
}

fn output(fake: &Fake<Server>, client_token: Option<&str>) -> Gotify {
    let mut config = Config::new(fake.url("/"), APP.into());
    config.client_token = client_token.map(Into::into);
    Gotify::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let fake = Fake::start(Server::default()).await;
    sink(&output(&fake, Some(CLIENT)), &fake).await;
}

#[tokio::test]
async fn an_update_is_posted_before_the_old_one_is_deleted() {
    let fake = Fake::start(Server::default()).await;
    let with_client = output(&fake, Some(CLIENT));
    let receipt = with_client.deliver(&delivery(failure())).await.unwrap();
    assert_eq!(receipt.ids, ["1"]);
    let update = Delivery { prior: Some(receipt), ..delivery(resolved()) };
    let receipt = with_client.deliver(&update).await.unwrap();
    assert_eq!(receipt.ids, ["2"]);
    let calls: Vec<String> =
        fake.calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    assert_eq!(calls, ["POST /message", "POST /message", "DELETE /message/1"]);
    assert_eq!(fake.with(|server| server.messages.len()), 1);

    // Without a client's token it is one more, which alerts nobody; and a message that is gone is no problem.
    output(&fake, None).deliver(&update).await.unwrap();
    assert_eq!(fake.last().json()["priority"], 0);
    assert_eq!(fake.with(|server| server.messages.len()), 2);
    with_client.deliver(&update).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_found_without_telling_anybody() {
    let fake = Fake::start(Server::default()).await;
    let config = Config::new(fake.url(""), "A-wrong-token".into());
    let output = Gotify::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    let said = output.check().await.unwrap_err().to_string();
    expect![[r#"tell `ops` over Gotify: it answered 401 ({"error":"Unauthorized","errorCode":401,"errorDescription":"you need to provide a valid access token or user credentials to access this api"}); it is not tried again: look at the settings `server` and `token` (an application's), then replay it"#]].assert_eq(&said);
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, None);
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("gotify", name, &format!("{:#}\n", fake.last().json()));
    }
}
