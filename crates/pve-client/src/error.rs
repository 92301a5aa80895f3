//! What PVE means by its statuses and words.
//!
//! 500 is its catch-all: what does not exist, what exists already, what is locked, what changed
//! meanwhile all come as 500 with a sentence. The sentences are those of PVE 8 and 9.

use std::collections::BTreeMap;

use api_core::ErrorKind;

/// Tells what sort of failure an answer is.
pub fn classify(status: u16, message: &str, params: &BTreeMap<String, String>) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        // A parameter that names something is checked with the others: "no such task".
        400 => params.values().find_map(|text| by_words(text)).unwrap_or(ErrorKind::Parameter),
        501 => ErrorKind::NotImplemented,
        595 | 596 | 599 => ErrorKind::NodeUnreachable,
        // What a proxy between us and the node says.
        502..=504 => ErrorKind::Unreachable,
        _ => by_words(message).unwrap_or(ErrorKind::Server),
    }
}

/// Words that stand for one thing wherever they appear. The first that fits decides.
const WORDS: &[(&str, ErrorKind)] = &[
    ("no quorum", ErrorKind::NoQuorum),
    ("checksum mismatch", ErrorKind::Conflict),
    ("file change by other user", ErrorKind::Conflict),
    ("detected modified configuration", ErrorKind::Conflict),
    ("already exists", ErrorKind::AlreadyExists),
    ("already used", ErrorKind::AlreadyExists),
    ("already defined", ErrorKind::AlreadyExists),
    ("already in use", ErrorKind::AlreadyExists),
    ("hostname lookup", ErrorKind::NotFound),
    ("does not exist", ErrorKind::NotFound),
    ("doesn't exist", ErrorKind::NotFound),
    ("no such", ErrorKind::NotFound),
    ("unable to find", ErrorKind::NotFound),
    ("' not found", ErrorKind::NotFound),
    ("can't lock file", ErrorKind::Busy),
    ("trying to acquire lock", ErrorKind::Busy),
    ("unable to acquire", ErrorKind::Busy),
    ("got lock timeout", ErrorKind::Busy),
    ("is locked", ErrorKind::Busy),
    ("is running", ErrorKind::Busy),
    ("already running", ErrorKind::Busy),
    ("is used by", ErrorKind::Busy),
];

fn by_words(message: &str) -> Option<ErrorKind> {
    let message = message.to_lowercase();
    let word = WORDS.iter().find(|(words, _)| message.contains(words));
    word.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wording of a PVE 9.2, and for what needs a broken cluster, of its sources.
    const ANSWERS: &[(u16, &str, &str, ErrorKind)] = &[
        (401, "No ticket", "", ErrorKind::Unauthorized),
        (401, "Authentication failed!", "", ErrorKind::Unauthorized),
        (401, "Permission denied - invalid csrf token", "", ErrorKind::Unauthorized),
        (403, "Permission check failed (/vms/300, VM.PowerMgmt)", "", ErrorKind::PermissionDenied),
        (
            400,
            "Parameter verification failed.",
            "type check ('integer') failed - got 'x'",
            ErrorKind::Parameter,
        ),
        // Without a body: an upload's checksum that is none.
        (400, "Bad Request", "", ErrorKind::Parameter),
        (400, "Parameter verification failed.", "no such task", ErrorKind::NotFound),
        (400, "Parameter verification failed.", "No such job 'nightly'", ErrorKind::NotFound),
        (400, "Parameter verification failed.", "zone does not exist", ErrorKind::NotFound),
        (400, "Parameter verification failed.", "Token already exists.", ErrorKind::AlreadyExists),
        (404, "endpoint 'ops' not found", "", ErrorKind::NotFound),
        (
            500,
            "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist",
            "",
            ErrorKind::NotFound,
        ),
        (500, "storage 'nosuch' does not exist", "", ErrorKind::NotFound),
        (
            500,
            "hostname lookup 'nosuch' failed - failed to get address info for: nosuch: Temporary failure in name resolution",
            "",
            ErrorKind::NotFound,
        ),
        (500, "Custom cputype 'x' not found", "", ErrorKind::NotFound),
        (500, "no such IPSet 'x'", "", ErrorKind::NotFound),
        (
            500,
            "unable to create VM 300 - VM 300 already exists on node 'pve1'",
            "",
            ErrorKind::AlreadyExists,
        ),
        (500, "snapshot name 'before' already used", "", ErrorKind::AlreadyExists),
        (500, "VM is locked (snapshot)", "", ErrorKind::Busy),
        (500, "CT is locked (backup)", "", ErrorKind::Busy),
        (500, "VM 300 is running - destroy failed", "", ErrorKind::Busy),
        (500, "VM 300 already running", "", ErrorKind::Busy),
        (
            500,
            "can't lock file '/var/lock/qemu-server/lock-300.conf' - got timeout",
            "",
            ErrorKind::Busy,
        ),
        (500, "checksum mismatch (file change by other user?)", "", ErrorKind::Conflict),
        (
            500,
            "detected modified configuration - file changed by other user? Try again.",
            "",
            ErrorKind::Conflict,
        ),
        (500, "cfs-lock 'file-user_cfg' error: no quorum!", "", ErrorKind::NoQuorum),
        (500, "cluster not ready - no quorum?", "", ErrorKind::NoQuorum),
        (500, "QEMU guest agent is not running", "", ErrorKind::Server),
        (500, "VM 300 not running", "", ErrorKind::Server),
        (501, "Method 'GET /nope' not implemented", "", ErrorKind::NotImplemented),
        (501, "method 'PATCH' not available", "", ErrorKind::NotImplemented),
        (595, "Connection refused", "", ErrorKind::NodeUnreachable),
        (595, "No route to host", "", ErrorKind::NodeUnreachable),
        (596, "Connection timed out", "", ErrorKind::NodeUnreachable),
        (599, "Too many redirections", "", ErrorKind::NodeUnreachable),
    ];

    #[test]
    fn statuses_and_words_say_what_it_is() {
        for &(status, message, param, kind) in ANSWERS {
            let params = (!param.is_empty()).then(|| ("x".to_owned(), param.to_owned()));
            let params = params.into_iter().collect();
            assert_eq!(classify(status, message, &params), kind, "{status} {message} {param}");
        }
    }

    #[test]
    fn every_recorded_refusal_is_told_apart() {
        let Some(recorded) = testkit::fixtures::json("recorded/conversations.json") else { return };
        let mut seen = BTreeMap::new();
        for exchange in recorded["pve"].as_array().expect("a list") {
            let status =
                exchange["status"].as_u64().and_then(|s| u16::try_from(s).ok()).expect("a status");
            if status == 200 {
                continue;
            }
            let message = exchange["json"]["message"]
                .as_str()
                .or(exchange["reason"].as_str())
                .unwrap_or_default();
            let params = exchange["json"]["errors"].as_object().into_iter().flatten();
            let params = params
                .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                .collect();
            *seen.entry(format!("{:?}", classify(status, message, &params))).or_insert(0) += 1;
        }
        // Every kind that the conversations provoke; `Server` only for the silent guest agent.
        expect_test::expect![[r#"
            {
                "AlreadyExists": 1,
                "Busy": 1,
                "Conflict": 1,
                "NotFound": 6,
                "NotImplemented": 2,
                "Parameter": 3,
                "PermissionDenied": 1,
                "Server": 1,
                "Unauthorized": 2,
            }
        "#]]
        .assert_debug_eq(&seen);
    }
}
