//! What is checked: a world, under some faults, with the protocol or a mutant of it.

use stateright::{Model, Property};

use crate::faults::{FAULTS, Faults};
use crate::mutant::Mutant;
use crate::properties;
use crate::scope::Scope;
use crate::world::{Step, World};

/// What is checked: the protocol or a mutant of it, under some faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) faults: Faults,
    pub(crate) mutant: Mutant,
    pub(crate) scope: Scope,
    /// Whether it is also checked, in every state, that a relay left alone gets everything out.
    pub(crate) drains: bool,
}

impl Model for Setting {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.faults, self.scope)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.regular_steps(steps);
        steps.extend((0..world.late.len()).map(Step::ArriveLate));
        steps.extend((0..world.late_singles.len()).map(Step::ArriveSinglyLate));
        let faults = FAULTS.into_iter().filter(|fault| world.may_strike(*fault));
        steps.extend(faults.map(Step::Fault));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        world.after(step, self.mutant)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
