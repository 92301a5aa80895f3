//! What kind of change a plan is, told by its calls: nothing that a caller says of it counts.

use super::Nature;
use crate::PlannedCall;

/// Calls that only add, and the parameters that they may have and still only add. A backup that is
/// not told `remove=0` prunes older ones by the storage's rule.
const ADDITIVE: &[(&str, &[&str])] = &[
    ("/nodes/*/qemu/*/status/start", &["timeout"]),
    ("/nodes/*/lxc/*/status/start", &[]),
    ("/nodes/*/qemu/*/status/resume", &[]),
    ("/nodes/*/lxc/*/status/resume", &[]),
    ("/nodes/*/qemu/*/snapshot", &["snapname", "description", "vmstate"]),
    ("/nodes/*/lxc/*/snapshot", &["snapname", "description"]),
    (
        "/nodes/*/vzdump",
        &[
            "vmid",
            "storage",
            "mode",
            "compress",
            "notes-template",
            "protected",
            "bwlimit",
            "fleecing",
            "remove",
        ],
    ),
    (
        "/admin/datastore/*/verify",
        &[
            "backup-type",
            "backup-id",
            "backup-time",
            "ns",
            "max-depth",
            "ignore-verified",
            "outdated-after",
        ],
    ),
    ("/admin/verify/*/run", &[]),
    // Of the event pipeline: they hide nothing. Whoever takes the worst incident, or ends somebody
    // else's silence, says so in a parameter, and that is asked about.
    ("/event-pipeline/incidents/*/acknowledge", &[]),
    ("/event-pipeline/silences/*/end", &[]),
    ("/event-pipeline/notices", &["title", "text", "severity", "outputs"]),
];

/// Calls that take the power away.
const CUTS: &[&str] = &[
    "/nodes/*/qemu/*/status/stop",
    "/nodes/*/qemu/*/status/reset",
    "/nodes/*/lxc/*/status/stop",
    "/nodes/*/status",
    "/nodes/*/stopall",
];

// === impl Nature ===

impl Nature {
    /// The nature of a plan: one call that cuts makes it cut, and it adds only if every call does.
    pub fn of(calls: &[PlannedCall]) -> Self {
        if calls.iter().any(cuts) {
            Self::Cuts
        } else if !calls.is_empty() && calls.iter().all(adds) {
            Self::Additive
        } else {
            Self::Ordinary
        }
    }
}

fn cuts(call: &PlannedCall) -> bool {
    // A shutdown that is told so stops what does not end in time.
    let forced = call.path.ends_with("/status/shutdown")
        && call.params.iter().any(|(name, value)| name == "forceStop" && !is_off(value));
    call.method == "POST" && (forced || CUTS.iter().any(|path| fits(path, &call.path)))
}

fn is_off(value: &str) -> bool {
    matches!(value, "0" | "false" | "no" | "off")
}

fn adds(call: &PlannedCall) -> bool {
    let known = ADDITIVE.iter().find(|(path, _)| fits(path, &call.path));
    let Some((_, params)) = known.filter(|_| call.method == "POST") else { return false };
    let fine = |name: &str, value: &str| match name {
        // A backup that stops the guest does more than add.
        "mode" => value == "snapshot",
        "remove" => is_off(value),
        _ => true,
    };
    let keeps =
        !call.path.ends_with("/vzdump") || call.params.iter().any(|(name, _)| name == "remove");
    keeps
        && call
            .params
            .iter()
            .all(|(name, value)| params.contains(&name.as_str()) && fine(name, value))
}

/// Whether the path is this one; `*` is any one segment.
fn fits(pattern: &str, path: &str) -> bool {
    let path = path.strip_prefix("/api2/json").unwrap_or(path);
    let mut segments = path.split('/');
    pattern.split('/').all(|want| segments.next().is_some_and(|is| want == "*" || want == is))
        && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;

    fn call(text: &str) -> PlannedCall {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap().to_owned();
        let (method, path) = (next(), next());
        let params = words.map(|word| {
            let (name, value) = word.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        PlannedCall { member: "lab".into(), method, path, params: params.collect() }
    }

    #[test]
    fn calls_tell_what_kind_of_change_it_is() {
        let mut table = String::new();
        for calls in [
            "POST /nodes/alder/qemu/104/status/start",
            "POST /nodes/alder/qemu/104/status/start skiplock=1",
            "POST /nodes/alder/qemu/104/status/stop",
            "POST /nodes/alder/lxc/131/status/stop",
            "POST /nodes/alder/qemu/104/status/shutdown forceStop=1",
            "POST /nodes/alder/qemu/104/snapshot snapname=a",
            "DELETE /nodes/alder/qemu/104/snapshot/a",
            "POST /nodes/alder/qemu/104/snapshot/a/rollback",
            "POST /nodes/alder/vzdump vmid=104 storage=vault mode=snapshot",
            "POST /nodes/alder/vzdump vmid=104 mode=snapshot remove=0",
            "POST /nodes/alder/vzdump vmid=104 mode=stop remove=0",
            "POST /nodes/alder/vzdump vmid=104 prune-backups=keep-last=1",
            "POST /nodes/alder/status command=reboot",
            "POST /nodes/localhost/status command=shutdown",
            "POST /admin/datastore/main/verify",
            "POST /admin/datastore/main/gc",
            "PUT /nodes/alder/qemu/104/status/start",
            "POST /event-pipeline/incidents/0f1e/acknowledge",
            "POST /event-pipeline/incidents/0f1e/acknowledge critical=1",
            "POST /event-pipeline/incidents/0f1e/resolve",
            "POST /event-pipeline/silences/disk",
            "POST /event-pipeline/silences/disk/end",
            "POST /event-pipeline/silences/disk/end author=ann",
            "POST /event-pipeline/notices title=a text=b severity=info",
            "POST /nodes/alder/qemu/104/status/start;POST /nodes/alder/qemu/105/status/start",
            "POST /nodes/alder/qemu/104/status/start;POST /nodes/alder/qemu/105/status/stop",
            "POST /nodes/alder/qemu/104/status/start;PUT /nodes/alder/qemu/104/config cores=2",
        ] {
            let planned: Vec<_> = calls.split(';').map(call).collect();
            writeln!(table, "{:8} {calls}", Nature::of(&planned).as_str()).unwrap();
        }
        writeln!(table, "{:8} nothing", Nature::of(&[]).as_str()).unwrap();
        expect![[r#"
            additive POST /nodes/alder/qemu/104/status/start
            ordinary POST /nodes/alder/qemu/104/status/start skiplock=1
            cuts     POST /nodes/alder/qemu/104/status/stop
            cuts     POST /nodes/alder/lxc/131/status/stop
            cuts     POST /nodes/alder/qemu/104/status/shutdown forceStop=1
            additive POST /nodes/alder/qemu/104/snapshot snapname=a
            ordinary DELETE /nodes/alder/qemu/104/snapshot/a
            ordinary POST /nodes/alder/qemu/104/snapshot/a/rollback
            ordinary POST /nodes/alder/vzdump vmid=104 storage=vault mode=snapshot
            additive POST /nodes/alder/vzdump vmid=104 mode=snapshot remove=0
            ordinary POST /nodes/alder/vzdump vmid=104 mode=stop remove=0
            ordinary POST /nodes/alder/vzdump vmid=104 prune-backups=keep-last=1
            cuts     POST /nodes/alder/status command=reboot
            cuts     POST /nodes/localhost/status command=shutdown
            additive POST /admin/datastore/main/verify
            ordinary POST /admin/datastore/main/gc
            ordinary PUT /nodes/alder/qemu/104/status/start
            additive POST /event-pipeline/incidents/0f1e/acknowledge
            ordinary POST /event-pipeline/incidents/0f1e/acknowledge critical=1
            ordinary POST /event-pipeline/incidents/0f1e/resolve
            ordinary POST /event-pipeline/silences/disk
            additive POST /event-pipeline/silences/disk/end
            ordinary POST /event-pipeline/silences/disk/end author=ann
            additive POST /event-pipeline/notices title=a text=b severity=info
            additive POST /nodes/alder/qemu/104/status/start;POST /nodes/alder/qemu/105/status/start
            cuts     POST /nodes/alder/qemu/104/status/start;POST /nodes/alder/qemu/105/status/stop
            ordinary POST /nodes/alder/qemu/104/status/start;PUT /nodes/alder/qemu/104/config cores=2
            ordinary nothing
        "#]].assert_eq(&table);
    }
}
