//! A reader: follows partitions from their start, and now and then begins again.

use std::collections::BTreeMap;

use mulgil_broker::request::{
    Isolation, Read, ReadOut, ReadPartition, ReadRefusal, Reply, Request, Ticket,
};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId};

use super::{Scene, odd};
use crate::ledger::{Known, Ledger};
use crate::violation::{Kept, Rule, Violation};

#[derive(Clone, Copy, Debug)]
struct Cursor {
    next: i64,
    /// The leadership of the last batch read, and what was known when this was asked.
    epoch: Option<i32>,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    parts: Vec<(Known, i64)>,
    bytes_min: u32,
}

/// A reader.
#[derive(Debug, Default)]
pub struct Reader {
    number: usize,
    cursors: BTreeMap<PartitionId, Cursor>,
    open: Option<Open>,
}

impl Reader {
    /// Client number `number`.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.is_some() {
            return None;
        }
        let mut parts = Vec::new();
        let mut partitions = Vec::new();
        for _ in 0..=scene.below(3) {
            let partition = scene.any_partition()?;
            if parts
                .iter()
                .any(|(known, _): &(Known, i64)| known.partition == partition)
            {
                continue;
            }
            let known = scene.ledger.known(partition);
            let begin = Cursor {
                next: known.start,
                epoch: None,
            };
            let cursor = self.cursors.entry(partition).or_insert(begin);
            if scene.below(16) == 0 {
                *cursor = begin;
            }
            parts.push((known, cursor.next));
            let epoch = scene.catalog.leader_epoch;
            partitions.push(ReadPartition {
                partition,
                offset: Offset(cursor.next),
                bytes_max: if scene.below(2) == 0 { 200 } else { 1 << 20 },
                leader_epoch: (scene.below(2) == 0).then_some(epoch),
                last_epoch: cursor
                    .epoch
                    .filter(|_| scene.dice.parts(128))
                    .map(LeaderEpoch),
            });
        }
        let bytes_min = if scene.below(4) == 0 { 2000 } else { 1 };
        let wait_ms = if scene.below(3) == 0 { 0 } else { 400 };
        let number = self.number;
        scene.trace.line(|| {
            let from = parts
                .iter()
                .map(|(k, from)| format!("p{}:{from}", k.partition));
            format!(
                "reader {number} reads {}",
                from.collect::<Vec<_>>().join(" ")
            )
        });
        self.open = Some(Open {
            ticket,
            parts,
            bytes_min,
        });
        let bytes_max = 1 << 20;
        let isolation = Isolation::Uncommitted;
        Some(Request::Read(Read {
            partitions,
            bytes_min,
            wait_ms,
            bytes_max,
            isolation,
        }))
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        scene: &mut Scene<'_>,
    ) -> Kept {
        let Reply::Read(outcomes) = reply else {
            return Err(odd(reply));
        };
        let Some(open) = self.open.take().filter(|open| open.ticket == ticket) else {
            return Err(odd(reply));
        };
        if open.parts.len() != outcomes.len() {
            return Err(odd(reply));
        }
        let alone = outcomes.len() == 1;
        for ((known, offset), outcome) in open.parts.iter().zip(outcomes) {
            match outcome {
                Ok(out) => self.got(*known, *offset, out, alone, scene)?,
                Err(refusal) => self.refused(*known, refusal, scene)?,
            }
        }
        Ok(())
    }

    fn got(
        &mut self,
        known: Known,
        offset: i64,
        out: &ReadOut,
        alone: bool,
        scene: &mut Scene<'_>,
    ) -> Kept {
        let (number, id) = (self.number, known.partition);
        scene.trace.line(|| {
            let (start, end, batches) = (out.log_start, out.high_watermark, out.batches.len());
            format!("reader {number}: p{id}:{offset} gives {batches} batches of {start}..{end}")
        });
        if let Some((epoch, end)) = out.diverging {
            let what = format!(
                "a reader of partition {id} at {offset} is sent back to {end} of epoch {}",
                epoch.0
            );
            if scene.ledger.partition_mut(id).lossy {
                self.cursors.remove(&id);
                return Ok(());
            }
            return Err(Violation::new(Rule::NeverBack, what));
        }
        scene.ledger.read(known, offset, out, alone)?;
        if let Some(last) = out.batches.last() {
            let found = scene.ledger.recognise(id, last)?;
            let cursor = Cursor {
                next: found.last + 1,
                epoch: Some(found.epoch),
            };
            self.cursors.insert(id, cursor);
        }
        Ok(())
    }

    fn refused(&mut self, known: Known, refusal: &ReadRefusal, scene: &mut Scene<'_>) -> Kept {
        let (number, id) = (self.number, known.partition);
        scene
            .trace
            .line(|| format!("reader {number}: p{id} is refused: {refusal}"));
        let bad = |rule| {
            let what = format!("a read of partition {id} is refused: {refusal}");
            Err(Violation::new(rule, what))
        };
        match refusal {
            ReadRefusal::UnknownPartition(_) => {
                self.cursors.remove(&id);
                scene.ledger.told_gone(id)
            }
            ReadRefusal::OutOfRange { offset, start, end } => {
                scene.ledger.watermark(known, end.0)?;
                scene.ledger.started(known, start.0)?;
                self.cursors.remove(&id);
                if offset > end {
                    bad(Rule::NeverBack)
                } else {
                    Ok(())
                }
            }
            ReadRefusal::FencedEpoch { .. } | ReadRefusal::UnknownEpoch { .. } => {
                bad(Rule::EpochRises)
            }
            ReadRefusal::Damaged { .. } => bad(Rule::Damage),
            ReadRefusal::Unavailable(_) if scene.ledger.excuses_reads() => Ok(()),
            ReadRefusal::Unavailable(_) => bad(Rule::ReadsAll),
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.open = None;
    }

    pub(super) fn waits(&self, ledger: &Ledger) -> (usize, bool) {
        let Some(open) = &self.open else {
            return (0, false);
        };
        let ready = open.bytes_min <= 1
            && open
                .parts
                .iter()
                .any(|(known, from)| ledger.has_from(known.partition, *from));
        (1, ready)
    }
}
