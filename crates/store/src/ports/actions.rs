//! Actions, in a store: what was about to be sent is on disk before it is sent.

use estate::Upid;
use guard::Principal;
use guard::budget::{Budget, Spent, Used};
use guard::ports::{
    Action, ActionFilter, ActionId, ActionState, Actions, Intent, NewAction, PortError, StepEnd,
};
use jiff::Timestamp;

use super::{GuardStore, conflict, limit, refused, since};
use crate::records::action::KeptAction;
use crate::records::{Filter, Limits, Record as _, Table, micros};
use crate::rows::storable;

#[async_trait::async_trait]
impl Actions for GuardStore {
    async fn begin(&self, action: NewAction, now: Timestamp) -> Result<ActionId, PortError> {
        let kept = self.begun(action, now)?;
        Ok(self.insert(kept).await?.action.id)
    }

    async fn begin_within(
        &self,
        action: NewAction,
        now: Timestamp,
        since: Timestamp,
        budget: &Budget,
    ) -> Result<Result<ActionId, Spent>, PortError> {
        let (id, row, unasked) = {
            let kept = self.begun(action, now)?;
            (kept.action.id, kept.to_row(), kept.action.unasked)
        };
        let store = self.rows().await?;
        let (who, from) = (row.principal.clone(), since.as_microsecond());
        let limit = |limit: Option<u32>| limit.map_or(u64::MAX, u64::from);
        let limits = Limits {
            all: limit(budget.changes_per_hour),
            unasked: limit(budget.unasked_per_hour.filter(|_| unasked)),
        };
        if store.insert_within(row.clone(), from, limits).await.map_err(refused)? {
            self.recent.keep(Table::Actions, row);
            return Ok(Ok(id));
        }
        let began = store.count(&who, from).await.map_err(refused)?;
        let most = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let used = Used { changes: most(began.all), unasked: most(began.unasked) };
        // Counts only fall as time goes on; it was full a moment ago.
        let limit = budget.unasked_per_hour.or(budget.changes_per_hour).unwrap_or_default();
        Ok(Err(budget.check(used, unasked).err().unwrap_or(Spent::Unasked { limit })))
    }

    async fn intend(&self, id: ActionId, intent: Intent) -> Result<(), PortError> {
        let intent = Intent { at: micros::floor(intent.at), ..intent };
        self.change(id, None, |kept| intend(kept, intent.clone())).await?;
        Ok(())
    }

    async fn sent(&self, id: ActionId, step: u32, upid: &Upid) -> Result<(), PortError> {
        let apply = |kept: &mut KeptAction| {
            find_step(kept, step)?.upid = Some(upid.clone());
            Ok(())
        };
        self.change(id, None, apply).await?;
        Ok(())
    }

    async fn ended(&self, id: ActionId, step: u32, end: StepEnd) -> Result<(), PortError> {
        let apply = |kept: &mut KeptAction| {
            find_step(kept, step)?.end = Some(end.clone());
            Ok(())
        };
        self.change(id, None, apply).await?;
        Ok(())
    }

    async fn finish(
        &self,
        id: ActionId,
        state: ActionState,
        lead: &str,
        now: Timestamp,
    ) -> Result<(), PortError> {
        self.change(id, None, |kept| finish(kept, state, lead, now)).await?;
        Ok(())
    }

    async fn action(&self, id: ActionId) -> Result<Option<Action>, PortError> {
        Ok(self.find::<KeptAction>(id).await?.map(|kept| kept.action))
    }

    async fn actions(&self, filter: &ActionFilter) -> Result<Vec<Action>, PortError> {
        let filter = Filter {
            principal: filter.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
            states: filter.states.iter().map(|state| state.as_str()).collect(),
            since: since(filter.since),
            limit: limit(filter.limit),
            ..Filter::default()
        };
        let kept: Vec<KeptAction> = self.list(&filter).await?;
        Ok(kept.into_iter().map(|kept| kept.action).collect())
    }

    async fn count(
        &self,
        principal: &Principal,
        since: Timestamp,
        unasked: bool,
    ) -> Result<u64, PortError> {
        let store = self.rows().await?;
        let began = store.count(&principal.to_string(), since.as_microsecond()).await;
        let began = began.map_err(refused)?;
        Ok(if unasked { began.unasked } else { began.all })
    }
}

impl GuardStore {
    /// An action as it is kept when it begins.
    fn begun(&self, action: NewAction, now: Timestamp) -> Result<KeptAction, PortError> {
        let id = ActionId::from_bits(rand::random());
        let call = self.seal(&format!("action {id}"), &[action.call])?;
        let action = Action {
            id,
            principal: action.principal,
            tool: storable(action.tool),
            target: storable(action.target),
            digest: action.digest,
            approval: action.approval,
            access: action.access,
            unasked: action.unasked,
            steps: action.steps,
            owner: action.owner,
            begun_at: micros::floor(now),
            state: ActionState::Running,
            lead: None,
            intents: Vec::new(),
        };
        Ok(KeptAction { action, call, ended_at: None })
    }
}

fn intend(kept: &mut KeptAction, intent: Intent) -> Result<(), PortError> {
    let action = &mut kept.action;
    let id = action.id;
    if action.state != ActionState::Running {
        return Err(conflict(format!("action {id} is {}", action.state.as_str())));
    }
    if action.intents.iter().any(|earlier| earlier.step == intent.step) {
        let step = intent.step;
        return Err(conflict(format!("step {step} of action {id} may have been sent already")));
    }
    action.intents.push(intent);
    action.intents.sort_by_key(|intent| intent.step);
    Ok(())
}

fn find_step(kept: &mut KeptAction, step: u32) -> Result<&mut Intent, PortError> {
    let id = kept.action.id;
    let found = kept.action.intents.iter_mut().find(|intent| intent.step == step);
    found.ok_or_else(|| conflict(format!("step {step} of action {id} was never written")))
}

/// A running one ends as it may; an unknown one is settled, and then it is known.
fn finish(
    kept: &mut KeptAction,
    state: ActionState,
    lead: &str,
    now: Timestamp,
) -> Result<(), PortError> {
    let action = &mut kept.action;
    let allowed = match action.state {
        ActionState::Running => state != ActionState::Running,
        ActionState::Unknown => !matches!(state, ActionState::Running | ActionState::Unknown),
        _ => false,
    };
    if !allowed {
        let (id, is, to) = (action.id, action.state.as_str(), state.as_str());
        return Err(conflict(format!("action {id} is {is} and cannot become {to}")));
    }
    action.state = state;
    action.lead = Some(lead.to_owned());
    kept.ended_at = Some(micros::floor(now));
    Ok(())
}
