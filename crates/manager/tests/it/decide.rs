//! Whose decisions count, and what forged, replayed and borrowed ones are worth.

use control_api::{ErrorKind, Proof};
use guard::Principal;
use guard::approval::Way;
use guard::ports::{
    Approval, ApprovalState, Approvals as _, Approvers as _, ConsentInbox as _, DecisionRecord,
    Freezes as _, Pressed,
};
use jiff::{SignedDuration, Timestamp};
use manager::Peer;
use manager::approve::{Links, Signature, Statement};
use secrecy::ExposeSecret as _;
use stdx::Clock as _;
use stdx::redact::Redactor;

use crate::support::{Inside, account, inside, noon};

fn statement(approval: &Approval, agrees: bool) -> Statement {
    Statement::Decide { id: approval.id, digest: approval.digest.as_str().to_owned(), agrees }
}

fn signed(inside: &Inside, statement: &Statement, at: Timestamp) -> Proof {
    let signature = inside.ada.sign(statement, "ada", at);
    Proof::Signature { approver: "ada".to_owned(), at, signature: signature.to_base64() }
}

async fn decide(
    inside: &Inside,
    peer: &Peer,
    approval: &Approval,
    agrees: bool,
    proof: &Proof,
) -> Result<Approval, String> {
    let digest = approval.digest.as_str();
    let decided = inside.deciding.decide(peer, approval.id, digest, agrees, proof, None).await;
    decided.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_asker_decides_with_a_passphrase_and_never_as_the_peer_that_asked() {
    let inside = inside();
    // Ada's own agent runs as Ada's account.
    let approval = inside.ask_as(Principal::local(2001), 1, &[]).await;
    let ada = account(2001);
    let why = decide(&inside, &ada, &approval, true, &Proof::Peer).await.unwrap_err();
    assert!(why.contains("local:2001 asked for it itself"), "{why}");
    // A stranger's account is nobody's, and the agent's own account is no approver.
    for stranger in [1000, 0, 4711] {
        let why = decide(&inside, &account(stranger), &approval, true, &Proof::Peer).await;
        assert!(why.unwrap_err().contains("is no approver"));
    }
    let proof = signed(&inside, &statement(&approval, true), noon());
    let decided = decide(&inside, &ada, &approval, true, &proof).await.unwrap();
    assert_eq!(decided.state, ApprovalState::Approved);
    assert_eq!(decided.decisions[0].way, Way::Passphrase);
    // It is final.
    let why = decide(&inside, &account(2002), &approval, false, &Proof::Peer).await.unwrap_err();
    assert!(why.contains("already approved"), "{why}");
}

#[tokio::test]
async fn another_account_or_group_decides_as_the_peer_that_it_is() {
    let inside = inside();
    let approval = inside.ask(1, &[]).await;
    let decided = decide(&inside, &account(2002), &approval, false, &Proof::Peer).await.unwrap();
    assert_eq!(
        (decided.state, decided.decisions[0].approver.as_str()),
        (ApprovalState::Refused, "bob")
    );

    let approval = inside.ask(1, &[]).await;
    let member = Peer { groups: vec![900], ..account(3000) };
    let decided = decide(&inside, &member, &approval, true, &Proof::Peer).await.unwrap();
    assert_eq!(decided.decisions[0].approver, "group");
    assert_eq!(decided.decisions[0].principal, Principal::local(3000));

    // The asker is a member of the group as well: it is still the asker.
    let approval = inside.ask(1, &[]).await;
    let asker = Peer { groups: vec![900], ..account(1000) };
    let why = decide(&inside, &asker, &approval, true, &Proof::Peer).await.unwrap_err();
    assert!(why.contains("asked for it itself"), "{why}");

    // Who is not asked does not decide.
    let approval = inside.ask(1, &["ops"]).await;
    let why = decide(&inside, &account(2002), &approval, true, &Proof::Peer).await.unwrap_err();
    assert!(why.contains("bob is not asked"), "{why}");
    assert!(decide(&inside, &account(2001), &approval, true, &Proof::Peer).await.is_ok());
}

#[tokio::test]
async fn forged_stale_and_borrowed_signatures_are_worth_nothing() {
    let inside = inside();
    let (approval, other) = (inside.ask(1, &[]).await, inside.ask(1, &[]).await);
    let asker = account(1000);
    let yes = statement(&approval, true);
    let bogus = |text: &str| Proof::Signature {
        approver: "ada".to_owned(),
        at: noon(),
        signature: text.to_owned(),
    };
    let stale = noon() - SignedDuration::from_mins(6);
    let attempts = [
        ("garbage", bogus("not base64!"), "not Base64"),
        ("nothing", bogus(""), "not ada's"),
        ("zeros", bogus(&format!("{}==", "A".repeat(86))), "not ada's"),
        ("of another approval", signed(&inside, &statement(&other, true), noon()), "not ada's"),
        ("of the other answer", signed(&inside, &statement(&approval, false), noon()), "not ada's"),
        (
            "of another kind",
            signed(&inside, &Statement::Lift { since: noon() }, noon()),
            "not ada's",
        ),
        ("made too early", signed(&inside, &yes, stale), "not of now"),
    ];
    for (what, proof, expected) in attempts {
        let why = decide(&inside, &asker, &approval, true, &proof).await.unwrap_err();
        assert!(why.contains(expected), "{what}: {why}");
    }
    // As somebody else, or as somebody that there is not.
    let Proof::Signature { at, signature, .. } = signed(&inside, &yes, noon()) else { panic!() };
    for approver in ["bob", "eve", "ada\nbob"] {
        let proof =
            Proof::Signature { approver: approver.to_owned(), at, signature: signature.clone() };
        assert!(decide(&inside, &asker, &approval, true, &proof).await.is_err(), "{approver}");
    }
    assert_eq!(inside.state(approval.id).await, ApprovalState::Pending);
    // For another plan than the one that was looked at.
    let error = inside
        .deciding
        .decide(&asker, approval.id, "sha256:0", true, &signed(&inside, &yes, noon()), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_row_that_somebody_wrote_into_the_store_is_worth_nothing() {
    let inside = inside();
    let now = inside.clock.now();
    let signed_for =
        |approval: &Approval| inside.ada.sign(&statement(approval, true), "ada", now).to_string();
    let record = |way: Way, signature: Option<String>| DecisionRecord {
        approver: "ada".to_owned(),
        principal: Principal::local(2001),
        way,
        agrees: true,
        at: now,
        note: None,
        signature,
    };
    let other = inside.ask(1, &[]).await;
    let approval = inside.ask(1, &[]).await;
    let vouched = inside.book.attested(&other, record(Way::PeerUid, None));
    let forged = [
        record(Way::PeerUid, None),
        record(Way::PeerUid, Some("mac AAAA".to_owned())),
        record(Way::Passphrase, None),
        record(Way::Passphrase, Some(signed_for(&other))),
        // What was good for another approval, or by another way.
        vouched.clone(),
        DecisionRecord {
            way: Way::Link,
            ..inside.book.attested(&approval, record(Way::PeerUid, None))
        },
        record(Way::Client, None),
        DecisionRecord {
            approver: "eve".to_owned(),
            ..record(Way::Passphrase, Some(signed_for(&approval)))
        },
    ];
    for decision in forged {
        assert!(inside.book.may_decide(&approval, &decision).is_err(), "{decision:?}");
    }
    let good = record(Way::Passphrase, Some(signed_for(&approval)));
    assert_eq!(inside.book.may_decide(&approval, &good), Ok(()));
    let good = inside.book.attested(&approval, record(Way::PeerUid, None));
    assert_eq!(inside.book.may_decide(&approval, &good), Ok(()));
    // Turned round afterwards.
    assert!(inside.book.may_decide(&approval, &DecisionRecord { agrees: false, ..good }).is_err());

    // Written behind the manager's back, it approves on paper and runs nothing.
    inside.store.decide(approval.id, record(Way::PeerUid, None), now).await.unwrap();
    assert_eq!(inside.state(approval.id).await, ApprovalState::Approved);
    let supervisor = manager::Supervisor::new(std::sync::Arc::new(inside.clock.clone()));
    inside.engine.start(&supervisor);
    crate::engine::until(&inside, approval.id, ApprovalState::Void).await;
    assert!(inside.worker.ran.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_time_codes_are_good_once_and_for_whoever_holds_them() {
    let inside = inside();
    inside.clock.set(Timestamp::from_second(59).unwrap());
    let code = |approver: &str, code: &str| Proof::Code {
        approver: approver.to_owned(),
        code: code.to_owned(),
    };
    let approval = inside.ask(1, &[]).await;
    let asker = account(1000);
    let why = decide(&inside, &asker, &approval, true, &code("bob", "287082")).await.unwrap_err();
    assert!(why.contains("no secret for one-time codes of bob"), "{why}");
    let why = decide(&inside, &asker, &approval, true, &code("ada", "000000")).await.unwrap_err();
    assert!(why.contains("not the right one") && !why.contains("000000"), "{why}");
    let decided = decide(&inside, &asker, &approval, true, &code("ada", "287082")).await.unwrap();
    assert_eq!(decided.decisions[0].way, Way::OneTimeCode);
    let next = inside.ask(1, &[]).await;
    let why = decide(&inside, &asker, &next, true, &code("ada", "287082")).await.unwrap_err();
    assert!(why.contains("used already"), "{why}");
}

#[tokio::test]
async fn of_several_each_is_somebody_else_and_none_is_the_asker() {
    let inside = inside();
    let approval = inside.ask_as(Principal::local(2001), 2, &[]).await;
    let proof = signed(&inside, &statement(&approval, true), noon());
    let why = decide(&inside, &account(2001), &approval, true, &proof).await.unwrap_err();
    assert!(why.contains("each is somebody else"), "{why}");

    let approval = inside.ask(2, &[]).await;
    let bob = account(2002);
    let once = decide(&inside, &bob, &approval, true, &Proof::Peer).await.unwrap();
    assert_eq!(once.state, ApprovalState::Pending);
    let why = decide(&inside, &bob, &approval, true, &Proof::Peer).await.unwrap_err();
    assert!(why.contains("bob"), "{why}");
    let twice = decide(&inside, &account(2001), &approval, true, &Proof::Peer).await.unwrap();
    assert_eq!(twice.state, ApprovalState::Approved);
}

#[tokio::test]
async fn a_link_is_for_one_person_one_plan_and_once() {
    let inside = inside();
    let (approval, other) = (inside.ask(1, &[]).await, inside.ask(1, &["ada"]).await);
    let open = |approval: &Approval, name: &str| {
        let link = inside.links.link(approval, name);
        let secret = link
            .expose_secret()
            .strip_prefix("https://mcp.example.lan/approve/")
            .unwrap()
            .to_owned();
        (secret.clone(), Links::read(&secret).unwrap())
    };
    let (secret, claim) = open(&approval, "bob");
    // To look decides nothing.
    assert_eq!(inside.deciding.by_link(&claim).await.unwrap().0.id, approval.id);
    assert_eq!(inside.state(approval.id).await, ApprovalState::Pending);

    // Rewritten for another person, approval or time, it is no link at all.
    let parts: Vec<&str> = secret.split('.').collect();
    for forged in [
        format!("{}.ada.{}.{}", parts[0], parts[2], parts[3]),
        format!("{}.bob.{}.{}", other.id, parts[2], parts[3]),
        format!("{}.bob.9999999999.{}", parts[0], parts[3]),
        format!("{}.bob.{}.AAAA", parts[0], parts[2]),
    ] {
        let claim = Links::read(&forged).unwrap();
        let error = inside.deciding.decide_by_link(&claim, true, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{forged}");
    }
    for garbage in ["", "...", "x.y.z.w", &"a".repeat(5000), &format!("{secret}.x")] {
        assert!(Links::read(garbage).is_none(), "{garbage}");
    }
    // A good link of somebody who is not asked.
    let (_, uninvited) = open(&other, "bob");
    let error = inside.deciding.decide_by_link(&uninvited, true, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);

    let decided = inside.deciding.decide_by_link(&claim, true, None).await.unwrap();
    assert_eq!((decided.state, decided.decisions[0].way), (ApprovalState::Approved, Way::Link));
    let again = inside.deciding.decide_by_link(&claim, true, None).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    // After its time it is as if it had never been.
    let (_, late) = open(&other, "ada");
    inside.clock.set(noon() + SignedDuration::from_hours(2));
    let error = inside.deciding.decide_by_link(&late, true, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_channel_brings_the_decision_of_whom_it_vouches_for() {
    let inside = inside();
    let approval = inside.ask(1, &[]).await;
    let pressed = |identity: Principal| Pressed {
        id: approval.id,
        digest: approval.digest.as_str().to_owned(),
        agrees: true,
        identity,
        note: Some("go\nahead".to_owned()),
    };
    for nobody in [Principal::channel("discord", "1").unwrap(), Principal::local(2001)] {
        assert!(inside.deciding.pressed(pressed(nobody)).await.is_err());
    }
    let ada = Principal::channel("discord", "4711").unwrap();
    let decided = inside.deciding.pressed(pressed(ada.clone())).await.unwrap();
    let decision = &decided.decisions[0];
    assert_eq!((decision.way, &decision.principal), (Way::Channel, &ada));
    assert!(!decision.note.as_deref().unwrap().contains('\n'));
    // What was asked from that very chat is not approved from it.
    let own = inside.ask_as(ada.clone(), 1, &[]).await;
    let pressed = Pressed { id: own.id, digest: own.digest.as_str().to_owned(), ..pressed(ada) };
    assert!(inside.deciding.pressed(pressed).await.unwrap_err().to_string().contains("itself"));
}

/// What the settings hold for a secret is none of what people say, as of nothing else that is written.
#[tokio::test]
async fn the_secrets_of_the_settings_are_not_written_down_with_a_reason() {
    let inside = inside();
    let redactor = Redactor::new(["vault_pin"]).with_values(["correct-horse-7".into()]);
    let deciding = inside.deciding.clone().redacted_by(redactor);
    let said = "its vault_pin=4711 and correct-\u{1b}horse-7 leaked".to_owned();
    let told = deciding.freeze(account(1000).principal(), None, said).await.unwrap().reason;
    assert!(told.contains("leaked") && !told.contains("4711") && !told.contains("horse"), "{told}");
    let records = inside.audit.get().await.unwrap().audit_records(0, 10).await.unwrap();
    assert!(records.iter().any(|it| it.payload.contains("leaked")), "{records:?}");
    assert!(!records.iter().any(|it| it.payload.contains("4711") || it.payload.contains("horse")));
}

#[tokio::test]
async fn anybody_freezes_and_a_person_lifts() {
    let inside = inside();
    let agent = account(1000);
    let freeze = inside
        .deciding
        .freeze(agent.principal(), None, "it went\u{1b}[31m wild".to_owned())
        .await
        .unwrap();
    assert!(!freeze.reason.contains('\u{1b}'));
    let why = inside.deciding.lift(&agent, freeze.since, &Proof::Peer).await.unwrap_err();
    assert!(why.to_string().contains("is no approver"), "{why}");
    // Another account may; but what Bob froze himself he does not lift by the same credential.
    let bob = account(2002);
    inside.deciding.lift(&bob, freeze.since, &Proof::Peer).await.unwrap();
    inside.deciding.freeze(bob.principal(), None, String::new()).await.unwrap();
    let now = inside.deciding.frozen().await.unwrap().unwrap();
    let why = inside.deciding.lift(&bob, now.since, &Proof::Peer).await.unwrap_err();
    assert!(why.to_string().contains("itself"), "{why}");
    let earlier = now.since - SignedDuration::from_secs(1);
    let statement = Statement::Lift { since: earlier };
    let old = inside.deciding.lift(&agent, earlier, &signed(&inside, &statement, noon())).await;
    assert_eq!(old.unwrap_err().kind(), ErrorKind::Conflict, "an earlier one was looked at");
    // From the agent's own terminal, but with Ada's passphrase.
    let statement = Statement::Lift { since: now.since };
    inside.deciding.lift(&agent, now.since, &signed(&inside, &statement, noon())).await.unwrap();
    assert!(inside.store.frozen(noon()).await.unwrap().is_none());
    let records = inside.audit.get().await.unwrap().audit_records(0, 10).await.unwrap();
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["freeze", "freeze.lift", "freeze", "freeze.lift"]);
}

#[test]
fn a_signature_reads_back() {
    let text = "ed25519 2026-11-22T12:00:00Z AAAA";
    assert_eq!(Signature::from_text(text).unwrap().to_string(), text);
}
