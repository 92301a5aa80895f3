//! Actions in memory.

use async_trait::async_trait;
use estate::Upid;
use guard::{
    Principal,
    budget::{Budget, Spent, Used},
    ports::{
        Action, ActionFilter, ActionId, ActionState, Actions, Intent, NewAction, PortError, StepEnd,
    },
};
use jiff::Timestamp;

use super::{MemoryPorts, State, conflict, missing, newest};

fn find(state: &mut State, id: ActionId) -> Result<&mut Action, PortError> {
    state.actions.get_mut(&id).map(|(kept, _)| kept).ok_or_else(|| missing("action"))
}

fn step(state: &mut State, id: ActionId, step: u32) -> Result<&mut Intent, PortError> {
    let intents = &mut find(state, id)?.intents;
    intents.iter_mut().find(|intent| intent.step == step).ok_or_else(|| missing("step"))
}

#[async_trait]
impl Actions for MemoryPorts {
    async fn begin(&self, new: NewAction, now: Timestamp) -> Result<ActionId, PortError> {
        let mut state = self.lock()?;
        Ok(self.insert(&mut state, new, now))
    }

    async fn begin_within(
        &self,
        new: NewAction,
        now: Timestamp,
        since: Timestamp,
        budget: &Budget,
    ) -> Result<Result<ActionId, Spent>, PortError> {
        let mut state = self.lock()?;
        let used = Used {
            changes: u32::try_from(state.count(&new.principal, since, false)).unwrap_or(u32::MAX),
            unasked: u32::try_from(state.count(&new.principal, since, true)).unwrap_or(u32::MAX),
        };
        Ok(match budget.check(used, new.unasked) {
            Ok(()) => Ok(self.insert(&mut state, new, now)),
            Err(spent) => Err(spent),
        })
    }

    async fn intend(&self, id: ActionId, intent: Intent) -> Result<(), PortError> {
        let mut state = self.lock()?;
        let action = find(&mut state, id)?;
        if action.state != ActionState::Running {
            return Err(conflict(format!("action {id} is {}", action.state.as_str())));
        }
        if action.intents.iter().any(|earlier| earlier.step == intent.step) {
            return Err(conflict(format!("step {} of action {id} was written", intent.step)));
        }
        action.intents.push(intent);
        action.intents.sort_by_key(|intent| intent.step);
        Ok(())
    }

    async fn sent(&self, id: ActionId, number: u32, upid: &Upid) -> Result<(), PortError> {
        let mut state = self.lock()?;
        step(&mut state, id, number)?.upid = Some(upid.clone());
        Ok(())
    }

    async fn ended(&self, id: ActionId, number: u32, end: StepEnd) -> Result<(), PortError> {
        let mut state = self.lock()?;
        step(&mut state, id, number)?.end = Some(end);
        Ok(())
    }

    async fn finish(
        &self,
        id: ActionId,
        to: ActionState,
        lead: &str,
        _now: Timestamp,
    ) -> Result<(), PortError> {
        let mut state = self.lock()?;
        let action = find(&mut state, id)?;
        if !matches!(action.state, ActionState::Running | ActionState::Unknown) {
            return Err(conflict(format!("action {id} is {}", action.state.as_str())));
        }
        action.state = to;
        action.lead = Some(lead.to_owned());
        Ok(())
    }

    async fn action(&self, id: ActionId) -> Result<Option<Action>, PortError> {
        Ok(self.lock()?.actions.get(&id).map(|(action, _)| action.clone()))
    }

    async fn actions(&self, filter: &ActionFilter) -> Result<Vec<Action>, PortError> {
        let state = self.lock()?;
        let fits = state.actions.values().map(|(action, _)| action).filter(|action| {
            filter.principal.as_ref().is_none_or(|who| *who == action.principal)
                && (filter.states.is_empty() || filter.states.contains(&action.state))
                && filter.since.is_none_or(|since| action.begun_at >= since)
        });
        let fits = fits.map(|action| (state.order[&action.id.bits()], action.clone()));
        Ok(newest(fits.collect(), filter.limit))
    }

    async fn count(
        &self,
        principal: &Principal,
        since: Timestamp,
        unasked: bool,
    ) -> Result<u64, PortError> {
        Ok(self.lock()?.count(principal, since, unasked))
    }
}

impl State {
    fn count(&self, principal: &Principal, since: Timestamp, unasked: bool) -> u64 {
        let counted = self.actions.values().filter(|(action, _)| {
            action.principal == *principal
                && action.begun_at >= since
                && (!unasked || action.unasked)
        });
        counted.count() as u64
    }
}

impl MemoryPorts {
    fn insert(&self, state: &mut State, new: NewAction, now: Timestamp) -> ActionId {
        let id = ActionId::from_bits(self.next_id(state));
        let action = Action {
            id,
            principal: new.principal,
            tool: new.tool,
            target: new.target,
            digest: new.digest,
            approval: new.approval,
            access: new.access,
            unasked: new.unasked,
            steps: new.steps,
            owner: new.owner,
            begun_at: now,
            state: ActionState::Running,
            lead: None,
            intents: Vec::new(),
        };
        state.actions.insert(id, (action, new.call));
        id
    }
}
