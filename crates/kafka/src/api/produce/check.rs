//! What a produced batch must be like, before anything else is asked.
//!
//! The rules, in their order, are those of `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`. The records are unpacked only where a
//! rule needs it: to name those whose timestamp is out of bounds or that have no key, and to pack them
//! anew. That is done once a batch, and what a request may unpack to has a bound.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use mulgil_broker::facts::work_out;
use mulgil_broker::meta::schema::{TimestampType, TopicSettings};
use mulgil_broker::meta::subscription::Needed;
use mulgil_record::asked::AskedError;
use mulgil_record::batch::{Batch, BatchError, DecodeLimits, DecodedRecords, NO_TIMESTAMP, split};
use mulgil_record::compression::{Codec, CompressionError};

use crate::wire_errors;

/// The first version that may carry batches packed with zstd (KIP-110).
const SINCE_ZSTD: i16 = 7;

/// Most records of one batch whose errors are told one by one. The client fails the others of the
/// batch all the same.
const RECORD_ERRORS_MAX: usize = 1000;

/// So much may be unpacked for one request, bytes: the connections of a runtime wait meanwhile.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// So much of that for a batch that is refused in any case, to name the records that are to blame.
const NAMED_BYTES_MAX: usize = 4 << 20;

/// What may still be unpacked for a request.
#[derive(Debug)]
pub(super) struct Unpacking {
    left: usize,
}

impl Default for Unpacking {
    fn default() -> Self {
        Self {
            left: UNPACKED_BYTES_MAX,
        }
    }
}

impl Unpacking {
    /// Unpacks the records of a batch if they are at most so many bytes; none if they are more.
    fn records(
        &mut self,
        batch: &Batch,
        bytes_max: usize,
    ) -> Result<Option<DecodedRecords>, Unfit> {
        // What is not packed was received as it is, and costs nothing more.
        let is_packed = batch.header.attributes.codec() != Ok(Codec::None);
        let bytes_max = if is_packed {
            bytes_max.min(self.left)
        } else {
            batch.bytes.len()
        };
        let limits = DecodeLimits {
            bytes_max,
            ..DecodeLimits::default()
        };
        let (spent, records) = match batch.records(limits) {
            Ok(records) => (records.memory_bytes(), Ok(Some(records))),
            Err(BatchError::Compression(CompressionError::TooLarge { .. })) => {
                (bytes_max, Ok(None))
            }
            // Nobody knows how far it was unpacked before that was found.
            Err(error) => (bytes_max, Err(unfit(&error))),
        };
        if is_packed {
            self.left = self.left.saturating_sub(spent);
        }
        records
    }
}

/// A batch whose records are unpacked when the first rule needs them.
#[derive(Debug)]
struct Opened<'a> {
    batch: Batch,
    records: Option<DecodedRecords>,
    unpacking: &'a mut Unpacking,
}

impl Opened<'_> {
    /// The records, unless they are more than may still be unpacked.
    fn records(&mut self) -> Result<&DecodedRecords, Unfit> {
        let records = match self.records.take() {
            Some(records) => Some(records),
            None => self.unpacking.records(&self.batch, usize::MAX)?,
        };
        match records {
            Some(records) => Ok(self.records.insert(records)),
            None => {
                // Clients send the records of such a batch again in smaller ones.
                let most = UNPACKED_BYTES_MAX;
                let why = format!("a request's records unpack to more than {most} bytes");
                Err(Unfit::new(ResponseError::MessageTooLarge, &why))
            }
        }
    }
}

/// Why a batch is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) error: ResponseError,
    pub(super) why: String,
    pub(super) records: Vec<UnfitRecord>,
}

/// Why one record of a batch is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnfitRecord {
    /// Its place in the batch.
    pub(super) index: i32,
    pub(super) why: String,
}

impl Unfit {
    pub(super) fn new(error: ResponseError, why: &str) -> Self {
        Self {
            error,
            why: why.to_owned(),
            records: Vec::new(),
        }
    }
}

/// Checks the records of one partition; gives their batch, and of its records what `needed` says that
/// queue-style readers of the topic must know.
pub(super) fn check(
    records: Bytes,
    version: i16,
    (settings, needed): (&TopicSettings, &Needed),
    now_ms: i64,
    unpacking: &mut Unpacking,
) -> Result<(Batch, Bytes), Unfit> {
    let invalid = |why| Unfit::new(ResponseError::InvalidRecord, why);
    let mut batches = split(records).map_err(|error| unfit(&error))?;
    let Some(bytes) = batches.pop() else {
        return Err(invalid("there must be a record batch for each partition"));
    };
    if !batches.is_empty() {
        return Err(invalid(
            "there must be only one record batch for each partition",
        ));
    }
    check_size(bytes.len(), settings)?;
    let batch = Batch::check(bytes).map_err(|error| unfit(&error))?;
    if batch.header.base_offset.0 != 0 {
        return Err(invalid("the base offset of a produced batch must be 0"));
    }
    batch.check_produced().map_err(|error| unfit(&error))?;
    let codec = batch
        .header
        .attributes
        .codec()
        .map_err(|error| unfit(&error))?;
    if codec == Codec::Zstd && version < SINCE_ZSTD {
        let why = "zstd needs version 7 of the produce request";
        return Err(Unfit::new(ResponseError::UnsupportedCompressionType, why));
    }
    if batch.header.attributes.is_transactional() {
        let why = "transactions are not supported by this broker";
        return Err(Unfit::new(ResponseError::InvalidTxnState, why));
    }
    let mut opened = Opened {
        batch,
        records: None,
        unpacking,
    };
    check_timestamps(&mut opened, settings, now_ms)?;
    if settings.cleanup.compact {
        check_keys(opened.records()?)?;
    }
    let facts = if needed.is_nothing() {
        Bytes::new()
    } else {
        let facts = work_out(opened.records()?, needed, now_ms);
        facts.map_err(|error| not_asked(&error))?.encode().into()
    };
    Ok((pack(opened, codec, settings)?, facts))
}

/// A record asks for something by a reserved header that is not possible.
fn not_asked(error: &AskedError) -> Unfit {
    let index = i32::try_from(error.index).unwrap_or(i32::MAX);
    let why = error.to_string();
    Unfit {
        error: ResponseError::InvalidRecord,
        why: "a record asks for something that is not possible".to_owned(),
        records: vec![UnfitRecord { index, why }],
    }
}

/// Every record of a compacted topic has a key (`LogValidator.validateKey`).
fn check_keys(records: &DecodedRecords) -> Result<(), Unfit> {
    let keyless = (0_i32..)
        .zip(records.views())
        .filter(|(_, view)| view.key.is_none());
    let bad = keyless.map(|(index, _)| UnfitRecord {
        index,
        why: "a compacted topic takes no record without a key".to_owned(),
    });
    let bad: Vec<_> = bad.take(RECORD_ERRORS_MAX).collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Unfit {
        error: ResponseError::InvalidRecord,
        why: "one or more records have been rejected for want of a key".to_owned(),
        records: bad,
    })
}

/// Packs a batch as its topic wants it, unless its producer has packed it by that codec.
fn pack(mut opened: Opened<'_>, packed: Codec, settings: &TopicSettings) -> Result<Batch, Unfit> {
    let Some(codec) = settings.compression.filter(|codec| *codec != packed) else {
        return Ok(opened.batch);
    };
    let records = opened.records()?;
    let batch = records.packed_by(codec).map_err(|error| unfit(&error))?;
    // What was small enough may not be once it is packed otherwise (`UnifiedLog.append`).
    check_size(batch.bytes.len(), settings)?;
    Ok(batch)
}

fn check_size(bytes: usize, settings: &TopicSettings) -> Result<(), Unfit> {
    let size_max = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
    if bytes <= size_max {
        return Ok(());
    }
    let why = format!("a batch of {bytes} bytes, this topic takes {size_max}");
    Err(Unfit::new(ResponseError::MessageTooLarge, &why))
}

fn unfit(error: &BatchError) -> Unfit {
    Unfit::new(wire_errors::batch(error), &error.to_string())
}

/// `LogValidator.validateTimestamp`, KIP-32 and KIP-937.
fn check_timestamps(
    opened: &mut Opened<'_>,
    settings: &TopicSettings,
    now_ms: i64,
) -> Result<(), Unfit> {
    if settings.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let distance = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let earliest = settings
        .timestamp_before_max_ms
        .map(|ms| now_ms.saturating_sub(distance(ms)));
    let latest = settings
        .timestamp_after_max_ms
        .map(|ms| now_ms.saturating_add(distance(ms)));
    let (earliest, latest) = (earliest.unwrap_or(i64::MIN), latest.unwrap_or(i64::MAX));
    // The header tells of the latest timestamp, but not of the earliest.
    if opened.batch.header.max_timestamp > latest {
        let named = opened.unpacking.records(&opened.batch, NAMED_BYTES_MAX)?;
        let bad = named.map(|records| misdated(&records, earliest, latest));
        return Err(invalid_timestamp(bad.unwrap_or_default()));
    }
    if settings.timestamp_before_max_ms.is_none() {
        return Ok(());
    }
    let bad = misdated(opened.records()?, earliest, latest);
    if bad.is_empty() {
        return Ok(());
    }
    Err(invalid_timestamp(bad))
}

/// The records whose timestamp is not within these.
fn misdated(records: &DecodedRecords, earliest: i64, latest: i64) -> Vec<UnfitRecord> {
    let mut bad = Vec::new();
    for (index, view) in (0_i32..).zip(records.views()) {
        let timestamp = records.timestamp(view.timestamp_delta);
        if timestamp != NO_TIMESTAMP && !(earliest..=latest).contains(&timestamp) {
            let (limit, than) = if timestamp < earliest {
                (earliest, "older")
            } else {
                (latest, "newer")
            };
            let why = format!("timestamp {timestamp} is {than} than {limit}, the limit");
            bad.push(UnfitRecord { index, why });
        }
        if bad.len() >= RECORD_ERRORS_MAX {
            break;
        }
    }
    bad
}

fn invalid_timestamp(records: Vec<UnfitRecord>) -> Unfit {
    Unfit {
        error: ResponseError::InvalidTimestamp,
        why: "one or more records have been rejected due to invalid timestamp".to_owned(),
        records,
    }
}
