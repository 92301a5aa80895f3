//! The store's contracts: jobs, audit, and what being on disk adds.

use std::slice;
use std::sync::Arc;

use futures::future::join_all;
use guard::Principal;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::audit::{Expected, GENESIS};
use store::{
    AuditLog, CheckpointKey, JobId, JobState, JobStore, NewAuditRecord, NewJob, Store, Verification,
};

/// A moment with nanoseconds, which stores cut to microseconds.
fn noon() -> Timestamp {
    "2026-11-22T12:00:00.123456789Z".parse().expect("a timestamp")
}

fn after(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

fn upid(id: u32) -> String {
    format!("task:1:lab:UPID:alder:000002D6:000C8274:6B033EDA:qmstart:{id}:root@pam:")
}

/// What every job store does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn jobs(store: &dyn JobStore) {
    let (alice, bob) = (Principal::local(1000), Principal::local(1001));

    let new = NewJob::new(alice.clone(), "backup of lab/104 \u{0}é").with_ref(upid(100));
    let job = store.create_job(new, noon()).await.expect("create");
    assert_eq!(job.state, JobState::Running);
    assert_eq!(job.label, "backup of lab/104 \u{fffd}é", "NUL is made storable");
    assert_eq!(job.created.as_nanosecond() % 1000, 0, "times are as they will be read back");
    let other = store.create_job(NewJob::new(bob.clone(), "x"), after(1)).await.expect("create");
    assert_ne!(job.id, other.id);

    // Another's job does not exist, for reading and for listing.
    assert_eq!(store.job(job.id, &alice).await.expect("read"), Some(job.clone()));
    assert_eq!(store.job(job.id, &bob).await.expect("read"), None);
    assert_eq!(store.find_job(job.id).await.expect("read"), Some(job.clone()));
    assert_eq!(store.find_job(JobId::random()).await.expect("read"), None);
    assert_eq!(store.job(JobId::random(), &alice).await.expect("read"), None);
    assert_eq!(store.jobs(&bob, 10).await.expect("list"), slice::from_ref(&other));

    // What it stands for is replaced as a whole and kept in order, and the end is final.
    let refs = vec!["step:2/3".to_owned(), upid(100), upid(101), "doing:a\n\u{0}b".to_owned()];
    let job = store.set_refs(job.id, refs, after(2)).await.expect("set");
    assert_eq!(job.refs, ["step:2/3", &upid(100), &upid(101), "doing:a \u{fffd}b"], "lines");
    assert_eq!(store.find_job(job.id).await.expect("read"), Some(job.clone()));
    assert!(job.updated > job.created);
    let running = store.finish_job(job.id, JobState::Running, None, after(3)).await;
    assert!(running.expect_err("running is no end").is_conflict());
    let asks = Some(json!({ "sure": "?" }));
    let asking = store.ask_job(job.id, asks.clone(), after(3)).await.expect("ask");
    assert_eq!((asking.state, &asking.result), (JobState::Asking, &asks));
    assert_eq!(store.find_job(job.id).await.expect("read"), Some(asking));
    let job = store.set_refs(job.id, vec![upid(103)], after(3)).await.expect("set");
    assert_eq!((job.state, &job.result), (JobState::Asking, &asks), "it still asks");
    let no_end = store.finish_job(job.id, JobState::Asking, None, after(3)).await;
    assert!(no_end.expect_err("asking is no end").is_conflict());
    let went_on = store.ask_job(job.id, None, after(3)).await.expect("go on");
    assert_eq!((went_on.state, &went_on.result), (JobState::Running, &None));
    let missing = store.ask_job(JobId::random(), None, after(3)).await;
    assert!(missing.expect_err("there is none").is_not_found());
    let result = Some(json!({ "exit": "OK", "sizes": [1, 2.5, null], "text": "é\u{0}\n" }));
    let job =
        store.finish_job(job.id, JobState::Done, result.clone(), after(3)).await.expect("finish");
    assert_eq!((job.state, &job.result), (JobState::Done, &result));
    assert_eq!(store.job(job.id, &alice).await.expect("read"), Some(job.clone()));
    let again = store.finish_job(job.id, JobState::Failed, None, after(4)).await;
    assert!(again.expect_err("it is over").is_conflict());
    let late = store.ask_job(job.id, asks, after(4)).await;
    assert!(late.expect_err("it is over").is_conflict());
    let late = store.set_refs(job.id, vec![upid(102)], after(4)).await;
    assert!(late.expect_err("it is over").is_conflict());
    assert_eq!(store.find_job(job.id).await.expect("read"), Some(job.clone()));
    let missing = store.set_refs(JobId::random(), Vec::new(), after(4)).await;
    assert!(missing.expect_err("there is none").is_not_found());
    let missing = store.finish_job(JobId::random(), JobState::Done, None, after(4)).await;
    assert!(missing.expect_err("there is none").is_not_found());

    // Lists are newest first and bounded; what a restart sees is oldest first.
    let mut newest = Vec::new();
    for number in 0..5 {
        let new = NewJob::new(alice.clone(), format!("job {number}"));
        newest.insert(0, store.create_job(new, after(10 + number)).await.expect("create"));
    }
    assert_eq!(store.jobs(&alice, 3).await.expect("list"), newest[..3]);
    assert_eq!(store.jobs(&alice, 100).await.expect("list").len(), 6);
    let running = store.running_jobs().await.expect("list");
    assert_eq!(running.len(), 6);
    assert_eq!(running.first(), Some(&other));

    // Only what is over is forgotten.
    assert_eq!(store.forget_jobs(after(3)).await.expect("forget"), 0);
    assert_eq!(store.forget_jobs(after(100)).await.expect("forget"), 1);
    assert_eq!(store.job(job.id, &alice).await.expect("read"), None);
    assert_eq!(store.running_jobs().await.expect("list").len(), 6);
}

fn entry(number: i64) -> NewAuditRecord {
    NewAuditRecord {
        time: after(number),
        principal: Principal::automation("nightly").expect("a principal"),
        action: "guest.start".to_owned(),
        target: format!("lab/{number} \u{0}\"é"),
        payload: json!({ "number": number, "text": "\u{0}\n" }),
    }
}

/// What every audit log does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn audit(log: &dyn AuditLog) {
    let verify = async |log: &dyn AuditLog| -> Verification {
        store::verify(log, &Expected::default()).await.expect("verify")
    };
    let empty = verify(log).await;
    assert_eq!((empty.records, empty.head.as_str()), (0, GENESIS));
    assert!(empty.is_intact(), "{empty:?}");

    let first = log.append(entry(1)).await.expect("append");
    let second = log.append(entry(2)).await.expect("append");
    assert_eq!((first.seq, second.seq), (1, 2));
    assert_eq!((first.prev_hash.as_str(), &second.prev_hash), (GENESIS, &first.hash));
    assert_eq!(first.principal, "automation:nightly");

    // Appended at once from many sides, still one chain; a clock that steps back changes nothing.
    let appended = join_all((3..=600).rev().map(|number| log.append(entry(number)))).await;
    assert!(appended.iter().all(Result::is_ok));
    let last = log.audit_records(599, 10).await.expect("read");
    assert_eq!(last.len(), 1);
    let whole = verify(log).await;
    assert_eq!((whole.records, &whole.head), (600, &last[0].hash));
    assert!(whole.is_intact(), "{whole:?}");

    assert_eq!(log.audit_records(0, 2).await.expect("read"), [first, second]);
    assert_eq!(log.audit_records(600, 2).await.expect("read"), []);

    // Checkpoints come back in order, and of one record the first stands.
    let key = CheckpointKey::generate().expect("a key");
    let key = CheckpointKey::from_pkcs8(&key).expect("a key");
    let at = async |seq: u64| {
        let records = log.audit_records(seq - 1, 1).await.expect("read");
        key.sign(&records[0])
    };
    let (early, late) = (at(8).await, at(600).await);
    log.keep_checkpoint(&late).await.expect("keep");
    log.keep_checkpoint(&early).await.expect("keep");
    let again = at(8).await;
    log.keep_checkpoint(&again).await.expect("keep");
    let kept = log.checkpoints(0, 10).await.expect("read");
    assert_eq!(kept, [early.clone(), late.clone()]);
    assert_eq!(log.checkpoints(0, 1).await.expect("read"), [early]);
    assert_eq!(log.checkpoints(8, 10).await.expect("read"), [late]);
    let expected = Expected { key: Some(key.public()), mark: None };
    let signed = store::verify(log, &expected).await.expect("verify");
    assert_eq!((signed.checkpoints, signed.signed_to), (2, Some(600)));
    assert!(signed.is_intact(), "{signed:?}");
}

/// What every store that outlives its process does besides; `open` opens the same one each time.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn durable(open: impl AsyncFn() -> Arc<dyn Store>) {
    // Opened for the first time by several at once.
    let handles = join_all((0..4).map(|_| open())).await;
    let (here, there) = (&handles[0], &handles[1]);

    let owner = Principal::oauth("https://idp.example", "a#b").expect("a principal");
    let new = NewJob::new(owner.clone(), "survives").with_ref(upid(100));
    let job = here.create_job(new, noon()).await.expect("create");
    assert_eq!(there.job(job.id, &owner).await.expect("read"), Some(job.clone()));

    // Two programs on one store: one chain has no fork.
    let appends = (1..=40_u8).map(|number| {
        AuditLog::append(&*handles[usize::from(number % 4 == 0)], entry(number.into()))
    });
    assert!(join_all(appends.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
    // In turn: what each of them wrote last is the end no more.
    for number in 41..=48_u8 {
        let log = &handles[usize::from(number % 3 == 0)];
        let appended = AuditLog::append(&**log, entry(number.into())).await.expect("append");
        assert_eq!(appended.seq, u64::from(number));
    }

    drop(handles);
    let reopened = open().await;
    assert_eq!(reopened.job(job.id, &owner).await.expect("read"), Some(job));
    let verified = store::verify(&*reopened, &Expected::default()).await.expect("verify");
    assert_eq!((verified.records, verified.is_intact()), (48, true), "{verified:?}");
}
