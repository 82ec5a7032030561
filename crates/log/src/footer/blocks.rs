//! The blocks of one directory record, read from index pages as they are asked for.

use core::fmt;

use bytes::Bytes;

use super::{
    BLOCK_BYTES, BLOCKS_A_PAGE, Block, DirectoryRecord, Footer, PAGE_BYTES, PAGE_HEADER_BYTES,
    Part, UNLISTED, checksum,
};
use crate::access::{ReadAt, corrupt, read_exactly};
use crate::entry::ENTRY_HEADER_BYTES;
use crate::fault::Fault;
use crate::fields::{i64_at, u32_at};
use crate::position::ChunkId;

/// The blocks of one directory record. It keeps one page in memory.
pub struct Blocks<'a> {
    footer: Footer,
    file: &'a dyn ReadAt,
    record: DirectoryRecord,
    page: Option<(u32, Bytes)>,
}

impl fmt::Debug for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl<'a> Blocks<'a> {
    pub(super) const fn new(footer: Footer, file: &'a dyn ReadAt, record: DirectoryRecord) -> Self {
        Self {
            footer,
            file,
            record,
            page: None,
        }
    }

    /// Goes over to another record of the same directory, and keeps the page.
    pub(crate) const fn turn_to(&mut self, record: &DirectoryRecord) {
        self.record = *record;
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.record.index_count
    }

    /// The block with this number, from 0 on; none beyond the last.
    ///
    /// # Errors
    ///
    /// Corrupt if its page is damaged; otherwise what the system says.
    pub fn get(&mut self, number: u32) -> Result<Option<Block>, Fault> {
        if number >= self.record.index_count {
            return Ok(None);
        }
        if self.record.index_start == UNLISTED {
            let what = "blocks of a record that is damaged itself";
            return Err(corrupt(self.footer.chunk, what));
        }
        // The sum was checked when the record was read.
        let at = self.record.index_start + number;
        let (page, within) = (at / BLOCKS_A_PAGE, at % BLOCKS_A_PAGE);
        let chunk = self.footer.chunk;
        let bytes = self.page(page)?;
        if within >= u32_at(&bytes, 4) {
            let what = format!("index page {page} has no record {within}");
            return Err(corrupt(chunk, what));
        }
        let at = PAGE_HEADER_BYTES + within as usize * BLOCK_BYTES;
        let block = Block {
            base: i64_at(&bytes, at),
            max_timestamp: i64_at(&bytes, at + 8),
            at: u32_at(&bytes, at + 16),
            bytes: u32_at(&bytes, at + 20),
        };
        let fits = block.end() <= self.footer.at && block.bytes as usize >= ENTRY_HEADER_BYTES;
        let named = (self.record.first..=self.record.last).contains(&block.base);
        if fits && named {
            return Ok(Some(block));
        }
        let what = format!("record {within} of index page {page} says what can't be");
        Err(corrupt(chunk, what))
    }

    /// The first offset that is not in this block any more: where the next one begins, or the end.
    ///
    /// # Errors
    ///
    /// As [`Blocks::get`].
    pub fn limit(&mut self, number: u32) -> Result<i64, Fault> {
        let next = self.get(number.saturating_add(1))?;
        let end = self.record.last.saturating_add(1);
        Ok(next.map_or(end, |next| next.base))
    }

    /// The number of the last block that begins at `offset` or below; 0 if none does.
    ///
    /// # Errors
    ///
    /// As [`Blocks::get`].
    pub fn holding(&mut self, offset: i64) -> Result<u32, Fault> {
        let (mut low, mut high) = (0, self.record.index_count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)? {
                Some(block) if block.base <= offset => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low.saturating_sub(1))
    }

    fn page(&mut self, page: u32) -> Result<Bytes, Fault> {
        if let Some((number, bytes)) = &self.page
            && *number == page
        {
            return Ok(bytes.clone());
        }
        let at = self.footer.at + u64::from(page) * PAGE_BYTES as u64;
        let bytes = read_exactly(self.file, at, PAGE_BYTES)?;
        if !is_page(&bytes, self.footer.chunk, page) {
            let what = format!("index page {page} of its footer is damaged");
            return Err(corrupt(self.footer.chunk, what));
        }
        self.page = Some((page, bytes.clone()));
        Ok(bytes)
    }
}

/// Whether these bytes are the first index page of a chunk's footer, whole.
pub(crate) fn is_first_page(bytes: &[u8], chunk: ChunkId) -> bool {
    bytes.len() == PAGE_BYTES && is_page(bytes, chunk, 0)
}

/// How many blocks are in this page of a chunk's footer, if it is one and whole.
pub(super) fn blocks_in(bytes: &[u8], chunk: ChunkId, page: u32) -> Option<u32> {
    is_page(bytes, chunk, page).then(|| u32_at(bytes, 4))
}

fn is_page(bytes: &[u8], chunk: ChunkId, page: u32) -> bool {
    let (before, after) = (bytes.get(..12), bytes.get(PAGE_HEADER_BYTES..));
    let parts = [before.unwrap_or_default(), after.unwrap_or_default()];
    let crc = checksum(Part::IndexPage, chunk, page, parts);
    crc == u32_at(bytes, 12) && page == u32_at(bytes, 0)
}
