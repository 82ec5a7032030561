//! Reads frames below the synced position, where everything must be whole.

use core::ops::Range;

use super::chain::LogChunk;
use super::window::Window;
use super::{DamagedRange, Recovered, Replay, refused};
use crate::chunk::CHUNK_HEADER_BYTES;
use crate::entry::{ENTRY_HEADER_BYTES, EntryError, EntryHeader, EntryKind};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FRAME_HEADER_BYTES, FrameError, FrameHeader};
use crate::position::{Lsn, Position};

/// An entry of a frame in memory.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) header: EntryHeader,
    /// Its payload in the body of the frame.
    pub(super) payload: Range<usize>,
    /// The payload's checksum is right.
    pub(super) whole: bool,
}

impl Piece {
    /// Where it begins in the body of the frame.
    pub(super) const fn start(&self) -> usize {
        self.payload.start - ENTRY_HEADER_BYTES
    }
}

/// Takes the body of a frame apart; `place` is where it lies in its chunk.
///
/// # Errors
///
/// Where in the body the first thing lies that is no entry, and why.
pub(super) fn take_apart(
    body: &[u8],
    place: u64,
    pieces: &mut Vec<Piece>,
) -> Result<(), (usize, EntryError)> {
    pieces.clear();
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let here = u32::try_from(place + at as u64).unwrap_or(u32::MAX);
        let piece = piece_at(rest, here, at).map_err(|error| (at, error))?;
        at += piece.header.total_bytes();
        pieces.push(piece);
    }
    Ok(())
}

/// The entry at the start of `rest`, which lies `at` bytes into the body.
pub(super) fn piece_at(rest: &[u8], place: u32, at: usize) -> Result<Piece, EntryError> {
    use crate::entry::Entry;
    let (header, whole) = match Entry::read(rest, place) {
        Ok(entry) => (entry.header, true),
        Err(EntryError::PayloadDamaged(header)) => (header, false),
        Err(error) => return Err(error),
    };
    if rest.len() < header.total_bytes() {
        return Err(EntryError::Truncated {
            needed: header.total_bytes(),
            present: rest.len(),
        });
    }
    let payload = at + ENTRY_HEADER_BYTES;
    Ok(Piece {
        header,
        payload: payload..payload + header.length as usize,
        whole,
    })
}

/// What an entry is about, in words.
pub(super) fn describe(header: &EntryHeader) -> String {
    let kind = header.kind;
    match kind {
        EntryKind::Batch
        | EntryKind::Reference
        | EntryKind::LateFacts
        | EntryKind::ProducerState
        | EntryKind::OffsetCeiling
        | EntryKind::LogStart
        | EntryKind::TrueEnd => format!("{kind:?} of partition {}", header.object),
        EntryKind::Subscription => format!("{kind:?} {}", header.object),
        EntryKind::GroupOffsets | EntryKind::Group => {
            format!("{kind:?} of group {}", header.object)
        }
        EntryKind::TransactionBegin | EntryKind::TransactionMarker => {
            format!("{kind:?} of producer {}", header.object)
        }
        EntryKind::CheckpointPage => format!("{kind:?} of machine {}", header.object),
        EntryKind::Metadata => format!("{kind:?} of revision {}", header.base),
        EntryKind::Payload => format!("{kind:?} {}", header.base),
        EntryKind::ProducerEpoch
        | EntryKind::ChunkSet
        | EntryKind::SyncedMark
        | EntryKind::LeaderEpoch => format!("{kind:?}"),
    }
}

/// Whether losing the payload loses some records and nothing else.
pub(super) const fn only_records(kind: EntryKind) -> bool {
    matches!(
        kind,
        EntryKind::Batch | EntryKind::Payload | EntryKind::Reference | EntryKind::LateFacts
    )
}

/// How far the log has been read.
#[derive(Debug)]
pub(super) struct Scan {
    from: Position,
    /// The number that the next frame must have, once one is known.
    next: Option<Lsn>,
    /// The newest frame.
    last: Option<FrameHeader>,
    incarnation: u32,
    elapsed_ms: u64,
    wall_ms: u64,
    mended: Vec<Position>,
    pieces: Vec<Piece>,
    /// Bytes replayed of chunks before this one.
    read: u64,
    /// Bytes to replay in all.
    bytes: u64,
}

impl Scan {
    pub(super) const fn new(from: Position, bytes: u64) -> Self {
        Self {
            from,
            read: 0,
            bytes,
            next: None,
            last: None,
            incarnation: 0,
            elapsed_ms: 0,
            wall_ms: 0,
            mended: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// The number for the next frame, if any is known.
    pub(super) const fn next_lsn(&self) -> Option<Lsn> {
        self.next
    }

    /// The flags of the newest frame.
    pub(super) fn last_flags(&self) -> u8 {
        self.last.map_or(0, |frame| frame.flags)
    }

    /// Nothing is left to read.
    pub(super) fn all_read(&self, replay: &mut dyn Replay) {
        replay.progressed(self.bytes, self.bytes);
    }

    pub(super) fn report(self, recovered: &mut Recovered) {
        recovered.next_lsn = self.next.unwrap_or(Lsn(1));
        recovered.incarnation = self.incarnation;
        recovered.elapsed_ms = self.elapsed_ms;
        recovered.wall_ms = self.wall_ms;
        recovered.mended = self.mended;
    }

    /// Replays the frames of `chunk` up to `end`, below which all was synced once.
    pub(super) fn trusted(
        &mut self,
        chunk: &LogChunk,
        end: u64,
        replay: &mut dyn Replay,
    ) -> Result<(), Fault> {
        let mut at = self.enter(chunk, end)?;
        let mut window = chunk.synced_window();
        let began = at;
        while at < end {
            let frame = self.frame(chunk, &mut window, at, end)?;
            let body_at = at + FRAME_HEADER_BYTES as u64;
            at = body_at + u64::from(frame.length);
            let body = window.get(body_at, frame.length as usize)?;
            self.deliver(chunk, body_at, body, &frame, replay)?;
            self.next = Some(frame.lsn.next());
            self.elapsed_ms = self.elapsed_ms.max(frame.elapsed_ms);
            self.wall_ms = frame.wall_ms;
            self.last = Some(frame);
            replay.progressed((self.read + at - began).min(self.bytes), self.bytes);
        }
        self.read += at - began;
        Ok(())
    }

    /// Goes on in `chunk`: where its first frame to be replayed lies.
    fn enter(&mut self, chunk: &LogChunk, end: u64) -> Result<u64, Fault> {
        let header = &chunk.header;
        self.incarnation = self.incarnation.max(header.incarnation);
        self.elapsed_ms = self.elapsed_ms.max(header.elapsed_ms);
        self.wall_ms = header.wall_ms;
        let start = u64::from(CHUNK_HEADER_BYTES);
        if self.from.chunk() == header.chunk && u64::from(self.from.offset()) > start {
            let at = u64::from(self.from.offset());
            if at > end {
                let what = "a checkpoint goes further than the log";
                return Err(refused(&chunk.name, self.from, what));
            }
            if at == end && self.next.is_none() {
                self.next = chunk.lsn_before_end(end)?;
            }
            return Ok(at);
        }
        if let Some(next) = self.next.filter(|next| *next != header.first_lsn) {
            return Err(gap(chunk, start, next, header.first_lsn));
        }
        self.next = Some(header.first_lsn);
        Ok(start)
    }

    /// The header of the frame at `at`, mended if it is damaged and everything around it is whole.
    fn frame(
        &mut self,
        chunk: &LogChunk,
        window: &mut Window<'_>,
        at: u64,
        end: u64,
    ) -> Result<FrameHeader, Fault> {
        let position = chunk.position(at);
        let bytes = window.get(at, FRAME_HEADER_BYTES)?;
        let frame = match FrameHeader::read(bytes, position, chunk.header.salt) {
            Ok(frame) => frame,
            Err(FrameError::UnknownVersion(version)) => {
                let name = &chunk.name;
                let what = format!("{name}: frame version {version} is newer than this program");
                return Err(Fault::new(FaultKind::Corrupt, what));
            }
            Err(FrameError::HeaderDamaged | FrameError::Truncated) => {
                return self.mend(chunk, window, at, end);
            }
        };
        let frame_end = at + FRAME_HEADER_BYTES as u64 + u64::from(frame.length);
        if frame_end > end
            || frame_end > chunk.length
            || frame.incarnation != chunk.header.incarnation
        {
            let what = "a frame that does not fit between its neighbours";
            return Err(refused(&chunk.name, position, what));
        }
        match self.next {
            Some(next) if next != frame.lsn => Err(gap(chunk, at, next, frame.lsn)),
            Some(_) | None => Ok(frame),
        }
    }

    /// Makes up the header of a frame whose entries reach, one after the other, to the next frame.
    fn mend(
        &mut self,
        chunk: &LogChunk,
        window: &mut Window<'_>,
        at: u64,
        end: u64,
    ) -> Result<FrameHeader, Fault> {
        let position = chunk.position(at);
        let refuse = || {
            refused(
                &chunk.name,
                position,
                "a frame's header, and what follows it",
            )
        };
        let lsn = self.next.ok_or_else(refuse)?;
        let body = at + FRAME_HEADER_BYTES as u64;
        let mut next = body;
        let mut entries = 0;
        while next < end {
            match chunk.frame_at(window, next)? {
                Some(frame) if frame.lsn == lsn.next() => break,
                Some(_) => return Err(refuse()),
                None => {}
            }
            let place = u32::try_from(next).unwrap_or(u32::MAX);
            let header = EntryHeader::read(window.get(next, ENTRY_HEADER_BYTES)?, place);
            let (header, _) = header.map_err(|_broken| refuse())?;
            next += header.total_bytes() as u64;
            entries += 1;
        }
        let length = u32::try_from(next - body).ok().filter(|_| next <= end);
        self.mended.push(position);
        Ok(FrameHeader {
            flags: 0,
            length: length.ok_or_else(refuse)?,
            entries,
            lsn,
            position,
            synced: self.last.map_or(Position::ZERO, |frame| frame.synced),
            elapsed_ms: self.elapsed_ms,
            wall_ms: self.wall_ms,
            incarnation: chunk.header.incarnation,
            salt: chunk.header.salt,
        })
    }

    /// Hands over the entries of a frame, all of which are looked at before the first is believed.
    fn deliver(
        &mut self,
        chunk: &LogChunk,
        body_at: u64,
        body: &[u8],
        frame: &FrameHeader,
        replay: &mut dyn Replay,
    ) -> Result<(), Fault> {
        take_apart(body, body_at, &mut self.pieces)
            .map_err(|(at, error)| broken_entry(chunk, body_at + at as u64, error))?;
        if self.pieces.len() != frame.entries as usize || body.len() != frame.length as usize {
            let what = "a frame that has not the entries that its header says";
            return Err(refused(&chunk.name, frame.position, what));
        }
        let at = |piece: &Piece| chunk.position(body_at + piece.start() as u64);
        let lost = |piece: &&Piece| !piece.whole && !only_records(piece.header.kind);
        if let Some(lost) = self.pieces.iter().find(lost) {
            let what = describe(&lost.header);
            return Err(refused(&chunk.name, at(lost), &what));
        }
        for piece in &self.pieces {
            let header = &piece.header;
            if piece.whole {
                let payload = body.get(piece.payload.clone()).unwrap_or_default();
                replay.entry(at(piece), header, payload, frame)?;
            } else {
                replay.damaged(DamagedRange {
                    partition: header.object,
                    base: header.base,
                    last: header.last().max(header.base),
                    at: at(piece),
                });
            }
        }
        Ok(())
    }
}

impl LogChunk {
    /// The number after the last frame before `end`.
    fn lsn_before_end(&self, end: u64) -> Result<Option<Lsn>, Fault> {
        let mut window = self.synced_window();
        let mut at = u64::from(CHUNK_HEADER_BYTES);
        let mut next = self.header.first_lsn;
        while at < end {
            let Some(frame) = self.frame_at(&mut window, at)? else {
                return Ok(None);
            };
            next = frame.lsn.next();
            at += FRAME_HEADER_BYTES as u64 + u64::from(frame.length);
        }
        Ok(Some(next))
    }
}

fn broken_entry(chunk: &LogChunk, at: u64, error: EntryError) -> Fault {
    if let EntryError::UnknownKind(kind) = error {
        let name = &chunk.name;
        let what = format!("{name}: entry kind {kind} is newer than this program");
        return Fault::new(FaultKind::Corrupt, what);
    }
    refused(&chunk.name, chunk.position(at), "the header of an entry")
}

fn gap(chunk: &LogChunk, at: u64, wanted: Lsn, found: Lsn) -> Fault {
    let what = format!("frame {} follows where frame {} must", found.0, wanted.0);
    refused(&chunk.name, chunk.position(at), &what)
}
