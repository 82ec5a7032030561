//! What the keeper takes upon itself while room is short.

use super::*;
use mulgil_log::regroup::ChunkUse;

const MIB: u64 = 1 << 20;

#[test]
fn a_pass_leaves_the_reserve_alone_and_on_a_full_disk_its_last_share() {
    let options = KeeperOptions::default();
    let roomy = bounds(&options, false, 10 << 30);
    assert_eq!(roomy.space_left, (10 << 30) - 768 * MIB);
    assert_eq!(roomy.total_min, options.regroup_bytes);
    assert!(!roomy.freeing);
    let full = bounds(&options, true, 300 * MIB);
    assert_eq!(full.space_left, 300 * MIB - 96 * MIB);
    assert!(full.freeing);
    assert_eq!(bounds(&options, true, 95 * MIB).space_left, 0);
}

#[test]
fn on_a_full_disk_one_chunk_is_taken_and_only_if_it_fits_above_the_last_share() {
    let options = KeeperOptions::default();
    let logs = (1..=20).map(|id| ChunkUse {
        chunk: ChunkId(id),
        kind: ChunkKind::Log,
        bytes: 256 * MIB,
        live: 100 * MIB,
    });
    let logs: Vec<_> = logs.collect();
    assert_eq!(plan(&logs, &bounds(&options, false, 10 << 30)).len(), 20);
    assert_eq!(
        plan(&logs, &bounds(&options, true, 700 * MIB)),
        [ChunkId(1)]
    );
    // What lives in it, its footer, and the last share.
    let enough = 96 + 100 + 4 + 1;
    assert_eq!(plan(&logs, &bounds(&options, true, enough * MIB)).len(), 1);
    assert!(plan(&logs, &bounds(&options, true, (enough - 2) * MIB)).is_empty());
}
