//! Batches that lie: checksums, counts, lengths, codecs, and what they unpack to.

use bytes::Bytes;
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::{Codec, compress};
use mulgil_record::crc::crc32c;

use crate::broker::Broker;
use crate::client::{Client, now_ms};

const MIB: usize = 1 << 20;

fn good(values: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Codec::None, now_ms());
    for _ in 0..values {
        batch.push(now_ms(), None, Some(b"value"), &[]);
    }
    batch.finish().bytes.to_vec()
}

/// A good batch with other bytes at a place, and, if wanted, a right checksum over them.
fn with(at: usize, bytes: &[u8], sealed: bool) -> Bytes {
    let mut batch = good(2);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if sealed {
        let crc = crc32c(&[&batch[21..]]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch.into()
}

pub(crate) fn bad(broker: &Broker) {
    let mut client = Client::connect(broker.kafka());
    client.create("bad");
    let int = |value: i32| value.to_be_bytes();
    let mut cut = good(2);
    cut.truncate(80);
    let bad: Vec<(&str, Bytes)> = vec![
        ("a wrong checksum", with(62, b"x", false)),
        ("magic 1", with(16, &[1], true)),
        ("magic 3", with(16, &[3], true)),
        ("a length of -1", with(8, &int(-1), true)),
        ("a length of 2 GiB", with(8, &int(i32::MAX), true)),
        ("a length of 14", with(8, &int(14), true)),
        ("codec 7", with(21, &[0, 7], true)),
        ("a control batch", with(21, &[0, 0x20], true)),
        ("no records", with(57, &int(0), true)),
        ("-1 records", with(57, &int(-1), true)),
        ("2^31 records", with(57, &int(i32::MAX), true)),
        ("a last offset of 2^31", with(23, &int(i32::MAX), true)),
        (
            "more records than there are",
            [with(57, &int(3), true)].concat().into(),
        ),
        ("half a batch", cut.into()),
        ("a byte", Bytes::from_static(b"x")),
    ];
    for (name, batch) in bad {
        let (error, _) = client.produce("bad", batch);
        assert_ne!(error, 0, "{name} is taken");
    }
    // The counts of the header agree with each other, but not with the records.
    let mut counts = good(2);
    counts[23..27].copy_from_slice(&int(9));
    counts[57..61].copy_from_slice(&int(10));
    let crc = crc32c(&[&counts[21..]]);
    counts[17..21].copy_from_slice(&crc.to_be_bytes());
    let (error, _) = client.produce("bad", counts.into());
    // Kafka opens every batch and refuses this one; whoever stores it must survive a look into it.
    let (found, _) = client.find_by_time("bad", 1);
    assert!(
        error != 0 || found != 0,
        "such a batch is refused, or can't be opened"
    );
    let (error, _) = client.produce("bad", good(2).into());
    assert_eq!(error, 0, "a good one is still taken");
}

/// A batch of one record that unpacks to zeroes, many times `piece` of them.
fn bomb(codec: Codec, piece: usize, times: usize) -> Bytes {
    let packed = compress(codec, &vec![0; piece]).unwrap().repeat(times);
    let mut batch = good(1);
    batch.truncate(61);
    batch.extend_from_slice(&packed);
    batch[21..23].copy_from_slice(&[0, codec.id()]);
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&[&batch[21..]]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// As much as each codec can put into the megabyte that a batch may have: up to 1 GiB.
pub(crate) fn bombs(broker: &Broker) {
    let bombs = [
        ("gzip", bomb(Codec::Gzip, 100 * MIB, 9)),
        ("snappy", bomb(Codec::Snappy, 18 * MIB, 1)),
        ("lz4", bomb(Codec::Lz4, 60 * MIB, 4)),
        ("zstd", bomb(Codec::Zstd, 128 * MIB, 8)),
    ];
    let openers: Vec<_> = bombs
        .into_iter()
        .map(|(name, bomb)| {
            assert!(bomb.len() < MIB, "{name} bomb of {} bytes", bomb.len());
            let address = broker.kafka().to_owned();
            std::thread::spawn(move || {
                let mut client = Client::connect(&address);
                client.create(name);
                let (error, _) = client.produce(name, bomb);
                // Stored or refused: nobody who asks for a time may bring the broker down with it.
                for _ in 0..3 {
                    let (found, offset) = client.find_by_time(name, 1);
                    assert!(error != 0 || found != 0 || offset >= -1);
                }
                client.fetch(name, 0);
            })
        })
        .collect();
    for opener in openers {
        opener.join().unwrap();
    }
}
