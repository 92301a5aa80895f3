//! Approvals in memory.

use async_trait::async_trait;
use guard::{
    PlanDigest,
    ports::{
        Approval, ApprovalFilter, ApprovalId, ApprovalState, Approvals, DecisionRecord, KeptCall,
        NewApproval, Outcome, PortError,
    },
};
use jiff::Timestamp;
use serde_json::Value;

use super::{MemoryPorts, State, conflict, missing, newest};

impl MemoryPorts {
    fn add(&self, state: &mut State, new: NewApproval, now: Timestamp) -> Approval {
        let id = ApprovalId::from_bits(self.next_id(state));
        let approval = Approval {
            id,
            digest: new.form.digest(),
            form: new.form,
            requested_by: new.requested_by,
            asked_at: now,
            expires_at: new.expires_at,
            rule: new.rule,
            needed: new.needed,
            of: new.of,
            client_counts: new.client_counts,
            summary: new.summary,
            state: ApprovalState::Pending,
            decisions: Vec::new(),
            result: None,
            void_reason: None,
            replaced_by: None,
        };
        state.approvals.insert(id, (approval.clone(), new.call));
        approval
    }
}

fn find(state: &mut State, id: ApprovalId) -> Result<&mut Approval, PortError> {
    state.approvals.get_mut(&id).map(|(kept, _)| kept).ok_or_else(|| missing("approval"))
}

/// The approval, if its state at this time is one of these.
fn within<'a>(
    state: &'a mut State,
    id: ApprovalId,
    allowed: &[ApprovalState],
    now: Timestamp,
) -> Result<&'a mut Approval, PortError> {
    let approval = find(state, id)?;
    let is = approval.state_at(now);
    if allowed.contains(&is) {
        Ok(approval)
    } else {
        Err(conflict(format!("approval {id} is {}", is.as_str())))
    }
}

#[async_trait]
impl Approvals for MemoryPorts {
    async fn ask(&self, approval: NewApproval, now: Timestamp) -> Result<Approval, PortError> {
        let mut state = self.lock()?;
        Ok(self.add(&mut state, approval, now))
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError> {
        Ok(self.lock()?.approvals.get(&id).map(|(approval, _)| approval.clone()))
    }

    async fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<Approval>, PortError> {
        let state = self.lock()?;
        let fits = state.approvals.values().map(|(approval, _)| approval).filter(|approval| {
            filter.requested_by.as_ref().is_none_or(|who| *who == approval.requested_by)
                && (filter.states.is_empty() || filter.states.contains(&approval.state))
        });
        let fits = fits.map(|approval| (state.order[&approval.id.bits()], approval.clone()));
        Ok(newest(fits.collect(), filter.limit))
    }

    async fn kept_call(&self, id: ApprovalId) -> Result<KeptCall, PortError> {
        let state = self.lock()?;
        let kept = state.approvals.get(&id).ok_or_else(|| missing("approval"))?;
        Ok(kept.1.clone())
    }

    async fn decide(
        &self,
        id: ApprovalId,
        decision: DecisionRecord,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        let mut state = self.lock()?;
        let approval = within(&mut state, id, &[ApprovalState::Pending], now)?;
        if approval.decisions.iter().any(|earlier| earlier.approver == decision.approver) {
            return Err(conflict(format!("{} has decided already", decision.approver)));
        }
        let agrees = decision.agrees;
        approval.decisions.push(decision);
        if !agrees {
            approval.state = ApprovalState::Refused;
        } else if approval.decisions.len() >= approval.needed as usize {
            approval.state = ApprovalState::Approved;
        }
        Ok(approval.clone())
    }

    async fn claim(
        &self,
        id: ApprovalId,
        digest: &PlanDigest,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        let mut state = self.lock()?;
        let approval = within(&mut state, id, &[ApprovalState::Approved], now)?;
        if approval.digest != *digest {
            return Err(conflict(format!("approval {id} is for another plan")));
        }
        approval.state = ApprovalState::Running;
        Ok(approval.clone())
    }

    async fn release(&self, id: ApprovalId, now: Timestamp) -> Result<Approval, PortError> {
        let mut state = self.lock()?;
        let approval = within(&mut state, id, &[ApprovalState::Running], now)?;
        approval.state = ApprovalState::Approved;
        Ok(approval.clone())
    }

    async fn finish(
        &self,
        id: ApprovalId,
        outcome: Outcome,
        result: Value,
        now: Timestamp,
    ) -> Result<Approval, PortError> {
        let mut state = self.lock()?;
        let approval = within(&mut state, id, &[ApprovalState::Running], now)?;
        approval.state = outcome.into();
        approval.result = Some(result);
        Ok(approval.clone())
    }

    async fn void(
        &self,
        id: ApprovalId,
        reason: &str,
        successor: Option<NewApproval>,
        now: Timestamp,
    ) -> Result<(Approval, Option<Approval>), PortError> {
        let mut state = self.lock()?;
        let open = [ApprovalState::Pending, ApprovalState::Approved];
        within(&mut state, id, &open, now)?;
        let successor = successor.map(|new| self.add(&mut state, new, now));
        let approval = find(&mut state, id)?;
        approval.state = ApprovalState::Void;
        approval.void_reason = Some(reason.to_owned());
        approval.replaced_by = successor.as_ref().map(|next| next.id);
        Ok((approval.clone(), successor))
    }

    async fn expire(&self, now: Timestamp) -> Result<Vec<Approval>, PortError> {
        let mut state = self.lock()?;
        let mut expired = Vec::new();
        for (approval, _) in state.approvals.values_mut() {
            if approval.is_expired(now) {
                approval.state = ApprovalState::Expired;
                expired.push(approval.clone());
            }
        }
        Ok(expired)
    }
}
