//! Whether the certificate is the one that the settings ask for, and how long it lasts.

use jiff::Timestamp;
use stdx::tls::{Fingerprint, PresentedCertificate, TlsPolicy};

use super::Place;
use crate::{
    finding::Finding,
    product::{Product, words},
};

const CHECK: &str = "tls";

/// A certificate that ends within this many days is worth a word.
const SOON_DAYS: i64 = 14;

/// What a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) names: Vec<String>,
    pub(crate) not_after: Timestamp,
    pub(crate) self_signed: bool,
}

/// What came of a request over the settings' own way of believing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The certificate was believed.
    Held,
    /// It was not.
    Rejected {
        /// What was shown.
        seen: Fingerprint,
        /// What was wrong with it; nothing for a fingerprint that differs.
        why: Option<String>,
    },
    /// The settings' way of believing cannot be used here at all.
    Unusable(String),
    /// What answers does not speak TLS.
    NoTls(String),
    /// TLS aside, no answer came.
    Silent(String),
}

// === impl Shown ===

impl From<PresentedCertificate> for Shown {
    fn from(certificate: PresentedCertificate) -> Self {
        Self {
            fingerprint: certificate.fingerprint,
            names: certificate.names,
            not_after: certificate.not_after,
            self_signed: certificate.self_signed,
        }
    }
}

// === impl Trust ===

impl Trust {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Held)
    }
}

/// The verdict. `shown` is absent where a proxy stands between.
pub(crate) fn judge(
    place: &Place<'_>,
    shown: Option<&Shown>,
    trust: &Trust,
    now: Timestamp,
) -> Finding {
    match trust {
        Trust::Held => held(place, shown, now),
        Trust::Rejected { seen, why: None } => other_pin(place, *seen),
        Trust::Rejected { seen, why: Some(why) } => rejected(place, shown, *seen, why, now),
        Trust::Unusable(why) => {
            Finding::fail(&place.subject, CHECK, why).hint(match place.target.tls.policy {
                TlsPolicy::System => {
                    "install the system's roots (Debian: ca-certificates), or use \
                                      ca_file or fingerprints"
                }
                _ => "see ca_file, fingerprints and server_name of the table",
            })
        }
        Trust::NoTls(why) => {
            let words = words(place.product);
            Finding::fail(&place.subject, CHECK, why).hint(format!(
                "what listens there speaks no TLS that this program does; {} answers on port {}",
                words.name, words.port
            ))
        }
        Trust::Silent(why) => Finding::fail(&place.subject, CHECK, why).hint(format!(
            "it accepts connections and does not answer: on the server, `systemctl status {}`",
            words(place.product).service
        )),
    }
}

fn held(place: &Place<'_>, shown: Option<&Shown>, now: Timestamp) -> Finding {
    let policy = &place.target.tls.policy;
    let how = match policy {
        TlsPolicy::System => "signed by an authority that this system trusts",
        TlsPolicy::CaPem(_) => "signed by ca_file",
        TlsPolicy::Pins(_) => "the pinned certificate",
        _ => "any certificate is believed (insecure = true)",
    };
    let Some(shown) = shown else { return Finding::pass(&place.subject, CHECK, how) };
    if matches!(policy, TlsPolicy::Insecure) {
        let section = words(place.product).section;
        return Finding::warn(&place.subject, CHECK, how)
            .hint(format!(
                "whoever is on the way can read the credential: remove insecure from [{section}.{}] and pin the certificate",
                place.key
            ))
            .hint(compare(place, shown.fingerprint))
            .hint(paste(place, shown.fingerprint));
    }
    let days = days_left(shown.not_after, now);
    let date = date(shown.not_after);
    if days < 0 {
        // Only a pin is so lenient.
        return Finding::warn(&place.subject, CHECK, format!("{how}; it ended on {date}")).hint(
            format!("on the server: `{}`, then pin the new one", words(place.product).renew),
        );
    }
    if days < SOON_DAYS {
        return Finding::warn(
            &place.subject,
            CHECK,
            format!("{how}; it ends in {days} days, on {date}"),
        )
        .hint(renewal(place));
    }
    Finding::pass(&place.subject, CHECK, format!("{how}; good until {date}"))
}

fn other_pin(place: &Place<'_>, seen: Fingerprint) -> Finding {
    let detail = format!("another certificate than the pinned one: {seen}");
    Finding::fail(&place.subject, CHECK, detail)
        .hint(compare(place, seen))
        .hint(paste(place, seen))
        .hint("if it differs there too, somebody stands between: send no credential this way")
}

fn rejected(
    place: &Place<'_>,
    shown: Option<&Shown>,
    seen: Fingerprint,
    why: &str,
    now: Timestamp,
) -> Finding {
    let words = words(place.product);
    let fail = |detail: String| Finding::fail(&place.subject, CHECK, detail);
    if let Some(shown) = shown.filter(|shown| days_left(shown.not_after, now) < 0) {
        return fail(format!("the certificate ended on {}", date(shown.not_after)))
            .hint(format!("on the server: `{}`", words.renew))
            .hint("if that date lies ahead, the clock of this machine is wrong");
    }
    let lower = why.to_lowercase();
    if lower.contains("not valid for name") {
        let names = shown.map(|shown| shown.names.join(", ")).unwrap_or_default();
        let host = &place.target.host;
        let finding = fail(format!("the certificate does not name {host}; it names: {names}"));
        let Some(name) = shown.and_then(|shown| shown.names.first()) else { return finding };
        return finding.hint(format!(
            "use one of these names in endpoints, or add server_name = \"{name}\" to [{}.{}]",
            words.section, place.key
        ));
    }
    if lower.contains("not valid yet") || lower.contains("notvalidyet") {
        return fail("the certificate is not valid yet".to_owned())
            .hint("compare `date` on this machine and on the server");
    }
    let signer = match shown {
        Some(shown) if shown.self_signed => "signed by itself",
        _ => "signed by an authority of its own",
    };
    let detail = match &place.target.tls.policy {
        TlsPolicy::CaPem(_) => format!("the certificate is not signed by ca_file ({why})"),
        _ => format!("the certificate is {signer}, as is usual for {} ({why})", words.name),
    };
    let finding = fail(detail);
    let pin = compare(place, seen);
    let finding = match place.product {
        Product::Pve => finding
            .hint(format!(
                "copy /etc/pve/pve-root-ca.pem from a node of this cluster and name the copy as ca_file in [{}.{}]",
                words.section, place.key
            ))
            .hint(format!("or pin the certificate: {pin}")),
        Product::Pbs => finding
            .hint(format!("a backup server has no authority of its own, so pin its certificate: {pin}")),
    };
    finding.hint(paste(place, seen))
}

fn renewal(place: &Place<'_>) -> String {
    let renew = words(place.product).renew;
    match place.target.tls.policy {
        TlsPolicy::Pins(_) => format!(
            "before it is renewed write the next fingerprint beside this one: a list of two is taken; by hand: `{renew}`"
        ),
        _ => format!("a node renews its own certificate; by hand: `{renew}`"),
    }
}

fn compare(place: &Place<'_>, seen: Fingerprint) -> String {
    let command = words(place.product).certificate;
    let start = seen.to_string();
    format!("on the server's own shell `{command}` must print {}…", &start[..23])
}

/// The settings line that pins the certificate.
fn paste(place: &Place<'_>, seen: Fingerprint) -> String {
    let section = words(place.product).section;
    let key = place.key;
    if place.all.len() == 1 {
        return format!("if it does, in [{section}.{key}]: fingerprint = \"{seen}\"");
    }
    let host = &place.target.host;
    let is_shared = place.all.iter().filter(|other| other.host == *host).count() > 1;
    let name = if is_shared { format!("{host}:{}", place.target.port) } else { host.clone() };
    format!("if it does, in [{section}.{key}]: fingerprints = {{ \"{name}\" = \"{seen}\", … }}")
}

fn days_left(not_after: Timestamp, now: Timestamp) -> i64 {
    (not_after.as_second() - now.as_second()).div_euclid(24 * 3600)
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
