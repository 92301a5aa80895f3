//! Which tools are worth listing: those that the endpoints' tokens can use somewhere.
//!
//! What a tool cannot do without is the field `hides` of [`crate::needs`], and what it is of use with
//! the table in [`uses`]. A tool is left out only if every member that it could work with answered,
//! and none of their tokens has what it takes; a member that does not answer proves nothing.

mod uses;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use mcp_protocol::{Listing, Notifier};

use self::uses::{USES, Use};
use crate::{
    fleet::{Fleet, Member},
    needs::{NEEDS, Need, Product},
    permissions::Permissions,
};

/// How long a list waits for the first answer: what is late leaves everything listed, and the
/// clients are told when it has come.
const PATIENCE: Duration = Duration::from_millis(400);

/// For how long an answer counts, in seconds.
const TTL_SECS: i64 = 300;

/// Why tools are not listed: by tool, a sentence.
pub(crate) type Reasons = BTreeMap<String, String>;

/// Finds out, and remembers.
pub(crate) struct Offer {
    fleet: Arc<Fleet>,
    notifier: Notifier,
    known: Mutex<Option<(Timestamp, Arc<Reasons>)>>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

/// What one member's tokens hold; `None` if that could not be read.
struct Token {
    key: String,
    product: Product,
    /// The one for reads, and the one for changes; often the same.
    reads: Option<Arc<Permissions>>,
    changes: Option<Arc<Permissions>>,
}

// === impl Offer ===

impl Offer {
    pub(crate) fn new(fleet: Arc<Fleet>, notifier: Notifier) -> Self {
        Self { fleet, notifier, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Why tools are left out, asked now if it is not known from lately.
    pub(crate) async fn reasons(&self) -> Arc<Reasons> {
        let _one = self.asking.lock().await;
        if let Some(known) = self.fresh() {
            return known;
        }
        let reasons = Arc::new(reasons(&tokens(&self.fleet).await));
        *self.lock() = Some((self.fleet.now(), Arc::clone(&reasons)));
        reasons
    }

    fn fresh(&self) -> Option<Arc<Reasons>> {
        let known = self.lock();
        let (then, reasons) = known.as_ref()?;
        let age = self.fleet.now().as_second() - then.as_second();
        (0..TTL_SECS).contains(&age).then(|| Arc::clone(reasons))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Timestamp, Arc<Reasons>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seam to the protocol: the offer, shared with what looks on after a list was sent.
pub(crate) struct Listed(pub(crate) Arc<Offer>);

#[async_trait]
impl Listing for Listed {
    async fn hidden(&self) -> Arc<BTreeSet<String>> {
        let names = |reasons: &Reasons| Arc::new(reasons.keys().cloned().collect());
        if let Some(known) = self.0.fresh() {
            return names(&known);
        }
        let before = self.0.lock().as_ref().map(|(_, reasons)| Arc::clone(reasons));
        let offer = Arc::clone(&self.0);
        let mut asking = tokio::spawn(async move { offer.reasons().await });
        match tokio::time::timeout(PATIENCE, &mut asking).await {
            Ok(Ok(reasons)) => names(&reasons),
            Ok(Err(_)) => names(&before.unwrap_or_default()),
            Err(_) => {
                let before = before.unwrap_or_default();
                let hidden = names(&before);
                let notifier = self.0.notifier.clone();
                tokio::spawn(async move {
                    if asking.await.is_ok_and(|reasons| !reasons.keys().eq(before.keys())) {
                        notifier.tools_changed();
                    }
                });
                hidden
            }
        }
    }
}

async fn tokens(fleet: &Fleet) -> Vec<Token> {
    let now = fleet.now();
    let (pve, pbs) = (fleet.pve(None).unwrap_or_default(), fleet.pbs(None).unwrap_or_default());
    let deadline = fleet.deadline();
    let pve = pve.into_iter().map(|member| async move {
        let held =
            async { tokio::join!(member.permissions(now), member.operator_permissions(now)) };
        let (reads, changes) = match tokio::time::timeout(deadline, held).await {
            Ok((reads, changes)) => (reads.ok(), changes.ok()),
            Err(_) => (None, None),
        };
        Token { key: member.key().to_string(), product: Product::Pve, reads, changes }
    });
    let pbs = pbs.into_iter().map(|member| async move {
        let held =
            async { tokio::join!(member.permissions(now), member.operator_permissions(now)) };
        let (reads, changes) = match tokio::time::timeout(deadline, held).await {
            Ok((reads, changes)) => (reads.ok(), changes.ok()),
            Err(_) => (None, None),
        };
        Token { key: member.key().to_string(), product: Product::Pbs, reads, changes }
    });
    let (mut all, pbs) =
        futures::join!(futures::future::join_all(pve), futures::future::join_all(pbs));
    all.extend(pbs);
    all
}

/// The tools that no token can use, and why.
fn reasons(tokens: &[Token]) -> Reasons {
    let hiding = NEEDS.iter().flat_map(|need| need.hides);
    let names: BTreeSet<&str> =
        hiding.chain(USES.iter().flat_map(|it| it.tools)).copied().collect();
    let why = names.into_iter().filter_map(|tool| {
        let needs: Vec<&Need> = NEEDS.iter().filter(|need| need.hides.contains(&tool)).collect();
        let uses: Vec<&Use> = USES.iter().filter(|it| it.tools.contains(&tool)).collect();
        let why = unusable(tokens, &needs, &uses)?;
        Some((tool.to_owned(), why))
    });
    why.collect()
}

/// Why nobody can use a tool with these needs; `None` if somebody can, or could.
fn unusable(tokens: &[Token], needs: &[&Need], uses: &[&Use]) -> Option<String> {
    let mut lacks = Vec::new();
    for token in tokens {
        let needs: Vec<_> = needs.iter().filter(|it| it.product == token.product).collect();
        let uses: Vec<_> = uses.iter().filter(|it| it.product == token.product).collect();
        if needs.is_empty() && uses.is_empty() {
            continue;
        }
        let (reads, changes) = (token.reads.as_ref()?, token.changes.as_ref()?);
        let held = |need: &Need| if need.operate { changes } else { reads };
        let lack = needs.iter().find(|need| !need.is_partly_met(held(need)));
        let lack = lack.map(|lack| format!("{} on {}", lack.privileges[0], lack.path));
        let useless = || uses.iter().find(|it| !it.is_of_use(reads, changes));
        let lack = lack.or_else(|| useless().map(|it| it.privileges.join(" and ")))?;
        lacks.push(format!("{} lacks {lack}", token.key));
    }
    // An estate without a member of the product says nothing about tokens.
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(key: &str, product: Product, privileges: Option<&[&str]>) -> Token {
        let held = privileges.map(|privileges| {
            let held: BTreeMap<String, bool> =
                privileges.iter().map(|name| ((*name).to_owned(), true)).collect();
            Arc::new(Permissions::from(BTreeMap::from([("/".to_owned(), held)])))
        });
        Token { key: key.to_owned(), product, reads: held.clone(), changes: held }
    }

    #[test]
    fn a_tool_is_left_out_only_where_nobody_could_use_it() {
        let auditor = ["VM.Audit", "Datastore.Audit", "Sys.Audit"];
        let one = token("lab", Product::Pve, Some(&auditor));
        let why = reasons(&[one]);
        assert_eq!(why["guest_power"], "lab lacks VM.PowerMgmt on /vms");
        assert!(!why.contains_key("guests_list"));
        // Somebody can.
        let able = token("edge", Product::Pve, Some(&["VM.PowerMgmt"]));
        let why = reasons(&[token("lab", Product::Pve, Some(&auditor)), able]);
        assert!(!why.contains_key("guest_power"));
        // Somebody could.
        let silent = token("edge", Product::Pve, None);
        let why = reasons(&[token("lab", Product::Pve, Some(&auditor)), silent]);
        assert!(!why.contains_key("guest_power"));
        // Another product's token says nothing about it.
        let vault = token("vault", Product::Pbs, Some(&[]));
        let why = reasons(&[vault]);
        assert_eq!(why.get("guest_power"), None);
        assert!(why.contains_key("backup_snapshots"));
        assert_eq!(reasons(&[]), Reasons::new());
    }

    #[test]
    fn one_of_several_privileges_is_use_enough() {
        let why = reasons(&[token("lab", Product::Pve, Some(&["VM.Audit", "Sys.Audit"]))]);
        assert_eq!(why["firewall_rule_change"], "lab lacks Sys.Modify and VM.Config.Network");
        assert_eq!(why["guest_create"], "lab lacks VM.Allocate");
        assert!(!why.contains_key("firewall_get"));
        let why = reasons(&[token("lab", Product::Pve, Some(&["VM.Config.Network"]))]);
        assert!(!why.contains_key("firewall_rule_change"));
        // In a pool alone is somewhere.
        let pool = BTreeMap::from([("VM.Allocate".to_owned(), true)]);
        let pool = Permissions::from(BTreeMap::from([("/pool/web".to_owned(), pool)]));
        let held = Some(Arc::new(pool));
        let one = Token {
            key: "lab".to_owned(),
            product: Product::Pve,
            reads: held.clone(),
            changes: held,
        };
        assert!(!reasons(&[one]).contains_key("guest_create"));
        // A tool of both products is of use where one of them has it.
        let tokens = [
            token("lab", Product::Pve, Some(&["VM.Audit"])),
            token("vault", Product::Pbs, Some(&["Datastore.Prune"])),
        ];
        assert!(!reasons(&tokens).contains_key("backup_prune"));
        assert!(reasons(&tokens[..1]).contains_key("backup_prune"));
    }

    /// A tool that joins later has to be looked at too.
    #[test]
    fn every_tool_is_hidden_somewhere_or_of_use_to_everybody() {
        let hidden = reasons(&[
            token("lab", Product::Pve, Some(&[])),
            token("vault", Product::Pbs, Some(&[])),
        ]);
        let all = crate::tools::TOOLSETS.iter().flat_map(|toolset| toolset.tools);
        for name in all.map(|tool| tool.definition().name) {
            let is_open = uses::OPEN.contains(&name);
            assert_ne!(hidden.contains_key(name), is_open, "{name}");
        }
    }
}
