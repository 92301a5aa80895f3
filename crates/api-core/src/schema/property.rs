//! Property strings: `virtio,bridge=vmbr0,firewall=1` in one parameter.

use super::{
    Param,
    problem::{Problem, ProblemKind, listed, nearest},
    value,
};

/// Checks the keys and their values. Only what is certainly wrong is told: the server knows more
/// forms of some than its schema says.
pub(super) fn check(param: Param<'_>, place: &str, text: &str, problems: &mut Vec<Problem>) {
    // A quoted value can hold commas; nobody but the server knows how it is read.
    if text.contains('"') {
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        let (key, given) = match piece.split_once('=') {
            Some((key, given)) => (key.trim(), given),
            None => match param.keys().find(|key| key.is_default_key()) {
                Some(key) => (key.name(), piece),
                None if param.is_open() => continue,
                None => {
                    let said = format!("write key=value with the keys {}", names(param));
                    problems.push(Problem::new(place, ProblemKind::Type, said));
                    continue;
                }
            },
        };
        let Some(found) = super::find(param.keys(), key) else {
            if !param.is_open() {
                let close = nearest(key, param.keys().map(Param::name));
                let close =
                    close.map(|close| format!("; did you mean {close}?")).unwrap_or_default();
                let said = format!("there is no such key: there are {}{close}", names(param));
                let place = format!("{place}.{}", stdx::untrusted::line(key, 40));
                problems.push(Problem::new(place, ProblemKind::Unknown, said));
            }
            continue;
        };
        // `virtio=AA:…` gives the model by its name and the address as its value.
        let meant = if found.alias().is_empty() {
            found
        } else {
            seen.push(found.name());
            super::find(param.keys(), found.alias()).unwrap_or(found)
        };
        seen.push(meant.name());
        value::check(meant, &format!("{place}.{key}"), given.to_owned(), problems);
    }
    let missing = param.keys().filter(|key| {
        let is_named = seen.contains(&key.name());
        // A key that has other names may be there under one of those.
        let has_aliases = param.keys().any(|other| !other.alias().is_empty());
        !key.is_optional() && key.alias().is_empty() && !is_named && !has_aliases
    });
    for key in missing {
        let said = "it is needed".to_owned();
        problems.push(Problem::new(format!("{place}.{}", key.name()), ProblemKind::Missing, said));
    }
}

fn names(param: Param<'_>) -> String {
    let mut names: Vec<_> =
        param.keys().filter(|key| key.alias().is_empty()).map(Param::name).collect();
    if names.is_empty() {
        names = param.keys().map(Param::name).collect();
    }
    listed(names.into_iter())
}
