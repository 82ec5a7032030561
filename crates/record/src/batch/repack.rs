//! Packing a batch anew: the same records, another codec.

use bytes::Bytes;

use super::{Batch, BatchError, DecodedRecords, HEADER_BYTES, PREFIX_BYTES, seal};
use crate::compression::{self, Codec};

impl DecodedRecords {
    /// A batch of the same records, packed by `codec`.
    ///
    /// They are packed as the bytes they are: offsets, timestamps, headers and what names the producer
    /// stay. That they were checked when they were unpacked is why this is not a batch's: what its
    /// producer packed badly would then be the broker's.
    ///
    /// # Errors
    ///
    /// There is no memory to pack them, or they take 2 GiB then.
    pub fn packed_by(&self, codec: Codec) -> Result<Batch, BatchError> {
        let packed = match codec {
            Codec::None => self.payload().clone(),
            Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
                compression::compress(codec, self.payload())?.into()
            }
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(&packed);
        let mut header = *self.header();
        header.attributes = header.attributes.with_codec(codec);
        let length = bytes.len() - PREFIX_BYTES;
        header.length = i32::try_from(length).map_err(|_too_long| BatchError::Length(i32::MAX))?;
        if let Some(head) = bytes.first_chunk_mut() {
            header.write(head);
        }
        header.crc = seal(&mut bytes);
        Ok(Batch {
            header,
            bytes: Bytes::from(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, DecodeLimits};
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
            let unpacked = |batch: &Batch| batch.records(DecodeLimits::default()).unwrap();
            let all = |batch: &Batch| unpacked(batch).iter().collect::<Vec<_>>();
            for to in Codec::ALL {
                let packed = unpacked(&batch).packed_by(to).unwrap();
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
            }
        }
    }
}
