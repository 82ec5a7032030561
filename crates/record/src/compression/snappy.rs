//! Snappy as Kafka's clients write it.
//!
//! ```text
//! 82 'SNAPPY' 00 | version i32 = 1 | oldest reader i32 = 1
//! then blocks: length i32 big-endian | one raw Snappy block
//! ```
//!
//! That is xerial's framing, not Snappy's own. What does not begin so is one raw block, which some
//! clients send bare.

use super::{ENDS_EARLY, Stop};

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Version 1, readable since version 1.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Block size of the Java client.
const BLOCK_BYTES: usize = 32 << 10;
/// A copy of 64 bytes takes 3: what a block claims to unpack to is checked against that.
const RATIO_MAX: usize = 22;

pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(16 + input.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).ok()?;
        let length = i32::try_from(packed.len()).ok()?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Some(out)
}

pub(super) fn decompress(input: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::new();
    let Some(mut rest) = input.strip_prefix(&XERIAL_MAGIC) else {
        unpack_block(input, &mut out, limit_bytes)?;
        return Ok(out);
    };
    rest.split_off(..XERIAL_VERSIONS.len()).ok_or(ENDS_EARLY)?;
    while !rest.is_empty() {
        // Streams that were written one after the other each begin with the magic.
        if let Some(after) = rest.strip_prefix(&XERIAL_MAGIC) {
            rest = after;
            rest.split_off(..XERIAL_VERSIONS.len()).ok_or(ENDS_EARLY)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        rest = after;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .ok_or(Stop::Corrupt("a block of negative length"))?;
        let block = rest.split_off(..length).ok_or(ENDS_EARLY)?;
        unpack_block(block, &mut out, limit_bytes)?;
    }
    out.shrink_to_fit();
    Ok(out)
}

fn unpack_block(block: &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), Stop> {
    if block.is_empty() {
        return Err(ENDS_EARLY);
    }
    let corrupt = |_| Stop::Corrupt("not a Snappy block");
    let bytes = snap::raw::decompress_len(block).map_err(corrupt)?;
    if bytes > block.len().saturating_mul(RATIO_MAX) {
        return Err(Stop::Corrupt("a block is too short for what it claims"));
    }
    let start = out.len();
    if bytes > limit_bytes - start {
        return Err(Stop::TooLarge);
    }
    // Doubling keeps many blocks cheap; the bound keeps doubling within the limit.
    if out.capacity() < start + bytes {
        let wanted = (start * 2).max(start + bytes).min(limit_bytes);
        out.reserve_exact(wanted - start);
    }
    out.resize(start + bytes, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, room)
        .map_err(corrupt)?;
    Ok(())
}
