//! Committing and deleting offsets.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::change::Durable;
use super::command::{CommitOffsets, DeleteOffsets};
use super::draft::Draft;
use super::effect::Effect;
use super::live::{Live, Phase};
use super::offsets::{Committed, OffsetEntry, OffsetKey, Offsets};
use super::rebalance::look_later;
use super::refusal::GroupRefusal;
use super::sync::beat;
use crate::machine::WallTime;

pub(super) fn commit(draft: &mut Draft<'_>, commit: CommitOffsets) -> Result<(), GroupRefusal> {
    let at = draft.now.wall;
    if draft.before.exists() {
        check_committer(&draft.before.live, &commit)?;
    } else if commit.generation.0 < 0 {
        // A consumer that assigns itself, or an operator: the group begins to exist.
        draft.waited(Durable::Created { at });
        look_later(draft);
    } else {
        return Err(GroupRefusal::NoSuchGroup);
    }
    let live = &draft.before.live;
    if let Some(member) = commit.member
        && let Some(seat) = live.seats.get(&member)
        && matches!(live.phase, Phase::Stable | Phase::Preparing { .. })
    {
        beat(draft, member, seat);
    }
    let max = draft.settings.offset_metadata_max;
    let mut results = Vec::with_capacity(commit.entries.len());
    let mut kept = Vec::with_capacity(commit.entries.len());
    for entry in commit.entries {
        // As Java counts, whose strings Kafka measures.
        let got = entry.metadata.encode_utf16().count();
        if got > max {
            results.push(Err(GroupRefusal::MetadataTooLarge { got, max }));
        } else {
            results.push(Ok(()));
            kept.push(committed(entry, at));
        }
    }
    if !kept.is_empty() {
        draft.waited(Durable::OffsetsCommitted(kept));
    }
    draft.effect(Effect::Committed(results));
    Ok(())
}

fn committed(entry: OffsetEntry, at: WallTime) -> (OffsetKey, Committed) {
    let committed = Committed {
        offset: entry.offset,
        leader_epoch: entry.leader_epoch,
        metadata: entry.metadata,
        at,
        until: entry.retention_ms.map(|ms| at.plus_ms(ms)),
    };
    (entry.key, committed)
}

/// Checks who commits (`ClassicGroup.validateOffsetCommit`).
fn check_committer(live: &Live, commit: &CommitOffsets) -> Result<(), GroupRefusal> {
    let (got, current) = (commit.generation, live.generation);
    if got.0 < 0 && live.phase == Phase::Empty {
        return Ok(());
    }
    let Some(member) = &commit.member else {
        return Err(GroupRefusal::UnknownMember);
    };
    live.check_member(member, commit.instance.as_ref())?;
    if got != current {
        return Err(GroupRefusal::IllegalGeneration { got, current });
    }
    // The member knows the newest generation, but not yet what it may read in it.
    if live.phase == Phase::Completing {
        return Err(GroupRefusal::RebalanceInProgress);
    }
    Ok(())
}

/// Deletes offsets of an empty group, or those that a living one does not read (KIP-496).
///
/// What a living group reads is written in its members' metadata, which the group cannot read;
/// whoever asks says so, and of which generation.
pub(super) fn delete_offsets(
    draft: &mut Draft<'_>,
    offsets: &Offsets,
    delete: DeleteOffsets,
) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let mut topics = BTreeSet::new();
    if live.phase != Phase::Empty {
        let members = live.seats.len();
        let said = delete
            .subscribed
            .ok_or(GroupRefusal::NotEmpty { members })?;
        let (got, current) = (said.generation, live.generation);
        if got != current {
            return Err(GroupRefusal::IllegalGeneration { got, current });
        }
        topics.extend(said.topics);
    }
    let in_use = |key: &OffsetKey| topics.contains(&key.topic);
    let check = |key: &OffsetKey| {
        if in_use(key) {
            Err(GroupRefusal::TopicInUse)
        } else {
            Ok(())
        }
    };
    let results = delete.keys.iter().map(check).collect();
    let is_gone = |key: &&OffsetKey| !in_use(key) && offsets.kept.contains_key(*key);
    let gone: Vec<OffsetKey> = delete.keys.iter().filter(is_gone).copied().collect();
    if !gone.is_empty() {
        draft.waited(Durable::OffsetsDeleted(gone));
    }
    draft.effect(Effect::OffsetsDeleted(results));
    Ok(())
}
