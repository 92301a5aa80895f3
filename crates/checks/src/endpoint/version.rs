//! Whether the release is one that we know.

use crate::{
    finding::Finding,
    product::{Product, Release, words},
};

const CHECK: &str = "version";

/// The verdict on a release.
pub(crate) fn judge(subject: &str, product: Product, release: &Release) -> Finding {
    let words = words(product);
    let shown = format!("{} {}", words.name, stdx::untrusted::line(&release.text, 40));
    let (major, _) = release.numbers;
    if release.numbers >= words.oldest && major <= words.newest {
        return Finding::pass(subject, CHECK, shown);
    }
    if major > words.newest {
        return Finding::warn(subject, CHECK, format!("{shown} is newer than this program knows"))
            .hint(format!("{} is supported; look for a newer proxmox-mcp", words.supported));
    }
    let upgrade = format!("{} is supported: upgrade the server", words.supported);
    if major == words.oldest.0 {
        return Finding::warn(subject, CHECK, format!("{shown} is old: some calls may be missing"))
            .hint(upgrade);
    }
    Finding::fail(subject, CHECK, format!("{shown} is not supported")).hint(upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn releases_are_sorted_into_known_old_and_new() {
        use Product::{Pbs, Pve};
        for (product, numbers, status) in [
            (Pve, (9, 2), Status::Pass),
            (Pve, (8, 4), Status::Pass),
            (Pve, (8, 3), Status::Warn),
            (Pve, (7, 4), Status::Fail),
            (Pve, (10, 0), Status::Warn),
            (Pbs, (4, 2), Status::Pass),
            (Pbs, (3, 4), Status::Pass),
            (Pbs, (3, 1), Status::Warn),
            (Pbs, (2, 4), Status::Fail),
            (Pbs, (0, 0), Status::Fail),
        ] {
            let release = Release { text: "x".to_owned(), numbers };
            let finding = judge("a", product, &release);
            assert_eq!(finding.status, status, "{product:?} {numbers:?}");
            assert_eq!(finding.hints.is_empty(), status == Status::Pass);
        }
    }
}
