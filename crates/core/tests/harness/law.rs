//! The law of restart as a harness: dropping all volatile state equals replaying the durable changes.
//!
//! Whatever a test does to a machine, it does through a [`Twin`], which checks the law at every step.

use std::fmt::Debug;

use mulgil_core::machine::{Decision, Keep, Now, Restart};

/// How a change looks after a trip through the log.
pub(crate) type Store<M> = fn(
    &<M as mulgil_core::machine::Machine>::Change,
) -> <M as mulgil_core::machine::Machine>::Change;

/// A machine, and its twin that only ever sees what the log has.
pub(crate) struct Twin<M: Restart> {
    /// The machine.
    pub(crate) live: M,
    /// What the log leads to.
    pub(crate) replayed: M,
    store: Store<M>,
}

impl<M> Twin<M>
where
    M: Restart + Clone + PartialEq + Debug,
{
    /// Both begin the same.
    pub(crate) fn new(machine: M, store: Store<M>) -> Self {
        Self {
            live: machine.clone(),
            replayed: machine,
            store,
        }
    }

    /// Decides, applies, and checks the law.
    pub(crate) fn step(
        &mut self,
        command: M::Command,
        now: Now,
    ) -> Result<Decision<M::Change, M::Effect>, M::Refusal> {
        let mut decision = Decision::default();
        let result = self.live.decide(command, now, &mut decision);
        if let Err(refusal) = result {
            assert!(decision.changes.is_empty(), "a refusal leaves a change");
            assert!(decision.effects.is_empty(), "a refusal leaves an effect");
            return Err(refusal);
        }
        for (keep, change) in &decision.changes {
            self.apply(*keep, change);
        }
        self.check();
        Ok(decision)
    }

    /// Applies one change, as a decision or the shell makes it.
    pub(crate) fn apply(&mut self, keep: Keep, change: &M::Change) {
        self.live.apply(change);
        if keep != Keep::Volatile {
            self.replayed.apply(&(self.store)(change));
        }
    }

    /// The law.
    pub(crate) fn check(&self) {
        let mut kept = self.live.clone();
        kept.forget_volatile();
        assert!(kept == self.replayed, "{kept:?} is not {:?}", self.replayed);
    }

    /// Whether `other` is what the log leads to.
    pub(crate) fn replays_to(&self, other: &M) -> bool {
        self.replayed == *other
    }

    /// Stops and starts.
    pub(crate) fn restart(&mut self) {
        self.live = self.replayed.clone();
    }
}
