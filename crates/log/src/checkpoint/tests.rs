//! Checkpoints: round trips, and damage that is found.

use proptest::prelude::*;

use super::*;
use crate::access::memory::MemChunk;
use crate::position::ChunkId;

fn position(offset: u32) -> Position {
    Position::new(ChunkId(3), offset)
}

/// Kind, object, offset of the position that it is good for, content.
type Object = (u16, u64, u32, Vec<u8>);

fn write(objects: &[Object]) -> (MemChunk, CheckpointEnd) {
    let mut writer = CheckpointWriter::new(MemChunk::new(5), position(9999));
    for (kind, object, good_for, content) in objects {
        let good_for = position(*good_for);
        writer.object(*kind, *object, good_for, content).unwrap();
    }
    writer.finish().unwrap()
}

fn read(chunk: &MemChunk) -> Result<Vec<Object>, Fault> {
    let mut reader = CheckpointReader::open(chunk)?;
    let mut found = Vec::new();
    while let Some(object) = reader.next_object()? {
        let content = object.content.to_vec();
        found.push((
            object.kind,
            object.object,
            object.good_for.offset(),
            content,
        ));
    }
    Ok(found)
}

fn objects() -> Vec<Object> {
    vec![
        (1, 7, 500, vec![1; 10]),
        (1, 8, 400, vec![]),
        (2, 7, 600, (0..=255).cycle().take(200_000).collect()),
        (3, u64::MAX, 9000, vec![9; CONTENT_BYTES]),
        (3, 0, 9000, vec![9; CONTENT_BYTES + 1]),
    ]
}

#[test]
fn objects_come_back_and_replay_begins_at_the_smallest_position() {
    let (chunk, end) = write(&objects());
    assert_eq!(end.from, position(400));
    assert_eq!((end.objects, end.pages), (5, 1 + 1 + 4 + 1 + 2));
    assert_eq!(CheckpointReader::open(&chunk).unwrap().end(), end);
    assert_eq!(read(&chunk).unwrap(), objects());
    let (empty, end) = write(&[]);
    assert_eq!(end.from, position(9999));
    assert_eq!(read(&empty).unwrap(), []);
}

#[test]
fn no_page_is_longer_than_it_may_be() {
    let (chunk, _) = write(&objects());
    let mut reader = CheckpointReader::open(&chunk).unwrap();
    let mut largest = 0;
    while let Some(page) = reader.next_page().unwrap() {
        largest = largest.max(entry_bytes(page.content.len() + PREFIX_BYTES));
    }
    assert_eq!(largest, CHECKPOINT_PAGE_BYTES);
}

#[test]
fn every_flipped_bit_is_named() {
    let (mut chunk, _) = write(&[(1, 7, 500, vec![1; 10]), (2, 8, 400, vec![5; 70_000])]);
    for byte in (4096..chunk.bytes.len()).filter(|at| at % 97 == 0 || at % 8192 < 200) {
        let padding = (4096 + 40 + 26..4096 + 72).contains(&byte);
        chunk.bytes[byte] ^= 4;
        match read(&chunk) {
            Err(fault) => assert!(fault.what.contains("chunk 0000000005"), "{fault}"),
            Ok(_) => assert!(padding || byte > 70_000, "byte {byte}"),
        }
        chunk.bytes[byte] ^= 4;
    }
    chunk.bytes[4096 + 72 + 40 + 16 + 1000] ^= 1;
    let fault = read(&chunk).unwrap_err().to_string();
    assert!(fault.contains("page of object 8 at byte 4168"), "{fault}");
}

#[test]
fn a_checkpoint_cut_short_or_lengthened_is_not_complete() {
    let (whole, _) = write(&objects());
    for cut in (0..whole.bytes.len()).rev().step_by(1009) {
        let mut chunk = whole.clone();
        chunk.bytes.truncate(cut);
        assert!(read(&chunk).is_err(), "cut at {cut}");
    }
    let mut longer = whole;
    longer.append(&[0; 64]).unwrap();
    assert!(read(&longer).is_err());
}

#[test]
fn a_page_that_is_left_out_or_comes_twice_is_missed() {
    let (whole, end) = write(&objects());
    let end_at = whole.bytes.len() - END_BYTES;
    // An end page that counts less than there is, rightly written.
    for (pages, objects) in [(end.pages - 1, 5), (end.pages + 1, 5), (end.pages, 4)] {
        let mut chunk = whole.clone();
        chunk.bytes.truncate(end_at);
        let mut out = Appender::new(chunk);
        let header = page_header(FLAG_END, 0, pages.cast_signed(), objects);
        out.new_entry(header, &[&[0; PREFIX_BYTES]]).unwrap();
        let chunk = out.into_inner().unwrap();
        assert!(read(&chunk).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_objects_come_back(
        objects in proptest::collection::vec(
            (any::<u16>(), any::<u64>(), any::<u32>(), 0..150_000_usize),
            0..8,
        )
    ) {
        let objects: Vec<_> = objects
            .into_iter()
            .map(|(kind, object, good_for, length)| {
                let content = (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect();
                (kind, object, good_for, content)
            })
            .collect();
        let (chunk, _) = write(&objects);
        prop_assert_eq!(read(&chunk).unwrap(), objects);
    }

    #[test]
    fn any_bytes_are_an_error_and_not_a_panic(bytes: Vec<u8>) {
        let mut chunk = MemChunk::new(5);
        chunk.append(&bytes).unwrap();
        prop_assert!(read(&chunk).is_err());
    }
}
