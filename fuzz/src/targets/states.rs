//! What machines leave behind: changes of metadata, groups and subscriptions, and checkpoints of
//! groups, partitions and subscriptions.

use mulgil_core::group::wire as group_wire;
use mulgil_core::group::{Group, GroupSettings};
use mulgil_core::partition::wire as partition_wire;
use mulgil_core::queue::snapshot::Loader;
use mulgil_core::queue::wire as queue_wire;
use mulgil_core::queue::{Settings, Subscription};
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

pub(super) fn queue_change(bytes: &[u8]) {
    if let Ok(change) = queue_wire::decode(queue_wire::VERSION, bytes) {
        let mut again = Vec::new();
        queue_wire::encode(&change, &mut again);
        assert_eq!(again, bytes);
    }
}

/// A head and its pages, each behind its length: two bytes, little-endian.
fn queue_parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        parts.push(part);
        bytes = rest;
    }
    parts
}

fn queue_read(parts: &[&[u8]]) -> Option<Subscription> {
    let (head, pages) = parts.split_first()?;
    let mut loader = Loader::new(Settings::default(), head).ok()?;
    for page in pages {
        loader.page(page).ok()?;
    }
    Some(loader.finish())
}

pub(super) fn queue_checkpoint(bytes: &[u8]) {
    let Some(mut queue) = queue_read(&queue_parts(bytes)) else {
        return;
    };
    queue.all_changed();
    let mut head = Vec::new();
    queue.write_head(&mut head);
    let mut written = vec![head];
    for id in queue.changed_pages() {
        let mut page = Vec::new();
        if queue.write_page(id, &mut page) {
            written.push(page);
        }
    }
    let parts: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
    let again = queue_read(&parts).expect("pages that were just written");
    assert_eq!(again, queue);
}
