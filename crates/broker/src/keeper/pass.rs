//! One pass of regrouping: what it reads and writes, at which pace.

use std::sync::Arc;
use std::time::Duration;

use mulgil_log::chunk::ChunkKind;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{Output, RegroupOptions, Regrouped, Source, regroup};

use crate::compact::{Compaction, CompactionMemory, Living};
use crate::lane::Keyed;
use crate::shell::Broker;

/// Batches that a pass has in memory at once, bytes.
const REGROUP_MEMORY_BYTES: usize = 64 << 20;
/// The map of keys, bytes: 1.8 million keys a pass. While it grows to that, 72 MiB.
const KEYS_BYTES: usize = 48 << 20;

/// A pass that is to be done.
pub(super) struct Pass<'a> {
    pub(super) broker: &'a Arc<Broker>,
    /// The chunks that it takes.
    pub(super) chosen: &'a [ChunkId],
    /// All partitions that are compacted now or later.
    pub(super) keyed: &'a [Keyed],
    /// Those that are compacted now.
    pub(super) cleaned: &'a [u64],
    /// The time, ms since 1970.
    pub(super) wall_ms: i64,
    /// How fast, bytes read and written a second.
    pub(super) rate: u64,
}

impl Pass<'_> {
    /// Writes the new chunks; says what was done, and where compaction has to go on.
    pub(super) fn run(&self) -> Result<(Regrouped, Option<u64>), Fault> {
        let broker = self.broker;
        let mut files = Vec::with_capacity(self.chosen.len());
        for chunk in self.chosen {
            let file = broker.store().open_chunk(*chunk)?;
            let footer = Footer::open(&*file)?;
            files.push((file, footer));
        }
        let sources: Vec<_> = files
            .iter()
            .map(|(file, footer)| Source {
                file: &**file,
                footer: *footer,
            })
            .collect();
        let (boundaries, starts) = {
            let lane = broker.lane();
            (lane.boundaries(self.chosen), lane.starts())
        };
        let pace = |bytes| self.pace(bytes);
        let memory = CompactionMemory {
            batches: REGROUP_MEMORY_BYTES,
            keys: KEYS_BYTES,
        };
        let cleaned = |keyed: &&Keyed| self.cleaned.contains(&keyed.candidate.partition);
        let cleaned = self.keyed.iter().filter(cleaned);
        let compaction = Compaction::learn(&sources, cleaned, memory, self.wall_ms, &pace)?;
        let resume = compaction.resume();
        let living = Living {
            starts,
            keyed: self.keyed.iter().map(|k| k.candidate.partition).collect(),
            compaction,
            pace: &pace,
        };
        let mut create = |kind: ChunkKind| {
            let header = broker.visit_quietly(|lane, now| lane.sorted_header(kind, now));
            let chunk: Box<dyn Output> = Box::new(broker.store().create_chunk(header)?);
            Ok(chunk)
        };
        let options = RegroupOptions {
            memory_bytes: REGROUP_MEMORY_BYTES,
            ..RegroupOptions::default()
        };
        let done = regroup(&sources, &boundaries, &living, &options, &mut create)?;
        Ok((done, resume))
    }

    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        if self.broker.is_stopping() {
            let what = "regrouping is broken off: the broker is stopping";
            return Err(Fault::new(FaultKind::Unavailable, what));
        }
        let pause = Duration::from_secs(1).mul_f64(bytes as f64 / self.rate as f64);
        std::thread::park_timeout(pause);
        Ok(())
    }
}
