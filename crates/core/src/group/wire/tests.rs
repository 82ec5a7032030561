//! Every change comes back as it was, and no bytes bring the reader down.

use std::string::String;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé]{0,8}"
}

fn member() -> impl Strategy<Value = Arc<Member>> {
    let names = (text(), option::of(text()), text(), text());
    let offers = vec((text(), bytes()), 0..3);
    (names, any::<u32>(), any::<u32>(), offers).prop_map(|(names, session, rebalance, offers)| {
        let offer = |(name, metadata): (String, Bytes)| Offered {
            name: Arc::from(name),
            metadata,
        };
        Arc::new(Member {
            id: MemberId::from(&*names.0),
            instance: names.1.as_deref().map(InstanceId::from),
            client_id: Arc::from(names.2),
            client_host: Arc::from(names.3),
            session_timeout_ms: session,
            rebalance_timeout_ms: rebalance,
            offered: offers.into_iter().map(offer).collect(),
        })
    })
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let words = (option::of(text()), option::of(text()), option::of(text()));
    let members = vec((member(), bytes()), 0..4);
    (any::<i32>(), any::<u64>(), words, members).prop_map(|(generation, at, words, members)| {
        let settled = members.into_iter().map(|(member, assignment)| {
            let id = member.id.clone();
            (id, Settled { member, assignment })
        });
        Settlement {
            generation: Generation(generation),
            at: WallTime(at),
            protocol_type: words.0.map(Arc::from),
            protocol: words.1.map(Arc::from),
            leader: words.2.as_deref().map(MemberId::from),
            members: settled.collect(),
        }
    })
}

fn key() -> impl Strategy<Value = OffsetKey> {
    (any::<u128>(), any::<i32>()).prop_map(|(topic, partition)| OffsetKey {
        topic: TopicId(topic),
        partition,
    })
}

fn committed() -> impl Strategy<Value = Committed> {
    let times = (any::<u64>(), option::of(any::<u64>()));
    (any::<i64>(), option::of(any::<i32>()), text(), times).prop_map(
        |(offset, epoch, note, times)| Committed {
            offset: Offset(offset),
            leader_epoch: epoch.map(LeaderEpoch),
            metadata: note.into_boxed_str(),
            at: WallTime(times.0),
            until: times.1.map(WallTime),
        },
    )
}

fn change() -> impl Strategy<Value = Durable> {
    let commits = btree_map(key(), committed(), 0..4).prop_map(|m| m.into_iter().collect());
    prop_oneof![
        any::<u64>().prop_map(|at| Durable::Created { at: WallTime(at) }),
        any::<i32>().prop_map(|g| Durable::Begun {
            generation: Generation(g)
        }),
        settlement().prop_map(|s| Durable::Settled(Arc::new(s))),
        (text(), member()).prop_map(|(old, member)| Durable::Replaced {
            old: MemberId::from(&*old),
            member,
        }),
        commits.prop_map(Durable::OffsetsCommitted),
        vec(key(), 0..4).prop_map(Durable::OffsetsDeleted),
        any::<u128>().prop_map(|t| Durable::TopicForgotten(TopicId(t))),
        Just(Durable::Deleted),
    ]
}

proptest! {
    #[test]
    fn a_change_comes_back(change in change()) {
        let mut bytes = Vec::new();
        encode(&change, &mut bytes);
        prop_assert_eq!(decode(VERSION, &bytes), Ok(change));
    }

    #[test]
    fn a_cut_change_is_refused(change in change(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode(&change, &mut bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decode(VERSION, &bytes).is_err());
    }

    #[test]
    fn a_change_with_a_byte_more_is_refused(change in change(), more in any::<u8>()) {
        let mut bytes = Vec::new();
        encode(&change, &mut bytes);
        bytes.push(more);
        prop_assert!(decode(VERSION, &bytes).is_err());
    }

    #[test]
    fn no_bytes_bring_the_reader_down(tag in 0u8..10, rest in vec(any::<u8>(), 0..200)) {
        let mut bytes = rest;
        bytes.insert(0, tag);
        if let Ok(change) = decode(VERSION, &bytes) {
            let mut again = Vec::new();
            encode(&change, &mut again);
            prop_assert!(decode(VERSION, &again).is_ok());
        }
        let _ = decode_checkpoint(GroupSettings::default(), VERSION, &bytes).is_ok();
    }
}

#[test]
fn a_count_beyond_the_bytes_costs_nothing() {
    let huge = [5, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode(VERSION, &huge), Err(WireError::Malformed));
}

#[test]
fn a_newer_version_is_named() {
    assert_eq!(decode(9, &[8]), Err(WireError::UnknownVersion(9)));
    assert_eq!(decode(VERSION, &[77]), Err(WireError::UnknownChange(77)));
}
