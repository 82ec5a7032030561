//! Round trips and broken input of facts.

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_needed_costs_nothing() {
    assert_eq!(Facts::default().encode(), []);
    assert_eq!(Facts::decode(&[]), Ok(Facts::default()));
    assert_eq!(FactsHeader::read(&[]), Ok(FactsHeader::default()));
}

#[test]
fn the_encoding_is_as_documented() {
    let facts = Facts {
        ordering_keys: vec![0x0102_0304_0506_0708, NO_ORDERING_KEY],
        priorities: vec![4, 9],
        verdict_bytes: 1,
        verdicts: vec![0b01, 0b10],
        worked_out: Columns::DUE,
        ..Facts::new(3, 2)
    };
    let encoded = [
        2, 0b100, 0b110_0010, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, // header
        8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, // ordering keys
        4, 9, // priorities
        1, 2, // verdicts
    ];
    assert_eq!(facts.encode(), encoded);
    assert_eq!(facts.ordering_key(0), Some(0x0102_0304_0506_0708));
    assert_eq!(facts.ordering_key(1), None);
    assert_eq!((facts.priority(1), facts.priority(2)), (Some(9), None));
    assert_eq!((facts.due(0), facts.size(0)), (None, None));
    let verdicts = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 8), (2, 0)];
    let verdicts = verdicts.map(|(index, filter)| facts.verdict(index, filter));
    assert_eq!(
        verdicts,
        [Some(true), Some(false), Some(false), Some(true), None, None]
    );
}

#[test]
fn what_is_not_known_is_refused() {
    let good = Facts {
        priorities: vec![1],
        ..Facts::new(1, 1)
    }
    .encode();
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        Facts::decode(&bytes)
    };
    assert_eq!(with(0, 3), Err(FactsError::Version(3)));
    assert_eq!(with(1, 0x80), Err(FactsError::Reserved));
    assert_eq!(with(15, 1), Err(FactsError::Reserved));
    // Version 1 is read, and had nothing there.
    assert_eq!(with(0, 1).unwrap().priority(0), Some(1));
    let mut old = good.clone();
    (old[0], old[1]) = (1, 1);
    assert_eq!(Facts::decode(&old), Err(FactsError::Reserved));
    assert_eq!(with(3, 1), Err(FactsError::Columns(0x120)));
    assert_eq!(
        with(12, 1),
        Err(FactsError::VerdictBytes {
            verdict_bytes: 1,
            columns: 0x20
        })
    );
    // A count that would take 4 GiB is refused before anything is taken for it.
    let needed = 16 + 0xff00_0001;
    assert_eq!(with(11, 0xff), Err(FactsError::Length { needed, got: 17 }));
}

#[test]
fn hashes_are_stable() {
    // Stored for ever: these must not change. From the reference implementation of XXH3.
    assert_eq!(ordering_key_hash(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(
        deduplication_hash(b""),
        0x99aa_06d3_0147_98d8_6001_c324_468d_497f
    );
}

fn facts() -> impl Strategy<Value = Facts> {
    let column = || any::<bool>();
    let shape = (1..40_usize, 1..4_u16, any::<u32>());
    (
        shape,
        [column(), column(), column(), column()],
        [column(), column(), column()],
        any::<u64>(),
    )
        .prop_map(
            |((count, width, generation), [a, b, c, d], [e, f, g], seed)| {
                let long = |salt: u64| (1..).map(move |n: u64| (n ^ seed).wrapping_mul(salt | 1));
                let time = |salt| long(salt).map(u64::cast_signed);
                let byte = |salt| long(salt).map(|value| value.to_le_bytes()[7]);
                let take = |there: bool, each: usize| if there { count * each } else { 0 };
                Facts {
                    generation,
                    count: u32::try_from(count).unwrap(),
                    worked_out: Columns(u16::from(seed.to_le_bytes()[3] & 0x7f)),
                    deduplication: long(3)
                        .map(|v| u128::from(v) << 40)
                        .take(take(a, 1))
                        .collect(),
                    ordering_keys: long(5).take(take(b, 1)).collect(),
                    due_ms: time(7).take(take(c, 1)).collect(),
                    expiry_ms: time(11).take(take(d, 1)).collect(),
                    sizes: (7..).take(take(e, 1)).collect(),
                    priorities: byte(13).take(take(f, 1)).collect(),
                    verdict_bytes: if g { width } else { 0 },
                    verdicts: byte(17).take(take(g, usize::from(width))).collect(),
                }
            },
        )
        .prop_filter("stored facts are not empty", |facts| !facts.is_empty())
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(facts in facts()) {
        let bytes = facts.encode();
        prop_assert_eq!(Facts::decode(&bytes), Ok(facts.clone()));
        let header = FactsHeader::read(&bytes).unwrap();
        prop_assert_eq!((header.generation, header.count), (facts.generation, facts.count));
        prop_assert_eq!(header.columns, facts.columns());
        for cut in 1..bytes.len() {
            prop_assert!(Facts::decode(&bytes[..cut]).is_err());
        }
        prop_assert!(Facts::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let head = [2, 0];
        for bytes in [bytes.clone(), [&head, &bytes[..]].concat()] {
            if let Ok(facts) = Facts::decode(&bytes) {
                prop_assert!(facts.verdicts.len() <= bytes.len());
            }
        }
    }
}
