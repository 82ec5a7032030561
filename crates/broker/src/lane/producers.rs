//! Handing out producer ids: a block is reserved durably, then given out one by one.

use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::position::Position;
use mulgil_record::ids::{ProducerEpoch, ProducerId};

use super::{Due, Lane};
use crate::request::{NewProducer, NewProducerRefusal, Reply};

/// Ids reserved at once, as Kafka does (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
const BLOCK: i64 = 1_000;

/// Which ids are given, and which are reserved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProducerIds {
    next: i64,
    reserved: i64,
    /// The entry that reserved the block.
    due: Position,
}

impl ProducerIds {
    /// Ids below are taken; replayed.
    pub(super) fn reserved_to(&mut self, to: i64) {
        self.reserved = self.reserved.max(to);
        self.next = self.reserved;
    }

    /// The first id that was never reserved, for a checkpoint.
    pub(super) const fn reserved(&self) -> i64 {
        self.reserved
    }
}

impl Lane {
    pub(super) fn new_producer(&mut self, new: NewProducer) -> (Due, Reply) {
        if self.stopping {
            return (
                Due::NOW,
                Reply::NewProducer(Err(NewProducerRefusal::Stopping)),
            );
        }
        // A producer that is only idempotent gets a fresh id whatever it had (KIP-360): its old
        // sequence numbers mean nothing under the new one.
        let _ = new.current;
        if self.producers.next == self.producers.reserved {
            let base = self.producers.reserved;
            let header = EntryHeader {
                kind: EntryKind::ProducerEpoch,
                version: 1,
                flags: 0,
                length: 0,
                object: 0,
                base,
                count: u32::try_from(BLOCK).expect("a small block"),
            };
            self.producers.due = self.log.push(header, &[]);
            self.producers.reserved = base + BLOCK;
        }
        let id = ProducerId(self.producers.next);
        self.producers.next += 1;
        (
            Due::synced(self.producers.due),
            Reply::NewProducer(Ok((id, ProducerEpoch(0)))),
        )
    }
}
