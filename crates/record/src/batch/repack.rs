//! Packing a batch anew: the same records, another codec.

use bytes::Bytes;

use super::{Batch, BatchError, DecodeLimits, HEADER_BYTES, PREFIX_BYTES, seal};
use crate::compression::{self, Codec};

impl Batch {
    /// The same records, packed by `codec`; the batch itself if they are already.
    ///
    /// The records are unpacked and checked once, and packed as the bytes they are: offsets,
    /// timestamps, headers and what names the producer stay.
    ///
    /// # Errors
    ///
    /// The records cannot be unpacked within `limits`, or one of them is none.
    pub fn packed_by(&self, codec: Codec, limits: DecodeLimits) -> Result<Self, BatchError> {
        if self.header.attributes.codec()? == codec {
            return Ok(self.clone());
        }
        // Not only unpacked: what was packed badly by the producer would now be the broker's.
        let records = self.records(limits)?;
        let packed = match codec {
            Codec::None => records.payload().clone(),
            Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
                compression::compress(codec, records.payload())?.into()
            }
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len());
        bytes.extend_from_slice(self.bytes.get(..HEADER_BYTES).unwrap_or_default());
        bytes.extend_from_slice(&packed);
        let mut header = self.header;
        header.attributes = header.attributes.with_codec(codec);
        let length = bytes.len() - PREFIX_BYTES;
        header.length = i32::try_from(length).map_err(|_too_long| BatchError::Length(i32::MAX))?;
        if let Some(head) = bytes.first_chunk_mut() {
            header.write(head);
        }
        header.crc = seal(&mut bytes);
        Ok(Self {
            header,
            bytes: Bytes::from(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::ids::{ProducerEpoch, ProducerId};

    #[test]
    fn records_are_the_same_whatever_packs_them() {
        for from in Codec::ALL {
            let mut builder = BatchBuilder::new(from, 1000);
            builder = builder.producer(ProducerId(7), ProducerEpoch(3), 20);
            for n in 0..50_u8 {
                let header: (&[u8], Option<&[u8]>) = (b"name", None);
                let value = vec![n; usize::from(n) * 20];
                builder.push(1000 - i64::from(n), Some(&[n]), Some(&value), &[header]);
            }
            let batch = builder.finish();
            let all = |batch: &Batch| {
                let records = batch.records(DecodeLimits::default()).unwrap();
                records.iter().collect::<Vec<_>>()
            };
            for to in Codec::ALL {
                let packed = batch.packed_by(to, DecodeLimits::default()).unwrap();
                assert_eq!(Batch::check(packed.bytes.clone()), Ok(packed.clone()));
                assert_eq!(packed.header.attributes.codec(), Ok(to));
                assert_eq!(packed.check_produced(), Ok(()));
                assert_eq!(all(&packed), all(&batch), "{from} to {to}");
                let head = |batch: &Batch| {
                    let header = batch.header;
                    (
                        header.producer_id,
                        header.base_sequence,
                        header.max_timestamp,
                    )
                };
                assert_eq!(head(&packed), head(&batch));
                assert_eq!(packed.bytes.as_ptr() == batch.bytes.as_ptr(), from == to);
            }
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_not_packed() {
        let mut builder = BatchBuilder::new(Codec::Zstd, 0);
        builder.push(0, None, Some(&[0; 100_000]), &[]);
        let limits = DecodeLimits {
            bytes_max: 1000,
            ..DecodeLimits::default()
        };
        assert!(builder.finish().packed_by(Codec::Gzip, limits).is_err());
    }
}
