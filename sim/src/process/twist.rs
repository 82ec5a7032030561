//! Planted bugs between the parts of a process: what replay is shown, and answers on their way.

use std::collections::BTreeMap;

use bytes::Bytes;
use mulgil_broker::lane::{Replayer, ReplyTo};
use mulgil_broker::request::{Reply, Request};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::fault::Fault;
use mulgil_log::frame::FrameHeader;
use mulgil_log::position::{Lsn, Position};
use mulgil_log::recovery::{DamagedRange, Replay};
use mulgil_meta::schema::Durability;
use mulgil_meta::settings::Operation;

use crate::client::{DURABILITY, word};
use crate::planted::Planted;

pub(super) mod groups;
pub(super) mod queues;

/// Where a batch's producer id lies in the payload of its entry, behind two lengths and as many bytes of
/// facts as the first says.
fn producer_at(payload: &[u8]) -> usize {
    let facts = payload.first_chunk().copied().map_or(0, u32::from_le_bytes);
    8 + 43 + usize::try_from(facts).unwrap_or(usize::MAX / 2)
}

struct Seen {
    at: Position,
    header: EntryHeader,
    payload: Vec<u8>,
    frame: FrameHeader,
}

/// A replayer that is not told everything.
pub(super) struct Twisted<'a> {
    inner: &'a mut Replayer,
    planted: Option<Planted>,
    /// The entries of the newest frame, held back in case it is the last.
    held: Vec<Seen>,
    lsn: Lsn,
    places: BTreeMap<u64, Position>,
}

impl<'a> Twisted<'a> {
    pub(super) const fn new(inner: &'a mut Replayer, planted: Option<Planted>) -> Self {
        Self {
            inner,
            planted,
            held: Vec::new(),
            lsn: Lsn(0),
            places: BTreeMap::new(),
        }
    }

    fn hold(&mut self, seen: Seen) -> Result<(), Fault> {
        if seen.header.kind == EntryKind::SyncedMark {
            return Ok(());
        }
        if seen.frame.lsn != self.lsn {
            self.lsn = seen.frame.lsn;
            for seen in std::mem::take(&mut self.held) {
                self.inner
                    .entry(seen.at, &seen.header, &seen.payload, &seen.frame)?;
            }
        }
        self.held.push(seen);
        Ok(())
    }
}

impl Replay for Twisted<'_> {
    fn entry(
        &mut self,
        at: Position,
        entry: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault> {
        let kind = entry.kind;
        let hidden = groups::hides(self.planted, entry, payload);
        if hidden || queues::hides(self.planted, entry, payload) {
            return Ok(());
        }
        match self.planted {
            Some(Planted::FrameTooManyCut) => {
                let seen = Seen {
                    at,
                    header: *entry,
                    payload: payload.to_vec(),
                    frame: *frame,
                };
                return self.hold(seen);
            }
            Some(Planted::DuplicatesForgotten) if kind == EntryKind::Batch => {
                let mut payload = payload.to_vec();
                let at_id = producer_at(&payload);
                if let Some(id) = payload.get_mut(at_id..at_id + 8) {
                    id.fill(0xff);
                }
                return self.inner.entry(at, entry, &payload, frame);
            }
            Some(Planted::IndexOffByOne) if kind == EntryKind::Batch => {
                let before = self.places.insert(entry.object, at).unwrap_or(at);
                return self.inner.entry(before, entry, payload, frame);
            }
            Some(Planted::CeilingsForgotten) if kind == EntryKind::OffsetCeiling => return Ok(()),
            Some(Planted::ProducerIdsForgotten) if kind == EntryKind::ProducerEpoch => {
                return Ok(());
            }
            Some(Planted::SettlementsForgotten) if kind == EntryKind::Subscription => {
                return Ok(());
            }
            Some(Planted::TrimsForgotten) if kind == EntryKind::LogStart => return Ok(()),
            Some(Planted::DeletionsForgotten) if is_deletion(kind, payload) => return Ok(()),
            Some(_) | None => {}
        }
        self.inner.entry(at, entry, payload, frame)
    }

    fn damaged(&mut self, range: DamagedRange) {
        self.inner.damaged(range);
    }
}

fn is_deletion(kind: EntryKind, payload: &[u8]) -> bool {
    let change = (kind == EntryKind::Metadata).then(|| mulgil_meta::state::Change::decode(payload));
    matches!(
        change,
        Some(Ok(mulgil_meta::state::Change::TopicDeleted { .. }))
    )
}

/// Topics that sync are created as ones that only write, if that is the planted bug.
pub(super) fn request(mut request: Request, planted: Option<Planted>) -> Request {
    if planted != Some(Planted::WatermarkAtWrite) {
        return request;
    }
    match &mut request {
        Request::CreateTopics(create) => {
            for topic in &mut create.topics {
                if topic.settings.durability == Durability::Fsync {
                    topic.settings.durability = Durability::Os;
                }
            }
        }
        Request::AlterTopic(alter) => {
            for edit in alter.settings.iter_mut().flatten() {
                let synced = Operation::Set(word(Durability::Fsync).into());
                if &*edit.name == DURABILITY && edit.operation == synced {
                    edit.operation = Operation::Set(word(Durability::Os).into());
                }
            }
        }
        Request::Append(_)
        | Request::Atomic(_)
        | Request::Read(_)
        | Request::FindOffsets(_)
        | Request::FindEpochEnds(_)
        | Request::DeleteTopics(_)
        | Request::Configure(_)
        | Request::SetQuotas(_)
        | Request::GrowTopics(_)
        | Request::DescribeProducers(_)
        | Request::Sizes(_)
        | Request::Trim(_)
        | Request::NewProducer(_)
        | Request::Group(_)
        | Request::Subscription(_) => {}
    }
    request
}

/// Holds back answers to appends until the next sync: only the watermark is wrong then.
pub(super) fn hold_appends(
    replies: &mut Vec<(ReplyTo, Reply)>,
    late: &mut BTreeMap<ReplyTo, Reply>,
) {
    let (held, others): (Vec<_>, Vec<_>) = std::mem::take(replies)
        .into_iter()
        .partition(|(_, reply)| has_taken(reply));
    *replies = others;
    late.extend(held);
}

/// Whether a batch was taken, so that a sync will come.
fn has_taken(reply: &Reply) -> bool {
    let Reply::Append(outcomes) = reply else {
        return false;
    };
    outcomes.iter().flatten().any(|taken| !taken.duplicate)
}

/// Damages a batch that was read from disk, if that is the planted bug.
pub(super) fn reply(reply: &mut Reply, planted: Option<Planted>) {
    if planted != Some(Planted::DamageServed) {
        return;
    }
    let Reply::Read(outcomes) = reply else { return };
    for batch in outcomes
        .iter_mut()
        .flatten()
        .flat_map(|out| &mut out.batches)
    {
        let mut bytes = batch.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        *batch = Bytes::from(bytes);
    }
}
