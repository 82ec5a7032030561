//! Records received: taken from a subscription, read, and handed to the caller under their locks.
//!
//! ```text
//! lane: acquired stretches --> read and unpack --> the caller
//!         |                        |  too large for this answer: given back
//!         |                        |  no such record any more: settled
//!         '-- caller gone: given back
//! ```

use std::sync::Arc;

use mulgil_admin::backend::{Begin, Read};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    BrowsedPage, BrowsedRecord, Payload, Receive, Received, ReceivedRecord, Record,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::{Browse, Which};
use mulgil_admin::time::Timestamp;
use mulgil_broker::facts::Selectable;
use mulgil_broker::request::{Reply, Request};
use mulgil_broker::subscription::{
    self as broker, Acquired, Claim, Filter, Outcome, RecordState, Settle, Settlement, Span,
    Subscription, SubscriptionRef, SubscriptionReply, SubscriptionRequest,
};
use mulgil_core::machine::{Elapsed, Now};
use mulgil_meta::schema::Topic;
use mulgil_record::batch::NO_TIMESTAMP;
use mulgil_record::ids::{Offset, PartitionId};

use tokio::task::JoinSet;

use super::LocalBackend;
use super::held::Held;
use crate::backend::refusals::{stopping, subscription_refusal, unexpected};

/// A wait is asked for in pieces as long as this, so that a caller who has gone leaves nobody waiting for
/// longer.
const WAIT_PIECE_MS: u32 = 1_000;

/// So long somebody who does not want to wait looks for a record that the filter selects.
const LOOK_MS: u32 = 1_000;

/// About so many bytes of keys, values and headers in one answer.
const ANSWER_BYTES: u32 = 4 << 20;

/// What is read so far.
#[derive(Default)]
struct Unpacked {
    records: Vec<ReceivedRecord>,
    bytes: usize,
    /// What there is no room for.
    back: Vec<Acquired>,
    /// What there is no record of any more.
    gone: Vec<Acquired>,
    /// Why something was not read.
    failed: Option<Refusal>,
}

impl Unpacked {
    /// Takes the records of the offsets from `at` up to `next`; those between them hold none, and those that
    /// the filter does not select are as if they held none.
    fn take(
        &mut self,
        one: &Acquired,
        (at, next): (Offset, Offset),
        records: Vec<Record>,
        filter: Option<&Filter>,
        now: Now,
    ) {
        let selected = |record: &Record| {
            filter.is_none_or(|filter| seen(record).is_selected(filter.selector()))
        };
        let mut gone = |first: Offset, end: Offset| {
            if first < end {
                let span = Span { first, end };
                self.gone.push(Acquired { span, ..*one });
            }
        };
        let mut at = at;
        for record in records {
            let offset = Offset(record.offset);
            if offset >= next {
                break;
            }
            if !selected(&record) {
                continue;
            }
            gone(at, offset);
            self.bytes += bytes_of(&record);
            self.records.push(received(one, record, now));
            at = offset.plus(1);
        }
        gone(at, next);
    }
}

impl LocalBackend {
    pub(super) async fn receive_some(
        &self,
        which: Which<'_>,
        receive: Receive,
    ) -> Result<Received, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let mut left_ms = receive.wait_ms;
        let began = self.broker.now().elapsed.0;
        let mut settling = JoinSet::new();
        let received = loop {
            let wait_ms = left_ms.min(WAIT_PIECE_MS);
            let held = self.acquire(&subscription, receive, wait_ms).await?;
            if held.records().is_empty() {
                left_ms -= wait_ms;
                if left_ms == 0 {
                    break Ok(Received::default());
                }
                continue;
            }
            let filter = subscription.filter.as_ref();
            let unpacked = self.unpack_all(&topic, held.records(), filter).await;
            let Unpacked {
                records,
                back,
                gone,
                failed,
                ..
            } = unpacked;
            if let (true, Some(why)) = (records.is_empty(), failed) {
                break Err(why);
            }
            let none = records.is_empty() && !gone.is_empty();
            self.settle_gone(&subscription, gone, &mut settling);
            held.hand_over(back);
            // There was nothing in what was taken; what lies behind it may have something, but nobody
            // waits for long who does not want to.
            let looked_ms = self.broker.now().elapsed.0.saturating_sub(began);
            if !none || looked_ms >= u64::from(left_ms.max(LOOK_MS)) {
                break Ok(Received { records });
            }
        };
        while settling.join_next().await.is_some() {}
        received
    }

    /// Takes what there is, or waits for some; whoever drops the answer gives it back.
    async fn acquire(
        &self,
        subscription: &Subscription,
        receive: Receive,
        wait_ms: u32,
    ) -> Result<Held, Refusal> {
        self.reach().await?;
        let id = subscription.id;
        let ask = SubscriptionRequest::Receive(broker::Receive {
            subscription: SubscriptionRef::Id(id),
            records_max: receive.records_max,
            lock_ms: receive.lock_ms,
            wait_ms,
        });
        let broker = Arc::clone(&self.broker);
        // A task of its own, that is there for the answer though the caller may have gone.
        let asked = tokio::spawn(async move {
            let reply = broker.ask(Request::Subscription(ask)).await;
            let reply = reply.ok_or_else(stopping)?;
            let Reply::Subscription(SubscriptionReply::Acquired(got)) = reply else {
                return Err(unexpected());
            };
            Ok(got.map(|got| Held::new(broker, id, got)))
        });
        let got = asked.await.map_err(|_panicked| unexpected())??;
        got.map_err(|why| subscription_refusal(&why, &subscription.name.name))
    }

    async fn unpack_all(
        &self,
        topic: &Topic,
        acquired: &[Acquired],
        filter: Option<&Filter>,
    ) -> Unpacked {
        let mut unpacked = Unpacked::default();
        for one in acquired {
            if unpacked.failed.is_some() || unpacked.bytes >= ANSWER_BYTES as usize {
                unpacked.back.push(*one);
                continue;
            }
            if let Err(why) = self.unpack_one(topic, *one, filter, &mut unpacked).await {
                unpacked.failed = Some(why);
            }
        }
        unpacked
    }

    /// Reads the records of one stretch.
    async fn unpack_one(
        &self,
        topic: &Topic,
        one: Acquired,
        filter: Option<&Filter>,
        unpacked: &mut Unpacked,
    ) -> Result<(), Refusal> {
        let Some(partition) = index_of(topic, one.partition) else {
            unpacked.gone.push(one);
            return Ok(());
        };
        let now = self.broker.now();
        let mut at = one.span.first;
        while at < one.span.end {
            let most = ANSWER_BYTES as usize;
            let rest = Span {
                first: at,
                end: one.span.end,
            };
            if unpacked.bytes >= most {
                unpacked.back.push(Acquired { span: rest, ..one });
                break;
            }
            let read = Read {
                partition,
                from: Begin::Offset(at.0),
                records_max: u32::try_from(rest.count()).unwrap_or(u32::MAX),
                bytes_max: u32::try_from(most - unpacked.bytes).unwrap_or(ANSWER_BYTES),
                wait_ms: 0,
            };
            let part = match self.read_part(&topic.name.name, read).await {
                Ok(part) => part,
                Err(why) => {
                    unpacked.back.push(Acquired { span: rest, ..one });
                    return Err(why);
                }
            };
            let next = Offset(part.next).min(one.span.end);
            if next <= at {
                unpacked.back.push(Acquired { span: rest, ..one });
                break;
            }
            unpacked.take(&one, (at, next), part.records, filter, now);
            at = next;
        }
        Ok(())
    }

    /// There is nothing to hand out of these: compaction or retention took them, or the filter does not
    /// select them, which was not known when they came.
    fn settle_gone(
        &self,
        subscription: &Subscription,
        gone: Vec<Acquired>,
        settling: &mut JoinSet<()>,
    ) {
        if gone.is_empty() {
            return;
        }
        let items = gone.into_iter().map(|one| Settlement {
            partition: one.partition,
            span: one.span,
            claim: Claim::Receipt(one.epoch),
            outcome: Outcome::Accept,
        });
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: SubscriptionRef::Id(subscription.id),
            items: items.collect(),
        });
        let broker = Arc::clone(&self.broker);
        // Each may be settled otherwise by now; none is handed out again with something in it.
        settling.spawn(async move {
            let _settled_or_again_later = broker.ask(Request::Subscription(ask)).await;
        });
    }

    pub(super) async fn browse_page(
        &self,
        which: Which<'_>,
        browse: Browse,
    ) -> Result<BrowsedPage, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let index = browse.partition as usize;
        let Some(partition) = topic.partitions.get(index).copied() else {
            let detail = format!("partition {index} of topic \"{}\"", topic.name.name);
            return Err(Refusal::new(Code::PartitionUnknown, detail));
        };
        let ask = SubscriptionRequest::Browse(broker::Browse {
            subscription: SubscriptionRef::Id(subscription.id),
            partition: Some(partition),
            from: Offset(browse.from),
            most: browse.records_max,
        });
        let SubscriptionReply::Browsed(browsed) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let browsed = browsed.map_err(|why| subscription_refusal(&why, which.name))?;
        let mut page = BrowsedPage {
            partition: browse.partition,
            records: Vec::new(),
            next: browsed.next.map(|next| next.0),
        };
        let mut known = browsed.records.into_iter().peekable();
        let mut bytes = 0;
        while let Some(first) = known.peek().map(|first| first.offset.0) {
            if bytes >= ANSWER_BYTES as usize {
                page.next = Some(first);
                break;
            }
            let read = Read {
                partition: browse.partition,
                from: Begin::Offset(first),
                records_max: browse.records_max,
                bytes_max: u32::try_from(ANSWER_BYTES as usize - bytes).unwrap_or(ANSWER_BYTES),
                wait_ms: 0,
            };
            let part = self.read_part(&topic.name.name, read).await?;
            // Of some offsets there may be no record any more; one at least is passed each time.
            let next = part.next.max(first + 1);
            let mut read = part.records.into_iter().peekable();
            while let Some(one) = known.next_if(|one| one.offset.0 < next) {
                while read
                    .next_if(|record| record.offset < one.offset.0)
                    .is_some()
                {}
                if let Some(record) = read.next_if(|record| record.offset == one.offset.0) {
                    bytes += bytes_of(&record);
                    page.records.push(browsed_record(one, record));
                }
            }
        }
        Ok(page)
    }
}

fn browsed_record(one: broker::BrowsedRecord, record: Record) -> BrowsedRecord {
    BrowsedRecord {
        state: state_word(one.state).to_owned(),
        acquired: one.tries.acquired,
        failed: one.tries.failed,
        record,
    }
}

const fn state_word(state: RecordState) -> &'static str {
    match state {
        RecordState::Available => "available",
        RecordState::Acquired => "acquired",
        RecordState::Scheduled => "scheduled",
        RecordState::Archiving => "archiving",
        RecordState::Settled => "settled",
        RecordState::Unknown => "unknown",
    }
}

fn index_of(topic: &Topic, partition: PartitionId) -> Option<u32> {
    let index = topic.partitions.iter().position(|id| *id == partition)?;
    u32::try_from(index).ok()
}

fn received(one: &Acquired, record: Record, now: Now) -> ReceivedRecord {
    ReceivedRecord {
        receipt: one.receipt(Offset(record.offset)).to_string(),
        acquired: one.tries.acquired,
        failed: one.tries.failed,
        locked_until: one.until.map(|until| date_of(until, now)),
        record,
    }
}

/// The date at which a lock ends, by running time.
fn date_of(until: Elapsed, now: Now) -> Timestamp {
    let at = now.wall.0 + until.0.saturating_sub(now.elapsed.0);
    Timestamp(i64::try_from(at).unwrap_or(i64::MAX))
}

/// A record as filters see it.
pub(super) fn seen(record: &Record) -> Selectable<'_> {
    fn bytes(payload: Option<&Payload>) -> Option<&[u8]> {
        payload.map(|payload| payload.0.as_ref())
    }
    let headers = record.headers.iter();
    Selectable {
        key: bytes(record.key.as_ref()),
        value: bytes(record.value.as_ref()),
        timestamp_ms: record.timestamp.map_or(NO_TIMESTAMP, |at| at.0),
        headers: headers
            .map(|header| (header.name.as_str(), bytes(header.value.as_ref())))
            .collect(),
    }
}

/// Bytes of key, value and headers.
fn bytes_of(record: &Record) -> usize {
    let length = |payload: &Option<Payload>| payload.as_ref().map_or(0, |payload| payload.0.len());
    let headers = record.headers.iter();
    let headers = headers.map(|header| header.name.len() + length(&header.value));
    length(&record.key) + length(&record.value) + headers.sum::<usize>()
}
