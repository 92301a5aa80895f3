//! Approvals, in a store.

use guard::PlanDigest;
use guard::ports::{
    Approval, ApprovalFilter, ApprovalId, ApprovalState, Approvals, DecisionRecord, KeptCall,
    NewApproval, Outcome, PortError,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{GuardStore, conflict, limit};
use crate::records::approval::KeptApproval;
use crate::records::{Filter, micros};
use crate::rows::storable;

#[async_trait::async_trait]
impl Approvals for GuardStore {
    async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, PortError> {
        let kept = self.pending(approval, now)?;
        Ok(self.insert(kept).await?.approval)
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError> {
        Ok(self.find::<KeptApproval>(id).await?.map(|kept| kept.approval))
    }

    async fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, PortError> {
        let filter = Filter {
            principal: filter.requested_by.as_ref().map(ToString::to_string).unwrap_or_default(),
            states: filter.states.iter().map(|state| state.as_str()).collect(),
            limit: limit(filter.limit),
            ..Filter::default()
        };
        let kept: Vec<KeptApproval> = self.list(&filter).await?;
        Ok(kept.into_iter().map(|kept| kept.approval).collect())
    }

    async fn kept_call(&self, id: ApprovalId) -> Result<KeptCall, PortError> {
        let kept: KeptApproval = self.need(id).await?;
        let mut calls = self.open(&place(&kept.approval), &kept.call)?;
        calls.pop().ok_or_else(|| conflict(format!("approval {id} holds no call")))
    }

    async fn decide(
        &self,
        id: ApprovalId,
        decision: DecisionRecord,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        let decision = DecisionRecord { at: micros::floor(decision.at), ..decision };
        self.change_approval(id, |approval| decide(approval, decision.clone(), now)).await
    }

    async fn claim(
        &self,
        id: ApprovalId,
        digest: &PlanDigest,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        self.change_approval(id, |approval| claim(approval, digest, now)).await
    }

    async fn release(&self, id: ApprovalId, now: Timestamp) -> Result<Approval, PortError> {
        let apply = |approval: &mut Approval| {
            expect(approval, &[ApprovalState::Running], now)?;
            approval.state = ApprovalState::Approved;
            Ok(())
        };
        self.change_approval(id, apply).await
    }

    async fn finish(
        &self,
        id: ApprovalId,
        outcome: Outcome,
        result: Value,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        let apply = |approval: &mut Approval| {
            expect(approval, &[ApprovalState::Running], now)?;
            approval.state = outcome.into();
            approval.result = Some(result.clone());
            Ok(())
        };
        self.change_approval(id, apply).await
    }

    async fn void(
        &self,
        id: ApprovalId,
        reason: &str,
        successor: Option<NewApproval>,
        now: Timestamp,
    ) -> Result<(Approval, Option<Approval>), PortError> {
        let successor = successor.map(|new| self.pending(new, now)).transpose()?;
        let next = successor.as_ref().map(|kept| kept.approval.id);
        let apply = |kept: &mut KeptApproval| void(&mut kept.approval, reason, next, now);
        let kept = self.change(id, successor.as_ref(), apply).await?;
        Ok((kept.approval, successor.map(|kept| kept.approval)))
    }

    async fn expire(&self, now: Timestamp) -> Result<Vec<Approval>, PortError> {
        let states = [ApprovalState::Pending.as_str(), ApprovalState::Approved.as_str()];
        let due = Filter { due_until: now.as_microsecond(), ..Filter::oldest(&states) };
        let mut expired = Vec::new();
        for kept in self.list::<KeptApproval>(&due).await? {
            match self.change_approval(kept.approval.id, |approval| expire(approval, now)).await {
                Ok(approval) => expired.push(approval),
                // Another program marked it first.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(expired)
    }
}

impl GuardStore {
    async fn change_approval(
        &self,
        id: ApprovalId,
        mut apply: impl FnMut(&mut Approval) -> Result<(), PortError> + Send,
    ) -> Result<Approval, PortError> {
        let apply = |kept: &mut KeptApproval| apply(&mut kept.approval);
        Ok(self.change(id, None, apply).await?.approval)
    }

    fn pending(&self, new: NewApproval, now: Timestamp) -> Result<KeptApproval, PortError> {
        let approval = Approval {
            id: ApprovalId::from_bits(rand::random()),
            digest: new.form.digest(),
            form: new.form,
            requested_by: new.requested_by,
            asked_at: micros::floor(now),
            expires_at: micros::floor(new.expires_at),
            rule: storable(new.rule),
            needed: new.needed.max(1),
            of: new.of,
            client_counts: new.client_counts,
            summary: new.summary,
            state: ApprovalState::Pending,
            decisions: Vec::new(),
            result: None,
            void_reason: None,
            replaced_by: None,
        };
        let call = self.seal(&place(&approval), &[new.call])?;
        Ok(KeptApproval { approval, call })
    }
}

/// What an approval's call is sealed for: neither another approval nor another plan opens it.
fn place(approval: &Approval) -> String {
    format!("approval {} of plan {}", approval.id, approval.digest)
}

/// One refusal refuses; as many distinct names as are needed approve.
fn decide(
    approval: &mut Approval,
    decision: DecisionRecord,
    now: Timestamp,
) -> Result<(), PortError> {
    expect(approval, &[ApprovalState::Pending], now)?;
    if approval.decisions.iter().any(|made| made.approver == decision.approver) {
        let (id, who) = (approval.id, decision.approver);
        return Err(conflict(format!("{who} has decided about approval {id} already")));
    }
    let agrees = decision.agrees;
    approval.decisions.push(decision);
    let agreed = approval.decisions.iter().filter(|made| made.agrees).count();
    if !agrees {
        approval.state = ApprovalState::Refused;
    } else if agreed >= approval.needed as usize {
        approval.state = ApprovalState::Approved;
    }
    Ok(())
}

fn claim(approval: &mut Approval, digest: &PlanDigest, now: Timestamp) -> Result<(), PortError> {
    expect(approval, &[ApprovalState::Approved], now)?;
    if *digest != approval.digest {
        return Err(conflict(format!("approval {} is for another plan", approval.id)));
    }
    approval.state = ApprovalState::Running;
    Ok(())
}

fn void(
    approval: &mut Approval,
    reason: &str,
    replaced_by: Option<ApprovalId>,
    now: Timestamp,
) -> Result<(), PortError> {
    expect(approval, &[ApprovalState::Pending, ApprovalState::Approved], now)?;
    approval.state = ApprovalState::Void;
    approval.void_reason = Some(reason.to_owned());
    approval.replaced_by = replaced_by;
    Ok(())
}

fn expire(approval: &mut Approval, now: Timestamp) -> Result<(), PortError> {
    if approval.state == ApprovalState::Expired || !approval.is_expired(now) {
        let (id, is) = (approval.id, approval.state.as_str());
        return Err(conflict(format!("approval {id} is {is}")));
    }
    approval.state = ApprovalState::Expired;
    Ok(())
}

/// Refuses what the state at this time does not allow.
fn expect(approval: &Approval, allowed: &[ApprovalState], now: Timestamp) -> Result<(), PortError> {
    let is = approval.state_at(now);
    if allowed.contains(&is) {
        return Ok(());
    }
    let how = match is {
        ApprovalState::Pending => "is still undecided",
        ApprovalState::Approved => "is already approved",
        ApprovalState::Running => "is already running",
        ApprovalState::Done | ApprovalState::Failed => "is already used",
        ApprovalState::Refused => "was refused",
        ApprovalState::Expired => "has expired",
        ApprovalState::Void => "is void",
        _ => "is already used, and nobody can tell how it ended",
    };
    Err(conflict(format!("approval {} {how}", approval.id)))
}
