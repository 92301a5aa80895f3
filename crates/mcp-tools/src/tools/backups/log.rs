//! Reads what a backup run's log says of each guest.
//!
//! A run over many guests is one task whose status is only `job errors`; which guests failed and
//! why stands in its log. Source of the wording: PVE's `VZDump.pm`.

use std::collections::BTreeMap;

use estate::VmId;

/// What a run did with a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Result {
    /// It finished.
    Done,
    /// It failed, with this cause.
    Failed(String),
}

/// The guests that the log names, with how each ended.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<VmId, Result> {
    let mut results = BTreeMap::new();
    for line in lines {
        if let Some((vmid, _)) = after(line, "Finished Backup of VM ") {
            results.insert(vmid, Result::Done);
        } else if let Some((vmid, rest)) = after(line, "Backup of VM ")
            && let Some(cause) = rest.strip_prefix(" failed - ")
        {
            results.insert(vmid, Result::Failed(cause.trim().to_owned()));
        }
    }
    results
}

/// The guest id behind `words`, and what follows it.
fn after<'a>(line: &'a str, words: &str) -> Option<(VmId, &'a str)> {
    let rest = line.split_once(words)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_its_own_result() {
        let log = [
            "INFO: starting new backup job: vzdump 100 101 --storage nas --mode snapshot",
            "INFO: Starting Backup of VM 100 (qemu)",
            "INFO: Finished Backup of VM 100 (00:01:10)",
            "INFO: Starting Backup of VM 101 (lxc)",
            "ERROR: Backup of VM 101 failed - no space left on device",
            "INFO: Backup job finished with errors",
            "TASK ERROR: job errors",
        ];
        let results = read(log);
        let id = |id| VmId::try_new(id).unwrap();
        assert_eq!(results[&id(100)], Result::Done);
        assert_eq!(results[&id(101)], Result::Failed("no space left on device".to_owned()));
        assert_eq!(results.len(), 2);
        assert!(read(["Finished Backup of VM ", "Backup of VM x failed - y"]).is_empty());
    }
}
