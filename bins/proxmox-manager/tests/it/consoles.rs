//! From what a guest shows on its console to a message.

use control_api::Client;
use serde_json::json;
use testkit::{Progress, wait_for};

use crate::events::Ops;
use crate::support::{House, LONG};

/// What the manager says of an input.
async fn state(client: &Client, input: &str) -> String {
    let health = client.events_health().await.unwrap();
    let found = health.inputs.iter().find(|it| it.name == input);
    found.and_then(|it| it.error.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_panics_is_an_incident_and_a_message() {
    let (ops, told_at) = Ops::listen();
    let house = House::new("").await;
    house.add_settings(&format!(
        "[events]\npoll = false\nwait_secs = 1\n\
         [input.watch]\ntype = \"console\"\ncluster = \"lab\"\nguests = [100, 119]\n\
         [output.ops]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{told_at}/\"\n"
    ));
    let levers = house.sim.levers();
    levers.set_option("lab", 100, "serial0", json!("socket")).unwrap();
    let (manager, client) = house.start().await;
    wait_for("the console to be watched", LONG, async || {
        match levers.open_consoles("lab", "100").unwrap() {
            0 => Progress::Pending(state(&client, "watch_100").await),
            _ => Progress::Ready(()),
        }
    })
    .await;
    // The other guest is off: that is said, and is no failure.
    wait_for("the guest that is off to be named", LONG, async || {
        let state = state(&client, "watch_119").await;
        if state.contains("guest lab/119 does not run") {
            Progress::Ready(())
        } else {
            Progress::Pending(state)
        }
    })
    .await;
    let shown = "[    4.2] Kernel panic - not syncing: Attempted to kill init!\r\n\
        [    4.3] CPU: 0 UID: 0 PID: 1 Comm: init\r\n";
    levers.console_shows("lab", "100", shown).unwrap();
    ops.wait_for("Kernel panic - not syncing").await;
    let open = open_incidents(&client).await;
    assert!(
        open.iter().any(|it| it.contains("critical") && it.contains("Kernel panic")),
        "{open:?}"
    );
    manager.signal("TERM");
    let output = manager.ended().await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn open_incidents(client: &Client) -> Vec<String> {
    let query = event_core::desk::IncidentQuery { open: Some(true), ..Default::default() };
    let open = client.incidents(query).await.unwrap();
    open.iter().map(|it| format!("{} {}", it.severity, it.title)).collect()
}
