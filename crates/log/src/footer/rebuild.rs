//! What is damaged in the footer of a chunk without frames, told by what lies beside it.
//!
//! ```text
//! entries a1 a2 a3 | b1 b2 | c1 ...    pages of blocks, numbered through    directory  a  X  c    trailer
//!                    `---- between the ends of a and the beginning of c: what X was ----'
//! ```
//!
//! Entries lie in the order of the directory and say whose they are. So a run of damaged records lists
//! the entries between those of its whole neighbours: one record for each partition, or, if there were
//! more, one for each stretch of offsets without a gap; the blocks say the times. The trailer says only
//! where the parts lie, and every part has checksums: the first page of blocks is looked for from the
//! end of the chunk on, so that nothing in a record is taken for it. Where two things beside each other
//! are damaged, nothing is guessed.

use core::ops::Range;

use super::blocks::blocks_in;
use super::{
    DAMAGE_BYTES, DirectoryRecord, Footer, FooterBuilder, PAGE_BYTES, Part, SLOT_BYTES,
    TRAILER_BYTES, is_whole,
};
use crate::access::{ReadAt, corrupt, read_exactly};
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkKind};
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use crate::fault::{Fault, FaultKind};
use crate::index::TailEntry;
use crate::position::Position;
use crate::walk::offsets_of;

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 64 << 10;
/// Where entries begin.
const FIRST: u64 = CHUNK_HEADER_BYTES as u64;

impl Footer {
    /// As [`Footer::open`]. Of a chunk without frames, of this `kind`, a damaged trailer is found again.
    ///
    /// # Errors
    ///
    /// As those of [`Footer::open`].
    pub fn open_as(file: &dyn ReadAt, kind: ChunkKind) -> Result<Self, Fault> {
        match Self::open(file) {
            Err(fault) if fault.kind == FaultKind::Corrupt && kind.is_sorted() => {
                find_trailer(file, kind)?.ok_or(fault)
            }
            other => other,
        }
    }

    /// The records of a run of damaged slots between two whole ones.
    ///
    /// # Errors
    ///
    /// Corrupt if that can't be told for certain; otherwise what the system says.
    pub(super) fn rebuild(
        &self,
        file: &dyn ReadAt,
        run: &Range<u32>,
        before: Option<&DirectoryRecord>,
        after: Option<&DirectoryRecord>,
    ) -> Result<Vec<DirectoryRecord>, Fault> {
        let doubt = || {
            let what = format!("slot {} of its footer is damaged", run.start);
            corrupt(self.chunk, what)
        };
        let from = before.map_or(FIRST, |r| u64::from(r.data_at) + u64::from(r.data_bytes));
        let to = after.map_or(self.at, |record| u64::from(record.data_at));
        let (mut partitions, mut gaps) = (0, 0);
        each_entry(file, (from, to), |_, cut| {
            partitions += usize::from(cut == Cut::Partition);
            gaps += usize::from(cut == Cut::Gap);
        })?;
        let cut_at_gaps = partitions != run.len();
        if cut_at_gaps && partitions + gaps != run.len() {
            return Err(doubt());
        }
        let mut builder = FooterBuilder::new(self.chunk, self.kind);
        each_entry(file, (from, to), |(partition, entry), cut| {
            if cut_at_gaps && cut == Cut::Gap {
                builder.split();
            }
            builder.entry(partition, entry);
        })?;
        let mut records = builder.into_directory();
        let mut index = before.map_or(0, |record| record.index_start + record.index_count);
        for record in &mut records {
            record.index_start = index;
            index = index.checked_add(record.index_count).ok_or_else(doubt)?;
            self.date(file, record)?;
        }
        let follows = after.is_none_or(|after| after.index_start == index);
        if follows { Ok(records) } else { Err(doubt()) }
    }

    /// Gives a record the largest timestamp that its blocks have.
    fn date(&self, file: &dyn ReadAt, record: &mut DirectoryRecord) -> Result<(), Fault> {
        let most = u64::from(self.index_pages) * u64::from(super::BLOCKS_A_PAGE);
        if u64::from(record.index_start) + u64::from(record.index_count) > most {
            return Err(corrupt(
                self.chunk,
                "its footer has fewer blocks than entries",
            ));
        }
        let mut blocks = self.blocks(file, record);
        let mut at = u64::from(record.data_at);
        let mut newest = None;
        for number in 0..record.index_count {
            let block = blocks
                .get(number)?
                .filter(|block| u64::from(block.at) == at);
            let Some(block) = block else {
                return Err(corrupt(self.chunk, "its footer does not fit its entries"));
            };
            at = block.end();
            newest = newest.max(Some(block.max_timestamp));
        }
        record.max_timestamp = newest.unwrap_or(record.max_timestamp);
        Ok(())
    }
}

/// What lies between an entry and the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// Offsets that neither has.
    Gap,
    /// It is the first of its partition.
    Partition,
}

/// Shows every entry between two bytes of a chunk. Times are not known.
fn each_entry(
    file: &dyn ReadAt,
    (from, to): (u64, u64),
    mut show: impl FnMut((u64, &TailEntry), Cut),
) -> Result<(), Fault> {
    let chunk = file.chunk();
    let mut window = Window::new(file, to);
    let mut newest: Option<(u64, i64)> = None;
    let mut at = from;
    while at < to {
        let place = u32::try_from(at).unwrap_or(u32::MAX);
        let bytes = window.get(at, ENTRY_HEADER_BYTES)?;
        let Ok((header, _)) = EntryHeader::read(bytes, place) else {
            if to - at < PAGE_BYTES as u64 && window.is_zero(at)? {
                break;
            }
            return Err(corrupt(chunk, format!("no entry at {at}")));
        };
        let offsets = offsets_of(&header);
        let (base, last) = offsets.ok_or_else(|| corrupt(chunk, "an entry without offsets"))?;
        let cut = match newest.replace((header.object, last)) {
            Some((object, before)) if object == header.object && before < base => {
                if before.saturating_add(1) == base {
                    Cut::Nothing
                } else {
                    Cut::Gap
                }
            }
            Some((object, _)) if object >= header.object => {
                return Err(corrupt(chunk, format!("the entry at {at} is out of order")));
            }
            Some(_) | None => Cut::Partition,
        };
        at += header.total_bytes() as u64;
        if at > to {
            return Err(corrupt(
                chunk,
                format!("an entry ends at {at}, behind {to}"),
            ));
        }
        let entry = TailEntry {
            base,
            last,
            at: Position::new(chunk, place),
            length: header.length,
            max_timestamp: i64::MIN,
        };
        show((header.object, &entry), cut);
    }
    Ok(())
}

/// Where the parts of a footer lie, without its trailer; none if that can't be told.
fn find_trailer(file: &dyn ReadAt, kind: ChunkKind) -> Result<Option<Footer>, Fault> {
    let (chunk, bytes) = (file.chunk(), file.bytes()?);
    let pages = bytes / PAGE_BYTES as u64;
    if pages < 2 || !bytes.is_multiple_of(PAGE_BYTES as u64) {
        return Ok(None);
    }
    let end = bytes - TRAILER_BYTES as u64;
    let trailer = read_exactly(file, end, TRAILER_BYTES)?;
    if is_whole(Part::Trailer, chunk, 0, &trailer) {
        // What is wrong with it is not damage.
        return Ok(None);
    }
    let mut first = None;
    for page in (1..pages).rev() {
        let at = page * PAGE_BYTES as u64;
        if blocks_in(&read_exactly(file, at, PAGE_BYTES)?, chunk, 0).is_some() {
            first = Some(at);
            break;
        }
    }
    // Of nothing but damage records there are no blocks.
    let at = first.unwrap_or(FIRST);
    let (mut index_pages, mut blocks) = (0, 0);
    let mut next = at;
    while next + PAGE_BYTES as u64 <= bytes {
        let page = read_exactly(file, next, PAGE_BYTES)?;
        let Some(count) = blocks_in(&page, chunk, index_pages) else {
            break;
        };
        blocks += u64::from(count);
        index_pages += 1;
        next += PAGE_BYTES as u64;
    }
    let mut window = Window::new(file, end);
    let (slots, newest) = window.count(next, SLOT_BYTES, Part::Slot)?;
    next += u64::from(slots) * SLOT_BYTES as u64;
    let (damaged, _) = window.count(next, DAMAGE_BYTES, Part::Damage)?;
    next += u64::from(damaged) * DAMAGE_BYTES as u64;
    let listed = newest
        .and_then(|bytes| DirectoryRecord::decode(&bytes, chunk, slots - 1))
        .map_or(0, |r| u64::from(r.index_start) + u64::from(r.index_count));
    let ends = end - next < PAGE_BYTES as u64 && window.is_zero(next)?;
    let footer = Footer {
        chunk,
        kind,
        slots,
        damaged,
        index_pages,
        at,
        bytes,
    };
    Ok((ends && listed == blocks && footer.fits(bytes)).then_some(footer))
}

/// Part of a chunk in memory.
struct Window<'a> {
    file: &'a dyn ReadAt,
    end: u64,
    at: u64,
    bytes: bytes::Bytes,
}

impl<'a> Window<'a> {
    const fn new(file: &'a dyn ReadAt, end: u64) -> Self {
        Self {
            file,
            end,
            at: 0,
            bytes: bytes::Bytes::new(),
        }
    }

    /// The `length` bytes at `at`; fewer at the end.
    fn get(&mut self, at: u64, length: usize) -> Result<&[u8], Fault> {
        let stop = self.end.min(at + length as u64).max(at);
        if at < self.at || stop > self.at + self.bytes.len() as u64 {
            let most = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.bytes = read_exactly(self.file, at, most.min(WINDOW_BYTES))?;
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        let to = usize::try_from(stop - self.at).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// Whether nothing but zeroes follow, less than a page of them.
    fn is_zero(&mut self, at: u64) -> Result<bool, Fault> {
        let rest = self.get(at, PAGE_BYTES)?;
        Ok(rest.iter().all(|byte| *byte == 0))
    }

    /// How many whole records follow each other from `at` on, and the bytes of the last one.
    fn count(
        &mut self,
        at: u64,
        record_bytes: usize,
        part: Part,
    ) -> Result<(u32, Option<Vec<u8>>), Fault> {
        let chunk = self.file.chunk();
        let (mut count, mut newest, mut next) = (0, None, at);
        loop {
            let record = self.get(next, record_bytes)?;
            if record.len() < record_bytes || !is_whole(part, chunk, count, record) {
                return Ok((count, newest));
            }
            newest = Some(record.to_vec());
            count += 1;
            next += record_bytes as u64;
        }
    }
}
