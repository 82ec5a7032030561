//! Chunks that will not change any more: footers, cold reads through them, checkpoints, the set.

use mulgil_log::access::{AppendTo, ReadAt};
use mulgil_log::checkpoint::CheckpointReader;
use mulgil_log::chunk::CHUNK_HEADER_BYTES;
use mulgil_log::chunkset::{ChunkSet, ChunkSetChange};
use mulgil_log::disk::Recording;
use mulgil_log::fault::Fault;
use mulgil_log::footer::{DAMAGE_BYTES, Footer, FooterBuilder};
use mulgil_log::frame::Salt;
use mulgil_log::index::ColdRead;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::reader;

use crate::mend;

/// Most blocks of one directory record that are looked at.
const LOOKED_MAX: u32 = 100;

/// A chunk in memory, which begins with a page of zeroes in place of its header.
#[derive(Clone, Debug)]
pub(crate) struct Chunk(pub(crate) Vec<u8>);

impl Chunk {
    pub(crate) const ID: ChunkId = ChunkId(3);

    /// The chunk whose entries and footer are `body`.
    pub(crate) fn new(body: &[u8]) -> Self {
        Self([&[0; CHUNK_HEADER_BYTES as usize], body].concat())
    }

    /// What lies behind the header.
    pub(crate) fn body(&self) -> &[u8] {
        self.0
            .get(CHUNK_HEADER_BYTES as usize..)
            .unwrap_or_default()
    }
}

impl ReadAt for Chunk {
    fn chunk(&self) -> ChunkId {
        Self::ID
    }

    fn salt(&self) -> Salt {
        Salt::NONE
    }

    fn bytes(&self) -> Result<u64, Fault> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.0.get(from..).unwrap_or_default();
        let read = there.len().min(buf.len());
        let (to, from) = (buf.get_mut(..read), there.get(..read));
        to.unwrap_or_default()
            .copy_from_slice(from.unwrap_or_default());
        Ok(read)
    }
}

impl AppendTo for Chunk {
    fn position(&self) -> Position {
        Position::new(
            Self::ID,
            u32::try_from(self.0.len()).expect("a small chunk"),
        )
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let at = self.position();
        self.0.extend_from_slice(bytes);
        Ok(at)
    }
}

pub(super) fn footer(bytes: &[u8]) {
    let (mended, body) = mend::choice(bytes);
    let mut chunk = Chunk::new(&body);
    if mended {
        mend::footer(&mut chunk.0, Chunk::ID.0);
    }
    let Ok(footer) = Footer::open(&chunk) else {
        return;
    };
    let ranges = footer.damaged_ranges(&chunk).unwrap_or_default();
    assert!(ranges.len() * DAMAGE_BYTES <= chunk.0.len());
    let Ok(extents) = footer.extents(&chunk) else {
        return;
    };
    for (number, (partition, extent)) in (0..).zip(&extents) {
        let record = footer.slot(&chunk, number).expect("its directory was read");
        assert_eq!((record.partition, record.first), (*partition, extent.first));
        let mut blocks = footer.blocks(&chunk, &record);
        for block in 0..blocks.count().min(LOOKED_MAX) {
            if let Ok(Some(block)) = blocks.get(block) {
                assert!(block.end() <= footer.at, "a block lies among the entries");
            }
        }
        for from in [extent.first, extent.last, i64::MIN, i64::MAX] {
            read(&chunk, &footer, (*partition, number), from);
        }
    }
}

fn read(chunk: &Chunk, footer: &Footer, (partition, slot): (u64, u32), from: i64) {
    let request = ColdRead {
        partition,
        chunk: Chunk::ID,
        slot,
        from,
        end: i64::MAX,
        budget_bytes: 4096,
    };
    let found = reader::read_cold(chunk, footer, &request).unwrap_or_default();
    for pair in found.windows(2) {
        if let [before, after] = pair {
            assert!(before.last < after.base, "offsets rise");
        }
    }
    for batch in &found {
        assert!(batch.last >= from, "what was read was asked for");
    }
    let _found = reader::find_by_time(chunk, footer, &request, 500);
    let _found = reader::find_by_max_time(chunk, footer, &request);
}

pub(super) fn checkpoint(bytes: &[u8]) {
    let (mended, body) = mend::choice(bytes);
    let mut chunk = Chunk::new(&body);
    if mended {
        let entries = chunk.0.get_mut(CHUNK_HEADER_BYTES as usize..);
        mend::entries(entries.unwrap_or_default(), CHUNK_HEADER_BYTES);
    }
    let Ok(mut reader) = CheckpointReader::open(&chunk) else {
        return;
    };
    let mut content = 0;
    while let Ok(Some(object)) = reader.next_object() {
        content += object.content.len();
    }
    assert!(
        content <= bytes.len(),
        "a checkpoint says no more than it holds"
    );
    let Ok(mut reader) = CheckpointReader::open(&chunk) else {
        return;
    };
    while let Ok(Some(page)) = reader.next_page() {
        assert!(page.page < page.pages);
    }
}

pub(super) fn chunk_set(bytes: &[u8]) {
    let Ok(change) = ChunkSetChange::decode(bytes) else {
        return;
    };
    assert_eq!(
        ChunkSetChange::decode(&change.encode()).as_ref(),
        Ok(&change)
    );
    let mut set = ChunkSet::default();
    set.apply(&change);
    let mut copy = ChunkSet::default();
    copy.apply(&set.to_change());
    assert_eq!(copy, set);
}

pub(super) fn recording(bytes: &[u8]) {
    let recording = Recording::parse(bytes::Bytes::copy_from_slice(bytes));
    // Numbers need not begin at 0, but what is read is bounded by what is there.
    assert!(recording.ops().len() <= bytes.len());
}

/// A footer over these entries, for the seeds.
pub(crate) fn close(mut chunk: Chunk, builder: FooterBuilder) -> Chunk {
    builder.finish(&mut chunk).expect("memory takes it");
    chunk
}
