//! Round trips, bombs and broken input of every codec.

use proptest::prelude::*;

use super::*;

const PACKED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn too_large(codec: Codec, limit_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    Err(CompressionError::TooLarge { codec, limit_bytes })
}

#[test]
fn ids_and_names_are_kafkas() {
    for (id, codec) in (0..).zip(Codec::ALL) {
        assert_eq!((codec.id(), Codec::from_id(id)), (id, Some(codec)));
    }
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Codec::Zstd.to_string(), "zstd");
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0; 8 << 20];
    for codec in PACKED {
        let packed = compress(codec, &zeros).unwrap();
        for limit in [0, 1, 1000, zeros.len() - 1] {
            assert_eq!(
                decompress(codec, &packed, limit),
                too_large(codec, limit),
                "{codec}"
            );
        }
        let unpacked = decompress(codec, &packed, zeros.len()).unwrap();
        assert!(unpacked == zeros, "{codec}");
        assert_eq!(
            unpacked.capacity(),
            unpacked.len(),
            "{codec} keeps spare memory"
        );
    }
    assert_eq!(
        decompress(Codec::None, &[0; 9], 8),
        too_large(Codec::None, 8)
    );
}

#[test]
fn what_ends_early_is_corrupt() {
    let text = b"a record among records among records".repeat(4000);
    for codec in PACKED {
        let packed = compress(codec, &text).unwrap();
        for cut in (0..packed.len()).step_by(packed.len() / 200 + 1) {
            // A cut between two blocks of xerial's framing cannot be seen: it has no end.
            let unpacked = decompress(codec, &packed[..cut], text.len());
            let seen = matches!(unpacked, Err(CompressionError::Corrupt { .. }));
            assert!(
                seen || codec == Codec::Snappy && unpacked.unwrap() != text,
                "{codec} {cut}"
            );
        }
    }
}

#[test]
fn an_lz4_frame_without_end_mark_is_corrupt() {
    let packed = compress(Codec::Lz4, b"one block").unwrap();
    let cut = &packed[..packed.len() - 4];
    let ends_early = CompressionError::Corrupt {
        codec: Codec::Lz4,
        reason: "it ends early",
    };
    assert_eq!(decompress(Codec::Lz4, cut, 100), Err(ends_early));
}

#[test]
fn claims_cost_no_memory() {
    // A raw block that says it has 2^31 bytes, and one in xerial's framing.
    let raw = [0x80, 0x80, 0x80, 0x80, 0x08, 0, 0];
    let reason = "a block is too short for what it claims";
    let lie = Err(CompressionError::Corrupt {
        codec: Codec::Snappy,
        reason,
    });
    assert_eq!(decompress(Codec::Snappy, &raw, usize::MAX), lie);
    let mut framed = compress(Codec::Snappy, b"").unwrap();
    framed.extend_from_slice(&[0, 0, 0, 7]);
    framed.extend_from_slice(&raw);
    assert_eq!(decompress(Codec::Snappy, &framed, usize::MAX), lie);
    // A Zstandard frame that says it has 2^60 bytes, and none in it.
    let zstd = [
        0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0,
    ];
    assert!(decompress(Codec::Zstd, &zstd, 1 << 20).is_err());
}

#[test]
fn xerial_streams_back_to_back_are_one() {
    let packed = [
        compress(Codec::Snappy, b"one ").unwrap(),
        compress(Codec::Snappy, b"and two").unwrap(),
    ];
    assert_eq!(
        decompress(Codec::Snappy, &packed.concat(), 100).unwrap(),
        b"one and two"
    );
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    // Noise, runs, and repeats beyond the block and window sizes of all codecs.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0..300_000_usize).prop_map(|(byte, count)| vec![byte; count]),
        (prop::collection::vec(any::<u8>(), 1..500), 1..500_usize)
            .prop_map(|(part, count)| part.repeat(count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_packed_is_unpacked(content in content()) {
        for codec in Codec::ALL {
            let packed = compress(codec, &content).unwrap();
            prop_assert!(decompress(codec, &packed, content.len()).unwrap() == content, "{}", codec);
            if let Some(less) = content.len().checked_sub(1) {
                prop_assert_eq!(decompress(codec, &packed, less), too_large(codec, less));
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic_nor_exceed_the_bound(
        content in content(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in PACKED {
            let mut packed = compress(codec, &content).unwrap();
            for (place, byte) in &changes {
                let place = place.index(packed.len());
                packed[place] = *byte;
            }
            if let Ok(unpacked) = decompress(codec, &packed, content.len()) {
                prop_assert!(unpacked.len() <= content.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), limit in 0..9999_usize) {
        let heads: [(Codec, &[u8]); 5] = [
            (Codec::Gzip, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
            (Codec::Snappy, b""),
            (Codec::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x40"),
            (Codec::Lz4, &[4, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]),
            (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
        ];
        for (codec, head) in heads {
            for input in [bytes.clone(), [head, &bytes].concat()] {
                if let Ok(unpacked) = decompress(codec, &input, limit) {
                    prop_assert!(unpacked.len() <= limit);
                }
            }
        }
    }
}
