//! What PBS means by its statuses and words.
//!
//! 400 is its catch-all: parameters that do not fit, objects that are not there, refusals of every
//! kind, told in plain text. The words are those of PBS 3 and 4.

use std::collections::BTreeMap;

use api_core::ErrorKind;

/// Tells what sort of failure an answer is.
pub fn classify(status: u16, message: &str, _: &BTreeMap<String, String>) -> ErrorKind {
    let lower = message.to_lowercase();
    match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::PermissionDenied,
        // An unknown path or verb is 404 too, and says so.
        404 if lower.starts_with("path '") => ErrorKind::NotImplemented,
        404 => ErrorKind::NotFound,
        400 if lower.starts_with("parameter verification") => ErrorKind::Parameter,
        502..=504 => ErrorKind::Unreachable,
        400 | 500 => by_words(&lower).unwrap_or(if status == 400 {
            ErrorKind::Parameter
        } else {
            ErrorKind::Server
        }),
        _ => ErrorKind::Server,
    }
}

/// Words that stand for one thing wherever they appear. The first that fits decides.
const WORDS: &[(&str, ErrorKind)] = &[
    ("detected modified configuration", ErrorKind::Conflict),
    ("already exists", ErrorKind::AlreadyExists),
    ("no such file or directory", ErrorKind::Server),
    ("no such", ErrorKind::NotFound),
    ("does not exist", ErrorKind::NotFound),
    ("unable to find", ErrorKind::NotFound),
    ("' not found", ErrorKind::NotFound),
    ("snapshot is in use", ErrorKind::Busy),
    ("locked by another operation", ErrorKind::Busy),
    ("unable to acquire lock", ErrorKind::Busy),
    ("unable to get lock", ErrorKind::Busy),
    ("unable to get exclusive lock", ErrorKind::Busy),
    ("maintenance mode", ErrorKind::Busy),
    ("unable to read", ErrorKind::Server),
    ("failed", ErrorKind::Server),
    ("cannot remove protected", ErrorKind::Server),
];

fn by_words(message: &str) -> Option<ErrorKind> {
    let word = WORDS.iter().find(|(words, _)| message.contains(words));
    word.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wording of a PBS 4.2, and for what needs a second writer, of its sources.
    const ANSWERS: &[(u16, &str, ErrorKind)] = &[
        (401, "authentication failed", ErrorKind::Unauthorized),
        (401, "permission check failed.", ErrorKind::Unauthorized),
        (403, "permission check failed", ErrorKind::PermissionDenied),
        (
            403,
            "permission check failed - missing Datastore.Modify|Datastore.Prune on /datastore/lab",
            ErrorKind::PermissionDenied,
        ),
        (400, "no such datastore 'nope'", ErrorKind::NotFound),
        (400, "no such pool 'x'", ErrorKind::NotFound),
        (400, "acme account 'x' does not exist", ErrorKind::NotFound),
        (400, "datastore 'main' already exists.", ErrorKind::AlreadyExists),
        (
            400,
            "parameter verification failed - 'colour': schema does not allow additional properties.",
            ErrorKind::Parameter,
        ),
        (
            400,
            "parameter verification failed - 'keep-last': Expected integer value.",
            ErrorKind::Parameter,
        ),
        (
            400,
            "detected modified configuration - file changed by other user? Try again.",
            ErrorKind::Conflict,
        ),
        (400, "failed to delete snapshot - cannot remove protected snapshot", ErrorKind::Server),
        (400, "systemctl show failed with exit status: 1", ErrorKind::Server),
        (
            400,
            "failed to execute \"zpool\" \"list\" - No such file or directory (os error 2)",
            ErrorKind::Server,
        ),
        (400, "unable to get exclusive lock - EWOULDBLOCK", ErrorKind::Busy),
        (400, "error decoding base64 data", ErrorKind::Parameter),
        (404, "no such plugin", ErrorKind::NotFound),
        (404, "endpoint 'eth0' not found", ErrorKind::NotFound),
        (404, "no such tfa entry: lab@pbs/x", ErrorKind::NotFound),
        (404, "Path '/api2/json/nope' not found.", ErrorKind::NotImplemented),
        (500, "boom", ErrorKind::Server),
    ];

    #[test]
    fn statuses_and_words_say_what_it_is() {
        for &(status, message, kind) in ANSWERS {
            assert_eq!(classify(status, message, &BTreeMap::new()), kind, "{status} {message}");
        }
    }

    #[test]
    fn every_recorded_refusal_is_told_apart() {
        let Some(recorded) = testkit::fixtures::json("recorded/conversations.json") else { return };
        let mut seen = BTreeMap::new();
        for exchange in recorded["pbs"].as_array().expect("a list") {
            let status =
                exchange["status"].as_u64().and_then(|s| u16::try_from(s).ok()).expect("a status");
            if status != 200 {
                let message = exchange["text"].as_str().unwrap_or_default();
                let kind = classify(status, message, &BTreeMap::new());
                *seen.entry(format!("{kind:?}")).or_insert(0) += 1;
            }
        }
        expect_test::expect![[r#"
            {
                "NotFound": 1,
                "NotImplemented": 1,
                "Parameter": 3,
                "PermissionDenied": 1,
                "Server": 1,
                "Unauthorized": 1,
            }
        "#]]
        .assert_debug_eq(&seen);
    }
}
