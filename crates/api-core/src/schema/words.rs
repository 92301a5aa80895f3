//! Words of questions and descriptions: cut, stemmed, and which mean the same.

/// The most words of a question.
const MOST: usize = 24;
/// The most characters of a word.
const LONGEST: usize = 32;

/// Words that tell nothing apart.
const STOP: &[&str] = &[
    "a", "an", "and", "another", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for",
    "from", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "off", "on", "or",
    "other", "our", "please", "switch", "that", "the", "their", "this", "to", "turn", "used",
    "via", "want", "what", "when", "which", "with", "you",
];

/// What people call the two kinds of guest. The API's own `vm` stands in the names of both kinds'
/// calls, so the word itself tells little.
const KINDS: &[(&str, &str)] = &[
    ("container", "lxc"),
    ("ct", "lxc"),
    ("machine", "qemu"),
    ("virtual", "qemu"),
    ("vm", "qemu"),
];

/// Words for the same thing: the first is what people say, the others what the API says.
const SAME: &[(&str, &[&str])] = &[
    ("address", &["network", "ip", "interface"]),
    ("backup", &["vzdump", "snapshot"]),
    ("blockdevice", &["disk"]),
    ("bridge", &["network"]),
    ("cert", &["certificate"]),
    ("certificate", &["cert", "acme"]),
    ("change", &["update", "set", "config", "modify"]),
    ("clean", &["prune", "garbage"]),
    ("configuration", &["config"]),
    ("console", &["vncproxy", "termproxy", "spiceproxy"]),
    ("copy", &["clone", "sync"]),
    ("cpu", &["core", "socket"]),
    ("delete", &["remove", "destroy"]),
    ("destroy", &["delete", "remove"]),
    ("disk", &["volume", "drive"]),
    ("drive", &["disk", "volume"]),
    ("edit", &["update", "set", "config"]),
    ("enlarge", &["resize"]),
    ("erase", &["wipe", "wipedisk", "delete"]),
    ("execute", &["exec"]),
    ("free", &["next", "nextid"]),
    ("gc", &["garbage"]),
    ("grow", &["resize"]),
    ("guest", &["qemu", "lxc", "vm"]),
    ("halt", &["shutdown", "stop"]),
    ("health", &["status", "smart"]),
    ("history", &["rrddata", "log"]),
    ("image", &["iso", "template"]),
    ("install", &["create", "apt"]),
    ("ip", &["network", "interface", "address"]),
    ("line", &["log"]),
    ("login", &["ticket", "realm"]),
    ("memory", &["ram"]),
    ("modify", &["update", "set", "config"]),
    ("move", &["migrate"]),
    ("nic", &["network", "net", "interface"]),
    ("package", &["apt", "upgrade"]),
    ("patch", &["apt", "update"]),
    ("pause", &["suspend"]),
    ("pending", &["available"]),
    ("permission", &["acl", "privilege", "role"]),
    ("privilege", &["permission", "acl", "role"]),
    ("purge", &["prune", "remove"]),
    ("ram", &["memory"]),
    ("realm", &["domain"]),
    ("reboot", &["restart", "reset"]),
    ("remove", &["delete", "destroy", "prune"]),
    ("rename", &["config", "name"]),
    ("repo", &["repository"]),
    ("restart", &["reboot"]),
    ("retention", &["prune", "prunebackup", "keep"]),
    ("revert", &["rollback"]),
    ("right", &["permission", "acl", "privilege"]),
    ("schedule", &["job", "backup"]),
    ("shell", &["termproxy", "vncshell"]),
    ("shrink", &["resize"]),
    ("space", &["usage", "status"]),
    ("storage", &["volume", "datastore"]),
    ("tail", &["log"]),
    ("undo", &["rollback", "revert"]),
    ("upgrade", &["update", "apt"]),
    ("usage", &["status", "rrddata"]),
    ("volume", &["disk"]),
    ("wipe", &["wipedisk"]),
];

/// What people call each method.
const VERBS: &[(&str, &[&str])] = &[
    (
        "GET",
        &[
            "get", "list", "show", "view", "read", "see", "display", "query", "fetch", "find",
            "look", "who",
        ],
    ),
    (
        "POST",
        &["create", "add", "new", "make", "start", "run", "stop", "reboot", "upload", "trigger"],
    ),
    ("PUT", &["update", "change", "set", "edit", "modify", "configure", "adjust"]),
    ("DELETE", &["delete", "remove", "destroy", "drop", "erase", "purge"]),
];

/// A word of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its stem.
    pub(super) stem: String,
    /// The method that it names.
    pub(super) method: Option<&'static str>,
}

/// The words of a text in lowercase; those that tell nothing are left out.
fn plain(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(LONGEST).collect::<String>().to_ascii_lowercase())
        .filter(|word| !STOP.contains(&word.as_str()))
}

/// The stemmed words of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    plain(text).map(|word| stem(&word))
}

/// The words of a question.
pub(super) fn question(text: &str) -> Vec<Asked> {
    let asked = |word: String| Asked { stem: stem(&word), method: verb(&word) };
    plain(text).take(MOST).map(asked).collect()
}

/// Words of the API for one that people use.
pub(super) fn same(asked: &str) -> &'static [&'static str] {
    let found = SAME.iter().find(|(word, _)| stem(word) == asked);
    found.map(|(_, same)| *same).unwrap_or_default()
}

/// The kind of guest that a word means.
pub(super) fn kind(asked: &str) -> Option<&'static str> {
    KINDS.iter().find(|(word, _)| *word == asked).map(|(_, kind)| *kind)
}

/// Whether this is the API's name of a kind of guest.
pub(super) fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(_, kind)| *kind == name)
}

/// The method that a word names.
fn verb(word: &str) -> Option<&'static str> {
    VERBS.iter().find(|(_, words)| words.contains(&word)).map(|(method, _)| *method)
}

/// Cuts the endings that make one word of several: plural, -ing, -ed.
pub(super) fn stem(word: &str) -> String {
    let long = |stem: &str| stem.len() >= 3 && stem.bytes().any(|c| b"aeiouy".contains(&c));
    let is_word = word.bytes().all(|c| c.is_ascii_alphabetic());
    if !is_word || word.len() < 4 {
        return word.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return if stem.len() > 2 { format!("{stem}y") } else { word.to_owned() };
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].to_owned();
        }
    }
    if let Some(stem) = word.strip_suffix("ing").filter(|stem| long(stem)) {
        return undouble(stem);
    }
    if let Some(stem) = word.strip_suffix("ed").filter(|stem| long(stem)) {
        return undouble(stem);
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with(['s', 'u', 'i']) => drop_e(stem),
        _ => drop_e(word),
    }
}

/// `running` gives `runn` gives `run`.
fn undouble(stem: &str) -> String {
    let bytes = stem.as_bytes();
    let doubled = bytes.len() > 3 && bytes[bytes.len() - 1] == bytes[bytes.len() - 2];
    if doubled && !stem.ends_with("ll") && !stem.ends_with("ss") {
        return stem[..stem.len() - 1].to_owned();
    }
    drop_e(stem)
}

/// `update`, `updating` and `updated` end alike.
fn drop_e(stem: &str) -> String {
    match stem.strip_suffix('e') {
        Some(short) if short.len() >= 3 => short.to_owned(),
        _ => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_do_not_matter() {
        for same in [
            &["disk", "disks"][..],
            &["update", "updates", "updated", "updating"],
            &["policy", "policies"],
            &["run", "running", "runs"],
            &["resize", "resizing"],
            &["address", "addresses"],
            &["storage", "storages"],
            &["move", "moved", "moves"],
        ] {
            let stems: Vec<_> = same.iter().map(|word| stem(word)).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{same:?} gives {stems:?}");
        }
        assert_eq!(stem("status"), "status");
        assert_eq!(stem("lxc"), "lxc");
    }
}
