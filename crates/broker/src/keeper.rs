//! The keeper: one thread that keeps the store in order behind everybody's back.
//!
//! It puts footers to log chunks that are full, gives up what retention no longer keeps, and watches
//! how much room the disk has. It enters the lane for a bounded number of partitions at a time and
//! does all reading and writing outside it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_core::machine::Now;
use mulgil_log::fault::Fault;
use mulgil_log::position::ChunkId;
use mulgil_log::seal::seal_log_chunk;
use mulgil_record::ids::PartitionId;

use crate::lane::Retired;
use crate::shell::Broker;

/// Partitions that the keeper asks the lane about at a time.
const SLICE: usize = 512;

/// How the keeper works. Times in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// Between two looks for work.
    pub pause_ms: u64,
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
        clock: None,
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
        while let Some(retired) = broker.lane().unsealed() {
            seal(broker, retired)?;
        }
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

    /// Whether the wall clock can be believed: a large step stops retention and raises an alarm.
    ///
    /// The alarm goes when the clock comes back, or at the next start.
    fn believes(&mut self, broker: &Broker, now: Now) -> bool {
        let offset = i128::from(now.wall.0) - i128::from(now.elapsed.0);
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
    broker.lane().sealed_all(retired.chunk);
    tracing::debug!(chunk = %retired.chunk, extents = sealed.extents.len(), "log chunk sealed");
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
