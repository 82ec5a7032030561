//! Cold reads: from an extent or tail entries to batches, off the lane.
//!
//! ```text
//! extent --slot--> directory record --search--> blocks --few large reads--> entries, each checked
//! ```
//!
//! Nothing is handed out whose header, place, partition, offsets and payload were not checked. What
//! lies before damage is handed out; who then reads on at the damage gets [`ReadError::Damaged`],
//! which names the lost offsets, and can go on behind them.
//!
//! Blocks that lie close together are read at once: in a sorted chunk all of them do, so that one
//! read fetches a whole answer. In a log chunk entries of other partitions lie between; small gaps
//! are read along, and the batches are copied out if more than half of what was read is not wanted,
//! so that an answer never holds much more memory than its size.

use bytes::Bytes;
use thiserror::Error;

use crate::access::{ReadAt, corrupt, ends_before};
use crate::entry::EntryHeader;
use crate::fault::{Fault, FaultKind};
use crate::footer::{Block, Blocks, Footer};
use crate::index::{ColdRead, TailEntry};
use crate::lease::Lease;
use crate::position::Position;
use crate::recovery::DamagedRange;
use crate::walk::{BlockPlace, Met, Walk};

#[cfg(test)]
mod tests;
mod unlisted;

pub use unlisted::Unlisted;

/// Gaps up to this many bytes are read along: another read costs more.
const GAP_BYTES: u64 = 16 << 10;
/// Bytes that are read before it is looked at what they are. Who publishes waits for as long as the disk
/// takes for one or two of them, so they are no larger than a disk needs to be busy.
const WINDOW_BYTES: u64 = 512 << 10;

/// A batch, as it was found and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// Where its entry lies.
    pub at: Position,
    /// What its entry says of itself.
    pub header: EntryHeader,
    /// The payload of its entry.
    pub payload: Bytes,
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The very first offsets wanted are damaged.
    #[error(
        "offsets {} to {} of partition {} are damaged at {}",
        .0.base, .0.last, .0.partition, .0.at
    )]
    Damaged(DamagedRange),
    /// The chunk can't be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Fault(fault) => fault,
            ReadError::Damaged(_) => Self::new(FaultKind::Corrupt, error.to_string()),
        }
    }
}

/// Reads batches from a chunk with a footer.
///
/// Gives as many as fit into the budget, but one in any case. None: there is nothing up to the end
/// of the request, and the reader goes on there.
///
/// # Errors
///
/// Damaged if the first batch is; a fault if the footer is damaged, or what the system says.
pub fn read_cold(
    file: &dyn ReadAt,
    footer: &Footer,
    request: &ColdRead,
) -> Result<Vec<FoundBatch>, ReadError> {
    read_from(file, blocks_of(file, footer, request)?, request)
}

fn read_from(
    file: &dyn ReadAt,
    mut blocks: Source<'_>,
    request: &ColdRead,
) -> Result<Vec<FoundBatch>, ReadError> {
    let mut gather = Gather::new(file, request);
    let mut number = blocks.holding(request.from)?;
    while number < blocks.count() && !gather.is_full() {
        let window = gather.window();
        let mut planned = Vec::new();
        let mut bytes = 0;
        while let Some(block) = blocks.get(number)? {
            let full = bytes > 0 && bytes >= window;
            if block.base >= request.end || full || blocks.is_lost(number) {
                break;
            }
            bytes += u64::from(block.bytes);
            planned.push((block, blocks.limit(number)?));
            number += 1;
        }
        let lost = blocks.is_lost(number);
        if planned.is_empty() && !lost {
            break;
        }
        gather.read(&planned)?;
        if lost && !gather.is_full() {
            gather.meet_hole(&mut blocks, number)?;
            number += 1;
        }
    }
    Ok(gather.found)
}

/// Reads tail entries of one partition, as many as lie in this chunk.
///
/// # Errors
///
/// Damaged if the first batch is; otherwise what the system says.
pub fn read_tail(
    file: &dyn ReadAt,
    partition: u64,
    entries: &[TailEntry],
) -> Result<Vec<FoundBatch>, ReadError> {
    let Some((first, last)) = entries.first().zip(entries.last()) else {
        return Ok(Vec::new());
    };
    let request = ColdRead {
        partition,
        chunk: file.chunk(),
        slot: 0,
        from: first.base,
        end: last.last.saturating_add(1),
        budget_bytes: usize::MAX,
    };
    let mut gather = Gather::new(file, &request);
    let here = entries
        .iter()
        .take_while(|entry| entry.at.chunk() == request.chunk);
    let mut planned = Vec::new();
    let mut bytes = 0;
    for entry in here {
        let block = Block {
            base: entry.base,
            max_timestamp: entry.max_timestamp,
            at: entry.at.offset(),
            bytes: u32::try_from(entry.bytes()).unwrap_or(u32::MAX),
        };
        bytes += entry.bytes();
        planned.push((block, entry.last.saturating_add(1)));
        if bytes >= WINDOW_BYTES {
            gather.read(&planned)?;
            if gather.is_full() {
                return Ok(gather.found);
            }
            planned.clear();
            bytes = 0;
        }
    }
    gather.read(&planned)?;
    Ok(gather.found)
}

/// Reads the batches among which the first with a timestamp of `timestamp` or more is.
///
/// They are those of the first block that has one; which of them it is, only their contents say. If
/// it is none of them, it lay below the start of the request: ask again from behind the last of them.
/// None: there is nothing up to the end of the request.
///
/// # Errors
///
/// As [`read_cold`].
pub fn find_by_time(
    file: &dyn ReadAt,
    footer: &Footer,
    request: &ColdRead,
    timestamp: i64,
) -> Result<Vec<FoundBatch>, ReadError> {
    first_from(file, blocks_of(file, footer, request)?, request, timestamp)
}

fn first_from(
    file: &dyn ReadAt,
    mut blocks: Source<'_>,
    request: &ColdRead,
    timestamp: i64,
) -> Result<Vec<FoundBatch>, ReadError> {
    let mut number = blocks.holding(request.from)?;
    while let Some(block) = blocks.get(number)? {
        if block.base >= request.end {
            break;
        }
        if block.max_timestamp >= timestamp {
            let found = read_block(file, request, &mut blocks, (number, block))?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        number += 1;
    }
    Ok(Vec::new())
}

/// The batches that [`find_by_max_time`] found, and what its block promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// They are those of one block.
    pub batches: Vec<FoundBatch>,
    /// The largest timestamp in the block. None of the batches has it if it lay below the start of
    /// the request: ask again from behind the last of them, and take the largest of all that is found.
    pub max_timestamp: i64,
}

/// Reads the batches among which the first with the largest timestamp is.
///
/// None: there is nothing up to the end of the request.
///
/// # Errors
///
/// As [`read_cold`].
pub fn find_by_max_time(
    file: &dyn ReadAt,
    footer: &Footer,
    request: &ColdRead,
) -> Result<Newest, ReadError> {
    newest_from(file, blocks_of(file, footer, request)?, request)
}

fn newest_from(
    file: &dyn ReadAt,
    mut blocks: Source<'_>,
    request: &ColdRead,
) -> Result<Newest, ReadError> {
    let mut request = *request;
    while let Some((number, block)) = newest_block(&mut blocks, &request)? {
        let batches = read_block(file, &request, &mut blocks, (number, block))?;
        if !batches.is_empty() {
            return Ok(Newest {
                batches,
                max_timestamp: block.max_timestamp,
            });
        }
        // Only a block that the start of the request lies in or behind has nothing that is wanted.
        request.from = request.from.max(blocks.limit(number)?);
    }
    Ok(Newest::default())
}

/// The first of the blocks with the largest timestamp.
fn newest_block(
    blocks: &mut Source<'_>,
    request: &ColdRead,
) -> Result<Option<(u32, Block)>, ReadError> {
    let mut number = blocks.holding(request.from)?;
    let mut best: Option<(u32, Block)> = None;
    while let Some(block) = blocks.get(number)? {
        if block.base >= request.end {
            break;
        }
        let wanted = blocks.limit(number)? > request.from;
        if wanted && best.is_none_or(|(_, best)| block.max_timestamp > best.max_timestamp) {
            best = Some((number, block));
        }
        number += 1;
    }
    Ok(best)
}

fn read_block(
    file: &dyn ReadAt,
    request: &ColdRead,
    blocks: &mut Source<'_>,
    (number, block): (u32, Block),
) -> Result<Vec<FoundBatch>, ReadError> {
    let whole = ColdRead {
        budget_bytes: usize::MAX,
        ..*request
    };
    let mut gather = Gather::new(file, &whole);
    if blocks.is_lost(number) {
        gather.meet_hole(blocks, number)?;
    } else {
        gather.read(&[(block, blocks.limit(number)?)])?;
    }
    Ok(gather.found)
}

fn blocks_of<'a>(
    file: &'a dyn ReadAt,
    footer: &Footer,
    request: &ColdRead,
) -> Result<Source<'a>, Fault> {
    let record = footer.slot(file, request.slot)?;
    if footer.chunk == request.chunk && record.partition == request.partition {
        return Ok(Source::Listed(footer.blocks(file, &record)));
    }
    let what = format!(
        "slot {} holds partition {}, not {}",
        request.slot, record.partition, request.partition
    );
    Err(corrupt(footer.chunk, what))
}

/// Where the blocks of a partition are known from.
enum Source<'a> {
    /// From the index pages of the footer.
    Listed(Blocks<'a>),
    /// From the entries themselves.
    Found(&'a Unlisted),
}

impl Source<'_> {
    fn count(&self) -> u32 {
        match self {
            Self::Listed(blocks) => blocks.count(),
            Self::Found(found) => found.count(),
        }
    }

    fn get(&mut self, number: u32) -> Result<Option<Block>, Fault> {
        match self {
            Self::Listed(blocks) => blocks.get(number),
            Self::Found(found) => Ok(found.place(number).map(|place| place.block)),
        }
    }

    fn limit(&mut self, number: u32) -> Result<i64, Fault> {
        match self {
            Self::Listed(blocks) => blocks.limit(number),
            Self::Found(found) => Ok(found.limit(number)),
        }
    }

    fn holding(&mut self, offset: i64) -> Result<u32, Fault> {
        match self {
            Self::Listed(blocks) => blocks.holding(offset),
            Self::Found(found) => Ok(found.holding(offset)),
        }
    }

    /// Whether it is no block, but bytes in which some may have been.
    fn is_lost(&self, number: u32) -> bool {
        match self {
            Self::Listed(_) => false,
            Self::Found(found) => found.place(number).is_some_and(|place| place.lost),
        }
    }
}

/// An answer that is being put together.
struct Gather<'a> {
    file: &'a dyn ReadAt,
    request: ColdRead,
    found: Vec<FoundBatch>,
    bytes: usize,
    /// The budget is used up, or damage was met.
    full: bool,
}

impl<'a> Gather<'a> {
    const fn new(file: &'a dyn ReadAt, request: &ColdRead) -> Self {
        Self {
            file,
            request: *request,
            found: Vec::new(),
            bytes: 0,
            full: false,
        }
    }

    const fn is_full(&self) -> bool {
        self.full
    }

    /// How many bytes to read next.
    fn window(&self) -> u64 {
        let left = self.request.budget_bytes.saturating_sub(self.bytes) as u64;
        left.min(WINDOW_BYTES)
    }

    /// Reads blocks, each with the first offset that is not in it, until the answer is full.
    fn read(&mut self, mut blocks: &[(Block, i64)]) -> Result<(), ReadError> {
        while !blocks.is_empty() && !self.full {
            let spans = spans_of(blocks);
            let count = spans.iter().map(|span| span.count).sum();
            let (now, rest) = blocks.split_at(count);
            self.read_spans(now, &spans)?;
            blocks = rest;
        }
        Ok(())
    }

    /// Reads spans into one piece of memory: an answer from a log chunk of many partitions has
    /// thousands of them, and allocators do badly with so many that are freed together.
    fn read_spans(&mut self, blocks: &[(Block, i64)], spans: &[Span]) -> Result<(), ReadError> {
        let bytes = self.load(spans)?;
        let wanted: usize = blocks.iter().map(|(block, _)| block.bytes as usize).sum();
        let copy = wanted * 2 < bytes.len();
        let (mut blocks, mut before) = (blocks.iter(), 0);
        for span in spans {
            for (block, limit) in blocks.by_ref().take(span.count) {
                let start = before + span.offset_of(block);
                let place = BlockPlace {
                    chunk: self.file.chunk(),
                    partition: self.request.partition,
                    at: block.at,
                    base: block.base,
                    limit: *limit,
                };
                let block = bytes.slice(start..start + block.bytes as usize);
                self.take_block(place, &block, copy)?;
                if self.full {
                    return Ok(());
                }
            }
            before += span.length();
        }
        Ok(())
    }

    /// The bytes of the spans, one behind the other.
    fn load(&self, spans: &[Span]) -> Result<Bytes, Fault> {
        let mut lease = Lease::of(spans.iter().map(Span::length).sum());
        let mut rest = lease.space();
        for span in spans {
            let into = rest.split_off_mut(..span.length()).unwrap_or_default();
            if self.file.read_at(into, span.from)? < span.length() {
                return Err(ends_before(self.file.chunk(), span.end));
            }
        }
        Ok(lease.into_bytes())
    }

    fn take_block(
        &mut self,
        place: BlockPlace,
        bytes: &Bytes,
        copy: bool,
    ) -> Result<(), ReadError> {
        for met in Walk::new(place, bytes) {
            let met = match met {
                Met::Unknown { number, at } => {
                    let what = format!("entry kind {number} at {at} is unknown to this version");
                    return Err(corrupt(place.chunk, what).into());
                }
                Met::Lost(range) if range.last < self.request.from => continue,
                Met::Lost(range) => return self.meet_damage(range),
                Met::Entry { last, .. } if last < self.request.from => continue,
                Met::Entry {
                    header,
                    at,
                    base,
                    last,
                    payload,
                } => FoundBatch {
                    base,
                    last,
                    at,
                    header,
                    payload: bytes.slice(payload),
                },
            };
            if !self.take(met, copy) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends the answer before bytes that say nothing, or says what of the request may have been in them.
    fn meet_hole(&mut self, blocks: &mut Source<'_>, number: u32) -> Result<(), ReadError> {
        let Some(block) = blocks.get(number)? else {
            return Ok(());
        };
        let base = block.base.max(self.request.from);
        let behind = blocks.limit(number)?.min(self.request.end);
        if behind <= base {
            // All that may have been in it lies outside what is wanted.
            return Ok(());
        }
        self.meet_damage(DamagedRange {
            partition: self.request.partition,
            base,
            last: behind - 1,
            at: Position::new(self.file.chunk(), block.at),
        })
    }

    /// Ends the answer before damage, or says so if there is nothing before it.
    fn meet_damage(&mut self, range: DamagedRange) -> Result<(), ReadError> {
        self.full = true;
        if self.found.is_empty() && range.base < self.request.end {
            return Err(ReadError::Damaged(range));
        }
        Ok(())
    }

    /// Adds a batch, if it is wanted and fits.
    fn take(&mut self, mut batch: FoundBatch, copy: bool) -> bool {
        let total = self.bytes.saturating_add(batch.payload.len());
        let over = total > self.request.budget_bytes && !self.found.is_empty();
        if batch.base >= self.request.end || over {
            self.full = true;
            return false;
        }
        if copy {
            batch.payload = Bytes::copy_from_slice(&batch.payload);
        }
        self.bytes = total;
        self.full = total >= self.request.budget_bytes;
        self.found.push(batch);
        !self.full
    }
}

/// Blocks that lie close together, and are read with what lies between them.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// How many blocks.
    count: usize,
    from: u64,
    end: u64,
}

impl Span {
    fn length(&self) -> usize {
        usize::try_from(self.end - self.from).unwrap_or(usize::MAX)
    }

    fn offset_of(&self, block: &Block) -> usize {
        usize::try_from(u64::from(block.at) - self.from).unwrap_or(usize::MAX)
    }
}

/// The spans that are read next: one, or as many as come to no more than two windows.
fn spans_of(mut blocks: &[(Block, i64)]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut bytes = 0;
    while let Some((first, _)) = blocks.first() {
        let (count, end) = span_of(first, blocks);
        let span = Span {
            count,
            from: u64::from(first.at),
            end,
        };
        bytes += end - span.from;
        if !spans.is_empty() && bytes > 2 * WINDOW_BYTES {
            break;
        }
        spans.push(span);
        blocks = blocks.get(count..).unwrap_or_default();
    }
    spans
}

/// How many blocks are read at once from the first on, and where the last of them ends.
fn span_of(first: &Block, blocks: &[(Block, i64)]) -> (usize, u64) {
    let mut end = first.end();
    let mut count = 1;
    for (block, _) in blocks.iter().skip(1) {
        let at = u64::from(block.at);
        let near = at >= end && at - end <= GAP_BYTES;
        if !near || block.end() - u64::from(first.at) > 2 * WINDOW_BYTES {
            break;
        }
        end = block.end();
        count += 1;
    }
    (count, end)
}
