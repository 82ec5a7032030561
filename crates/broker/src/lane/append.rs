//! Appending batches: the path that must be short.

use bytes::Bytes;
use mulgil_core::machine::{Decision, Machine, Now};
use mulgil_core::partition::{Change, Command, Effect, Refusal, Sequence};
use mulgil_core::queue::{Append as Fed, Span};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::index::TailEntry;
use mulgil_log::position::Position;
use mulgil_meta::schema::Durability;
use mulgil_record::batch::Batch;
use mulgil_record::facts::{Columns, FactsHeader};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerId};

use super::keep::offsets_between;
use super::{Due, Hosted, Lane, Rise, StartRise};
use crate::request::{Append, AppendRefusal, Appended, Reply, Trim, TrimRefusal};

/// Version of a batch entry's payload: facts length u32, 0 u32, facts, batch.
pub(crate) const BATCH_VERSION: u8 = 1;
/// Bytes of a batch entry's payload before its facts.
pub(crate) const BATCH_PREFIX_BYTES: usize = 8;

/// How many offsets beyond what is needed a partition that does not sync reserves at once. Renewed
/// when half is used, so that no append waits for it in a steady stream.
const CEILING_STEP: i64 = 1 << 20;

impl Lane {
    pub(super) fn append(&mut self, append: Append, now: Now) -> (Due, Reply) {
        let mut due = Due::NOW;
        let mut outcomes = Vec::with_capacity(append.partitions.len());
        for part in append.partitions {
            self.log.cut(now);
            let outcome = self.append_one(part.partition, &part.batch, &part.facts, now);
            if matches!(outcome, Err(AppendRefusal::UnknownPartition(_))) {
                due = due.and(self.unknown_due());
            }
            outcomes.push(outcome.map(|(appended, waits)| {
                due = due.and(waits);
                appended
            }));
        }
        (due, Reply::Append(outcomes))
    }

    pub(super) fn append_one(
        &mut self,
        id: PartitionId,
        batch: &Batch,
        facts: &Bytes,
        now: Now,
    ) -> Result<(Appended, Due), AppendRefusal> {
        if self.stopping {
            return Err(AppendRefusal::Stopping);
        }
        if !self.partitions.contains_key(&id) {
            return Err(AppendRefusal::UnknownPartition(id));
        }
        let owes = self.owes_facts(id, facts);
        self.check_room(id, sequence_of(batch), owes, now)?;
        self.append_checked(id, batch, facts, now)
    }

    /// Whether a batch without a sequence would be taken now.
    pub(super) fn check_append(
        &mut self,
        id: PartitionId,
        batch: &Batch,
        facts: &Bytes,
        now: Now,
    ) -> Result<(), AppendRefusal> {
        if self.stopping {
            return Err(AppendRefusal::Stopping);
        }
        let hosted = self.partitions.get(&id);
        let next = hosted.map(|hosted| hosted.machine.next);
        let next = next.ok_or(AppendRefusal::UnknownPartition(id))?;
        let owes = self.owes_facts(id, facts);
        self.check_room(id, None, owes, now)?;
        let records = batch.header.last_offset_delta.unsigned_abs() + 1;
        let fed = self.fed(id, Span::new(next, records), facts, now);
        self.check_queues(id, fed.as_ref(), now)
    }

    /// Appends a batch for which there is room.
    pub(super) fn append_checked(
        &mut self,
        id: PartitionId,
        batch: &Batch,
        facts: &Bytes,
        now: Now,
    ) -> Result<(Appended, Due), AppendRefusal> {
        let hosted = self
            .partitions
            .get_mut(&id)
            .ok_or(AppendRefusal::UnknownPartition(id))?;
        let now = self.log.frame_time(now);
        let command = command_for(batch);
        let mut decision = Decision {
            changes: Vec::new(),
            effects: Vec::new(),
            again: false,
        };
        hosted.machine.decide(command, now, &mut decision)?;
        let log_start = hosted.log_start;
        let Some((_, change)) = decision.changes.pop() else {
            let base = match decision.effects.first() {
                Some((_, Effect::Duplicate { base })) => *base,
                Some(_) | None => unreachable!("an append is taken or a duplicate"),
            };
            return Ok((
                Appended {
                    base,
                    log_start,
                    duplicate: true,
                    again: Vec::new(),
                },
                hosted.newest,
            ));
        };
        let Change::Appended {
            base,
            records,
            epoch,
            ..
        } = change
        else {
            unreachable!("an append only appends")
        };
        let stamp = Stamp {
            partition: id,
            base,
            records,
            epoch,
        };
        let fed = self.fed(id, Span::new(base, records), facts, now);
        self.check_readers(id, batch, fed.as_ref(), now)?;
        if let Some(hosted) = self.partitions.get_mut(&id) {
            hosted.machine.apply(&change);
        }
        let again = self.again(id, fed.as_ref());
        let due = self.store_batch(stamp, batch, facts);
        if let Some(fed) = fed {
            self.feed(id, &fed, now);
        }
        Ok((
            Appended {
                base,
                log_start,
                duplicate: false,
                again,
            },
            due,
        ))
    }

    /// Refuses what one of the partition's readers refuses, and then all of a producer that follow it.
    fn check_readers(
        &mut self,
        id: PartitionId,
        batch: &Batch,
        fed: Option<&Fed>,
        now: Now,
    ) -> Result<(), AppendRefusal> {
        let checked = self.check_queues(id, fed, now);
        if let (Err(_), Some(sequence)) = (&checked, sequence_of(batch)) {
            self.refused.refuse(id, sequence, now.elapsed);
        }
        checked
    }

    /// Whether readers of a partition need something of its records that was not worked out: they began to
    /// while the batch was on its way.
    fn owes_facts(&self, id: PartitionId, facts: &[u8]) -> bool {
        let topic = self.partitions.get(&id).map(|hosted| hosted.topic);
        let Some(topic) = topic.and_then(|topic| self.metadata.topic_by_id(topic)) else {
            return false;
        };
        let readers = self.metadata.subscriptions();
        let needed = { topic.settings.facts() }.with(readers.facts_of(topic.id));
        if needed == Columns(0) {
            return false;
        }
        let told = FactsHeader::read(facts).unwrap_or_default();
        let judged = || told.generation >= readers.filter_generation(topic.id);
        !told.known.has(needed) || (needed.has(Columns::VERDICTS) && !judged())
    }

    /// Refuses appends while there is no room on the disk or in memory, or something is not worked out, and
    /// then all of a producer that follow one refused.
    fn check_room(
        &mut self,
        id: PartitionId,
        sequence: Option<Sequence>,
        owes: bool,
        now: Now,
    ) -> Result<(), AppendRefusal> {
        let no_room = if self.full {
            Err(AppendRefusal::DiskFull)
        } else if owes {
            Err(AppendRefusal::FactsOwed)
        } else if self.log.waiting_bytes() > self.options.waiting_bytes_max {
            Err(AppendRefusal::Overloaded)
        } else {
            Ok(())
        };
        let Some(sequence) = sequence else {
            return no_room;
        };
        if no_room.is_err() {
            self.refused.refuse(id, sequence, now.elapsed);
            return no_room;
        }
        let hosted = self.partitions.get(&id);
        let on_faith = hosted.is_some_and(|hosted| hosted.machine.is_on_faith(sequence));
        let refused = &mut self.refused;
        if refused.keeps_back(id, sequence, on_faith, now.elapsed) {
            return Err(AppendRefusal::Overloaded);
        }
        refused.let_through(id, sequence);
        Ok(())
    }

    /// Writes a batch that has its offsets, and says what its acknowledgement waits for.
    fn store_batch(&mut self, stamp: Stamp, batch: &Batch, facts: &Bytes) -> Due {
        let id = stamp.partition;
        let Some(hosted) = self.partitions.get_mut(&id) else {
            return Due::NOW;
        };
        let synced = hosted.durability == Durability::Fsync;
        let at = self.log.push_batch(stamp, batch, facts, synced);
        let end = stamp.base.plus(i64::from(stamp.records));
        let mut due = Due::at(at, hosted.durability);
        if self.log.waiting_bytes() > self.options.hurry_bytes_max {
            due = due.and(Due::at(at, Durability::Os));
        }
        if !synced {
            let synced = self.progress.synced;
            due = due.and(self.log.reserve(id, hosted, end, synced));
        }
        hosted.newest = due;
        let entry = TailEntry {
            base: stamp.base.0,
            last: end.0 - 1,
            at,
            length: payload_bytes(batch, facts),
            max_timestamp: batch.header.max_timestamp,
        };
        self.index.append(id.0, entry);
        let bytes = u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX);
        let rise = Rise {
            at,
            ceiling: hosted.ceiling_due,
            partition: id,
            to: end,
            bytes,
        };
        if synced {
            self.rises_by_sync.push_back(rise);
        } else {
            self.rises_by_write.push_back(rise);
        }
        due
    }

    pub(super) fn trim(&mut self, trims: &[Trim], now: Now) -> (Due, Reply) {
        let mut due = Due::NOW;
        let outcomes = trims.iter().map(|trim| {
            let outcome = self.trim_one(*trim, now);
            due = due.and(match &outcome {
                Ok((_, waits)) => *waits,
                // The deletion, or the setting, may be on its way.
                Err(TrimRefusal::UnknownPartition(_) | TrimRefusal::KeepsNewest(_)) => {
                    self.unknown_due()
                }
                Err(TrimRefusal::Partition(_)) => Due::NOW,
            });
            outcome.map(|(start, _)| start)
        });
        let outcomes = outcomes.collect();
        (due, Reply::Trim(outcomes))
    }

    fn trim_one(&mut self, trim: Trim, now: Now) -> Result<(Offset, Due), TrimRefusal> {
        let id = trim.partition;
        let hosted = self
            .partitions
            .get_mut(&id)
            .ok_or(TrimRefusal::UnknownPartition(id))?;
        let topic = self.metadata.topic_by_id(hosted.topic);
        if topic.is_some_and(|topic| topic.settings.cleanup.keeps_newest()) {
            return Err(TrimRefusal::KeepsNewest(id));
        }
        let (start, end) = (hosted.machine.start, hosted.high_watermark);
        let to = trim.to.unwrap_or(end);
        if to > end || to < Offset(0) {
            return Err(Refusal::OutOfRange { to, start, end }.into());
        }
        let mut decision = Decision {
            changes: Vec::new(),
            effects: Vec::new(),
            again: false,
        };
        hosted
            .machine
            .decide(Command::Trim { to }, now, &mut decision)?;
        for (_, change) in &decision.changes {
            self.dropped.trim += offsets_between(hosted.machine.start, to);
            hosted.machine.apply(change);
            let at = self.log.push(entry(EntryKind::LogStart, id.0, to.0), &[]);
            hosted.newest = hosted.newest.and(Due::synced(at));
            hosted.start_due = at;
            self.start_rises.push_back(StartRise {
                at,
                partition: id,
                to,
            });
        }
        // Retention may have given up more before, and nobody has waited for that.
        let due = hosted.newest.and(Due::synced(hosted.start_due));
        let start = hosted.machine.start;
        self.trim_queues(id, start, now);
        Ok((start, due))
    }
}

/// What a batch asks of its partition.
pub(super) fn command_for(batch: &Batch) -> Command {
    let header = &batch.header;
    let records = u32::try_from(i64::from(header.last_offset_delta) + 1)
        .expect("a checked batch has records");
    let sequence = sequence_of(batch);
    Command::Append {
        records,
        max_timestamp: header.max_timestamp,
        sequence,
    }
}

/// Who wrote a batch, if its producer is idempotent.
pub(super) fn sequence_of(batch: &Batch) -> Option<Sequence> {
    let header = &batch.header;
    (header.producer_id != ProducerId::NONE).then(|| Sequence {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        first: header.base_sequence,
        last: header.last_sequence(),
    })
}

/// An entry header of version 1, whose length is worked out when it is pushed.
pub(super) const fn entry(kind: EntryKind, object: u64, base: i64) -> EntryHeader {
    EntryHeader {
        kind,
        version: 1,
        flags: 0,
        length: 0,
        object,
        base,
        count: 0,
    }
}

fn payload_bytes(batch: &Batch, facts: &Bytes) -> u32 {
    let bytes = BATCH_PREFIX_BYTES + facts.len() + batch.bytes.len();
    u32::try_from(bytes).expect("a batch is far below 4 GiB")
}

/// Facts and batch of a batch entry's payload. None: it is none.
pub(crate) fn split_payload(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let facts = u32::from_le_bytes(*payload.first_chunk()?) as usize;
    payload.get(BATCH_PREFIX_BYTES..)?.split_at_checked(facts)
}

/// The payload of a batch entry.
pub(crate) fn batch_payload(facts: &[u8], batch: &[u8]) -> Vec<u8> {
    let facts_bytes = u32::try_from(facts.len()).expect("facts are far below 4 GiB");
    let mut payload = Vec::with_capacity(BATCH_PREFIX_BYTES + facts.len() + batch.len());
    payload.extend_from_slice(&facts_bytes.to_le_bytes());
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(facts);
    payload.extend_from_slice(batch);
    payload
}

/// What the lane writes over a batch and into its entry.
#[derive(Clone, Copy)]
struct Stamp {
    partition: PartitionId,
    base: Offset,
    records: u32,
    epoch: LeaderEpoch,
}

impl super::commit::Commit {
    /// Copies a batch into the open frame, with its offset and epoch stamped.
    fn push_batch(&mut self, stamp: Stamp, batch: &Batch, facts: &Bytes, synced: bool) -> Position {
        let mut prefix = [0; BATCH_PREFIX_BYTES];
        let facts_bytes = u32::try_from(facts.len()).expect("facts are far below 4 GiB");
        prefix[..4].copy_from_slice(&facts_bytes.to_le_bytes());
        let mut head: [u8; 16] = *batch
            .bytes
            .first_chunk()
            .expect("a checked batch is longer");
        head[..8].copy_from_slice(&stamp.base.0.to_be_bytes());
        head[12..16].copy_from_slice(&stamp.epoch.0.to_be_bytes());
        let rest = batch.bytes.get(16..).expect("a checked batch is longer");
        let header = EntryHeader {
            kind: EntryKind::Batch,
            version: BATCH_VERSION,
            flags: 0,
            length: 0,
            object: stamp.partition.0,
            base: stamp.base.0,
            count: stamp.records,
        };
        let parts: &[&[u8]] = &[&prefix, facts, &head, rest];
        if synced {
            self.push(header, parts)
        } else {
            self.push_unsynced(header, parts)
        }
    }

    /// Makes sure that offsets up to `end` are reserved; says what an answer must wait for.
    ///
    /// Only for partitions that do not sync each append: what they give out may be lost with the
    /// page cache, and must not be given again.
    fn reserve(
        &mut self,
        id: PartitionId,
        hosted: &mut Hosted,
        end: Offset,
        synced: Position,
    ) -> Due {
        if hosted.ceiling_raised < synced {
            hosted.ceiling_safe = hosted.machine.ceiling;
        }
        if hosted.machine.ceiling.0 - end.0 < CEILING_STEP / 2 {
            let to = end.plus(CEILING_STEP);
            hosted.ceiling_raised = self.push(entry(EntryKind::OffsetCeiling, id.0, to.0), &[]);
            hosted.machine.apply(&Change::CeilingRaised { to });
        }
        // Several batches of one group may use up what a raise of the same group has reserved.
        if end > hosted.ceiling_safe {
            hosted.ceiling_due = hosted.ceiling_raised;
        }
        Due::synced(hosted.ceiling_due)
    }
}
