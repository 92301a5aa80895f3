//! The second credential, which changes things: whether it works, and may.

use mcp_tools::needs::Product;
use stdx::Chain;
use tokio::time::{Instant, timeout};

use super::permissions::{self, Grants, Scope};
use crate::{
    endpoint::{self, Place, Refusal},
    finding::Finding,
    plan::Cx,
    product::Table,
};

const CHECK: &str = "operate";

/// Checks the second credential, if there is one. Only called once an endpoint has let the first
/// one in, so certificates are believed by now.
pub(super) async fn check(cx: &Cx<'_>, table: &Table) -> Option<Finding> {
    let credential = table.options().operate.clone()?;
    let start = Instant::now();
    let target = table.options().targets.first()?;
    let place = Place { subject: table.key().to_owned(), ..Place::new(table, target) };
    let client = match table.with_credential(credential.clone()).client() {
        Ok(client) => client,
        Err(why) => {
            let refusal = Refusal::Unusable(why);
            return Some(endpoint::auth_failed(&place, CHECK, &credential, &refusal));
        }
    };
    // One request is login and answer in one.
    let held = match timeout(cx.deadline, client.permissions()).await {
        Ok(Ok(held)) => held,
        Ok(Err(error)) => {
            let refusal = Refusal::of(&error);
            tracing::debug!(error = %Chain(&error), "operate credential refused");
            let finding = endpoint::auth_failed(&place, CHECK, &credential, &refusal);
            return Some(finding.took(start.elapsed()));
        }
        Err(_) => {
            let refusal = Refusal::Late(cx.deadline);
            let finding = endpoint::auth_failed(&place, CHECK, &credential, &refusal);
            return Some(finding.took(start.elapsed()));
        }
    };
    let who = credential.id();
    let key = table.key();
    if table.product() == Product::Pve
        && !held.has_anywhere("VM.PowerMgmt")
        && !held.has_anywhere("VM.Snapshot")
    {
        let mut grants = Grants::new(who, &held);
        let power = mcp_tools::needs::need("power").and_then(|need| grants.line(need));
        let finding = Finding::fail(key, CHECK, format!("{who} may not change any guest"));
        return Some(finding.hints(power).took(start.elapsed()));
    }
    if cx.mode != guard::Mode::Trusted {
        let detail = format!("{who} works; it is not used in mode {}", cx.mode);
        return Some(Finding::pass(key, CHECK, detail).took(start.elapsed()));
    }
    let needs = permissions::needed(cx, table.product(), Scope::Changes);
    Some(permissions::judge(key, CHECK, who, &needs, &held).took(start.elapsed()))
}
