//! Who may decide, as a table over every way.

use std::fmt::Write as _;

use expect_test::expect;

use super::*;

fn alice() -> Approver {
    let principals = ["local:1000", "channel:discord:4711"];
    Approver {
        teams: ["ops".to_owned()].into(),
        principals: principals.iter().map(|it| it.parse().unwrap()).collect(),
        has_key: true,
        ..Approver::new("alice")
    }
}

fn table(requested_by: &str, of: &[&str], needed: u32, approver: &Approver) -> String {
    let requested_by: Principal = requested_by.parse().unwrap();
    let of: Vec<String> = of.iter().map(|name| (*name).to_owned()).collect();
    let question = Question { requested_by: &requested_by, of: &of, needed, client_counts: true };
    let mut table = String::new();
    for (way, identity) in [
        (Way::Client, "local:1000"),
        (Way::PeerUid, "local:1000"),
        (Way::PeerUid, "local:1001"),
        (Way::PeerUid, "token:n8n"),
        (Way::Passphrase, "local:1000"),
        (Way::OneTimeCode, "local:1000"),
        (Way::Link, "local:1000"),
        (Way::Channel, "channel:discord:4711"),
        (Way::Channel, "channel:discord:9"),
        (Way::Channel, "local:1000"),
    ] {
        let principal: Principal = identity.parse().unwrap();
        let decider = Decider { approver, principal: &principal, way };
        let said = match may_decide(&question, &decider) {
            Ok(()) => "may".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(table, "{} {identity}: {said}", way.as_str()).unwrap();
    }
    table
}

#[test]
fn the_agents_account_decides_only_with_what_it_does_not_hold() {
    expect![[r#"
        client local:1000: may
        peer_uid local:1000: local:1000 asked for it itself, and decides only with something that a program of this account does not hold: a passphrase, a one-time code, or another account
        peer_uid local:1001: local:1001 is none of the identities of alice
        peer_uid token:n8n: token:n8n is none of the identities of alice
        passphrase local:1000: may
        one_time_code local:1000: alice has no secret for one-time codes; `proxmox-mcp approver add alice` sets it up
        link local:1000: may
        channel channel:discord:4711: may
        channel channel:discord:9: channel:discord:9 is none of the identities of alice
        channel local:1000: local:1000 is none of the identities of alice
    "#]].assert_eq(&table("local:1000", &[], 1, &alice()));
}

#[test]
fn a_person_approves_what_their_own_agent_asked() {
    let asked = "automation:restart_web for channel:discord:4711";
    expect![[r#"
        client local:1000: an answer in the client does not count for this; an approver decides elsewhere, such as by `proxmox-mcp approve`
        peer_uid local:1000: may
        peer_uid local:1001: local:1001 is none of the identities of alice
        peer_uid token:n8n: token:n8n is none of the identities of alice
        passphrase local:1000: may
        one_time_code local:1000: alice has no secret for one-time codes; `proxmox-mcp approver add alice` sets it up
        link local:1000: may
        channel channel:discord:4711: may
        channel channel:discord:9: channel:discord:9 is none of the identities of alice
        channel local:1000: local:1000 is none of the identities of alice
    "#]].assert_eq(&table(asked, &["ops"], 1, &alice()));
}

#[test]
fn the_asker_is_none_of_several() {
    expect![[r#"
        client local:1000: an answer in the client does not count for this; an approver decides elsewhere, such as by `proxmox-mcp approve`
        peer_uid local:1000: alice asked for it, and where several must agree each is somebody else
        peer_uid local:1001: local:1001 is none of the identities of alice
        peer_uid token:n8n: token:n8n is none of the identities of alice
        passphrase local:1000: alice asked for it, and where several must agree each is somebody else
        one_time_code local:1000: alice has no secret for one-time codes; `proxmox-mcp approver add alice` sets it up
        link local:1000: alice asked for it, and where several must agree each is somebody else
        channel channel:discord:4711: alice asked for it, and where several must agree each is somebody else
        channel channel:discord:9: channel:discord:9 is none of the identities of alice
        channel local:1000: local:1000 is none of the identities of alice
    "#]].assert_eq(&table("channel:discord:4711", &[], 2, &alice()));
}

#[test]
fn who_is_not_asked_does_not_decide() {
    expect![[r#"
        client local:1000: an answer in the client does not count for this; an approver decides elsewhere, such as by `proxmox-mcp approve`
        peer_uid local:1000: alice is not asked: bob decide
        peer_uid local:1001: alice is not asked: bob decide
        peer_uid token:n8n: alice is not asked: bob decide
        passphrase local:1000: alice is not asked: bob decide
        one_time_code local:1000: alice is not asked: bob decide
        link local:1000: alice is not asked: bob decide
        channel channel:discord:4711: alice is not asked: bob decide
        channel channel:discord:9: alice is not asked: bob decide
        channel local:1000: alice is not asked: bob decide
    "#]].assert_eq(&table("token:n8n", &["bob"], 1, &alice()));
}
