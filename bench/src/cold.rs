//! What a reader of old data does to those who publish.
//!
//! Messages are published at a fixed rate, and latencies count from the time at which a message was
//! due. Stretches take turns: undisturbed, beside a reader of a stated rate, beside one without limit;
//! so many rounds. Before each stretch the page cache gives up all files, and the kernel's own count
//! of what the broker fetched from the disk says whether the reader's data was cold.
//!
//! Two more stretches show what the disk alone does to a writer, undisturbed and beside the same limited
//! reader: no broker on it can do better.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::bare::{self, Schedule};
use crate::broker::Broker;
use crate::fetch::Fetcher;
use crate::files;
use crate::fill::{self, FillOptions};
use crate::frames::{Frames, Shape};
use crate::meter::{float, histogram, note};
use crate::process::{Cpu, Io};
use crate::produce;
use crate::results::{Figures, median};
use crate::settle;
use crate::wire::{Input, Wire};

const OLD: &str = "old";
const LIVE: &str = "live";
/// Not measured at the beginning of each stretch; the reader reads already.
const WARMUP: Duration = Duration::from_secs(2);
const SETTLE_LIMIT: Duration = Duration::from_secs(3600);
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The old data, the messages and the readers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ColdOptions {
    /// GiB of old data
    #[arg(long, default_value_t = 10.0)]
    gigabytes: f64,
    /// Partitions over which it is spread
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// How fast the limited reader reads, MB a second
    #[arg(long, default_value_t = 50.0)]
    reader_mb_per_s: f64,
    /// How much the limited reader asks for at a time, KiB; the other one asks for 50 MiB, as Kafka's
    /// consumer does
    #[arg(long, default_value_t = 1024)]
    reader_fetch_kib: i32,
    /// Messages a second that are published
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Bytes of each message's value
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    durability: String,
    /// Length of a stretch, beside two seconds before it
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often each kind of stretch takes its turn
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The old data is at rest when nothing has changed for so long
    #[arg(long, default_value_t = 5)]
    quiet_seconds: u64,
}

/// Who reads meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nobody,
    Limited,
    Unlimited,
    /// Bare writes to the disk, and no reader.
    Bare,
    /// Bare writes, and a bare reader of the limited rate.
    BareLimited,
}

impl Beside {
    const ALL: [Self; 5] = [
        Self::Nobody,
        Self::Limited,
        Self::Unlimited,
        Self::Bare,
        Self::BareLimited,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "undisturbed",
            Self::Limited => "limited",
            Self::Unlimited => "unlimited",
            Self::Bare => "disk_undisturbed",
            Self::BareLimited => "disk_limited",
        }
    }

    /// The stretch that it is compared with, if it is not one of those.
    const fn undisturbed(self) -> Option<Self> {
        match self {
            Self::Nobody | Self::Bare => None,
            Self::Limited | Self::Unlimited => Some(Self::Nobody),
            Self::BareLimited => Some(Self::Bare),
        }
    }

    const fn is_bare(self) -> bool {
        matches!(self, Self::Bare | Self::BareLimited)
    }
}

/// What a stretch showed.
struct Stretch {
    latencies: Histogram<u64>,
    reader_mb_per_s: f64,
    /// What the broker fetched from the disk for each byte that the reader got.
    read_per_byte: f64,
    cached_share: Option<f64>,
    server_cores: f64,
}

/// Fills, and lets the stretches take turns.
pub(crate) fn run(broker: &Broker, options: &ColdOptions) -> Result<Figures> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    ensure!(options.rate > 0, "--rate must be at least 1");
    ensure!(options.seconds > 0, "--seconds must be at least 1");
    ensure!(
        options.reader_fetch_kib > 0,
        "--reader-fetch-kib must be at least 1"
    );
    ensure!(
        options.reader_mb_per_s > 0.0,
        "--reader-mb-per-s must be more than 0"
    );
    let fill = FillOptions {
        gigabytes: options.gigabytes,
        partitions: options.partitions,
        record_bytes: 1024,
        batch_records: 16,
        request_partitions: 20,
        in_flight: 2,
        connections: 2,
        mb_per_s: None,
        durability: "default".to_owned(),
    };
    let wanted = fill.bytes()?;
    files::need_room(&broker.home, wanted + wanted / 2 + (4 << 30))?;
    let setting = produce::setting(broker, &options.durability)?;
    Wire::connect(&broker.address)?.create_topic(LIVE, 1, setting)?;
    fill::run(broker, OLD, &fill)?;
    let quiet = Duration::from_secs(options.quiet_seconds);
    settle::until_at_rest(broker, quiet, SETTLE_LIMIT)?;
    let mut rounds = Vec::new();
    for round in 0..options.runs {
        let mut stretches = Vec::new();
        for turn in 0..Beside::ALL.len() {
            // Each round begins with another one, so that none is always the first.
            let beside = Beside::ALL.into_iter().cycle().nth(round + turn);
            let beside = beside.unwrap_or(Beside::Nobody);
            let stretch = stretch(broker, options, beside)?;
            let p99 = stretch.latencies.value_at_quantile(0.99);
            let (name, rate) = (beside.name(), stretch.reader_mb_per_s);
            eprintln!(
                "  round {}: {name}: p99 {p99} µs, reader {rate:.0} MB/s",
                round + 1
            );
            stretches.push((beside, stretch));
        }
        rounds.push(stretches);
    }
    Ok(summed(&rounds))
}

/// Medians over the rounds, and each round's p99.
fn summed(rounds: &[Vec<(Beside, Stretch)>]) -> Figures {
    let mut figures = Figures::new();
    let every = |beside: Beside, what: &dyn Fn(&Stretch) -> f64| -> Vec<f64> {
        let all = rounds.iter().flatten();
        let mine = all.filter(|(who, _)| *who == beside);
        mine.map(|(_, stretch)| what(stretch)).collect()
    };
    let quantile = |beside, quantile| {
        every(beside, &|stretch: &Stretch| {
            float(stretch.latencies.value_at_quantile(quantile))
        })
    };
    for beside in Beside::ALL {
        let name = beside.name();
        let mut put = |what: &str, value: f64| figures.insert(format!("{name}_{what}"), value);
        for (label, at) in QUANTILES {
            put(&format!("{label}_us"), median(quantile(beside, at)));
        }
        for (round, p99) in (1..).zip(quantile(beside, 0.99)) {
            put(&format!("p99_us_round_{round}"), p99);
        }
        if !beside.is_bare() {
            put("server_cores", median(every(beside, &|s| s.server_cores)));
        }
        let cached = every(beside, &|s| s.cached_share.unwrap_or(f64::NAN));
        if cached.iter().all(|share| !share.is_nan()) {
            put("cached_share", cached.into_iter().fold(0.0, f64::max));
        }
        let Some(undisturbed) = beside.undisturbed() else {
            continue;
        };
        put("mb_per_s", median(every(beside, &|s| s.reader_mb_per_s)));
        // The least says whether any stretch was served from the page cache.
        let read = every(beside, &|s| s.read_per_byte);
        if !beside.is_bare() {
            put(
                "read_per_byte",
                read.into_iter().fold(f64::INFINITY, f64::min),
            );
        }
        for (label, at) in QUANTILES {
            let pairs = quantile(beside, at)
                .into_iter()
                .zip(quantile(undisturbed, at));
            put(
                &format!("{label}_ratio"),
                median(pairs.map(|(with, without)| with / without).collect()),
            );
        }
    }
    figures
}

fn stretch(broker: &Broker, options: &ColdOptions, beside: Beside) -> Result<Stretch> {
    if beside.is_bare() {
        return bare_stretch(broker, options, beside);
    }
    files::drop_cached(&broker.home)?;
    let cached_share = files::cached_share(&broker.home)?;
    let (io, cpu, begin) = (Io::of(broker.pid)?, Cpu::of(broker.pid)?, Instant::now());
    let stop = Arc::new(AtomicBool::new(false));
    let reader = match beside {
        Beside::Nobody | Beside::Bare | Beside::BareLimited => None,
        Beside::Limited | Beside::Unlimited => Some(start_reader(broker, options, beside, &stop)?),
    };
    let latencies = publish(broker, options);
    stop.store(true, Ordering::Relaxed);
    let took = begin.elapsed().as_secs_f64();
    let got = match reader {
        Some(reader) => reader
            .join()
            .map_err(|_panic| anyhow!("the reader panicked"))??,
        None => 0,
    };
    let read = Io::of(broker.pid)?.read - io.read;
    Ok(Stretch {
        latencies: latencies?,
        reader_mb_per_s: float(got) / 1e6 / took,
        read_per_byte: float(read) / float(got),
        cached_share,
        server_cores: Cpu::of(broker.pid)?.since(cpu).total() / took,
    })
}

/// The broker rests; the disk alone does the same work.
fn bare_stretch(broker: &Broker, options: &ColdOptions, beside: Beside) -> Result<Stretch> {
    files::drop_cached(&broker.home)?;
    let cached_share = files::cached_share(&broker.home)?;
    let begin = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = (beside == Beside::BareLimited).then(|| {
        let (home, stop) = (broker.home.clone(), Arc::clone(&stop));
        let mb_per_s = options.reader_mb_per_s;
        thread::spawn(move || bare::read(&home, mb_per_s, &stop))
    });
    let schedule = Schedule {
        rate: options.rate,
        record_bytes: options.record_bytes,
        warmup: WARMUP,
        length: WARMUP + Duration::from_secs(options.seconds),
    };
    let folder = broker.home.with_extension("probe");
    let latencies = bare::write(&folder, schedule);
    stop.store(true, Ordering::Relaxed);
    let took = begin.elapsed().as_secs_f64();
    let got = match reader {
        Some(reader) => reader
            .join()
            .map_err(|_panic| anyhow!("the bare reader panicked"))??,
        None => 0,
    };
    std::fs::remove_dir_all(&folder)?;
    Ok(Stretch {
        latencies: latencies?,
        reader_mb_per_s: float(got) / 1e6 / took,
        read_per_byte: 1.0,
        cached_share,
        server_cores: 0.0,
    })
}

/// Reads the old data from its beginning until it is told to stop; when it has read all, the page
/// cache gives it up and it begins anew. The bytes that came.
fn start_reader(
    broker: &Broker,
    options: &ColdOptions,
    beside: Beside,
    stop: &Arc<AtomicBool>,
) -> Result<thread::JoinHandle<Result<u64>>> {
    let (address, home) = (broker.address.clone(), broker.home.clone());
    let (partitions, options) = (options.partitions, options.clone());
    let ends = Wire::connect(&address)?.ends(OLD, partitions)?;
    let records: i64 = ends.iter().sum();
    let stop = Arc::clone(stop);
    let limited = beside == Beside::Limited;
    Ok(thread::spawn(move || {
        let (begin, mut bytes) = (Instant::now(), 0);
        loop {
            let mut fetcher = Fetcher::new(Wire::connect(&address)?, OLD, 0..partitions);
            if limited {
                fetcher = fetcher.asking_for(options.reader_fetch_kib << 10);
            }
            let mut left = records;
            while left > 0 {
                if stop.load(Ordering::Relaxed) {
                    return Ok(bytes);
                }
                for got in fetcher.fetch()? {
                    left -= got.to - got.from;
                    bytes += got.bytes;
                }
                if limited {
                    let due = float(bytes) / (options.reader_mb_per_s * 1e6);
                    let due = begin + Duration::from_secs_f64(due);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
            files::drop_clean(&home)?;
        }
    }))
}

/// Publishes on schedule, whatever the broker does; latencies from the time when each was due.
fn publish(broker: &Broker, options: &ColdOptions) -> Result<Histogram<u64>> {
    let shape = Shape {
        record_bytes: options.record_bytes,
        batch_records: 1,
        acks: -1,
    };
    let frames = Frames::build(LIVE, 0..1, shape)?;
    let Wire { mut out, input, .. } = Wire::connect(&broker.address)?;
    let every = Duration::from_secs(1) / options.rate;
    let length = WARMUP + Duration::from_secs(options.seconds);
    let begin = Instant::now();
    let (sender, sent) = std::sync::mpsc::channel::<Instant>();
    let answers = thread::spawn(move || answers(input, begin, &sent));
    let mut due = begin;
    while due < begin + length {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let waiting = sender.send(due);
        if waiting.is_err() || frames.send(&mut out, 0).is_err() {
            // The other thread knows why.
            break;
        }
        due += every;
    }
    drop(sender);
    let latencies = answers
        .join()
        .map_err(|_panic| anyhow!("a thread panicked"))??;
    ensure!(due >= begin + length, "the connection broke");
    Ok(latencies)
}

fn answers(
    mut input: Input,
    begin: Instant,
    sent: &std::sync::mpsc::Receiver<Instant>,
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    for due in sent {
        produce::accepted(&mut input)?;
        if due.duration_since(begin) >= WARMUP {
            note(&mut latencies, due.elapsed());
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(micros: u64) -> Stretch {
        let mut latencies = histogram().unwrap();
        latencies.record(micros).unwrap();
        Stretch {
            latencies,
            reader_mb_per_s: 50.0,
            read_per_byte: 1.0,
            cached_share: Some(0.0),
            server_cores: 0.5,
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let round = |nobody, limited| {
            vec![
                (Beside::Limited, stretch(limited)),
                (Beside::Nobody, stretch(nobody)),
                (Beside::Unlimited, stretch(900)),
                (Beside::Bare, stretch(50)),
                (Beside::BareLimited, stretch(150)),
            ]
        };
        let figures = summed(&[round(100, 150), round(100, 900), round(100, 110)]);
        assert!((figures["limited_p99_ratio"] - 1.5).abs() < 0.01);
        assert!((figures["unlimited_p99_ratio"] - 9.0).abs() < 0.01);
        assert!((figures["limited_p99_us_round_2"] - 900.0).abs() < 1.0);
        assert!((figures["disk_limited_p99_ratio"] - 3.0).abs() < 0.01);
        assert!(!figures.contains_key("disk_limited_server_cores"));
    }
}
