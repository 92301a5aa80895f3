//! Ways back, and changes that wait to be confirmed, in a store.

use std::time::Duration;

use guard::ports::{
    Confirm, ConfirmId, ConfirmState, Confirms, KeptCall, NewConfirm, NewUndo, PortError, Undo,
    UndoFilter, UndoId, Undos,
};
use jiff::Timestamp;

use super::{GuardStore, conflict, limit};
use crate::records::confirm::KeptConfirm;
use crate::records::undo::{KEPT, KeptUndo};
use crate::records::{Filter, micros};
use crate::rows::storable;

#[async_trait::async_trait]
impl Undos for GuardStore {
    async fn keep(&self, undo: NewUndo, now: Timestamp) -> Result<Undo, PortError> {
        let id = UndoId::from_bits(rand::random());
        let calls = self.seal(&undo_place(id), &undo.calls)?;
        let undo = Undo {
            id,
            action: undo.action,
            principal: undo.principal,
            tool: storable(undo.tool),
            target: storable(undo.target),
            what: undo.what,
            before: undo.before,
            after: undo.after,
            kept_at: micros::floor(now),
            expires_at: micros::floor(undo.expires_at),
            used_at: None,
        };
        Ok(self.insert(KeptUndo { undo, calls }).await?.undo)
    }

    async fn undo(&self, id: UndoId) -> Result<Option<Undo>, PortError> {
        Ok(self.find::<KeptUndo>(id).await?.map(|kept| kept.undo))
    }

    async fn calls(&self, id: UndoId) -> Result<Vec<KeptCall>, PortError> {
        let kept: KeptUndo = self.need(id).await?;
        self.open(&undo_place(id), &kept.calls)
    }

    async fn undos(&self, filter: &UndoFilter) -> Result<Vec<Undo>, PortError> {
        let usable_at = filter.usable_at.map(Timestamp::as_microsecond);
        let filter = Filter {
            principal: filter.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
            subject: filter.target.clone().unwrap_or_default(),
            states: if usable_at.is_some() { vec![KEPT] } else { Vec::new() },
            due_after: usable_at.unwrap_or(i64::MIN),
            limit: limit(filter.limit),
            ..Filter::default()
        };
        let kept: Vec<KeptUndo> = self.list(&filter).await?;
        Ok(kept.into_iter().map(|kept| kept.undo).collect())
    }

    async fn take(&self, id: UndoId, now: Timestamp) -> Result<Undo, PortError> {
        let apply = |kept: &mut KeptUndo| {
            let undo = &mut kept.undo;
            if undo.used_at.is_some() {
                return Err(conflict(format!("way back {id} was used")));
            }
            if !undo.is_usable(now) {
                return Err(conflict(format!("way back {id} has expired")));
            }
            undo.used_at = Some(micros::floor(now));
            Ok(())
        };
        Ok(self.change(id, None, apply).await?.undo)
    }
}

#[async_trait::async_trait]
impl Confirms for GuardStore {
    async fn arm(&self, confirm: NewConfirm, now: Timestamp) -> Result<Confirm, PortError> {
        let id = ConfirmId::from_bits(rand::random());
        let calls = self.seal(&confirm_place(id), &confirm.calls)?;
        let confirm = Confirm {
            id,
            action: confirm.action,
            principal: confirm.principal,
            what: confirm.what,
            armed_at: micros::floor(now),
            deadline: micros::floor(confirm.deadline),
            state: ConfirmState::Armed,
            lead: None,
        };
        Ok(self.insert(KeptConfirm { confirm, calls, leased_until: None }).await?.confirm)
    }

    async fn confirm_record(&self, id: ConfirmId) -> Result<Option<Confirm>, PortError> {
        Ok(self.find::<KeptConfirm>(id).await?.map(|kept| kept.confirm))
    }

    async fn revert_calls(&self, id: ConfirmId) -> Result<Vec<KeptCall>, PortError> {
        let kept: KeptConfirm = self.need(id).await?;
        self.open(&confirm_place(id), &kept.calls)
    }

    async fn confirm(&self, id: ConfirmId, now: Timestamp) -> Result<Confirm, PortError> {
        let apply = |kept: &mut KeptConfirm| {
            let confirm = &mut kept.confirm;
            if confirm.state != ConfirmState::Armed {
                return Err(conflict(format!("change {id} is {}", confirm.state.as_str())));
            }
            if now >= confirm.deadline {
                return Err(conflict(format!("the time to confirm change {id} is over")));
            }
            confirm.state = ConfirmState::Confirmed;
            Ok(())
        };
        Ok(self.change(id, None, apply).await?.confirm)
    }

    async fn take_due(&self, now: Timestamp, lease: Duration) -> Result<Vec<Confirm>, PortError> {
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX);
        let past = Filter { due_until: now.as_microsecond(), ..open() };
        let mut taken = Vec::new();
        for kept in self.list::<KeptConfirm>(&past).await? {
            let id = kept.confirm.id;
            match self.change(id, None, |kept| lease_it(kept, now, until)).await {
                Ok(kept) => taken.push(kept.confirm),
                // Another program has it.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        taken.sort_by_key(|confirm| (confirm.deadline, confirm.id));
        Ok(taken)
    }

    async fn settle(
        &self,
        id: ConfirmId,
        to: ConfirmState,
        lead: &str,
    ) -> Result<Confirm, PortError> {
        let apply = |kept: &mut KeptConfirm| {
            let confirm = &mut kept.confirm;
            let from = match to {
                ConfirmState::Reverted | ConfirmState::Failed => Some(ConfirmState::Reverting),
                ConfirmState::Dropped => Some(ConfirmState::Armed),
                _ => None,
            };
            if from != Some(confirm.state) {
                let (is, to) = (confirm.state.as_str(), to.as_str());
                return Err(conflict(format!("change {id} is {is} and cannot become {to}")));
            }
            confirm.state = to;
            confirm.lead = Some(lead.to_owned());
            Ok(())
        };
        Ok(self.change(id, None, apply).await?.confirm)
    }

    async fn open_confirms(&self) -> Result<Vec<Confirm>, PortError> {
        let kept: Vec<KeptConfirm> = self.list(&open()).await?;
        let mut open: Vec<Confirm> = kept.into_iter().map(|kept| kept.confirm).collect();
        open.sort_by_key(|confirm| (confirm.deadline, confirm.id));
        Ok(open)
    }
}

/// Takes one that is due, if nobody has it.
fn lease_it(kept: &mut KeptConfirm, now: Timestamp, until: Timestamp) -> Result<(), PortError> {
    let confirm = &mut kept.confirm;
    let is_free = match confirm.state {
        ConfirmState::Armed => now >= confirm.deadline,
        ConfirmState::Reverting => kept.leased_until.is_none_or(|until| now >= until),
        _ => false,
    };
    if !is_free {
        return Err(conflict(format!("change {} is {}", confirm.id, confirm.state.as_str())));
    }
    confirm.state = ConfirmState::Reverting;
    kept.leased_until = Some(micros::floor(until));
    Ok(())
}

/// What has no end yet.
fn open() -> Filter {
    Filter::oldest(&[ConfirmState::Armed.as_str(), ConfirmState::Reverting.as_str()])
}

fn undo_place(id: UndoId) -> String {
    format!("way back {id}")
}

fn confirm_place(id: ConfirmId) -> String {
    format!("change {id}")
}
