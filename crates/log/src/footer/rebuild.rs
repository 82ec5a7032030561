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
//! where the parts lie, and every part has checksums and numbers: pages of blocks are looked for from
//! the end of the chunk on, so that nothing in a record is taken for one.
//!
//! Where two things beside each other are damaged, it may be open how many records there were, and so
//! where one partition was split. Then every stretch without a gap is a record of its own: another
//! chunk may have what is missing there, and nothing is passed over in either. Such records share the
//! slot of the first that is damaged, and have no blocks: readers and passes go by the entries.
//! Nothing is told where an entry's own header is damaged, too.

use core::ops::Range;

use super::blocks::blocks_in;
use super::{
    DAMAGE_BYTES, DirectoryRecord, Footer, FooterBuilder, PAGE_BYTES, Part, SLOT_BYTES,
    TRAILER_BYTES, UNLISTED, is_whole,
};
use crate::access::{ReadAt, corrupt, read_exactly};
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkKind};
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use crate::fault::{Fault, FaultKind};
use crate::fields::u32_at;
use crate::index::TailEntry;
use crate::position::Position;
use crate::walk::offsets_of;
use mulgil_record::crc::crc32c;

#[cfg(test)]
mod tests;

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

    /// The records of a run of damaged slots between two whole ones, each with its slot.
    /// `max_timestamp` says the largest timestamp of a payload.
    ///
    /// # Errors
    ///
    /// Corrupt if the entries there are damaged, too; otherwise what the system says.
    pub(super) fn tell(
        &self,
        file: &dyn ReadAt,
        run: &Range<u32>,
        (before, after): (Option<&DirectoryRecord>, Option<&DirectoryRecord>),
        max_timestamp: &dyn Fn(&[u8]) -> i64,
    ) -> Result<Vec<(u32, DirectoryRecord)>, Fault> {
        let from = before.map_or(FIRST, |r| u64::from(r.data_at) + u64::from(r.data_bytes));
        let to = after.map_or(self.at, |record| u64::from(record.data_at));
        let (mut partitions, mut gaps) = (0, 0);
        each_entry(file, (from, to), None, |_, cut| {
            partitions += usize::from(cut == Cut::Partition);
            gaps += usize::from(cut == Cut::Gap);
        })?;
        let counted = after.is_some() || !self.open_ended;
        if counted && partitions == 0 {
            let what = format!("slot {} of its footer is damaged", run.start);
            return Err(corrupt(self.chunk, what));
        }
        let at_partitions = counted && partitions == run.len();
        let certain = at_partitions || counted && partitions + gaps == run.len();
        let cut = |times| self.cut(file, (from, to), !at_partitions, times);
        if certain {
            let mut records = cut(None)?;
            match self.number(file, &mut records, before, after) {
                Ok(()) => return Ok((run.start..).zip(records).collect()),
                Err(fault) if fault.kind == FaultKind::Corrupt => {}
                Err(fault) => return Err(fault),
            }
        }
        let records = (0..).zip(cut(Some(max_timestamp))?);
        let told = records.map(|(nth, mut record): (u32, DirectoryRecord)| {
            record.index_start = UNLISTED;
            (run.start + if certain { nth } else { 0 }, record)
        });
        Ok(told.collect())
    }

    /// Makes records of the entries between two bytes, one for each partition, or also at each gap.
    fn cut(
        &self,
        file: &dyn ReadAt,
        range: (u64, u64),
        at_gaps: bool,
        times: Times<'_>,
    ) -> Result<Vec<DirectoryRecord>, Fault> {
        let mut builder = FooterBuilder::new(self.chunk, self.kind);
        each_entry(file, range, times, |(partition, entry), cut| {
            if at_gaps && cut == Cut::Gap {
                builder.split();
            }
            builder.entry(partition, entry);
        })?;
        Ok(builder.into_directory())
    }

    /// Gives records between two whole ones their blocks, and the times that these have.
    fn number(
        &self,
        file: &dyn ReadAt,
        records: &mut [DirectoryRecord],
        before: Option<&DirectoryRecord>,
        after: Option<&DirectoryRecord>,
    ) -> Result<(), Fault> {
        let doubt = || corrupt(self.chunk, "its footer does not fit its entries");
        let mut index = before.map_or(Some(0), |r| r.index_start.checked_add(r.index_count));
        for record in records {
            record.index_start = index.ok_or_else(doubt)?;
            index = record.index_start.checked_add(record.index_count);
            self.date(file, record)?;
        }
        let follows = after.is_none_or(|after| Some(after.index_start) == index);
        if follows { Ok(()) } else { Err(doubt()) }
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

/// Says the largest timestamp of a payload, if anybody asks for it.
type Times<'a> = Option<&'a dyn Fn(&[u8]) -> i64>;

/// What lies between an entry and the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// Offsets that neither has.
    Gap,
    /// It is the first of its partition.
    Partition,
}

/// Shows every entry between two bytes of a chunk, with the `times` of payloads if that is asked for.
fn each_entry(
    file: &dyn ReadAt,
    (from, to): (u64, u64),
    times: Times<'_>,
    mut show: impl FnMut((u64, &TailEntry), Cut),
) -> Result<(), Fault> {
    let chunk = file.chunk();
    let mut window = Window::new(file, to);
    let mut newest: Option<(u64, i64)> = None;
    let mut at = from;
    while at < to {
        let place = u32::try_from(at).unwrap_or(u32::MAX);
        let bytes = window.get(at, ENTRY_HEADER_BYTES)?;
        let Ok((header, payload_crc)) = EntryHeader::read(bytes, place) else {
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
        let max_timestamp = match times {
            None => i64::MIN,
            Some(times) => {
                let body = u64::from(place) + ENTRY_HEADER_BYTES as u64;
                let payload = window.get(body, header.length as usize)?;
                // As a start takes a batch that is damaged.
                let whole = crc32c(&[payload]) == payload_crc;
                if whole { times(payload) } else { -1 }
            }
        };
        let entry = TailEntry {
            base,
            last,
            at: Position::new(chunk, place),
            length: header.length,
            max_timestamp,
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
    let Some(entries) = find_end(file, end)? else {
        return Ok(None);
    };
    let at = entries.at;
    let mut window = Window::new(file, end);
    let index_pages = count_pages(&mut window, &entries)?;
    let directory = at + u64::from(index_pages) * PAGE_BYTES as u64;
    let (mut slots, newest) = last_slot(&mut window, directory)?;
    let listed = newest.map_or(FIRST, |r| u64::from(r.data_at) + u64::from(r.data_bytes));
    let all = listed <= at && at - listed < PAGE_BYTES as u64;
    let all = all && Window::new(file, at).is_zero(listed)?;
    if entries.last.is_some_and(|last| last != listed) {
        return Ok(None);
    }
    let place = |slots: u32| directory + u64::from(slots) * SLOT_BYTES as u64;
    while !all && place(slots) < end {
        slots += 1;
        let record = window.get(place(slots), DAMAGE_BYTES)?;
        if is_whole(Part::Damage, chunk, 0, record) || window.ends(place(slots))? {
            break;
        }
    }
    let mut damaged = 0;
    let mut next = place(slots);
    while next < end && !window.ends(next)? {
        damaged += 1;
        next += DAMAGE_BYTES as u64;
    }
    let footer = Footer {
        chunk,
        kind,
        slots,
        damaged,
        index_pages,
        at,
        bytes,
        open_ended: !all,
    };
    Ok(footer.fits(bytes).then_some(footer))
}

/// Where entries end and the footer begins.
struct EntriesEnd {
    at: u64,
    /// The footer has so many pages of blocks at least.
    pages: u32,
    /// Where the last entry ends, if only the entries say so.
    last: Option<u64>,
}

/// Looks for the end of the entries: by the last page of blocks that is whole, or by the entries.
fn find_end(file: &dyn ReadAt, end: u64) -> Result<Option<EntriesEnd>, Fault> {
    let (chunk, page_bytes) = (file.chunk(), PAGE_BYTES as u64);
    for page in (1..=end / page_bytes).rev().map(|page| page * page_bytes) {
        if page + page_bytes > file.bytes()? {
            continue;
        }
        let bytes = read_exactly(file, page, PAGE_BYTES)?;
        let number = u32_at(&bytes, 0);
        let at = page.checked_sub(u64::from(number) * page_bytes);
        if let Some(at) = at.filter(|at| *at >= FIRST)
            && blocks_in(&bytes, chunk, number).is_some()
        {
            return Ok(Some(EntriesEnd {
                at,
                pages: number + 1,
                last: None,
            }));
        }
    }
    let mut window = Window::new(file, end);
    let mut last = FIRST;
    while last < end {
        let place = u32::try_from(last).unwrap_or(u32::MAX);
        let header = EntryHeader::read(window.get(last, ENTRY_HEADER_BYTES)?, place);
        let Ok((header, _)) = header else { break };
        last += header.total_bytes() as u64;
    }
    let at = last.next_multiple_of(page_bytes);
    let ends = at <= end && Window::new(file, at).is_zero(last)?;
    Ok(ends.then_some(EntriesEnd {
        at,
        // Of nothing but damage records there are no blocks.
        pages: u32::from(last > FIRST),
        last: Some(last),
    }))
}

/// How many pages of blocks there are: behind them the first record of the directory, or the second,
/// is whole. If neither is, those that are known are all.
fn count_pages(window: &mut Window<'_>, entries: &EntriesEnd) -> Result<u32, Fault> {
    let chunk = window.file.chunk();
    for pages in entries.pages.. {
        let directory = entries.at + u64::from(pages) * PAGE_BYTES as u64;
        if directory >= window.end {
            break;
        }
        let records = window.get(directory, 2 * SLOT_BYTES)?.chunks(SLOT_BYTES);
        if (0..)
            .zip(records)
            .any(|(slot, record)| is_whole(Part::Slot, chunk, slot, record))
        {
            return Ok(pages);
        }
    }
    Ok(entries.pages)
}

/// The last whole record of a directory, and how many there are up to it.
fn last_slot(
    window: &mut Window<'_>,
    directory: u64,
) -> Result<(u32, Option<DirectoryRecord>), Fault> {
    let (chunk, end) = (window.file.chunk(), window.end);
    let mut found = (0, None);
    for slot in 0.. {
        let at = directory + u64::from(slot) * SLOT_BYTES as u64;
        if at + SLOT_BYTES as u64 > end {
            break;
        }
        let record = DirectoryRecord::decode(window.get(at, SLOT_BYTES)?, chunk, slot);
        if record.is_some() {
            found = (slot + 1, record);
        }
    }
    Ok(found)
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
            self.bytes = read_exactly(self.file, at, most.min(WINDOW_BYTES.max(length)))?;
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

    /// Whether a footer ends at `at`: what follows fills up the last page.
    fn ends(&mut self, at: u64) -> Result<bool, Fault> {
        Ok(self.end.saturating_sub(at) < PAGE_BYTES as u64 && self.is_zero(at)?)
    }
}
