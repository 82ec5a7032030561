//! Planted bugs about subscriptions: commands and answers changed on their way, changes hidden from replay.

use mulgil_broker::lane::{Burial, Lane, ReplyTo};
use mulgil_broker::request::{Reply, Request};
use mulgil_broker::subscription::{
    Outcome, Receipt, RecordState, Settle, SubscriptionReply, SubscriptionRequest,
};
use mulgil_core::queue::{Claim, Durable, NotArchived, wire};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_record::batch::{BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId};

use crate::planted::Planted;

/// Whether replay is not to see this change of a subscription.
pub(super) fn hides(planted: Option<Planted>, entry: &EntryHeader, payload: &[u8]) -> bool {
    if entry.kind != EntryKind::Subscription {
        return false;
    }
    let change = wire::decode(entry.version, payload);
    match planted {
        Some(Planted::LocksForgotten) => matches!(change, Ok(Durable::Locked { .. })),
        Some(Planted::FailuresForgotten) => {
            matches!(change, Ok(Durable::Released { failed: true, .. }))
        }
        Some(Planted::BurialsForgotten) => {
            matches!(change, Ok(Durable::Archived { moved: true, .. }))
        }
        Some(_) | None => false,
    }
}

/// Changes what is asked.
pub(in crate::process) fn request(request: &mut Request, planted: Option<Planted>) {
    match (planted, request) {
        (
            Some(Planted::LocksCutShort),
            Request::Subscription(SubscriptionRequest::Receive(receive)),
        ) => receive.lock_ms = Some(1),
        (
            Some(Planted::DelayIgnored),
            Request::Subscription(SubscriptionRequest::Settle(settle)),
        ) => {
            for item in &mut settle.items {
                if let Outcome::Release { not_before, .. } = &mut item.outcome {
                    *not_before = None;
                }
            }
        }
        _ => {}
    }
}

/// What is to be acknowledged at once, if it is taken.
#[derive(Debug)]
pub(in crate::process) struct Settled {
    first: Receipt,
    items: usize,
}

/// Settlements to acknowledge at once, if that is the planted bug: those that accept all.
pub(in crate::process) fn early(request: &Request, planted: Option<Planted>) -> Option<Settled> {
    let Request::Subscription(SubscriptionRequest::Settle(Settle { items, .. })) = request else {
        return None;
    };
    let all = items.iter().all(|item| item.outcome == Outcome::Accept);
    let first = items.first().filter(|_| items.len() == 1 && all)?;
    let Claim::Receipt(epoch) = first.claim else {
        return None;
    };
    (planted == Some(Planted::SettledToldEarly)).then_some(Settled {
        first: Receipt {
            subscription: mulgil_record::ids::SubscriptionId(0),
            partition: first.partition,
            offset: first.span.first,
            epoch,
        },
        items: items.len(),
    })
}

fn is_settled(lane: &Lane, partition: PartitionId, offset: Offset) -> bool {
    let mut machines = lane.queue_machines().filter(|(_, of, _)| *of == partition);
    machines.all(|(_, _, machine)| machine.record(offset) == RecordState::Settled)
}

impl Settled {
    /// The answer, once the lane has settled what was asked.
    pub(in crate::process) fn reply(&self, lane: &Lane) -> Option<Reply> {
        let taken = is_settled(lane, self.first.partition, self.first.offset);
        let done = vec![Ok(()); self.items];
        taken.then_some(Reply::Subscription(SubscriptionReply::Settled(Ok(done))))
    }
}

/// Changes answers.
pub(in crate::process) fn replies(replies: &mut [(ReplyTo, Reply)], planted: Option<Planted>) {
    if planted != Some(Planted::DeliveriesMixed) {
        return;
    }
    for (_, reply) in replies {
        if let Reply::Subscription(SubscriptionReply::Acquired(Ok(acquired))) = reply {
            let epochs: Vec<_> = acquired.iter().rev().map(|one| one.epoch).collect();
            for (one, epoch) in acquired.iter_mut().zip(epochs) {
                one.epoch = epoch;
            }
        }
    }
}

/// Changes what is brought to the dead-letter topic.
pub(in crate::process) fn burial(burial: &mut Burial, planted: Option<Planted>) {
    match planted {
        Some(Planted::DeadLettersDropped) => burial.packed = Err(NotArchived::Unreadable),
        Some(Planted::DeathUntold) => {
            let Ok((batch, facts)) = &burial.packed else {
                return;
            };
            let Ok(records) = batch.records(DecodeLimits::default()) else {
                return;
            };
            let Some(record) = records.get(0) else { return };
            let timestamp = batch.header.base_timestamp;
            let mut bare = BatchBuilder::new(Codec::None, timestamp);
            bare.push(
                timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &[],
            );
            burial.packed = Ok((bare.finish(), facts.clone()));
        }
        Some(_) | None => {}
    }
}
