//! The way back from applied network changes: the calls that write the interfaces again as they run
//! now, and apply them. Read from the difference that the node shows, since nothing else tells what
//! runs while something waits. Pure.
//!
//! *Invariant:* either every line of the difference is understood, or there is no way back: half a
//! network is worse than one that a person looks at.

use std::collections::BTreeMap;

use pve_client::network::InterfaceKind;
use serde_json::{Value, json};

use super::place::{Written, ports};
use crate::{plan::Calls, tools::power::object};

/// Options that the server writes by itself beside those that are set, with the values that it
/// gives them. A `*` is any value.
const BY_ITSELF: &[(&str, &str)] = &[
    ("bridge-stp", "off"),
    ("bridge-fd", "0"),
    ("bridge-vids", "2-4094"),
    ("bond-miimon", "100"),
    ("bond-xmit-hash-policy", "*"),
];

/// One interface in the difference.
#[derive(Debug, Default)]
struct Part {
    goes: Vec<String>,
    comes: Vec<String>,
    /// Lines that stay.
    stays: Vec<String>,
}

/// The settings of an interface, by the arguments of `network_change`.
type Settings = BTreeMap<&'static str, Value>;

/// The calls that bring back what runs now; an error says which line has no way back.
pub(super) fn way_back(
    diff: &str,
    written: &Written,
    (cluster, node): (&str, &str),
) -> Result<Calls, String> {
    let place = json!({"cluster": cluster, "node": node});
    let call = |name: &str, action: &str, more: Settings| {
        let mut args = object(place.clone());
        args.insert("interface".to_owned(), name.into());
        args.insert("action".to_owned(), action.into());
        args.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
        ("network_change", args)
    };
    let (mut removed, mut changed, mut made) = (Calls::new(), Calls::new(), Calls::new());
    for (name, part) in &parts(diff, written)? {
        if part.goes.is_empty() && part.comes.is_empty() {
            continue;
        }
        let is_written = written.find(name).is_some();
        let is_new = part.goes.is_empty() && part.stays.is_empty() && has_head(&part.comes);
        if is_written && is_new {
            removed.push(call(name, "delete", Settings::new()));
        } else if is_written {
            let was = settings(name, &part.goes, &part.stays)?;
            let is = settings(name, &part.comes, &part.stays)?;
            let more = back(name, was, &is)?;
            if !more.is_empty() {
                changed.push(call(name, "set", more));
            }
        } else {
            let mut was = settings(name, &part.goes, &part.stays)?;
            was.entry("autostart").or_insert_with(|| false.into());
            was.insert("type", kind_of(name, &part.goes).as_str().into());
            made.push(call(name, "create", was));
        }
    }
    // Two interfaces cannot have a gateway at the same time.
    changed.sort_by_key(|(_, args)| !args.contains_key("clear"));
    // What somebody has written by then was consented to by nobody: it does not come along.
    let mut calls = vec![("network_revert", object(place.clone()))];
    calls.extend(removed.into_iter().chain(changed).chain(made));
    calls.push(("network_apply", object(place)));
    Ok(calls)
}

/// The difference by interface.
fn parts(diff: &str, written: &Written) -> Result<BTreeMap<String, Part>, String> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for piece in format!("\n{diff}").split("\n@@").skip(1) {
        let lines = piece.lines().skip(1).filter(|line| line.get(1..).is_some());
        let lines: Vec<(char, &str)> = lines
            .filter_map(|line| Some((line.chars().next()?, line.get(1..)?.trim())))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        // A piece may begin in the middle of an interface, which its own lines tell then.
        let mut interface = headless(&lines, written);
        for (mark, text) in lines {
            if let Some(name) = head(text) {
                interface = Some(name.to_owned());
            }
            let Some(name) = &interface else {
                if !matches!(mark, '+' | '-') {
                    continue;
                }
                return Err(format!("it cannot be told whose line `{text}` is"));
            };
            let part = parts.entry(name.clone()).or_default();
            match mark {
                '-' => part.goes.push(text.to_owned()),
                '+' => part.comes.push(text.to_owned()),
                _ => part.stays.push(text.to_owned()),
            }
        }
    }
    parts.remove("lo");
    Ok(parts)
}

/// The interface that a line begins the part of.
fn head(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    let word = words.next()?;
    matches!(word, "iface" | "auto" | "allow-hotplug").then(|| words.next())?
}

fn has_head(lines: &[String]) -> bool {
    lines.iter().any(|line| line.starts_with("iface "))
}

/// The interface in whose middle a piece begins: the only one that is written with all that the
/// lines up to the next head say.
fn headless(lines: &[(char, &str)], written: &Written) -> Option<String> {
    let lines = lines.iter().take_while(|(_, text)| head(text).is_none());
    let facts: Vec<(&str, &str)> = lines
        .filter(|(mark, _)| *mark != '-')
        .filter_map(|(_, text)| text.split_once(char::is_whitespace))
        .map(|(key, value)| (key, value.trim()))
        .filter(|(key, _)| {
            matches!(
                *key,
                "address" | "gateway" | "bridge-ports" | "bond-slaves" | "vlan-raw-device"
            )
        })
        .collect();
    let mut fits = written.interfaces.iter().filter(|interface| {
        facts.iter().all(|(key, value)| match *key {
            "address" => {
                [&interface.cidr, &interface.cidr6].into_iter().flatten().any(|it| it == value)
            }
            "gateway" => [&interface.gateway, &interface.gateway6]
                .into_iter()
                .flatten()
                .any(|it| it == value),
            _ => ports(interface).join(" ") == **value,
        })
    });
    match (facts.is_empty(), fits.next(), fits.next()) {
        (false, Some(one), None) => one.name.clone(),
        _ => None,
    }
}

/// What these lines set. Those that stay tell to whom an address belongs, and whether a comment is
/// whole.
fn settings(name: &str, lines: &[String], stays: &[String]) -> Result<Settings, String> {
    let mut found = Settings::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in lines {
        let unknown = || Err(format!("the server takes no such line as `{line}` of {name}"));
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text);
            continue;
        }
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        let is_v6 = value.contains(':');
        let (key, value): (&'static str, Value) = match key {
            "auto" => ("autostart", true.into()),
            "iface" if value.ends_with(" manual") || value.ends_with(" static") => continue,
            "address" if value.contains('/') => {
                (if is_v6 { "cidr6" } else { "cidr" }, value.into())
            }
            "gateway" => (if is_v6 { "gateway6" } else { "gateway" }, value.into()),
            "mtu" | "vlan-id" => match value.parse::<u32>() {
                Ok(number) if key == "mtu" => ("mtu", number.into()),
                Ok(number) => ("vlan_id", number.into()),
                Err(_) => return unknown(),
            },
            "bridge-ports" if value == "none" => continue,
            "bridge-ports" | "bond-slaves" => ("ports", value.into()),
            "bridge-vlan-aware" => ("vlan_aware", (value == "yes").into()),
            "vlan-raw-device" => ("vlan_device", value.into()),
            "bond-mode" => ("bond_mode", value.into()),
            _ if by_itself(key, value) => continue,
            _ => return unknown(),
        };
        found.insert(key, value);
    }
    // A comment cuts nobody off: one of which only a part is seen is left as it is.
    if !comment.is_empty() && !stays.iter().any(|line| line.starts_with('#')) {
        found.insert("comment", comment.join("\n").into());
    }
    Ok(found)
}

fn by_itself(key: &str, value: &str) -> bool {
    BY_ITSELF.iter().any(|(name, usual)| *name == key && (*usual == "*" || *usual == value))
}

/// What brings an interface from how it will be to how it was.
fn back(name: &str, was: Settings, is: &Settings) -> Result<Settings, String> {
    let mut clear = Vec::new();
    let mut more = Settings::new();
    for key in is.keys().filter(|key| !was.contains_key(*key)) {
        match *key {
            "autostart" | "vlan_aware" => {
                more.insert(key, false.into());
            }
            "cidr" | "cidr6" | "gateway" | "gateway6" | "mtu" | "comment" | "ports" => {
                clear.push(*key);
            }
            _ => return Err(format!("{key} of {name} cannot be taken away again")),
        }
    }
    more.extend(was.into_iter().filter(|(key, value)| is.get(key) != Some(value)));
    if !clear.is_empty() {
        more.insert("clear", json!(clear));
    }
    Ok(more)
}

/// What an interface was that goes.
fn kind_of(name: &str, lines: &[String]) -> InterfaceKind {
    let has = |key: &str| lines.iter().any(|line| line.starts_with(key));
    InterfaceKind::from(if has("bridge-ports") {
        "bridge"
    } else if has("bond-slaves") {
        "bond"
    } else if has("vlan-raw-device") || name.contains('.') {
        "vlan"
    } else {
        "eth"
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;

    fn told(diff: &str, interfaces: Value) -> String {
        let interfaces = serde_json::from_value(interfaces).unwrap();
        let written = Written { interfaces, changes: Some(diff.to_owned()) };
        match way_back(diff, &written, ("lab", "birch")) {
            Ok(calls) => calls.into_iter().fold(String::new(), |mut out, (tool, args)| {
                let place = ["cluster", "node"];
                let args = args.into_iter().filter(|(name, _)| !place.contains(&name.as_str()));
                let args: BTreeMap<String, Value> = args.collect();
                writeln!(out, "{tool} {}", serde_json::to_string(&args).unwrap()).unwrap();
                out
            }),
            Err(why) => format!("none: {why}\n"),
        }
    }

    fn bridge(more: &Value) -> Value {
        let mut row =
            json!({"iface": "vmbr0", "type": "bridge", "bridge_ports": "eno1", "autostart": 1});
        row.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        json!([row])
    }

    #[test]
    fn every_kind_of_change_has_its_opposite() {
        let head = "--- a\n+++ b\n@@ -4,9 +4,10 @@\n auto vmbr0\n iface vmbr0 inet static\n";
        let changed = format!(
            "{head}-\taddress 192.0.2.5/24\n-\tgateway 192.0.2.1\n+\taddress 192.0.2.6/24\n+\tmtu 9000\n \tbridge-ports eno1\n"
        );
        expect![[r#"
            network_revert {}
            network_change {"action":"set","cidr":"192.0.2.5/24","clear":["mtu"],"gateway":"192.0.2.1","interface":"vmbr0"}
            network_apply {}
        "#]]
        .assert_eq(&told(&changed, bridge(&json!({"cidr": "192.0.2.6/24", "mtu": 9000}))));

        let made = format!(
            "{head} \tbridge-ports eno1\n \n+auto vmbr1\n+iface vmbr1 inet static\n+\taddress 198.51.100.1/24\n+\tbridge-ports none\n+\tbridge-stp off\n+\tbridge-fd 0\n"
        );
        let mut both = bridge(&json!({}));
        both.as_array_mut().unwrap().push(json!({"iface": "vmbr1", "type": "bridge"}));
        expect![[r#"
            network_revert {}
            network_change {"action":"delete","interface":"vmbr1"}
            network_apply {}
        "#]]
        .assert_eq(&told(&made, both));

        let gone = "--- a\n+++ b\n@@ -4,9 +4,10 @@\n-auto vmbr1\n-iface vmbr1 inet static\n-\taddress 2001:db8::1/64\n-\tbridge-ports eno2\n-\tbridge-stp off\n-\tbridge-fd 0\n-#storage\n-\n auto vmbr0\n iface vmbr0 inet static\n";
        expect![[r#"
            network_revert {}
            network_change {"action":"create","autostart":true,"cidr6":"2001:db8::1/64","comment":"storage","interface":"vmbr1","ports":"eno2","type":"bridge"}
            network_apply {}
        "#]]
        .assert_eq(&told(gone, bridge(&json!({}))));
    }

    #[test]
    fn a_gateway_is_given_up_before_it_is_taken() {
        let diff = "--- a\n+++ b\n@@ -1,9 +1,9 @@\n auto vmbr0\n iface vmbr0 inet static\n \taddress 192.0.2.5/24\n-\tgateway 192.0.2.1\n \n auto vmbr1\n iface vmbr1 inet static\n+\tgateway 198.51.100.1\n";
        let rows = json!([
            {"iface": "vmbr0", "type": "bridge"}, {"iface": "vmbr1", "type": "bridge"},
        ]);
        expect![[r#"
            network_revert {}
            network_change {"action":"set","clear":["gateway"],"interface":"vmbr1"}
            network_change {"action":"set","gateway":"192.0.2.1","interface":"vmbr0"}
            network_apply {}
        "#]]
        .assert_eq(&told(diff, rows));
    }

    #[test]
    fn a_piece_without_a_head_is_known_by_what_it_says_or_not_at_all() {
        let diff = "--- a\n+++ b\n@@ -14,3 +14,4 @@\n \tbridge-ports eno1\n \tbridge-stp off\n \tbridge-fd 0\n+\tmtu 9000\n";
        expect![[r#"
            network_revert {}
            network_change {"action":"set","clear":["mtu"],"interface":"vmbr0"}
            network_apply {}
        "#]]
        .assert_eq(&told(diff, bridge(&json!({"mtu": 9000}))));
        let diff =
            "--- a\n+++ b\n@@ -14,3 +14,4 @@\n \tbridge-stp off\n \tbridge-fd 0\n+\tmtu 9000\n";
        expect![[r#"
            none: it cannot be told whose line `mtu 9000` is
        "#]]
        .assert_eq(&told(diff, bridge(&json!({"mtu": 9000}))));
    }

    #[test]
    fn what_the_api_cannot_write_has_no_way_back() {
        let head = "--- a\n+++ b\n@@ -4,9 +4,10 @@\n auto vmbr0\n iface vmbr0 inet static\n";
        for line in ["-\tpost-up ip route add 10.0.0.0/8", "-\tbridge-vids 5-9", "+\tvlan-id 5"] {
            let told = told(&format!("{head}{line}\n"), bridge(&json!({})));
            assert!(told.starts_with("none: "), "{line}: {told}");
        }
    }
}
