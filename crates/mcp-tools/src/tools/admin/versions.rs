//! Versions of packages and kernels, and which of two is the newer.
//!
//! *Invariant:* pure.

use std::cmp::Ordering;

/// Compares two versions as Debian does, as far as ours need it: digits as numbers, `~` before
/// everything, letters before other signs.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (words_a, rest_a) = a.split_at(a.find(|c: char| c.is_ascii_digit()).unwrap_or(a.len()));
        let (words_b, rest_b) = b.split_at(b.find(|c: char| c.is_ascii_digit()).unwrap_or(b.len()));
        let order = by_words(words_a, words_b);
        if order != Ordering::Equal {
            return order;
        }
        if rest_a.is_empty() && rest_b.is_empty() {
            return Ordering::Equal;
        }
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits_a, tail_a) = rest_a.split_at(digits(rest_a));
        let (digits_b, tail_b) = rest_b.split_at(digits(rest_b));
        let (clean_a, clean_b) =
            (digits_a.trim_start_matches('0'), digits_b.trim_start_matches('0'));
        let order = (clean_a.len(), clean_a).cmp(&(clean_b.len(), clean_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (tail_a, tail_b);
    }
}

fn by_words(a: &str, b: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => (0, 0),
        None => (1, 0),
        Some(c) if c.is_ascii_alphabetic() => (2, c as u32),
        Some(c) => (3, c as u32),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (left, right) = (a.next(), b.next());
        if left.is_none() && right.is_none() {
            return Ordering::Equal;
        }
        let order = rank(left).cmp(&rank(right));
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The release that a kernel's package installs: `proxmox-kernel-6.17.2-1-pve-signed` is
/// `6.17.2-1-pve`.
pub(super) fn kernel_of(package: &str) -> Option<&str> {
    let release =
        package.strip_prefix("proxmox-kernel-").or_else(|| package.strip_prefix("pve-kernel-"))?;
    let release = release.strip_suffix("-signed").unwrap_or(release);
    // `proxmox-kernel-6.17` and `proxmox-kernel-helper` install none of their own.
    release.ends_with("-pve").then_some(release)
}

/// What sort of update it is. The API does not tell which are for security; what Debian brings to a
/// stable release is nearly always either that or a correction of the same weight.
pub(super) fn kind_of(package: &str, new: &str, origin: Option<&str>) -> &'static str {
    let is_kernel =
        ["proxmox-kernel", "pve-kernel", "linux-image", "intel-microcode", "amd64-microcode"];
    if is_kernel.iter().any(|prefix| package.starts_with(prefix)) {
        return "kernel";
    }
    match origin {
        Some("Debian") if new.contains("deb1") || new.contains("+deb") || new.contains("~deb") => {
            "security?"
        }
        Some("Proxmox") => "proxmox",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_debian_orders_them() {
        for (older, newer) in [
            ("9.2.9", "9.2.11"),
            ("3.5.1-1", "3.5.4-1~deb13u1"),
            ("1.0~rc1", "1.0"),
            ("1.0", "1.0-1"),
            ("6.17.2-1-pve", "6.17.10-1-pve"),
            ("1.0a", "1.0+b"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{older} {newer}");
        }
        assert_eq!(compare("1.02", "1.2"), Ordering::Equal);
    }

    #[test]
    fn kernels_and_kinds() {
        assert_eq!(kernel_of("proxmox-kernel-6.17.2-1-pve-signed"), Some("6.17.2-1-pve"));
        assert_eq!(kernel_of("pve-kernel-5.15.158-2-pve"), Some("5.15.158-2-pve"));
        assert_eq!(kernel_of("proxmox-kernel-helper"), None);
        assert_eq!(kernel_of("proxmox-kernel-6.17"), None);
        assert_eq!(kind_of("openssl", "3.5.4-1~deb13u1", Some("Debian")), "security?");
        assert_eq!(kind_of("pve-manager", "9.2.11", Some("Proxmox")), "proxmox");
        assert_eq!(kind_of("proxmox-kernel-6.17", "6.17.9-1", Some("Proxmox")), "kernel");
        assert_eq!(kind_of("x", "1", None), "other");
    }
}
