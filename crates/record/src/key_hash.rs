//! Keys by their hash, where there are too many to keep them whole.

use twox_hash::XxHash3_128;

/// Hash of a record's key, under a seed: XXH3, 128 bits.
///
/// Two keys among 2^40 meet with a chance of 2^-49. It does not withstand a producer that looks for
/// collisions; whoever may write such keys may write those that they would meet, too.
#[must_use]
pub fn key_hash(seed: u64, key: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(seed, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_seeds_make_other_hashes() {
        let hashes = [(0, "a"), (0, "b"), (1, "a"), (1, ""), (0, "")];
        let mut hashes = hashes.map(|(seed, key)| key_hash(seed, key.as_bytes()));
        assert_eq!(hashes[0], key_hash(0, b"a"));
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|two| two[0] != two[1]));
    }
}
