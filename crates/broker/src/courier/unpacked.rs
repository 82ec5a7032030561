//! Batches that were unpacked lately: who receives a few records at a time of a large batch would otherwise
//! have all of it unpacked again for each few.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mulgil_record::batch::DecodedRecords;
use mulgil_record::ids::{Offset, PartitionId};

use crate::mailbox::lock;

/// Memory of all together.
const BYTES_MAX: usize = 32 << 20;
/// How many.
const BATCHES_MAX: usize = 64;
/// A batch of fewer records is unpacked again.
const RECORDS_MIN: usize = 16;

/// The newest, last.
#[derive(Debug, Default)]
pub(super) struct UnpackedBatches(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<(PartitionId, Arc<DecodedRecords>)>,
    bytes: usize,
}

fn holds(batch: &DecodedRecords, offset: Offset) -> bool {
    let header = batch.header();
    (header.base_offset..=header.last_offset()).contains(&offset)
}

impl UnpackedBatches {
    /// The batch that has this offset, if it is here. Offsets are never given twice, so it is as it was; but
    /// what it held may have been given up since, and then nobody is handed an offset of it.
    pub(super) fn at(&self, partition: PartitionId, offset: Offset) -> Option<Arc<DecodedRecords>> {
        let kept = lock(&self.0);
        let mut batches = kept.batches.iter().rev();
        let found = batches.find(|(of, batch)| *of == partition && holds(batch, offset));
        found.map(|(_, batch)| Arc::clone(batch))
    }

    /// Keeps a batch for a while, if that is worth it.
    pub(super) fn keep(&self, partition: PartitionId, batch: &Arc<DecodedRecords>) {
        let bytes = batch.memory_bytes();
        if batch.len() < RECORDS_MIN || bytes > BYTES_MAX / 2 {
            return;
        }
        let mut kept = lock(&self.0);
        let base = batch.header().base_offset;
        if { kept.batches.iter() }
            .any(|(of, one)| *of == partition && one.header().base_offset == base)
        {
            return;
        }
        kept.bytes += bytes;
        kept.batches.push_back((partition, Arc::clone(batch)));
        while kept.bytes > BYTES_MAX || kept.batches.len() > BATCHES_MAX {
            let Some((_, oldest)) = kept.batches.pop_front() else {
                break;
            };
            kept.bytes -= oldest.memory_bytes();
        }
    }
}
