//! The other members of a cluster: where they are, and whether they answer from here with the
//! certificate that the cluster knows.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api_core::endpoint::Target;
use estate::NodeName;
use stdx::tls::{Fingerprint, peer_certificate};
use tokio::task::JoinSet;

use super::MemberRow;

/// How long a member may take; several are asked at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a member is reached, from its name, its address in the cluster, and the port in use.
pub(in super::super) type Address<'a> =
    dyn Fn(&NodeName, IpAddr, u16) -> SocketAddr + Send + Sync + 'a;

/// At the address that the cluster reports, on the same port.
pub(in super::super) fn as_reported(_: &NodeName, address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// An endpoint that may go into the settings.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) name: Option<NodeName>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) url: String,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// A candidate and what it showed.
pub(super) struct Member {
    pub(super) candidate: Candidate,
    seen: Seen,
}

enum Seen {
    Expected,
    Another(Fingerprint),
    Nothing,
    /// The certificate is good for a name that we do not know.
    NoName,
}

/// The endpoint that was given, with its node's name, and the others whose address is known.
pub(super) fn split(
    given: Candidate,
    rows: Vec<MemberRow>,
    port: u16,
    address_of: &Address<'_>,
) -> (Candidate, Vec<Candidate>) {
    let (local, others): (Vec<MemberRow>, Vec<MemberRow>) =
        rows.into_iter().partition(|row| row.is_local);
    let name = local.into_iter().next().map(|row| row.name);
    let others = others.into_iter().filter_map(|row| {
        let address = address_of(&row.name, row.address?, port);
        Some(Candidate {
            name: Some(row.name),
            host: address.ip().to_string(),
            port: address.port(),
            url: format!("https://{address}"),
            fingerprint: row.fingerprint,
        })
    });
    (Candidate { name, ..given }, others.collect())
}

/// Looks at the certificate of each, all at once; they come back in their order.
pub(super) async fn probe(candidates: Vec<Candidate>) -> Vec<Member> {
    let mut tasks = JoinSet::new();
    for (at, candidate) in candidates.into_iter().enumerate() {
        tasks.spawn(async move {
            let shown = peer_certificate(&candidate.host, candidate.port, PROBE_TIMEOUT).await;
            let seen = match (shown, candidate.fingerprint) {
                (Ok(shown), Some(known)) if shown.fingerprint == known => Seen::Expected,
                (Ok(shown), _) => Seen::Another(shown.fingerprint),
                (Err(_), _) => Seen::Nothing,
            };
            (at, Member { candidate, seen })
        });
    }
    let mut members = tasks.join_all().await;
    members.sort_by_key(|(at, _)| *at);
    members.into_iter().map(|(_, member)| member).collect()
}

// === impl Candidate ===

impl Candidate {
    /// The address that a person gave and confirmed.
    pub(super) fn given(target: &Target, fingerprint: Fingerprint) -> Self {
        Self {
            name: None,
            host: target.host.clone(),
            port: target.port,
            url: target.url.clone(),
            fingerprint: Some(fingerprint),
        }
    }
}

// === impl Member ===

impl Member {
    /// Whether it showed what the cluster says that it shows.
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.seen, Seen::Expected)
    }

    pub(super) fn name(&self) -> &str {
        self.candidate.name.as_ref().map_or(self.candidate.host.as_str(), NodeName::as_str)
    }

    /// A member that is left out although it answers: the address is not in its certificate.
    pub(super) fn without_name(candidate: Candidate) -> Self {
        Self { candidate, seen: Seen::NoName }
    }

    /// Address, fingerprint and what is the matter, on one line.
    pub(super) fn comment(&self) -> String {
        let known = self
            .candidate
            .fingerprint
            .map_or_else(|| "(unknown)".to_owned(), |known| known.to_string());
        let matter = match self.seen {
            Seen::Expected => String::new(),
            Seen::Another(seen) => format!(", shows another certificate: {seen}"),
            Seen::Nothing => ", does not answer from here".to_owned(),
            Seen::NoName => ", answers, but use the name that its certificate carries".to_owned(),
        };
        let (name, url) = (self.name(), &self.candidate.url);
        format!("{name} {url}, fingerprint {known}{matter}")
    }
}
