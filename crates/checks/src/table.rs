//! One settings table: its endpoints side by side, then what concerns them together.

mod identity;
mod members;
mod operate;
mod permissions;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::{
    endpoint,
    finding::Finding,
    plan::Cx,
    product::{Product, Table},
};

pub(crate) use identity::PveIdentity;
#[cfg(test)]
pub(crate) use identity::Member;

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
    let asked = targets.iter().map(|target| async move {
        let mut endpoint = endpoint::check(cx, table, target).await;
        let start = Instant::now();
        let identity = match &endpoint.client {
            None => None,
            Some(client) => {
                let shown = endpoint.shown;
                timeout(cx.deadline, identity::ask(client, shown)).await.unwrap_or_else(|_| {
                    Err(format!("no answer within {} s", cx.deadline.as_secs()))
                }).map_err(|why| tracing::debug!(why, "identity not told")).ok()
            }
        };
        let findings = std::mem::take(&mut endpoint.findings);
        (findings, endpoint, identity, start.elapsed())
    });
    let mut findings = Vec::new();
    let mut known = Vec::new();
    let mut client = None;
    let mut slowest = std::time::Duration::ZERO;
    for (own, endpoint, identity, elapsed) in join_all(asked).await {
        findings.extend(own);
        slowest = slowest.max(elapsed);
        known.extend(identity.map(|identity| (endpoint.url, identity)));
        client = client.or(endpoint.client);
    }

    let key = table.key();
    let done = |finding: Finding| cx.meter.done(finding);
    let Some(client) = client else {
        findings.extend(skipped(table).map(done));
        return Report { findings, identity: None };
    };
    findings.push(done(identity::judge(key, table.product(), &known).took(slowest)));
    if table.product() == Product::Pve {
        let seen: Vec<_> = known.iter().filter_map(|(_, identity)| identity.as_pve()).collect();
        let off = &table.options().expected_off;
        findings.push(done(members::judge(key, &seen, targets.len(), off).took(slowest)));
    }
    let (permissions, operate) = futures::future::join(
        permissions::check(cx, table, &client),
        operate::check(cx, table),
    )
    .await;
    findings.push(done(permissions));
    findings.extend(operate.map(done));
    let identity = known.into_iter().find_map(|(_, identity)| identity.into_pve());
    Report { findings, identity }
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
