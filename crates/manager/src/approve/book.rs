//! Everybody who may decide, and whether a decision is theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use guard::PrincipalKind;
use guard::approval::{Approver, Decider, Question, Way, may_decide};
use guard::ports::{Approval, Approvers, DecisionRecord};
use jiff::{SignedDuration, Timestamp};

use super::code::CodeSecret;
use super::key::PublicKey;
use super::statement::{Attestor, Signature, Statement};
use crate::peer::Peer;

/// A signature is used soon after it was made.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// One approver with what proves them.
#[derive(Clone)]
pub struct Entry {
    /// Who they are.
    pub approver: Approver,
    /// Their public key.
    pub key: Option<PublicKey>,
    /// The secret of their one-time codes; only the manager has it.
    pub code: Option<Arc<CodeSecret>>,
}

/// Everybody who may decide. Cheap to clone; clones change together.
#[derive(Clone)]
pub struct Book {
    entries: Arc<RwLock<BTreeMap<String, Entry>>>,
    attestor: Arc<Attestor>,
}

// === impl Book ===

impl Book {
    /// These approvers, and the key by which this manager vouches for whom it has verified.
    pub fn new(entries: Vec<Entry>, attestor: Arc<Attestor>) -> Self {
        let this = Self { entries: Arc::default(), attestor };
        this.replace(entries);
        this
    }

    /// Puts others in their place: the settings were read anew.
    pub fn replace(&self, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(|it| (it.approver.name.clone(), it)).collect();
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    /// The approver of this name.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Entry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The approvers as whom this peer is seen: by its account, or by a group of it.
    pub fn of_peer(&self, peer: &Peer) -> Vec<Entry> {
        let principal = peer.principal();
        let is_theirs = |entry: &Entry| {
            entry.approver.is_known_as(&principal)
                || entry.approver.gid.is_some_and(|gid| peer.is_in(gid))
        };
        self.all().into_iter().filter(is_theirs).collect()
    }

    /// Vouches for a decision that was verified just now.
    #[must_use]
    pub fn attested(&self, approval: &Approval, record: DecisionRecord) -> DecisionRecord {
        let proof = self.attestor.attest(&statement(approval, &record), &record);
        DecisionRecord { signature: Some(proof), ..record }
    }

    /// Whether a signature was made just now, by this approver, for this statement.
    ///
    /// # Errors
    /// Why not.
    pub fn check_signature(
        &self,
        statement: &Statement,
        approver: &str,
        signature: &Signature,
        now: Timestamp,
    ) -> Result<Entry, String> {
        let entry = self.need(approver)?;
        let Some(key) = &entry.key else {
            return Err(format!(
                "{approver} has no key; `proxmox-mcp approver add {approver}` makes one"
            ));
        };
        if now.duration_since(signature.at).abs() > FRESH {
            return Err(
                "the signature is not of now; compare the clocks of both machines".to_owned()
            );
        }
        if !statement.is_signed(approver, key, signature) {
            return Err(format!("the signature is not {approver}'s for this"));
        }
        Ok(entry)
    }

    /// The approver of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn need(&self, name: &str) -> Result<Entry, String> {
        let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        self.entry(&name).ok_or_else(|| format!("no approver is called {name:?} in the settings"))
    }

    fn proof(&self, approval: &Approval, decision: &DecisionRecord, entry: &Entry) -> bool {
        let statement = statement(approval, decision);
        if decision.way != Way::Passphrase {
            return self.attestor.vouches_for(&statement, decision);
        }
        let signature = decision.signature.as_deref().and_then(Signature::from_text);
        let Some((signature, key)) = signature.zip(entry.key.as_ref()) else { return false };
        let asked = approval.asked_at.checked_sub(FRESH).unwrap_or(Timestamp::MIN);
        let in_time = signature.at >= asked && signature.at < approval.expires_at;
        in_time && statement.is_signed(&decision.approver, key, &signature)
    }
}

fn statement(approval: &Approval, decision: &DecisionRecord) -> Statement {
    let digest = approval.digest.as_str().to_owned();
    Statement::Decide { id: approval.id, digest, agrees: decision.agrees }
}

impl Approvers for Book {
    fn can_be_asked(&self) -> bool {
        self.all().iter().any(|entry| entry.approver.has_a_way())
    }

    fn asked(&self, of: &[String]) -> String {
        let names: Vec<String> = self
            .all()
            .into_iter()
            .filter(|entry| entry.approver.has_a_way() && entry.approver.is_one_of(of))
            .map(|entry| entry.approver.name)
            .collect();
        match names.len() {
            0 if of.is_empty() => "nobody: no approver is set up".to_owned(),
            0 => format!("{}, and none of them is set up", of.join(", ")),
            _ => names.join(", "),
        }
    }

    fn may_decide(&self, approval: &Approval, decision: &DecisionRecord) -> Result<(), String> {
        let DecisionRecord { way, principal, .. } = decision;
        if *way == Way::Client {
            return Err(
                "an answer in the client is good for the call that asked it, not later".to_owned()
            );
        }
        let entry = self.need(&decision.approver)?;
        let decider = Decider { approver: &entry.approver, principal, way: *way };
        may_decide(&Question::from(approval), &decider).map_err(|error| error.to_string())?;
        if *way == Way::PeerUid && principal.kind() != PrincipalKind::Local {
            return Err(format!("{principal} is no account of this system"));
        }
        if !self.proof(approval, decision, &entry) {
            return Err(format!("nothing proves that this decision is {}'s", decision.approver));
        }
        Ok(())
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.all().into_iter().map(|it| it.approver.name).collect();
        f.debug_struct("Book").field("approvers", &names).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("approver", &self.approver).finish_non_exhaustive()
    }
}
