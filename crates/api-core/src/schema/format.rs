//! Formats that a schema names without spelling them out: those of ids, names and addresses.
//!
//! The servers publish patterns for some values and only a name for others. What such a name means is
//! written down here for the formats on which calls are lost most often; where a server is known to
//! take more than one form, the widest is taken. A format that is not known here is for the server.
//!
//! *Invariant:* never stricter than the servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is wanted of a value of this format; `None` if the value has it, or the format is not known.
pub(super) fn wanted(format: &str, text: &str) -> Option<&'static str> {
    match format.strip_suffix("-list") {
        Some(one) => {
            let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '\0');
            let mut items = text.split(is_between).filter(|item| !item.is_empty());
            items.find_map(|item| one_of(one, item))
        }
        None => one_of(format, text),
    }
}

fn one_of(format: &str, text: &str) -> Option<&'static str> {
    let (fits, said) = match format {
        "pve-node" => (is_host_label(text), "give a node's name: letters, digits and - only"),
        "pve-vmid" => (is_vmid(text), "give a guest's id: a number from 100 to 999999999"),
        "pve-configid" => (
            begins(text, u8::is_ascii_alphabetic) && text.len() > 1 && made_of(text, b"_-"),
            "give an id: a letter first, then at least one letter, digit, _ or -",
        ),
        "pve-storage-id" => (
            is_storage(text),
            "give a storage's id: a letter first, then letters, digits, -, _ and .",
        ),
        "pve-volume-id" => (
            text.split_once(':')
                .is_some_and(|(storage, rest)| is_storage(storage) && !rest.is_empty()),
            "give a volume: storage:name",
        ),
        "pve-poolid" => (
            text.split('/').count() <= 3
                && text.split('/').all(|level| !level.is_empty() && made_of(level, b"._-")),
            "give a pool's id: letters, digits, ., _ and -, at most three levels",
        ),
        "pve-groupid" | "pve-roleid" => {
            (!text.is_empty() && made_of(text, b"._-"), "give letters, digits, ., _ and - only")
        }
        "pve-realm" => (
            begins(text, u8::is_ascii_alphabetic) && made_of(text, b"._-"),
            "give a realm: a letter first, then letters, digits, ., _ and -",
        ),
        "pve-userid" => (is_user(text), "give a user with its realm: name@realm"),
        "pve-tokenid" => (
            text.split_once('!').is_some_and(|(user, name)| is_user(user) && !name.is_empty()),
            "give a token: name@realm!token",
        ),
        "pve-tag" => (
            begins(text, |byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                && made_of(text, b"_+.-"),
            "give a tag: a letter, digit or _ first, then those, +, . and -",
        ),
        "pve-replication-job-id" => (
            text.split_once('-').is_some_and(|(vmid, number)| is_vmid(vmid) && is_digits(number)),
            "give a replication job: guest and number, such as 100-0",
        ),
        "ip" => (text.parse::<IpAddr>().is_ok(), "give an IP address"),
        "ipv4" => (text.parse::<Ipv4Addr>().is_ok(), "give an IPv4 address"),
        "ipv6" => (text.parse::<Ipv6Addr>().is_ok(), "give an IPv6 address"),
        "CIDR" | "FullRangeCIDR" => (is_network(text, true, true), "give a network: address/bits"),
        "CIDRv4" => (is_network(text, true, false), "give an IPv4 network: address/bits"),
        "CIDRv6" => (is_network(text, false, true), "give an IPv6 network: address/bits"),
        "IPorCIDR" => (
            text.parse::<IpAddr>().is_ok() || is_network(text, true, true),
            "give an IP address, or a network: address/bits",
        ),
        "mac-addr" => (is_mac(text), "give a MAC address: BC:24:11:…, not of a group"),
        "dns-name" => (text.split('.').all(is_host_label), "give a DNS name"),
        "disk-size" => (is_size(text), "give a size: a number with K, M, G or T"),
        _ => return None,
    };
    (!fits).then_some(said)
}

fn begins(text: &str, is: impl Fn(&u8) -> bool) -> bool {
    text.as_bytes().first().is_some_and(is)
}

/// Only letters, digits and these.
fn made_of(text: &str, others: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_host_label(text: &str) -> bool {
    !text.is_empty() && made_of(text, b"-") && !text.starts_with('-') && !text.ends_with('-')
}

fn is_vmid(text: &str) -> bool {
    is_digits(text) && (3..=9).contains(&text.len()) && !text.starts_with('0')
}

fn is_storage(text: &str) -> bool {
    begins(text, u8::is_ascii_alphabetic)
        && text.len() > 1
        && made_of(text, b"-_.")
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
}

fn is_user(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, realm)| {
        !name.is_empty()
            && !name.contains(|c: char| c.is_whitespace() || c == ':' || c == '/')
            && one_of("pve-realm", realm).is_none()
    })
}

fn is_network(text: &str, v4: bool, v6: bool) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Some(bits) = bits.parse::<u8>().ok().filter(|_| is_digits(bits)) else { return false };
    match address.parse() {
        Ok(IpAddr::V4(_)) => v4 && bits <= 32,
        Ok(IpAddr::V6(_)) => v6 && bits <= 128,
        Err(_) => false,
    }
}

fn is_mac(text: &str) -> bool {
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    let pairs: Vec<&str> = text.split(':').collect();
    // The lowest bit of the first byte says that it is a group's.
    let is_group = |pair: &str| u8::from_str_radix(pair, 16).is_ok_and(|byte| byte & 1 == 1);
    pairs.len() == 6 && pairs.iter().all(|pair| is_pair(pair)) && !is_group(pairs[0])
}

fn is_size(text: &str) -> bool {
    let number = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    match number.split_once('.') {
        Some((whole, part)) => is_digits(whole) && is_digits(part),
        None => is_digits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_servers_take_passes_and_what_they_refuse_does_not() {
        for (format, right, wrong) in [
            ("pve-node", &["pve1", "a", "n-1"][..], &["pve_1", "-a", "a-", "", "a.b"][..]),
            ("pve-vmid", &["100", "999999999"], &["99", "0100", "1000000000", "1e3", "-100"]),
            ("pve-configid", &["weekly-1", "B_2", "ab"], &["a", "1day", "a b", "", "a.b"]),
            ("pve-storage-id", &["nas", "local-lvm", "a.b1"], &["n", "1a", "nas-", "na/s", "nas."]),
            ("pve-volume-id", &["nas:iso/x.iso", "ceph-vm:vm-1-disk-0"], &["nas", ":x", "nas:"]),
            ("pve-poolid", &["web", "a/b/c", "x.y-1_2"], &["a//b", "a/b/c/d", "a b", ""]),
            ("pve-userid", &["root@pam", "a.b@x@my-realm"], &["root", "@pam", "a b@pam", "a@1x"]),
            ("pve-tokenid", &["root@pam!t"], &["root@pam", "root!t", "root@pam!"]),
            ("pve-replication-job-id", &["100-0", "999-12"], &["100", "100-", "99-0", "a-0"]),
            ("ip", &["10.0.0.1", "fe80::1"], &["10.0.0", "10.0.0.1/24", "host"]),
            ("ipv4", &["10.0.0.1"], &["fe80::1", "10.0.0.256"]),
            ("ipv6", &["fe80::1"], &["10.0.0.1"]),
            ("CIDR", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]),
            ("CIDRv4", &["10.0.0.0/8"], &["fd00::/64"]),
            ("IPorCIDR", &["10.0.0.1", "10.0.0.0/8"], &["office", "10.0.0.0/x"]),
            (
                "mac-addr",
                &["BC:24:11:00:00:01", "02:00:00:00:00:0a"],
                &["01:00:00:00:00:00", "BC:24:11", "BC-24-11-00-00-01"],
            ),
            ("dns-name", &["pve1.example.org", "a"], &["a..b", "a_b", ""]),
            ("disk-size", &["32G", "1.5T", "1024"], &["32GB", "G", "+8G", "1.", "32 G"]),
            ("pve-node-list", &["a,b", "a;b", "a\nb c", ""], &["a,b_c"]),
            ("pve-vmid-list", &["100,101"], &["100,1"]),
            ("pve-tag-list", &["web;prod", "a+b"], &["-x", "a,ö"]),
            ("never-heard-of", &["anything at all"], &[]),
        ] {
            for text in right {
                assert_eq!(wanted(format, text), None, "{format}: {text}");
            }
            for text in wrong {
                assert!(wanted(format, text).is_some(), "{format}: {text}");
            }
        }
    }
}
