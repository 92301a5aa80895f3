//! The whole client against the simulator, over TLS: credentials, refusals, tasks.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::time::Duration;

use api_core::{
    ErrorKind,
    endpoint::Disk,
    task::{TaskEnd, WaitOptions},
};
use estate::{DatastoreName, UpidGrammar};
use pbs_client::{Client, Config, datastores, version};
use proxmox_sim::{Sim, SimConfig, SimTarget};
use serde_json::{Value, json};
use stdx::Chain;

async fn sim() -> Sim {
    Sim::start(SimConfig::fast().with_auth_delay(Duration::ZERO)).await.unwrap()
}

/// The settings of a target with its own fingerprint and this credential.
fn connect(vault: &SimTarget, credential: &Value) -> Client {
    let mut table = credential.clone();
    table["endpoints"] = json!([vault.nodes[0].url]);
    table["fingerprint"] = json!(vault.nodes[0].fingerprint);
    let config: Config = serde_json::from_value(table).unwrap();
    Client::connect(&config.validate("vault", &Disk).unwrap().value).unwrap()
}

fn agent(vault: &SimTarget) -> Value {
    let token = vault.token("agent");
    json!({"token_id": token.id, "token": token.secret})
}

fn admin(vault: &SimTarget) -> Value {
    json!({"username": vault.admin.0, "password": vault.admin.1})
}

fn store() -> DatastoreName {
    "main".parse().unwrap()
}

#[tokio::test]
async fn token_and_login_are_taken_and_wrong_ones_told() {
    let sim = sim().await;
    let vault = sim.target("vault");
    for credential in [agent(vault), admin(vault)] {
        assert_eq!(connect(vault, &credential).call(version::get()).await.unwrap().major(), 4);
    }
    let wrong = json!({"token_id": vault.token("agent").id, "token": "planted-0f5a"});
    let error = connect(vault, &wrong).call(version::get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", Chain(&error));
    let shown = format!("{error} {error:?} {}", Chain(&error));
    assert!(error.message() == "authentication failed" && !shown.contains("planted"), "{shown}");
    let nobody = vault.token("nothing");
    let nobody = connect(vault, &json!({"token_id": nobody.id, "token": nobody.secret}));
    let error = nobody.call(datastores::status(&store(), false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", Chain(&error));
    let client = connect(vault, &agent(vault));
    let error = client.call(datastores::status(&"nope".parse().unwrap(), false)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "no such datastore 'nope'"));
}

#[tokio::test]
async fn a_task_is_followed_and_a_write_outlives_its_ticket() {
    let sim = sim().await;
    let vault = sim.target("vault");
    let client = connect(vault, &admin(vault));
    client.call(version::get()).await.unwrap();
    sim.levers().expire_tickets("vault").unwrap();
    let upid = client.call(datastores::start_gc(&store())).await.unwrap();
    assert_eq!(upid.grammar(), UpidGrammar::Pbs);
    let mut lines = 0;
    let options = WaitOptions::within(Duration::from_secs(30));
    let outcome = client.wait(&upid, &options, |_| lines += 1).await.unwrap();
    assert_eq!((&outcome.state, outcome.log_tail.is_empty()), (&TaskEnd::Ok, lines == 0));

    sim.levers().fail_next_task("vault", None, "chunk store is gone").unwrap();
    let upid = client.call(datastores::start_gc(&store())).await.unwrap();
    let outcome = client.wait(&upid, &options.without_log(), |_| ()).await.unwrap();
    let TaskEnd::Failed(cause) = &outcome.state else { panic!("{outcome:?}") };
    assert!(cause.contains("chunk store is gone"), "{cause}");
    assert!(outcome.log_tail.last().is_some_and(|line| line.contains("TASK ERROR")), "{outcome:?}");
}
