//! Sorted and log chunks with footers, checkpoints, changes of the set, a recording of a disk.

use mulgil_log::access::AppendTo;
use mulgil_log::checkpoint::CheckpointWriter;
use mulgil_log::chunk::ChunkKind;
use mulgil_log::chunkset::{ChunkInfo, ChunkSetChange};
use mulgil_log::disk::DiskOp;
use mulgil_log::entry::{EntryHeader, EntryKind, entry_bytes};
use mulgil_log::footer::FooterBuilder;
use mulgil_log::index::TailEntry;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::DamagedRange;
use mulgil_record::crc::crc32c;

use super::{Seed, both};
use crate::targets::{Chunk, close};

fn put(chunk: &mut Chunk, partition: u64, base: i64) -> TailEntry {
    let at = chunk.position();
    let payload = [partition.to_le_bytes()[0]; 30];
    let header = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: 30,
        object: partition,
        base,
        count: 2,
    };
    let head = header.encode(at.offset(), crc32c(&[&payload]));
    let end = chunk.0.len() + entry_bytes(payload.len());
    chunk.0.extend_from_slice(&head);
    chunk.0.extend_from_slice(&payload);
    chunk.0.resize(end, 0);
    TailEntry {
        base,
        last: base + 1,
        at,
        length: 30,
        max_timestamp: base * 100,
    }
}

fn closed(kind: ChunkKind, partitions: u64, each: i64) -> Vec<u8> {
    let mut chunk = Chunk::new(&[]);
    let mut builder = FooterBuilder::new(Chunk::ID, kind);
    for partition in 1..=partitions {
        for batch in 0..each {
            let entry = put(&mut chunk, partition, batch * 3);
            builder.entry(partition, &entry);
        }
    }
    builder.damage(DamagedRange {
        partition: 1,
        base: 500,
        last: 510,
        at: Position::new(Chunk::ID, 4096),
    });
    close(chunk, builder).body().to_vec()
}

pub(crate) fn footer() -> Vec<Seed> {
    let mut seeds = both("log", &closed(ChunkKind::Log, 3, 4)).to_vec();
    seeds.extend(both("sorted", &closed(ChunkKind::Sorted, 3, 4)));
    seeds.extend(both("empty", &closed(ChunkKind::Sorted, 0, 0)));
    seeds
}

pub(crate) fn checkpoint() -> Vec<Seed> {
    let write = |contents: &[&[u8]]| {
        let now = Position::new(ChunkId(2), 8192);
        let mut writer = CheckpointWriter::new(Chunk::new(&[]), now);
        for (number, content) in (0..).zip(contents) {
            let good_for = Position::new(ChunkId(1), 4096 + number * 64);
            let (kind, object) = (1, u64::from(number));
            writer
                .object(kind, object, good_for, content)
                .expect("memory takes it");
        }
        let (chunk, _) = writer.finish().expect("memory takes it");
        chunk.body().to_vec()
    };
    let long = vec![7; 70_000];
    let mut seeds = both("small", &write(&[b"one", b"", b"three"])).to_vec();
    seeds.extend(both("empty", &write(&[])));
    let [_, long] = both("long", &write(&[&long]));
    seeds.push(long);
    seeds
}

pub(crate) fn chunk_set() -> Vec<Seed> {
    let info = |chunk, kind| ChunkInfo {
        chunk: ChunkId(chunk),
        kind,
        bytes: u64::from(chunk) << 20,
    };
    let change = ChunkSetChange {
        added: vec![info(7, ChunkKind::Sorted), info(8, ChunkKind::Checkpoint)],
        removed: vec![ChunkId(3), ChunkId(4), ChunkId(5)],
    };
    let none = ChunkSetChange::default();
    vec![
        ("full".to_owned(), change.encode()),
        ("none".to_owned(), none.encode()),
    ]
}

pub(crate) fn recording() -> Vec<Seed> {
    let ops = [
        DiskOp::Create {
            file: 1,
            name: "a".to_owned(),
        },
        DiskOp::SyncNames,
    ];
    let bytes = (0..).zip(&ops).flat_map(|(number, op)| op.encode(number));
    vec![("ops".to_owned(), bytes.collect())]
}
