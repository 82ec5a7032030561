//! Steps over the primitive types of the Kafka protocol without keeping anything.

/// Why a message cannot be what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// It ends too soon.
    #[error("it ends within a field")]
    TooShort,
    /// A length that is negative or does not fit.
    #[error("a length is negative or out of range")]
    Length,
    /// More elements than one message may have.
    #[error("it has more than {0} elements")]
    TooMany(u32),
    /// A tagged field is longer or shorter than it says.
    #[error("a tagged field is not as long as it says")]
    TagSize,
}

/// The longest string, bytes.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walker<'a> {
    rest: &'a [u8],
}

impl<'a> Walker<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Flaw::TooShort)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Flaw::TooShort)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn int16(&mut self) -> Result<i16, Flaw> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn int32(&mut self) -> Result<i32, Flaw> {
        self.array().map(i32::from_be_bytes)
    }

    /// An unsigned variable-length integer of at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, Flaw> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            let too_large = shift == 28 && byte > 0x0f;
            if byte < 0x80 && !too_large {
                return Ok(value);
            }
        }
        Err(Flaw::Length)
    }

    /// A compact length, which is one more than the length; `None` for null.
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, Flaw> {
        match self.varint()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => usize::try_from(length)
                .map(Some)
                .map_err(|_too_big| Flaw::Length),
        }
    }

    /// A string with its length in 16 bits; `None` for null.
    pub(crate) fn string(&mut self) -> Result<Option<&'a [u8]>, Flaw> {
        match self.int16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_negative| Flaw::Length)?;
                self.take(length).map(Some)
            }
        }
    }

    /// A string with a compact length, which has the bound of one with 16 bits
    /// (`MessageDataGenerator`: "had invalid length").
    pub(crate) fn compact_string(&mut self) -> Result<(), Flaw> {
        match self.compact_length()? {
            None => Ok(()),
            Some(length) if length > STRING_BYTES_MAX => Err(Flaw::Length),
            Some(length) => self.take(length).map(drop),
        }
    }

    /// A byte string with a compact length.
    pub(crate) fn compact(&mut self) -> Result<(), Flaw> {
        match self.compact_length()? {
            None => Ok(()),
            Some(length) => self.take(length).map(drop),
        }
    }

    /// The content of a tagged field, behind its length.
    pub(crate) fn compact_tag_value(&mut self) -> Result<(), Flaw> {
        let length = usize::try_from(self.varint()?).map_err(|_too_big| Flaw::Length)?;
        self.take(length).map(drop)
    }

    /// A byte string with its length in 32 bits.
    pub(crate) fn blob(&mut self) -> Result<(), Flaw> {
        match self.int32()? {
            -1 => Ok(()),
            length => {
                let length = usize::try_from(length).map_err(|_negative| Flaw::Length)?;
                self.take(length).map(drop)
            }
        }
    }
}
