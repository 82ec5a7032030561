//! Makes a log that recovery refuses one that it takes, and says what is lost by that.
//!
//! What can't be read is replaced by filler of the same length: empty frames with the numbers of those
//! that are lost, and synced marks in the place of single entries. So every other frame and entry
//! stays at its position, and whatever names a position still finds it there. The damaged bytes go to
//! quarantine first; the chunk is written anew under a temporary name and then takes the old one's
//! place at once. A frame that loses an entry is no longer all that was to become durable together,
//! and that is why nobody does this unasked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::chain::{self, FoundChunk, LogChunk};
use super::scan::{Piece, describe, only_records, piece_at};
use super::{remove_unfinished, sync_names, tail};
use crate::checkpoint::CheckpointReader;
use crate::chunk::{
    CHUNK_HEADER_BYTES, ChunkFile, ChunkHeader, ChunkKind, temporary_name, write_failed,
};
use crate::disk::{Disk, DiskFile, QUARANTINE};
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader, EntryKind};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::position::{ChunkId, Lsn, Position};
use mulgil_record::crc::crc32c;

mod filler;

const FIRST: u64 = CHUNK_HEADER_BYTES as u64;
const HEAD: u64 = FRAME_HEADER_BYTES as u64;

/// Whether a repair changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairMode {
    /// Only says what would be lost.
    DryRun,
    /// Does it.
    Write,
}

/// Something that a repair gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file.
    pub file: String,
    /// Where it lay.
    pub at: Position,
    /// How many bytes.
    pub bytes: u64,
    /// What it was, as far as that can be told.
    pub what: String,
}

/// What a repair does, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// What is given up.
    pub lost: Vec<Lost>,
    /// Chunks that are written anew.
    pub rewritten: Vec<String>,
}

/// One chunk as it is to be.
struct Plan {
    chunk: LogChunk,
    /// There is no such file.
    missing: bool,
    header_lost: bool,
    /// New bytes and where they go.
    patches: Vec<(u64, Vec<u8>)>,
}

/// Replaces what recovery would refuse, in all log chunks, or says what that would be.
///
/// # Errors
///
/// Corrupt if there is no way to make the log whole; otherwise what the system says.
pub fn repair(disk: &Arc<dyn Disk>, mode: RepairMode) -> Result<Repair, Fault> {
    if mode == RepairMode::Write {
        remove_unfinished(disk.as_ref())?;
    }
    let mut work = Work {
        from: ChunkId::NONE,
        next: None,
        end: Position::ZERO,
        repair: Repair::default(),
    };
    let mut plans = work.plan_chunks(disk.as_ref())?;
    plans.retain(|plan| plan.missing || plan.header_lost || !plan.patches.is_empty());
    for plan in &plans {
        work.repair.rewritten.push(plan.chunk.name.clone());
        if mode == RepairMode::Write {
            plan.write(disk.as_ref())?;
        }
    }
    Ok(work.repair)
}

/// The chunk with which replay begins behind the newest checkpoint that is whole.
fn checkpointed<'a>(disk: &dyn Disk, headers: impl Iterator<Item = &'a ChunkHeader>) -> ChunkId {
    let named: BTreeSet<_> = headers.map(|header| header.checkpoint).collect();
    let from = |chunk: &ChunkId| -> Result<ChunkId, Fault> {
        let file = ChunkFile::open(disk, *chunk, ChunkKind::Checkpoint)?;
        let mut reader = CheckpointReader::open(&file)?;
        while reader.next_page()?.is_some() {}
        Ok(reader.end().from.chunk())
    };
    let mut newest_first = named.iter().rev();
    newest_first
        .find_map(|chunk| from(chunk).ok())
        .unwrap_or(ChunkId::NONE)
}

struct Work {
    /// No start needs what lies in chunks before this one: the newest whole checkpoint has it, and if
    /// they are gone, they were regrouped.
    from: ChunkId,
    /// The number that the next frame must have.
    next: Option<Lsn>,
    /// Where the log is.
    end: Position,
    repair: Repair,
}

impl Work {
    fn plan_chunks(&mut self, disk: &dyn Disk) -> Result<Vec<Plan>, Fault> {
        let mut found = chain::headers(disk)?;
        // What a crash left of a chunk that was being created is none; recovery sets it aside. With a
        // whole header it tells where the chunk before it ends.
        while let Some(newest) = found.last() {
            if newest.header.is_ok() || newest.has_frames()? {
                break;
            }
            found.pop();
        }
        let headers: Vec<_> = found.iter().map(|found| found.header.ok()).collect();
        self.from = checkpointed(disk, headers.iter().flatten());
        let mut plans = Vec::new();
        if let (Some(first), Some(Some(header))) = (found.first(), headers.first()) {
            plans = self.plan_beginning(&first.file, header)?;
        }
        for (index, found) in found.into_iter().enumerate() {
            if found.header.is_err() && !found.has_frames()? {
                continue;
            }
            self.plan_missing(disk, headers.get(index).copied().flatten(), &plans, index)?
                .into_iter()
                .for_each(|plan| plans.push(plan));
            let next = headers.get(index + 1).copied();
            let plan = self.plan_chunk(found, next, plans.last())?;
            plans.push(plan);
        }
        Ok(plans)
    }

    /// The chunks with which replay begins behind the newest checkpoint, if they are gone and `header`
    /// is that of the first one that is left.
    ///
    /// All their frames are lost. How many there were nobody knows: the last ones before those that are
    /// left get their numbers from these.
    fn plan_beginning(
        &mut self,
        file: &Arc<dyn DiskFile>,
        header: &ChunkHeader,
    ) -> Result<Vec<Plan>, Fault> {
        let gone = header.previous_end.chunk();
        if self.from == ChunkId::NONE || header.chunk <= self.from || gone < self.from {
            return Ok(Vec::new());
        }
        let checkpoint = header.checkpoint;
        let what = format!(
            "a whole chunk, with which the replay behind checkpoint {checkpoint} begins: its records, \
             and all changes of topics, groups, offsets and settings in it"
        );
        // No log begins with what is made up here, and so no start without a checkpoint does.
        let mut before = Position::new(ChunkId::NONE, CHUNK_HEADER_BYTES);
        let mut chunks = vec![(gone, header.previous_end)];
        if gone > self.from {
            let end = Position::new(self.from, CHUNK_HEADER_BYTES).plus(FRAME_HEADER_BYTES);
            chunks.insert(0, (self.from, end));
        }
        let frames = chunks
            .iter()
            .filter(|(_, end)| u64::from(end.offset()) > FIRST);
        let mut lsn = header.first_lsn.0.saturating_sub(frames.count() as u64);
        let mut plans = Vec::new();
        for (chunk, end) in chunks {
            let made = ChunkHeader {
                chunk,
                kind: ChunkKind::Log,
                previous_end: before,
                first_lsn: Lsn(lsn),
                synced: end,
                ..*header
            };
            let mut plan = Plan::made_up(made, Arc::clone(file));
            let (from, upto) = (FIRST, u64::from(end.offset()));
            self.next = Some(Lsn(lsn));
            if upto > from {
                lsn += 1;
                self.give_up(&mut plan, from, upto, Some(Lsn(lsn)), &what)?;
            } else {
                self.lose(&plan.chunk, 0, FIRST, &what);
            }
            plans.push(plan);
            before = end;
        }
        self.end = before;
        Ok(plans)
    }

    /// The chunk before the one with this header, if that is gone.
    fn plan_missing(
        &mut self,
        disk: &dyn Disk,
        header: Option<ChunkHeader>,
        plans: &[Plan],
        index: usize,
    ) -> Result<Option<Plan>, Fault> {
        let (Some(header), Some(last)) = (header, plans.last()) else {
            return Ok(None);
        };
        let gone = header.previous_end.chunk();
        if index == 0 || gone <= last.chunk.header.chunk || gone < self.from {
            return Ok(None);
        }
        let end = u64::from(header.previous_end.offset());
        let made = ChunkHeader {
            chunk: gone,
            kind: ChunkKind::Log,
            previous_end: self.end,
            first_lsn: self.next.unwrap_or(Lsn(1)),
            synced: header.previous_end,
            ..header
        };
        let file = disk
            .open(&last.chunk.name)
            .map_err(|source| Fault::io(FaultKind::Unavailable, "opening a chunk", source))?;
        let mut plan = Plan::made_up(made, file);
        self.give_up(
            &mut plan,
            FIRST,
            end,
            Some(header.first_lsn),
            "a whole chunk",
        )?;
        self.end = header.previous_end;
        Ok(Some(plan))
    }

    /// What is to be done with one chunk; `next` is the header of the one behind it, if that is whole.
    fn plan_chunk(
        &mut self,
        found: FoundChunk,
        next: Option<Option<ChunkHeader>>,
        before: Option<&Plan>,
    ) -> Result<Plan, Fault> {
        let header_lost = found.header.is_err();
        let header = match found.header {
            Ok(header) => header,
            Err(_) => self.guess_header(&found, before)?,
        };
        let mut chunk = LogChunk {
            end: FIRST,
            header,
            name: found.name,
            file: found.file,
            length: found.length,
        };
        if header.synced.chunk() == header.chunk {
            chunk.end = u64::from(header.synced.offset());
        }
        let known = next.flatten();
        let ours = known.filter(|next| next.previous_end.chunk() == header.chunk);
        self.next = Some(header.first_lsn);
        if let Some(next) = ours {
            chunk.end = u64::from(next.previous_end.offset());
        } else {
            chunk.end = chunk.synced()?;
        }
        if header_lost {
            self.lose(&chunk, 0, FIRST, "the chunk's header; a new one is made up");
        }
        let mut plan = Plan {
            chunk,
            missing: false,
            header_lost,
            patches: Vec::new(),
        };
        self.walk(&mut plan, ours.map(|next| next.first_lsn))?;
        if ours.is_none() && next.is_some() {
            // The header that said where this chunk ends is lost: it ends with its last whole frame.
            let (chunk, from) = (&plan.chunk, plan.chunk.end);
            let rest = tail::find(chunk, from, self.next.unwrap_or(chunk.header.first_lsn))?;
            self.next = rest
                .frames
                .last()
                .map(|frame| frame.lsn.next())
                .or(self.next);
            let bytes = |frame: &FrameHeader| HEAD + u64::from(frame.length);
            plan.chunk.end = from + rest.frames.iter().map(bytes).sum::<u64>();
        }
        self.end = plan.chunk.position(plan.chunk.end);
        Ok(plan)
    }

    /// A header for a chunk that lost its own, from its first frame and the chunk before.
    fn guess_header(
        &self,
        found: &FoundChunk,
        before: Option<&Plan>,
    ) -> Result<ChunkHeader, Fault> {
        let frame = found.first_frame()?;
        let hopeless = || Fault::new(FaultKind::Corrupt, format!("{}: no frame", found.name));
        let frame = frame.ok_or_else(hopeless)?;
        let before = before.map(|plan| plan.chunk.header);
        Ok(ChunkHeader {
            chunk: found.chunk,
            kind: ChunkKind::Log,
            incarnation: frame.incarnation,
            previous_end: self.end,
            first_lsn: self.next.unwrap_or(frame.lsn),
            elapsed_ms: frame.elapsed_ms,
            wall_ms: frame.wall_ms,
            checkpoint: before.map_or(ChunkId::NONE, |header| header.checkpoint),
            synced: self.end,
            cluster: before.map_or(0, |header| header.cluster),
            salt: frame.salt,
        })
    }

    /// Goes through the frames of a chunk up to its end; `after` is the first number behind it.
    fn walk(&mut self, plan: &mut Plan, after: Option<Lsn>) -> Result<(), Fault> {
        let end = plan.chunk.end;
        let mut at = FIRST;
        while at < end {
            let mut window = plan.chunk.synced_window();
            let next = self.next.unwrap_or(Lsn(1));
            let whole = plan.chunk.frame_at(&mut window, at)?;
            let whole = whole
                .filter(|frame| frame.lsn == next && at + HEAD + u64::from(frame.length) <= end);
            if let Some(frame) = whole {
                let body = window.get(at + HEAD, frame.length as usize)?.to_vec();
                self.check_frame(plan, at, &frame, body);
                at += HEAD + u64::from(frame.length);
                self.next = Some(next.next());
                continue;
            }
            let (upto, lsn) = plan.chunk.next_frame(at + 8, end, next)?;
            let behind = plan
                .chunk
                .frame_at(&mut window, upto)?
                .map(|frame| frame.lsn);
            let lsn = lsn.or(after).or(behind);
            self.give_up_or_mend(plan, at, upto, lsn)?;
            at = upto;
        }
        Ok(())
    }

    /// Replaces what is damaged in a frame whose header is whole.
    fn check_frame(&mut self, plan: &mut Plan, at: u64, frame: &FrameHeader, body: Vec<u8>) {
        let mut mended = body;
        let mut entries = 0;
        let mut changed = false;
        let mut from = 0;
        while from < mended.len() {
            let place = at + HEAD + from as u64;
            let rest = mended.get(from..).unwrap_or_default();
            let piece = piece_at(rest, u32::try_from(place).unwrap_or(u32::MAX), from);
            let fine = |p: &Piece| p.whole || only_records(p.header.kind);
            let (bytes, lost) = match &piece {
                Ok(piece) if fine(piece) => (piece.header.total_bytes(), None),
                Ok(piece) => (piece.header.total_bytes(), Some(describe(&piece.header))),
                Err(_) => (
                    filler::next_entry(rest, place),
                    Some("an entry of an unknown kind".to_owned()),
                ),
            };
            if let Some(what) = lost {
                self.lose(&plan.chunk, place, bytes as u64, &what);
                filler::put_entry(&mut mended, from, bytes, place);
                changed = true;
            }
            entries += 1;
            from += bytes;
        }
        if changed || entries != frame.entries {
            let head = FrameHeader { entries, ..*frame };
            let mut bytes = head.encode().to_vec();
            bytes.extend_from_slice(&mended);
            plan.patches.push((at, bytes));
        }
    }

    /// A frame without its header whose entries can be told apart, or bytes that nobody can read.
    fn give_up_or_mend(
        &mut self,
        plan: &mut Plan,
        at: u64,
        upto: u64,
        lsn: Option<Lsn>,
    ) -> Result<(), Fault> {
        let next = self.next.unwrap_or(Lsn(1));
        let single = lsn.is_none_or(|lsn| lsn == next.next());
        if !single {
            return self.give_up(plan, at, upto, lsn, "frames");
        }
        let length = upto - at - HEAD.min(upto - at);
        let mut window = plan.chunk.synced_window();
        let body = window.get(at + HEAD, usize::try_from(length).unwrap_or(0))?;
        if filler::no_entry_at_all(body, at + HEAD) {
            return self.give_up(plan, at, upto, lsn, "a frame");
        }
        let body = body.to_vec();
        let header = &plan.chunk.header;
        let made = FrameHeader {
            flags: 0,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            // Differs from what is counted, so that the frame is written in any case.
            entries: u32::MAX,
            lsn: next,
            position: plan.chunk.position(at),
            synced: header.first_position(),
            elapsed_ms: header.elapsed_ms,
            wall_ms: header.wall_ms,
            incarnation: header.incarnation,
            salt: header.salt,
        };
        self.check_frame(plan, at, &made, body);
        self.next = Some(next.next());
        Ok(())
    }

    /// Puts empty frames where nothing can be read, with the numbers up to `lsn`.
    fn give_up(
        &mut self,
        plan: &mut Plan,
        at: u64,
        upto: u64,
        lsn: Option<Lsn>,
        what: &str,
    ) -> Result<(), Fault> {
        let next = self.next.unwrap_or(Lsn(1));
        let until = lsn.unwrap_or_else(|| next.next());
        let patch = filler::frames(&plan.chunk, at, upto, next, until)?;
        self.lose(&plan.chunk, at, upto - at, what);
        plan.patches.push((at, patch));
        self.next = Some(until);
        Ok(())
    }

    fn lose(&mut self, chunk: &LogChunk, at: u64, bytes: u64, what: &str) {
        self.repair.lost.push(Lost {
            file: chunk.name.clone(),
            at: chunk.position(at),
            bytes,
            what: what.to_owned(),
        });
    }
}

impl LogChunk {
    /// The next whole frame at or after `from` whose number is above `lsn`, or the end.
    fn next_frame(&self, from: u64, end: u64, lsn: Lsn) -> Result<(u64, Option<Lsn>), Fault> {
        let mut window = self.synced_window();
        let mut at = from;
        while let Some(found) = window.find_frame(at)?.filter(|found| *found < end) {
            match self.frame_at(&mut window, found)? {
                Some(frame) if frame.lsn > lsn => return Ok((found, Some(frame.lsn))),
                Some(_) | None => at = found + 8,
            }
        }
        Ok((end, None))
    }
}

impl Plan {
    /// A chunk that is gone. Nothing is read from it: any `file` that is there will do.
    fn made_up(header: ChunkHeader, file: Arc<dyn DiskFile>) -> Self {
        let end = u64::from(header.synced.offset());
        let chunk = LogChunk {
            name: header.name(),
            header,
            file,
            length: end,
            end,
        };
        Self {
            chunk,
            missing: true,
            header_lost: true,
            patches: Vec::new(),
        }
    }

    /// Writes the chunk anew, after its damaged bytes have been kept.
    fn write(&self, disk: &dyn Disk) -> Result<(), Fault> {
        let chunk = &self.chunk;
        if !self.missing {
            for (at, patch) in &self.patches {
                let kept_as = format!("{QUARANTINE}{}-{at}.bin", chunk.header.chunk);
                tail::keep(disk, chunk, *at, *at + patch.len() as u64, &kept_as)?;
            }
        }
        let temporary = temporary_name(chunk.header.chunk, ChunkKind::Log);
        let failed = |source| write_failed(&temporary, source);
        let file = disk.create(&temporary).map_err(failed)?;
        if !self.missing {
            tail::copy_bytes(chunk, 0, chunk.length, file.as_ref()).map_err(|fault| {
                let what = format!("{} into {temporary}", fault.what);
                Fault { what, ..fault }
            })?;
        }
        if self.header_lost {
            file.write_at(&chunk.header.encode(), 0).map_err(failed)?;
        }
        for (at, patch) in &self.patches {
            file.write_at(patch, *at).map_err(failed)?;
        }
        file.sync().map_err(failed)?;
        disk.rename(&temporary, &chunk.name).map_err(failed)?;
        sync_names(disk)
    }
}
