//! Sorted chunks whose header, directory or trailer is damaged: all of it can be told again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mulgil_log::footer::{Footer, PAGE_BYTES};
use mulgil_record::ids::PartitionId;

use crate::running::{end, files, open, open_with, runtime};
use crate::{append, check, create, forever, named, opened, trim};

/// Fills a directory until chunks are regrouped; says where the partitions end.
fn regrouped(dir: &Path) -> BTreeMap<PartitionId, i64> {
    let mut ends = BTreeMap::new();
    let broker = open(dir);
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let ids = create(&broker, forever()).await;
                while files(dir, ".sorted") == 0 {
                    for id in &ids {
                        let end = ends.entry(*id).or_insert(0);
                        append(&broker, *id, *end, 10).await;
                        *end += 10;
                    }
                }
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    ends
}

/// Turns a bit around at each of these places.
fn flip(path: &Path, places: &[usize]) {
    let mut bytes = std::fs::read(path).unwrap();
    for at in places {
        bytes[*at] ^= 1 << (at % 8);
    }
    std::fs::write(path, bytes).unwrap();
}

/// A start on what is there, which is read back; passes move everything if `moves`.
fn read_back(dir: &Path, ends: &mut BTreeMap<PartitionId, i64>, moves: bool) {
    let regroup_bytes = if moves { 1 } else { u64::MAX };
    let broker = open_with(dir, |keeper| keeper.regroup_bytes = regroup_bytes);
    let before = named(dir, "sorted");
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                for (id, end) in &*ends {
                    check(&broker, *id, 0, *end).await;
                }
                // A sorted chunk is worth a pass when less than half of it lives.
                let starts: BTreeMap<_, _> = ends
                    .iter()
                    .map(|(id, end)| (*id, if moves { end * 2 / 5 } else { 0 }))
                    .collect();
                for (id, start) in starts.iter().filter(|_| moves) {
                    trim(&broker, *id, *start).await;
                }
                let gone = |path: &PathBuf| !path.exists();
                let (id, end) = ends.iter_mut().next().unwrap();
                while moves && !before.iter().all(gone) {
                    append(&broker, *id, *end, 50).await;
                    *end += 50;
                    assert!(*end < 500_000, "the damaged chunk is left out");
                }
                for (id, end) in &*ends {
                    check(&broker, *id, starts[id], *end).await;
                }
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
}

#[test]
fn a_sorted_chunk_is_read_and_regrouped_though_what_names_its_parts_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = regrouped(dir.path());
    let path = named(dir.path(), "sorted").swap_remove(0);
    let footer = Footer::open(&*opened(dir.path(), &path)).unwrap();
    let bytes = usize::try_from(footer.bytes).unwrap();
    let directory = usize::try_from(footer.at).unwrap() + PAGE_BYTES * footer.index_pages as usize;
    let whole = std::fs::read(&path).unwrap();
    for places in [
        // Both copies of the header, a record of the directory, the trailer.
        [9, 2_048 + 9],
        [directory + 70, directory + 70 + 64],
        [bytes - 9, bytes - 30],
    ] {
        flip(&path, &places);
        read_back(dir.path(), &mut ends, false);
        std::fs::write(&path, &whole).unwrap();
    }
    // Two things beside each other: only the entries say what they were.
    let page = usize::try_from(footer.at).unwrap() + 40;
    for places in [
        vec![9, 2_048 + 9, directory + 6, directory + 70, bytes - 30],
        vec![page, bytes - 30],
        // All records and the trailer: nobody knows how many there were.
        (directory..bytes - 64)
            .step_by(64)
            .chain([bytes - 30])
            .collect(),
    ] {
        flip(&path, &places);
        read_back(dir.path(), &mut ends, false);
        std::fs::write(&path, &whole).unwrap();
    }
    flip(&path, &[9, 2_048 + 9, page, directory + 6, directory + 70]);
    read_back(dir.path(), &mut ends, true);
}
