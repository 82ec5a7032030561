//! Zstandard as Kafka's clients write it: one frame or several, often without their content's size.
//!
//! Frames are unpacked in one call into the output itself. Unlike streaming this needs no window
//! buffer, whose size the frame would dictate (128 MiB at the highest levels).

use zstd::zstd_safe::{self, DCtx};

use super::{ENDS_EARLY, Stop};

/// First guess of the output's size, if the frames do not say: so many times the input.
const GUESS_RATIO: usize = 8;
const GUESS_BYTES_MIN: usize = 16 << 10;
/// How much larger the next guess is.
const GUESS_STEP: usize = 4;
/// `ZSTD_error_dstSize_tooSmall`; Zstandard keeps this number for ever.
const TOO_SMALL: usize = 0_usize.wrapping_sub(70);

pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(input, zstd::DEFAULT_COMPRESSION_LEVEL).ok()
}

pub(super) fn decompress(input: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Stop> {
    if input.is_empty() {
        return Err(ENDS_EARLY);
    }
    let mut context = DCtx::try_create().ok_or(Stop::Corrupt("no memory to unpack it"))?;
    let guess = input.len().saturating_mul(GUESS_RATIO).max(GUESS_BYTES_MIN);
    let mut room = guess.min(limit_bytes);
    loop {
        let mut out = Vec::with_capacity(room);
        match context.decompress(&mut out, input) {
            Ok(_) if out.len() > limit_bytes => return Err(Stop::TooLarge),
            Ok(_) => {
                out.shrink_to_fit();
                return Ok(out);
            }
            Err(TOO_SMALL) if room >= limit_bytes => return Err(Stop::TooLarge),
            Err(TOO_SMALL) => room = room.saturating_mul(GUESS_STEP).min(limit_bytes),
            Err(code) => return Err(Stop::Corrupt(zstd_safe::get_error_name(code))),
        }
    }
}
