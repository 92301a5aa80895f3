//! The protocol's contracts: jobs.

use ::mcp_protocol::{JobId, JobState, JobStore, NewJob};
use jiff::{SignedDuration, Timestamp};

fn after(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a timestamp");
    noon + SignedDuration::from_secs(seconds)
}

/// What everything that keeps the protocol's jobs does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn jobs(store: &dyn JobStore) {
    let refs = ["UPID:alder:000002D6:000C8274:6B033EDA:vzdump:104:root@pam:".to_owned()];
    let new = |label: &str, owner: &str, created| NewJob {
        owner: owner.to_owned(),
        label: label.to_owned(),
        refs: refs.to_vec(),
        created,
    };
    let first = store.create(new("first", "local:1000", after(0))).await.expect("create");
    let second = store.create(new("second", "local:1000", after(1))).await.expect("create");
    let other = store.create(new("other", "token:n8n", after(2))).await.expect("create");
    assert_eq!((&first.state, first.refs.as_slice()), (&JobState::Running, &refs[..]));
    assert_eq!((first.created, first.updated), (after(0), after(0)));
    assert_ne!(first.id, second.id);

    assert_eq!(store.get(&first.id).await.expect("get").as_ref(), Some(&first));
    assert_eq!(store.get(&JobId::random()).await.expect("get"), None);
    assert_eq!(store.get(&JobId::from_text("garbage")).await.expect("get"), None);
    let listed = store.list_by_owner("local:1000").await.expect("list");
    assert_eq!(listed, [second.clone(), first.clone()], "newest first");
    assert_eq!(store.list_by_owner("local:1001").await.expect("list"), []);

    // Each end is kept as it was told, and is final.
    let ends = [
        (&first, JobState::Done("backed up\né".to_owned())),
        (&second, JobState::Failed("no space".to_owned())),
        (&other, JobState::Cancelled),
    ];
    for (job, end) in ends {
        let ended = store.update(&job.id, end.clone(), after(10)).await.expect("update");
        let ended = ended.expect("it is there");
        assert_eq!((&ended.state, ended.updated), (&end, after(10)));
        let again = store.update(&job.id, JobState::Running, after(11)).await.expect("update");
        assert_eq!(again.as_ref(), Some(&ended));
        let unknown = JobState::Unknown("?".to_owned());
        let again = store.update(&job.id, unknown, after(12)).await.expect("update");
        assert_eq!(again.as_ref(), Some(&ended));
        assert_eq!(store.get(&job.id).await.expect("get"), Some(ended));
    }
    let missing = store.update(&JobId::random(), JobState::Cancelled, after(13)).await;
    assert_eq!(missing.expect("update"), None);
}
