//! Every change comes back as it was, and no bytes bring the reader down.

use std::string::String;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::queue::facets::TRACKABLE;

fn span() -> impl Strategy<Value = Span> {
    (0i64..1 << 50, 1i64..1 << 40).prop_map(|(first, count)| Span::of(first, first + count))
}

fn wall() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime)
}

fn reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(Reason::ALL.as_slice())
}

fn words() -> impl Strategy<Value = Option<Arc<str>>> {
    option::of("[a-zé]{0,8}").prop_map(|words: Option<String>| words.map(Arc::from))
}

fn locked() -> impl Strategy<Value = Durable> {
    let epoch = (any::<i32>(), any::<u64>());
    (span(), any::<u64>(), epoch, any::<u64>()).prop_map(|(span, consumer, epoch, until)| {
        Durable::Locked {
            span,
            consumer: ConsumerId(consumer),
            epoch: LockEpoch {
                leader: LeaderEpoch(epoch.0),
                number: epoch.1,
            },
            until: Elapsed(until),
        }
    })
}

fn condemned() -> impl Strategy<Value = Durable> {
    (span(), reason(), wall(), any::<bool>(), words()).prop_map(
        |(span, reason, at, failed, words)| Durable::Condemned {
            span,
            reason,
            at,
            failed,
            words,
        },
    )
}

pub(crate) fn change() -> impl Strategy<Value = Durable> {
    prop_oneof![
        span().prop_map(Durable::Acquired),
        locked(),
        (span(), any::<u64>()).prop_map(|(span, until)| Durable::Renewed {
            span,
            until: Elapsed(until)
        }),
        span().prop_map(Durable::Accepted),
        (span(), any::<bool>(), option::of(wall())).prop_map(|(span, failed, not_before)| {
            Durable::Released {
                span,
                failed,
                not_before,
            }
        }),
        condemned(),
        (span(), reason(), any::<bool>()).prop_map(|(span, reason, moved)| Durable::Archived {
            span,
            reason,
            moved
        }),
        (wall(), any::<u32>()).prop_map(|(until, most)| Durable::Fired { until, most }),
        (0i64..1 << 60).prop_map(|to| Durable::Trimmed { to: Offset(to) }),
        by_time(),
    ]
}

fn by_time() -> impl Strategy<Value = Durable> {
    prop_oneof![
        (span(), wall()).prop_map(|(span, due)| Durable::Scheduled { span, due }),
        (wall(), any::<u32>()).prop_map(|(until, most)| Durable::Expired { until, most }),
        (0i64..1 << 60).prop_map(|to| Durable::Aged { to: Offset(to) }),
        span().prop_map(Durable::Purged),
        option::of(1..u64::MAX).prop_map(|window_ms| Durable::Deduplicating { window_ms }),
        (0i64..1 << 60, wall()).prop_map(|(to, at)| {
            let to = Offset(to);
            Durable::Sought { to, at }
        }),
        any::<u16>().prop_map(|bits| {
            let columns = Columns(bits & TRACKABLE.0);
            let both = !are_trackable(columns);
            Durable::Tracking(if both { Columns::SIZE } else { columns })
        }),
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
    fn no_bytes_bring_the_reader_down(tag in 0u8..30, rest in vec(any::<u8>(), 0..100)) {
        let mut bytes = rest;
        bytes.insert(0, tag);
        if let Ok(change) = decode(VERSION, &bytes) {
            let mut again = Vec::new();
            encode(&change, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_newer_version_is_named() {
    assert_eq!(decode(9, &[8]), Err(WireError::UnknownVersion(9)));
    assert_eq!(decode(VERSION, &[77]), Err(WireError::UnknownChange(77)));
}
