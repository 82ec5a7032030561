//! What a queue-style reader must know of each record without opening its batch.
//!
//! Facts lie beside a batch, one column per kind of fact, one value per record. A column that no
//! reader needs is left out and costs nothing; a batch of which nothing is needed has no bytes of
//! facts at all. `docs/internals/facts.md` has the encoding byte by byte.
//!
//! Facts are worked out by whoever takes the batch in. Verdicts are of the filters of one *generation* of
//! its topic, which rises when a filter comes.
//!
//! What was worked out of a batch in which no record has it is said by one bit for the whole batch, not
//! by a column.

mod wire;

use twox_hash::{XxHash3_64, XxHash3_128};

pub use wire::{FactsError, FactsHeader};

/// The columns that are there, as bits in the order in which they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Columns(pub u16);

impl Columns {
    /// Deduplication id hash, `u128`.
    pub const DEDUPLICATION: Self = Self(1 << 0);
    /// Ordering key hash, `u64`.
    pub const ORDERING_KEY: Self = Self(1 << 1);
    /// Due time, `i64` ms.
    pub const DUE: Self = Self(1 << 2);
    /// Expiry, `i64` ms.
    pub const EXPIRY: Self = Self(1 << 3);
    /// Size, `u32` bytes.
    pub const SIZE: Self = Self(1 << 4);
    /// Priority, `u8`.
    pub const PRIORITY: Self = Self(1 << 5);
    /// Filter verdicts, as many bytes as the filters need.
    pub const VERDICTS: Self = Self(1 << 6);
    /// All that are defined.
    pub const ALL: Self = Self(0x7f);

    /// Whether all columns of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These columns and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Due time of a record that is due at once.
pub const DUE_AT_ONCE: i64 = i64::MIN;
/// Expiry of a record that never expires.
pub const EXPIRES_NEVER: i64 = i64::MAX;
/// Ordering key hash of a record without ordering key.
pub const NO_ORDERING_KEY: u64 = 0;
/// Deduplication id hash of a record without one.
pub const NO_DEDUPLICATION: u128 = 0;

/// Facts of the records of one batch.
///
/// A column is either empty, then it is absent, or has one value for each record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of which generation of the topic's filters the verdicts are; 0 if there was none.
    pub generation: u32,
    /// How many records the batch has.
    pub count: u32,
    /// What was worked out: a column among these that is absent has no value for any record.
    pub worked_out: Columns,
    /// Hash of each deduplication id, see [`deduplication_hash`]; [`NO_DEDUPLICATION`] if none.
    pub deduplication: Vec<u128>,
    /// Hash of each ordering key, see [`ordering_key_hash`]; [`NO_ORDERING_KEY`] if none.
    pub ordering_keys: Vec<u64>,
    /// From when each may be delivered, ms since 1970; [`DUE_AT_ONCE`] if at once.
    pub due_ms: Vec<i64>,
    /// When each is given up, ms since 1970; [`EXPIRES_NEVER`] if never.
    pub expiry_ms: Vec<i64>,
    /// Size of each, bytes of its key, value and headers.
    pub sizes: Vec<u32>,
    /// Priority of each; larger goes first.
    pub priorities: Vec<u8>,
    /// Bytes of verdicts for each record: one bit for each filter, rounded up.
    pub verdict_bytes: u16,
    /// Verdicts of the topic's filters, `verdict_bytes` for each record: filter 0 is the lowest bit
    /// of the first byte.
    pub verdicts: Vec<u8>,
}

impl Facts {
    /// No columns yet, for a batch of `count` records.
    #[must_use]
    pub fn new(generation: u32, count: u32) -> Self {
        Self {
            generation,
            count,
            ..Self::default()
        }
    }

    /// All was worked out of a batch of `count` records, and none of them asks for anything.
    #[must_use]
    pub fn without_any(count: u32) -> Self {
        Self {
            worked_out: Columns::ALL,
            ..Self::new(0, count)
        }
    }

    /// Whether there is nothing to store: no column, and no generation to say so.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.generation == 0 && self.known().0 == 0
    }

    /// The columns of which every record's value is known, be it that it has none.
    #[must_use]
    pub const fn known(&self) -> Columns {
        self.columns().with(self.worked_out)
    }

    /// Which columns are there.
    #[must_use]
    pub const fn columns(&self) -> Columns {
        let there = [
            (Columns::DEDUPLICATION, self.deduplication.is_empty()),
            (Columns::ORDERING_KEY, self.ordering_keys.is_empty()),
            (Columns::DUE, self.due_ms.is_empty()),
            (Columns::EXPIRY, self.expiry_ms.is_empty()),
            (Columns::SIZE, self.sizes.is_empty()),
            (Columns::PRIORITY, self.priorities.is_empty()),
            (Columns::VERDICTS, self.verdicts.is_empty()),
        ];
        columns_of(&there)
    }

    /// Hash of the ordering key of record `index`; none if it has no key or the column is absent.
    #[must_use]
    pub fn ordering_key(&self, index: usize) -> Option<u64> {
        self.ordering_keys
            .get(index)
            .copied()
            .filter(|&hash| hash != NO_ORDERING_KEY)
    }

    /// Hash of the deduplication id of record `index`; none if it has none or the column is absent.
    #[must_use]
    pub fn deduplication_id(&self, index: usize) -> Option<u128> {
        self.deduplication
            .get(index)
            .copied()
            .filter(|&hash| hash != NO_DEDUPLICATION)
    }

    /// When record `index` is due, ms since 1970; none if at once or the column is absent.
    #[must_use]
    pub fn due(&self, index: usize) -> Option<i64> {
        self.due_ms
            .get(index)
            .copied()
            .filter(|&due| due != DUE_AT_ONCE)
    }

    /// When record `index` expires, ms since 1970; none if never or the column is absent.
    #[must_use]
    pub fn expiry(&self, index: usize) -> Option<i64> {
        self.expiry_ms
            .get(index)
            .copied()
            .filter(|&expiry| expiry != EXPIRES_NEVER)
    }

    /// Bytes of record `index`, if the column is there.
    #[must_use]
    pub fn size(&self, index: usize) -> Option<u32> {
        self.sizes.get(index).copied()
    }

    /// Priority of record `index`, if the column is there.
    #[must_use]
    pub fn priority(&self, index: usize) -> Option<u8> {
        self.priorities.get(index).copied()
    }

    /// Whether record `index` passes `filter`, if there is a verdict.
    #[must_use]
    pub fn verdict(&self, index: usize, filter: usize) -> Option<bool> {
        let width = usize::from(self.verdict_bytes);
        let record = self.verdicts.chunks_exact(width.max(1)).nth(index)?;
        let byte = record.get(filter / 8)?;
        Some(byte >> (filter % 8) & 1 == 1)
    }

    /// The facts of those records for which `kept` is true, by their place.
    #[must_use]
    pub fn retain(&self, kept: &[bool]) -> Self {
        fn column<T: Copy>(values: &[T], kept: &[bool]) -> Vec<T> {
            let stays = values.iter().zip(kept).filter(|(_, kept)| **kept);
            stays.map(|(value, _)| *value).collect()
        }
        let verdicts = self
            .verdicts
            .chunks_exact(usize::from(self.verdict_bytes).max(1))
            .zip(kept)
            .filter(|(_, kept)| **kept);
        let count = kept.iter().filter(|kept| **kept).count();
        Self {
            generation: self.generation,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            worked_out: self.worked_out,
            deduplication: column(&self.deduplication, kept),
            ordering_keys: column(&self.ordering_keys, kept),
            due_ms: column(&self.due_ms, kept),
            expiry_ms: column(&self.expiry_ms, kept),
            sizes: column(&self.sizes, kept),
            priorities: column(&self.priorities, kept),
            verdict_bytes: self.verdict_bytes,
            verdicts: verdicts.flat_map(|(bits, _)| bits).copied().collect(),
        }
    }

    /// As bytes; none for facts that are empty.
    ///
    /// # Panics
    ///
    /// If a column is there but has not one value for each record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Facts from their bytes; no bytes are empty facts.
    ///
    /// # Errors
    ///
    /// [`FactsError`] if the bytes are not what [`encode`](Self::encode) writes. Nothing is
    /// allocated before the lengths are known to fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, FactsError> {
        wire::decode(bytes)
    }
}

const fn columns_of(absent: &[(Columns, bool)]) -> Columns {
    let mut columns = Columns(0);
    let mut rest = absent;
    while let [(column, is_absent), after @ ..] = rest {
        if !*is_absent {
            columns = columns.with(*column);
        }
        rest = after;
    }
    columns
}

/// Hash of an ordering key as it is stored: XXH3, 64 bits, never [`NO_ORDERING_KEY`].
#[must_use]
pub fn ordering_key_hash(key: &[u8]) -> u64 {
    match XxHash3_64::oneshot(key) {
        NO_ORDERING_KEY => 1,
        hash => hash,
    }
}

/// Hash of a deduplication id as it is stored: XXH3, 128 bits, never [`NO_DEDUPLICATION`].
///
/// Two ids among 2^40 (a million a second for twelve days) meet with a chance of 2^-49. It does not
/// withstand a producer that looks for collisions; such a one only loses records of its own.
#[must_use]
pub fn deduplication_hash(id: &[u8]) -> u128 {
    match XxHash3_128::oneshot(id) {
        NO_DEDUPLICATION => 1,
        hash => hash,
    }
}

#[cfg(test)]
mod tests;
