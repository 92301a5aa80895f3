//! The protocol's contracts: jobs.

use ::mcp_protocol::{
    Answer, Audience, Content, InputAnswer, InputRequest, JobId, JobState, JobStore, NewJob,
    Questions, Resource, ResourceContents, Root, schema_object,
};
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
    let upid = "UPID:alder:000002D6:000C8274:6B033EDA:vzdump:104:root@pam:";
    let refs = ["step:1/3".to_owned(), format!("task:1:lab:{upid}")];
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

    // How far it is is replaced as a whole, and says that somebody is at work on it.
    let further = vec!["step:2/3".to_owned(), "doing:what comes then".to_owned()];
    let told = store.progress(&second.id, further.clone(), after(4)).await.expect("progress");
    let told = told.expect("it is there");
    assert_eq!((&told.refs, told.updated), (&further, after(4)));
    assert_eq!((&told.state, told.created), (&JobState::Running, second.created));
    assert_eq!(store.get(&second.id).await.expect("get"), Some(told));
    let missing = store.progress(&JobId::random(), further.clone(), after(4)).await;
    assert_eq!(missing.expect("progress"), None);

    // What a job asks is kept with what was answered, until it goes on.
    let mut asked = Questions::new(vec![
        InputRequest::form("sure", "Sure?", schema_object(serde_json::json!({ "type": "object" }))),
        InputRequest::url("page", "Look", "https://example.org"),
        InputRequest::sampling("guess", "Which?", 10),
        InputRequest::roots("folders"),
    ]);
    for (key, answer) in [
        ("sure", InputAnswer::Accepted(schema_object(serde_json::json!({ "b": 1, "a": [null] })))),
        ("page", InputAnswer::Declined),
        ("guess", InputAnswer::Sampled { model: "m".to_owned(), text: "t".to_owned() }),
        ("folders", InputAnswer::Roots(vec![Root { uri: "file:///".to_owned(), name: None }])),
    ] {
        for state in [JobState::Asking(asked.clone()), JobState::Running] {
            let kept = store.update(&first.id, state.clone(), after(5)).await.expect("update");
            let kept = kept.expect("it is there");
            assert_eq!((&kept.state, kept.updated), (&state, after(5)));
            assert_eq!(store.get(&first.id).await.expect("get"), Some(kept));
        }
        asked.answers.insert(key.to_owned(), answer);
    }
    assert_eq!(asked.pending().count(), 0);
    let still_asking = JobState::Asking(asked);
    store.update(&first.id, still_asking, after(6)).await.expect("update");

    // Each end is kept as it was told, and is final.
    let link = Resource { size_bytes: Some(1), ..Resource::new("a://b", "b") };
    let answer = Answer::text("backed up\né\u{0}")
        .with_content(Content::text("for you").for_audience(Audience::User).with_priority(0.3))
        .with_content(Content::image(vec![0, 255], "image/png"))
        .with_content(Content::audio(Vec::new(), "audio/wav"))
        .with_content(Content::link(link))
        .with_content(Content::embedded(ResourceContents::blob("a://c", "x/y", vec![7])))
        .with_structured(schema_object(serde_json::json!({ "z": 1, "a": [0.1, null, "é"] })));
    let third = store.create(new("third", "token:n8n", after(3))).await.expect("create");
    let fourth = store.create(new("fourth", "token:n8n", after(4))).await.expect("create");
    let ends = [
        (&first, JobState::Done(answer)),
        (&second, JobState::Failed(Answer::text("no space"))),
        (&other, JobState::Cancelled),
        (&third, JobState::Broken("a fault\n".to_owned())),
        (&fourth, JobState::Unknown("nobody knows".to_owned())),
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
        let late = store.progress(&job.id, further.clone(), after(13)).await.expect("progress");
        assert_eq!(late.as_ref(), Some(&ended), "whoever worked on it learns that it is over");
        assert_eq!(store.get(&job.id).await.expect("get"), Some(ended));
    }
    let missing = store.update(&JobId::random(), JobState::Cancelled, after(13)).await;
    assert_eq!(missing.expect("update"), None);
}
