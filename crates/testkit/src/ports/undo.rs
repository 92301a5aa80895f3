//! Ways back in memory.

use std::time::Duration;

use async_trait::async_trait;
use guard::ports::{
    Confirm, ConfirmId, ConfirmState, Confirms, KeptCall, NewConfirm, NewUndo, PortError, Undo,
    UndoFilter, UndoId, Undos,
};
use jiff::Timestamp;

use super::{Armed, MemoryPorts, conflict, missing, newest};

#[async_trait]
impl Undos for MemoryPorts {
    async fn keep(&self, new: NewUndo, now: Timestamp) -> Result<Undo, PortError> {
        let mut state = self.lock()?;
        let undo = Undo {
            id: UndoId::from_bits(self.next_id(&mut state)),
            action: new.action,
            principal: new.principal,
            tool: new.tool,
            target: new.target,
            what: new.what,
            before: new.before,
            after: new.after,
            kept_at: now,
            expires_at: new.expires_at,
            used_at: None,
        };
        state.undos.insert(undo.id, (undo.clone(), new.calls));
        Ok(undo)
    }

    async fn undo(&self, id: UndoId) -> Result<Option<Undo>, PortError> {
        Ok(self.lock()?.undos.get(&id).map(|(undo, _)| undo.clone()))
    }

    async fn calls(&self, id: UndoId) -> Result<Vec<KeptCall>, PortError> {
        let state = self.lock()?;
        let kept = state.undos.get(&id).ok_or_else(|| missing("way back"))?;
        Ok(kept.1.clone())
    }

    async fn undos(&self, filter: &UndoFilter) -> Result<Vec<Undo>, PortError> {
        let state = self.lock()?;
        let fits = state.undos.values().map(|(undo, _)| undo).filter(|undo| {
            filter.principal.as_ref().is_none_or(|who| *who == undo.principal)
                && filter.target.as_ref().is_none_or(|target| *target == undo.target)
                && filter.usable_at.is_none_or(|now| undo.is_usable(now))
        });
        let fits = fits.map(|undo| (state.order[&undo.id.bits()], undo.clone()));
        Ok(newest(fits.collect(), filter.limit))
    }

    async fn take(&self, id: UndoId, now: Timestamp) -> Result<Undo, PortError> {
        let mut state = self.lock()?;
        let (undo, _) = state.undos.get_mut(&id).ok_or_else(|| missing("way back"))?;
        if undo.used_at.is_some() {
            return Err(conflict(format!("way back {id} was used")));
        }
        if !undo.is_usable(now) {
            return Err(conflict(format!("way back {id} has expired")));
        }
        undo.used_at = Some(now);
        Ok(undo.clone())
    }
}

#[async_trait]
impl Confirms for MemoryPorts {
    async fn arm(&self, new: NewConfirm, now: Timestamp) -> Result<Confirm, PortError> {
        let mut state = self.lock()?;
        let confirm = Confirm {
            id: ConfirmId::from_bits(self.next_id(&mut state)),
            action: new.action,
            principal: new.principal,
            what: new.what,
            armed_at: now,
            deadline: new.deadline,
            state: ConfirmState::Armed,
            lead: None,
        };
        let armed = Armed { confirm: confirm.clone(), calls: new.calls, leased_until: None };
        state.confirms.insert(confirm.id, armed);
        Ok(confirm)
    }

    async fn confirm_record(&self, id: ConfirmId) -> Result<Option<Confirm>, PortError> {
        Ok(self.lock()?.confirms.get(&id).map(|armed| armed.confirm.clone()))
    }

    async fn revert_calls(&self, id: ConfirmId) -> Result<Vec<KeptCall>, PortError> {
        let state = self.lock()?;
        Ok(state.confirms.get(&id).ok_or_else(|| missing("change"))?.calls.clone())
    }

    async fn confirm(&self, id: ConfirmId, now: Timestamp) -> Result<Confirm, PortError> {
        let mut state = self.lock()?;
        let kept = &mut state.confirms.get_mut(&id).ok_or_else(|| missing("change"))?.confirm;
        if kept.state != ConfirmState::Armed {
            return Err(conflict(format!("change {id} is {}", kept.state.as_str())));
        }
        if now >= kept.deadline {
            return Err(conflict(format!("the time to confirm change {id} is over")));
        }
        kept.state = ConfirmState::Confirmed;
        Ok(kept.clone())
    }

    async fn take_due(&self, now: Timestamp, lease: Duration) -> Result<Vec<Confirm>, PortError> {
        let mut state = self.lock()?;
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX);
        let mut due = Vec::new();
        for armed in state.confirms.values_mut() {
            let is_due = match armed.confirm.state {
                ConfirmState::Armed => now >= armed.confirm.deadline,
                ConfirmState::Reverting => armed.leased_until.is_none_or(|until| now >= until),
                _ => false,
            };
            if is_due {
                armed.confirm.state = ConfirmState::Reverting;
                armed.leased_until = Some(until);
                due.push(armed.confirm.clone());
            }
        }
        due.sort_by_key(|confirm| confirm.deadline);
        Ok(due)
    }

    async fn settle(
        &self,
        id: ConfirmId,
        to: ConfirmState,
        lead: &str,
    ) -> Result<Confirm, PortError> {
        let mut state = self.lock()?;
        let kept = &mut state.confirms.get_mut(&id).ok_or_else(|| missing("change"))?.confirm;
        let allowed = match to {
            ConfirmState::Reverted | ConfirmState::Failed => kept.state == ConfirmState::Reverting,
            ConfirmState::Dropped => kept.state == ConfirmState::Armed,
            _ => false,
        };
        if !allowed {
            let (is, to) = (kept.state.as_str(), to.as_str());
            return Err(conflict(format!("change {id} is {is} and cannot become {to}")));
        }
        kept.state = to;
        kept.lead = Some(lead.to_owned());
        Ok(kept.clone())
    }

    async fn open_confirms(&self) -> Result<Vec<Confirm>, PortError> {
        let state = self.lock()?;
        let open = state.confirms.values().map(|armed| &armed.confirm).filter(|confirm| {
            matches!(confirm.state, ConfirmState::Armed | ConfirmState::Reverting)
        });
        let mut open: Vec<_> = open.cloned().collect();
        open.sort_by_key(|confirm| confirm.deadline);
        Ok(open)
    }
}
