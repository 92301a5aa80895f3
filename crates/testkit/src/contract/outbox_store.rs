//! The contract of what the store does with deliveries. What couriers rely on is [`super::outbox`]:
//! [`Couriers`] shows them the store as such an outbox.

use std::sync::Arc;

use async_trait::async_trait;
use event_core::{ComponentId, DeliveryKey, LogError, LogErrorKind, Outbox, Queued, Receipt};
use jiff::Timestamp;
use serde_json::json;
use store::{Dead, DeliveryState, NewDelivery, Step, Store, Told};

use super::event_log::{after, component};
use super::events::delivery;

fn key(text: &str) -> DeliveryKey {
    text.to_owned().into()
}

fn receipt(ids: &[&str]) -> Receipt {
    let ids = ids.iter().map(|&id| id.to_owned()).collect();
    Receipt { ids, extra: json!({ "channel": "\u{0}1" }) }
}

async fn put(store: &dyn Store, deliveries: Vec<NewDelivery>) -> u64 {
    let step = Step { deliveries, ..Step::default() };
    store.commit_step(step).await.expect("commit").deliveries
}

/// A store as couriers see it.
pub struct Couriers(Arc<dyn Store>);

/// What a store answers them.
fn answered<T>(answer: Result<T, store::Error>) -> Result<T, LogError> {
    answer.map_err(|error| {
        LogError::new(LogErrorKind::Unavailable, "work on the outbox").because(error)
    })
}

// === impl Couriers ===

impl Couriers {
    /// What every outbox does, by this store. Wants an empty one.
    ///
    /// # Panics
    ///
    /// Where the contract is broken.
    pub async fn suite(store: Arc<dyn Store>) {
        let puts = async |output: ComponentId, queued: Queued| {
            let Queued { key, incident, made, message, .. } = queued;
            let lane = incident.clone().unwrap_or_else(|| key.as_str().to_owned());
            put(
                &*store,
                vec![NewDelivery { key, output, incident, lane, made, due: made, message }],
            )
            .await;
        };
        super::outbox::outbox(&Self(Arc::clone(&store)), puts).await;
    }
}

#[async_trait]
impl Outbox for Couriers {
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, LogError> {
        let mut due = Vec::new();
        for it in answered(self.0.due(output, now, limit).await)? {
            let prior = match &it.incident {
                Some(incident) => answered(self.0.prior_receipt(output, incident).await)?,
                None => None,
            };
            due.push(Queued {
                key: it.key,
                incident: it.incident,
                attempts: it.attempts,
                made: it.made,
                prior,
                so_far: it.receipt,
                message: it.message.expect("it is readable"),
            });
        }
        Ok(due)
    }

    async fn delivered(
        &self,
        key: &DeliveryKey,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<(), LogError> {
        answered(self.0.delivered(key, Told { service: "x", receipt }, now).await).map(drop)
    }

    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<&Receipt>,
    ) -> Result<(), LogError> {
        let so_far = so_far.map(|receipt| Told { service: "x", receipt });
        answered(self.0.failed(key, error, due, so_far).await).map(drop)
    }

    async fn bury(&self, key: &DeliveryKey, error: &str, now: Timestamp) -> Result<(), LogError> {
        answered(self.0.bury(key, error, now).await).map(drop)
    }
}

/// The keys of what an output is to be told.
async fn due(store: &dyn Store, output: &str, now: i64) -> Vec<String> {
    let due = store.due(&component(output), after(now), 100).await.expect("due");
    due.iter().map(|it| it.key.as_str().to_owned()).collect()
}

/// What every outbox does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn outbox(store: &dyn Store) {
    assert_eq!(store.next_due(&component("ops")).await.expect("next"), None);
    assert_eq!(store.output_counts().await.expect("count"), []);
    let about = |key: &str, incident: &str, made: i64| delivery(key, "ops", Some(incident), made);
    let first = vec![
        about("a1", "0a", 1),
        about("a2", "0a", 2),
        about("b1", "0b", 10),
        about("b2", "0b", 3),
        delivery("other", "mail", Some("0a"), 1),
    ];
    assert_eq!(put(store, first.clone()).await, 5);
    assert_eq!(put(store, first.clone()).await, 0, "a key is there once");
    let kept = store.delivery(&key("a1")).await.expect("read").expect("it is there");
    assert_eq!((kept.state, kept.attempts), (DeliveryState::Pending, 0));
    assert_eq!(kept.message.expect("it is readable"), first[0].message);
    assert_eq!(kept.incident, first[0].incident);

    in_order(store).await;
    told(store, &first).await;
    dead_letters(store).await;
}

/// Of each lane the first, and no later one while it waits.
async fn in_order(store: &dyn Store) {
    assert!(due(store, "ops", 0).await.is_empty());
    assert_eq!(due(store, "ops", 5).await, ["a1"], "b2's time has come, but b1 is before it");
    assert_eq!(due(store, "ops", 20).await, ["a1", "b1"]);
    assert_eq!(due(store, "mail", 20).await, ["other"]);
    assert!(due(store, "nobody", 20).await.is_empty());
    let one = store.due(&component("ops"), after(20), 1).await.expect("due");
    assert_eq!(one.len(), 1);
    let next = store.next_due(&component("ops")).await.expect("next").expect("something waits");
    assert_eq!(next.as_microsecond(), after(1).as_microsecond());
    // What failed holds up its lane alone.
    assert!(store.failed(&key("a1"), "no route\u{0}", after(30), None).await.expect("note"));
    assert_eq!(due(store, "ops", 20).await, ["b1"]);
    let failed = store.delivery(&key("a1")).await.expect("read").expect("it is there");
    assert_eq!((failed.attempts, failed.last_error.as_deref()), (1, Some("no route\u{fffd}")));
    assert_eq!(failed.due.as_microsecond(), after(30).as_microsecond());
    let next = store.next_due(&component("ops")).await.expect("next").expect("something waits");
    assert_eq!(next.as_microsecond(), after(10).as_microsecond());
    assert_eq!(due(store, "ops", 30).await, ["a1", "b1"], "what was made first");
}

/// What was told is told once, and its receipt is how it is edited and recognized.
async fn told(store: &dyn Store, made: &[NewDelivery]) {
    let (ops, incident) = (component("ops"), made[0].incident.clone().expect("of an incident"));
    let prior = async || store.prior_receipt(&ops, &incident).await.expect("read");
    assert_eq!(prior().await, None);
    let half = receipt(&["m0"]);
    let so_far = Some(Told { service: "discord", receipt: &half });
    assert!(store.failed(&key("a1"), "", after(30), so_far).await.expect("note"));
    let kept = store.delivery(&key("a1")).await.expect("read").expect("it is there");
    assert_eq!((kept.receipt, kept.attempts), (Some(half.clone()), 2));
    assert!(store.failed(&key("a1"), "again", after(30), None).await.expect("note"));
    let kept = store.delivery(&key("a1")).await.expect("read").expect("it is there");
    assert_eq!(kept.receipt, Some(half), "what it has of it is not forgotten");
    assert_eq!(prior().await, None, "it is not told yet");

    let long = "m".repeat(5000);
    let whole = receipt(&["m0", "m1", &long]);
    let told = Told { service: "discord", receipt: &whole };
    assert!(store.delivered(&key("a1"), told, after(31)).await.expect("told"));
    assert!(!store.delivered(&key("a1"), told, after(32)).await.expect("told"), "once");
    assert!(!store.failed(&key("a1"), "late", after(40), None).await.expect("note"));
    assert!(!store.bury(&key("a1"), "late", after(40)).await.expect("bury"));
    let done = store.delivery(&key("a1")).await.expect("read").expect("it is there");
    assert_eq!((done.state, done.receipt), (DeliveryState::Done, Some(whole.clone())));
    assert_eq!(done.done.map(Timestamp::as_microsecond), Some(after(31).as_microsecond()));
    assert_eq!(prior().await, Some(whole));
    assert_eq!(due(store, "ops", 30).await, ["a2", "b1"], "the next of its lane");
    let newer = receipt(&["m9"]);
    let told = Told { service: "discord", receipt: &newer };
    assert!(store.delivered(&key("a2"), told, after(33)).await.expect("told"));
    assert_eq!(prior().await, Some(newer), "the newest");
    assert_eq!(store.prior_receipt(&component("mail"), &incident).await.expect("read"), None);

    for id in ["m0", "m1", "m9", &long] {
        assert!(store.is_ours("discord", id).await.expect("read"), "{id:.20} is ours");
    }
    assert!(!store.is_ours("gotify", "m0").await.expect("read"), "a name is a service's");
    assert!(!store.is_ours("discord", "m2").await.expect("read"));
    assert!(!store.is_ours("discord", &long[1..]).await.expect("read"));
}

/// Dead letters are listed, put back and thrown away by people.
async fn dead_letters(store: &dyn Store) {
    for it in ["b1", "b2", "other"] {
        assert!(store.bury(&key(it), "refused for ever", after(40)).await.expect("bury"));
    }
    assert!(due(store, "ops", 100).await.is_empty());
    let listed = async |which: &Dead| -> Vec<String> {
        let dead = store.dead(which, 100).await.expect("list");
        dead.iter().map(|it| it.key.as_str().to_owned()).collect()
    };
    assert_eq!(listed(&Dead::All).await, ["b1", "b2", "other"]);
    assert_eq!(listed(&Dead::Of(component("mail"))).await, ["other"]);
    let keys = |all: &[&str]| Dead::Keys(all.iter().map(|it| key(it)).collect());
    assert_eq!(listed(&keys(&["b2", "a1", "nothing"])).await, ["b2"]);
    assert_eq!(store.dead(&Dead::All, 2).await.expect("list").len(), 2);
    let counts = store.output_counts().await.expect("count");
    let counts: Vec<_> =
        counts.iter().map(|it| (it.output.as_str(), it.pending, it.dead)).collect();
    assert_eq!(counts, [("mail", 0, 1), ("ops", 0, 2)]);

    assert_eq!(store.replay(&keys(&["b1", "a1", "nothing"]), after(50)).await.expect("replay"), 1);
    assert_eq!(due(store, "ops", 50).await, ["b1"]);
    let again = store.delivery(&key("b1")).await.expect("read").expect("it is there");
    assert_eq!((again.attempts, again.done), (0, None));
    let counts = store.output_counts().await.expect("count");
    assert_eq!((counts[1].pending, counts[1].dead), (1, 1));
    assert_eq!(
        counts[1].oldest.map(Timestamp::as_microsecond),
        Some(after(10).as_microsecond()),
        "since it was made"
    );
    assert_eq!(store.replay(&Dead::Of(component("ops")), after(51)).await.expect("replay"), 1);
    assert_eq!(store.purge(&keys(&["b1"])).await.expect("purge"), 0, "it is not dead any more");
    assert_eq!(store.purge(&Dead::All).await.expect("purge"), 1);
    assert!(store.delivery(&key("other")).await.expect("read").is_none());
    assert_eq!(store.purge(&Dead::All).await.expect("purge"), 0);
}
