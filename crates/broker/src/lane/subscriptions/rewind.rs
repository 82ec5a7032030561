//! Subscriptions lose all that waits, or go on elsewhere.

use mulgil_core::machine::{Decision, Machine, Now};
use mulgil_core::queue::Command;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId};

use super::super::{Due, Lane, Turn};
use super::Key;
use crate::subscription::{SubscriptionRef, SubscriptionRefusal, SubscriptionReply};

impl Lane {
    /// The subscription, if something can be done with it.
    fn standing(&self, which: &SubscriptionRef) -> Result<SubscriptionId, SubscriptionRefusal> {
        let id = self.find_subscription(which)?.id;
        if self.stopping {
            return Err(SubscriptionRefusal::Stopping);
        }
        Ok(id)
    }

    /// Lets all that waits go. It costs by what stays, and makes room on a full disk.
    pub(super) fn purge(
        &mut self,
        which: &SubscriptionRef,
        held: bool,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let id = match self.standing(which) {
            Ok(id) => id,
            Err(why) => {
                let due = Due::synced(self.metadata_due);
                return (due, SubscriptionReply::Purged(Err(why)));
            }
        };
        let mut purged = 0;
        for partition in self.partitions_read(id) {
            let key = (id, partition);
            let before = self.purged(key);
            self.command_queue(key, Command::Purge { held }, now, turn);
            purged += self.purged(key) - before;
        }
        let due = self.subscription_due(id);
        (due, SubscriptionReply::Purged(Ok(purged)))
    }

    fn purged(&self, key: Key) -> u64 {
        let hosted = self.subscriptions.hosted.get(&key);
        hosted.map_or(0, |hosted| hosted.machine.tally().purged)
    }

    /// Goes on elsewhere, in all of the partitions that are named or in none.
    pub(super) fn seek(
        &mut self,
        which: &SubscriptionRef,
        to: &[(PartitionId, Offset)],
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let sought = self.standing(which).and_then(|id| {
            let commands = self.seeks(id, to, now)?;
            for (key, command) in commands {
                self.command_queue(key, command, now, turn);
            }
            Ok(id)
        });
        let due = match &sought {
            Ok(id) => self.subscription_due(*id),
            Err(_) => Due::synced(self.metadata_due),
        };
        (due, SubscriptionReply::Sought(sought.map(drop)))
    }

    /// What is said to each machine, if none of them minds.
    fn seeks(
        &mut self,
        id: SubscriptionId,
        to: &[(PartitionId, Offset)],
        now: Now,
    ) -> Result<Vec<(Key, Command)>, SubscriptionRefusal> {
        let date = self.log.dates.stamp(now);
        let mut commands = Vec::with_capacity(to.len());
        for (partition, to) in to {
            let key = (id, *partition);
            let hosted = self.subscriptions.hosted.get(&key);
            let hosted = hosted.ok_or(SubscriptionRefusal::UnknownPartition(*partition))?;
            let log = self.partitions.get(partition);
            let start = log.map_or(Offset::ZERO, |log| log.machine.start);
            let end = hosted.machine.end().max(start);
            let to = (*to).clamp(start, end).min(hosted.machine.end());
            let command = Command::Seek { to };
            let mut tried = Decision::default();
            hosted.machine.decide(command.clone(), date, &mut tried)?;
            commands.push((key, command));
        }
        Ok(commands)
    }
}
