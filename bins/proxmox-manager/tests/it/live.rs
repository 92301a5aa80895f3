//! How the estate is, as the manager keeps it: from looks, with an age, and unknown when nobody tells any more.

use control_api::Client;
use event_core::live::{FactView, LiveQuery, What};
use testkit::{Progress, wait_for};

use crate::support::{House, LONG, can_run_mcp, said};

async fn fact(client: &Client, what: What, name: &str, word: &str) -> Option<FactView> {
    let query = LiveQuery { cluster: Some("lab".to_owned()), what: Some(what) };
    let view = client.live(query).await.unwrap();
    view.facts.into_iter().find(|it| it.name == name && it.fact == word)
}

async fn wait_until(client: &Client, name: &str, is_it: impl Fn(&FactView) -> bool) -> FactView {
    wait_for("the fact", LONG, async || match fact(client, What::Node, name, "state").await {
        Some(fact) if is_it(&fact) => Progress::Ready(fact),
        other => Progress::Pending(format!("{other:?}")),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_turn_with_the_estate_and_get_old_without_it() {
    let house = House::new("").await;
    house.add_settings("[input.look]\ntype = \"tasks\"\nbusy_secs = 1\ncalm_secs = 1\n");
    let (manager, client) = house.start().await;
    let online = wait_until(&client, "cedar", |it| it.value == "online").await;
    assert!(online.age_secs < 60 && online.was.is_none(), "{online:?}");
    assert!(fact(&client, What::Guest, "104", "state").await.is_some());
    let room = fact(&client, What::Storage, "nas", "fill").await.unwrap();
    assert!(room.value.ends_with(" %"), "{room:?}");

    house.sim.levers().node_offline("lab", "cedar", true).unwrap();
    let offline = wait_until(&client, "cedar", |it| it.value == "offline").await;
    assert!(offline.at > online.at, "{offline:?}");

    // Nothing of the estate answers any more: what was so is told as what it was.
    let House { sim, folder, config, .. } = house;
    drop(sim);
    let unknown = wait_until(&client, "alder", |it| it.value == "unknown").await;
    assert_eq!(unknown.was.as_deref(), Some("online"));
    assert!(unknown.age_secs >= 4, "{unknown:?}");
    if can_run_mcp() {
        let mut command = std::process::Command::new(crate::support::mcp_program());
        command.args(["events", "live", "--cluster", "lab", "--what", "node", "--config"]);
        command.arg(&config).env_clear();
        let (code, text) = said(&tokio::task::block_in_place(|| command.output().unwrap()));
        assert!(code == 0 && text.contains("unknown (was online)"), "{text}");
    }
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));
    drop(folder);
}
