//! The Gotify output against a server that keeps the rules of Gotify's API.

use event_core::{Delivery, EventSink as _};
use expect_test::expect;
use outputs::gotify::{Config, Gotify};
use testkit::{
    contract::sink::sink,
    fake::gotify::{APP_TOKEN, CLIENT_TOKEN, Gotify as Server},
};

use crate::{
    fake::{Fake, kit},
    messages::{all, delivery, failure, golden, resolved},
};

fn output(fake: &Fake<Server>, client_token: Option<&str>) -> Gotify {
    let mut config = Config::new(fake.url("/"), APP_TOKEN.into());
    config.client_token = client_token.map(Into::into);
    Gotify::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let fake = Fake::start(Server::new()).await;
    sink(&output(&fake, Some(CLIENT_TOKEN)), &fake).await;
}

#[tokio::test]
async fn an_update_is_posted_before_the_old_one_is_deleted() {
    let fake = Fake::start(Server::new()).await;
    let with_client = output(&fake, Some(CLIENT_TOKEN));
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
    let fake = Fake::start(Server::new()).await;
    let config = Config::new(fake.url(""), "A-wrong-token".into());
    let output = Gotify::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    let said = output.check().await.unwrap_err().to_string();
    expect![[r#"tell `ops` over Gotify: it answered 401 ({"error":"Unauthorized","errorCode":401,"errorDescription":"you need to provide a valid access token or user credentials to access this api"}); it is not tried again: look at the settings `server` and `token` (an application's), then replay it"#]].assert_eq(&said);
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Server::new()).await;
    let output = output(&fake, None);
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("gotify", name, &format!("{:#}\n", fake.last().json()));
    }
}
