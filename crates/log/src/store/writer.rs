//! The path of writes, without a thread: seals frames, writes them, syncs, answers.
//!
//! What recovery relies on, and what each step here keeps:
//!
//! - A chunk's header is written when the chunk before it is wholly synced, since it says where that
//!   one ends for good; no frame is written before the header and the name are synced.
//! - A frame says which position was synced when it was sealed. A mark is sealed when nothing before
//!   it is unsynced.
//! - After a failure nothing is written, ever.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Completion, Group, OnCompletion, StampedFrame, StoreOptions, SyncLevel};
use crate::chunk::ChunkHeader;
use crate::disk::{Disk, DiskFile};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FLAG_GROUP_END, FLAG_MARK, FrameHeader};
use crate::position::Position;

/// The log chunk that grows.
#[derive(Debug)]
struct Growing {
    header: ChunkHeader,
    file: Arc<dyn DiskFile>,
    /// The end of the last frame written.
    end: Position,
    /// Bytes that the file has room for.
    allocated: u64,
    step: u64,
    /// Where the bytes end that were written once, if only as zeroes.
    filled: u64,
}

/// What is written ahead.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// A write is small if so many of them go into what is filled ahead: then the one that fills is
/// too rare for the 99th percentile to see it.
const SMALL_SHARE: u64 = 128;

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    options: StoreOptions,
    complete: OnCompletion,
    growing: Option<Growing>,
    synced: Position,
    unsynced: u64,
    failed: bool,
}

/// Sealed and not yet written: one run of bytes.
#[derive(Default)]
struct Run {
    frames: Vec<(Position, Bytes)>,
    written: Vec<(Position, Bytes)>,
    sync: bool,
}

impl Writer {
    pub(super) fn new(disk: Arc<dyn Disk>, options: StoreOptions, complete: OnCompletion) -> Self {
        Self {
            disk,
            options,
            complete,
            growing: None,
            synced: Position::ZERO,
            unsynced: 0,
            failed: false,
        }
    }

    /// Writes these groups together, with one sync if any of them waits for one.
    pub(super) fn take(&mut self, groups: Vec<Group>) {
        if self.failed {
            return;
        }
        if let Err(fault) = self.write_groups(groups) {
            self.failed = true;
            (self.complete)(Completion::Failed(fault));
        }
    }

    fn write_groups(&mut self, groups: Vec<Group>) -> Result<(), Fault> {
        let mut run = Run::default();
        for group in groups {
            run.sync |= group.level == SyncLevel::Synced;
            if let Some(header) = group.new_chunk {
                self.write(&mut run)?;
                self.roll(header)?;
            }
            if group.mark {
                self.write(&mut run)?;
                self.sync()?;
            }
            self.seal(group.frames, group.mark, &mut run)?;
        }
        self.write(&mut run)?;
        if !run.written.is_empty() {
            (self.complete)(Completion::Written {
                frames: run.written,
            });
        }
        if run.sync || self.unsynced >= self.options.unsynced_bytes {
            self.sync()?;
            let through = self.growing.as_ref().map_or(self.synced, |g| g.end);
            (self.complete)(Completion::Synced { through });
        }
        Ok(())
    }

    fn seal(&self, frames: Vec<StampedFrame>, mark: bool, run: &mut Run) -> Result<(), Fault> {
        let Some(growing) = &self.growing else {
            if frames.is_empty() {
                return Ok(());
            }
            let what = "the first group of a store begins no chunk";
            return Err(Fault::new(FaultKind::Fatal, what));
        };
        let mut end = run
            .frames
            .last()
            .map_or(growing.end, |(at, bytes)| at.plus(bytes.len()));
        let last = frames.len().saturating_sub(1);
        for (index, stamped) in frames.into_iter().enumerate() {
            let at = stamped.frame.position();
            if at != end {
                let what = format!("a frame for {at} was submitted where the log is at {end}");
                return Err(Fault::new(FaultKind::Fatal, what));
            }
            let mut flags = if index == last { FLAG_GROUP_END } else { 0 };
            if mark {
                flags |= FLAG_MARK;
            }
            let sealed = stamped.frame.seal(&FrameHeader {
                flags,
                length: 0,
                entries: 0,
                lsn: stamped.lsn,
                position: at,
                synced: self.synced,
                elapsed_ms: stamped.elapsed_ms,
                wall_ms: stamped.wall_ms,
                incarnation: growing.header.incarnation,
                salt: growing.header.salt,
            });
            end = at.plus(sealed.len());
            run.frames.push((at, sealed));
        }
        Ok(())
    }

    /// Writes what is sealed.
    fn write(&mut self, run: &mut Run) -> Result<(), Fault> {
        let (Some(growing), Some((first, _))) = (&mut self.growing, run.frames.first()) else {
            return Ok(());
        };
        let parts: Vec<Bytes> = run.frames.iter().map(|(_, bytes)| bytes.clone()).collect();
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        growing.make_room(
            u64::from(first.offset()) + bytes as u64,
            &self.options,
            self.disk.as_ref(),
        );
        growing
            .file
            .write_parts_at(&parts, u64::from(first.offset()))
            .map_err(|source| fatal("writing", &growing.header, source))?;
        growing.end = first.plus(bytes);
        growing
            .fill_ahead(bytes as u64, &self.options)
            .map_err(|source| fatal("writing", &growing.header, source))?;
        self.unsynced += bytes as u64;
        run.written.append(&mut run.frames);
        Ok(())
    }

    /// Syncs what was written, if anything was.
    fn sync(&mut self) -> Result<(), Fault> {
        if let Some(growing) = self.growing.as_ref().filter(|_| self.unsynced > 0) {
            growing
                .file
                .sync()
                .map_err(|source| fatal("syncing", &growing.header, source))?;
            self.synced = growing.end;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Ends the chunk that grows and begins another one.
    fn roll(&mut self, mut header: ChunkHeader) -> Result<(), Fault> {
        if let Some(old) = &self.growing {
            if header.previous_end != old.end {
                let what = format!(
                    "chunk {} is to go on from {}, but the log is at {}",
                    header.chunk, header.previous_end, old.end
                );
                return Err(Fault::new(FaultKind::Fatal, what));
            }
            let failed = |source| fatal("ending", &old.header, source);
            old.file
                .set_len(u64::from(old.end.offset()))
                .map_err(failed)?;
            old.file.sync().map_err(failed)?;
            self.unsynced = 0;
        }
        header.synced = header.previous_end;
        let failed = |source| fatal("creating", &header, source);
        let file = self.disk.create(&header.name()).map_err(failed)?;
        let mut growing = Growing {
            end: header.first_position(),
            allocated: 0,
            step: self.options.grow_first,
            filled: 0,
            header,
            file,
        };
        let bytes = header.encode();
        growing.make_room(bytes.len() as u64, &self.options, self.disk.as_ref());
        growing.file.write_at(&bytes, 0).map_err(failed)?;
        growing.file.sync().map_err(failed)?;
        self.disk.sync_names().map_err(failed)?;
        self.synced = growing.end;
        self.growing = Some(growing);
        Ok(())
    }
}

impl Growing {
    /// Makes room up to `end`, in steps that double.
    ///
    /// A step that would take an eighth of the room there is, or that fails, is left out: the write
    /// itself decides whether there is room. A nearly full disk must not be filled up by room that
    /// nobody needs yet.
    fn make_room(&mut self, end: u64, options: &StoreOptions, disk: &dyn Disk) {
        while self.allocated < end {
            let bytes = self.step.max(end - self.allocated);
            let free = disk.space().map_or(0, |space| space.free);
            if bytes > free / 8 || self.file.allocate(self.allocated, bytes).is_err() {
                return;
            }
            if self.allocated > 0 {
                self.step = self.step.saturating_mul(2).min(options.grow_most);
            }
            self.allocated += bytes;
        }
    }

    /// Writes zeroes where small writes will go, after one of `bytes`.
    ///
    /// Preallocated room that was never written has its extents converted by the sync of its first
    /// write, which brings a commit of the file system's journal with it. Where something was written
    /// before, a sync writes the bytes and nothing else, in two thirds of the time. Large writes gain
    /// nothing by it and would be written twice.
    fn fill_ahead(&mut self, bytes: u64, options: &StoreOptions) -> io::Result<()> {
        let end = u64::from(self.end.offset());
        let small = bytes <= options.fill_bytes / SMALL_SHARE;
        if end <= self.filled || !small {
            self.filled = self.filled.max(end);
            return Ok(());
        }
        let to = (end + options.fill_bytes).min(self.allocated);
        while self.filled.max(end) < to {
            let from = self.filled.max(end);
            let part = ZEROES
                .len()
                .min(usize::try_from(to - from).unwrap_or(usize::MAX));
            self.file
                .write_at(ZEROES.get(..part).unwrap_or(&ZEROES), from)?;
            self.filled = from + part as u64;
        }
        Ok(())
    }
}

fn fatal(doing: &str, header: &ChunkHeader, source: io::Error) -> Fault {
    Fault::io(
        FaultKind::Fatal,
        format!("{doing} {}", header.name()),
        source,
    )
}
