//! The keeper: one thread that keeps the store in order behind everybody's back.
//!
//! It puts footers to log chunks that are full, gives up what retention no longer keeps, and watches
//! how much room the disk has. It enters the lane for a bounded number of partitions at a time and
//! does all reading and writing outside it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_core::machine::Now;
use mulgil_log::checkpoint::CheckpointWriter;
use mulgil_log::chunk::{ChunkKind, ChunkWriter};
use mulgil_log::chunkset::ChunkInfo;
use mulgil_log::entry::EntryHeader;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{
    Keep, Live, Output, PlanBounds, RegroupOptions, Regrouped, Source, plan, regroup,
};
use mulgil_log::seal::seal_log_chunk;
use mulgil_record::ids::PartitionId;

use crate::lane::{Objects, Retired};
use crate::shell::Broker;

/// Partitions that the keeper asks the lane about at a time.
const SLICE: usize = 512;

/// Batches that a pass has in memory at once, bytes.
const REGROUP_MEMORY_BYTES: usize = 64 << 20;

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
        options,
        retention_due: 0,
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

struct Keeper {
    options: KeeperOptions,
    /// Running milliseconds of the next pass of retention.
    retention_due: u64,
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
        self.regroup(broker)?;
        delete(broker)?;
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
        broker.lane().set_space(space.total, space.free);
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
    fn regroup(&self, broker: &Arc<Broker>) -> Result<(), Fault> {
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
        let chosen = plan(&uses, &bounds);
        if chosen.is_empty() {
            return Ok(());
        }
        let rate = self.options.regroup_bytes_per_second;
        let pass = pass(broker, &chosen, rate)?;
        tracing::info!(
            removed = pass.removed.len(),
            written = pass.chunks.len(),
            bytes_read = pass.bytes_read,
            bytes_written = pass.bytes_written,
            "chunks regrouped"
        );
        broker.visit_quietly(|lane, _| lane.regrouped(pass));
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

fn wall_offset(now: Now) -> i128 {
    i128::from(now.wall.0) - i128::from(now.elapsed.0)
}

/// Puts a footer to a log chunk, and takes its fine index out of memory.
fn seal(broker: &Arc<Broker>, retired: Retired) -> Result<(), Fault> {
    let file = broker.store().open_chunk(retired.chunk)?;
    let damaged = broker.lane().damaged_in(retired.chunk);
    let tail = Slices {
        broker,
        chunk: retired.chunk,
        next: Some(PartitionId(0)),
        ready: Vec::new().into_iter(),
    };
    let sealed = seal_log_chunk(&file, retired.end, tail, &damaged)?;
    for extents in sealed.extents.chunks(SLICE) {
        broker.lane().sealed(retired.chunk, extents.to_vec());
    }
    let bytes = file.bytes()?;
    broker.visit_quietly(|lane, _| lane.sealed_all(retired.chunk, bytes));
    tracing::debug!(chunk = %retired.chunk, extents = sealed.extents.len(), "log chunk sealed");
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

/// Runs one pass over these chunks.
fn pass(broker: &Arc<Broker>, chosen: &[ChunkId], rate: u64) -> Result<Regrouped, Fault> {
    let mut files = Vec::with_capacity(chosen.len());
    for chunk in chosen {
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
        (lane.boundaries(chosen), lane.starts())
    };
    let living = Living {
        broker,
        starts,
        rate,
    };
    let mut create = || {
        let header = broker.visit_quietly(|lane, now| lane.sorted_header(now));
        let chunk: Box<dyn Output> = Box::new(broker.store().create_chunk(header)?);
        Ok(chunk)
    };
    let options = RegroupOptions {
        memory_bytes: REGROUP_MEMORY_BYTES,
        ..RegroupOptions::default()
    };
    regroup(&sources, &boundaries, &living, &options, &mut create)
}

/// What lives: all that is not below its partition's start, as it was when the pass began.
struct Living<'a> {
    broker: &'a Broker,
    starts: BTreeMap<u64, i64>,
    rate: u64,
}

impl Live for Living<'_> {
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep {
        match self.starts.get(&partition) {
            Some(start) if base >= *start => Keep::All,
            // A batch that the start lies inside stays whole; of several, each is asked for.
            Some(start) if last >= *start => Keep::Rewrite,
            Some(_) | None => Keep::None,
        }
    }

    fn max_timestamp(&self, _: &EntryHeader, payload: &[u8]) -> i64 {
        crate::lane::max_timestamp(payload)
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

/// Removes chunks that do not count any more, now that it is on disk that they do not.
fn delete(broker: &Broker) -> Result<(), Fault> {
    let chunks = broker.visit_quietly(|lane, _| lane.deletable());
    broker.forget_chunks(&chunks);
    for chunk in chunks {
        broker.store().delete(chunk)?;
        tracing::debug!(%chunk, "chunk removed");
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
