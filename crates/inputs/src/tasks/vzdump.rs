//! The log of a backup run: what became of each guest.

use std::collections::BTreeMap;

use estate::VmId;

/// What became of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) vmid: VmId,
    /// Why it failed; none if it did not.
    pub(super) cause: Option<String>,
    pub(super) seconds: Option<u64>,
    /// The line that says so.
    pub(super) line: String,
}

/// The guests of a run, by the lines of its log. A guest without a last word is left out: the run's own end tells.
pub(super) fn outcomes<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Outcome> {
    let mut found: BTreeMap<VmId, Outcome> = BTreeMap::new();
    for line in lines {
        if let Some(outcome) = outcome(line) {
            found.insert(outcome.vmid, outcome);
        }
    }
    found.into_values().collect()
}

fn outcome(line: &str) -> Option<Outcome> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("INFO: Finished Backup of VM ") {
        let (vmid, time) = rest.split_once(' ').unwrap_or((rest, ""));
        let vmid = vmid.parse().ok()?;
        return Some(Outcome { vmid, cause: None, seconds: seconds(time), line: line.to_owned() });
    }
    let rest = line.strip_prefix("ERROR: Backup of VM ")?;
    let (vmid, cause) = rest.split_once(" failed - ")?;
    let (vmid, cause) = (vmid.parse().ok()?, cause.trim().to_owned());
    Some(Outcome { vmid, cause: Some(cause), seconds: None, line: line.to_owned() })
}

/// `(00:02:05)`
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let mut parts = text.split(':').map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next()?;
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_word_on_each_guest_counts() {
        let log = "\
INFO: starting new backup job: vzdump 104 105 106
INFO: Starting Backup of VM 104 (qemu)
INFO: Finished Backup of VM 104 (00:02:05)
INFO: Starting Backup of VM 105 (lxc)
ERROR: Backup of VM 105 failed - command 'lxc-freeze' failed - exit code 1
INFO: Starting Backup of VM 106 (qemu)";
        let told: Vec<String> = outcomes(log.lines())
            .into_iter()
            .map(|it| format!("{} {:?} {:?}", it.vmid, it.seconds, it.cause))
            .collect();
        assert_eq!(
            told,
            ["104 Some(125) None", "105 None Some(\"command 'lxc-freeze' failed - exit code 1\")"]
        );
    }

    proptest! {
        #[test]
        fn no_log_breaks_the_reader(
            lines in proptest::collection::vec("(INFO: Finished|ERROR:) Backup of VM .{0,30}", 0..8),
        ) {
            prop_assert!(outcomes(lines.iter().map(String::as_str)).len() <= lines.len());
        }
    }
}
