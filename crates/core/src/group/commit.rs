//! Committing and deleting offsets.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::change::Durable;
use super::command::{CommitOffsets, DeleteOffsets};
use super::draft::Draft;
use super::effect::Effect;
use super::held::Filling;
use super::live::{Live, Phase};
use super::offsets::{Committed, OffsetEntry, OffsetKey, Offsets};
use super::refusal::GroupRefusal;
use super::sync::beat;
use crate::machine::WallTime;

pub(super) fn commit(
    draft: &mut Draft<'_>,
    offsets: &Offsets,
    commit: CommitOffsets,
) -> Result<(), GroupRefusal> {
    if draft.before.exists() {
        check_committer(&draft.before.live, &commit)?;
    } else if commit.generation.0 < 0 {
        // A consumer that assigns itself, or an operator: the group begins to exist.
        draft.create()?;
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
    let (results, kept) = take_entries(draft, offsets, commit.entries)?;
    if !kept.is_empty() {
        draft.waited(Durable::OffsetsCommitted(kept));
    }
    draft.effect(Effect::Committed(results));
    Ok(())
}

type Taken = (Vec<Result<(), GroupRefusal>>, Vec<(OffsetKey, Committed)>);

/// Takes each offset whose note is short enough and for which there is room. A group that would begin
/// with less than was asked for does not begin.
fn take_entries(
    draft: &Draft<'_>,
    offsets: &Offsets,
    entries: Vec<OffsetEntry>,
) -> Result<Taken, GroupRefusal> {
    let (at, max) = (draft.now.wall, draft.settings.offset_metadata_max);
    let mut filling = Filling::new(offsets, &entries, draft.together, draft.settings);
    let mut results = Vec::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        // As Java counts, whose strings Kafka measures.
        let got = entry.metadata.encode_utf16().count();
        if got > max {
            results.push(Err(GroupRefusal::MetadataTooLarge { got, max }));
            continue;
        }
        match filling.take(&entry) {
            Ok(()) => {
                results.push(Ok(()));
                kept.push(committed(entry, at));
            }
            Err(why) if !draft.before.exists() => return Err(why),
            Err(why) => results.push(Err(why)),
        }
    }
    Ok((results, kept))
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
