//! What machines leave behind: changes of metadata and groups, checkpoints of groups and partitions.

use mulgil_core::group::wire as group_wire;
use mulgil_core::group::{Group, GroupSettings};
use mulgil_core::partition::wire as partition_wire;
use mulgil_meta::state::Change;

pub(super) fn meta_change(bytes: &[u8]) {
    if let Ok(change) = Change::decode(bytes) {
        assert_eq!(Change::decode(&change.encode()), Ok(change));
    }
}

pub(super) fn group_change(bytes: &[u8]) {
    if let Ok(change) = group_wire::decode(group_wire::VERSION, bytes) {
        let mut again = Vec::new();
        group_wire::encode(&change, &mut again);
        assert_eq!(group_wire::decode(group_wire::VERSION, &again), Ok(change));
    }
}

pub(super) fn group_checkpoint(bytes: &[u8]) {
    let read = |bytes: &[u8]| -> Option<Group> {
        group_wire::decode_checkpoint(GroupSettings::default(), group_wire::VERSION, bytes).ok()
    };
    let write = |group: &Group| {
        let mut out = Vec::new();
        group_wire::encode_checkpoint(group, &mut out);
        out
    };
    let Some(group) = read(bytes) else {
        return;
    };
    let once = write(&group);
    let again = read(&once).expect("a checkpoint that was just written");
    assert_eq!(again.checkpoint(), group.checkpoint());
    assert_eq!(write(&again), once);
}

pub(super) fn partition_state(bytes: &[u8]) {
    let Ok(partition) = partition_wire::decode(bytes) else {
        return;
    };
    let mut again = Vec::new();
    partition_wire::encode(&partition, &mut again);
    assert_eq!(partition_wire::decode(&again), Ok(partition));
}
