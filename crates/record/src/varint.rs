//! Zigzag variable-length integers, as Kafka's records use them.
//!
//! Seven bits a byte, lowest first, the top bit says that more follow; the sign is folded into the
//! lowest bit so that small negative numbers stay short. Reading is strict: an encoding that holds
//! more bits than the type is refused, not cut.

/// Longest encoding of an `i32`.
pub const I32_BYTES_MAX: usize = 5;
/// Longest encoding of an `i64`.
pub const I64_BYTES_MAX: usize = 10;

/// Why a variable-length integer could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The input ended inside of it.
    #[error("variable-length integer ends early")]
    Truncated,
    /// It holds more bits than its type.
    #[error("variable-length integer has more than {bits} bits")]
    TooLong {
        /// Bits of the type.
        bits: u32,
    },
}

/// Takes an `i32` from the front of `input`.
///
/// # Errors
///
/// See [`VarintError`]; `input` is then unchanged.
pub fn read_i32(input: &mut &[u8]) -> Result<i32, VarintError> {
    let raw = read_unsigned(input, u32::BITS)?;
    let raw = u32::try_from(raw)
        .ok()
        .ok_or(VarintError::TooLong { bits: u32::BITS })?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes an `i64` from the front of `input`.
///
/// # Errors
///
/// See [`VarintError`]; `input` is then unchanged.
pub fn read_i64(input: &mut &[u8]) -> Result<i64, VarintError> {
    let raw = read_unsigned(input, u64::BITS)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Adds `value` to the end of `out`: one to five bytes.
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    // The zigzag form of an i32 is the same in 32 and in 64 bits.
    write_i64(out, i64::from(value));
}

/// Adds `value` to the end of `out`: one to ten bytes.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push(low_byte(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_byte(raw));
}

/// Bytes that [`write_i32`] and [`write_i64`] use for `value`.
#[must_use]
pub const fn len(value: i64) -> usize {
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn low_byte(raw: u64) -> u8 {
    raw.to_le_bytes()[0] & 0x7f
}

fn read_unsigned(input: &mut &[u8], bits: u32) -> Result<u64, VarintError> {
    let mut rest = *input;
    let mut raw = 0_u64;
    let mut shift = 0;
    loop {
        let (&byte, after) = rest.split_first().ok_or(VarintError::Truncated)?;
        rest = after;
        let seven = u64::from(byte & 0x7f);
        // The last byte has room for what is left of the type only.
        if shift + 7 > bits && seven >> (bits - shift) != 0 {
            return Err(VarintError::TooLong { bits });
        }
        raw |= seven << shift;
        if byte & 0x80 == 0 {
            *input = rest;
            return Ok(raw);
        }
        shift += 7;
        if shift >= bits {
            return Err(VarintError::TooLong { bits });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_take_one_byte() {
        for (value, byte) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (63, 126), (-64, 127)] {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(out, [byte]);
        }
    }

    #[test]
    fn the_ends_of_the_types_take_the_longest() {
        let mut out = Vec::new();
        write_i32(&mut out, i32::MIN);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        out.clear();
        write_i64(&mut out, i64::MIN);
        assert_eq!(
            out,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        );
    }

    #[test]
    fn more_bits_than_the_type_are_refused() {
        let bits = |bits| Err(VarintError::TooLong { bits });
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), bits(32));
        assert_eq!(
            read_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]),
            bits(32)
        );
        assert_eq!(read_i64(&mut &[0xff; 11][..]), bits(64).map(i64::from));
        assert_eq!(
            read_i64(&mut &[&[0x80; 9][..], &[2]].concat()[..]),
            bits(64).map(i64::from)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value: i64, short: i32) {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            prop_assert_eq!(out.len(), len(value));
            prop_assert_eq!(read_i64(&mut &out[..]), Ok(value));
            let cut = &out[..out.len() - 1];
            prop_assert_eq!(read_i64(&mut &cut[..]), Err(VarintError::Truncated));
            out.clear();
            write_i32(&mut out, short);
            prop_assert_eq!(out.len(), len(i64::from(short)));
            prop_assert_eq!(read_i32(&mut &out[..]), Ok(short));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: [u8; 12]) {
            let (mut short, mut long) = (&bytes[..], &bytes[..]);
            if read_i32(&mut short).is_ok() {
                prop_assert!(bytes.len() - short.len() <= I32_BYTES_MAX);
            }
            if read_i64(&mut long).is_ok() {
                prop_assert!(bytes.len() - long.len() <= I64_BYTES_MAX);
            }
        }
    }
}
