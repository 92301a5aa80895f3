//! The freeze: nothing changes until a person lifts it.
//!
//! Anyone may freeze; only a person lifts it, by a way that the frozen cannot go themselves.
//! Alerts go on, and so does taking back a change that nobody confirmed.

use estate::Access;
use jiff::Timestamp;

use crate::approval::{Decider, NotAllowed, Way};
pub use crate::ports::Freeze;

/// What a call to the estate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What somebody asked for.
    Work,
    /// Taking back a change that was not confirmed.
    Revert,
}

/// A freeze stops it; says whose, since when, and who lifts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Frozen(String);

fn its_end(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until}"))
}

// === impl Freeze ===

impl Freeze {
    /// Whether a call may be sent.
    ///
    /// # Errors
    /// It changes something, and the freeze is in force.
    pub fn permits(&self, access: Access, purpose: Purpose, now: Timestamp) -> Result<(), Frozen> {
        if access == Access::Read || purpose == Purpose::Revert || !self.holds(now) {
            return Ok(());
        }
        let (by, since, end) = (&self.by, self.since, its_end(self.until));
        let reason = one_line(&self.reason);
        Err(Frozen(format!(
            "all changes are frozen by {by} since {since}{end}: {reason}; a person lifts it with \
             `proxmox-mcp freeze lift`"
        )))
    }

    /// Whether this person may lift it. `calls_tools` says whether tools are called as this very
    /// principal: an account that a model works as does not lift what stops the model.
    ///
    /// # Errors
    /// Why not.
    pub fn may_lift(&self, decider: &Decider<'_>, calls_tools: bool) -> Result<(), NotAllowed> {
        decider.proves_a_person()?;
        match decider.way {
            Way::Client => Err(NotAllowed::Client),
            Way::PeerUid | Way::Channel if calls_tools || *decider.principal == self.by => {
                Err(NotAllowed::CallsTools { principal: decider.principal.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// One line of somebody else's words.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;
    use crate::{Principal, approval::Approver};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn freeze(until: Option<i64>) -> Freeze {
        Freeze {
            by: Principal::local(1000),
            since: at(0),
            until: until.map(at),
            reason: "the array\nrebuilds".to_owned(),
        }
    }

    #[test]
    fn it_stops_changes_and_neither_reads_nor_reverts() {
        let table: Vec<String> = [Access::Read, Access::Operate, Access::Destroy]
            .into_iter()
            .flat_map(|access| {
                [Purpose::Work, Purpose::Revert].map(|purpose| {
                    let permitted = freeze(Some(60)).permits(access, purpose, at(59));
                    let said = permitted.map_or_else(|error| error.to_string(), |()| "sent".into());
                    format!("{access} {purpose:?}: {said}\n")
                })
            })
            .collect();
        expect![[r#"
            read Work: sent
            read Revert: sent
            operate Work: all changes are frozen by local:1000 since 2027-01-15T08:00:00Z until 2027-01-15T08:01:00Z: the array rebuilds; a person lifts it with `proxmox-mcp freeze lift`
            operate Revert: sent
            destroy Work: all changes are frozen by local:1000 since 2027-01-15T08:00:00Z until 2027-01-15T08:01:00Z: the array rebuilds; a person lifts it with `proxmox-mcp freeze lift`
            destroy Revert: sent
        "#]].assert_eq(&table.concat());
        assert!(freeze(Some(60)).permits(Access::Destroy, Purpose::Work, at(60)).is_ok());
        assert!(freeze(None).permits(Access::Operate, Purpose::Work, at(999_999)).is_err());
    }

    #[test]
    fn only_a_person_lifts_it_by_a_way_that_the_frozen_cannot_go() {
        let alice = Approver {
            principals: ["local:1000", "local:1001", "channel:discord:4711"]
                .map(|text| text.parse().unwrap())
                .into(),
            has_key: true,
            ..Approver::new("alice")
        };
        let mut table = String::new();
        for (way, identity, calls_tools) in [
            (Way::Client, "local:1000", true),
            (Way::PeerUid, "local:1000", false),
            (Way::PeerUid, "local:1001", false),
            (Way::PeerUid, "local:1001", true),
            (Way::PeerUid, "local:1002", false),
            (Way::Passphrase, "local:1000", true),
            (Way::OneTimeCode, "local:1000", true),
            (Way::Channel, "channel:discord:4711", false),
            (Way::Channel, "channel:discord:9", false),
            (Way::Link, "local:1000", true),
        ] {
            let principal: Principal = identity.parse().unwrap();
            let decider = Decider { approver: &alice, principal: &principal, way };
            let said = match freeze(None).may_lift(&decider, calls_tools) {
                Ok(()) => "may".to_owned(),
                Err(error) => error.to_string(),
            };
            writeln!(table, "{} {identity}: {said}", way.as_str()).unwrap();
        }
        expect![[r#"
            client local:1000: an answer in the client does not count for this; an approver decides elsewhere, such as by `proxmox-mcp approve`
            peer_uid local:1000: local:1000 froze it or calls tools itself, and lifts a freeze only with something that a program of this account does not hold: a passphrase, a one-time code, or another account
            peer_uid local:1001: may
            peer_uid local:1001: local:1001 froze it or calls tools itself, and lifts a freeze only with something that a program of this account does not hold: a passphrase, a one-time code, or another account
            peer_uid local:1002: local:1002 is none of the identities of alice
            passphrase local:1000: may
            one_time_code local:1000: alice has no secret for one-time codes; `proxmox-mcp approver add alice` sets it up
            channel channel:discord:4711: may
            channel channel:discord:9: channel:discord:9 is none of the identities of alice
            link local:1000: may
        "#]].assert_eq(&table);
    }
}
