//! One address: is it there, is it who it should be, does it let us in, what is it.

mod auth;
mod clock;
mod reach;
mod tls;
mod version;

use std::sync::Arc;

use api_core::{ApiClient, Error, ErrorKind, FailoverOptions, Request, endpoint::Target, path};
use stdx::{
    Chain,
    http::Proxy,
    tls::{self as stdx_tls, Fingerprint, TlsError},
};
use tokio::time::{Instant, timeout};

use self::tls::{Shown, Trust};
use crate::{
    finding::Finding,
    plan::Cx,
    product::{Client, Product, Table},
};

/// How many findings one endpoint gives.
pub(crate) const COUNT: usize = 5;

/// What became known of an endpoint.
#[derive(Debug)]
pub(crate) struct Report {
    /// Its address.
    pub(crate) url: String,
    /// Always [`COUNT`] of them, in the same order.
    pub(crate) findings: Vec<Finding>,
    /// A client for this endpoint alone, if the login worked.
    pub(crate) client: Option<Client>,
    /// Whether the credential was sent.
    pub(crate) tried: bool,
    /// The certificate that it showed, if it was looked at.
    pub(crate) shown: Option<Fingerprint>,
}

/// Whether an endpoint may be given the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// Yes.
    Try,
    /// No: its one-time code went to another endpoint.
    Spent,
}

/// The endpoint in a finding: whose it is and where.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) subject: String,
    pub(crate) product: Product,
    pub(crate) key: &'a str,
    pub(crate) target: &'a Target,
    /// The addresses of the table, this one included.
    pub(crate) all: &'a [Target],
}

/// An answer that needed no login.
struct Open {
    trust: Trust,
    date: Option<String>,
    sent: jiff::Timestamp,
    received: jiff::Timestamp,
}

// === impl Place ===

impl<'a> Place<'a> {
    pub(crate) fn new(table: &'a Table, target: &'a Target) -> Self {
        Self {
            subject: format!("{} {}", table.key(), target.url),
            product: table.product(),
            key: table.key(),
            target,
            all: &table.options().targets,
        }
    }
}

/// Checks one endpoint, one thing after the other; what cannot be known is skipped.
pub(crate) async fn check(cx: &Cx<'_>, table: &Table, target: &Target, login: Login) -> Report {
    let place = Place::new(table, target);
    let only = table.only(target);
    let mut report = Report {
        url: target.url.clone(),
        findings: Vec::with_capacity(COUNT),
        client: None,
        tried: false,
        shown: None,
    };
    let mut tell = |finding: Finding, since: Instant| {
        report.findings.push(cx.meter.done(finding.took(since.elapsed())));
    };

    let start = Instant::now();
    let looked = look(cx, table, &place).await;
    let shown = match looked {
        Ok(Looked::Shown(shown)) => Some(shown),
        Ok(Looked::NotAsked) => None,
        Ok(Looked::NoTls(why)) => {
            tell(reach::passed(&place), start);
            tell(tls::judge(&place, None, &Trust::NoTls(why), cx.clock.now()), start);
            for check in ["auth", "clock", "version"] {
                tell(Finding::skip(&place.subject, check, "tls failed"), Instant::now());
            }
            return report;
        }
        Err(obstacle) => {
            tell(reach::failed(&place, &obstacle), start);
            for check in ["tls", "auth", "clock", "version"] {
                tell(Finding::skip(&place.subject, check, "not reached"), Instant::now());
            }
            return report;
        }
    };
    if shown.is_some() {
        tell(reach::passed(&place), start);
    }

    let begun = Instant::now();
    let open = open(cx, &only).await;
    if shown.is_none() {
        // Through a proxy the first answer is all there is to go by.
        if let Trust::Silent(why) = &open.trust {
            tell(reach::failed(&place, &reach::Obstacle::Proxy(why.clone())), start);
            for check in ["tls", "auth", "clock", "version"] {
                tell(Finding::skip(&place.subject, check, "not reached"), Instant::now());
            }
            return report;
        }
        tell(reach::through_proxy(&place), start);
    }
    tell(tls::judge(&place, shown.as_ref(), &open.trust, cx.clock.now()), begun);
    let fingerprint = shown.map(|shown| shown.fingerprint);
    if !open.trust.is_good() {
        for check in ["auth", "clock", "version"] {
            tell(Finding::skip(&place.subject, check, "tls failed"), Instant::now());
        }
        report.shown = fingerprint;
        return report;
    }

    let begun = Instant::now();
    if login == Login::Spent {
        let why = "a one-time code is good for one login: see the other endpoints";
        tell(Finding::skip(&place.subject, "auth", why), begun);
        tell(clock::judge(&place.subject, open.date.as_deref(), open.sent, open.received), begun);
        tell(Finding::skip(&place.subject, "version", "not logged in"), begun);
        report.shown = fingerprint;
        return report;
    }
    let credential = &table.options().credential;
    let answer = match only.client() {
        Ok(client) => match timeout(cx.deadline, client.release()).await {
            Ok(answer) => {
                answer.map(|release| (client, release)).map_err(|error| auth::Refusal::of(&error))
            }
            Err(_) => Err(auth::Refusal::Late(cx.deadline)),
        },
        Err(why) => Err(auth::Refusal::Unusable(why)),
    };
    match answer {
        Ok((client, release)) => {
            tell(auth::passed(&place, credential), begun);
            tell(
                clock::judge(&place.subject, open.date.as_deref(), open.sent, open.received),
                begun,
            );
            tell(version::judge(&place.subject, place.product, &release), begun);
            report.client = Some(client);
        }
        Err(refusal) => {
            tell(auth::failed(&place, "auth", credential, &refusal), begun);
            tell(
                clock::judge(&place.subject, open.date.as_deref(), open.sent, open.received),
                begun,
            );
            tell(Finding::skip(&place.subject, "version", "auth failed"), begun);
        }
    }
    report.tried = true;
    report.shown = fingerprint;
    report
}

pub(crate) use auth::{Refusal, failed as auth_failed};

/// What a first look at the address gave.
enum Looked {
    Shown(Shown),
    /// There is a proxy between, so a direct look would prove nothing.
    NotAsked,
    /// Something answers that does not speak TLS.
    NoTls(String),
}

/// Looks up the name, connects, and lets the server show its certificate.
async fn look(cx: &Cx<'_>, table: &Table, place: &Place<'_>) -> Result<Looked, reach::Obstacle> {
    let options = table.options();
    if options.proxy != Proxy::None {
        return Ok(Looked::NotAsked);
    }
    let (host, port) = (place.target.host.as_str(), place.target.port);
    let patience = options.connect_timeout.min(cx.deadline);
    match timeout(patience, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(mut addresses)) => {
            if addresses.next().is_none() {
                return Err(reach::Obstacle::NoName("no address belongs to it".to_owned()));
            }
        }
        Ok(Err(error)) => return Err(reach::Obstacle::NoName(error.to_string())),
        Err(_) => return Err(reach::Obstacle::NoName("the name servers do not answer".to_owned())),
    }
    match stdx_tls::peer_certificate(host, port, patience).await {
        Ok(certificate) => Ok(Looked::Shown(Shown::from(certificate))),
        Err(TlsError::Connect { source, .. }) => Err(reach::Obstacle::of(&source)),
        Err(TlsError::Timeout { .. }) => Err(reach::Obstacle::Silent(patience)),
        Err(error) => Ok(Looked::NoTls(Chain(&error).to_string())),
    }
}

/// Asks for something that needs no login, over the same connection settings that the tools use.
async fn open(cx: &Cx<'_>, only: &Table) -> Open {
    let transport = only.options().transport(FailoverOptions::default(), Arc::clone(&cx.clock));
    let client = ApiClient::new(Arc::new(transport), |_, _, _| ErrorKind::Server);
    let request: Request<serde_json::Value> =
        Request::get(path!["access", "domains"]).deadline(cx.deadline);
    let sent = cx.clock.now();
    let answer = timeout(cx.deadline, client.open(request)).await;
    let received = cx.clock.now();
    let (trust, date) = match answer {
        Ok(Ok(response)) => {
            let date = response.headers().get("date").and_then(|date| date.to_str().ok());
            (Trust::Held, date.map(ToOwned::to_owned))
        }
        Ok(Err(error)) => (trust_of(&error), None),
        Err(_) => (Trust::Silent(format!("no answer within {} s", cx.deadline.as_secs())), None),
    };
    Open { trust, date, sent, received }
}

fn trust_of(error: &Error) -> Trust {
    if let Some(rejected) = stdx_tls::rejection(error) {
        return Trust::Rejected {
            seen: rejected.seen(),
            why: rejected.cause().map(ToString::to_string),
        };
    }
    match error.kind() {
        ErrorKind::Tls => Trust::Unusable(Chain(error).to_string()),
        // An answer, whatever it is, came through a connection that was believed.
        _ if error.status().is_some() => Trust::Held,
        _ => Trust::Silent(Chain(error).to_string()),
    }
}
