//! One pass of regrouping: what it reads and writes, at which pace.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use mulgil_log::chunk::ChunkKind;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{Output, RegroupOptions, Regrouped, Source, regroup};

use super::KeeperOptions;
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
    /// How much room must be left.
    pub(super) options: &'a KeeperOptions,
}

/// Between two looks at the disk, bytes read and written.
const LOOK_BYTES: u64 = 16 << 20;

impl Pass<'_> {
    /// Writes the new chunks; says what was done, and where compaction has to go on.
    ///
    /// A pass that fails leaves no chunk behind.
    pub(super) fn run(&self) -> Result<(Regrouped, Option<u64>), Fault> {
        let begun = RefCell::new(Vec::new());
        let done = self.write(&begun);
        if done.is_err() {
            for chunk in begun.into_inner() {
                // The next start removes what cannot be removed now.
                if let Err(fault) = self.broker.store().delete(chunk) {
                    tracing::debug!(%chunk, %fault, "a chunk of a failed pass stays");
                }
            }
        }
        done
    }

    fn write(&self, begun: &RefCell<Vec<ChunkId>>) -> Result<(Regrouped, Option<u64>), Fault> {
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
        let was_full = broker.alarms().disk_full.is_raised();
        let unlooked = Cell::new(0);
        let pace = |bytes| self.pace(bytes, was_full, &unlooked);
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
            begun.borrow_mut().push(header.chunk);
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

    /// Slows the pass down, and ends it when the broker stops or the disk fills up meanwhile: a pass
    /// that was planned for more room must not take the reserve.
    fn pace(&self, bytes: u64, was_full: bool, unlooked: &Cell<u64>) -> Result<(), Fault> {
        super::beat(self.broker);
        unlooked.set(unlooked.get() + bytes);
        if unlooked.get() >= LOOK_BYTES {
            unlooked.set(0);
            super::watch_space(self.broker, self.options)?;
            if !was_full && self.broker.alarms().disk_full.is_raised() {
                let what = "regrouping is broken off: the disk is full";
                return Err(Fault::new(FaultKind::Exhausted, what));
            }
        }
        if self.broker.is_stopping() {
            let what = "regrouping is broken off: the broker is stopping";
            return Err(Fault::new(FaultKind::Unavailable, what));
        }
        let pause = Duration::from_secs(1).mul_f64(bytes as f64 / self.rate as f64);
        std::thread::park_timeout(pause);
        Ok(())
    }
}
