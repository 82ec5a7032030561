//! CRC-32C, the checksum of record batches and of everything in the log.

/// CRC-32C (Castagnoli) of `parts`, as if they lay one after the other.
#[must_use]
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).expect("a 32-bit checksum")
}
