//! Facts as bytes: a header of 16 bytes, then the columns that are there; all little-endian.
//!
//! The widest column comes first, so that each lies aligned if the header does.

use super::{Columns, Facts};

/// Bytes before the columns.
const HEADER_BYTES: usize = 16;
/// The encoding that is written. Version 1 had no byte for what was worked out.
const VERSION: u8 = 2;
/// All columns, of which each has a bit in the byte of what was worked out.
const WORKED_OUT_MAX: u8 = Columns::ALL.0.to_le_bytes()[0];

/// Why bytes are no facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Not as many bytes as the header calls for.
    #[error("facts take {needed} bytes, there are {got}")]
    Length {
        /// Bytes that the header calls for.
        needed: u64,
        /// Bytes that were there.
        got: usize,
    },
    /// A later version wrote them.
    #[error("facts of version {0} are not known")]
    Version(u8),
    /// Columns that this version does not define, or any of no records.
    #[error("columns {0:#06x} are not known, or are of no records")]
    Columns(u16),
    /// The width of verdicts does not fit their column.
    #[error("{verdict_bytes} bytes of verdicts for each record do not fit columns {columns:#06x}")]
    VerdictBytes {
        /// Bytes for each record.
        verdict_bytes: u16,
        /// Columns that are there.
        columns: u16,
    },
    /// Bytes that must be 0 are not.
    #[error("reserved bytes of facts are not 0")]
    Reserved,
}

/// What facts say of themselves; enough to see whether they owe something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactsHeader {
    /// Of which generation of the topic's filters the verdicts are.
    pub generation: u32,
    /// How many records the batch has.
    pub count: u32,
    /// Which columns are there.
    pub columns: Columns,
    /// What was worked out, those that are there among it.
    pub known: Columns,
    /// Bytes of verdicts for each record.
    pub verdict_bytes: u16,
}

impl FactsHeader {
    /// Reads the header of encoded facts and checks that `bytes` are as long as it calls for.
    ///
    /// # Errors
    ///
    /// See [`FactsError`].
    pub fn read(bytes: &[u8]) -> Result<Self, FactsError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let got = bytes.len();
        let short = FactsError::Length {
            needed: HEADER_BYTES as u64,
            got,
        };
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let [
            version,
            worked_out,
            c0,
            c1,
            g @ ..,
            n0,
            n1,
            n2,
            n3,
            v0,
            v1,
            zero_b,
            zero_c,
        ] = *fixed;
        if version == 0 || version > VERSION {
            return Err(FactsError::Version(version));
        }
        let is_reserved = version == 1 || worked_out & !WORKED_OUT_MAX != 0;
        if [zero_b, zero_c] != [0; 2] || (is_reserved && worked_out != 0) {
            return Err(FactsError::Reserved);
        }
        let columns = u16::from_le_bytes([c0, c1]);
        let generation = u32::from_le_bytes(g);
        let count = u32::from_le_bytes([n0, n1, n2, n3]);
        // A column of no records has no bytes, so it is never written down as being there.
        if columns & !Columns::ALL.0 != 0 || (count == 0 && columns != 0) {
            return Err(FactsError::Columns(columns));
        }
        let verdict_bytes = u16::from_le_bytes([v0, v1]);
        let columns = Columns(columns);
        if columns.has(Columns::VERDICTS) == (verdict_bytes == 0) {
            return Err(FactsError::VerdictBytes {
                verdict_bytes,
                columns: columns.0,
            });
        }
        let header = Self {
            generation,
            count,
            columns,
            known: columns.with(Columns(u16::from(worked_out))),
            verdict_bytes,
        };
        // At most (2^32 - 1) * (45 + 2^16): far from the end of a u64.
        let needed = HEADER_BYTES as u64 + u64::from(count) * header.record_bytes();
        if needed != got as u64 {
            return Err(FactsError::Length { needed, got });
        }
        Ok(header)
    }

    /// Bytes of all columns for one record.
    fn record_bytes(&self) -> u64 {
        let widths = [
            (Columns::DEDUPLICATION, 16),
            (Columns::ORDERING_KEY, 8),
            (Columns::DUE, 8),
            (Columns::EXPIRY, 8),
            (Columns::SIZE, 4),
            (Columns::PRIORITY, 1),
            (Columns::VERDICTS, u64::from(self.verdict_bytes)),
        ];
        widths
            .iter()
            .filter(|(column, _)| self.columns.has(*column))
            .map(|(_, width)| width)
            .sum()
    }
}

pub(super) fn encode(facts: &Facts) -> Vec<u8> {
    if facts.is_empty() {
        return Vec::new();
    }
    let count = usize::try_from(facts.count).expect("at least 32 bits");
    let columns = facts.columns();
    let verdict_bytes = if columns.has(Columns::VERDICTS) {
        facts.verdict_bytes
    } else {
        0
    };
    let worked_out = facts.worked_out.0.to_le_bytes()[0] & WORKED_OUT_MAX;
    let mut out = vec![VERSION, worked_out];
    out.extend_from_slice(&columns.0.to_le_bytes());
    out.extend_from_slice(&facts.generation.to_le_bytes());
    out.extend_from_slice(&facts.count.to_le_bytes());
    out.extend_from_slice(&verdict_bytes.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    put(&mut out, count, &facts.deduplication, u128::to_le_bytes);
    put(&mut out, count, &facts.ordering_keys, u64::to_le_bytes);
    put(&mut out, count, &facts.due_ms, i64::to_le_bytes);
    put(&mut out, count, &facts.expiry_ms, i64::to_le_bytes);
    put(&mut out, count, &facts.sizes, u32::to_le_bytes);
    put(&mut out, count, &facts.priorities, u8::to_le_bytes);
    put(
        &mut out,
        count * usize::from(verdict_bytes),
        &facts.verdicts,
        u8::to_le_bytes,
    );
    out
}

fn put<T: Copy, const N: usize>(
    out: &mut Vec<u8>,
    count: usize,
    column: &[T],
    bytes_of: impl Fn(T) -> [u8; N],
) {
    assert!(
        column.is_empty() || column.len() == count,
        "a column has a value for each record"
    );
    for value in column {
        out.extend_from_slice(&bytes_of(*value));
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Facts, FactsError> {
    let header = FactsHeader::read(bytes)?;
    let mut columns = Reader {
        header,
        rest: bytes.get(HEADER_BYTES..).unwrap_or_default(),
    };
    let verdict_values = u64::from(header.verdict_bytes);
    Ok(Facts {
        generation: header.generation,
        count: header.count,
        worked_out: Columns(bytes.get(1).copied().unwrap_or(0).into()),
        deduplication: columns.take(Columns::DEDUPLICATION, 1, u128::from_le_bytes),
        ordering_keys: columns.take(Columns::ORDERING_KEY, 1, u64::from_le_bytes),
        due_ms: columns.take(Columns::DUE, 1, i64::from_le_bytes),
        expiry_ms: columns.take(Columns::EXPIRY, 1, i64::from_le_bytes),
        sizes: columns.take(Columns::SIZE, 1, u32::from_le_bytes),
        priorities: columns.take(Columns::PRIORITY, 1, u8::from_le_bytes),
        verdict_bytes: header.verdict_bytes,
        verdicts: columns.take(Columns::VERDICTS, verdict_values, u8::from_le_bytes),
    })
}

/// Takes the columns from the front, one after the other.
struct Reader<'a> {
    header: FactsHeader,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<T, const N: usize>(
        &mut self,
        column: Columns,
        values_each: u64,
        value_of: impl Fn([u8; N]) -> T,
    ) -> Vec<T> {
        if !self.header.columns.has(column) {
            return Vec::new();
        }
        let bytes = u64::from(self.header.count) * values_each * N as u64;
        let bytes = usize::try_from(bytes).expect("the header was checked against the bytes");
        let column = self
            .rest
            .split_off(..bytes)
            .expect("the header was checked");
        let (values, _) = column.as_chunks::<N>();
        values.iter().map(|value| value_of(*value)).collect()
    }
}
