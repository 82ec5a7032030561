//! The keeper: one thread that keeps the store in order behind everybody's back.
//!
//! It puts footers to log chunks that are full, gives up what retention no longer keeps, and watches
//! how much room the disk has. It enters the lane for a bounded number of partitions at a time and
//! does all reading and writing outside it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_core::machine::Now;
use mulgil_log::checkpoint::CheckpointWriter;
use mulgil_log::chunk::{ChunkKind, ChunkWriter};
use mulgil_log::chunkset::ChunkInfo;
use mulgil_log::fault::Fault;
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{Candidate, PlanBounds, add_compaction, plan};
use mulgil_record::ids::PartitionId;

use crate::lane::{Keyed, Lane, Objects, Retired, RoomWork};
use crate::shell::Broker;

mod pass;

/// Partitions that the keeper asks the lane about at a time.
const SLICE: usize = 512;

/// Log chunks to be ended until no replay needs the first of them: behind it lie two checkpoints, as
/// one may be damaged, and each counts when the header of the next chunk names it.
pub const ROLLS: u32 = 3;

/// How the keeper works. Times in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// Between two looks for work.
    pub pause_ms: u64,
    /// Chunks are rewritten when so much waits for it.
    pub regroup_bytes: u64,
    /// How fast a pass may go, reading and writing together.
    pub regroup_bytes_per_second: u64,
    /// A checkpoint is written when so much has been written since the last.
    pub checkpoint_bytes: u64,
    /// Between two looks for partitions that are worth compacting, and so between two such passes.
    pub compact_every_ms: u64,
    /// Between two passes of retention (Kafka: `log.retention.check.interval.ms`).
    pub retention_every_ms: u64,
    /// Room that must be left on the disk for appends to be taken. What is below is kept for
    /// settlements, offsets and regrouping, so that consumers can always work a full disk free.
    pub reserve_bytes: u64,
    /// A wall clock that goes this far off the running time has been set: retention waits.
    pub clock_step_ms: u64,
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self {
            pause_ms: 100,
            regroup_bytes: 2 << 30,
            regroup_bytes_per_second: 400 << 20,
            // Half a log chunk: the next chunk's header names it.
            checkpoint_bytes: 128 << 20,
            // A look costs microseconds; a pass that has nothing else to do costs a few files.
            compact_every_ms: 5_000,
            retention_every_ms: 10_000,
            // One chunk to grow into, one to regroup into, and a group of frames.
            reserve_bytes: 768 << 20,
            clock_step_ms: 60 * 60 * 1_000,
        }
    }
}

/// Works until the broker is gone.
pub(crate) fn run(broker: &Weak<Broker>, options: KeeperOptions) {
    let mut keeper = Keeper {
        going: VecDeque::new(),
        options,
        retention_due: 0,
        compact_due: 0,
        resume: 0,
        rolls: 0,
        // The clock is believed as it is now: the first look at it may be long after the start.
        clock: broker.upgrade().map(|broker| wall_offset(broker.now())),
    };
    loop {
        std::thread::park_timeout(Duration::from_millis(options.pause_ms));
        let Some(broker) = broker.upgrade() else {
            return;
        };
        if broker.is_stopping() {
            return;
        }
        if let Err(fault) = keeper.work(&broker) {
            // Whatever it is can be tried again: nothing was given up before it was done.
            tracing::warn!(%fault, source = ?fault.source, "the keeper was interrupted");
        }
    }
}

/// A chunk that does not count any more.
struct Going {
    chunk: ChunkId,
    /// It is removed when the pool has done so much.
    after_reads: u64,
}

struct Keeper {
    going: VecDeque<Going>,
    options: KeeperOptions,
    /// Running milliseconds of the next pass of retention.
    retention_due: u64,
    /// Running milliseconds of the next look for what is to be compacted.
    compact_due: u64,
    /// The partition that compaction goes on with: the map of keys was full before.
    resume: u64,
    /// Log chunks that are still to be ended before they are full.
    rolls: u32,
    /// Wall minus running time, as it was when it was last believed.
    clock: Option<i128>,
}

impl Keeper {
    fn work(&mut self, broker: &Arc<Broker>) -> Result<(), Fault> {
        self.watch_space(broker)?;
        loop {
            let unsealed = broker.lane().unsealed();
            let Some(retired) = unsealed else {
                break;
            };
            seal(broker, retired)?;
        }
        if broker
            .lane()
            .wants_checkpoint(self.options.checkpoint_bytes)
        {
            checkpoint(broker)?;
        }
        self.hurry(broker)?;
        self.regroup(broker)?;
        delete(broker, &mut self.going)?;
        make_room(broker)?;
        let now = broker.now();
        if now.elapsed.0 >= self.retention_due {
            self.retention_due = now.elapsed.0 + self.options.retention_every_ms;
            if self.believes(broker, now) {
                retain(broker);
            }
        }
        Ok(())
    }

    fn watch_space(&self, broker: &Broker) -> Result<(), Fault> {
        let space = broker.store().space()?;
        let full = space.free < self.options.reserve_bytes;
        let was = broker.alarms().disk_full.swap(full, Ordering::Relaxed);
        if full != was {
            broker.lane().set_full(full);
            let (free, reserve) = (space.free, self.options.reserve_bytes);
            if full {
                tracing::error!(free, reserve, "the disk is full: appends are refused");
            } else {
                tracing::info!(free, reserve, "the disk has room again: appends are taken");
            }
        }
        Ok(())
    }

    /// Rewrites chunks if that is worth it: several GiB at a time, one chunk when room is short.
    fn regroup(&mut self, broker: &Arc<Broker>) -> Result<(), Fault> {
        let full = broker.alarms().disk_full.load(Ordering::Relaxed);
        let free = broker.store().space()?.free;
        let bounds = PlanBounds {
            total_min: if full { 1 } else { self.options.regroup_bytes },
            // A pass may use the reserve only when nothing else frees room.
            space_left: if full {
                free
            } else {
                free.saturating_sub(self.options.reserve_bytes)
            },
            ..PlanBounds::default()
        };
        let uses = broker.lane().chunk_uses();
        let mut chosen = plan(&uses, &bounds);
        let now = broker.now();
        let due = now.elapsed.0 >= self.compact_due;
        if chosen.is_empty() && !due {
            return Ok(());
        }
        let (keyed, hurry) = keyed(broker, now);
        if due {
            self.compact_due = now.elapsed.0 + self.options.compact_every_ms;
            self.rolls = self.rolls.max(if hurry { ROLLS } else { 0 });
        }
        let cleaned = if self.believes(broker, now) {
            self.choose(&keyed, |candidates| {
                add_compaction(&uses, &mut chosen, candidates, &bounds)
            })
        } else {
            Vec::new()
        };
        if chosen.is_empty() {
            return Ok(());
        }
        let rate = self.options.regroup_bytes_per_second;
        let pass = pass::Pass {
            broker,
            chosen: &chosen,
            keyed: &keyed,
            cleaned: &cleaned,
            wall_ms: i64::try_from(now.wall.0).unwrap_or(i64::MAX),
            rate,
        };
        let (done, resume) = pass.run()?;
        self.resume = resume.unwrap_or_default();
        tracing::info!(
            removed = done.removed.len(),
            written = done.chunks.len(),
            bytes_read = done.bytes_read,
            bytes_written = done.bytes_written,
            compacted = cleaned.len(),
            "chunks regrouped"
        );
        broker.visit_quietly(|lane, _| lane.regrouped(done));
        Ok(())
    }

    /// Chooses what is compacted, beginning where the map of keys was full.
    fn choose(&self, keyed: &[Keyed], mut add: impl FnMut(&[Candidate]) -> Vec<u64>) -> Vec<u64> {
        let candidates = keyed.iter().map(|keyed| keyed.candidate.clone());
        let (later, before): (Vec<_>, Vec<_>) =
            candidates.partition(|candidate| candidate.partition >= self.resume);
        let chosen = add(&later);
        if chosen.is_empty() && !before.is_empty() {
            return add(&before);
        }
        chosen
    }

    /// Ends log chunks early, and writes checkpoints behind them, when something in them has waited
    /// too long for compaction: until no replay needs them any more.
    fn hurry(&mut self, broker: &Arc<Broker>) -> Result<(), Fault> {
        if self.rolls == 0 || !broker.lane().all_sealed() {
            return Ok(());
        }
        if self.rolls < ROLLS {
            checkpoint(broker)?;
        }
        broker.visit_quietly(|lane, now| lane.roll(now));
        self.rolls -= 1;
        Ok(())
    }

    /// Whether the wall clock can be believed: a large step stops retention and raises an alarm.
    ///
    /// The alarm goes when the clock comes back, or at the next start.
    fn believes(&mut self, broker: &Broker, now: Now) -> bool {
        let offset = wall_offset(now);
        let known = *self.clock.get_or_insert(offset);
        let stepped = (offset - known).unsigned_abs() > u128::from(self.options.clock_step_ms);
        if !stepped {
            // Slow corrections are followed.
            self.clock = Some(offset);
        }
        if broker
            .alarms()
            .clock_stepped
            .swap(stepped, Ordering::Relaxed)
            != stepped
            && stepped
        {
            tracing::error!("the wall clock was set by more than an hour: retention waits");
        }
        !stepped
    }
}

/// All partitions that are compacted, and whether something waits too long.
fn keyed(broker: &Broker, now: Now) -> (Vec<Keyed>, bool) {
    let mut partitions = Vec::new();
    let mut hurry = false;
    let mut from = Some(PartitionId(0));
    while let Some(id) = from {
        let slice = broker.lane().keyed(id, SLICE, now);
        partitions.extend(slice.partitions);
        hurry |= slice.hurry;
        from = slice.next;
    }
    (partitions, hurry)
}

fn wall_offset(now: Now) -> i128 {
    i128::from(now.wall.0) - i128::from(now.elapsed.0)
}

/// Puts a footer to a log chunk, and takes its fine index out of memory.
fn seal(broker: &Arc<Broker>, retired: Retired) -> Result<(), Fault> {
    let file = broker.store().open_chunk(retired.chunk)?;
    let damaged = broker.lane().damaged_in(retired.chunk);
    let mut tail = Slices {
        broker,
        chunk: retired.chunk,
        next: Some(PartitionId(0)),
        ready: Vec::new().into_iter(),
    };
    let sealed = broker
        .store()
        .seal(&file, retired.end, &mut tail, &damaged)?;
    for extents in sealed.extents.chunks(SLICE) {
        broker.lane().sealed(retired.chunk, extents.to_vec());
    }
    let bytes = file.bytes()?;
    broker.visit_quietly(|lane, _| lane.sealed_all(retired.chunk, bytes));
    tracing::debug!(chunk = %retired.chunk, extents = sealed.extents.len(), "log chunk sealed");
    Ok(())
}

/// On a full disk: lets go of log chunks that only a start would still need.
fn make_room(broker: &Arc<Broker>) -> Result<(), Fault> {
    if !broker.alarms().disk_full.load(Ordering::Relaxed) {
        return Ok(());
    }
    let work = broker.lane().room_work();
    match work {
        Some(RoomWork::NextChunk) => {
            broker.visit_quietly(Lane::begin_next_chunk);
        }
        Some(RoomWork::Checkpoint) => checkpoint(broker)?,
        None => {}
    }
    Ok(())
}

/// Writes a checkpoint: some objects at a time, while the broker works.
fn checkpoint(broker: &Arc<Broker>) -> Result<(), Fault> {
    let begun = broker.visit_quietly(|lane, now| lane.checkpoint_begin(now));
    let chunk = begun.header.chunk;
    let out = broker.store().create_chunk(begun.header)?;
    let mut writer = CheckpointWriter::new(out, begun.from);
    write_objects(&mut writer, &begun.objects)?;
    let mut next = Some(0);
    while let Some(from) = next {
        let objects = broker.lane().checkpoint_partitions(from, SLICE);
        write_objects(&mut writer, &objects)?;
        next = objects.next;
    }
    let mut next = Some(0);
    while let Some(from) = next {
        let objects = broker.lane().checkpoint_groups(from, SLICE);
        write_objects(&mut writer, &objects)?;
        next = objects.next;
    }
    let (out, end) = writer.finish()?;
    let file = out.finish()?;
    let info = ChunkInfo {
        chunk,
        kind: ChunkKind::Checkpoint,
        bytes: file.bytes()?,
    };
    broker.visit_quietly(|lane, _| lane.checkpoint_done(info, end.from));
    tracing::debug!(%chunk, bytes = info.bytes, objects = end.objects, "checkpoint written");
    Ok(())
}

fn write_objects(
    writer: &mut CheckpointWriter<ChunkWriter>,
    objects: &Objects,
) -> Result<(), Fault> {
    for (kind, object, content) in &objects.objects {
        writer.object(*kind, *object, objects.good_for, content)?;
    }
    Ok(())
}

/// Removes chunks that do not count any more, now that it is on disk that they do not.
///
/// Reads that were sent there before go first. What can't be removed now is tried again.
fn delete(broker: &Broker, going: &mut VecDeque<Going>) -> Result<(), Fault> {
    let chunks = broker.visit_quietly(|lane, _| lane.deletable());
    let after_reads = broker.pool().submitted();
    going.extend(chunks.into_iter().map(|chunk| Going { chunk, after_reads }));
    while let Some(next) = going.front() {
        if !broker.pool().has_done(next.after_reads) {
            break;
        }
        broker.pool().forget(&[next.chunk]);
        broker.store().delete(next.chunk)?;
        tracing::debug!(chunk = %next.chunk, "chunk removed");
        going.pop_front();
    }
    Ok(())
}

/// The tail entries of a chunk, asked of the lane slice by slice.
struct Slices<'a> {
    broker: &'a Broker,
    chunk: ChunkId,
    next: Option<PartitionId>,
    ready: std::vec::IntoIter<(u64, Vec<mulgil_log::index::TailEntry>)>,
}

impl Iterator for Slices<'_> {
    type Item = (u64, Vec<mulgil_log::index::TailEntry>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entries) = self.ready.next() {
                return Some(entries);
            }
            let slice = self.broker.lane().tail_slice(self.chunk, self.next?, SLICE);
            self.next = slice.next;
            self.ready = slice.entries.into_iter();
        }
    }
}

fn retain(broker: &Broker) {
    let mut from = Some(PartitionId(0));
    while let Some(id) = from {
        from = broker.visit_quietly(|lane, now| lane.retain(id, SLICE, now));
    }
}
