//! Going through sources in order of partition and offset, to learn what a pass has to know first.

use super::Source;
use super::load::Load;
use super::units::{Counted, Unit, Units};
use crate::entry::EntryHeader;
use crate::fault::Fault;

/// Is shown entries, in order of partition and offset.
pub trait Visit {
    /// Whether batches of `partition` between two offsets, both included, are to be shown. What lies
    /// in one block with them is shown along.
    fn wants(&self, partition: u64, base: i64, last: i64) -> bool;

    /// Takes an entry, which was checked. Those that are damaged are passed over.
    fn entry(&mut self, header: &EntryHeader, payload: &[u8]);

    /// Called after every mebibyte or so with what was read: to slow a pass down, or to end it.
    ///
    /// # Errors
    ///
    /// Whatever is to end the pass.
    fn pace(&self, bytes: u64) -> Result<(), Fault>;
}

/// Shows what is wanted of `sources`, with loads of `memory_bytes`. Says how many bytes were read.
///
/// # Errors
///
/// As those of [`super::regroup`].
pub fn scan(
    sources: &[Source<'_>],
    memory_bytes: usize,
    visit: &mut dyn Visit,
) -> Result<u64, Fault> {
    let counted: Vec<_> = sources
        .iter()
        .map(|source| Counted::new(source.file))
        .collect();
    let files: Vec<_> = counted
        .iter()
        .zip(sources)
        .map(|(file, source)| (file, source.footer))
        .collect();
    let mut units = Units::new(&files);
    let mut load = Load::new(memory_bytes);
    while let Some(unit) = units.next_unit()? {
        take(&unit, &mut units, &mut load, visit)?;
    }
    flush(&units, &mut load, visit)?;
    Ok(counted.iter().map(Counted::read_bytes).sum())
}

fn take(
    unit: &Unit,
    units: &mut Units<'_>,
    load: &mut Load,
    visit: &mut dyn Visit,
) -> Result<(), Fault> {
    let record = unit.record;
    if !visit.wants(record.partition, record.first, record.last) {
        return Ok(());
    }
    for number in 0..record.index_count {
        let Some((block, limit)) = units.block(unit, number)? else {
            break;
        };
        if !visit.wants(record.partition, block.base, limit - 1) {
            continue;
        }
        if !load.has_room(&block) {
            flush(units, load, visit)?;
        }
        load.want(unit, block, limit, super::Keep::All);
    }
    Ok(())
}

fn flush(units: &Units<'_>, load: &mut Load, visit: &mut dyn Visit) -> Result<(), Fault> {
    load.read(units, &|bytes| visit.pace(bytes))?;
    load.visit(visit)
}
