//! The table of all targets.

mod chunks;
mod frames;
mod kafka;
mod records;
mod selectors;
mod sqs;
mod states;

pub(crate) use chunks::{Chunk, close};
pub(crate) use frames::PLACE;
pub(crate) use kafka::{TOPIC, TOPIC_ID, answers_to};

use crate::{Target, seeds};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn target(
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<(String, Vec<u8>)>,
    (fixed_bytes_max, per_byte_max): (usize, usize),
) -> Target {
    Target {
        name,
        run,
        seeds,
        fixed_bytes_max,
        per_byte_max,
    }
}

/// What a target holds that only copies its input a few times.
const SMALL: (usize, usize) = (64 * KIB, 64);
/// What unpacking to 1 MiB takes: the output while it doubles, once more packed, tables.
const UNPACKS: (usize, usize) = (8 * MIB, 16);

/// All targets.
pub const TARGETS: &[Target] = &[
    target("varint", records::varint, seeds::records::varint, SMALL),
    target("batch", records::batch, seeds::records::batch, UNPACKS),
    target(
        "record_set",
        records::record_set,
        seeds::records::record_set,
        SMALL,
    ),
    target("gzip", records::gzip, seeds::records::gzip, UNPACKS),
    target("snappy", records::snappy, seeds::records::snappy, UNPACKS),
    target("lz4", records::lz4, seeds::records::lz4, UNPACKS),
    target("zstd", records::zstd, seeds::records::zstd, UNPACKS),
    target("facts", records::facts, seeds::records::facts, SMALL),
    target("entry", frames::entry, seeds::frames::entry, SMALL),
    target("frame", frames::frame, seeds::frames::frame, SMALL),
    target(
        "chunk_header",
        frames::chunk_header,
        seeds::frames::chunk_header,
        SMALL,
    ),
    // Recovery looks through a window of some MiB, and the disk in memory keeps its files twice.
    target(
        "recovery",
        frames::recovery,
        seeds::frames::recovery,
        (32 * MIB, 256),
    ),
    target(
        "footer",
        chunks::footer,
        seeds::chunks::footer,
        (2 * MIB, 64),
    ),
    target(
        "checkpoint",
        chunks::checkpoint,
        seeds::chunks::checkpoint,
        (4 * MIB, 64),
    ),
    target(
        "chunk_set",
        chunks::chunk_set,
        seeds::chunks::chunk_set,
        SMALL,
    ),
    target(
        "recording",
        chunks::recording,
        seeds::chunks::recording,
        SMALL,
    ),
    target(
        "meta_change",
        states::meta_change,
        seeds::states::meta_change,
        SMALL,
    ),
    target(
        "group_change",
        states::group_change,
        seeds::states::group_change,
        SMALL,
    ),
    target(
        "group_checkpoint",
        states::group_checkpoint,
        seeds::states::group_checkpoint,
        SMALL,
    ),
    target(
        "partition_state",
        states::partition_state,
        seeds::states::partition_state,
        SMALL,
    ),
    // A name or operator of two bytes is a node of the tree.
    target(
        "selector",
        selectors::selector,
        seeds::selectors::selector,
        (256 * KIB, 256),
    ),
    // A number of two bytes is a value of the tree.
    target("sqs_json", sqs::json, seeds::sqs::json, (256 * KIB, 512)),
    // A part of a name of two bytes is a node of the tree.
    target("sqs_query", sqs::query, seeds::sqs::query, (256 * KIB, 512)),
    target(
        "sqs_signed",
        sqs::signed,
        seeds::sqs::signed,
        (256 * KIB, 64),
    ),
    target("sqs_names", sqs::names, seeds::sqs::names, (256 * KIB, 64)),
    target(
        "sqs_message",
        sqs::message,
        seeds::sqs::message,
        (256 * KIB, 256),
    ),
    target(
        "queue_change",
        states::queue_change,
        seeds::states::queue_change,
        SMALL,
    ),
    // A set of three runs is a block of 32 bytes, written and read once more.
    target(
        "queue_checkpoint",
        states::queue_checkpoint,
        seeds::states::queue_checkpoint,
        (MIB, 256),
    ),
    // An element of three bytes takes up to 150 decoded, and as much again asked and answered.
    target(
        "kafka",
        kafka::connection,
        seeds::kafka::streams,
        (8 * MIB, 1024),
    ),
];
