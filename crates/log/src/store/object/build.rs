//! The object that a group becomes: a whole chunk, with its footer.
//!
//! ```text
//! chunk header | frame | frame | ... | footer       nothing is ever added to it
//!                                    ^ header.synced: all frames are whole once the object is there
//! ```
//!
//! The bytes are settled before the first PUT, so that it may be tried again as often as it takes.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::access::AppendTo;
use crate::chunk::ChunkHeader;
use crate::entry::{Entry, EntryKind};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FLAG_GROUP_END, FLAG_MARK, FRAME_HEADER_BYTES, FrameHeader};
use crate::index::TailEntry;
use crate::position::Position;
use crate::seal::write_log_footer;
use crate::store::StampedFrame;

/// The largest timestamp in a batch entry's payload, which only the broker can read.
pub type MaxTimestamp = fn(&[u8]) -> i64;

/// A group as an object.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) object: Bytes,
    pub(super) frames: Vec<(Position, Bytes)>,
    pub(super) end: Position,
}

pub(super) fn build(
    mut header: ChunkHeader,
    frames: Vec<StampedFrame>,
    mark: bool,
    max_timestamp: MaxTimestamp,
) -> Result<Built, Fault> {
    let mut end = header.first_position();
    let mut sealed_frames = Vec::with_capacity(frames.len());
    let last = frames.len().saturating_sub(1);
    for (index, stamped) in frames.into_iter().enumerate() {
        let at = stamped.frame.position();
        if at != end {
            let what = format!("a frame for {at} was submitted where the log is at {end}");
            return Err(Fault::new(FaultKind::Fatal, what));
        }
        let group_end = if index == last { FLAG_GROUP_END } else { 0 };
        let mark = if mark { FLAG_MARK } else { 0 };
        let sealed = stamped.frame.seal(&FrameHeader {
            flags: group_end | mark,
            length: 0,
            entries: 0,
            lsn: stamped.lsn,
            position: at,
            synced: header.first_position(),
            elapsed_ms: stamped.elapsed_ms,
            wall_ms: stamped.wall_ms,
            incarnation: header.incarnation,
            salt: header.salt,
        });
        end = at.plus(sealed.len());
        sealed_frames.push((at, sealed));
    }
    header.synced = end;
    let mut out = Object {
        header,
        bytes: BytesMut::from(header.encode()),
    };
    let mut tail = BTreeMap::new();
    for (at, frame) in &sealed_frames {
        out.append(frame)?;
        list(*at, frame, max_timestamp, &mut tail)?;
    }
    write_log_footer(&mut out, tail, &[])?;
    Ok(Built {
        object: out.bytes.freeze(),
        frames: sealed_frames,
        end,
    })
}

/// What the footer says of a frame, by partition.
fn list(
    at: Position,
    frame: &Bytes,
    max_timestamp: MaxTimestamp,
    tail: &mut BTreeMap<u64, Vec<TailEntry>>,
) -> Result<(), Fault> {
    let mut place = FRAME_HEADER_BYTES;
    while place < frame.len() {
        let at = at.plus(place);
        let bytes = frame.get(place..).unwrap_or_default();
        let entry = Entry::read(bytes, at.offset()).map_err(|error| {
            let what = format!("{error} at {at}, which was just sealed");
            Fault::new(FaultKind::Corrupt, what)
        })?;
        let header = entry.header;
        if header.kind == EntryKind::Batch {
            tail.entry(header.object).or_default().push(TailEntry {
                base: header.base,
                last: header.last(),
                at,
                length: header.length,
                max_timestamp: max_timestamp(entry.payload),
            });
        }
        place += header.total_bytes();
    }
    Ok(())
}

/// An object that is being built.
struct Object {
    header: ChunkHeader,
    bytes: BytesMut,
}

impl AppendTo for Object {
    fn position(&self) -> Position {
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Position::new(self.header.chunk, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let at = self.position();
        if self.bytes.len() + bytes.len() > u32::MAX as usize {
            let what = format!(
                "the object of chunk {} would reach 4 GiB",
                self.header.chunk
            );
            return Err(Fault::new(FaultKind::Exhausted, what));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(at)
    }
}
