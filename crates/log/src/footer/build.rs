//! Writing a footer.

use super::{
    BLOCK_BYTES, BLOCKS_A_PAGE, Block, DirectoryRecord, Footer, PAGE_BYTES, PAGE_HEADER_BYTES,
    Part, TRAILER_BYTES, checksum, encode_damage,
};
use crate::access::AppendTo;
use crate::chunk::ChunkKind;
use crate::fault::Fault;
use crate::index::{Extent, TailEntry};
use crate::position::ChunkId;
use crate::recovery::DamagedRange;

/// A block of a sorted chunk is full when it has this many bytes.
const SORTED_BLOCK_BYTES: u64 = 32 << 10;
/// Index pages are written when there are this many bytes of them.
const SPILL_BYTES: usize = 1 << 20;

/// A footer that is durable as soon as its chunk is.
#[derive(Debug)]
pub struct Sealed {
    /// Where its parts lie.
    pub footer: Footer,
    /// What memory keeps of the chunk, by partition and offset.
    pub extents: Vec<(u64, Extent)>,
}

/// Collects what a footer says, in order of partition and offset.
#[derive(Debug)]
pub struct FooterBuilder {
    chunk: ChunkId,
    kind: ChunkKind,
    /// Whole index pages that are not written yet.
    pages: Vec<u8>,
    pages_done: u32,
    /// Blocks of the page that is being filled.
    page: Vec<u8>,
    blocks: u32,
    /// Where the footer begins, once it was begun.
    at: Option<u64>,
    directory: Vec<DirectoryRecord>,
    /// The partition's record, and the block in it that may still grow.
    open: Option<(DirectoryRecord, Block)>,
    damaged: Vec<DamagedRange>,
}

impl FooterBuilder {
    /// A footer for a chunk of this kind.
    #[must_use]
    pub const fn new(chunk: ChunkId, kind: ChunkKind) -> Self {
        Self {
            chunk,
            kind,
            pages: Vec::new(),
            pages_done: 0,
            page: Vec::new(),
            blocks: 0,
            at: None,
            directory: Vec::new(),
            open: None,
            damaged: Vec::new(),
        }
    }

    /// Adds an entry that lies in the chunk.
    ///
    /// # Panics
    ///
    /// If it is not of this chunk, or out of order.
    pub fn entry(&mut self, partition: u64, entry: &TailEntry) {
        assert!(entry.at.chunk() == self.chunk, "an entry of another chunk");
        if self
            .open
            .is_none_or(|(record, _)| record.partition != partition)
        {
            self.split();
        }
        let bytes = u32::try_from(entry.bytes()).expect("an entry is far below 4 GiB");
        let alone = Block {
            base: entry.base,
            max_timestamp: entry.max_timestamp,
            at: entry.at.offset(),
            bytes,
        };
        let Some((mut record, mut block)) = self.open.take() else {
            self.begin(partition, entry, alone);
            return;
        };
        assert!(entry.base > record.last, "entries come in order");
        record.last = entry.last;
        record.max_timestamp = record.max_timestamp.max(entry.max_timestamp);
        record.bytes += entry.bytes();
        record.data_bytes = u32::try_from(alone.end() - u64::from(record.data_at))
            .expect("a chunk ends below 4 GiB");
        record.batches += 1;
        if self.joins(&block, &alone) {
            block.bytes += bytes;
            block.max_timestamp = block.max_timestamp.max(entry.max_timestamp);
        } else {
            self.push_block(&block);
            record.index_count += 1;
            block = alone;
        }
        self.open = Some((record, block));
    }

    /// Whether an entry is added to a block: small ones that lie side by side are, in sorted chunks.
    fn joins(&self, block: &Block, alone: &Block) -> bool {
        self.kind.is_sorted()
            && block.end() == u64::from(alone.at)
            && u64::from(block.bytes) < SORTED_BLOCK_BYTES
            && u64::from(alone.bytes) < SORTED_BLOCK_BYTES
    }

    fn begin(&mut self, partition: u64, entry: &TailEntry, block: Block) {
        let before = self.directory.last();
        let follows = before.is_none_or(|r| (r.partition, r.last) < (partition, entry.base));
        assert!(follows, "partitions come in order");
        let record = DirectoryRecord {
            partition,
            first: entry.base,
            last: entry.last,
            max_timestamp: entry.max_timestamp,
            bytes: entry.bytes(),
            index_start: self.blocks,
            index_count: 1,
            data_at: block.at,
            data_bytes: block.bytes,
            batches: 1,
        };
        self.open = Some((record, block));
    }

    /// Ends the record of the partition; what follows of it gets another.
    pub fn split(&mut self) {
        if let Some((record, block)) = self.open.take() {
            self.push_block(&block);
            self.directory.push(record);
        }
    }

    /// The directory alone; no byte is written.
    pub(super) fn into_directory(mut self) -> Vec<DirectoryRecord> {
        self.split();
        self.directory
    }

    /// Adds offsets that can't be read any more.
    pub fn damage(&mut self, range: DamagedRange) {
        self.damaged.push(range);
    }

    /// Whether there is nothing to write down.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.directory.is_empty() && self.open.is_none() && self.damaged.is_empty()
    }

    /// Bytes that the footer would have, padding included, if nothing else came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let pages = u64::from(self.blocks / BLOCKS_A_PAGE + 2) * PAGE_BYTES as u64;
        let records = (self.directory.len() + 1) * super::SLOT_BYTES
            + self.damaged.len() * super::DAMAGE_BYTES;
        pages + records as u64 + 2 * PAGE_BYTES as u64
    }

    fn push_block(&mut self, block: &Block) {
        self.page.extend_from_slice(&block.base.to_le_bytes());
        self.page
            .extend_from_slice(&block.max_timestamp.to_le_bytes());
        self.page.extend_from_slice(&block.at.to_le_bytes());
        self.page.extend_from_slice(&block.bytes.to_le_bytes());
        self.blocks += 1;
        if self.blocks.is_multiple_of(BLOCKS_A_PAGE) {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        if self.page.is_empty() {
            return;
        }
        let mut head = [0; PAGE_HEADER_BYTES];
        let count = u32::try_from(self.page.len() / BLOCK_BYTES).expect("a page holds 170");
        self.page.resize(PAGE_BYTES - PAGE_HEADER_BYTES, 0);
        head[..4].copy_from_slice(&self.pages_done.to_le_bytes());
        head[4..8].copy_from_slice(&count.to_le_bytes());
        let (covered, crc) = head.split_at_mut(12);
        let sum = checksum(
            Part::IndexPage,
            self.chunk,
            self.pages_done,
            [covered, &self.page],
        );
        crc.copy_from_slice(&sum.to_le_bytes());
        self.pages.extend_from_slice(&head);
        self.pages.append(&mut self.page);
        self.pages_done += 1;
    }

    /// Writes whole index pages, if there are many of them, so that they need no more memory.
    ///
    /// Only for a chunk that has got all its entries: the footer begins with this.
    ///
    /// # Errors
    ///
    /// What the chunk says.
    pub fn spill(&mut self, out: &mut dyn AppendTo) -> Result<(), Fault> {
        if self.pages.len() >= SPILL_BYTES {
            self.write_pages(out)?;
        }
        Ok(())
    }

    fn write_pages(&mut self, out: &mut dyn AppendTo) -> Result<u64, Fault> {
        let begun = match self.at {
            Some(at) => at,
            None => pad(out, 0)?,
        };
        self.at = Some(begun);
        for piece in self.pages.chunks(SPILL_BYTES) {
            out.append(piece)?;
        }
        self.pages.clear();
        Ok(begun)
    }

    /// Writes the footer. The chunk ends with it.
    ///
    /// # Errors
    ///
    /// What the chunk says.
    ///
    /// # Panics
    ///
    /// If the chunk has more than 2^32 slots.
    pub fn finish(mut self, out: &mut dyn AppendTo) -> Result<Sealed, Fault> {
        self.split();
        self.close_page();
        let at = self.write_pages(out)?;
        let mut extents = Vec::with_capacity(self.directory.len());
        let mut buffer = Vec::new();
        for (slot, record) in (0..).zip(&self.directory) {
            extents.push((record.partition, record.extent(self.chunk, slot)));
            buffer.extend_from_slice(&record.encode(self.chunk, slot));
            if buffer.len() >= SPILL_BYTES {
                out.append(&buffer)?;
                buffer.clear();
            }
        }
        for (number, range) in (0..).zip(&self.damaged) {
            buffer.extend_from_slice(&encode_damage(range, self.chunk, number));
        }
        out.append(&buffer)?;
        let end = pad(out, TRAILER_BYTES)?;
        let footer = Footer {
            chunk: self.chunk,
            kind: self.kind,
            slots: u32::try_from(self.directory.len()).expect("far below 2^32 slots"),
            damaged: u32::try_from(self.damaged.len()).expect("far below 2^32 records"),
            index_pages: self.pages_done,
            at,
            bytes: end + TRAILER_BYTES as u64,
            open_ended: false,
        };
        out.append(&footer.encode())?;
        Ok(Sealed { footer, extents })
    }
}

/// Adds zeroes until `room` more bytes would end at a multiple of a page; says where that is.
fn pad(out: &mut dyn AppendTo, room: usize) -> Result<u64, Fault> {
    let at = out.position().offset() as usize;
    let padding = (at + room).next_multiple_of(PAGE_BYTES) - (at + room);
    if padding > 0 {
        let zeroes = [0; PAGE_BYTES];
        out.append(zeroes.get(..padding).unwrap_or_default())?;
    }
    Ok((at + padding) as u64)
}
