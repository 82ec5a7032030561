//! One pass of regrouping: what it reads and writes, at which pace.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mulgil_log::access::AppendTo;
use mulgil_log::chunk::ChunkKind;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::regroup::{Output, RegroupOptions, Regrouped, Source, regroup};
use mulgil_record::ids::PartitionId;

use super::KeeperOptions;
use crate::compact::{Compaction, CompactionMemory, GoneOffsets, Living};
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
    /// What all subscriptions of queues have settled.
    pub(super) gone: &'a GoneOffsets,
    /// The time, ms since 1970.
    pub(super) wall_ms: i64,
    /// How fast, bytes read and written a second.
    pub(super) rate: u64,
    /// How much room must be left.
    pub(super) options: &'a KeeperOptions,
}

/// Between two looks at the disk, bytes read and written, at most.
const LOOK_BYTES: u64 = 16 << 20;
/// And so many looks at least while as much is written as the last share of the reserve has.
const LOOKS: u64 = 4;
/// A pause that is longer is cut into pieces, and what cannot wait is done between them.
const PAUSE_MOST: Duration = Duration::from_millis(100);

/// A pass that did not come to its end.
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// What was read made it fail, and not what was written or that the pass was broken off.
    pub(super) is_of_sources: bool,
}

/// What a pass has begun, and whether that went wrong.
#[derive(Default)]
struct Begun {
    chunks: RefCell<Vec<ChunkId>>,
    /// A write failed, or the pass was broken off.
    failed: Cell<bool>,
}

impl Begun {
    /// Notes that it was not reading that failed.
    fn note<T>(&self, done: Result<T, Fault>) -> Result<T, Fault> {
        if done.is_err() {
            self.failed.set(true);
        }
        done
    }
}

/// A new chunk whose failures are noted.
struct Noted<'a> {
    out: Box<dyn Output>,
    begun: &'a Begun,
}

impl AppendTo for Noted<'_> {
    fn position(&self) -> Position {
        self.out.position()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        self.begun.note(self.out.append(bytes))
    }
}

impl Output for Noted<'_> {
    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let Self { out, begun } = *self;
        begun.note(out.finish())
    }
}

impl Pass<'_> {
    /// Writes the new chunks; says what was done, and where compaction has to go on.
    ///
    /// A pass that fails leaves no chunk behind.
    pub(super) fn run(&self) -> Result<(Regrouped, Option<u64>), Failed> {
        let begun = Begun::default();
        let done = self.write(&begun);
        if done.is_err() {
            for chunk in begun.chunks.borrow_mut().drain(..) {
                // The next start removes what cannot be removed now.
                if let Err(fault) = self.broker.store().delete(chunk) {
                    if fault.kind == FaultKind::Fatal {
                        self.broker.fatal(&fault);
                    }
                    tracing::debug!(%chunk, %fault, "a chunk of a failed pass stays");
                }
            }
        }
        done.map_err(|fault| Failed {
            fault,
            is_of_sources: !begun.failed.get(),
        })
    }

    /// Where new extents must begin, and where partitions start.
    fn places(&self) -> (Vec<(u64, i64)>, BTreeMap<u64, i64>) {
        let (mut boundaries, mut starts) = (Vec::new(), BTreeMap::new());
        let mut from = Some(PartitionId(0));
        while let Some(id) = from {
            super::beat(self.broker);
            let slice = self.broker.lane().pass_slice(self.chosen, id, super::SLICE);
            boundaries.extend(slice.boundaries);
            starts.extend(slice.starts);
            from = slice.next;
        }
        (boundaries, starts)
    }

    fn write(&self, begun: &Begun) -> Result<(Regrouped, Option<u64>), Fault> {
        let broker = self.broker;
        let mut files = Vec::with_capacity(self.chosen.len());
        for chunk in self.chosen {
            let file = broker.store().open_chunk(*chunk)?;
            let footer = Footer::open_as(&*file, file.header().kind)?;
            files.push((file, footer));
        }
        let sources: Vec<_> = files
            .iter()
            .map(|(file, footer)| Source {
                file: &**file,
                footer: *footer,
            })
            .collect();
        let (boundaries, starts) = self.places();
        let was_full = broker.alarms().disk_full.is_raised();
        let looks = Looks {
            was_full,
            unlooked: Cell::new(0),
            keeps_up: Cell::new(true),
        };
        let pace = |bytes| begun.note(self.pace(bytes, &looks));
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
            gone: self.gone,
            pace: &pace,
        };
        let mut create = |kind: ChunkKind| {
            let header = broker.visit_quietly(|lane, now| lane.sorted_header(kind, now));
            begun.chunks.borrow_mut().push(header.chunk);
            let out = Box::new(begun.note(broker.store().create_chunk(header))?);
            let chunk: Box<dyn Output> = Box::new(Noted { out, begun });
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
    fn pace(&self, bytes: u64, looks: &Looks) -> Result<(), Fault> {
        super::beat(self.broker);
        looks.unlooked.set(looks.unlooked.get() + bytes);
        if looks.unlooked.get() >= LOOK_BYTES.min(self.options.last_share() / LOOKS) {
            looks.unlooked.set(0);
            let free = super::watch_space(self.broker, self.options)?;
            let full = self.broker.alarms().disk_full.is_raised();
            let last = free < self.options.last_share();
            if last || (full && !looks.was_full) {
                let what = "regrouping is broken off: the disk is full";
                return Err(Fault::new(FaultKind::Exhausted, what));
            }
            self.keep_up(looks);
        }
        let mut pause = Duration::from_secs(1).mul_f64(bytes as f64 / self.rate as f64);
        loop {
            if self.broker.is_stopping() {
                let what = "regrouping is broken off: the broker is stopping";
                return Err(Fault::new(FaultKind::Unavailable, what));
            }
            let part = pause.min(PAUSE_MOST);
            std::thread::park_timeout(part);
            pause -= part;
            if pause.is_zero() {
                return Ok(());
            }
            super::beat(self.broker);
            self.keep_up(looks);
        }
    }

    /// Footers and checkpoints do not wait for the pass: meanwhile gigabytes may be written, and a
    /// start would have to replay them all.
    ///
    /// A pass is not broken off because one of them fails. The keeper tries again behind it, in its
    /// own time.
    fn keep_up(&self, looks: &Looks) {
        if !looks.keeps_up.get() {
            return;
        }
        let done = super::seal_all(self.broker)
            .and_then(|()| super::checkpoint_if_due(self.broker, self.options));
        if let Err(fault) = done {
            if fault.kind == FaultKind::Fatal {
                self.broker.fatal(&fault);
            }
            tracing::debug!(%fault, "footers and checkpoints wait for the pass");
            looks.keeps_up.set(false);
        }
    }
}

/// What a pass looks at while it goes on.
struct Looks {
    /// The disk was full when it began.
    was_full: bool,
    /// Bytes read and written since the last look.
    unlooked: Cell<u64>,
    /// No footer or checkpoint has failed meanwhile.
    keeps_up: Cell<bool>,
}
