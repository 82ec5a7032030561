//! One load of a pass: blocks in order of partition, fetched in order of place.

use super::output::Outputs;
use super::scan::Visit;
use super::units::{Unit, Units};
use super::{Keep, Live, Rewritten, Shelf};
use crate::access::{ReadAt, corrupt, ends_before};
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use crate::fault::Fault;
use crate::fields::u32_at;
use crate::footer::Block;
use crate::position::{ChunkId, Position};
use crate::walk::{BlockPlace, Met, Walk};
use mulgil_record::crc::crc32c;

/// Longer gaps are skipped: a disk that reads 2 GiB a second reads this in the time of a new read.
const GAP_BYTES: u64 = 128 << 10;
/// Bytes that are read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// Is told how many bytes were read, and may end the pass.
type Pace<'a> = dyn Fn(u64) -> Result<(), Fault> + 'a;

/// A block that is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    place: BlockPlace,
    source: usize,
    bytes: u32,
    keep: Keep,
    /// Whether it was compacted before.
    clean: bool,
    /// Where in the load's memory it goes.
    to: usize,
}

impl Wanted {
    const fn end(&self) -> u64 {
        self.place.at as u64 + self.bytes as u64
    }
}

/// Blocks that are read and written together.
#[derive(Debug)]
pub(super) struct Load {
    memory_bytes: usize,
    wanted: Vec<Wanted>,
    bytes: usize,
    memory: Vec<u8>,
    window: Vec<u8>,
}

impl Load {
    pub(super) const fn new(memory_bytes: usize) -> Self {
        Self {
            memory_bytes,
            wanted: Vec::new(),
            bytes: 0,
            memory: Vec::new(),
            window: Vec::new(),
        }
    }

    /// Whether another block fits. One always does.
    pub(super) fn has_room(&self, block: &Block) -> bool {
        let listed = (self.wanted.len() + 1) * (size_of::<Wanted>() + size_of::<u32>());
        let total = self.bytes + block.bytes as usize + listed;
        total <= self.memory_bytes || self.wanted.is_empty()
    }

    pub(super) fn want(&mut self, unit: &Unit, block: Block, limit: i64, keep: Keep) {
        self.wanted.push(Wanted {
            place: BlockPlace {
                chunk: ChunkId::NONE,
                partition: unit.record.partition,
                at: block.at,
                base: block.base,
                limit,
            },
            source: unit.source,
            bytes: block.bytes,
            keep,
            clean: unit.clean,
            to: self.bytes,
        });
        self.bytes += block.bytes as usize;
    }

    /// Fetches the blocks of each source, from front to back.
    pub(super) fn read(&mut self, units: &Units<'_>, pace: &Pace<'_>) -> Result<(), Fault> {
        self.memory.resize(self.bytes, 0);
        for wanted in &mut self.wanted {
            let file = units.file(wanted.source);
            wanted.place.chunk = file.map_or(ChunkId::NONE, ReadAt::chunk);
        }
        let mut order: Vec<u32> = (0..).take(self.wanted.len()).collect();
        let place = |wanted: &Wanted| (wanted.source, wanted.place.at);
        order.sort_unstable_by_key(|number| self.wanted.get(*number as usize).map(place));
        let mut span: Vec<Wanted> = Vec::new();
        for number in order {
            let Some(wanted) = self.wanted.get(number as usize).copied() else {
                continue;
            };
            if !joins(&span, &wanted) {
                self.read_span(units, &span, pace)?;
                span.clear();
            }
            span.push(wanted);
        }
        self.read_span(units, &span, pace)
    }

    /// Reads the bytes from the first to the last of some blocks, and keeps the blocks of them.
    fn read_span(
        &mut self,
        units: &Units<'_>,
        span: &[Wanted],
        pace: &Pace<'_>,
    ) -> Result<(), Fault> {
        let Some((first, last)) = span.first().zip(span.last()) else {
            return Ok(());
        };
        let Some(file) = units.file(first.source) else {
            return Ok(());
        };
        let (from, end) = (u64::from(first.place.at), last.end());
        let length = usize::try_from(end - from).unwrap_or(usize::MAX);
        let alone = span.len() == 1;
        let into = if alone {
            self.memory.get_mut(first.to..first.to + length)
        } else {
            self.window.resize(length, 0);
            Some(&mut self.window[..])
        };
        if file.read_at(into.unwrap_or_default(), from)? < length {
            return Err(ends_before(file.chunk(), end));
        }
        for wanted in span.iter().filter(|_| !alone) {
            let start = usize::try_from(u64::from(wanted.place.at) - from).unwrap_or(usize::MAX);
            let bytes = wanted.bytes as usize;
            let read = self.window.get(start..start + bytes);
            let memory = self.memory.get_mut(wanted.to..wanted.to + bytes);
            if let Some((memory, read)) = memory.zip(read) {
                memory.copy_from_slice(read);
            }
        }
        pace(length as u64)
    }

    /// Checks, judges and writes all that was fetched. Says how many bytes were dropped.
    pub(super) fn write(
        &mut self,
        live: &dyn Live,
        outputs: &mut Outputs<'_, '_>,
    ) -> Result<u64, Fault> {
        let mut dropped = 0;
        for wanted in &self.wanted {
            let bytes = self
                .memory
                .get(wanted.to..wanted.to + wanted.bytes as usize);
            dropped += write_block(wanted, bytes.unwrap_or_default(), live, outputs)?;
        }
        self.clear();
        Ok(dropped)
    }

    /// Shows all that was fetched and is whole.
    pub(super) fn visit(&mut self, visit: &mut dyn Visit) -> Result<(), Fault> {
        for wanted in &self.wanted {
            let bytes = self
                .memory
                .get(wanted.to..wanted.to + wanted.bytes as usize)
                .unwrap_or_default();
            for met in Walk::new(wanted.place, bytes) {
                match met {
                    Met::Entry {
                        header, payload, ..
                    } => visit.entry(&header, bytes.get(payload).unwrap_or_default()),
                    Met::Lost(_) => {}
                    Met::Unknown { number, at } => return Err(unknown(wanted, number, at)),
                }
            }
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.wanted.clear();
        self.bytes = 0;
    }
}

fn unknown(wanted: &Wanted, number: u16, at: Position) -> Fault {
    let what = format!("entry kind {number} at {at} is unknown to this version");
    corrupt(wanted.place.chunk, what)
}

/// Whether a block is read together with those before it.
fn joins(span: &[Wanted], next: &Wanted) -> bool {
    let Some((first, last)) = span.first().zip(span.last()) else {
        return true;
    };
    let at = u64::from(next.place.at);
    let near = next.source == first.source && at >= last.end() && at - last.end() <= GAP_BYTES;
    near && next.end() - u64::from(first.place.at) <= WINDOW_BYTES
}

fn write_block(
    wanted: &Wanted,
    bytes: &[u8],
    live: &dyn Live,
    outputs: &mut Outputs<'_, '_>,
) -> Result<u64, Fault> {
    let mut dropped = 0;
    for met in Walk::new(wanted.place, bytes) {
        let (header, base, last, payload) = match met {
            Met::Entry {
                header,
                base,
                last,
                payload,
                ..
            } => (header, base, last, payload),
            Met::Lost(range) => {
                outputs.damage(live, range);
                continue;
            }
            Met::Unknown { number, at } => return Err(unknown(wanted, number, at)),
        };
        let crc_at = payload.start - ENTRY_HEADER_BYTES + PAYLOAD_CRC_AT;
        let payload = bytes.get(payload).unwrap_or_default();
        let keep = match wanted.keep {
            Keep::Rewrite => live.live(header.object, base, last),
            Keep::All | Keep::None => wanted.keep,
        };
        let rewritten = match keep {
            Keep::All => Rewritten::AsIs,
            Keep::Rewrite => live.rewrite(&header, payload),
            Keep::None => Rewritten::Gone,
        };
        let crc = u32_at(bytes, crc_at);
        let mut moved = match &rewritten {
            Rewritten::AsIs => Moved::new(header, last, payload, crc, live),
            Rewritten::Payload(payload) => {
                Moved::new(header, last, payload, crc32c(&[payload]), live)
            }
            Rewritten::Gone => {
                dropped += header.total_bytes() as u64;
                continue;
            }
        };
        if wanted.clean {
            moved.shelf = Shelf::Clean;
        }
        dropped += (header.total_bytes() as u64).saturating_sub(moved.bytes());
        outputs.push(live, &moved)?;
    }
    Ok(dropped)
}

/// Where an entry's header holds the checksum of its payload.
const PAYLOAD_CRC_AT: usize = 28;

/// An entry on its way to its new place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved<'a> {
    pub(super) header: EntryHeader,
    pub(super) last: i64,
    pub(super) payload: &'a [u8],
    pub(super) payload_crc: u32,
    pub(super) max_timestamp: i64,
    pub(super) shelf: Shelf,
}

impl<'a> Moved<'a> {
    fn new(
        header: EntryHeader,
        last: i64,
        payload: &'a [u8],
        payload_crc: u32,
        live: &dyn Live,
    ) -> Self {
        Self {
            header,
            last,
            payload,
            payload_crc,
            max_timestamp: live.max_timestamp(&header, payload),
            shelf: live.shelf(header.object, header.base),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        crate::entry::entry_bytes(self.payload.len()) as u64
    }
}
