//! What the sources of a pass hold, in order of partition and offset.

use std::cell::Cell;

use super::overlap;
use crate::access::ReadAt;
use crate::chunk::ChunkKind;
use crate::fault::{Fault, FaultKind};
use crate::footer::{Block, Blocks, Directory, DirectoryRecord, Footer};
use crate::frame::Salt;
use crate::position::ChunkId;
use crate::reader::Unlisted;

/// A source that counts what is read of it.
pub(super) struct Counted<'a> {
    file: &'a dyn ReadAt,
    read: Cell<u64>,
}

impl<'a> Counted<'a> {
    pub(super) const fn new(file: &'a dyn ReadAt) -> Self {
        Self {
            file,
            read: Cell::new(0),
        }
    }

    pub(super) const fn read_bytes(&self) -> u64 {
        self.read.get()
    }
}

impl ReadAt for Counted<'_> {
    fn chunk(&self) -> ChunkId {
        self.file.chunk()
    }

    fn salt(&self) -> Salt {
        self.file.salt()
    }

    fn bytes(&self) -> Result<u64, Fault> {
        self.file.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let read = self.file.read_at(buf, offset)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }

    fn read_new(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        let bytes = self.file.read_new(length, offset)?;
        self.read.set(self.read.get() + bytes.len() as u64);
        Ok(bytes)
    }
}

/// One directory record of one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) source: usize,
    /// Whether its source holds what was compacted.
    pub(super) clean: bool,
    pub(super) record: DirectoryRecord,
}

/// A source, and how far its directory was read.
struct Listed<'a> {
    file: &'a Counted<'a>,
    clean: bool,
    directory: Directory<'a>,
    next: Option<DirectoryRecord>,
    begun: bool,
    footer: Footer,
    /// The blocks of a record whose index pages are damaged.
    unlisted: Option<(DirectoryRecord, Vec<Block>)>,
    /// Kept from unit to unit, for the page in it: many units share one.
    blocks: Blocks<'a>,
}

impl Listed<'_> {
    fn advance(&mut self) -> Result<(), Fault> {
        self.next = self.directory.next().transpose()?.map(|(_, record)| record);
        Ok(())
    }

    /// A block of the newest record, and the first offset that is not in it.
    fn block(&mut self, number: u32) -> Result<Option<(Block, i64)>, Fault> {
        let Some(block) = self.blocks.get(number)? else {
            return Ok(None);
        };
        Ok(Some((block, self.blocks.limit(number)?)))
    }

    /// The blocks of a record whose index pages are damaged, if its entries give as many.
    fn find(&self, record: &DirectoryRecord) -> Result<Option<Vec<Block>>, Fault> {
        let from = u64::from(record.data_at);
        let range = (from, from + u64::from(record.data_bytes));
        let (kind, partition) = (self.footer.kind, record.partition);
        // What is written gets its times from what it is.
        let found = Unlisted::find_between(self.file, kind, range, partition, &|_| 0)?;
        let blocks = found.whole();
        Ok(blocks.filter(|blocks| blocks.len() == record.index_count as usize))
    }

    /// As [`Listed::block`], of what the entries gave.
    fn found(&self, number: u32) -> Option<(Block, i64)> {
        let (record, blocks) = self.unlisted.as_ref()?;
        let block = blocks.get(number as usize)?;
        let next = blocks.get(number as usize + 1);
        let end = record.last.saturating_add(1);
        Some((*block, next.map_or(end, |next| next.base)))
    }
}

/// All directories, merged.
pub(super) struct Units<'a> {
    sources: Vec<Listed<'a>>,
    newest: Option<(Unit, ChunkId)>,
}

impl<'a> Units<'a> {
    pub(super) fn new(sources: &'a [(&'a Counted<'a>, Footer)]) -> Self {
        let listed = sources.iter().map(|(file, footer)| Listed {
            file,
            clean: footer.kind == ChunkKind::Compacted,
            directory: footer.directory(*file),
            next: None,
            begun: false,
            footer: *footer,
            unlisted: None,
            blocks: footer.blocks(*file, &DirectoryRecord::EMPTY),
        });
        Self {
            sources: listed.collect(),
            newest: None,
        }
    }

    /// The next record in order, of whichever source.
    pub(super) fn next_unit(&mut self) -> Result<Option<Unit>, Fault> {
        let mut found: Option<Unit> = None;
        for (source, listed) in self.sources.iter_mut().enumerate() {
            if !listed.begun {
                listed.begun = true;
                listed.advance()?;
            }
            let Some(record) = listed.next else { continue };
            let key = (record.partition, record.first);
            if found.is_none_or(|unit| key < (unit.record.partition, unit.record.first)) {
                let clean = listed.clean;
                found = Some(Unit {
                    source,
                    clean,
                    record,
                });
            }
        }
        let Some(unit) = found else { return Ok(None) };
        let Some(listed) = self.sources.get_mut(unit.source) else {
            return Ok(None);
        };
        listed.advance()?;
        listed.blocks.turn_to(&unit.record);
        let chunk = listed.file.chunk();
        if let Some((before, held_by)) = self.newest.replace((unit, chunk)) {
            let (before, record) = (before.record, unit.record);
            if before.partition == record.partition && before.last >= record.first {
                return Err(overlap(held_by, chunk, record.partition));
            }
        }
        Ok(Some(unit))
    }

    /// A block of the newest unit, and the first offset that is not in it.
    pub(super) fn block(
        &mut self,
        unit: &Unit,
        number: u32,
    ) -> Result<Option<(Block, i64)>, Fault> {
        let Some(listed) = self.sources.get_mut(unit.source) else {
            return Ok(None);
        };
        match listed.block(number) {
            Err(fault) if fault.kind == FaultKind::Corrupt => {
                let known = listed.unlisted.as_ref().map(|(record, _)| *record);
                if known != Some(unit.record) {
                    let blocks = listed.find(&unit.record)?.ok_or(fault)?;
                    listed.unlisted = Some((unit.record, blocks));
                }
                Ok(listed.found(number))
            }
            other => other,
        }
    }

    pub(super) fn file(&self, source: usize) -> Option<&'a Counted<'a>> {
        self.sources.get(source).map(|listed| listed.file)
    }
}
