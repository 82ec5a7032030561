//! A subscription: a queue-style reader of one partition's log, and who holds which of its records.
//!
//! Records stay in the log. A subscription remembers, by offset, how far each has come:
//!
//! ```text
//!                 its time                        accept
//!   scheduled ----------------> available <-+---> acknowledged
//!       ^                         |  ^      |
//!       |                 acquire |  | release, lock ran out, consumer gone
//!       |  release later          v  |      |
//!       `----------------------- acquired --'
//!                                 | reject, tried too often
//!                                 v
//!                             archiving ----------> archived
//!                                       target has it
//! ```
//!
//! It costs by what is held and by holes, and not by what waits: what lies between the two ends and is
//! in no set is available. Durable are what is settled, scheduled or given up, how often a record was
//! tried, and locks that outlive their connection. Volatile are consumers, their credit, and what is
//! locked for as long as they are attached: after a restart that is available again, and its tries
//! say that it was handed out before.
//!
//! It deliberately does not read records, and knows of none what facts do not say.

use core::fmt;

use mulgil_record::facts::Columns;
use mulgil_record::ids::{LeaderEpoch, Offset};

pub use self::change::{Change, Durable, Volatile};
pub use self::command::{
    Again, Append, Attach, Claim, Command, Grant, LockTerm, NotArchived, Outcome, Pull, Settle,
};
pub use self::effect::{Death, Effect};
pub use self::names::{Browsed, ConsumerId, LockEpoch, Reason, RecordState, Tries};
pub use self::refusal::QueueRefusal;
pub use self::settings::{Overflow, Retry, Settings};
pub use self::settled::Settled;
pub use self::span::Span;
pub use self::tally::{Counts, Tally};

use self::draft::Draft;
use self::state::State;
use crate::machine::{Decision, Elapsed, Machine, Now, Restart, WallTime};

mod acquire;
mod apply;
mod archive;
mod arrivals;
mod attach;
mod change;
mod column;
mod command;
mod consumers;
mod draft;
mod effect;
mod facets;
mod ids;
mod keys;
mod locks;
mod marks;
mod names;
mod offers;
mod offset_set;
mod order;
mod ranges;
mod ready;
mod refusal;
mod retry;
mod schedule;
mod settings;
mod settle;
mod settled;
pub mod snapshot;
mod span;
mod state;
mod table;
mod tally;
mod tick;
mod time_index;
mod timers;
pub mod wire;

/// One subscription's reading of one partition.
#[derive(Clone)]
pub struct Subscription {
    settings: Settings,
    state: State,
}

impl Subscription {
    /// A subscription that begins at an offset; what lies below is not for it.
    #[must_use]
    pub fn new(settings: Settings, from: Offset) -> Self {
        Self {
            settings,
            state: State::new(from.0.max(0)),
        }
    }

    /// Lets other settings hold from here on.
    pub const fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// All below is settled.
    #[must_use]
    pub const fn start(&self) -> Offset {
        Offset(self.state.kept.start)
    }

    /// The first offset that it does not know of yet.
    #[must_use]
    pub const fn end(&self) -> Offset {
        Offset(self.state.kept.end)
    }

    /// What became of records so far.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.state.kept.tally
    }

    /// How many records stand where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let State { kept, live } = &self.state;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Counts {
            available: self.state.available(),
            acquired: number(live.locks.len()),
            scheduled: kept.schedule.waiting.len(),
            archiving: number(kept.condemned.len()) + live.ripe.len(),
            waiting_bytes: self.state.waiting_bytes(),
        }
    }

    /// Not after when the oldest record that is not settled was appended; none if there is no such record.
    #[must_use]
    pub fn oldest(&self) -> Option<WallTime> {
        let kept = &self.state.kept;
        let any = kept.start < kept.end;
        any.then(|| kept.marks.not_after(kept.start)).flatten()
    }

    /// Until when no record is brought to the dead-letter target because that was full, if so.
    #[must_use]
    pub const fn archiving_paused(&self) -> Option<Elapsed> {
        self.state.live.archiving.paused
    }

    /// How many consumers are attached.
    #[must_use]
    pub const fn consumer_count(&self) -> usize {
        self.state.live.consumers.len()
    }

    /// The leadership that receipts are given under.
    #[must_use]
    pub const fn leader(&self) -> LeaderEpoch {
        self.state.live.leader
    }

    /// Which facts of records are kept.
    #[must_use]
    pub fn tracked(&self) -> Columns {
        self.state.tracked()
    }

    /// Where a record stands.
    #[must_use]
    pub fn record(&self, at: Offset) -> RecordState {
        self.state.place(at.0)
    }

    /// What is not settled from an offset on, in order. Looking changes nothing.
    pub fn browse(&self, from: Offset) -> impl Iterator<Item = Browsed> {
        let mut from = from.0.max(self.state.kept.start);
        core::iter::from_fn(move || {
            let at = self.state.kept.done.next_out(from);
            from = at + 1;
            (at < self.state.kept.end).then(|| Browsed {
                offset: Offset(at),
                state: self.state.place(at),
                tries: self.state.tries(at),
            })
        })
    }

    /// For how long ids of records are known, if they are.
    #[must_use]
    pub fn deduplicates(&self) -> Option<u64> {
        self.state.kept.ids.as_ref().map(|ids| ids.window_ms)
    }

    /// The records of an append whose id came before: a shell answers with the first ones instead.
    #[must_use]
    pub fn again(&self, append: &Append) -> alloc::vec::Vec<Again> {
        self.state.again(append)
    }

    /// The first record with an id, if ids are known and its window is not over at a time.
    #[must_use]
    pub fn first_with(&self, id: u128, at: WallTime) -> Option<Offset> {
        self.state.first_with(id, at).map(Offset)
    }

    /// Who gets records where one consumer alone does, see [`Settings::single_active`].
    #[must_use]
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        self.state.live.consumers.active().map(|active| active.id)
    }

    /// How often an unsettled record was tried.
    #[must_use]
    pub fn tries(&self, at: Offset) -> Tries {
        self.state.tries(at.0)
    }

    /// Gives back memory that is kept so that a busy subscription allocates nothing. The shell asks when
    /// nothing has happened for a while.
    pub fn shrink(&mut self) {
        self.state.shrink();
    }

    /// Bytes of memory, about: what it takes itself, and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let State { kept, live } = &self.state;
        let sets = [&kept.done, &kept.schedule.waiting, &live.taken];
        let archiving = [&live.archiving.asked, &live.archiving.unasked, &live.dirty];
        let sets = sets.iter().chain(&archiving).map(|set| set.heap_bytes());
        size_of::<Self>()
            + sets.sum::<usize>()
            + kept.tries.heap_bytes()
            + kept.schedule.index.heap_bytes()
            + kept.expiry.heap_bytes()
            + kept.marks.heap_bytes()
            + kept.overdue.heap_bytes()
            + kept.condemned.len() * 96
            + kept.facets.as_ref().map_or(0, |facets| facets.heap_bytes())
            + kept.ids.as_ref().map_or(0, |ids| ids.heap_bytes())
            + live.ready.heap_bytes()
            + live.keys.as_ref().map_or(0, |keys| keys.heap_bytes())
            + live.locks.heap_bytes()
            + live.consumers.heap_bytes()
    }

    fn decide_in(&self, command: Command, draft: &mut Draft<'_>) -> Result<(), QueueRefusal> {
        let (state, settings) = (&self.state, &self.settings);
        match command {
            Command::Lead(leader) => {
                // Receipts of one leadership are numbered through: one that is known begins no second time.
                if leader > state.live.leader {
                    draft.volatile(Volatile::Led(leader));
                }
            }
            Command::Track(columns) => return archive::track(state, draft, columns),
            Command::Deduplicate { window_ms } => archive::deduplicate(state, draft, window_ms),
            Command::Append(append) => return archive::append(state, settings, draft, append),
            Command::Attach(attach) => return attach::attach(state, draft, attach),
            Command::Grant(grant) => return attach::grant(state, draft, grant),
            Command::Revoke(consumer) => return attach::revoke(state, draft, consumer),
            Command::Detach { consumer, failed } => {
                return attach::detach(state, draft, consumer, failed);
            }
            Command::Pull(pull) => return attach::pull(state, draft, pull),
            Command::Settle(settle) => return settle::settle(state, settings, draft, settle),
            Command::Archived(span) => return archive::archived(state, draft, span),
            Command::NotArchived { offset, why } => {
                return archive::not_archived(state, draft, offset, why);
            }
            Command::Schedule { offset, due } => {
                return archive::schedule(state, draft, offset, due);
            }
            Command::Cancel { offset } => return archive::cancel(state, draft, offset),
            Command::Take(span) => return archive::take(state, draft, span),
            Command::Trim { to } => {
                if to.0 > state.kept.start {
                    draft.waited(Durable::Trimmed { to });
                }
            }
            Command::Purge { held } => ranges::purge(state, draft, held),
            Command::Seek { to } => return ranges::seek(state, draft, to),
            Command::Tick => tick::tick(state, settings, draft),
        }
        Ok(())
    }
}

impl Machine for Subscription {
    type Command = Command;
    type Change = Change;
    type Effect = Effect;
    type Refusal = QueueRefusal;

    fn decide(
        &self,
        command: Command,
        now: Now,
        out: &mut Decision<Change, Effect>,
    ) -> Result<(), QueueRefusal> {
        self.decide_in(command, &mut Draft::new(&self.settings, now, out))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Appended(append) => apply::appended(&mut self.state, append),
            Change::Durable(change) => apply::durable(&mut self.state, change),
            Change::Volatile(change) => apply::volatile(&mut self.state, change),
        }
    }

    fn deadline(&self) -> (Option<Elapsed>, Option<WallTime>) {
        let (state, settings) = (&self.state, &self.settings);
        (tick::deadline(state, settings), tick::date(state, settings))
    }
}

impl Restart for Subscription {
    fn forget_volatile(&mut self) {
        self.state.forget_volatile();
    }
}

/// Two are the same if a restart could not tell them apart.
impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.state, &other.state);
        self.settings == other.settings
            && a.kept == b.kept
            && a.live.locks.kept() == b.live.locks.kept()
    }
}

impl Eq for Subscription {}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("kept", &self.state.kept)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
