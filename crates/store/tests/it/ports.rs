//! The guard's ports over a store: what every engine is held to, and what is beneath them.

use std::sync::Arc;

use estate::Access;
use guard::ports::{
    ActionId, ActionState, Actions, ApprovalId, ApprovalState, Approvals, Confirms as _,
    DecisionRecord, Freeze, Freezes as _, Intent, KeptCall, NewAction, NewApproval, NewConfirm,
    NewUndo, Outcome, StepEnd, TaskTrace, Undos as _, Way,
};
use guard::{PlanForm, PlannedCall, Principal};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use stdx::seal::SealKey;
use store::{GuardStore, LazyStore, StoreUrl};
use testkit::contract;

/// Ports with a key of their own over the store at this URL.
pub(crate) fn over(url: &StoreUrl) -> GuardStore {
    with_key(url, 7)
}

fn with_key(url: &StoreUrl, byte: u8) -> GuardStore {
    GuardStore::new(LazyStore::new(url.clone()), SealKey::new(&[byte; 32]))
}

/// Every contract of the ports; `empty` gives the URL of a new empty store each time.
pub(crate) async fn contracts(empty: impl AsyncFn() -> StoreUrl) {
    contract::ports::approvals(&over(&empty().await)).await;
    contract::ports::actions(&over(&empty().await)).await;
    contract::ports::undos(&over(&empty().await), ActionId::from_bits(1)).await;
    contract::ports::confirms(&over(&empty().await), ActionId::from_bits(1)).await;
    contract::ports::freezes(&over(&empty().await)).await;
    contract::ports::brakes(&over(&empty().await)).await;
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

/// Something that somebody does with an approval.
#[derive(Clone, Copy, Debug)]
enum Step {
    Decide { who: u8, agrees: bool },
    Claim { right_plan: bool },
    Finish(Outcome),
    Void { replaced: bool },
    Expire,
    Wait { minutes: i64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let outcome = prop::sample::select(vec![Outcome::Done, Outcome::Failed, Outcome::Unknown]);
    prop_oneof![
        4 => (0..4u8, prop::bool::weighted(0.8))
            .prop_map(|(who, agrees)| Step::Decide { who, agrees }),
        4 => prop::bool::weighted(0.8).prop_map(|right_plan| Step::Claim { right_plan }),
        2 => outcome.prop_map(Step::Finish),
        1 => any::<bool>().prop_map(|replaced| Step::Void { replaced }),
        1 => Just(Step::Expire),
        1 => (1..40i64).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// Whatever is done in whatever order: the work is begun at most once, only after enough different
/// people agreed and nobody refused, only in time and for this plan; and what is over stays over.
async fn an_approval_lives_through(needed: u32, steps: &[Step]) {
    let ports = over(&"memory:".parse().unwrap());
    let mut now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let asked = ports.ask(NewApproval { needed, ..question() }, now).await.unwrap();
    let (id, other) = (asked.id, PlanForm::default().digest());
    let (mut begun, mut ended) = (0, 0);
    for step in steps {
        let before = ports.approval(id).await.unwrap().unwrap();
        let was = before.state_at(now);
        let done = match *step {
            Step::Decide { who, agrees } => {
                let made = DecisionRecord {
                    approver: format!("n{who}"),
                    principal: Principal::local(2000 + u32::from(who)),
                    way: Way::Passphrase,
                    agrees,
                    at: now,
                    note: None,
                    signature: None,
                };
                let decided = ports.decide(id, made, now).await.is_ok();
                let is_new = before.decisions.iter().all(|it| it.approver != format!("n{who}"));
                assert_eq!(decided, was == ApprovalState::Pending && is_new);
                decided
            }
            Step::Claim { right_plan } => {
                let digest = if right_plan { &asked.digest } else { &other };
                let claimed = ports.claim(id, digest, now).await.is_ok();
                assert_eq!(claimed, was == ApprovalState::Approved && right_plan);
                if claimed {
                    begun += 1;
                    let agreed = before.decisions.iter().filter(|it| it.agrees).count();
                    assert!(agreed >= needed as usize && agreed == before.decisions.len());
                    assert!(now < before.expires_at);
                }
                claimed
            }
            Step::Finish(outcome) => {
                let finished = Approvals::finish(&ports, id, outcome, json!({}), now).await.is_ok();
                assert_eq!(finished, was == ApprovalState::Running);
                ended += u32::from(finished);
                finished
            }
            Step::Void { replaced } => {
                let successor = replaced.then(question);
                let voided = ports.void(id, "moved", successor, now).await.is_ok();
                let open = matches!(was, ApprovalState::Pending | ApprovalState::Approved);
                assert_eq!(voided, open);
                voided
            }
            Step::Expire => {
                let expired = ports.expire(now).await.unwrap().iter().any(|it| it.id == id);
                let due = was == ApprovalState::Expired && before.state != ApprovalState::Expired;
                assert_eq!(expired, due);
                expired
            }
            Step::Wait { minutes } => {
                now += SignedDuration::from_mins(minutes);
                false
            }
        };
        let kept = ports.approval(id).await.unwrap().unwrap();
        assert!(done || kept == before, "what was refused changed nothing: {step:?}");
        assert!(!was.is_final() || kept.state_at(now) == was, "{was:?} became {:?}", kept.state);
    }
    assert!(begun <= 1 && ended <= begun, "begun {begun} times, ended {ended} times");
}

proptest! {
    #[test]
    fn at_most_one_run_whatever_is_done(
        needed in 1..4u32, steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(an_approval_lives_through(needed, &steps));
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

    // The key's file is made by the first call that is kept, and not by looking.
    let state = folder.path().join("state");
    let ports = GuardStore::in_folder(LazyStore::new(url.clone()), &state);
    assert!(ports.approval(asked.id).await.unwrap().is_some());
    assert!(!state.exists());
    let kept = ports.ask(question(), now).await.unwrap().id;
    let again = GuardStore::in_folder(LazyStore::new(url), &state);
    assert_eq!(again.kept_call(kept).await.unwrap(), question().call);
}

/// One of each of the other nouns.
pub(crate) async fn one_of_each(ports: &GuardStore, now: Timestamp) {
    let who = Principal::local(1000);
    let call = || question().call;
    let new = NewAction {
        principal: who.clone(),
        tool: "guest_clone".to_owned(),
        target: "lab/104".to_owned(),
        digest: PlanForm::default().digest(),
        approval: Some(ApprovalId::from_bits(1)),
        access: Access::Operate,
        unasked: true,
        steps: 1,
        owner: "manager".to_owned(),
        call: call(),
    };
    let action = ports.begin(new, now).await.unwrap();
    let intent = Intent {
        step: 0,
        what: "clone".to_owned(),
        calls: vec![PlannedCall {
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
            user: None,
        }),
        at: now,
        upid: None,
        end: None,
    };
    ports.intend(action, intent).await.unwrap();
    let upid = "UPID:alder:000002D6:000C8274:6B033EDA:qmclone:104:root@pam:".parse().unwrap();
    ports.sent(action, 0, &upid).await.unwrap();
    ports.ended(action, 0, StepEnd::Failed("no space".to_owned())).await.unwrap();
    Actions::finish(ports, action, ActionState::Unknown, "nobody can tell", now).await.unwrap();
    let action = ActionId::from_bits(2);
    let undo = NewUndo {
        action,
        principal: who.clone(),
        tool: "guest_config".to_owned(),
        target: "lab/104".to_owned(),
        what: "sets cores".to_owned(),
        before: json!({ "cores": 2 }),
        after: json!({ "digest": "ab" }),
        calls: vec![call()],
        expires_at: now,
    };
    ports.keep(undo, now).await.unwrap();
    let confirm = NewConfirm {
        action,
        principal: who.clone(),
        what: "a bridge goes".to_owned(),
        deadline: now,
        calls: vec![call()],
    };
    ports.arm(confirm, now).await.unwrap();
    ports.take_due(now, std::time::Duration::from_mins(1)).await.unwrap();
    let freeze = Freeze { by: who.clone(), since: now, until: None, reason: "stop".to_owned() };
    ports.freeze(freeze).await.unwrap();
    ports.lift(&Principal::local(0), now).await.unwrap();
}

/// What became of approvals that the second version of the schema kept.
pub(crate) async fn approvals_of_the_second_version(ports: &GuardStore) {
    let mut seen = Vec::new();
    for bits in 1..=4 {
        let kept = ports.approval(ApprovalId::from_bits(bits)).await.unwrap().unwrap();
        let reason = kept.void_reason.unwrap_or_default();
        seen.push((kept.state.as_str(), kept.digest.to_string(), reason));
        assert_eq!((kept.requested_by, kept.needed), (Principal::local(1000), 1));
    }
    let why = "an earlier version of this program asked for it";
    let expected = ["void", "void", "refused", "done"]
        .map(|state| (state, format!("sha256:{}", "07".repeat(32)), why.to_owned()));
    assert_eq!(seen, expected);
}

/// Rows of the second version: one in each state.
pub(crate) fn rows_of_the_second_version() -> String {
    let row = |(number, state): (usize, &str)| {
        format!(
            "INSERT INTO approvals VALUES ('{number:032x}', '{}', 'local:1000', 1, 2, '{state}', \
             NULL, NULL);",
            "07".repeat(32)
        )
    };
    (1..).zip(["pending", "approved", "refused", "used"]).map(row).collect()
}
