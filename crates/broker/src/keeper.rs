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
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{Candidate, PlanBounds, Regrouped, add_compaction, plan};
use mulgil_record::ids::PartitionId;

use crate::lane::{Keyed, Lane, Objects, Retired, RoomWork};
use crate::shell::Broker;

mod attempts;
mod gaps;
mod pass;
#[cfg(test)]
mod tests;

use attempts::{Attempts, Suspects};
use gaps::Gaps;

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
        }
    }
}

/// Below this share of the reserve consumers are refused, too, and no pass goes on: what is left is for
/// the log.
const LAST_SHARE: u64 = 8;

impl KeeperOptions {
    const fn last_share(&self) -> u64 {
        self.reserve_bytes / LAST_SHARE
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
        attempts: [Attempts::default(); TASKS.len()],
        suspects: Suspects::default(),
        gaps: Gaps::default(),
    };
    loop {
        std::thread::park_timeout(Duration::from_millis(options.pause_ms));
        let Some(broker) = broker.upgrade() else {
            return;
        };
        if broker.is_stopping() {
            return;
        }
        keeper.work(&broker);
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
    attempts: [Attempts; TASKS.len()],
    suspects: Suspects,
    gaps: Gaps,
}

/// What a look consists of, in this order: first what makes room without writing much.
#[derive(Clone, Copy, Debug)]
enum Task {
    LookAtSpace,
    Retain,
    Remove,
    Seal,
    Checkpoint,
    Hurry,
    Regroup,
    RemoveOld,
    MakeRoom,
}

const TASKS: [Task; 9] = [
    Task::LookAtSpace,
    Task::Retain,
    Task::Remove,
    Task::Seal,
    Task::Checkpoint,
    Task::Hurry,
    Task::Regroup,
    Task::RemoveOld,
    Task::MakeRoom,
];

impl Keeper {
    /// One look. Each task fails on its own: what makes room must not wait for what needs it.
    fn work(&mut self, broker: &Arc<Broker>) {
        watch_clock(broker);
        watch_groups(broker);
        for (at, task) in TASKS.into_iter().enumerate() {
            // Before anything that may fail: who tries again and again is no less alive.
            beat(broker);
            let now = broker.now().elapsed.0;
            if !self.attempts.get(at).is_some_and(|a| a.is_due(now)) {
                continue;
            }
            let done = self.carry_out(task, broker);
            let Some(attempts) = self.attempts.get_mut(at) else {
                continue;
            };
            let Err(fault) = done else {
                attempts.succeeded();
                continue;
            };
            if fault.kind == FaultKind::Fatal {
                // A sync. The writer syncs the same directory, and would be told that all is well.
                broker.fatal(&fault);
                return;
            }
            if broker.is_stopping() {
                return;
            }
            // Whatever else it is can be tried again: nothing was given up before it was done.
            let wait_ms = attempts.failed(now);
            tracing::warn!(?task, %fault, source = ?fault.source, wait_ms, "the keeper was interrupted");
        }
    }

    fn carry_out(&mut self, task: Task, broker: &Arc<Broker>) -> Result<(), Fault> {
        match task {
            Task::LookAtSpace => watch_space(broker, &self.options).map(drop),
            Task::Retain => {
                self.retain(broker);
                Ok(())
            }
            Task::Remove | Task::RemoveOld => delete(broker, &mut self.going),
            Task::Seal => seal_all(broker),
            Task::Checkpoint => checkpoint_if_due(broker, &self.options),
            Task::Hurry => self.hurry(broker),
            Task::Regroup => self.regroup(broker),
            Task::MakeRoom => make_room(broker),
        }
    }

    fn retain(&mut self, broker: &Arc<Broker>) {
        let now = broker.now();
        if now.elapsed.0 >= self.retention_due {
            self.retention_due = now.elapsed.0 + self.options.retention_every_ms;
            retain(broker);
        }
    }

    /// Rewrites chunks if that is worth it: several GiB at a time, one chunk when the disk is full.
    fn regroup(&mut self, broker: &Arc<Broker>) -> Result<(), Fault> {
        let full = broker.alarms().disk_full.is_raised();
        let free = broker.store().space()?.free;
        let bounds = bounds(&self.options, full, free);
        let now = broker.now();
        let due = now.elapsed.0 >= self.compact_due;
        if due {
            self.gaps.look(broker);
        }
        let mut uses = broker.lane().chunk_uses();
        self.gaps.deduct(&mut uses);
        let suspect = self.suspects.next(now.elapsed.0, |chunk| {
            let used = uses.iter().find(|used| used.chunk == chunk);
            used.map(|used| used.fits(&bounds))
        });
        uses.retain(|used| !self.suspects.holds(used.chunk));
        let mut chosen = match suspect {
            Some(suspect) => vec![suspect],
            None => plan(&uses, &bounds),
        };
        if chosen.is_empty() && !due {
            return Ok(());
        }
        let believed = broker.visit_quietly(|lane, now| lane.believes(now));
        let (keyed, hurry) = keyed(broker, now);
        if due {
            self.compact_due = now.elapsed.0 + self.options.compact_every_ms;
            // By a clock that is ahead everything is late, and nothing is compacted by it.
            let hurry = hurry && believed;
            self.rolls = self.rolls.max(if hurry { ROLLS } else { 0 });
        }
        let cleaned = if believed && suspect.is_none() {
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
            gone: self.gaps.gone(),
            wall_ms: i64::try_from(now.wall.0).unwrap_or(i64::MAX),
            rate,
            options: &self.options,
        };
        let (done, resume) = match pass.run() {
            Ok(done) => done,
            Err(failed) => {
                // A pass that was broken off tells nothing of the chunks.
                if failed.is_of_sources && !broker.is_stopping() {
                    self.blame(&chosen, &failed.fault, now.elapsed.0);
                }
                return Err(failed.fault);
            }
        };
        self.resume = resume.unwrap_or_default();
        count(broker, &done, cleaned.len());
        self.gaps.written(&done);
        take_over(broker, done);
        Ok(())
    }

    /// Reading the sources of a pass failed: unless the process or the disk is short of something, one
    /// of them is the cause.
    fn blame(&mut self, chosen: &[ChunkId], fault: &Fault, now_ms: u64) {
        if attempts::is_excused(fault) {
            return;
        }
        if let Some(chunk) = self.suspects.blame(chosen, now_ms) {
            tracing::error!(%chunk, "a chunk cannot be regrouped; it stays as it is for an hour");
        }
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
}

/// How large a pass may be, with so many bytes free.
fn bounds(options: &KeeperOptions, full: bool, free: u64) -> PlanBounds {
    PlanBounds {
        total_min: options.regroup_bytes,
        // A pass may use the reserve only when nothing else frees room, and never its last share: the
        // log itself would have no room, and the process would end.
        space_left: free.saturating_sub(if full {
            options.last_share()
        } else {
            options.reserve_bytes
        }),
        freeing: full,
        ..PlanBounds::default()
    }
}

/// Lets the lane read what a pass has written instead of what it has read; then that may go.
///
/// The deletions come last: until then some partitions are read from either.
fn take_over(broker: &Broker, mut done: Regrouped) {
    done.added
        .sort_unstable_by_key(|(id, extent)| (*id, extent.first));
    let mut from = Some(PartitionId(0));
    while let Some(id) = from {
        beat(broker);
        from = broker.lane().regrouped(&done, id, SLICE);
    }
    broker.visit_quietly(|lane, _| lane.regrouped_all(&done));
}

/// Says what a pass has done.
fn count(broker: &Broker, done: &Regrouped, compacted: usize) {
    tracing::info!(
        removed = done.removed.len(),
        written = done.chunks.len(),
        bytes_read = done.bytes_read,
        bytes_written = done.bytes_written,
        compacted,
        "chunks regrouped"
    );
    let figures = broker.keeper_figures();
    for (figure, more) in [
        (&figures.regroup_passes, 1),
        (&figures.regroup_read_bytes, done.bytes_read),
        (&figures.regroup_written_bytes, done.bytes_written),
    ] {
        figure.fetch_add(more, Ordering::Relaxed);
    }
}

/// Looks how much room the disk has, and tells the lane. Says how many bytes are free.
fn watch_space(broker: &Broker, options: &KeeperOptions) -> Result<u64, Fault> {
    let space = broker.store().space()?;
    broker.lane().set_space(space.total, space.free);
    let (free, reserve) = (space.free, options.reserve_bytes);
    let full = free < reserve;
    if broker.alarms().disk_full.set(full, broker.now().wall) {
        broker.lane().set_full(full);
        if full {
            tracing::error!(free, reserve, "the disk is full: appends are refused");
        } else {
            tracing::info!(free, reserve, "the disk has room again: appends are taken");
        }
    }
    broker.lane().set_exhausted(free < options.last_share());
    Ok(free)
}

fn seal_all(broker: &Arc<Broker>) -> Result<(), Fault> {
    loop {
        beat(broker);
        let unsealed = broker.lane().unsealed();
        match unsealed {
            Some(retired) => seal(broker, retired)?,
            None => return Ok(()),
        }
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

/// Shows that the keeper still works.
fn beat(broker: &Broker) {
    broker.pulse().keeper(broker.now().elapsed);
}

/// Raises an alarm while the wall clock is not believed: retention and compaction wait.
///
/// It goes when the clock comes back, or at the next start.
fn watch_clock(broker: &Broker) {
    let (believed, now) = broker.visit_quietly(|lane, now| (lane.believes(now), now));
    let alarm = &broker.alarms().clock_stepped;
    if !alarm.set(!believed, now.wall) {
        return;
    }
    if believed {
        tracing::info!("the wall clock is where it was: retention and compaction go on");
    } else {
        tracing::error!(
            "the wall clock was set by more than an hour: retention and compaction wait"
        );
    }
}

/// Raises an alarm once groups hold so much that something was refused for it.
fn watch_groups(broker: &Broker) {
    let full = broker.lane().groups_are_full();
    let alarm = &broker.alarms().groups_full;
    if !alarm.set(full, broker.now().wall) {
        return;
    }
    let figures = broker.lane().group_figures();
    if full {
        tracing::error!(
            ?figures,
            "consumer groups hold as much as they may: new groups and offsets are refused"
        );
    } else {
        tracing::info!(
            ?figures,
            "consumer groups have room again: new groups and offsets are taken"
        );
    }
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
    beat(broker);
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
    if !broker.alarms().disk_full.is_raised() {
        return Ok(());
    }
    let work = broker.lane().room_work();
    match work {
        Some(RoomWork::NextChunk) => {
            broker.visit_quietly(Lane::roll);
        }
        Some(RoomWork::Checkpoint) => checkpoint(broker)?,
        None => {}
    }
    Ok(())
}

fn checkpoint_if_due(broker: &Arc<Broker>, options: &KeeperOptions) -> Result<(), Fault> {
    let due = broker.lane().wants_checkpoint(options.checkpoint_bytes);
    if due { checkpoint(broker) } else { Ok(()) }
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
        beat(broker);
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
    let mut next = Some(0);
    while let Some(from) = next {
        beat(broker);
        let objects = broker.lane().checkpoint_subscriptions(from, SLICE);
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
    let written = &broker.keeper_figures().checkpoints;
    written.fetch_add(1, Ordering::Relaxed);
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
