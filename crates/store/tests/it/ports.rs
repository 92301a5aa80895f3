//! The guard's ports over a store: what every engine is held to, and what is beneath them.

use std::sync::Arc;

use guard::ports::{ActionId, ApprovalId, Approvals as _, KeptCall, NewApproval};
use guard::{PlanForm, Principal};
use serde_json::json;
use stdx::seal::SealKey;
use store::{GuardStore, LazyStore, StoreUrl};
use testkit::contract;

/// Ports with a key of their own over the store at this URL.
pub(crate) fn over(url: &StoreUrl) -> GuardStore {
    with_key(url, 7)
}

fn with_key(url: &StoreUrl, byte: u8) -> GuardStore {
    GuardStore::new(LazyStore::new(url.clone()), Arc::new(SealKey::new(&[byte; 32])))
}

/// Every contract of the ports; `empty` gives the URL of a new empty store each time.
pub(crate) async fn contracts(empty: impl AsyncFn() -> StoreUrl) {
    contract::ports::approvals(&over(&empty().await)).await;
    contract::ports::actions(&over(&empty().await)).await;
    contract::ports::undos(&over(&empty().await), ActionId::from_bits(1)).await;
    contract::ports::confirms(&over(&empty().await), ActionId::from_bits(1)).await;
    contract::ports::freezes(&over(&empty().await)).await;
}

/// Many at once, through several programs' handles on one store.
pub(crate) async fn races(url: &StoreUrl) {
    let handles: Vec<Arc<GuardStore>> = (0..3).map(|_| Arc::new(over(url))).collect();
    contract::races::ports(&handles).await;
}

pub(crate) fn question() -> NewApproval {
    let arguments = json!({ "guest": "lab/104", "password": "hunter2" });
    NewApproval {
        form: PlanForm { tool: "guest_delete".to_owned(), ..PlanForm::default() },
        requested_by: Principal::local(1000),
        expires_at: "2026-11-22T13:00:00.5Z".parse().unwrap(),
        rule: "default.destroy \u{0}".to_owned(),
        needed: 0,
        of: vec!["ada".to_owned()],
        client_counts: false,
        summary: "deletes lab/104 \u{0}é".to_owned(),
        call: KeptCall {
            tool: "guest_delete".to_owned(),
            arguments: arguments.as_object().cloned().unwrap(),
        },
    }
}

#[tokio::test]
async fn in_memory() {
    let url: StoreUrl = "memory:".parse().unwrap();
    contracts(async || url.clone()).await;
    let one = Arc::new(over(&url));
    contract::races::ports(&[one.clone(), one]).await;
}

/// What stands in the records is as it will be read back, on every engine.
#[tokio::test]
async fn records_are_storable_and_calls_open_with_their_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url: StoreUrl = format!("sqlite://{}/s.db", folder.path().display()).parse().unwrap();
    let ports = over(&url);
    let now = "2026-11-22T12:00:00.123456789Z".parse().unwrap();
    let asked = ports.ask(question(), now).await.unwrap();
    assert_eq!(ports.approval(asked.id).await.unwrap(), Some(asked.clone()));
    assert_eq!(asked.rule, "default.destroy \u{fffd}", "what is searched has no NUL");
    assert_eq!(asked.summary, "deletes lab/104 \u{0}é");
    assert_eq!(asked.needed, 1, "nobody at all cannot agree");
    assert_eq!(asked.asked_at.as_nanosecond() % 1000, 0);

    let call = ports.kept_call(asked.id).await.unwrap();
    assert_eq!(call, question().call);
    let other = with_key(&url, 8).kept_call(asked.id).await.unwrap_err();
    assert!(other.to_string().contains("another key or place"), "{other}");
    assert!(!other.to_string().contains("hunter2"));
    assert!(ports.kept_call(ApprovalId::from_bits(1)).await.unwrap_err().is_not_found());
}
