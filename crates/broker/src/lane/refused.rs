//! Batches that were refused for want of room, so that none of their producers' later ones overtakes them.
//!
//! A producer of which nothing is known may begin with any sequence number, and one whose records were
//! lost may skip some. What it has under way behind a refused batch must not take that chance: the
//! refused one would come too late, and be taken for a duplicate, which is a success to a client.
//!
//! ```text
//! refused: 0..9          remembered: 0       10..19 is behind it: refused     0..9 again: taken
//! refused: 0..9          no room to remember: until that is long ago, what would be taken on faith
//!                        is refused, whoever sends it
//! ```
//!
//! What is remembered goes after minutes: a producer gives a batch up, and begins anew, if it has not
//! come through for so long.

use std::collections::{BTreeMap, BTreeSet};

use mulgil_core::machine::Elapsed;
use mulgil_core::partition::{Sequence, ahead_of};
use mulgil_record::ids::{PartitionId, ProducerEpoch, ProducerId};

/// Producers whose refused batches are remembered, so that strangers fill no memory with them: about
/// 10 MB.
const REFUSED_MAX: usize = 100_000;

/// How long a refused batch is remembered after it came last. Clients give a batch up after two minutes
/// (`delivery.timeout.ms`), unless they are told to be more patient.
const REMEMBERED_MS: u32 = 10 * 60 * 1_000;

type Key = (PartitionId, ProducerId);

/// The first batch of a producer that was refused.
#[derive(Clone, Copy, Debug)]
struct First {
    epoch: ProducerEpoch,
    sequence: i32,
    at: Elapsed,
    /// Whether no batch of this producer can have been refused before it and not be remembered.
    sure: bool,
}

/// The first refused batch of each producer, until it comes again.
#[derive(Debug, Default)]
pub(super) struct Refused {
    first: BTreeMap<Key, First>,
    by_age: BTreeSet<(Elapsed, Key)>,
    /// When a batch was last refused that could not be remembered.
    missed: Option<Elapsed>,
}

impl Refused {
    /// Whether a batch has to be refused although there is room: it would overtake a refused one, or,
    /// being taken `on_faith`, might.
    pub(super) fn keeps_back(
        &mut self,
        partition: PartitionId,
        sequence: Sequence,
        on_faith: bool,
        now: Elapsed,
    ) -> bool {
        self.forget_old(now);
        let found = self.find(partition, sequence);
        if found.is_some_and(|first| ahead_of(sequence.first, first.sequence)) {
            return true;
        }
        let unsure = on_faith && self.missed.is_some() && found.is_none_or(|first| !first.sure);
        if unsure {
            self.refuse(partition, sequence, now);
        }
        unsure
    }

    /// A batch is refused: what its producer sends behind it is to be refused, too.
    pub(super) fn refuse(&mut self, partition: PartitionId, sequence: Sequence, now: Elapsed) {
        self.forget_old(now);
        let key = (partition, sequence.producer);
        let old = self.first.get(&key).copied();
        if old.is_none() && self.first.len() >= REFUSED_MAX {
            self.missed = Some(now);
            return;
        }
        // One behind it makes the first no younger: that may never come again, and must not keep its
        // producer back for ever.
        let stays = |old: First| {
            old.epoch > sequence.epoch
                || (old.epoch == sequence.epoch && ahead_of(sequence.first, old.sequence))
        };
        if old.is_some_and(stays) {
            return;
        }
        self.forget(key);
        let first = First {
            epoch: sequence.epoch,
            sequence: sequence.first,
            at: now,
            sure: old.map_or_else(|| self.missed.is_none(), |old| old.sure),
        };
        self.first.insert(key, first);
        self.by_age.insert((now, key));
    }

    /// A batch is let through: if it is the one that was refused first, its producer goes on.
    pub(super) fn let_through(&mut self, partition: PartitionId, sequence: Sequence) {
        let found = self.find(partition, sequence);
        if found.is_some_and(|first| first.sequence == sequence.first) {
            self.forget((partition, sequence.producer));
        }
    }

    fn find(&self, partition: PartitionId, sequence: Sequence) -> Option<First> {
        let found = self.first.get(&(partition, sequence.producer)).copied();
        found.filter(|first| first.epoch == sequence.epoch)
    }

    fn forget(&mut self, key: Key) {
        if let Some(first) = self.first.remove(&key) {
            self.by_age.remove(&(first.at, key));
        }
    }

    fn forget_old(&mut self, now: Elapsed) {
        let is_old = |at: Elapsed| at.plus_ms(REMEMBERED_MS) <= now;
        while let Some((at, key)) = self.by_age.first().copied()
            && is_old(at)
        {
            self.forget(key);
        }
        self.missed = self.missed.filter(|at| !is_old(*at));
    }
}
