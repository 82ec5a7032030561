//! LZ4's frame format, as Kafka uses it since message format 2.
//!
//! ```text
//! 04 22 4d 18 | FLG | BD | content size u64? | header checksum u8
//! blocks: size u32, top bit = stored | bytes | checksum u32?
//! end mark u32 = 0 | content checksum u32?         (all little-endian)
//! ```
//!
//! Blocks are taken from `lz4_flex`; the frame is walked here, because its reader takes a frame that
//! ends between two blocks for a whole one, and lets the frame choose how much memory it costs.
//! Written are independent blocks of 64 KiB, which is all that Kafka's Java client reads.

use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{ENDS_EARLY, Stop};

const MAGIC: u32 = 0x184d_2204;
/// Frames that hold no data and are passed over: any of these sixteen.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// How far back a block may refer.
const WINDOW_BYTES: usize = 64 << 10;
/// The longest run that a byte can stand for.
const RATIO_MAX: usize = 255;
/// Set in a block's size if its bytes are stored as they are.
const STORED: u32 = 1 << 31;

pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input).ok()?;
    encoder.finish().ok()
}

pub(super) fn decompress(mut input: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::new();
    if input.is_empty() {
        return Err(ENDS_EARLY);
    }
    while !input.is_empty() {
        match take_u32(&mut input)? {
            MAGIC => unpack_frame(&mut input, &mut out, limit_bytes)?,
            magic if magic & !0xf == SKIPPABLE_MAGIC => {
                let bytes = usize::try_from(take_u32(&mut input)?)
                    .ok()
                    .ok_or(ENDS_EARLY)?;
                input.split_off(..bytes).ok_or(ENDS_EARLY)?;
            }
            _ => return Err(Stop::Corrupt("not an LZ4 frame")),
        }
    }
    out.shrink_to_fit();
    Ok(out)
}

/// What the head of a frame says.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    block_bytes_max: usize,
}

impl Frame {
    fn read(input: &mut &[u8]) -> Result<Self, Stop> {
        let whole = *input;
        let [flags, blocks] = take(input)?;
        let has = |bit: u8| flags & (1 << bit) != 0;
        if flags >> 6 != 1 || has(1) || blocks & 0x8f != 0 {
            return Err(Stop::Corrupt("not a version of LZ4 frames that is known"));
        }
        if has(0) {
            return Err(Stop::Corrupt("it needs a dictionary"));
        }
        let block_bytes_max = match blocks >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(Stop::Corrupt("no known block size")),
        };
        let content_bytes = if has(3) {
            Some(u64::from_le_bytes(take(input)?))
        } else {
            None
        };
        let described = whole.len() - input.len();
        let described = whole.get(..described).unwrap_or_default();
        let [checksum] = take(input)?;
        let [_, computed, _, _] = xxh32(described).to_le_bytes();
        if checksum != computed {
            return Err(Stop::Corrupt("wrong header checksum"));
        }
        Ok(Self {
            linked: !has(5),
            block_checksums: has(4),
            content_checksum: has(2),
            content_bytes,
            block_bytes_max,
        })
    }
}

fn unpack_frame(input: &mut &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), Stop> {
    let frame = Frame::read(input)?;
    let start = out.len();
    loop {
        let size = take_u32(input)?;
        if size == 0 {
            break;
        }
        let bytes = usize::try_from(size & !STORED).ok().ok_or(ENDS_EARLY)?;
        if bytes > frame.block_bytes_max {
            return Err(Stop::Corrupt("a block is larger than its frame allows"));
        }
        let block = input.split_off(..bytes).ok_or(ENDS_EARLY)?;
        if frame.block_checksums && take_u32(input)? != xxh32(block) {
            return Err(Stop::Corrupt("wrong block checksum"));
        }
        if size & STORED == 0 {
            unpack_block(&frame, block, (out, start), limit_bytes)?;
        } else if bytes > limit_bytes - out.len() {
            return Err(Stop::TooLarge);
        } else {
            reserve(out, bytes, limit_bytes);
            out.extend_from_slice(block);
        }
    }
    let content = out.get(start..).unwrap_or_default();
    if frame.content_checksum && take_u32(input)? != xxh32(content) {
        return Err(Stop::Corrupt("wrong content checksum"));
    }
    if frame
        .content_bytes
        .is_some_and(|bytes| usize::try_from(bytes) != Ok(content.len()))
    {
        return Err(Stop::Corrupt("wrong content size"));
    }
    Ok(())
}

/// Unpacks one block to the end of `out`; its frame's content begins at `start`.
fn unpack_block(
    frame: &Frame,
    block: &[u8],
    (out, start): (&mut Vec<u8>, usize),
    limit_bytes: usize,
) -> Result<(), Stop> {
    let end = out.len();
    let most = frame.block_bytes_max.min(block.len() * RATIO_MAX);
    let room = most.min(limit_bytes - end);
    reserve(out, room, limit_bytes);
    out.resize(end + room, 0);
    let (before, target) = out.split_at_mut(end);
    let unpacked = if frame.linked {
        let window = start.max(end.saturating_sub(WINDOW_BYTES));
        decompress_into_with_dict(block, target, before.get(window..).unwrap_or_default())
    } else {
        decompress_into(block, target)
    };
    match unpacked {
        Ok(bytes) => {
            out.truncate(end + bytes);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if room < most => Err(Stop::TooLarge),
        Err(_) => Err(Stop::Corrupt("not an LZ4 block")),
    }
}

/// Makes room for `bytes` more, by doubling, within the bound.
fn reserve(out: &mut Vec<u8>, bytes: usize, limit_bytes: usize) {
    let end = out.len();
    if out.capacity() < end + bytes {
        let wanted = (end * 2).max(end + bytes).min(limit_bytes);
        out.reserve_exact(wanted - end);
    }
}

fn xxh32(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

fn take_u32(input: &mut &[u8]) -> Result<u32, Stop> {
    take(input).map(u32::from_le_bytes)
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Stop> {
    let (field, rest) = input.split_first_chunk().ok_or(ENDS_EARLY)?;
    *input = rest;
    Ok(*field)
}
