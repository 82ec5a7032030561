//! Feeds every target with its seeds and its committed corpus, within bounds of time and memory.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here is the test"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mulgil_fuzz::{TARGETS, Target, peak_of, seeds};

/// For one input. Far above what any takes, far below what anybody would call hanging.
const LONGEST: Duration = Duration::from_secs(5);
/// For all of the corpus, bytes.
const CORPUS_BYTES_MAX: u64 = 2 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn feed(target: &Target, name: &str, bytes: &[u8]) {
    let started = Instant::now();
    let outcome = std::panic::catch_unwind(|| target.execute(bytes));
    let took = started.elapsed();
    assert!(outcome.is_ok(), "{} breaks with {name}", target.name);
    assert!(took < LONGEST, "{} takes {took:?} for {name}", target.name);
}

/// Every prefix too, since input that ends early is the commonest damage.
fn replay(name: &str) {
    let target = Target::find(name).unwrap();
    for (name, bytes) in (target.seeds)() {
        feed(target, &name, &bytes);
        let step = bytes.len() / 100 + 1;
        for end in (0..bytes.len()).step_by(step) {
            feed(target, &format!("{name} up to {end}"), &bytes[..end]);
        }
    }
    for file in files(&corpus().join(name)) {
        feed(
            target,
            &file.display().to_string(),
            &std::fs::read(&file).unwrap(),
        );
    }
}

macro_rules! replay {
    ($($name:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { replay(stringify!($name)); })*
    };
}

replay! {
    varint batch record_set gzip snappy lz4 zstd facts entry frame chunk_header recovery footer
    checkpoint chunk_set recording meta_change group_change group_checkpoint partition_state
    selector sqs_json sqs_query sqs_signed sqs_names sqs_message queue_change queue_checkpoint kafka
}

#[test]
fn every_target_is_replayed_and_every_folder_belongs_to_one() {
    let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(REPLAYED, all);
    for folder in files(&corpus()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(all.contains(&name), "corpus/{name} belongs to no target");
    }
}

#[test]
fn the_corpus_stays_small() {
    let folders = files(&corpus());
    let sizes = folders.iter().flat_map(|folder| files(folder));
    let bytes: u64 = sizes.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn every_advertised_kind_of_request_has_a_sample() {
    assert_eq!(seeds::kafka::missing(), Vec::<String>::new());
}

/// Were the counters blind, no bound on memory would mean anything.
#[test]
fn what_is_held_at_once_is_counted() {
    let ((), peak) = peak_of(1 << 20, || drop(std::hint::black_box(vec![1_u8; 100_000])));
    assert!((100_000..110_000).contains(&peak), "{peak}");
    let ((), peak) = peak_of(1 << 20, || {
        for _ in 0..10 {
            drop(std::hint::black_box(vec![1_u8; 10_000]));
        }
    });
    assert!((10_000..12_000).contains(&peak), "{peak}");
}
