//! A consumer group: who its members are, what each of them reads, and how far it has come.
//!
//! Members join, one of them (the leader) divides the work, each fetches its share, and any change
//! begins that anew. What the shares mean is the members' own business: the group carries them as
//! bytes, so a consumer of topics, a connect worker and anything else are the same to it, and so are
//! eager and cooperative ways of assigning.
//!
//! ```text
//!          join            all joined, or time up          leader's sync
//! Empty ---------> Preparing ---------------> Completing ---------------> Stable
//!   ^                 ^  `---- nobody left        |  a change, a timeout     |
//!   `-----------------+---------------------------+--------------------------'
//! ```
//!
//! Durable are offsets, the numbers of generations, and the outcome of each rebalance. Volatile are
//! sessions, parked requests and rebalances under way: after a restart the members are as the last
//! outcome had them, and each has a whole session to show that it lives. The rules are those of
//! Kafka's group coordinator for classic groups; where this differs, the place says so.
//!
//! Consumers that assign themselves commit with no member and a negative generation; a group of
//! only such has offsets and no members.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use bytes::Bytes;
use mulgil_record::ids::TopicId;

pub use self::change::{Change, Durable, Initial, Volatile};
pub use self::command::{
    Claim, Command, CommitOffsets, DeleteOffsets, Join, Leaving, Subscribed, Sync,
};
pub use self::effect::{Effect, Joined, JoinedMember};
pub use self::held::{GROUP_BYTES, OFFSET_BYTES, PROTOCOL_TYPE_BYTES_MAX, Together};
pub use self::member::{Member, Offered, Settled, Settlement};
pub use self::names::{Generation, InstanceId, MemberId, State, Waiter};
pub use self::offsets::{Committed, OffsetEntry, OffsetKey};
pub use self::refusal::GroupRefusal;
pub use self::settings::GroupSettings;

use self::draft::Draft;
use self::live::Phase;
use self::offsets::Offsets;
use self::roster::Roster;
use crate::machine::{Decision, Elapsed, Machine, Now, Restart, WallTime};

mod change;
mod command;
mod commit;
mod draft;
mod effect;
mod expiry;
mod held;
mod join;
mod live;
mod member;
mod names;
mod offsets;
mod rebalance;
mod refusal;
mod roster;
mod settings;
mod sync;
pub mod wire;

/// One consumer group.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    settings: GroupSettings,
    roster: Roster,
    offsets: Offsets,
}

impl Group {
    /// A group that does not exist yet: the first member, or the first commit from outside, creates it.
    #[must_use]
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            roster: Roster::default(),
            offsets: Offsets::default(),
        }
    }

    /// Lets other settings hold from here on.
    pub const fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// Where the group stands.
    #[must_use]
    pub fn state(&self) -> State {
        if !self.roster.exists() {
            return State::Dead;
        }
        match self.roster.live.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::PreparingRebalance,
            Phase::Completing => State::CompletingRebalance,
            Phase::Stable => State::Stable,
        }
    }

    /// The generation that its members have been told of last.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.roster.live.generation
    }

    /// What kind of group it is; `None` before its first member.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.roster.live.protocol_type.as_deref()
    }

    /// The way of assigning that was chosen.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.roster.live.protocol.as_deref()
    }

    /// Who assigns.
    #[must_use]
    pub const fn leader(&self) -> Option<&MemberId> {
        self.roster.live.leader.as_ref()
    }

    /// How many members it has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.roster.live.seats.len()
    }

    /// Its members, and the share of each, by name.
    pub fn members(&self) -> impl Iterator<Item = (&Member, &Bytes)> {
        let seats = self.roster.live.seats.values();
        seats.map(|seat| (&*seat.member, &seat.assignment))
    }

    /// The committed offset of one partition.
    #[must_use]
    pub fn committed(&self, key: OffsetKey) -> Option<&Committed> {
        self.offsets.kept.get(&key)
    }

    /// All committed offsets, by topic and partition.
    pub fn offsets(&self) -> impl Iterator<Item = (&OffsetKey, &Committed)> {
        self.offsets.kept.iter()
    }

    /// What it holds beside its members, bytes, about: a name of so many bytes, its offsets with their
    /// notes, and what all that takes in memory. Nothing while it does not exist.
    #[must_use]
    pub const fn held_bytes(&self, name_bytes: usize) -> usize {
        if self.roster.exists() {
            GROUP_BYTES + name_bytes + self.offsets.bytes
        } else {
            0
        }
    }

    /// Which of `topics` it has offsets of. Takes time by the shorter of both lists.
    #[must_use]
    pub fn topics_among(&self, topics: &BTreeSet<TopicId>) -> Vec<TopicId> {
        let mut found = Vec::new();
        let mut rest = Bound::Unbounded;
        while let Some(topic) = topics.range((rest, Bound::Unbounded)).next() {
            let mut kept = self.offsets.kept.range(OffsetKey::first_of(*topic)..);
            let Some((key, _)) = kept.next() else { break };
            if key.topic == *topic {
                found.push(*topic);
                rest = Bound::Excluded(*topic);
            } else {
                rest = Bound::Included(key.topic);
            }
        }
        found
    }

    /// Whether deciding `command` may write more than a few words.
    #[must_use]
    pub fn is_large(&self, command: &Command) -> bool {
        match command {
            Command::Join(_) | Command::CommitOffsets(_) => true,
            // The leader's, which brings all shares.
            Command::Sync(sync) => {
                self.state() == State::CompletingRebalance
                    && self.leader() == Some(&sync.claim.member)
            }
            Command::Heartbeat(_)
            | Command::Leave(_)
            | Command::DeleteOffsets(_)
            | Command::ForgetTopic(_)
            | Command::ExpireUnread(_)
            | Command::Tick
            | Command::Delete => false,
        }
    }

    /// The fewest durable changes that lead to what the log has of this group: its checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<Durable> {
        let kept = &self.roster.kept;
        let Some(at) = kept.created else {
            return Vec::new();
        };
        let generation = kept.begun;
        let mut changes = Vec::new();
        changes.push(Durable::Created { at });
        changes.push(Durable::Settled(kept.settlement.clone()));
        changes.push(Durable::Begun { generation });
        let offsets = self.offsets.kept.iter();
        let offsets: Vec<_> = offsets.map(|(k, c)| (*k, c.clone())).collect();
        if !offsets.is_empty() {
            changes.push(Durable::OffsetsCommitted(offsets));
        }
        changes
    }

    /// Decides `command` as [`Machine::decide`] does, for a group among others: the bounds of what all
    /// groups hold together are kept to.
    ///
    /// # Errors
    ///
    /// A refusal is an answer for the client, and leaves no trace.
    pub fn decide_among(
        &self,
        command: Command,
        now: Now,
        together: Together,
        out: &mut Decision<Change, Effect>,
    ) -> Result<(), GroupRefusal> {
        let mut draft = Draft::new(&self.roster, &self.settings, now, together, out);
        match self.decide_in(command, &mut draft) {
            Ok(()) => draft.finish(),
            Err(why) => {
                draft.abandon();
                return Err(why);
            }
        }
        Ok(())
    }

    fn forget_topic(&self, draft: &mut Draft<'_>, topic: TopicId) {
        if self
            .offsets
            .kept
            .range(OffsetKey::all_of(topic))
            .next()
            .is_some()
        {
            draft.riding(Durable::TopicForgotten(topic));
        }
    }

    fn delete(&self, draft: &mut Draft<'_>) -> Result<(), GroupRefusal> {
        if self.roster.live.phase != Phase::Empty {
            let members = self.member_count();
            return Err(GroupRefusal::NotEmpty { members });
        }
        draft.waited(Durable::Deleted);
        draft.effect(Effect::Deleted);
        Ok(())
    }

    fn decide_in(&self, command: Command, draft: &mut Draft<'_>) -> Result<(), GroupRefusal> {
        let may_create = matches!(command, Command::Join(_) | Command::CommitOffsets(_));
        if !self.roster.exists() && !may_create {
            let harmless = matches!(command, Command::Tick | Command::ForgetTopic(_));
            return if harmless {
                Ok(())
            } else {
                Err(GroupRefusal::NoSuchGroup)
            };
        }
        match command {
            Command::Join(join) => join::join(draft, *join),
            Command::Sync(sync) => sync::sync(draft, *sync),
            Command::Heartbeat(claim) => sync::heartbeat(draft, claim),
            Command::Leave(leaving) => {
                sync::leave(draft, leaving);
                Ok(())
            }
            Command::CommitOffsets(commit) => commit::commit(draft, &self.offsets, *commit),
            Command::DeleteOffsets(delete) => commit::delete_offsets(draft, &self.offsets, delete),
            Command::ForgetTopic(topic) => {
                self.forget_topic(draft, topic);
                Ok(())
            }
            Command::ExpireUnread(read) => expiry::expire_unread(draft, &self.offsets, read),
            Command::Tick => {
                expiry::tick(draft, &self.offsets);
                Ok(())
            }
            Command::Delete => self.delete(draft),
        }
    }

    fn apply_offsets(&mut self, change: &Durable) {
        match change {
            Durable::OffsetsCommitted(entries) => {
                for (key, committed) in entries {
                    self.offsets.keep(*key, committed.clone());
                }
            }
            Durable::OffsetsDeleted(keys) => {
                for key in keys {
                    self.offsets.give_up(key);
                }
            }
            Durable::TopicForgotten(topic) => {
                let gone = self.offsets.kept.range(OffsetKey::all_of(*topic));
                let gone: Vec<OffsetKey> = gone.map(|(key, _)| *key).collect();
                for key in gone {
                    self.offsets.give_up(&key);
                }
            }
            Durable::Deleted => self.offsets = Offsets::default(),
            Durable::Created { .. }
            | Durable::Begun { .. }
            | Durable::Settled(_)
            | Durable::Replaced { .. } => {}
        }
    }
}

impl Machine for Group {
    type Command = Command;
    type Change = Change;
    type Effect = Effect;
    type Refusal = GroupRefusal;

    fn decide(
        &self,
        command: Command,
        now: Now,
        out: &mut Decision<Change, Effect>,
    ) -> Result<(), GroupRefusal> {
        // As if there were no other group.
        let alone = Together {
            groups: usize::from(self.roster.exists()),
            bytes: self.held_bytes(0),
            name_bytes: 0,
        };
        self.decide_among(command, now, alone, out)
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Durable(change) => {
                self.roster.apply_durable(change);
                self.apply_offsets(change);
            }
            Change::Volatile(Volatile::Swept { next, from }) => {
                (self.offsets.next_check, self.offsets.from) = (*next, *from);
            }
            Change::Volatile(change) => self.roster.apply_volatile(change),
        }
    }

    fn deadline(&self) -> (Option<Elapsed>, Option<WallTime>) {
        let roster = &self.roster;
        let look = roster.empty_since().map(|_| self.offsets.next_check);
        (expiry::deadline(&roster.live), look)
    }
}

impl Restart for Group {
    fn forget_volatile(&mut self) {
        self.roster.forget_volatile();
        self.offsets.forget_volatile();
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("state", &self.state())
            .field("generation", &self.generation())
            .field("members", &self.member_count())
            .field("offsets", &self.offsets.kept.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
