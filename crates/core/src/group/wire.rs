//! The bytes of a group's durable changes, and of its checkpoint.
//!
//! ```text
//! change      tag u8, then by tag:
//!   1 created            at u64
//!   2 begun              generation i32
//!   3 settled            generation i32, at u64, type text?, protocol text?, leader text?,
//!                        members u32, each: member, assignment blob
//!   4 replaced           old text, member
//!   5 offsets committed  count u32, each: topic u128, partition i32, offset i64, epoch i32?,
//!                        at u64, until u64?, note text
//!   6 offsets deleted    count u32, each: topic u128, partition i32
//!   7 topic forgotten    topic u128
//!   8 deleted
//! member      id text, instance text?, client id text, client host text, session ms u32,
//!             rebalance ms u32, offers u32, each: name text, metadata blob
//! text, blob  length u32, bytes         x?  0 u8, or 1 u8 and x
//! checkpoint  count u32, each: length u32, change
//! ```
//!
//! Numbers are little-endian. Who stores the bytes stores [`VERSION`] beside them. Whatever the
//! bytes, reading them takes memory in proportion to their length, and ends.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes};
use mulgil_record::ids::{LeaderEpoch, Offset, TopicId};

use super::Group;
use super::change::{Change, Durable};
use super::member::{Member, Offered, Settled, Settlement};
use super::names::{Generation, InstanceId, MemberId};
use super::offsets::{Committed, OffsetKey};
use super::settings::GroupSettings;
use crate::machine::{Machine, WallTime};

/// Version of the layout.
pub const VERSION: u8 = 1;

/// Why bytes are not a change of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a newer version.
    #[error("layout version {0} of a group's changes is unknown")]
    UnknownVersion(u8),
    /// A kind of change of a newer version.
    #[error("change of kind {0} is unknown")]
    UnknownChange(u8),
    /// The bytes end too soon, or not soon enough, or say what cannot be.
    #[error("the bytes are no change of a group")]
    Malformed,
}

/// Writes a change to the end of `out`.
pub fn encode(change: &Durable, out: &mut Vec<u8>) {
    match change {
        Durable::Created { at } => {
            out.put_u8(1);
            out.put_u64_le(at.0);
        }
        Durable::Begun { generation } => {
            out.put_u8(2);
            out.put_i32_le(generation.0);
        }
        Durable::Settled(settlement) => {
            out.put_u8(3);
            put_settlement(settlement, out);
        }
        Durable::Replaced { old, member } => {
            out.put_u8(4);
            put_text(&old.0, out);
            put_member(member, out);
        }
        Durable::OffsetsCommitted(entries) => {
            out.put_u8(5);
            put_count(entries.len(), out);
            for (key, committed) in entries {
                put_key(*key, out);
                put_committed(committed, out);
            }
        }
        Durable::OffsetsDeleted(keys) => {
            out.put_u8(6);
            put_count(keys.len(), out);
            for key in keys {
                put_key(*key, out);
            }
        }
        Durable::TopicForgotten(topic) => {
            out.put_u8(7);
            out.put_u128_le(topic.0);
        }
        Durable::Deleted => out.put_u8(8),
    }
}

/// Reads a change that fills all of `bytes`.
///
/// # Errors
///
/// The version or the change is unknown, or the bytes are no change.
pub fn decode(version: u8, bytes: &[u8]) -> Result<Durable, WireError> {
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let mut input = Input(bytes);
    let tag = input.u8().ok_or(WireError::Malformed)?;
    if !(1..=8).contains(&tag) {
        return Err(WireError::UnknownChange(tag));
    }
    let change = input.change(tag).ok_or(WireError::Malformed)?;
    if input.0.is_empty() {
        Ok(change)
    } else {
        Err(WireError::Malformed)
    }
}

/// Writes the group's checkpoint to the end of `out`.
pub fn encode_checkpoint(group: &Group, out: &mut Vec<u8>) {
    let changes = group.checkpoint();
    put_count(changes.len(), out);
    let mut bytes = Vec::new();
    for change in &changes {
        bytes.clear();
        encode(change, &mut bytes);
        put_blob(&bytes, out);
    }
}

/// Makes a group from its checkpoint.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_checkpoint(
    settings: GroupSettings,
    version: u8,
    bytes: &[u8],
) -> Result<Group, WireError> {
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let mut input = Input(bytes);
    let mut group = Group::new(settings);
    let count = input.u32().ok_or(WireError::Malformed)?;
    for _ in 0..count {
        let change = input.blob().ok_or(WireError::Malformed)?;
        group.apply(&Change::Durable(decode(version, change)?));
    }
    if input.0.is_empty() {
        Ok(group)
    } else {
        Err(WireError::Malformed)
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(count).expect("a decision holds fewer than 2^32 of anything"));
}

fn put_blob(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len(), out);
    out.put_slice(bytes);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_blob(text.as_bytes(), out);
}

fn put_maybe<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn put_key(key: OffsetKey, out: &mut Vec<u8>) {
    out.put_u128_le(key.topic.0);
    out.put_i32_le(key.partition);
}

fn put_committed(committed: &Committed, out: &mut Vec<u8>) {
    out.put_i64_le(committed.offset.0);
    put_maybe(committed.leader_epoch, out, |e, out| out.put_i32_le(e.0));
    out.put_u64_le(committed.at.0);
    put_maybe(committed.until, out, |t, out| out.put_u64_le(t.0));
    put_text(&committed.metadata, out);
}

fn put_member(member: &Member, out: &mut Vec<u8>) {
    put_text(&member.id.0, out);
    put_maybe(member.instance.as_ref(), out, |i, out| put_text(&i.0, out));
    put_text(&member.client_id, out);
    put_text(&member.client_host, out);
    out.put_u32_le(member.session_timeout_ms);
    out.put_u32_le(member.rebalance_timeout_ms);
    put_count(member.offered.len(), out);
    for offer in &member.offered {
        put_text(&offer.name, out);
        put_blob(&offer.metadata, out);
    }
}

fn put_settlement(settlement: &Settlement, out: &mut Vec<u8>) {
    out.put_i32_le(settlement.generation.0);
    out.put_u64_le(settlement.at.0);
    let text = |t: &str, out: &mut Vec<u8>| put_text(t, out);
    put_maybe(settlement.protocol_type.as_deref(), out, text);
    put_maybe(settlement.protocol.as_deref(), out, text);
    put_maybe(settlement.leader.as_ref(), out, |l, out| {
        put_text(&l.0, out);
    });
    put_count(settlement.members.len(), out);
    for settled in settlement.members.values() {
        put_member(&settled.member, out);
        put_blob(&settled.assignment, out);
    }
}

/// What is left to read. `None` from its methods means that it is not what was to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn wall(&mut self) -> Option<WallTime> {
        self.array().map(u64::from_le_bytes).map(WallTime)
    }

    fn blob(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.blob()?).ok()
    }

    fn bytes(&mut self) -> Option<Bytes> {
        self.blob().map(Bytes::copy_from_slice)
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// As many as a count says. Nothing is set aside for them beforehand.
    fn many<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn member_id(&mut self) -> Option<MemberId> {
        self.text().map(MemberId::from)
    }

    fn key(&mut self) -> Option<OffsetKey> {
        let topic = TopicId(self.array().map(u128::from_le_bytes)?);
        let partition = self.i32()?;
        Some(OffsetKey { topic, partition })
    }

    fn committed(&mut self) -> Option<(OffsetKey, Committed)> {
        let key = self.key()?;
        let committed = Committed {
            offset: Offset(self.array().map(i64::from_le_bytes)?),
            leader_epoch: self.maybe(Self::i32)?.map(LeaderEpoch),
            at: self.wall()?,
            until: self.maybe(Self::wall)?,
            metadata: Box::from(self.text()?),
        };
        Some((key, committed))
    }

    fn offer(&mut self) -> Option<Offered> {
        Some(Offered {
            name: Arc::from(self.text()?),
            metadata: self.bytes()?,
        })
    }

    fn member(&mut self) -> Option<Arc<Member>> {
        Some(Arc::new(Member {
            id: self.member_id()?,
            instance: self.maybe(Self::text)?.map(InstanceId::from),
            client_id: Arc::from(self.text()?),
            client_host: Arc::from(self.text()?),
            session_timeout_ms: self.u32()?,
            rebalance_timeout_ms: self.u32()?,
            offered: self.many(Self::offer)?,
        }))
    }

    fn settled(&mut self) -> Option<(MemberId, Settled)> {
        let member = self.member()?;
        let assignment = self.bytes()?;
        Some((member.id.clone(), Settled { member, assignment }))
    }

    fn settlement(&mut self) -> Option<Settlement> {
        Some(Settlement {
            generation: Generation(self.i32()?),
            at: self.wall()?,
            protocol_type: self.maybe(Self::text)?.map(Arc::from),
            protocol: self.maybe(Self::text)?.map(Arc::from),
            leader: self.maybe(Self::member_id)?,
            members: BTreeMap::from_iter(self.many(Self::settled)?),
        })
    }

    fn change(&mut self, tag: u8) -> Option<Durable> {
        Some(match tag {
            1 => Durable::Created { at: self.wall()? },
            2 => Durable::Begun {
                generation: Generation(self.i32()?),
            },
            3 => Durable::Settled(Arc::new(self.settlement()?)),
            4 => Durable::Replaced {
                old: self.member_id()?,
                member: self.member()?,
            },
            5 => Durable::OffsetsCommitted(self.many(Self::committed)?),
            6 => Durable::OffsetsDeleted(self.many(Self::key)?),
            7 => Durable::TopicForgotten(TopicId(self.array().map(u128::from_le_bytes)?)),
            8 => Durable::Deleted,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
