//! Records received, and records looked at.

use std::sync::atomic::Ordering;

use mulgil_admin::backend::{Begin, Read};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    BrowsedPage, BrowsedRecord, Header, Payload, Receive, Received, ReceivedRecord, Record,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::{Browse, Which};
use mulgil_admin::time::Timestamp;
use mulgil_broker::courier::Wanted;
use mulgil_broker::facts::Selectable;
use mulgil_broker::subscription::{
    self as broker, Delivered, RecordState, SubscriptionRef, SubscriptionReply, SubscriptionRequest,
};
use mulgil_core::machine::{Elapsed, Now};
use mulgil_meta::schema::Topic;
use mulgil_record::batch::NO_TIMESTAMP;
use mulgil_record::ids::{Offset, PartitionId};

use super::LocalBackend;
use crate::backend::queues::unexpected;
use crate::backend::refusals::{courier_fault, subscription_refusal};

/// About so many bytes of keys, values and headers in one answer.
const ANSWER_BYTES: u32 = 4 << 20;

impl LocalBackend {
    pub(super) async fn receive_some(
        &self,
        which: Which<'_>,
        receive: Receive,
    ) -> Result<Received, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let wanted = Wanted {
            records_max: receive.records_max,
            bytes_max: ANSWER_BYTES,
            lock_ms: receive.lock_ms,
            wait_ms: receive.wait_ms,
            locked_max: None,
            keys_together: false,
        };
        let records = self.courier.receive(&subscription, &topic, wanted).await;
        let records = records.map_err(|why| courier_fault(&why, which.name))?;
        let now = self.broker.now();
        let own = &self.own;
        own.delivered
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        let records = records.into_iter().map(|one| received(&topic, one, now));
        let records: Vec<_> = records.collect();
        let bytes = records.iter().map(|one| bytes_of(&one.record));
        own.delivered_bytes
            .fetch_add(bytes.sum::<usize>() as u64, Ordering::Relaxed);
        Ok(Received { records })
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

fn received(topic: &Topic, one: Delivered, now: Now) -> ReceivedRecord {
    let headers = one.headers.into_iter();
    ReceivedRecord {
        receipt: one.receipt.to_string(),
        acquired: one.tries.acquired,
        failed: one.tries.failed,
        locked_until: one.until.map(|until| date_of(until, now)),
        record: Record {
            topic: topic.name.name.to_string(),
            partition: index_of(topic, one.receipt.partition).unwrap_or(u32::MAX),
            offset: one.receipt.offset.0,
            timestamp: Some(Timestamp(one.timestamp_ms)),
            key: one.key.map(Payload),
            headers: headers
                .map(|(name, value)| Header {
                    name: String::from_utf8_lossy(&name).into_owned(),
                    value: value.map(Payload),
                })
                .collect(),
            value: one.value.map(Payload),
        },
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
