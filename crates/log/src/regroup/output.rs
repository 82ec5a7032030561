//! The chunks that a pass writes, one after the other.

use super::load::Moved;
use super::{Create, Keep, Live, Output, Regrouped, Shelf};
use crate::access::AppendTo;
use crate::append::Appender;
use crate::chunkset::ChunkInfo;
use crate::fault::Fault;
use crate::footer::FooterBuilder;
use crate::index::TailEntry;
use crate::recovery::DamagedRange;

/// A chunk ends below 4 GiB, and its footer has to fit, too.
const CHUNK_BYTES_MAX: u64 = (4 << 30) - (16 << 20);
/// Bytes between two calls of [`Live::pace`].
const PACE_BYTES: u64 = 1 << 20;

/// The chunk that is being written.
struct Open<'a> {
    out: Appender<Box<dyn Output + 'a>>,
    footer: FooterBuilder,
}

/// All chunks that a pass writes.
pub(super) struct Outputs<'c, 'a> {
    create: &'c mut Create<'a>,
    chunk_bytes: u64,
    /// Boundaries that were not reached yet.
    boundaries: &'c [(u64, i64)],
    /// By shelf.
    open: [Option<Open<'a>>; Shelf::ALL.len()],
    /// Partition and shelf of the newest entry.
    newest: Option<(u64, Shelf)>,
    damaged: Vec<DamagedRange>,
    unpaced: u64,
    done: Regrouped,
}

impl<'c, 'a> Outputs<'c, 'a> {
    pub(super) fn new(
        create: &'c mut Create<'a>,
        chunk_bytes: u64,
        boundaries: &'c [(u64, i64)],
    ) -> Self {
        Self {
            create,
            chunk_bytes: chunk_bytes.min(CHUNK_BYTES_MAX),
            boundaries,
            open: [const { None }; Shelf::ALL.len()],
            newest: None,
            damaged: Vec::new(),
            unpaced: 0,
            done: Regrouped::default(),
        }
    }

    /// Remembers that offsets are lost, if anybody could still ask for them.
    pub(super) fn damage(&mut self, live: &dyn Live, range: DamagedRange) {
        if live.live(range.partition, range.base, range.last) != Keep::None {
            self.damaged.push(range);
        }
    }

    /// Adds an entry at its new place.
    pub(super) fn push(&mut self, live: &dyn Live, moved: &Moved<'_>) -> Result<(), Fault> {
        let shelf = moved.shelf;
        let most = self.chunk_bytes;
        let full = self.opened(shelf).as_ref().is_some_and(|open| {
            let at = u64::from(open.out.position().offset());
            at + moved.bytes() + open.footer.bytes() > most
        });
        if full {
            self.close(shelf)?;
        }
        let key = (moved.header.object, moved.header.base);
        // What goes to one shelf must not enclose what goes to another.
        let before = self.newest.replace((moved.header.object, shelf));
        let mut split = before
            .is_some_and(|(partition, before)| partition == moved.header.object && before != shelf);
        while let Some((boundary, rest)) = self.boundaries.split_first()
            && *boundary <= key
        {
            self.boundaries = rest;
            split = true;
        }
        if split {
            let open = self.open.iter_mut().flatten();
            open.for_each(|open| open.footer.split());
        }
        let open = self.begun(shelf)?;
        let at = open
            .out
            .entry(moved.header, moved.payload_crc, &[moved.payload])?;
        let entry = TailEntry {
            base: moved.header.base,
            last: moved.last,
            at,
            length: u32::try_from(moved.payload.len()).expect("an entry is far below 4 GiB"),
            max_timestamp: moved.max_timestamp,
        };
        open.footer.entry(moved.header.object, &entry);
        self.unpaced += moved.bytes();
        if self.unpaced >= PACE_BYTES {
            live.pace(std::mem::take(&mut self.unpaced))?;
        }
        Ok(())
    }

    const fn opened(&mut self, shelf: Shelf) -> &mut Option<Open<'a>> {
        let [clean, keyed, plain] = &mut self.open;
        match shelf {
            Shelf::Clean => clean,
            Shelf::Keyed => keyed,
            Shelf::Plain => plain,
        }
    }

    fn begun(&mut self, shelf: Shelf) -> Result<&mut Open<'a>, Fault> {
        if self.opened(shelf).is_none() {
            let out = Appender::new((self.create)(shelf.kind())?);
            let footer = FooterBuilder::new(out.position().chunk(), shelf.kind());
            *self.opened(shelf) = Some(Open { out, footer });
        }
        let open = self.opened(shelf).as_mut();
        Ok(open.expect("it was opened just now"))
    }

    fn close(&mut self, shelf: Shelf) -> Result<(), Fault> {
        let Some(mut open) = self.opened(shelf).take() else {
            return Ok(());
        };
        let sealed = open.footer.finish(&mut open.out)?;
        open.out.into_inner()?.finish()?;
        self.done.chunks.push(ChunkInfo {
            chunk: sealed.footer.chunk,
            kind: shelf.kind(),
            bytes: sealed.footer.bytes,
        });
        self.done.bytes_written += sealed.footer.bytes;
        self.done.added.extend(sealed.extents);
        Ok(())
    }

    /// Writes down what is damaged, in a chunk that is open if there is one, and says what was done.
    pub(super) fn finish(mut self) -> Result<Regrouped, Fault> {
        if !self.damaged.is_empty() {
            let damaged = std::mem::take(&mut self.damaged);
            let mut shelves = Shelf::ALL.into_iter();
            let shelf = shelves.find(|shelf| self.opened(*shelf).is_some());
            let open = self.begun(shelf.unwrap_or(Shelf::Plain))?;
            damaged.iter().for_each(|range| open.footer.damage(*range));
            self.done.damaged_in = Some(open.out.position().chunk());
            self.done.damaged = damaged;
        }
        for shelf in Shelf::ALL {
            self.close(shelf)?;
        }
        let added = &mut self.done.added;
        added.sort_unstable_by_key(|(partition, extent)| (*partition, extent.first));
        Ok(self.done)
    }
}
