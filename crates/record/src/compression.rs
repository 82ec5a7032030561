//! The codecs of Kafka's record batches, with a hard bound on what they unpack to.
//!
//! Each codec is framed as Kafka's Java client frames it: gzip as RFC 1952, Snappy in xerial's
//! frames, LZ4 in its frame format, Zstandard in its frames. Where other clients frame differently,
//! both are read. No more memory than the caller's bound is taken for output, and none because the
//! input merely claims to be large: the input must be long enough to hold what it claims.

mod lz4;
mod snappy;
mod zstandard;

use std::io::{self, Read, Write};

use core::fmt;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952, one or several members.
    Gzip,
    /// Snappy blocks in xerial's frames, or one bare block.
    Snappy,
    /// LZ4's frame format.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its id in the attributes of a batch.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of an id, if Kafka defines one.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name in Kafka's `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes could not be packed or unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// They unpack to more than the bound.
    #[error("{codec} bytes unpack to more than {limit_bytes} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The bound.
        limit_bytes: usize,
    },
    /// They are not what the codec writes.
    #[error("{codec} bytes are corrupt: {reason}")]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// What is wrong.
        reason: &'static str,
    },
    /// The codec could not pack them, for want of memory or because they are too many.
    #[error("{codec} cannot pack {bytes} bytes")]
    Pack {
        /// The codec.
        codec: Codec,
        /// How many.
        bytes: usize,
    },
}

/// Packs `input` as Kafka's Java client would.
///
/// # Errors
///
/// [`CompressionError::Pack`] for inputs of 4 GiB and where memory runs out.
pub fn compress(codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let packed = match codec {
        Codec::None => Some(input.to_vec()),
        Codec::Gzip => gzip(input).ok(),
        Codec::Snappy => snappy::compress(input),
        Codec::Lz4 => lz4::compress(input),
        Codec::Zstd => zstandard::compress(input),
    };
    packed.ok_or(CompressionError::Pack {
        codec,
        bytes: input.len(),
    })
}

/// Unpacks `input`, to `limit_bytes` at the most.
///
/// Input that ends early or goes on after its end is corrupt.
///
/// # Errors
///
/// [`CompressionError::TooLarge`] if there would be more, [`CompressionError::Corrupt`] if `input`
/// is not what the codec writes.
pub fn decompress(
    codec: Codec,
    input: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let unpacked = match codec {
        Codec::None if input.len() > limit_bytes => Err(Stop::TooLarge),
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => gunzip(input, limit_bytes),
        Codec::Snappy => snappy::decompress(input, limit_bytes),
        Codec::Lz4 => lz4::decompress(input, limit_bytes),
        Codec::Zstd => zstandard::decompress(input, limit_bytes),
    };
    unpacked.map_err(|stop| match stop {
        Stop::TooLarge => CompressionError::TooLarge { codec, limit_bytes },
        Stop::Corrupt(reason) => CompressionError::Corrupt { codec, reason },
    })
}

/// Why a codec stopped unpacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    TooLarge,
    Corrupt(&'static str),
}

/// What is said of input that ends early.
const ENDS_EARLY: Stop = Stop::Corrupt("it ends early");

fn gzip(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(input)?;
    encoder.finish()
}

/// First step of the output; a page is lost at the most.
const GZIP_STEP_BYTES: usize = 4 << 10;

fn gunzip(input: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Stop> {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(input);
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // One byte more than the bound is asked for, and refused if it comes.
            if filled > limit_bytes {
                return Err(Stop::TooLarge);
            }
            grow(&mut out, GZIP_STEP_BYTES, limit_bytes.saturating_add(1));
        }
        let room = out.get_mut(filled..).unwrap_or_default();
        match decoder.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ENDS_EARLY),
            Err(_) => return Err(Stop::Corrupt("not what gzip writes")),
        }
    }
    if filled > limit_bytes {
        return Err(Stop::TooLarge);
    }
    out.truncate(filled);
    out.shrink_to_fit();
    Ok(out)
}

/// Doubles `out`, by `step` at the least and to `most` bytes at the most.
fn grow(out: &mut Vec<u8>, step: usize, most: usize) {
    let bytes = (out.len() + out.len().max(step)).min(most);
    out.reserve_exact(bytes - out.len());
    out.resize(bytes, 0);
}

#[cfg(test)]
mod tests;
