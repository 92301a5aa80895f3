//! One settings table: its endpoints side by side, then what concerns them together.

mod identity;
mod members;
mod operate;
mod permissions;

use std::time::Duration;

use api_core::endpoint::{Credential, Target};
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::{
    endpoint::{self, Login},
    finding::Finding,
    plan::Cx,
    product::{Product, Table},
};

#[cfg(test)]
pub(crate) use identity::Member;
pub(crate) use identity::{Identity, PveIdentity};

/// What became known of a table.
#[derive(Debug)]
pub(crate) struct Report {
    /// Always [`count`] of them, in the same order.
    pub(crate) findings: Vec<Finding>,
    /// Who answered, as PVE tells it; `None` if nobody did.
    pub(crate) identity: Option<PveIdentity>,
}

/// How many findings a table gives.
pub(crate) fn count(table: &Table) -> usize {
    let options = table.options();
    let own = match table.product() {
        Product::Pve => 3,
        Product::Pbs => 2,
    };
    options.targets.len() * endpoint::COUNT + own + usize::from(options.operate.is_some())
}

/// Checks all of a table.
pub(crate) async fn check(cx: &Cx<'_>, table: &Table) -> Report {
    let targets = &table.options().targets;
    let asked = if is_once(&table.options().credential) {
        // A one-time code is good for one login, so the first endpoint that is fit for it gets it.
        let mut asked = Vec::with_capacity(targets.len());
        let mut login = Login::Try;
        for target in targets {
            let one = ask(cx, table, target, login).await;
            if one.endpoint.tried {
                login = Login::Spent;
            }
            asked.push(one);
        }
        asked
    } else {
        join_all(targets.iter().map(|target| ask(cx, table, target, Login::Try))).await
    };
    let mut findings = Vec::new();
    let (mut known, mut silent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = None;
    let mut slowest = Duration::ZERO;
    for Asked { endpoint, identity, elapsed } in asked {
        findings.extend(endpoint.findings);
        slowest = slowest.max(elapsed);
        match identity {
            Some(Ok(identity)) => known.push((endpoint.url, identity)),
            Some(Err(why)) => silent.push((endpoint.url, why)),
            None if endpoint.tried => refused.push(endpoint.url),
            None => {}
        }
        client = client.or(endpoint.client);
    }

    let key = table.key();
    let done = |finding: Finding| cx.meter.done(finding);
    let Some(client) = client else {
        findings.extend(skipped(table).map(done));
        return Report { findings, identity: None };
    };
    let judged = identity::judge(key, table.product(), &known, &silent);
    let judged = identity::doubt(judged, key, table.product(), &known, &refused);
    findings.push(done(judged.took(slowest)));
    if table.product() == Product::Pve {
        let seen: Vec<_> = known.iter().filter_map(|(_, identity)| identity.as_pve()).collect();
        let off = &table.options().expected_off;
        findings.push(done(members::judge(key, &seen, targets.len(), off).took(slowest)));
    }
    let (permissions, operate) =
        futures::future::join(permissions::check(cx, table, &client), operate::check(cx, table))
            .await;
    findings.push(done(permissions));
    findings.extend(operate.map(done));
    let identity = known.into_iter().find_map(|(_, identity)| identity.into_pve());
    Report { findings, identity }
}

/// One endpoint, and who it says it is if it let us in.
struct Asked {
    endpoint: endpoint::Report,
    identity: Option<Result<Identity, String>>,
    elapsed: Duration,
}

async fn ask(cx: &Cx<'_>, table: &Table, target: &Target, login: Login) -> Asked {
    let endpoint = endpoint::check(cx, table, target, login).await;
    let start = Instant::now();
    let identity = match &endpoint.client {
        None => None,
        Some(client) => {
            let answer = timeout(cx.deadline, identity::ask(client, endpoint.shown)).await;
            let late = || format!("no answer within {} s", cx.deadline.as_secs());
            Some(answer.unwrap_or_else(|_| Err(late())))
        }
    };
    Asked { endpoint, identity, elapsed: start.elapsed() }
}

/// Whether each login takes a code that is not taken twice.
fn is_once(credential: &Credential) -> bool {
    matches!(credential, Credential::Password { totp: Some(_), .. })
}

/// What the table as a whole is checked for, when nobody let us in.
fn skipped(table: &Table) -> impl Iterator<Item = Finding> {
    let checks: &[&'static str] = match table.product() {
        Product::Pve => &["cluster", "members", "permissions"],
        Product::Pbs => &["server", "permissions"],
    };
    let operate = table.options().operate.as_ref().map(|_| "operate");
    let key = table.key().to_owned();
    let checks = checks.iter().copied().chain(operate);
    checks.map(move |check| Finding::skip(&key, check, "no endpoint let us in"))
}
