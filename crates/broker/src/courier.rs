//! Records received: taken from a subscription, read, unpacked, and handed to a caller under their locks.
//!
//! ```text
//! lane: acquired stretches --> read and unpack --> the caller
//!         |                        |  too large for this answer: given back
//!         |                        |  no such record any more, or not selected: settled
//!         '-- caller gone: given back
//! ```
//!
//! For doors whose clients take what there is, under locks that outlive the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mulgil_meta::schema::Topic;
use mulgil_record::batch::{Batch, BatchError, DecodeLimits, DecodedRecords, Record};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::facts::Selectable;
use crate::request::{Isolation, Read, ReadPartition, ReadRefusal, Reply, Request};
use crate::shell::Broker;
use crate::subscription::{
    Acquired, Claim, Delivered, Filter, Outcome, Receive, Settle, Settlement, Span, Subscription,
    SubscriptionRef, SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
};

mod held;
mod unpacked;

use held::Held;
use unpacked::UnpackedBatches;

/// A wait is asked for in pieces as long as this, so that a caller who has gone leaves nobody waiting for
/// longer.
const WAIT_PIECE_MS: u32 = 1_000;
/// So long somebody who does not want to wait looks for a record that the filter selects.
const LOOK_MS: u32 = 1_000;
/// A read takes about so much for each record that is wanted, so that a few records of a long log are
/// a few reads and not megabytes.
const READ_BYTES_EACH: u32 = 16 << 10;
/// Batches that are stored as they are and are no longer than this are unpacked where they are read.
const UNPACKED_AT_ONCE: usize = 256 << 10;
/// A record that stays keeps all that was unpacked with it; beyond this it gets memory of its own.
const KEPT_TOGETHER: usize = 64 << 10;

/// What a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// At most so many records.
    pub records_max: u32,
    /// About so many bytes of keys, values and headers; one record in any case.
    pub bytes_max: u32,
    /// How long they are locked, milliseconds; if not said, as the subscription's settings say.
    pub lock_ms: Option<u32>,
    /// How long to wait for the first, milliseconds.
    pub wait_ms: u32,
    /// No record is handed out while so many are locked; if not said, as many as the broker bears.
    pub locked_max: Option<u64>,
    /// Whether several records of one key may come together, in their order.
    pub keys_together: bool,
}

/// Why nothing was handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CourierFault {
    /// The subscription is not served.
    #[error(transparent)]
    Subscription(#[from] SubscriptionRefusal),
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadRefusal),
    /// The stored bytes do not unpack.
    #[error("topic \"{topic}\": {why}")]
    Damaged {
        /// Of which topic.
        topic: String,
        /// What is wrong with them.
        why: BatchError,
    },
    /// The lane was taken for as long as one wants to wait for it.
    #[error("the lane could not be entered for {} s", .0.as_secs())]
    Unreachable(Duration),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
    /// The broker answered something else.
    #[error("the broker answered something else")]
    Unexpected,
}

/// Brings records to those who receive.
#[derive(Debug)]
pub struct Courier {
    broker: Arc<Broker>,
    /// Who has a permit may unpack what is large.
    unpacking: Arc<Semaphore>,
    unpacked: UnpackedBatches,
    /// Wait no longer than this for a lane that is taken, and do not hang with it; for ever without.
    patience: Option<Duration>,
}

/// What is read so far.
#[derive(Default)]
struct Got {
    records: Vec<Delivered>,
    bytes: usize,
    /// What there is no room for.
    back: Vec<Acquired>,
    /// What there is no record of any more.
    gone: Vec<Acquired>,
    /// Why something was not read.
    failed: Option<CourierFault>,
}

impl Got {
    /// Takes the records of the offsets from `at` up to `next`; those between them hold none, and those that
    /// the filter does not select are as if they held none.
    fn take(
        &mut self,
        one: &Acquired,
        (at, next): (Offset, Offset),
        records: Vec<(Offset, i64, Record)>,
        filter: Option<&Filter>,
    ) {
        let mut gone = |first: Offset, end: Offset| {
            if first < end {
                let span = Span { first, end };
                self.gone.push(Acquired { span, ..*one });
            }
        };
        let mut at = at;
        for (offset, timestamp_ms, record) in records {
            if offset >= next {
                break;
            }
            let seen = || Selectable::of(&record, timestamp_ms);
            let selected = |filter: &Filter| seen().is_selected(filter.selector());
            if !filter.is_none_or(selected) {
                continue;
            }
            gone(at, offset);
            self.bytes += record.bytes();
            self.records.push(Delivered {
                receipt: one.receipt(offset),
                timestamp_ms,
                key: record.key,
                value: record.value,
                headers: record.headers,
                tries: one.tries,
                until: one.until,
            });
            at = offset.plus(1);
        }
        gone(at, next);
    }
}

impl Courier {
    /// One that unpacks as much at a time as `unpacking` has permits.
    #[must_use]
    pub fn new(broker: Arc<Broker>, unpacking: Arc<Semaphore>, patience: Option<Duration>) -> Self {
        Self {
            broker,
            unpacking,
            unpacked: UnpackedBatches::default(),
            patience,
        }
    }

    /// Takes records of a subscription, or waits for some. Whoever drops the answer gives them back.
    ///
    /// # Errors
    ///
    /// Nothing could be handed out; then nothing is held either.
    pub async fn receive(
        &self,
        subscription: &Subscription,
        topic: &Topic,
        wanted: Wanted,
    ) -> Result<Vec<Delivered>, CourierFault> {
        let mut left_ms = wanted.wait_ms;
        let began = self.broker.now().elapsed.0;
        let mut settling = JoinSet::new();
        let received = loop {
            let wait_ms = left_ms.min(WAIT_PIECE_MS);
            let held = self.acquire(subscription, wanted, wait_ms).await?;
            if held.records().is_empty() {
                left_ms -= wait_ms;
                if left_ms == 0 {
                    break Ok(Vec::new());
                }
                continue;
            }
            let filter = subscription.filter.as_ref();
            let got = self.read_all(topic, held.records(), filter, wanted).await;
            let Got {
                records,
                back,
                gone,
                failed,
                ..
            } = got;
            if let (true, Some(why)) = (records.is_empty(), failed) {
                break Err(why);
            }
            let none = records.is_empty() && !gone.is_empty();
            self.settle_gone(subscription, gone, &mut settling);
            held.hand_over(back);
            // There was nothing in what was taken; what lies behind it may have something, but nobody
            // waits for long who does not want to.
            let looked_ms = self.broker.now().elapsed.0.saturating_sub(began);
            if !none || looked_ms >= u64::from(left_ms.max(LOOK_MS)) {
                break Ok(records);
            }
        };
        while settling.join_next().await.is_some() {}
        received
    }

    /// Enters the lane only when that is possible soon, for those who must not hang with it.
    async fn reach(&self) -> Result<(), CourierFault> {
        let Some(patience) = self.patience else {
            return Ok(());
        };
        if self.broker.reachable(patience).await {
            Ok(())
        } else {
            Err(CourierFault::Unreachable(patience))
        }
    }

    /// Takes what there is, or waits for some; whoever drops the answer gives it back.
    async fn acquire(
        &self,
        subscription: &Subscription,
        wanted: Wanted,
        wait_ms: u32,
    ) -> Result<Held, CourierFault> {
        self.reach().await?;
        let id = subscription.id;
        let ask = SubscriptionRequest::Receive(Receive {
            subscription: SubscriptionRef::Id(id),
            records_max: wanted.records_max,
            lock_ms: wanted.lock_ms,
            wait_ms,
            locked_max: wanted.locked_max,
            keys_together: wanted.keys_together,
        });
        let broker = Arc::clone(&self.broker);
        // A task of its own, that is there for the answer though the caller may have gone.
        let asked = tokio::spawn(async move {
            let reply = broker.ask(Request::Subscription(ask)).await;
            let reply = reply.ok_or(CourierFault::Stopping)?;
            let Reply::Subscription(SubscriptionReply::Acquired(got)) = reply else {
                return Err(CourierFault::Unexpected);
            };
            Ok(got.map(|got| Held::new(broker, id, got)))
        });
        let got = asked
            .await
            .map_err(|_panicked| CourierFault::Unexpected)??;
        Ok(got?)
    }

    async fn read_all(
        &self,
        topic: &Topic,
        acquired: &[Acquired],
        filter: Option<&Filter>,
        wanted: Wanted,
    ) -> Got {
        let mut got = Got::default();
        for one in acquired {
            if got.failed.is_some() || got.bytes >= wanted.bytes_max as usize {
                got.back.push(*one);
                continue;
            }
            if let Err(why) = self.read_one(topic, *one, filter, wanted, &mut got).await {
                got.failed = Some(why);
            }
        }
        got
    }

    /// Reads the records of one stretch.
    async fn read_one(
        &self,
        topic: &Topic,
        one: Acquired,
        filter: Option<&Filter>,
        wanted: Wanted,
        got: &mut Got,
    ) -> Result<(), CourierFault> {
        let most = wanted.bytes_max as usize;
        let mut at = one.span.first;
        while at < one.span.end {
            let rest = Span {
                first: at,
                end: one.span.end,
            };
            if got.bytes >= most {
                got.back.push(Acquired { span: rest, ..one });
                break;
            }
            let left = u32::try_from(most - got.bytes).unwrap_or(u32::MAX);
            let part = self.read(topic, one.partition, rest, left).await;
            let (records, next) = match part {
                Ok(part) => part,
                Err(CourierFault::Read(ReadRefusal::UnknownPartition(_))) => {
                    got.gone.push(Acquired { span: rest, ..one });
                    return Ok(());
                }
                Err(why) => {
                    got.back.push(Acquired { span: rest, ..one });
                    return Err(why);
                }
            };
            let next = next.min(one.span.end);
            if next <= at {
                got.back.push(Acquired { span: rest, ..one });
                break;
            }
            got.take(&one, (at, next), records, filter);
            at = next;
        }
        Ok(())
    }

    /// The records of the beginning of a stretch, and the offset up to which these are all.
    async fn read(
        &self,
        topic: &Topic,
        partition: PartitionId,
        span: Span,
        bytes_max: u32,
    ) -> Result<(Vec<(Offset, i64, Record)>, Offset), CourierFault> {
        let damaged = |why| CourierFault::Damaged {
            topic: topic.name.to_string(),
            why,
        };
        if let Some(known) = self.unpacked.at(partition, span.first) {
            return Ok(within(&known, span, bytes_max as usize));
        }
        self.reach().await?;
        let each = u64::from(READ_BYTES_EACH) * span.count();
        let read_max = bytes_max.min(u32::try_from(each).unwrap_or(u32::MAX));
        let ask = Request::Read(Read {
            partitions: vec![ReadPartition {
                partition,
                offset: span.first,
                bytes_max: read_max,
                leader_epoch: None,
                last_epoch: None,
            }],
            bytes_min: 1,
            wait_ms: 0,
            bytes_max: read_max,
            isolation: Isolation::Uncommitted,
        });
        let reply = { self.broker.ask(ask).await }.ok_or(CourierFault::Stopping)?;
        let Reply::Read(mut outcomes) = reply else {
            return Err(CourierFault::Unexpected);
        };
        let outcome = outcomes.pop().ok_or(CourierFault::Unexpected)?;
        let out = match outcome {
            // Retention went over it after it was handed out.
            Err(ReadRefusal::OutOfRange { start, .. }) if start > span.first => {
                return Ok((Vec::new(), start));
            }
            outcome => outcome?,
        };
        let (mut records, mut next, mut bytes) = (Vec::new(), span.first, 0);
        if out.batches.is_empty() {
            // A read gives something if anything is there: compaction took away all up to the end.
            next = next.max(out.high_watermark);
        }
        for stored in out.batches {
            let left = (bytes_max as usize).saturating_sub(bytes);
            if next >= span.end || (left == 0 && !records.is_empty()) {
                break;
            }
            let batch = Batch::check(stored).map_err(damaged)?;
            if batch.header.base_offset >= span.end {
                next = span.end;
                break;
            }
            let unpacked = Arc::new(self.unpack(batch).await?.map_err(damaged)?);
            let rest = Span {
                first: next,
                end: span.end,
            };
            let (more, up_to) = within(&unpacked, rest, left);
            self.unpacked.keep(partition, &unpacked);
            bytes += more.iter().map(|(_, _, one)| one.bytes()).sum::<usize>();
            records.extend(more);
            next = next.max(up_to);
        }
        Ok((records, next))
    }

    /// Unpacks a batch, elsewhere if that may take its time.
    async fn unpack(
        &self,
        batch: Batch,
    ) -> Result<Result<DecodedRecords, BatchError>, CourierFault> {
        let stored = batch.header.attributes.codec() == Ok(Codec::None);
        if stored && batch.bytes.len() <= UNPACKED_AT_ONCE {
            return Ok(batch.records(DecodeLimits::default()));
        }
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let permit = permit.map_err(|_closed| CourierFault::Stopping)?;
        // Not on this thread, which serves others.
        let unpacked = tokio::task::spawn_blocking(move || {
            let records = batch.records(DecodeLimits::default());
            drop(permit);
            records
        });
        unpacked.await.map_err(|_panicked| CourierFault::Unexpected)
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
}

/// The records of a batch within a stretch, as far as there is room, and the offset up to which these are all.
fn within(
    unpacked: &DecodedRecords,
    span: Span,
    bytes_max: usize,
) -> (Vec<(Offset, i64, Record)>, Offset) {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let large = unpacked.memory_bytes() > KEPT_TOGETHER;
    let mut index = first_from(unpacked, span.first);
    while let Some(record) = unpacked.get(index) {
        let offset = unpacked.offset(record.offset_delta);
        if offset >= span.end {
            return (records, span.end);
        }
        if bytes >= bytes_max && !records.is_empty() {
            return (records, offset);
        }
        let own = record.bytes();
        bytes += own;
        let timestamp = unpacked.timestamp(record.timestamp_delta);
        let apart = large && own < unpacked.memory_bytes() / 2;
        let record = if apart { copied(record) } else { record };
        records.push((offset, timestamp, record));
        index += 1;
    }
    // Offsets at the end of a batch may have no record: compaction took it away.
    let behind = unpacked.header().last_offset().plus(1);
    (records, behind.min(span.end))
}

/// The index of the first record at `offset` or behind it.
fn first_from(unpacked: &DecodedRecords, offset: Offset) -> usize {
    let (mut low, mut high) = (0, unpacked.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = |view| unpacked.offset(view) < offset;
        let view = unpacked.view(middle).map(|view| view.offset_delta);
        if view.is_some_and(before) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn copied(record: Record) -> Record {
    let own = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
    let headers = record.headers.into_iter();
    Record {
        key: record.key.map(own),
        value: record.value.map(own),
        headers: headers
            .map(|(name, value)| (own(name), value.map(own)))
            .collect(),
        ..record
    }
}
