//! The contracts of the guard's ports.

use std::time::Duration;

use estate::Access;
use guard::{
    PlanDigest, PlanForm, Principal,
    breaker::{Cause, Trip},
    budget::{Budget, Spent},
    ports::{
        ActionFilter, ActionId, ActionState, Actions, ApprovalFilter, ApprovalState, Approvals,
        Brakes, CodeUse, ConfirmId, ConfirmState, Confirms, DecisionRecord, Freeze, Freezes,
        Intent, KeptCall, NewAction, NewApproval, NewConfirm, NewUndo, Outcome, StepEnd, TaskTrace,
        UndoFilter, Undos, Way,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

pub(super) fn after(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a timestamp");
    noon + SignedDuration::from_secs(seconds)
}

fn form(target: &str) -> PlanForm {
    PlanForm {
        principal: "local:1000".to_owned(),
        tool: "guest_power".to_owned(),
        calls: Vec::new(),
        targets: [(target.to_owned(), [("status".to_owned(), "running".to_owned())].into())].into(),
    }
}

fn call(password: &str) -> KeptCall {
    let json = json!({"guest": "lab/104", "password": password});
    let arguments = json.as_object().cloned().unwrap_or_default();
    KeptCall { tool: "guest_power".to_owned(), arguments }
}

pub(super) fn question(target: &str, needed: u32) -> NewApproval {
    NewApproval {
        form: form(target),
        requested_by: Principal::local(1000),
        expires_at: after(3600),
        rule: "default.stop".to_owned(),
        needed,
        of: Vec::new(),
        client_counts: false,
        summary: "local:1000 asks for the stop of lab/104 é.\n".to_owned(),
        call: call("hunter2"),
    }
}

pub(super) fn decision(approver: &str, agrees: bool) -> DecisionRecord {
    DecisionRecord {
        approver: approver.to_owned(),
        principal: Principal::local(1001),
        way: Way::Passphrase,
        agrees,
        at: after(10),
        note: Some("fine".to_owned()),
        signature: Some("c2ln".to_owned()),
    }
}

/// What everything that keeps approvals does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn approvals(port: &dyn Approvals) {
    let asked = port.ask(question("lab/104", 1), after(0)).await.expect("ask");
    assert_eq!(asked.state, ApprovalState::Pending);
    assert_eq!((asked.digest.clone(), asked.asked_at), (form("lab/104").digest(), after(0)));
    assert_eq!(asked.form, form("lab/104"));
    assert_eq!(port.approval(asked.id).await.expect("read"), Some(asked.clone()));
    assert_eq!(port.kept_call(asked.id).await.expect("open"), call("hunter2"));
    assert_eq!(port.approval(guard::ports::ApprovalId::from_bits(7)).await.expect("read"), None);

    // Nothing runs before it is agreed to, and then exactly once, for this plan.
    let digest = asked.digest.clone();
    assert!(port.claim(asked.id, &digest, after(1)).await.expect_err("refused").is_conflict());
    let agreed = port.decide(asked.id, decision("ann", true), after(10)).await.expect("decide");
    assert_eq!(agreed.state, ApprovalState::Approved);
    assert_eq!(agreed.decisions, [decision("ann", true)]);
    assert!(
        port.decide(asked.id, decision("bob", false), after(11))
            .await
            .expect_err("refused")
            .is_conflict()
    );
    let other = form("lab/105").digest();
    assert!(port.claim(asked.id, &other, after(11)).await.expect_err("refused").is_conflict());
    let claimed = port.claim(asked.id, &digest, after(12)).await.expect("claim");
    assert_eq!(claimed.state, ApprovalState::Running);
    assert!(port.claim(asked.id, &digest, after(12)).await.expect_err("refused").is_conflict());
    assert!(port.void(asked.id, "no", None, after(12)).await.expect_err("refused").is_conflict());
    // What was claimed in vain is given back.
    let released = port.release(asked.id, after(13)).await.expect("release");
    assert_eq!(released.state, ApprovalState::Approved);
    assert!(port.release(asked.id, after(13)).await.expect_err("refused").is_conflict());
    port.claim(asked.id, &digest, after(14)).await.expect("claim");
    // What runs does not expire.
    assert_eq!(port.expire(after(4000)).await.expect("expire"), []);
    let result = json!({"lead": "done"});
    let ended = port.finish(asked.id, Outcome::Done, result.clone(), after(4000)).await;
    assert_eq!(ended.expect("finish").result, Some(result));
    assert!(
        port.finish(asked.id, Outcome::Failed, json!({}), after(13))
            .await
            .expect_err("refused")
            .is_conflict()
    );

    // So many have to agree, each of them once.
    let two = port.ask(question("lab/106", 2), after(20)).await.expect("ask");
    let first = port.decide(two.id, decision("ann", true), after(21)).await.expect("decide");
    assert_eq!(first.state, ApprovalState::Pending);
    assert!(
        port.decide(two.id, decision("ann", true), after(22))
            .await
            .expect_err("refused")
            .is_conflict()
    );
    let second = port.decide(two.id, decision("bob", true), after(23)).await.expect("decide");
    assert_eq!(second.state, ApprovalState::Approved);

    // A plan that moved is void, and its successor waits.
    let successor = question("lab/107", 1);
    let (void, next) =
        port.void(two.id, "status moved", Some(successor), after(24)).await.expect("void");
    let next = next.expect("a successor");
    assert_eq!((void.state, void.replaced_by), (ApprovalState::Void, Some(next.id)));
    assert_eq!(void.void_reason.as_deref(), Some("status moved"));
    assert_eq!(next.state, ApprovalState::Pending);

    // One refusal is enough, and silence refuses.
    let refused = port.ask(question("lab/108", 2), after(30)).await.expect("ask");
    let no = port.decide(refused.id, decision("bob", false), after(31)).await.expect("decide");
    assert_eq!(no.state, ApprovalState::Refused);
    assert!(port.decide(next.id, decision("ann", true), after(3600)).await.is_err());
    let late = port.expire(after(3600)).await.expect("expire");
    assert_eq!(
        late.iter().map(|it| (it.id, it.state)).collect::<Vec<_>>(),
        [(next.id, ApprovalState::Expired)]
    );

    let all = port.approvals(&ApprovalFilter::default()).await.expect("list");
    let order: Vec<_> = all.iter().map(|approval| approval.id).collect();
    assert_eq!(order, [refused.id, next.id, two.id, asked.id], "newest first");
    let filter = ApprovalFilter {
        requested_by: Some(Principal::local(1000)),
        states: vec![ApprovalState::Refused, ApprovalState::Done],
        limit: 1,
    };
    let some = port.approvals(&filter).await.expect("list");
    assert_eq!(some.iter().map(|it| it.id).collect::<Vec<_>>(), [refused.id]);
    let filter = ApprovalFilter { requested_by: Some(Principal::local(1)), ..filter };
    assert_eq!(port.approvals(&filter).await.expect("list"), []);
}

pub(super) fn new_action(unasked: bool) -> NewAction {
    NewAction {
        principal: Principal::local(1000),
        tool: "guest_clone".to_owned(),
        target: "clone of lab/104".to_owned(),
        digest: PlanDigest::from_text(form("lab/104").digest().as_str()),
        approval: None,
        access: Access::Operate,
        unasked,
        steps: 2,
        owner: "manager".to_owned(),
        call: call("hunter2"),
    }
}

pub(super) fn intent(step: u32) -> Intent {
    Intent {
        step,
        what: "clone".to_owned(),
        calls: vec![guard::PlannedCall {
            member: "lab".to_owned(),
            method: "POST".to_owned(),
            path: "/nodes/alder/qemu/104/clone".to_owned(),
            params: vec![("newid".to_owned(), "120".to_owned())],
        }],
        trace: Some(TaskTrace {
            member: "lab".to_owned(),
            node: "alder".to_owned(),
            kinds: vec!["qmclone".to_owned()],
            id: "104".to_owned(),
            user: Some("mcp@pve!agent".to_owned()),
        }),
        at: after(1),
        upid: None,
        end: None,
    }
}

/// What everything that keeps actions does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn actions(port: &dyn Actions) {
    let who = Principal::local(1000);
    let first = port.begin(new_action(true), after(0)).await.expect("begin");
    port.intend(first, intent(0)).await.expect("intend");
    assert!(port.intend(first, intent(0)).await.expect_err("refused").is_conflict(), "sent once");
    let upid = "UPID:alder:000002D6:000C8274:6B033EDA:qmclone:104:mcp@pve!agent:";
    let upid = upid.parse().expect("a UPID");
    port.sent(first, 0, &upid).await.expect("sent");
    port.ended(first, 0, StepEnd::Done).await.expect("ended");
    port.intend(first, intent(1)).await.expect("intend");
    let ends = [
        StepEnd::Failed("no space".to_owned()),
        StepEnd::NotSent("frozen".to_owned()),
        StepEnd::Unknown("lost".to_owned()),
    ];
    for end in ends {
        port.ended(first, 1, end.clone()).await.expect("ended");
        let kept = port.action(first).await.expect("read").expect("the action");
        assert_eq!(kept.intents[1].end, Some(end));
    }
    let kept = port.action(first).await.expect("read").expect("the action");
    let done = Intent { upid: Some(upid.clone()), end: Some(StepEnd::Done), ..intent(0) };
    assert_eq!(kept.intents[0], done);
    assert_eq!((kept.state, kept.owner.as_str()), (ActionState::Running, "manager"));
    assert!(port.sent(first, 2, &upid).await.is_err(), "no such step");

    let second = port.begin(new_action(false), after(60)).await.expect("begin");
    let running = ActionFilter { states: vec![ActionState::Running], ..ActionFilter::default() };
    let listed = port.actions(&running).await.expect("list");
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [second, first], "newest first");
    port.finish(first, ActionState::Unknown, "nobody can tell", after(61)).await.expect("finish");
    assert!(port.intend(first, intent(2)).await.expect_err("refused").is_conflict());
    port.finish(first, ActionState::Failed, "a person looked", after(62)).await.expect("settle");
    assert!(
        port.finish(first, ActionState::Done, "no", after(63))
            .await
            .expect_err("refused")
            .is_conflict()
    );
    let listed = port.actions(&running).await.expect("list");
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [second]);

    assert_eq!(port.count(&who, after(0), false).await.expect("count"), 2);
    assert_eq!(port.count(&who, after(0), true).await.expect("count"), 1);
    assert_eq!(port.count(&who, after(1), false).await.expect("count"), 1);
    assert_eq!(port.count(&Principal::local(1), after(0), false).await.expect("count"), 0);

    let budget = |changes: Option<u32>, unasked: Option<u32>| Budget {
        changes_per_hour: changes,
        unasked_per_hour: unasked,
    };
    let begin = async |unasked, since, budget: Budget| {
        let began = port.begin_within(new_action(unasked), after(90), since, &budget).await;
        began.expect("begin")
    };
    let spent = begin(true, after(0), budget(Some(2), None)).await.expect_err("full");
    assert_eq!(spent, Spent::Changes { limit: 2 });
    let spent = begin(true, after(0), budget(None, Some(1))).await.expect_err("full");
    assert_eq!(spent, Spent::Unasked { limit: 1 });
    assert_eq!(port.count(&who, after(0), false).await.expect("count"), 2, "none was begun");
    begin(false, after(0), budget(None, Some(1))).await.expect("who was asked is not unasked");
    begin(true, after(1), budget(Some(3), Some(1))).await.expect("an hour has passed");
    assert_eq!(port.count(&who, after(0), true).await.expect("count"), 2);
}

pub(super) fn new_undo(action: ActionId, target: &str, expires: Timestamp) -> NewUndo {
    NewUndo {
        action,
        principal: Principal::local(1000),
        tool: "guest_config".to_owned(),
        target: target.to_owned(),
        what: format!("change of {target}"),
        before: json!({"cores": 2}),
        after: json!({"digest": "ab"}),
        calls: vec![call("one"), call("two")],
        expires_at: expires,
    }
}

/// What everything that keeps ways back does. Wants an empty one, and an action to hang them on.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn undos(port: &dyn Undos, action: ActionId) {
    let one = port.keep(new_undo(action, "lab/104", after(100)), after(0)).await.expect("keep");
    let two = port.keep(new_undo(action, "lab/105", after(50)), after(1)).await.expect("keep");
    assert_eq!(port.undo(one.id).await.expect("read"), Some(one.clone()));
    assert_eq!(port.calls(one.id).await.expect("open"), [call("one"), call("two")]);
    let listed = port.undos(&UndoFilter::default()).await.expect("list");
    assert_eq!(listed, [two.clone(), one.clone()], "newest first");
    let filter = UndoFilter { target: Some("lab/104".to_owned()), ..UndoFilter::default() };
    assert_eq!(port.undos(&filter).await.expect("list"), std::slice::from_ref(&one));
    assert!(port.take(two.id, after(50)).await.expect_err("refused").is_conflict(), "too late");
    assert_eq!(port.take(one.id, after(50)).await.expect("take").used_at, Some(after(50)));
    assert!(port.take(one.id, after(51)).await.expect_err("refused").is_conflict(), "once");
    let filter = UndoFilter { usable_at: Some(after(20)), ..UndoFilter::default() };
    assert_eq!(port.undos(&filter).await.expect("list"), [two]);
}

pub(super) fn new_confirm(action: ActionId, deadline: Timestamp) -> NewConfirm {
    NewConfirm {
        action,
        principal: Principal::local(1000),
        what: "new bridge on alder".to_owned(),
        deadline,
        calls: vec![call("one")],
    }
}

/// What everything that keeps changes to confirm does. Wants an empty one, and an action to hang
/// them on.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn confirms(port: &dyn Confirms, action: ActionId) {
    let lease = Duration::from_mins(1);
    let kept = port.arm(new_confirm(action, after(100)), after(0)).await.expect("arm");
    let lost = port.arm(new_confirm(action, after(50)), after(0)).await.expect("arm");
    let never = port.arm(new_confirm(action, after(200)), after(0)).await.expect("arm");
    assert_eq!(port.confirm_record(kept.id).await.expect("read"), Some(kept.clone()));
    assert_eq!(port.confirm_record(ConfirmId::from_bits(3)).await.expect("read"), None);
    assert_eq!(port.revert_calls(kept.id).await.expect("open"), [call("one")]);
    let open = port.open_confirms().await.expect("list");
    assert_eq!(open.iter().map(|it| it.id).collect::<Vec<_>>(), [lost.id, kept.id, never.id]);
    let confirmed = port.confirm(kept.id, after(99)).await.expect("confirm");
    assert_eq!(confirmed.state, ConfirmState::Confirmed);
    assert!(port.confirm(kept.id, after(99)).await.expect_err("refused").is_conflict(), "once");
    assert!(port.confirm(lost.id, after(50)).await.expect_err("refused").is_conflict(), "too late");
    let dropped = port.settle(never.id, ConfirmState::Dropped, "not made").await.expect("drop");
    assert_eq!(dropped.state, ConfirmState::Dropped);

    // One caller reverts; if it is never heard of again, another does.
    let ids = |due: Vec<guard::ports::Confirm>| due.iter().map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(ids(port.take_due(after(49), lease).await.expect("due")), []);
    assert_eq!(ids(port.take_due(after(300), lease).await.expect("due")), [lost.id]);
    assert_eq!(ids(port.take_due(after(301), lease).await.expect("due")), []);
    assert_eq!(ids(port.take_due(after(360), lease).await.expect("due")), [lost.id]);
    assert!(port.confirm(lost.id, after(361)).await.expect_err("refused").is_conflict());
    let reverted = port.settle(lost.id, ConfirmState::Reverted, "as before").await.expect("settle");
    assert_eq!(reverted.lead.as_deref(), Some("as before"));
    assert!(
        port.settle(lost.id, ConfirmState::Failed, "no").await.expect_err("refused").is_conflict()
    );
    assert_eq!(port.open_confirms().await.expect("list"), []);
}

/// What everything that keeps trips and the use of codes does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn brakes(port: &dyn Brakes) {
    let trip = |principal: &str, until| Trip {
        principal: principal.to_owned(),
        cause: Cause::Failing,
        count: 20,
        window: Duration::from_mins(1),
        from: Access::Operate,
        until,
    };
    assert_eq!(port.trips(after(0)).await.expect("read"), []);
    let (short, long) = (trip("local:1000", after(60)), trip("token:n8n", after(300)));
    port.trip(&short, after(0)).await.expect("keep");
    port.trip(&long, after(1)).await.expect("keep");
    assert_eq!(port.trips(after(59)).await.expect("read"), [short, long.clone()], "oldest first");
    assert_eq!(port.trips(after(60)).await.expect("read"), [long], "one is over");

    let nothing = CodeUse::default();
    assert_eq!(port.code_use("ada").await.expect("read"), nothing);
    let used = CodeUse { used: Some(7), wrong: 0, until: None };
    assert!(!port.set_code_use("ada", &used, &nothing).await.expect("write"), "not what it was");
    assert!(port.set_code_use("ada", &nothing, &used).await.expect("write"));
    assert!(!port.set_code_use("ada", &nothing, &used).await.expect("write"), "once");
    assert_eq!(port.code_use("ada").await.expect("read"), used);
    let out = CodeUse { used: Some(7), wrong: 5, until: Some(after(900)) };
    assert!(port.set_code_use("ada", &used, &out).await.expect("write"));
    assert_eq!(port.code_use("ada").await.expect("read"), out);
    assert_eq!(port.code_use("bob").await.expect("read"), nothing, "each has their own");
}

/// What everything that keeps freezes does. Wants an empty one.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn freezes(port: &dyn Freezes) {
    let freeze = |since, until, reason: &str| Freeze {
        by: Principal::local(1000),
        since,
        until,
        reason: reason.to_owned(),
    };
    assert_eq!(port.frozen(after(0)).await.expect("read"), None);
    let short = freeze(after(0), Some(after(60)), "a short one");
    port.freeze(short.clone()).await.expect("freeze");
    assert_eq!(port.frozen(after(59)).await.expect("read"), Some(short));
    assert_eq!(port.frozen(after(60)).await.expect("read"), None);
    let open = freeze(after(30), None, "until somebody looks");
    port.freeze(open.clone()).await.expect("freeze");
    // A shorter one does not end a longer one.
    port.freeze(freeze(after(31), Some(after(40)), "shorter")).await.expect("freeze");
    assert_eq!(port.frozen(after(1000)).await.expect("read"), Some(open));
    assert!(port.lift(&Principal::local(1001), after(1001)).await.expect("lift"));
    assert_eq!(port.frozen(after(1001)).await.expect("read"), None);
    assert!(!port.lift(&Principal::local(1001), after(1002)).await.expect("lift"));
}
