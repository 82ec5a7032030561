//! A producer: plain, which never sends anything twice, or idempotent, which sends all again that was
//! not acknowledged, in order and with the same sequence numbers.

use std::collections::{BTreeMap, VecDeque};

use mulgil_broker::request::{
    Append, AppendPartition, AppendRefusal, Appended, NewProducer, Reply, Request, Ticket,
};
use mulgil_core::partition::Refusal;
use mulgil_record::batch::{Batch, BatchBuilder};
use mulgil_record::compression::Codec;
use mulgil_record::facts::Facts;
use mulgil_record::ids::{PartitionId, ProducerEpoch, ProducerId};

use super::{Scene, odd};
use crate::ledger::{BatchName, Known};
use crate::violation::{Kept, Rule, Violation};

/// Requests, and batches of one partition, that are under way at once: what the broker remembers.
const IN_FLIGHT: usize = 5;

/// Keys of all records: few, so that each comes again soon.
const KEYS: usize = 24;

#[derive(Debug)]
struct Unacked {
    name: BatchName,
    batch: Batch,
    /// In which request it is under way; none if it came back and is to be sent again.
    ticket: Option<Ticket>,
}

#[derive(Debug, Default)]
struct Queue {
    next_sequence: i32,
    batches: VecDeque<Unacked>,
}

impl Queue {
    /// What to send next: one that came back, or a fresh one; none while it has to wait.
    fn next(&self) -> Option<Option<usize>> {
        let Some(back) = self.batches.iter().position(|b| b.ticket.is_none()) else {
            return (self.batches.len() < IN_FLIGHT).then_some(None);
        };
        let under_way = self.batches.iter().skip(back).any(|b| b.ticket.is_some());
        (!under_way).then_some(Some(back))
    }
}

/// A producer.
#[derive(Debug, Default)]
pub struct Producer {
    number: usize,
    idempotent: bool,
    id: Option<(ProducerId, ProducerEpoch)>,
    id_asked: Option<Ticket>,
    queues: BTreeMap<PartitionId, Queue>,
    open: BTreeMap<Ticket, Vec<(BatchName, Known)>>,
    /// Answers that came before those of earlier requests: a connection has them in order.
    early: BTreeMap<Ticket, Vec<Result<Appended, AppendRefusal>>>,
}

impl Producer {
    /// Client number `number`.
    #[must_use]
    pub fn new(number: usize, idempotent: bool) -> Self {
        Self {
            number,
            idempotent,
            ..Self::default()
        }
    }

    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.idempotent && self.id.is_none() {
            if self.id_asked.is_some() {
                return None;
            }
            self.id_asked = Some(ticket);
            return Some(Request::NewProducer(NewProducer { current: None }));
        }
        if self.open.len() >= IN_FLIGHT {
            return None;
        }
        let mut partitions = Vec::new();
        let mut asked = Vec::new();
        for _ in 0..=scene.below(3) {
            let Some(partition) = self.choose(scene) else {
                continue;
            };
            let known = scene.ledger.known(partition);
            let Some((name, batch)) = self.next_batch(partition, ticket, scene) else {
                continue;
            };
            asked.push((name, known));
            let records = batch.header.last_offset_delta.unsigned_abs() + 1;
            let facts = Facts::without_any(records).encode().into();
            partitions.push(AppendPartition {
                partition,
                batch,
                facts,
            });
        }
        if partitions.is_empty() {
            return None;
        }
        let number = self.number;
        scene.trace.line(|| {
            let names = asked
                .iter()
                .map(|(n, k)| format!("b{}->p{}", n.0, k.partition));
            format!(
                "producer {number} sends {}",
                names.collect::<Vec<_>>().join(" ")
            )
        });
        self.open.insert(ticket, asked);
        Some(Request::Append(Append { partitions }))
    }

    /// A partition with something that came back, or any.
    fn choose(&self, scene: &mut Scene<'_>) -> Option<PartitionId> {
        let back = self
            .queues
            .iter()
            .filter(|(_, q)| matches!(q.next(), Some(Some(_))));
        let back: Vec<PartitionId> = back.map(|(id, _)| *id).collect();
        scene
            .one_of(&back)
            .copied()
            .or_else(|| scene.any_partition())
    }

    fn next_batch(
        &mut self,
        partition: PartitionId,
        ticket: Ticket,
        scene: &mut Scene<'_>,
    ) -> Option<(BatchName, Batch)> {
        let number = self.number;
        let queue = self.queues.entry(partition).or_default();
        if let Some(at) = queue.next()? {
            let unacked = queue.batches.get_mut(at)?;
            unacked.ticket = Some(ticket);
            return Some((unacked.name, unacked.batch.clone()));
        }
        let name = scene.ledger.next_batch();
        let codec = if scene.below(6) == 0 {
            Codec::Lz4
        } else {
            Codec::None
        };
        let mut builder = BatchBuilder::new(codec, name.timestamp());
        if let Some((id, epoch)) = self.id {
            builder = builder.producer(id, epoch, queue.next_sequence);
        }
        let records = 1 + scene.below(3);
        for record in 0..records {
            let bytes = if scene.below(30) == 0 {
                3000
            } else {
                scene.below(120)
            };
            let value: Vec<u8> = (0..bytes)
                .map(|at| u8::try_from((at + name.0) % 251).unwrap_or(0))
                .collect();
            let timestamp = name.timestamp() + i64::try_from(record).unwrap_or(0);
            let key = format!("k{}", scene.below(KEYS));
            let value = (scene.below(5) > 0).then_some(&value[..]);
            builder.push(timestamp, Some(key.as_bytes()), value, &[]);
        }
        let batch = builder.finish();
        queue.next_sequence += i32::try_from(records).unwrap_or(0);
        scene.ledger.send(&batch, partition, number);
        queue.batches.push_back(Unacked {
            name,
            batch: batch.clone(),
            ticket: Some(ticket),
        });
        Some((name, batch))
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        match reply {
            Reply::NewProducer(given) if self.id_asked == Some(ticket) => {
                self.id_asked = None;
                if let Ok((id, epoch)) = given {
                    scene
                        .trace
                        .line(|| format!("producer {} is {}", self.number, id.0));
                    scene.ledger.producer_id(id.0)?;
                    self.id = Some((id, epoch));
                }
                Ok(())
            }
            Reply::Append(outcomes) => {
                if self
                    .open
                    .get(&ticket)
                    .is_none_or(|asked| asked.len() != outcomes.len())
                {
                    return Err(odd(&Reply::Append(outcomes)));
                }
                self.early.insert(ticket, outcomes);
                while let Some(first) = self.open.first_entry()
                    && let Some(outcomes) = self.early.remove(first.key())
                {
                    for ((name, known), outcome) in first.remove().into_iter().zip(outcomes) {
                        self.outcome(name, known, outcome, scene)?;
                    }
                }
                Ok(())
            }
            Reply::NewProducer(_)
            | Reply::Atomic(_)
            | Reply::Read(_)
            | Reply::FindOffsets(_)
            | Reply::FindEpochEnds(_)
            | Reply::CreateTopics(_)
            | Reply::DeleteTopics(_)
            | Reply::AlterTopic(_)
            | Reply::Configure(_)
            | Reply::SetQuotas(_)
            | Reply::GrowTopics(_)
            | Reply::DescribeProducers(_)
            | Reply::Sizes(_)
            | Reply::Trim(_)
            | Reply::Group(_)
            | Reply::Subscription(_) => Err(odd(&reply)),
        }
    }

    fn outcome(
        &mut self,
        name: BatchName,
        known: Known,
        outcome: Result<Appended, AppendRefusal>,
        scene: &mut Scene<'_>,
    ) -> Kept {
        let (number, id) = (self.number, known.partition);
        let queue = self.queues.entry(id).or_default();
        let at = queue.batches.iter().position(|b| b.name == name);
        let refusal = match outcome {
            Ok(appended) => {
                scene.trace.line(|| {
                    let again = if appended.duplicate { " again" } else { "" };
                    format!(
                        "producer {number}: b{} is at p{id}:{}{again}",
                        name.0, appended.base
                    )
                });
                at.map(|at| queue.batches.remove(at));
                return scene.ledger.appended(name, known, &appended);
            }
            Err(refusal) => refusal,
        };
        scene
            .trace
            .line(|| format!("producer {number}: b{} is refused: {refusal}", name.0));
        let Some(at) = at else { return Ok(()) };
        match refusal {
            AppendRefusal::UnknownPartition(_) => {
                queue.batches.clear();
                return scene.ledger.told_gone(id);
            }
            AppendRefusal::Partition(refusal) => {
                let early = matches!(refusal, Refusal::OutOfOrder { .. }) && at > 0;
                if !self.idempotent || !early {
                    let what = format!("partition {id} refused b{}: {refusal}", name.0);
                    return Err(Violation::new(Rule::Sequence, what));
                }
            }
            AppendRefusal::DiskFull
            | AppendRefusal::Overloaded
            | AppendRefusal::FactsOwed
            | AppendRefusal::QueueFull { .. }
            | AppendRefusal::Stopping => {}
        }
        if self.idempotent {
            if let Some(unacked) = queue.batches.get_mut(at) {
                unacked.ticket = None;
            }
        } else {
            queue.batches.remove(at);
        }
        Ok(())
    }

    pub(super) fn disconnected(&mut self) {
        self.open.clear();
        self.early.clear();
        self.id_asked = None;
        for queue in self.queues.values_mut() {
            if self.idempotent {
                queue.batches.iter_mut().for_each(|b| b.ticket = None);
            } else {
                queue.batches.clear();
            }
        }
    }

    pub(super) fn waits(&self) -> usize {
        self.open.len() + usize::from(self.id_asked.is_some())
    }
}
