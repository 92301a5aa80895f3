//! Which rule of the firewall decides over a packet. Pure.
//!
//! As the servers build it: a guest is filtered only where the datacenter's firewall and its own
//! are on and its network device is marked; its own rules come in their order with security groups
//! in their place, then its policy. The datacenter's rules are for the nodes, not for guests: a
//! node's own come first, then the datacenter's, then what administration needs, then the policy.

use std::{collections::BTreeMap, net::IpAddr};

/// A packet that opens a connection.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Whether it comes in.
    pub(super) is_in: bool,
    pub(super) source: Option<IpAddr>,
    pub(super) dest: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp`.
    pub(super) proto: Option<String>,
    pub(super) port: Option<u16>,
    /// `net0`.
    pub(super) interface: Option<String>,
}

/// A rule as it is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) position: u32,
    pub(super) kind: String,
    pub(super) action: String,
    pub(super) is_on: bool,
    pub(super) macro_name: Option<String>,
    pub(super) source: Option<String>,
    pub(super) dest: Option<String>,
    pub(super) proto: Option<String>,
    pub(super) sport: Option<String>,
    pub(super) dport: Option<String>,
    pub(super) interface: Option<String>,
}

/// The names that rules use.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// By `dc/name` and `guest/name`.
    pub(super) aliases: BTreeMap<String, String>,
    /// By `dc/name` and `guest/name`: address, and whether it is taken out.
    pub(super) sets: BTreeMap<String, Vec<(String, bool)>>,
    pub(super) groups: BTreeMap<String, Vec<Asked>>,
}

/// One level's rules.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// `guest lab/100`.
    pub(super) level: String,
    pub(super) rules: Vec<Asked>,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `ACCEPT`, `DROP` or `REJECT`.
    pub(super) action: String,
    /// What decided.
    pub(super) by: String,
    /// Rules before it of which it cannot be told whether they fit.
    pub(super) unsure: Vec<String>,
}

/// Whether something fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Unknown,
}

/// The first rule that fits, or the policy.
pub(super) fn decide(
    steps: &[Step],
    policy: (&str, &str),
    packet: &Packet,
    names: &Names,
) -> Verdict {
    let mut unsure = Vec::new();
    for step in steps {
        for rule in step.rules.iter().filter(|rule| rule.is_on) {
            if rule.kind == "group" {
                let interface = rule.interface.as_deref().map_or(Fit::Yes, |name| on(packet, name));
                if interface == Fit::No {
                    continue;
                }
                let members = names.groups.get(&rule.action);
                if members.is_none() {
                    unsure.push(format!(
                        "{} rule {} (group {})",
                        step.level, rule.position, rule.action
                    ));
                }
                for inner in members.into_iter().flatten().filter(|inner| inner.is_on) {
                    let at = format!(
                        "{} rule {} (group {}, rule {})",
                        step.level, rule.position, rule.action, inner.position
                    );
                    match both(interface, fits(inner, packet, names)) {
                        Fit::Yes => {
                            return Verdict { action: inner.action.clone(), by: at, unsure };
                        }
                        Fit::Unknown => unsure.push(at),
                        Fit::No => {}
                    }
                }
                continue;
            }
            let at = format!("{} rule {}", step.level, rule.position);
            match fits(rule, packet, names) {
                Fit::Yes => return Verdict { action: rule.action.clone(), by: at, unsure },
                Fit::Unknown => unsure.push(at),
                Fit::No => {}
            }
        }
    }
    Verdict { action: policy.0.to_owned(), by: policy.1.to_owned(), unsure }
}

fn both(a: Fit, b: Fit) -> Fit {
    match (a, b) {
        (Fit::No, _) | (_, Fit::No) => Fit::No,
        (Fit::Unknown, _) | (_, Fit::Unknown) => Fit::Unknown,
        _ => Fit::Yes,
    }
}

fn on(packet: &Packet, interface: &str) -> Fit {
    match packet.interface.as_deref() {
        Some(name) if name == interface => Fit::Yes,
        Some(_) => Fit::No,
        None => Fit::Unknown,
    }
}

fn fits(rule: &Asked, packet: &Packet, names: &Names) -> Fit {
    if rule.kind != if packet.is_in { "in" } else { "out" } {
        return Fit::No;
    }
    let mut fit = rule.interface.as_deref().map_or(Fit::Yes, |name| on(packet, name));
    let addresses = [(&rule.source, packet.source), (&rule.dest, packet.dest)];
    for (spec, address) in addresses {
        if let Some(spec) = spec {
            fit = both(fit, addressed(spec, address, names));
        }
    }
    if rule.sport.is_some() {
        // The port that a connection comes from is not known.
        fit = both(fit, Fit::Unknown);
    }
    match &rule.macro_name {
        Some(name) => both(fit, of_macro(name, packet)),
        None => {
            if let Some(proto) = &rule.proto {
                fit = both(fit, same_proto(proto, packet));
            }
            if let Some(ports) = &rule.dport {
                fit = both(fit, ported(ports, packet.port));
            }
            fit
        }
    }
}

fn same_proto(proto: &str, packet: &Packet) -> Fit {
    let word = match proto {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        other => other,
    };
    match packet.proto.as_deref() {
        Some(given) if given.eq_ignore_ascii_case(word) => Fit::Yes,
        Some(_) => Fit::No,
        None => Fit::Unknown,
    }
}

/// Whether a port is among `22,80:90,https`.
fn ported(spec: &str, port: Option<u16>) -> Fit {
    let Some(port) = port else { return Fit::Unknown };
    let mut found = Fit::No;
    for part in spec.split(',').map(str::trim) {
        let (low, high) = part.split_once([':', '-']).unwrap_or((part, part));
        match (service(low), service(high)) {
            (Some(low), Some(high)) if (low..=high).contains(&port) => return Fit::Yes,
            (Some(_), Some(_)) => {}
            _ => found = Fit::Unknown,
        }
    }
    found
}

fn service(name: &str) -> Option<u16> {
    name.parse().ok().or(match name {
        "ssh" => Some(22),
        "smtp" => Some(25),
        "domain" => Some(53),
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}

/// Whether an address is among `10.0.0.0/8,10.1.0.1-10.1.0.9,office,+admins`.
fn addressed(spec: &str, address: Option<IpAddr>, names: &Names) -> Fit {
    let Some(address) = address else { return Fit::Unknown };
    let mut found = Fit::No;
    for part in spec.split(',').map(str::trim) {
        let fit = match part.strip_prefix('+') {
            Some(set) => match named(&names.sets, set) {
                Some(entries) => in_set(entries, address, names),
                None => Fit::Unknown,
            },
            None => within(part, address, names),
        };
        match fit {
            Fit::Yes => return Fit::Yes,
            Fit::Unknown => found = Fit::Unknown,
            Fit::No => {}
        }
    }
    found
}

fn in_set(entries: &[(String, bool)], address: IpAddr, names: &Names) -> Fit {
    let mut found = Fit::No;
    for (entry, is_out) in entries {
        match (within(entry, address, names), is_out) {
            (Fit::Yes, true) => return Fit::No,
            (Fit::Yes, false) if found == Fit::No => found = Fit::Yes,
            (Fit::Unknown, _) => found = Fit::Unknown,
            _ => {}
        }
    }
    found
}

/// A name with its scope, or the guest's before the datacenter's.
fn named<'a, T>(all: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    all.get(name)
        .or_else(|| all.get(&format!("guest/{name}")))
        .or_else(|| all.get(&format!("dc/{name}")))
}

fn within(spec: &str, address: IpAddr, names: &Names) -> Fit {
    if let Some((low, high)) = spec.split_once('-')
        && let (Ok(low), Ok(high)) = (low.parse::<IpAddr>(), high.parse::<IpAddr>())
    {
        let is_in = low.is_ipv4() == address.is_ipv4() && low <= address && address <= high;
        return if is_in { Fit::Yes } else { Fit::No };
    }
    let (base, length) =
        spec.split_once('/').map_or((spec, None), |(base, length)| (base, Some(length)));
    if let Ok(base) = base.parse::<IpAddr>() {
        let is_in = match (base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let length = length.map_or(Ok(32), str::parse::<u32>).unwrap_or(33);
                covers(u128::from(base.to_bits()), u128::from(address.to_bits()), 32, length)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let length = length.map_or(Ok(128), str::parse::<u32>).unwrap_or(129);
                covers(base.to_bits(), address.to_bits(), 128, length)
            }
            _ => Some(false),
        };
        return match is_in {
            Some(true) => Fit::Yes,
            Some(false) => Fit::No,
            None => Fit::Unknown,
        };
    }
    match named(&names.aliases, spec) {
        Some(cidr) if cidr != spec => within(cidr, address, &Names::default()),
        _ => Fit::Unknown,
    }
}

fn covers(base: u128, address: u128, bits: u32, length: u32) -> Option<bool> {
    let shift = bits.checked_sub(length)?;
    Some(base.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0))
}

/// The macros that most rules use: protocol and ports.
const MACROS: &[(&str, &[(&str, &str)])] = &[
    ("dns", &[("udp", "53"), ("tcp", "53")]),
    ("ftp", &[("tcp", "21")]),
    ("http", &[("tcp", "80")]),
    ("https", &[("tcp", "443")]),
    ("imap", &[("tcp", "143")]),
    ("imaps", &[("tcp", "993")]),
    ("ldap", &[("tcp", "389")]),
    ("ldaps", &[("tcp", "636")]),
    ("mysql", &[("tcp", "3306")]),
    ("ntp", &[("udp", "123")]),
    ("ping", &[("icmp", "")]),
    ("pop3", &[("tcp", "110")]),
    ("pop3s", &[("tcp", "995")]),
    ("postgresql", &[("tcp", "5432")]),
    ("rdp", &[("tcp", "3389")]),
    ("smtp", &[("tcp", "25")]),
    ("smtps", &[("tcp", "465")]),
    ("ssh", &[("tcp", "22")]),
    ("submission", &[("tcp", "587")]),
    ("telnet", &[("tcp", "23")]),
    ("web", &[("tcp", "80"), ("tcp", "443")]),
];

fn of_macro(name: &str, packet: &Packet) -> Fit {
    let wanted = name.to_ascii_lowercase();
    let Some((_, parts)) = MACROS.iter().find(|(known, _)| *known == wanted) else {
        return Fit::Unknown;
    };
    let mut found = Fit::No;
    for (proto, ports) in *parts {
        let ports = if ports.is_empty() { Fit::Yes } else { ported(ports, packet.port) };
        match both(same_proto(proto, packet), ports) {
            Fit::Yes => return Fit::Yes,
            Fit::Unknown => found = Fit::Unknown,
            Fit::No => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(position: u32, text: &str) -> Asked {
        let mut rule = Asked { position, is_on: true, ..Asked::default() };
        for (at, word) in text.split_whitespace().enumerate() {
            match (at, word.split_once('=')) {
                (0, _) => rule.kind = word.to_owned(),
                (1, _) => rule.action = word.to_owned(),
                (_, Some(("source", value))) => rule.source = Some(value.to_owned()),
                (_, Some(("dest", value))) => rule.dest = Some(value.to_owned()),
                (_, Some(("proto", value))) => rule.proto = Some(value.to_owned()),
                (_, Some(("dport", value))) => rule.dport = Some(value.to_owned()),
                (_, Some(("macro", value))) => rule.macro_name = Some(value.to_owned()),
                (_, Some(("iface", value))) => rule.interface = Some(value.to_owned()),
                _ => rule.is_on = word != "off",
            }
        }
        rule
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut names = Names::default();
        names.aliases.insert("dc/office".to_owned(), "10.60.0.0/24".to_owned());
        let admins = vec![("10.60.0.16/28".to_owned(), false), ("10.60.0.31".to_owned(), true)];
        names.sets.insert("dc/admins".to_owned(), admins);
        names.groups.insert("web".to_owned(), vec![rule(0, "in ACCEPT macro=Web")]);
        let rules = [
            "in DROP off",
            "group web iface=net0",
            "in ACCEPT source=+admins proto=tcp dport=22,8000:8100",
            "in REJECT source=dc/office proto=tcp dport=25",
            "in ACCEPT source=10.1.0.1-10.1.0.9 proto=udp dport=53",
            "out DROP dest=192.0.2.0/24",
            "in ACCEPT source=fd00::/8 macro=SSH",
        ];
        let rules = (0..).zip(rules).map(|(at, text)| rule(at, text)).collect();
        let steps = [Step { level: "guest".to_owned(), rules }];
        let ask = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_in = words[0] == "in";
            let other: Option<IpAddr> = words[1].parse().ok();
            let packet = Packet {
                is_in,
                source: other.filter(|_| is_in),
                dest: other.filter(|_| !is_in),
                proto: Some(words[2].to_owned()),
                port: words[3].parse().ok(),
                interface: words.get(4).map(|name| (*name).to_owned()),
            };
            let policy = if is_in { ("DROP", "policy_in") } else { ("ACCEPT", "policy_out") };
            let verdict = decide(&steps, policy, &packet, &names);
            format!("{} {} {}", verdict.action, verdict.by, verdict.unsure.len())
        };
        for (line, expected) in [
            ("in 198.51.100.7 tcp 443 net0", "ACCEPT guest rule 1 (group web, rule 0) 0"),
            ("in 198.51.100.7 tcp 443 net1", "DROP policy_in 0"),
            ("in 198.51.100.7 tcp 443", "DROP policy_in 1"),
            ("in 10.60.0.20 tcp 22 net0", "ACCEPT guest rule 2 0"),
            ("in 10.60.0.20 tcp 8006 net0", "ACCEPT guest rule 2 0"),
            ("in 10.60.0.31 tcp 22 net0", "DROP policy_in 0"),
            ("in 10.60.0.99 tcp 25 net0", "REJECT guest rule 3 0"),
            ("in 10.1.0.9 udp 53 net0", "ACCEPT guest rule 4 0"),
            ("in 10.1.0.10 udp 53 net0", "DROP policy_in 0"),
            ("in fd00::5 tcp 22 net0", "ACCEPT guest rule 6 0"),
            ("out 192.0.2.9 tcp 443 net0", "DROP guest rule 5 0"),
            ("out 203.0.113.1 tcp 443 net0", "ACCEPT policy_out 0"),
            ("in ? tcp 22 net0", "DROP policy_in 2"),
        ] {
            assert_eq!(ask(line), expected, "{line}");
        }
    }
}
