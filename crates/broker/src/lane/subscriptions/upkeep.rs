//! What happens to subscriptions without being asked: ticks, trims, reclaiming, consumers that are gone.
//!
//! A tick of the lane looks at a bounded number of machines, and lets each take a bounded number of turns
//! of bounded work. What is left comes a millisecond later, so that others get the lane in between.

use mulgil_core::machine::{Elapsed, Machine, Now, WallTime};
use mulgil_core::queue::{Change, Command, Volatile};
use mulgil_log::entry::EntryKind;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId};

use super::super::append::entry;
use super::super::{Due, Lane, Origin, StartRise, Turn};
use super::{Key, Subscriptions};
use crate::subscription::{SubscriptionRefusal, SubscriptionReply};

/// Machines that one tick of the lane looks at, and turns that each takes: a turn gives back, fires or
/// hands out about a thousand records, some 0.1 ms.
const MACHINES_A_TICK: usize = 64;
const TURNS_A_TICK: usize = 8;

/// A machine to which nothing has happened for so long gives back what it keeps so that a busy one
/// allocates nothing, milliseconds.
const REST_MS: u32 = 10_000;
/// Machines that one tick of the lane looks at for that.
const RESTS_A_TICK: usize = 64;

impl Subscriptions {
    pub(in crate::lane) fn deadline(&self) -> Option<Elapsed> {
        let machines = self.deadlines.first().map(|(due, _)| *due);
        let consumers = self.consumers.deadline();
        let rests = self.rests.first().map(|(due, _)| *due);
        [machines, consumers, rests].into_iter().flatten().min()
    }

    fn arm_at(&mut self, key: Key, due: Option<Elapsed>) {
        let Some(hosted) = self.hosted.get_mut(&key) else {
            return;
        };
        if hosted.armed == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut hosted.armed, due) {
            self.deadlines.remove(&(old, key));
        }
        self.deadlines.extend(due.map(|due| (due, key)));
    }

    /// Something has happened to a machine. One that is on the list already stays where it is: whether it
    /// rests is found out when its time has come, so a busy one moves once in a while alone.
    pub(super) fn stir(&mut self, key: Key, now: Elapsed) {
        let Some(hosted) = self.hosted.get_mut(&key) else {
            return;
        };
        hosted.stirred = now;
        if hosted.rests.is_none() {
            let due = now.plus_ms(REST_MS);
            hosted.rests = Some(due);
            self.rests.insert((due, key));
        }
    }

    /// Machines that have rested for long enough give memory back, and are off the list until something
    /// happens to them.
    fn rest(&mut self, now: Elapsed) {
        for _ in 0..RESTS_A_TICK {
            let Some((due, key)) = self.rests.first().copied().filter(|(due, _)| *due <= now)
            else {
                return;
            };
            self.rests.remove(&(due, key));
            let Some(hosted) = self.hosted.get_mut(&key) else {
                continue;
            };
            let due = hosted.stirred.plus_ms(REST_MS);
            hosted.rests = (due > now).then_some(due);
            if hosted.rests.is_some() {
                self.rests.insert((due, key));
            } else {
                hosted.machine.shrink();
            }
        }
    }

    pub(in crate::lane) fn forget(&mut self, origin: Origin) {
        self.consumers.forget(origin);
    }
}

impl Lane {
    /// Puts the machine's next tick on the list.
    pub(super) fn arm_queue(&mut self, key: Key, now: Now) {
        let believed = self.log.dates.believed(now);
        let Some(hosted) = self.subscriptions.hosted.get(&key) else {
            return;
        };
        let (elapsed, wall) = hosted.machine.deadline();
        // A date is looked at again when it should have come; if the clock was set back meanwhile, the
        // tick finds nothing due and a new date is set.
        let wall = wall.map(|w| Elapsed(now.elapsed.0 + w.0.saturating_sub(believed.wall.0)));
        let due = [elapsed, wall].into_iter().flatten().min();
        self.subscriptions.arm_at(key, due);
    }

    /// Lets a machine do what is due now, and hand records out.
    pub(super) fn turn_queue(&mut self, key: Key, now: Now, turn: &mut Turn) {
        for _ in 0..TURNS_A_TICK {
            // A tick is never turned down.
            let effects = self.decide_queue(key, Command::Tick, now);
            self.queue_effects(key, effects.unwrap_or_default(), now, turn);
            self.arm_queue(key, now);
            let hosted = self.subscriptions.hosted.get(&key);
            let armed = hosted.and_then(|hosted| hosted.armed);
            if armed.is_none_or(|due| due > now.elapsed) {
                return;
            }
        }
        let later = Some(Elapsed(now.elapsed.0 + 1));
        self.subscriptions.arm_at(key, later);
    }

    /// What is due: machines, consumers whose connection or subscription is gone, waits that are over.
    pub(in crate::lane) fn tick_subscriptions(&mut self, now: Now, turn: &mut Turn) {
        if self
            .subscriptions
            .deadline()
            .is_none_or(|due| due > now.elapsed)
        {
            return;
        }
        for orphan in std::mem::take(&mut self.subscriptions.consumers.orphans) {
            if let Some((to, _)) = orphan.waiting {
                let reply = SubscriptionReply::Acquired(Err(SubscriptionRefusal::Deleted));
                self.answer_subscription(to, Due::synced(self.metadata_due), reply, turn);
            }
        }
        for id in std::mem::take(&mut self.subscriptions.consumers.leaving) {
            self.let_go(id, true, now, turn);
        }
        while let Some(id) = self.subscriptions.consumers.waited(now.elapsed) {
            self.tell(id, true, turn);
        }
        self.subscriptions.rest(now.elapsed);
        for _ in 0..MACHINES_A_TICK {
            let next = self.subscriptions.deadlines.first().copied();
            let Some((_, key)) = next.filter(|(due, _)| *due <= now.elapsed) else {
                return;
            };
            self.turn_queue(key, now, turn);
        }
    }

    /// Machines as the log has them begin to live.
    pub(in crate::lane) fn wake_queues(&mut self, now: Now) {
        // The broker may have gone between a change of settings and what follows from it.
        let all = self.metadata.subscriptions().after(None);
        let all: Vec<_> = all.map(|one| one.id).collect();
        for id in all {
            self.track(id, now);
        }
        let keys: Vec<_> = self.subscriptions.hosted.keys().copied().collect();
        for key in keys {
            self.arm_queue(key, now);
            // What was read back left memory behind as well.
            self.subscriptions.stir(key, now.elapsed);
        }
    }

    /// The machines of a new subscription know under which leadership they hand out.
    pub(super) fn lead_subscription(&mut self, id: SubscriptionId) {
        let epoch = self.leader_epoch;
        let all = (id, PartitionId(0))..=(id, PartitionId(u64::MAX));
        for (_, hosted) in self.subscriptions.hosted.range_mut(all) {
            let led = Change::Volatile(Volatile::Led(epoch));
            hosted.machine.apply(&led);
        }
    }

    /// The log has given up all of a partition below an offset.
    pub(in crate::lane) fn trim_queues(&mut self, partition: PartitionId, to: Offset, now: Now) {
        for id in self.subscriptions.of_partition(partition) {
            // It counts what it loses by that, and refuses nothing.
            let _never = self.decide_queue((id, partition), Command::Trim { to }, now);
            self.arm_queue((id, partition), now);
        }
    }

    /// What is settled may go below this offset, at a date that is believed if there is one. None: nothing
    /// of this partition goes for that.
    pub(in crate::lane) fn reclaim_limit(
        &self,
        partition: PartitionId,
        date: Option<WallTime>,
    ) -> Option<Offset> {
        let hosted = self.partitions.get(&partition)?;
        let settings = &self.metadata.topic_by_id(hosted.topic)?.settings;
        if !settings.reclaim_on_ack || settings.cleanup.compact {
            return None;
        }
        if settings.keep_at_least_ms == 0 {
            return Some(hosted.machine.next);
        }
        // By a clock that is ahead everything is old enough.
        let oldest = date?.0.saturating_sub(settings.keep_at_least_ms);
        let oldest = i64::try_from(oldest).unwrap_or(i64::MAX);
        self.index.start_for_time(partition.0, oldest).map(Offset)
    }

    /// Gives up what all subscriptions of a queue's topic have settled, from its start on.
    pub(in crate::lane) fn reclaim(&mut self, partition: PartitionId, date: Option<WallTime>) {
        let Some(limit) = self.reclaim_limit(partition, date) else {
            return;
        };
        let Some(hosted) = self.partitions.get_mut(&partition) else {
            return;
        };
        let readers = self.subscriptions.of_partition(partition);
        let readers = readers.into_iter().filter_map(|id| {
            let reader = self.subscriptions.hosted.get(&(id, partition));
            reader.map(|reader| reader.machine.start())
        });
        // Without a subscription nothing is reclaimed.
        let Some(settled) = readers.min() else {
            return;
        };
        let to = settled.min(hosted.high_watermark).min(limit);
        if to <= hosted.machine.start {
            return;
        }
        // It lies in the log behind the settlements, and the start is told once it is synced: so what is
        // given up was durably settled.
        let at = self
            .log
            .push_unsynced(entry(EntryKind::LogStart, partition.0, to.0), &[]);
        let count = super::super::keep::offsets_between(hosted.machine.start, to);
        self.dropped.reclaimed += count;
        let trimmed = mulgil_core::partition::Change::Trimmed { to };
        hosted.machine.apply(&trimmed);
        hosted.start_due = at;
        self.start_rises.push_back(StartRise { at, partition, to });
    }
}
