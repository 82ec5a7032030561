//! The commit log as it lies on disk: entries, frames, chunk headers, and recovery over whole chunks.

use std::collections::BTreeMap;
use std::sync::Arc;

use mulgil_log::chunk::{CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, chunk_name};
use mulgil_log::disk::{Disk, MemDisk};
use mulgil_log::entry::{ENTRY_HEADER_BYTES, Entry, EntryHeader, EntryKind};
use mulgil_log::fault::Fault;
use mulgil_log::frame::{self, FRAME_HEADER_BYTES, FrameHeader, Salt};
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::{self, DamagedRange, RecoverFrom, Replay};

use crate::mend;

/// Where everything lies that is looked at alone.
pub(crate) const PLACE: Position = Position::new(ChunkId(3), 4096);
/// Bytes of a chunk header that mean something; the rest of its 4096 are zeroes and a copy.
pub(crate) const HEADER_USED_BYTES: usize = 128;

pub(super) fn entry(bytes: &[u8]) {
    let (mended, mut bytes) = mend::choice(bytes);
    if mended {
        mend::entry(&mut bytes, PLACE.offset());
    }
    let Ok(entry) = Entry::read(&bytes, PLACE.offset()) else {
        return;
    };
    let (header, crc) = EntryHeader::read(&bytes, PLACE.offset()).expect("its entry is whole");
    assert_eq!(header, entry.header);
    assert_eq!(entry.payload.len(), header.length as usize);
    let _last = header.last();
    let again = header.encode(PLACE.offset(), crc);
    assert_eq!(Some(&again[..]), bytes.get(..ENTRY_HEADER_BYTES));
    let elsewhere = PLACE.offset() + 8;
    assert!(
        Entry::read(&bytes, elsewhere).is_err(),
        "an entry is one at its place only"
    );
}

pub(super) fn frame(bytes: &[u8]) {
    let (mended, mut bytes) = mend::choice(bytes);
    if mended {
        mend::frames(&mut bytes, PLACE);
    }
    let Ok(header) = FrameHeader::read(&bytes, PLACE, Salt::NONE) else {
        return;
    };
    assert_eq!(
        FrameHeader::read(&header.encode(), PLACE, Salt::NONE),
        Ok(header)
    );
    let to = Position::new(ChunkId(9), 8192);
    let whole = FRAME_HEADER_BYTES.saturating_add(header.length as usize);
    let frame = bytes.len().min(whole);
    let frame = bytes.get_mut(..frame).unwrap_or_default();
    if frame::restamp(frame, to, Position::ZERO, Salt::NONE).is_ok() {
        let moved = FrameHeader::read(frame, to, Salt::NONE).expect("it was moved there");
        assert_eq!((moved.lsn, moved.length), (header.lsn, header.length));
        let mut rest = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let mut place = to.offset() + 64;
        while !rest.is_empty() {
            let (entry, _) = EntryHeader::read(rest, place).expect("every entry was moved");
            place += u32::try_from(entry.total_bytes()).expect("it was read");
            rest = rest.get(entry.total_bytes()..).unwrap_or_default();
        }
    }
}

pub(super) fn chunk_header(bytes: &[u8]) {
    let (mended, mut bytes) = mend::choice(bytes);
    if mended {
        let kind = bytes.get(5).copied().unwrap_or_default();
        mend::chunk_header(&mut bytes, 3, kind);
    }
    let Ok(header) = ChunkHeader::read(&bytes, ChunkId(3)) else {
        return;
    };
    assert_eq!(ChunkHeader::read(&header.encode(), ChunkId(3)), Ok(header));
    assert!(ChunkHeader::read(&bytes, ChunkId(4)).is_err());
}

/// What recovery handed on, without positions: a tail may be copied elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    entries: Vec<(EntryHeader, Vec<u8>, u64)>,
    damaged: Vec<(u64, i64, i64)>,
}

impl Seen {
    /// What was said, without the marks: of a copied tail they are not copied.
    fn said(&self) -> Vec<&(EntryHeader, Vec<u8>, u64)> {
        let mark = EntryKind::SyncedMark;
        self.entries
            .iter()
            .filter(|(header, _, _)| header.kind != mark)
            .collect()
    }
}

impl Replay for Seen {
    fn entry(
        &mut self,
        _at: Position,
        entry: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault> {
        assert_eq!(payload.len(), entry.length as usize);
        self.entries.push((*entry, payload.to_vec(), frame.lsn.0));
        Ok(())
    }

    fn damaged(&mut self, range: DamagedRange) {
        self.damaged.push((range.partition, range.base, range.last));
    }
}

/// Bytes: the choice, the length of chunk 1 in four bytes, chunk 1, and chunk 2 if there are more.
///
/// A chunk is the used part of its header and its frames: the zeroes between are put in here.
pub(super) fn recovery(bytes: &[u8]) {
    let (mended, bytes) = mend::choice(bytes);
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (one, two) = rest.split_at(length.min(rest.len()));
    let mut files = BTreeMap::new();
    for (id, body) in [(1, one), (2, two)] {
        if !body.is_empty() {
            let chunk = ChunkId(id);
            files.insert(
                chunk_name(chunk, ChunkKind::Log),
                lay_out(body, chunk, mended),
            );
        }
    }
    let disk = MemDisk::with_files(7, files.clone());
    let Some(first) = recover(&disk) else {
        assert!(
            recover(&MemDisk::with_files(7, files)).is_none(),
            "the same twice"
        );
        return;
    };
    let other = recover(&MemDisk::with_files(7, files));
    assert!(other.as_ref() == Some(&first), "the same twice");
    let after = recover(&disk).expect("what recovery leaves is whole");
    assert!(after.said() == first.said(), "and says the same again");
}

fn lay_out(body: &[u8], chunk: ChunkId, mended: bool) -> Vec<u8> {
    let (used, frames) = body.split_at(body.len().min(HEADER_USED_BYTES));
    let (mut used, mut frames) = (used.to_vec(), frames.to_vec());
    used.resize(HEADER_USED_BYTES, 0);
    if mended {
        mend::chunk_header(&mut used, chunk.0, ChunkKind::Log as u8);
        mend::frames(&mut frames, Position::new(chunk, CHUNK_HEADER_BYTES));
    }
    let mut file = used.clone();
    file.resize(2048, 0);
    file.extend_from_slice(&used);
    file.resize(CHUNK_HEADER_BYTES as usize, 0);
    file.extend_from_slice(&frames);
    file
}

fn recover(disk: &MemDisk) -> Option<Seen> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut seen = Seen::default();
    recovery::recover(&disk, &mut seen, RecoverFrom::default()).ok()?;
    Some(seen)
}
