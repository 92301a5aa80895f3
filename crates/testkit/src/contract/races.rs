//! The guard's ports when many ask at once: of any number exactly one wins.

use std::{future::Future, sync::Arc, time::Duration};

use guard::budget::Budget;
use guard::ports::{
    ActionId, Actions, ApprovalState, Approvals, Brakes, CodeUse, Confirms, Intent, Outcome,
    PortError, Undos,
};
use tokio::task::JoinSet;

use super::ports::{after, decision, intent, new_action, new_confirm, new_undo, question};

/// How many ask at once.
const MANY: u32 = 24;

/// What every set of the guard's ports does when many tasks ask at once, each through one of these
/// handles on the same records. Wants empty ones.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn ports<P>(handles: &[Arc<P>])
where
    P: Approvals + Actions + Undos + Confirms + Brakes,
{
    one_decision_of_contradicting_ones(handles).await;
    one_claim_and_one_void(handles).await;
    several_have_to_agree(handles).await;
    each_expires_once(handles).await;
    one_intent_and_one_end(handles).await;
    no_more_than_the_budget(handles).await;
    one_use_of_a_code(handles).await;
    one_way_back_and_one_revert(handles).await;
}

/// Runs `ask` once per number, all at once, and says what came of them.
async fn at_once<P, T, F>(
    handles: &[Arc<P>],
    ask: impl Fn(Arc<P>, u32) -> F,
) -> Vec<Result<T, PortError>>
where
    P: Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T, PortError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..MANY {
        let handle = handles[number as usize % handles.len()].clone();
        tasks.spawn(ask(handle, number));
    }
    tasks.join_all().await
}

/// Exactly one did it, and the others were told that it is too late.
fn one_of<T>(results: Vec<Result<T, PortError>>) -> T {
    let mut won = Vec::new();
    for result in results {
        match result {
            Ok(value) => won.push(value),
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
    assert_eq!(won.len(), 1, "exactly one wins");
    won.remove(0)
}

async fn one_decision_of_contradicting_ones<P: Approvals>(handles: &[Arc<P>]) {
    let id = handles[0].ask(question("lab/1", 1), after(0)).await.expect("ask").id;
    let decided = at_once(handles, move |port, number| async move {
        port.decide(id, decision(&format!("n{number}"), number % 2 == 0), after(1)).await
    });
    let decided = one_of(decided.await);
    assert_eq!(decided.decisions.len(), 1);
    assert_eq!(handles[0].approval(id).await.expect("read"), Some(decided));
}

async fn one_claim_and_one_void<P: Approvals>(handles: &[Arc<P>]) {
    let asked = handles[0].ask(question("lab/2", 1), after(0)).await.expect("ask");
    let (id, digest) = (asked.id, asked.digest);
    handles[0].decide(id, decision("ann", true), after(1)).await.expect("decide");
    // Half of them want to run it, half to replace it.
    let moved = at_once(handles, move |port, number| {
        let digest = digest.clone();
        async move {
            if number % 2 == 0 {
                return port.claim(id, &digest, after(2)).await.map(|claimed| (claimed, None));
            }
            port.void(id, "it moved", Some(question("lab/3", 1)), after(2)).await
        }
    });
    let (approval, successor) = one_of(moved.await);
    assert_eq!(approval.state == ApprovalState::Void, successor.is_some());
    let kept = handles[0].approvals(&guard::ports::ApprovalFilter::default()).await;
    let about = question("lab/3", 1).form.digest();
    let successors = kept.expect("list").iter().filter(|it| it.digest == about).count();
    assert_eq!(successors, usize::from(successor.is_some()), "no question is left over");
    if approval.state == ApprovalState::Running {
        let ended = at_once(handles, move |port, number| {
            let outcome = if number % 2 == 0 { Outcome::Done } else { Outcome::Failed };
            async move { port.finish(id, outcome, number.into(), after(3)).await }
        });
        one_of(ended.await);
    }
}

async fn several_have_to_agree<P: Approvals>(handles: &[Arc<P>]) {
    let id = handles[0].ask(question("lab/4", 3), after(0)).await.expect("ask").id;
    // Eight people, each of whom says it three times.
    let decided = at_once(handles, move |port, number| async move {
        port.decide(id, decision(&format!("n{}", number % 8), true), after(1)).await
    });
    let counted = decided.await.iter().filter(|decided| decided.is_ok()).count();
    assert_eq!(counted, 3, "as many as are needed, and then no more");
    let kept = handles[0].approval(id).await.expect("read").expect("it is there");
    assert_eq!(kept.state, ApprovalState::Approved);
    let mut names: Vec<&str> = kept.decisions.iter().map(|made| made.approver.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3, "each of them another");
}

async fn each_expires_once<P: Approvals>(handles: &[Arc<P>]) {
    for number in 0..4 {
        let late = guard::ports::NewApproval {
            expires_at: after(10),
            ..question(&format!("lab/5{number}"), 1)
        };
        handles[0].ask(late, after(0)).await.expect("ask");
    }
    let expired = at_once(handles, |port, _| async move { port.expire(after(10)).await }).await;
    let expired: usize = expired.into_iter().map(|marked| marked.expect("expire").len()).sum();
    assert_eq!(expired, 4);
}

async fn one_intent_and_one_end<P: Actions>(handles: &[Arc<P>]) {
    let id = handles[0].begin(new_action(true), after(0)).await.expect("begin");
    let intended = at_once(handles, move |port, _| async move { port.intend(id, intent(0)).await });
    one_of(intended.await);
    // Different steps at once are all kept.
    let steps = at_once(handles, move |port, number| async move {
        port.intend(id, Intent { step: number + 1, ..intent(0) }).await
    });
    assert!(steps.await.iter().all(Result::is_ok));
    let kept = handles[0].action(id).await.expect("read").expect("it is there");
    let steps: Vec<u32> = kept.intents.iter().map(|intent| intent.step).collect();
    assert_eq!(steps, (0..=MANY).collect::<Vec<_>>());
    let ended = at_once(handles, move |port, number| async move {
        use guard::ports::ActionState::{Cancelled, Done, Failed};
        let state = [Done, Failed, Cancelled][number as usize % 3];
        port.finish(id, state, "over", after(1)).await
    });
    one_of(ended.await);
}

async fn no_more_than_the_budget<P: Actions>(handles: &[Arc<P>]) {
    // Nobody else has begun anything at this time.
    let since = after(100_000);
    let budget = Budget { changes_per_hour: Some(9), unasked_per_hour: Some(3) };
    let began = at_once(handles, move |port, number| async move {
        let action = new_action(number % 2 == 0);
        port.begin_within(action, since, since, &budget).await
    });
    let began: Vec<_> = began.await.into_iter().map(|it| it.expect("begin or not")).collect();
    let who = new_action(true).principal;
    let all = handles[0].count(&who, since, false).await.expect("count");
    let unasked = handles[0].count(&who, since, true).await.expect("count");
    assert_eq!(began.iter().filter(|it| it.is_ok()).count() as u64, all, "what is said is kept");
    assert_eq!(all, 9, "all of the budget, and no more");
    assert!(unasked <= 3, "{unasked} ran unasked");
}

async fn one_use_of_a_code<P: Brakes>(handles: &[Arc<P>]) {
    let used = at_once(handles, move |port, _| async move {
        let after = CodeUse { used: Some(1), ..CodeUse::default() };
        port.set_code_use("racer", &CodeUse::default(), &after).await
    });
    let used: Vec<bool> = used.await.into_iter().map(|it| it.expect("used or not")).collect();
    assert_eq!(used.iter().filter(|it| **it).count(), 1, "exactly one uses it");
}

async fn one_way_back_and_one_revert<P: Undos + Confirms>(handles: &[Arc<P>]) {
    let action = ActionId::from_bits(1);
    let id =
        handles[0].keep(new_undo(action, "lab/6", after(60)), after(0)).await.expect("keep").id;
    let taken = at_once(handles, move |port, _| async move { port.take(id, after(1)).await });
    one_of(taken.await);

    let armed = handles[0].arm(new_confirm(action, after(60)), after(0)).await.expect("arm").id;
    let confirmed =
        at_once(handles, move |port, _| async move { port.confirm(armed, after(59)).await });
    one_of(confirmed.await);

    let armed = handles[0].arm(new_confirm(action, after(60)), after(0)).await.expect("arm").id;
    let lease = Duration::from_mins(1);
    let due =
        at_once(handles, move |port, _| async move { port.take_due(after(60), lease).await }).await;
    let ids: Vec<_> = due.into_iter().flat_map(|due| due.expect("take")).map(|it| it.id).collect();
    assert_eq!(ids, [armed], "one caller reverts it");
}
