//! What happens to groups without being asked: ticks when they want one, and topics that are deleted.
//!
//! A tick of a group does a bounded part of its work and finds the rest due, and a tick of the lane
//! looks at a bounded number of groups. What is left comes with the next, so that whoever waits for the
//! lane gets it in between.

use std::collections::BTreeSet;

use mulgil_core::group::Command;
use mulgil_core::machine::{Elapsed, Machine, Now};
use mulgil_record::ids::{GroupId, TopicId};

use super::super::{Lane, Origin, Turn};
use super::Groups;

/// Groups that one tick of the lane looks at: some milliseconds, if each of them looks over as many
/// offsets as it may at once (4,096).
const GROUPS_A_TICK: usize = 64;

impl Groups {
    pub(in crate::lane) fn deadline(&self) -> Option<Elapsed> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Puts the group's next tick on the list.
    pub(super) fn arm(&mut self, id: GroupId, now: Now) {
        let Some(hosted) = self.hosted.get(&id) else {
            return;
        };
        let (elapsed, wall) = hosted.machine.deadline();
        // A date is looked at again when it should have come; if the clock was set back meanwhile,
        // the tick finds nothing due and a new date is set.
        let wall = wall.map(|w| Elapsed(now.elapsed.0 + w.0.saturating_sub(now.wall.0)));
        self.arm_at(id, [elapsed, wall].into_iter().flatten().min());
    }

    fn arm_at(&mut self, id: GroupId, due: Option<Elapsed>) {
        let Some(hosted) = self.hosted.get_mut(&id) else {
            return;
        };
        if hosted.armed == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut hosted.armed, due) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.extend(due.map(|due| (due, id)));
    }
}

impl Lane {
    pub(in crate::lane) fn tick_groups(&mut self, now: Now, turn: &mut Turn) {
        for _ in 0..GROUPS_A_TICK {
            let next = self.groups.deadlines.first().copied();
            let Some((_, id)) = next.filter(|(due, _)| *due <= now.elapsed) else {
                return;
            };
            // A tick is never turned down.
            let _never = self.decide_group(id, None, Command::Tick, now, turn);
            // The machine has said what is due now; whatever it still wants comes a moment later.
            let later = Elapsed(now.elapsed.0 + 1);
            let hosted = self.groups.hosted.get(&id);
            if hosted.is_some_and(|hosted| hosted.armed.is_some_and(|due| due < later)) {
                self.groups.arm_at(id, Some(later));
            }
        }
    }

    /// Groups as the log has them begin to live: their members have a session to show themselves.
    pub(in crate::lane) fn wake_groups(&mut self, now: Now) {
        let believed = self.log.dates.believed(now);
        let ids: Vec<_> = self.groups.hosted.keys().copied().collect();
        for id in ids {
            self.groups.arm(id, believed);
        }
    }

    pub(in crate::lane) fn forget_in_groups(&mut self, origin: Origin) {
        self.groups.waiters.forget(origin);
    }

    /// Gives up the offsets of topics that are deleted, in all groups.
    pub(in crate::lane) fn forget_topics_in_groups(
        &mut self,
        topics: &BTreeSet<TopicId>,
        now: Now,
        turn: &mut Turn,
    ) {
        let all = self.groups.hosted.iter();
        let kept = all.flat_map(|(id, hosted)| {
            let found = hosted.machine.topics_among(topics).into_iter();
            found.map(|topic| (*id, topic))
        });
        let kept: Vec<_> = kept.collect();
        for (id, topic) in kept {
            // Forgetting is never turned down.
            let _never = self.decide_group(id, None, Command::ForgetTopic(topic), now, turn);
        }
    }
}
