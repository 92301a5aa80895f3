//! What a token sees of a member: the difference between "none" and "none that it may see".
//!
//! Lists of PVE and PBS leave out what the token may not audit, without a word. Tools name the
//! needs of what they show (see [`crate::needs`]), and the answer says which are not met.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    fleet::{Gathered, Member, Pbs, Pve},
    needs,
    permissions::Permissions,
    report::Report,
};

/// What the token of a PVE member may do, if that can be read; the answer does without otherwise.
pub async fn of_pve(member: &Pve, now: Timestamp) -> Option<Arc<Permissions>> {
    member.permissions(now).await.inspect_err(|error| failed(member, error)).ok()
}

/// What the token that a PVE member is changed with may do, if that can be read.
pub async fn of_pve_operator(member: &Pve, now: Timestamp) -> Option<Arc<Permissions>> {
    member.operator_permissions(now).await.inspect_err(|error| failed(member, error)).ok()
}

/// What the token of a backup server may do, if that can be read.
pub async fn of_pbs(member: &Pbs, now: Timestamp) -> Option<Arc<Permissions>> {
    member.permissions(now).await.inspect_err(|error| failed(member, error)).ok()
}

fn failed(member: &impl Member, error: &api_core::Error) {
    tracing::debug!(
        cluster = %member.key(),
        error = %stdx::Chain(error),
        "cannot read the token's permissions"
    );
}

/// What leads a list that nobody contributed to: a count would say "none" where nothing is known.
pub const NOBODY: &str = "no cluster answered";

/// Whether nobody answered of those who were asked.
pub fn is_dark<M, T>(gathered: &Gathered<M, T>) -> bool {
    gathered.answers.is_empty() && gathered.is_partial()
}

/// `lead`, or [`NOBODY`] where that would count what nobody answered.
pub fn lead_of<M, T>(gathered: &Gathered<M, T>, lead: String) -> String {
    if is_dark(gathered) { NOBODY.to_owned() } else { lead }
}

/// A count, if anybody contributed to it.
pub fn known<M, T>(gathered: &Gathered<M, T>, count: usize) -> Option<usize> {
    (!is_dark(gathered)).then_some(count)
}

/// Adds what the token does not see of what `ids` of [`needs::NEEDS`] stand for. Says nothing where
/// the permissions are not known.
pub fn tell(
    mut report: Report,
    key: &str,
    permissions: Option<&Permissions>,
    ids: &[&str],
) -> Report {
    let Some(held) = permissions else { return report };
    if held.is_empty() {
        report.notes.push(format!("{key}: the token has no privileges at all"));
        return report;
    }
    for need in ids.iter().filter_map(|id| needs::need(id)).filter(|need| !need.is_met(held)) {
        report.notes.push(need.note(key, held));
    }
    report
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lists_that_are_cut_say_so() {
        let held = |path: &str, privilege: &str| {
            let privilege = BTreeMap::from([(privilege.to_owned(), true)]);
            Permissions::from(BTreeMap::from([(path.to_owned(), privilege)]))
        };
        let notes = |held: Permissions| {
            tell(Report::default(), "home", Some(&held), &["guests"]).notes.join("; ")
        };
        assert_eq!(notes(held("/", "VM.Audit")), "");
        assert!(notes(held("/vms/100", "VM.Audit")).contains("some guests may be missing"));
        assert!(notes(held("/", "Sys.Audit")).contains("lacks VM.Audit on /vms"));
        assert_eq!(notes(Permissions::default()), "home: the token has no privileges at all");
    }
}
