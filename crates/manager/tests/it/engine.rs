//! What runs, when, how often, and what people are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use control_api::Proof;
use guard::ports::{ApprovalId, ApprovalState};
use jiff::SignedDuration;
use manager::Supervisor;
use secrecy::ExposeSecret as _;
use testkit::{Progress, wait_for};

use crate::support::{Inside, account, inside, noon};

/// Waits until the approval is so.
pub(crate) async fn until(inside: &Inside, id: ApprovalId, state: ApprovalState) {
    wait_for("the approval", Duration::from_mins(2), async || {
        let now = inside.state(id).await;
        if now == state { Progress::Ready(()) } else { Progress::Pending(format!("{now:?}")) }
    })
    .await;
}

fn run(inside: &Inside) -> Supervisor {
    let supervisor = Supervisor::new(Arc::new(inside.clock.clone()));
    inside.engine.start(&supervisor);
    supervisor
}

#[tokio::test(start_paused = true)]
async fn what_was_approved_runs_once_and_its_answer_is_kept() {
    let inside = inside();
    let supervisor = run(&inside);
    let mut changes = inside.engine.changes();
    let approval = inside.ask(1, &[]).await;
    let told = changes.recv().await.unwrap();
    assert_eq!((told.id, told.state), (approval.id, ApprovalState::Pending));
    let digest = approval.digest.as_str();
    let bob = account(2002);
    inside.deciding.decide(&bob, approval.id, digest, true, &Proof::Peer, None).await.unwrap();
    until(&inside, approval.id, ApprovalState::Done).await;
    assert_eq!(*inside.worker.ran.lock().unwrap(), [approval.id]);
    assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn people_are_told_once_each_with_a_link_of_their_own() {
    let inside = inside();
    inside.channel.deaf.store(true, Ordering::SeqCst);
    let supervisor = run(&inside);
    let approval = inside.ask(1, &["ops"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // What could not be shown is shown when it can be.
    inside.channel.deaf.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    {
        let announced = inside.channel.announced.lock().unwrap();
        assert_eq!(announced.len(), 1);
        let to: Vec<&str> = announced[0].to.iter().map(|it| it.approver.as_str()).collect();
        assert_eq!(to, ["ada"], "only who is asked");
        let link = announced[0].to[0].link.as_ref().unwrap();
        assert!(link.expose_secret().starts_with("https://mcp.example.lan/approve/"));
        assert!(!format!("{announced:?}").contains(link.expose_secret()));
    }
    // Silence is a refusal, and that is told, too.
    inside.clock.set(noon() + SignedDuration::from_hours(2));
    until(&inside, approval.id, ApprovalState::Expired).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let settled = inside.channel.settled.lock().unwrap().clone();
    assert_eq!((settled.len(), settled[0].state), (1, ApprovalState::Expired));
    supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_work_and_says_what_is_left() {
    let inside = inside();
    inside.worker.hold.store(true, Ordering::SeqCst);
    let supervisor = run(&inside);
    let approval = inside.ask(1, &[]).await;
    let digest = approval.digest.as_str();
    let bob = account(2002);
    inside.deciding.decide(&bob, approval.id, digest, true, &Proof::Peer, None).await.unwrap();
    until(&inside, approval.id, ApprovalState::Running).await;
    assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
    assert_eq!(inside.engine.drain(Duration::from_secs(5)).await, [approval.id]);
    inside.worker.go.notify_one();
    assert!(inside.engine.drain(Duration::from_secs(5)).await.is_empty());
    assert_eq!(inside.state(approval.id).await, ApprovalState::Done);
}
