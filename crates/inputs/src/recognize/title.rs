//! Titles of Proxmox's notifications: what they tell where no field does.
//!
//! The table is that of the templates as they are shipped, with the forms that older versions sent. An administrator
//! can change them, so whatever is read here is a guess that fields overrule.

use estate::DatastoreName;

/// What a title tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guess<'a> {
    /// The type, as the notification's field would have it.
    pub(crate) type_: &'static str,
    /// Whether it went well, where the title says so.
    pub(crate) ok: Option<bool>,
    /// The host, or for fencing the fenced node.
    pub(crate) host: Option<&'a str>,
    /// The job.
    pub(crate) job: Option<&'a str>,
    /// The datastore.
    pub(crate) datastore: Option<DatastoreName>,
    /// One line of what went wrong.
    pub(crate) cause: Option<&'a str>,
}

/// Reads a title; `None` where it is none of Proxmox's.
pub(crate) fn guess(title: &str) -> Option<Guess<'_>> {
    let title = title.trim();
    backup(title)
        .or_else(|| replication(title))
        .or_else(|| fencing(title))
        .or_else(|| of_backup_server(title))
        .or_else(|| other(title))
}

fn backup(title: &str) -> Option<Guess<'_>> {
    let (host, rest) = title.strip_prefix("vzdump backup status (")?.split_once(')')?;
    let stand = rest.trim_start_matches([' ', ':']);
    let guess = Guess { type_: "vzdump", host: Some(host), ..Guess::default() };
    if stand.starts_with("backup successful") {
        return Some(Guess { ok: Some(true), ..guess });
    }
    let cause = stand.strip_prefix("backup failed").map(|rest| rest.trim_start_matches([':', ' ']));
    let cause = cause.filter(|cause| !cause.is_empty());
    Some(Guess { ok: Some(false), cause, ..guess })
}

fn replication(title: &str) -> Option<Guess<'_>> {
    let job = title.strip_prefix("Replication Job: ")?.strip_suffix(" failed")?;
    let job = Some(job.trim_matches('\''));
    Some(Guess { type_: "replication", ok: Some(false), job, ..Guess::default() })
}

fn fencing(title: &str) -> Option<Guess<'_>> {
    let (is_done, rest) = if let Some(rest) = title.strip_prefix("Trying to fence node ") {
        (false, rest)
    } else if let Some(rest) = title.strip_prefix("Successfully fenced node ") {
        (true, rest)
    } else if let Some(rest) = title.strip_prefix("FENCE: Try to fence node ") {
        (false, rest)
    } else {
        let rest =
            title.strip_prefix("SUCCEED: fencing: acknowledged - got agent lock for node ")?;
        (true, rest)
    };
    let host = Some(quoted(rest).map_or_else(|| rest.trim_matches('\''), |(name, _)| name));
    Some(Guess { type_: "fencing", ok: Some(is_done), host, ..Guess::default() })
}

fn of_backup_server(title: &str) -> Option<Guess<'_>> {
    let datastore = |rest: &str| {
        let (name, rest) = quoted(rest)?;
        Some((DatastoreName::try_new(name).ok(), ended_well(rest)))
    };
    for (before, type_) in [
        ("Garbage Collect Datastore ", "gc"),
        ("Verify Datastore ", "verify"),
        ("Pruning datastore ", "prune"),
        ("Threshold Exceeded For Datastore ", "thresholds"),
    ] {
        if let Some((datastore, ok)) = title.strip_prefix(before).and_then(datastore) {
            return Some(Guess { type_, ok, datastore, ..Guess::default() });
        }
    }
    let type_ = match title {
        title if title.starts_with("Sync remote '") || title.starts_with("Sync local ") => "sync",
        title if title.starts_with("Tape Backup ") => "tape-backup",
        title if title.starts_with("Load Media '") => {
            return Some(Guess { type_: "tape-load", ..Guess::default() });
        }
        _ => return None,
    };
    let (before, rest) = title.split_once("datastore ")?;
    let (datastore, ok) = datastore(rest)?;
    // A tape backup's title may name its job.
    let job = (type_ == "tape-backup")
        .then(|| quoted(before.trim_start_matches("Tape Backup ")))
        .flatten();
    Some(Guess { type_, ok, datastore, job: job.map(|(job, _)| job), ..Guess::default() })
}

fn other(title: &str) -> Option<Guess<'_>> {
    if let Some(rest) = title.strip_prefix("New software packages available (") {
        let host = rest.split(')').next();
        return Some(Guess { type_: "package-updates", host, ..Guess::default() });
    }
    match title {
        "Could not renew certificate" => {
            Some(Guess { type_: "acme", ok: Some(false), ..Guess::default() })
        }
        "Test notification" => Some(Guess { type_: "test", ..Guess::default() }),
        _ => None,
    }
}

fn ended_well(rest: &str) -> Option<bool> {
    match rest.trim() {
        "successful" => Some(true),
        "failed" => Some(false),
        _ => None,
    }
}

/// What stands in single quotes at the beginning, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(title: &str, expect: &Expect) {
        let shown = guess(title).map_or_else(
            || "nothing".to_owned(),
            |g| {
                let datastore = g.datastore.map(|name| name.to_string());
                format!(
                    "{} ok={:?} host={:?} job={:?} datastore={datastore:?} cause={:?}",
                    g.type_, g.ok, g.host, g.job, g.cause
                )
            },
        );
        expect.assert_eq(&shown);
    }

    #[test]
    fn titles_of_today_and_of_older_versions() {
        check(
            "vzdump backup status (alder.lab.example): backup successful ",
            &expect![[
                r#"vzdump ok=Some(true) host=Some("alder.lab.example") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "vzdump backup status (alder): backup failed: multiple problems",
            &expect![[
                r#"vzdump ok=Some(false) host=Some("alder") job=None datastore=None cause=Some("multiple problems")"#
            ]],
        );
        check(
            "vzdump backup status (alder.lab.example): backup failed",
            &expect![[
                r#"vzdump ok=Some(false) host=Some("alder.lab.example") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "vzdump backup status (alder) : backup failed",
            &expect![[
                r#"vzdump ok=Some(false) host=Some("alder") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "Replication Job: '104-0' failed",
            &expect![[
                r#"replication ok=Some(false) host=None job=Some("104-0") datastore=None cause=None"#
            ]],
        );
        check(
            "Replication Job: 104-0 failed",
            &expect![[
                r#"replication ok=Some(false) host=None job=Some("104-0") datastore=None cause=None"#
            ]],
        );
        check(
            "Trying to fence node 'birch'",
            &expect![[
                r#"fencing ok=Some(false) host=Some("birch") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "Successfully fenced node 'birch'",
            &expect![[
                r#"fencing ok=Some(true) host=Some("birch") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "FENCE: Try to fence node 'birch'",
            &expect![[
                r#"fencing ok=Some(false) host=Some("birch") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "SUCCEED: fencing: acknowledged - got agent lock for node 'birch'",
            &expect![[
                r#"fencing ok=Some(true) host=Some("birch") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "New software packages available (alder.lab.example)",
            &expect![[
                r#"package-updates ok=None host=Some("alder.lab.example") job=None datastore=None cause=None"#
            ]],
        );
        check(
            "Garbage Collect Datastore 'main' failed",
            &expect![[r#"gc ok=Some(false) host=None job=None datastore=Some("main") cause=None"#]],
        );
        check(
            "Verify Datastore 'main' successful",
            &expect![[
                r#"verify ok=Some(true) host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Pruning datastore 'main' successful",
            &expect![[
                r#"prune ok=Some(true) host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Sync remote 'offsite' datastore 'main' failed",
            &expect![[
                r#"sync ok=Some(false) host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Sync local datastore 'main' successful",
            &expect![[
                r#"sync ok=Some(true) host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Tape Backup 'weekly' datastore 'main' failed",
            &expect![[
                r#"tape-backup ok=Some(false) host=None job=Some("weekly") datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Tape Backup datastore 'main' successful",
            &expect![[
                r#"tape-backup ok=Some(true) host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Load Media 'T0001L8' request for drive 'lto'",
            &expect!["tape-load ok=None host=None job=None datastore=None cause=None"],
        );
        check(
            "Could not renew certificate",
            &expect!["acme ok=Some(false) host=None job=None datastore=None cause=None"],
        );
        check(
            "Threshold Exceeded For Datastore 'main'",
            &expect![[
                r#"thresholds ok=None host=None job=None datastore=Some("main") cause=None"#
            ]],
        );
        check(
            "Test notification",
            &expect!["test ok=None host=None job=None datastore=None cause=None"],
        );
        check("SMART error (SelfTest) detected on host: alder", &expect!["nothing"]);
    }

    proptest! {
        #[test]
        fn no_title_panics(title in ".{0,80}", known in 0..4_usize) {
            let before = ["vzdump backup status (", "Tape Backup '", "Sync remote '", "Load Media '"][known];
            let _ = guess(&title);
            let _ = guess(&format!("{before}{title}"));
        }
    }
}
