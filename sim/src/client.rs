//! Simulated clients: small state machines that ask, check what they are answered, and ask again.

use mulgil_broker::request::{Reply, Request, Ticket};
use mulgil_core::machine::Now;
use mulgil_log::disk::cut::Dice;
use mulgil_meta::catalog::Catalog;
use mulgil_record::ids::PartitionId;

use crate::ledger::{GRAVEYARD, Ledger};
use crate::trace::Trace;
use crate::violation::{Kept, Violation};

mod admin;
mod member;
mod overseer;
mod producer;
mod reader;
mod worker;

pub use admin::{Admin, DELETE_RETENTION_MS};
pub(crate) use admin::{DURABILITY, word};
pub use member::Member;
pub use overseer::Overseer;
pub use producer::Producer;
pub use reader::Reader;
pub use worker::Worker;

/// What a client sees of the world when it acts.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Decides.
    pub dice: &'a mut Dice,
    /// Knows.
    pub ledger: &'a mut Ledger,
    /// Tells.
    pub trace: &'a mut Trace,
    /// The topics that doors are shown.
    pub catalog: &'a Catalog,
    /// Both times.
    pub now: Now,
}

impl Scene<'_> {
    /// A partition of any topic, if there is any.
    pub fn any_partition(&mut self) -> Option<PartitionId> {
        let all: Vec<_> = self
            .catalog
            .by_id
            .values()
            .filter(|topic| topic.id != GRAVEYARD)
            .flat_map(|t| &t.partitions)
            .collect();
        self.one_of(&all).map(|id| **id)
    }

    /// One of these, if there are any.
    pub fn one_of<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
        from.get(usize::try_from(self.dice.below(count)).unwrap_or(0))
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.dice.below(limit as u64)).unwrap_or(0)
    }
}

/// A client.
#[derive(Debug)]
pub enum Client {
    /// Sends records.
    Producer(Producer),
    /// Reads records.
    Reader(Reader),
    /// Creates, alters, deletes and trims.
    Admin(Admin),
    /// Reads with others, as a group.
    Member(Member),
    /// Looks after groups from outside.
    Overseer(Overseer),
    /// Works off a subscription.
    Worker(Worker),
}

/// An answer that is not one to what was asked.
fn odd(reply: &Reply) -> Violation {
    Violation::new(
        crate::violation::Rule::Answered,
        format!("an odd answer: {reply:?}"),
    )
}

impl Client {
    /// Does something, if there is anything to do.
    pub fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        match self {
            Self::Producer(producer) => producer.act(ticket, scene),
            Self::Reader(reader) => reader.act(ticket, scene),
            Self::Admin(admin) => admin.act(ticket, scene),
            Self::Member(member) => member.act(ticket, scene),
            Self::Overseer(overseer) => overseer.act(ticket, scene),
            Self::Worker(worker) => worker.act(ticket, scene),
        }
    }

    /// Takes an answer.
    ///
    /// # Errors
    ///
    /// If it breaks a promise.
    pub fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        match self {
            Self::Producer(producer) => producer.answered(ticket, reply, scene),
            Self::Reader(reader) => reader.answered(ticket, &reply, scene),
            Self::Admin(admin) => admin.answered(ticket, reply, scene),
            Self::Member(member) => member.answered(ticket, reply, scene),
            Self::Overseer(overseer) => overseer.answered(ticket, reply, scene),
            Self::Worker(worker) => worker.answered(ticket, reply, scene),
        }
    }

    /// The connection is gone, and with it all answers that were not there yet.
    pub fn disconnected(&mut self) {
        match self {
            Self::Producer(producer) => producer.disconnected(),
            Self::Reader(reader) => reader.disconnected(),
            Self::Admin(admin) => admin.disconnected(),
            Self::Member(member) => member.disconnected(),
            Self::Overseer(overseer) => overseer.disconnected(),
            Self::Worker(worker) => worker.disconnected(),
        }
    }

    /// How many answers it waits for; and of those, whether one is a read that has nothing to wait for.
    #[must_use]
    pub fn waits(&self, ledger: &Ledger) -> (usize, bool) {
        match self {
            Self::Producer(producer) => (producer.waits(), false),
            Self::Reader(reader) => reader.waits(ledger),
            Self::Admin(admin) => (admin.waits(), false),
            Self::Member(member) => (member.waits(), false),
            Self::Overseer(overseer) => (overseer.waits(), false),
            Self::Worker(worker) => (worker.waits(), false),
        }
    }
}
