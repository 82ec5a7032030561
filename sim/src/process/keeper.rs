//! The keeper, a piece at a time: footers, checkpoints, passes, retention and removals.
//!
//! It does what the real one does on its thread, with the same calls of lane and log, but lets go
//! between the pieces, so that anything may happen while a chunk is sealed, a checkpoint is half
//! written or a pass is done and not yet told.

use std::collections::BTreeMap;

use mulgil_broker::compact::{Compaction, CompactionMemory, GoneOffsets, Living};
use mulgil_broker::keeper::ROLLS;
use mulgil_broker::lane::{Keyed, Objects, Retired, RoomWork};
use mulgil_core::machine::Now;
use mulgil_log::checkpoint::CheckpointWriter;
use mulgil_log::chunk::{ChunkKind, ChunkWriter};
use mulgil_log::chunkset::ChunkInfo;
use mulgil_log::entry::EntryHeader;
use mulgil_log::fault::Fault;
use mulgil_log::footer::Footer;
use mulgil_log::index::{Extent, TailEntry};
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{
    Candidate, Keep, Live, Output, PlanBounds, RegroupOptions, Regrouped, Rewritten, Shelf, Source,
    add_compaction, plan, regroup,
};
use mulgil_record::ids::{Offset, PartitionId};

use mulgil_broker::lane::Origin;
use mulgil_broker::request::{Request, Ticket, Trim};

use super::Process;
use crate::ledger::QUEUE;
use crate::planted::Planted;

/// Partitions that are asked for at a time: few, so that more lies between.
const SLICE: usize = 2;

/// A wall clock that goes this far off the running time has been set.
const CLOCK_STEP_MS: u128 = 60 * 60 * 1_000;

/// What the keeper is in the middle of.
#[derive(Debug, Default)]
pub(super) enum Job {
    /// Nothing.
    #[default]
    None,
    /// A footer is being made: entries so far, and where to go on.
    Sealing(Retired, Vec<(u64, Vec<TailEntry>)>, PartitionId),
    /// A footer is durable, and the lane does not know all of it.
    Sealed(Retired, Vec<(u64, Extent)>),
    /// A checkpoint is being written.
    Checkpoint(Box<CheckpointWriter<ChunkWriter>>, ChunkId, Next),
    /// A checkpoint is durable, and the lane does not know it.
    Written(ChunkInfo, mulgil_log::position::Position),
    /// A pass is done, and the lane does not know it of all partitions: where to go on.
    Pass(Regrouped, PartitionId),
}

/// Which objects of a checkpoint come next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Partitions(u64),
    Groups(u64),
    Subscriptions(u64),
    Finish,
}

/// When the keeper finds something to do, bytes.
#[derive(Clone, Copy, Debug)]
pub struct KeeperSizes {
    /// Between two checkpoints.
    pub checkpoint_bytes: u64,
    /// What a pass is worth doing for.
    pub regroup_bytes: u64,
    /// Of one output chunk of a pass.
    pub sorted_bytes: u64,
    /// What a pass knows of keys.
    pub keys_bytes: usize,
    /// What must be free for appends to be taken: what goes on without them must fit.
    pub reserve_bytes: u64,
}

/// How far compaction is.
#[derive(Debug, Default)]
pub(super) struct Compacting {
    /// Running milliseconds of the next look.
    due: u64,
    /// The partition to go on with.
    resume: u64,
    /// Log chunks that are still to be ended, and whether the checkpoint before that is begun.
    rolls: u32,
    checkpointed: bool,
}

/// Between two looks for what is to be compacted, milliseconds.
const COMPACT_EVERY_MS: u64 = 20;

/// What compaction says, changed by a planted bug.
struct Twisted<'a> {
    living: Living<'a>,
    planted: Option<Planted>,
}

impl Live for Twisted<'_> {
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep {
        self.living.live(partition, base, last)
    }

    fn max_timestamp(&self, header: &EntryHeader, payload: &[u8]) -> i64 {
        self.living.max_timestamp(header, payload)
    }

    fn rewrite(&self, header: &EntryHeader, payload: &[u8]) -> Rewritten {
        let clean = self.living.shelf(header.object, header.base) == Shelf::Clean;
        match self.planted {
            Some(Planted::NewestCompacted) if clean && header.base % 5 == 0 => Rewritten::Gone,
            Some(Planted::OlderLeft) => Rewritten::AsIs,
            Some(_) | None => self.living.rewrite(header, payload),
        }
    }

    fn shelf(&self, partition: u64, base: i64) -> Shelf {
        self.living.shelf(partition, base)
    }
}

/// How far the wall clock is ahead of the running time.
pub(super) fn wall_offset(now: Now) -> i128 {
    i128::from(now.wall.0) - i128::from(now.elapsed.0)
}

impl Process {
    /// Does a piece of work; says what it was. A fault leaves everything to be tried again.
    ///
    /// # Errors
    ///
    /// What the store says: nothing was given up before it was done.
    pub fn keep(&mut self, now: Now) -> Result<&'static str, Fault> {
        self.rests = false;
        match std::mem::take(&mut self.job) {
            Job::None => {
                let found = self.find_work(now)?;
                self.rests = found.is_empty();
                Ok(found)
            }
            Job::Sealing(retired, entries, next) => self.seal(retired, entries, next),
            Job::Sealed(retired, extents) => self.sealed(retired, extents, now),
            Job::Checkpoint(writer, chunk, next) => self.write(writer, chunk, next),
            Job::Written(info, from) => {
                let _no_answers = self.visit(now, |lane, _| lane.checkpoint_done(info, from));
                Ok("the lane learns of a checkpoint")
            }
            Job::Pass(pass, from) => {
                if let Some(next) = self.lane.regrouped(&pass, from, SLICE) {
                    self.job = Job::Pass(pass, next);
                    return Ok("");
                }
                let _no_answers = self.visit(now, |lane, _| lane.regrouped_all(&pass));
                Ok("the lane learns of a pass")
            }
        }
    }

    /// Whether the keeper looks how much room the disk has.
    #[must_use]
    pub const fn watches_space(&self) -> bool {
        self.watches
    }

    /// Lets the keeper look at the room, or not.
    pub fn watch_space(&mut self, watches: bool) {
        self.watches = watches;
        self.full = false;
        self.lane.set_full(false);
    }

    /// Whether the keeper is between two pieces of work.
    #[must_use]
    pub const fn keeper_rests(&self) -> bool {
        self.rests && matches!(self.job, Job::None)
    }

    /// What is free; the lane is told when that falls below the reserve, and when there is room again.
    fn look_at_space(&mut self) -> Result<u64, Fault> {
        let free = self.store.space()?.free;
        let full = self.watches && free < self.sizes.reserve_bytes;
        if full != self.full {
            self.full = full;
            self.lane.set_full(full);
        }
        Ok(free)
    }

    fn find_work(&mut self, now: Now) -> Result<&'static str, Fault> {
        let free = self.look_at_space()?;
        if let Some(retired) = self.lane.unsealed() {
            self.job = Job::Sealing(retired, Vec::new(), PartitionId(0));
            return Ok("a chunk is to be sealed");
        }
        if self.lane.wants_checkpoint(self.sizes.checkpoint_bytes) {
            return self.begin_checkpoint(now);
        }
        if self.compacting.rolls > 0 {
            return self.hurry(now);
        }
        let removed = self.remove(now)?;
        let believed = self.believes(now);
        let mut from = Some(PartitionId(0));
        while let Some(id) = from {
            let _no_answers = self.visit(now, |lane, _| from = lane.retain(id, SLICE, now));
        }
        if self.planted == Some(Planted::ReclaimedTooFar) {
            self.reclaim_too_far(now);
        }
        let uses = self.lane.chunk_uses();
        let bounds = PlanBounds {
            total_min: self.sizes.regroup_bytes,
            space_left: if self.full {
                free
            } else {
                free.saturating_sub(self.sizes.reserve_bytes)
            },
            freeing: self.full,
            ..PlanBounds::default()
        };
        let mut chosen = plan(&uses, &bounds);
        let due = now.elapsed.0 >= self.compacting.due;
        let (keyed, hurry) = if due || !chosen.is_empty() {
            self.keyed(now)
        } else {
            (Vec::new(), false)
        };
        if due {
            self.compacting.due = now.elapsed.0 + COMPACT_EVERY_MS;
            self.compacting.rolls = if hurry { ROLLS } else { 0 };
        }
        let mut cleaned = Vec::new();
        if believed {
            let candidates = keyed.iter().map(|keyed| keyed.candidate.clone());
            let (later, before): (Vec<Candidate>, Vec<_>) =
                candidates.partition(|c| c.partition >= self.compacting.resume);
            cleaned = add_compaction(&uses, &mut chosen, &later, &bounds);
            if cleaned.is_empty() {
                cleaned = add_compaction(&uses, &mut chosen, &before, &bounds);
            }
        }
        if !chosen.is_empty() {
            return self.pass(&chosen, (&keyed, &cleaned), now);
        }
        if removed {
            return Ok("chunks are removed");
        }
        self.make_room(now)
    }

    /// Trims the queue to its end, as if all of it was settled.
    fn reclaim_too_far(&mut self, now: Now) {
        let topic = self.catalog.topic_by_id(QUEUE);
        let Some(partition) = topic.and_then(|topic| topic.partitions.first().copied()) else {
            return;
        };
        let all = Trim {
            partition,
            to: None,
        };
        let nobody = Origin {
            runtime: u16::MAX,
            connection: u64::MAX - 1,
        };
        let trim = vec![(Ticket(0), Request::Trim(vec![all]))];
        let _no_answers = self.visit(now, |lane, turn| {
            lane.enter(nobody, trim, now, turn);
        });
    }

    fn make_room(&mut self, now: Now) -> Result<&'static str, Fault> {
        let makes = self.full && self.planted != Some(Planted::RoomNotMade);
        let work = makes.then(|| self.lane.room_work()).flatten();
        match work {
            Some(RoomWork::NextChunk) => {
                let _no_answers = self.visit(now, |lane, _| lane.roll(now));
                Ok("the next log chunk is begun, to make room")
            }
            Some(RoomWork::Checkpoint) => self.begin_checkpoint(now),
            None => Ok(""),
        }
    }

    /// All partitions that are compacted, and whether something waits too long.
    fn keyed(&self, now: Now) -> (Vec<Keyed>, bool) {
        let (mut partitions, mut hurry) = (Vec::new(), false);
        let mut from = Some(PartitionId(0));
        while let Some(id) = from {
            let slice = self.lane.keyed(id, SLICE, now);
            partitions.extend(slice.partitions);
            hurry |= slice.hurry;
            from = slice.next;
        }
        (partitions, hurry)
    }

    /// Each compacted partition with the offset below which it is clean, and whether nothing waits.
    pub fn clean(&self, now: Now) -> (Vec<(PartitionId, i64)>, bool) {
        let (keyed, hurry) = self.keyed(now);
        let candidates = || keyed.iter().map(|keyed| &keyed.candidate);
        let clean = candidates().map(|c| (PartitionId(c.partition), c.clean_to));
        let all = !hurry && candidates().all(|c| c.dirty_bytes == 0);
        (clean.collect(), all)
    }

    /// Ends a log chunk early, or writes a checkpoint behind one.
    fn hurry(&mut self, now: Now) -> Result<&'static str, Fault> {
        if self.compacting.rolls < ROLLS && !self.compacting.checkpointed {
            self.compacting.checkpointed = true;
            return self.begin_checkpoint(now);
        }
        self.compacting.checkpointed = false;
        self.compacting.rolls -= 1;
        let _no_answers = self.visit(now, |lane, _| lane.roll(now));
        Ok("the log goes on in the next chunk")
    }

    /// Whether the wall clock can be believed, as the real keeper sees it.
    pub(crate) fn believes(&mut self, now: Now) -> bool {
        let offset = wall_offset(now);
        let known = *self.believed.get_or_insert(offset);
        let stepped = (offset - known).unsigned_abs() > CLOCK_STEP_MS;
        if !stepped {
            self.believed = Some(offset);
        }
        !stepped
    }

    fn remove(&mut self, now: Now) -> Result<bool, Fault> {
        let mut chunks = Vec::new();
        let _no_answers = self.visit(now, |lane, _| chunks = lane.deletable());
        let given = self.cold_given;
        self.going
            .extend(chunks.iter().map(|chunk| (given, *chunk)));
        let mut any = false;
        while let Some((given, chunk)) = self.going.front().copied() {
            if self.cold.iter().any(|(number, _)| *number < given) {
                break;
            }
            self.chunks.forget(&[chunk]);
            self.store.delete(chunk)?;
            self.going.pop_front();
            any = true;
        }
        Ok(any)
    }

    fn seal(
        &mut self,
        retired: Retired,
        mut entries: Vec<(u64, Vec<TailEntry>)>,
        next: PartitionId,
    ) -> Result<&'static str, Fault> {
        let slice = self.lane.tail_slice(retired.chunk, next, SLICE);
        entries.extend(slice.entries);
        if let Some(next) = slice.next {
            self.job = Job::Sealing(retired, entries, next);
            return Ok("");
        }
        let file = self.store.open_chunk(retired.chunk)?;
        let damaged = self.lane.damaged_in(retired.chunk);
        let mut entries = entries.into_iter();
        let sealed = self
            .store
            .seal(&file, retired.end, &mut entries, &damaged)?;
        self.job = Job::Sealed(retired, sealed.extents);
        Ok("a chunk is sealed")
    }

    fn sealed(
        &mut self,
        retired: Retired,
        mut extents: Vec<(u64, Extent)>,
        now: Now,
    ) -> Result<&'static str, Fault> {
        let rest = extents.split_off(extents.len().min(SLICE));
        self.lane.sealed(retired.chunk, extents);
        if !rest.is_empty() {
            self.job = Job::Sealed(retired, rest);
            return Ok("");
        }
        let bytes = self.store.open_chunk(retired.chunk)?.bytes()?;
        let _no_answers = self.visit(now, |lane, _| lane.sealed_all(retired.chunk, bytes));
        Ok("the lane learns of a sealed chunk")
    }

    fn begin_checkpoint(&mut self, now: Now) -> Result<&'static str, Fault> {
        let begun = self.lane.checkpoint_begin(now);
        let chunk = begun.header.chunk;
        let out = self.store.create_chunk(begun.header)?;
        let mut writer = CheckpointWriter::new(out, begun.from);
        write_objects(&mut writer, &begun.objects)?;
        self.job = Job::Checkpoint(Box::new(writer), chunk, Next::Partitions(0));
        Ok("a checkpoint is begun")
    }

    fn write(
        &mut self,
        mut writer: Box<CheckpointWriter<ChunkWriter>>,
        chunk: ChunkId,
        next: Next,
    ) -> Result<&'static str, Fault> {
        let next = match next {
            Next::Partitions(from) => {
                let objects = self.lane.checkpoint_partitions(from, SLICE);
                write_objects(&mut writer, &objects)?;
                objects.next.map_or(Next::Groups(0), Next::Partitions)
            }
            Next::Groups(from) => {
                let objects = self.lane.checkpoint_groups(from, SLICE);
                write_objects(&mut writer, &objects)?;
                objects.next.map_or(Next::Subscriptions(0), Next::Groups)
            }
            Next::Subscriptions(from) => {
                let objects = self.lane.checkpoint_subscriptions(from, SLICE);
                write_objects(&mut writer, &objects)?;
                objects.next.map_or(Next::Finish, Next::Subscriptions)
            }
            Next::Finish => {
                let (out, end) = writer.finish()?;
                let file = out.finish()?;
                let kind = ChunkKind::Checkpoint;
                let bytes = file.bytes()?;
                self.job = Job::Written(ChunkInfo { chunk, kind, bytes }, end.from);
                return Ok("a checkpoint is written");
            }
        };
        self.job = Job::Checkpoint(writer, chunk, next);
        Ok("")
    }

    fn pass(
        &mut self,
        chosen: &[ChunkId],
        (keyed, cleaned): (&[Keyed], &[u64]),
        now: Now,
    ) -> Result<&'static str, Fault> {
        let mut files = Vec::with_capacity(chosen.len());
        for chunk in chosen {
            let file = self.store.open_chunk(*chunk)?;
            let footer = Footer::open_as(&*file, file.header().kind)?;
            files.push((file, footer));
        }
        let sources = files.iter().map(|(file, footer)| Source {
            file: &**file,
            footer: *footer,
        });
        let sources: Vec<_> = sources.collect();
        let (mut boundaries, mut starts) = (Vec::new(), BTreeMap::new());
        let mut from = Some(PartitionId(0));
        while let Some(id) = from {
            let slice = self.lane.pass_slice(chosen, id, SLICE);
            boundaries.extend(slice.boundaries);
            starts.extend(slice.starts);
            from = slice.next;
        }
        let mut gone = GoneOffsets::new();
        let mut from = Some((PartitionId(0), Offset::ZERO));
        while let Some(at) = from {
            let slice = self.lane.gone(at, SLICE, now);
            for (partition, piece) in slice.gone {
                gone.entry(partition).or_default().push(piece);
            }
            from = slice.next;
        }
        let planted = self.planted;
        let cleaned = keyed
            .iter()
            .filter(|keyed| cleaned.contains(&keyed.candidate.partition))
            .cloned();
        let mut cleaned: Vec<_> = cleaned.collect();
        if planted == Some(Planted::DeletionsHurried) {
            cleaned.iter_mut().for_each(|k| k.delete_retention_ms = 0);
        }
        let memory = CompactionMemory {
            batches: 4 << 10,
            keys: self.sizes.keys_bytes,
        };
        let pace = |_| Ok(());
        let wall_ms = i64::try_from(now.wall.0).unwrap_or(i64::MAX);
        let compaction = Compaction::learn(&sources, &cleaned, memory, wall_ms, &pace)?;
        self.compacting.resume = compaction.resume().unwrap_or_default();
        let living = Living {
            starts,
            keyed: keyed.iter().map(|k| k.candidate.partition).collect(),
            compaction,
            gone: &gone,
            pace: &pace,
        };
        let living = Twisted { living, planted };
        let options = RegroupOptions {
            memory_bytes: 4 << 10,
            chunk_bytes: self.sizes.sorted_bytes,
        };
        let (lane, store) = (&mut self.lane, &self.store);
        let mut create = |kind| {
            let header = lane.sorted_header(kind, now);
            let chunk: Box<dyn Output> = Box::new(store.create_chunk(header)?);
            Ok(chunk)
        };
        let mut pass = regroup(&sources, &boundaries, &living, &options, &mut create)?;
        pass.added
            .sort_unstable_by_key(|(id, extent)| (*id, extent.first));
        self.job = Job::Pass(pass, PartitionId(0));
        Ok("a pass is done")
    }
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
