//! The transition system that is explored: a scope and the rules that its processes keep.

use stateright::{Model, Property};

use crate::action::{self, Action};
use crate::properties;
use crate::rules::Rules;
use crate::scope::Scope;
use crate::state::State;

/// The quorum log at one size, under one set of rules.
#[derive(Clone, Copy, Debug)]
pub struct QuorumLog {
    /// How large, and with which faults.
    pub scope: Scope,
    /// Which rules are kept.
    pub rules: Rules,
}

impl Model for QuorumLog {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut first = State::first(&self.scope);
        first.sort_alike(&self.scope);
        vec![first]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        action::candidates(&self.scope, state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = action::apply(self, before, action)?;
        after.sort_alike(&self.scope);
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
