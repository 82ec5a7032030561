//! The keeper, a piece at a time: footers, checkpoints, passes, retention and removals.
//!
//! It does what the real one does on its thread, with the same calls of lane and log, but lets go
//! between the pieces, so that anything may happen while a chunk is sealed, a checkpoint is half
//! written or a pass is done and not yet told.

use std::collections::BTreeMap;

use mulgil_broker::lane::{Objects, Retired, RoomWork, max_timestamp};
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
    Keep, Live, Output, PlanBounds, RegroupOptions, Regrouped, Source, plan, regroup,
};
use mulgil_log::seal::seal_log_chunk;
use mulgil_log::store::ChunkStore;
use mulgil_record::ids::PartitionId;

use super::Process;
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
    /// A pass is done, and the lane does not know it.
    Pass(Regrouped),
}

/// Which objects of a checkpoint come next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Partitions(u64),
    Groups(u64),
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
    /// What must be free for appends to be taken: what goes on without them must fit.
    pub reserve_bytes: u64,
}

struct Living(BTreeMap<u64, i64>);

impl Live for Living {
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep {
        match self.0.get(&partition) {
            Some(start) if base >= *start => Keep::All,
            Some(start) if last >= *start => Keep::Rewrite,
            Some(_) | None => Keep::None,
        }
    }

    fn max_timestamp(&self, _: &EntryHeader, payload: &[u8]) -> i64 {
        max_timestamp(payload)
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
            Job::Pass(pass) => {
                let _no_answers = self.visit(now, |lane, _| lane.regrouped(pass));
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
        let removed = self.remove(now)?;
        let mut from = self.believes(now).then_some(PartitionId(0));
        while let Some(id) = from {
            let _no_answers = self.visit(now, |lane, _| from = lane.retain(id, SLICE, now));
        }
        let uses = self.lane.chunk_uses();
        let bounds = PlanBounds {
            total_min: if self.full {
                1
            } else {
                self.sizes.regroup_bytes
            },
            space_left: if self.full {
                free
            } else {
                free.saturating_sub(self.sizes.reserve_bytes)
            },
            ..PlanBounds::default()
        };
        let chosen = plan(&uses, &bounds);
        if !chosen.is_empty() {
            return self.pass(&chosen, now);
        }
        if removed {
            return Ok("chunks are removed");
        }
        let makes = self.full && self.planted != Some(Planted::RoomNotMade);
        let work = makes.then(|| self.lane.room_work()).flatten();
        match work {
            Some(RoomWork::NextChunk) => {
                let _no_answers = self.visit(now, |lane, _| lane.begin_next_chunk(now));
                Ok("the next log chunk is begun, to make room")
            }
            Some(RoomWork::Checkpoint) => self.begin_checkpoint(now),
            None => Ok(""),
        }
    }

    /// Whether the wall clock can be believed, as the real keeper sees it.
    fn believes(&mut self, now: Now) -> bool {
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
        self.chunks.forget(&chunks);
        for chunk in &chunks {
            self.store.delete(*chunk)?;
        }
        Ok(!chunks.is_empty())
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
        let sealed = seal_log_chunk(&file, retired.end, entries, &damaged)?;
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
                objects.next.map_or(Next::Finish, Next::Groups)
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

    fn pass(&mut self, chosen: &[ChunkId], now: Now) -> Result<&'static str, Fault> {
        let mut files = Vec::with_capacity(chosen.len());
        for chunk in chosen {
            let file = self.store.open_chunk(*chunk)?;
            let footer = Footer::open(&*file)?;
            files.push((file, footer));
        }
        let sources = files.iter().map(|(file, footer)| Source {
            file: &**file,
            footer: *footer,
        });
        let sources: Vec<_> = sources.collect();
        let boundaries = self.lane.boundaries(chosen);
        let living = Living(self.lane.starts());
        let options = RegroupOptions {
            memory_bytes: 4 << 10,
            chunk_bytes: self.sizes.sorted_bytes,
        };
        let (lane, store) = (&mut self.lane, &self.store);
        let mut create = || {
            let header = lane.sorted_header(now);
            let chunk: Box<dyn Output> = Box::new(store.create_chunk(header)?);
            Ok(chunk)
        };
        let pass = regroup(&sources, &boundaries, &living, &options, &mut create)?;
        self.job = Job::Pass(pass);
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
