//! Takes decisions, whichever way they come: verifies whose they are, asks the guard whether they
//! count, writes them down once, and lets the work begin.

use std::sync::Arc;

use async_trait::async_trait;
use control_api::{Error, ErrorKind, Proof};
use guard::approval::{Decider, Way};
use guard::ports::{
    ActionId, ActionState, Actions, Approval, ApprovalId, Approvers as _, Brakes, Confirm,
    ConfirmId, Confirms, ConsentInbox, DecisionRecord, Freeze, Freezes, PortError, PortErrorKind,
    Pressed,
};
use guard::{Principal, PrincipalKind};
use jiff::Timestamp;
use serde_json::{Value, json};
use stdx::redact::Redactor;
use store::{NewAuditRecord, SignedLog};

use crate::approve::{Claim, CodeSecret, Entry, Links, Signature, Statement, tried};
use crate::peer::Peer;
use crate::work::Engine;

/// The longest note that is kept.
const NOTE: usize = 500;

/// Takes decisions. Cheap to clone.
#[derive(Clone)]
pub struct Deciding {
    engine: Engine,
    freezes: Arc<dyn Freezes>,
    actions: Arc<dyn Actions>,
    brakes: Arc<dyn Brakes>,
    audit: SignedLog,
    redactor: Arc<Redactor>,
}

/// Who somebody has been found to be.
struct Proven {
    entry: Entry,
    principal: Principal,
    way: Way,
    signature: Option<Signature>,
}

// === impl Deciding ===

impl Deciding {
    /// Over this engine; what is decided is written into the audit log.
    pub fn new(
        engine: Engine,
        freezes: Arc<dyn Freezes>,
        actions: Arc<dyn Actions>,
        brakes: Arc<dyn Brakes>,
        audit: SignedLog,
    ) -> Self {
        let redactor = Arc::new(Redactor::default());
        Self { engine, freezes, actions, brakes, audit, redactor }
    }

    /// Takes out of what people say what this knows for a secret, beside what looks like one.
    #[must_use]
    pub fn redacted_by(mut self, redactor: Redactor) -> Self {
        self.redactor = Arc::new(redactor);
        self
    }

    /// Somebody's words on one line, without the secrets that people write into them.
    fn short(&self, text: &str) -> String {
        // After what cannot be seen is gone, which may stand within a secret, and before it is cut:
        // half a secret is not known for one.
        let line = stdx::untrusted::line(text, usize::MAX);
        stdx::untrusted::line(&self.redactor.text(&line), NOTE).into_owned()
    }

    /// Takes a decision that came over the control socket or was made in this process by the account
    /// that `peer` is.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn decide(
        &self,
        peer: &Peer,
        id: ApprovalId,
        digest: &str,
        agrees: bool,
        proof: &Proof,
        note: Option<String>,
    ) -> Result<Approval, Error> {
        let approval = self.approval(id).await?;
        check_digest(&approval, digest)?;
        let statement = Statement::Decide { id, digest: digest.to_owned(), agrees };
        let may = |entry: &Entry| entry.approver.is_one_of(&approval.of);
        let proven = self.prove(peer, &statement, proof, may).await?;
        self.write(&approval, proven, agrees, note).await
    }

    /// Takes a decision that was made by a link.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn decide_by_link(
        &self,
        claim: &Claim,
        agrees: bool,
        note: Option<String>,
    ) -> Result<Approval, Error> {
        let (approval, entry) = self.by_link(claim).await?;
        let principal = Principal::channel("link", &entry.approver.name)
            .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let proven = Proven { entry, principal, way: Way::Link, signature: None };
        self.write(&approval, proven, agrees, note).await
    }

    /// The approval that a link is for, and whose the link is.
    ///
    /// # Errors
    /// It is no link of this manager, or not good any more. All of them look the same.
    pub async fn by_link(&self, claim: &Claim) -> Result<(Approval, Entry), Error> {
        let bad = || {
            Error::new(
                ErrorKind::NotFound,
                "find what the link is for: it is no link of this manager, or its time is over",
            )
        };
        let links: &Arc<Links> = self.engine.links().ok_or_else(bad)?;
        let approval = self.approval(claim.id).await.map_err(|_| bad())?;
        let entry = self.engine.book().entry(&claim.approver).ok_or_else(bad)?;
        if !links.is_good(claim, &approval, self.engine.now()) {
            return Err(bad());
        }
        Ok((approval, entry))
    }

    /// Stops all changes. Anybody may.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn freeze(
        &self,
        by: Principal,
        until: Option<Timestamp>,
        reason: String,
    ) -> Result<Freeze, Error> {
        let since = self.engine.now();
        let freeze = Freeze { by: by.clone(), since, until, reason: self.short(&reason) };
        self.freezes.freeze(freeze.clone()).await.map_err(port)?;
        let payload = json!({"until": until.map(|it| it.to_string()), "reason": freeze.reason});
        self.record(by, "freeze", "all", payload).await?;
        Ok(self.freezes.frozen(since).await.map_err(port)?.unwrap_or(freeze))
    }

    /// Keeps a change that would be put back otherwise; whose it is, the caller has looked at.
    ///
    /// # Errors
    /// It is not kept, or that cannot be written down.
    pub async fn confirm(
        &self,
        by: Principal,
        confirms: &dyn Confirms,
        id: ConfirmId,
    ) -> Result<Confirm, Error> {
        let confirmed = confirms.confirm(id, self.engine.now()).await.map_err(port)?;
        let payload = json!({"confirm": id.to_string(), "change": confirmed.what});
        self.record(by, "guard.confirm", &confirmed.what, payload).await?;
        Ok(confirmed)
    }

    /// What stops changes now.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn frozen(&self) -> Result<Option<Freeze>, Error> {
        self.freezes.frozen(self.engine.now()).await.map_err(port)
    }

    /// Lets changes run again: a person's decision, by a way that the frozen cannot go themselves.
    ///
    /// # Errors
    /// Why it does not count, or that nothing is frozen.
    pub async fn lift(&self, peer: &Peer, since: Timestamp, proof: &Proof) -> Result<(), Error> {
        let Some(freeze) = self.frozen().await? else {
            return Err(Error::new(ErrorKind::Conflict, "lift the freeze: nothing is frozen"));
        };
        // Stores keep moments to the microsecond.
        if freeze.since.as_microsecond() != since.as_microsecond() {
            let message = "lift the freeze: another one is in force by now; look at it first";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let proven = self.prove(peer, &Statement::Lift { since }, proof, |_| true).await?;
        let Proven { entry, principal, way, .. } = &proven;
        let decider = Decider { approver: &entry.approver, principal, way: *way };
        // An account that approves others' plans may also be one that a model works as: it has
        // called tools if anything was begun by it.
        let filter = guard::ports::ActionFilter {
            principal: Some(principal.clone()),
            limit: 1,
            ..guard::ports::ActionFilter::default()
        };
        let calls_tools = !self.actions.actions(&filter).await.map_err(port)?.is_empty();
        freeze.may_lift(&decider, calls_tools).map_err(|error| {
            Error::new(ErrorKind::Forbidden, format!("lift the freeze: {error}"))
        })?;
        let now = self.engine.now();
        self.freezes.lift(principal, now).await.map_err(port)?;
        let payload = json!({"approver": entry.approver.name, "way": way.as_str()});
        self.record(principal.clone(), "freeze.lift", "all", payload).await?;
        self.engine.news();
        Ok(())
    }

    /// Says how an action ended whose end is not known.
    ///
    /// # Errors
    /// Why that does not count, or that its end is known.
    pub async fn settle(
        &self,
        peer: &Peer,
        id: ActionId,
        state: ActionState,
        note: &str,
        proof: &Proof,
    ) -> Result<guard::ports::Action, Error> {
        let ends = [ActionState::Done, ActionState::Failed, ActionState::Cancelled];
        if !ends.contains(&state) {
            let message = format!("settle action {id}: {} is no end of one", state.as_str());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let missing =
            || Error::new(ErrorKind::NotFound, format!("settle action {id}: there is none"));
        let action = self.actions.action(id).await.map_err(port)?.ok_or_else(missing)?;
        if action.state != ActionState::Unknown {
            let message =
                format!("settle action {id}: its end is known, it is {}", action.state.as_str());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let statement = Statement::Settle { id: id.to_string(), state };
        let proven = self.prove(peer, &statement, proof, |_| true).await?;
        let own = proven.principal == action.principal.actor() && proven.way == Way::PeerUid;
        if own {
            let message = format!("settle action {id}: {} asked for it itself", proven.principal);
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let lead = format!("{} says: {}", proven.entry.approver.name, self.short(note));
        // Written down first: what cannot be written down is not done.
        let payload = json!({
            "action": id.to_string(), "tool": action.tool, "approver": proven.entry.approver.name,
            "way": proven.way.as_str(), "state": state.as_str(), "note": self.short(note),
        });
        self.record(proven.principal, "action.settle", &action.target, payload).await?;
        self.actions.finish(id, state, &lead, self.engine.now()).await.map_err(port)?;
        self.actions.action(id).await.map_err(port)?.ok_or_else(missing)
    }

    async fn approval(&self, id: ApprovalId) -> Result<Approval, Error> {
        let found = self.engine.approvals().approval(id).await.map_err(port)?;
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("find approval {id}: there is none"))
        })
    }

    /// Finds out who somebody is.
    async fn prove(
        &self,
        peer: &Peer,
        statement: &Statement,
        proof: &Proof,
        may: impl Fn(&Entry) -> bool + Send,
    ) -> Result<Proven, Error> {
        let book = self.engine.book();
        let refused =
            |why: String| Error::new(ErrorKind::Forbidden, format!("take the decision: {why}"));
        let now = self.engine.now();
        let principal = peer.principal();
        match proof {
            Proof::Peer => {
                let mut entries = book.of_peer(peer);
                if entries.is_empty() {
                    return Err(refused(format!(
                        "{principal} is no approver; one is set up by `proxmox-mcp approver add NAME`"
                    )));
                }
                // Of several names of one account the first that is asked.
                let index = entries.iter().position(may).unwrap_or(0);
                let entry = entries.swap_remove(index);
                Ok(Proven { entry, principal, way: Way::PeerUid, signature: None })
            }
            Proof::Signature { approver, at, signature } => {
                let signature = Signature::from_base64(*at, signature)
                    .ok_or_else(|| refused("the signature is not Base64".to_owned()))?;
                let entry =
                    book.check_signature(statement, approver, &signature, now).map_err(refused)?;
                Ok(Proven { entry, principal, way: Way::Passphrase, signature: Some(signature) })
            }
            Proof::Code { approver, code } => {
                let entry = book.need(approver).map_err(refused)?;
                let secret = entry.code.as_ref().ok_or_else(|| {
                    refused(format!("this process has no secret for one-time codes of {approver}"))
                })?;
                self.take_code(&entry.approver.name, secret, code).await?.map_err(refused)?;
                Ok(Proven { entry, principal, way: Way::OneTimeCode, signature: None })
            }
        }
    }

    /// Takes a code, if it is good; what was tried is kept before it counts.
    async fn take_code(
        &self,
        approver: &str,
        secret: &CodeSecret,
        code: &str,
    ) -> Result<Result<(), String>, Error> {
        loop {
            let known = self.brakes.code_use(approver).await.map_err(port)?;
            let (after, good) = tried(&known, secret, code, self.engine.now());
            if after == known {
                return Ok(good);
            }
            if self.brakes.set_code_use(approver, &known, &after).await.map_err(port)? {
                return Ok(good);
            }
            // Somebody tried one at the same moment: it counts, too.
        }
    }

    /// Writes a decision down, if it counts.
    async fn write(
        &self,
        approval: &Approval,
        proven: Proven,
        agrees: bool,
        note: Option<String>,
    ) -> Result<Approval, Error> {
        let book = self.engine.book();
        let now = self.engine.now();
        let record = DecisionRecord {
            approver: proven.entry.approver.name,
            principal: proven.principal,
            way: proven.way,
            agrees,
            at: now,
            note: note.map(|note| self.short(&note)).filter(|note| !note.is_empty()),
            signature: proven.signature.as_ref().map(Signature::to_string),
        };
        let record = match record.signature {
            Some(_) => record,
            None => book.attested(approval, record),
        };
        book.may_decide(approval, &record).map_err(|why| {
            Error::new(
                ErrorKind::Forbidden,
                format!("decide about approval {}: {why}", approval.id),
            )
        })?;
        let decided = self.engine.approvals().decide(approval.id, record.clone(), now).await;
        let decided = decided.map_err(port)?;
        let payload = json!({
            "approver": record.approver, "way": record.way.as_str(), "agrees": agrees,
            "plan": approval.digest.as_str(), "asker": approval.requested_by.to_string(),
            "rule": approval.rule, "state": decided.state.as_str(), "note": record.note,
        });
        let id = approval.id.to_string();
        let recorded = self.record(record.principal, "approval.decide", &id, payload).await;
        self.engine.news();
        recorded?;
        Ok(decided)
    }

    /// Writes down what somebody did that is no decision of these.
    pub(crate) async fn note(
        &self,
        by: Principal,
        action: &str,
        target: &str,
        payload: Value,
    ) -> Result<(), Error> {
        self.record(by, action, target, payload).await
    }

    async fn record(
        &self,
        principal: Principal,
        action: &str,
        target: &str,
        payload: Value,
    ) -> Result<(), Error> {
        let record = NewAuditRecord {
            time: self.engine.now(),
            principal,
            action: action.to_owned(),
            target: target.to_owned(),
            payload,
        };
        let failed = |error: store::Error| {
            let message = "write into the audit log what was decided";
            Error::new(ErrorKind::Unavailable, message).because(error)
        };
        self.audit.append(record).await.map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl ConsentInbox for Deciding {
    async fn pressed(&self, pressed: Pressed) -> Result<Approval, PortError> {
        let Pressed { id, digest, agrees, identity, note } = pressed;
        let refuse = |error: Error| {
            let kind = match error.kind() {
                ErrorKind::NotFound => PortErrorKind::NotFound,
                ErrorKind::Unavailable => PortErrorKind::Unavailable,
                _ => PortErrorKind::Conflict,
            };
            PortError::new(kind, error.to_string())
        };
        let forbidden = |why: String| {
            refuse(Error::new(ErrorKind::Forbidden, format!("take the decision: {why}")))
        };
        if identity.kind() != PrincipalKind::Channel {
            return Err(forbidden(format!("{identity} is nobody on a channel")));
        }
        let approval = self.approval(id).await.map_err(refuse)?;
        check_digest(&approval, &digest).map_err(refuse)?;
        let known = |entry: &Entry| entry.approver.is_known_as(&identity);
        let entry = self.engine.book().all().into_iter().find(known);
        let entry = entry.ok_or_else(|| forbidden(format!("{identity} is no approver's")))?;
        let proven = Proven { entry, principal: identity, way: Way::Channel, signature: None };
        self.write(&approval, proven, agrees, note).await.map_err(refuse)
    }
}

impl std::fmt::Debug for Deciding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deciding").finish_non_exhaustive()
    }
}

fn check_digest(approval: &Approval, digest: &str) -> Result<(), Error> {
    if approval.digest.as_str() == digest {
        return Ok(());
    }
    let message = format!(
        "decide about approval {}: it is for another plan than the one that was looked at",
        approval.id
    );
    Err(Error::new(ErrorKind::Conflict, message))
}

/// What a port says, as callers are told it.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn port(error: PortError) -> Error {
    let kind = match error.kind() {
        PortErrorKind::NotFound => ErrorKind::NotFound,
        PortErrorKind::Conflict => ErrorKind::Conflict,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string())
}
