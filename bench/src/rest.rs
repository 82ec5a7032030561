//! A broker at rest: how soon it is ready, and what it holds when nothing happens.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::broker::{Broker, Start, Target};
use crate::meter::float;
use crate::process::{self, Cpu};
use crate::produce::{self, ProduceOptions};
use crate::results::Figures;
use crate::wire::Wire;

/// What was begun comes to rest before memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);
const TOPICS: i32 = 10;

/// What is there at a start.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReadyOptions {
    /// Gigabytes that the log holds, written before and left by kill -9
    #[arg(long, default_value_t = 0)]
    gigabytes: u64,
    /// Partitions over which they are spread
    #[arg(long, default_value_t = 100)]
    partitions: i32,
}

/// Starts a broker, maybe on a log that was left behind.
pub(crate) fn ready(
    target: &Target,
    (broker, start): (Broker, Start),
    options: &ReadyOptions,
) -> Result<(Broker, Figures)> {
    let mut figures = Figures::new();
    if options.gigabytes == 0 {
        put_start(&mut figures, start);
        return Ok((broker, figures));
    }
    let fill = ProduceOptions {
        topic: "filled".to_owned(),
        partitions: options.partitions,
        record_bytes: 1024,
        batch_records: 16,
        in_flight: 5,
        connections: 4,
        acks: -1,
        durability: "default".to_owned(),
        rate: None,
        seconds: 600,
        megabytes: options.gigabytes << 10,
        warmup_seconds: 0,
    };
    produce::run(&broker, &fill)?;
    let home = broker.home.clone();
    broker.kill();
    let (broker, start) = Broker::start_on(target, &home)?;
    put_start(&mut figures, start);
    let (now, _) = process::resident_mib(broker.pid)?;
    figures.insert("resident_mib".to_owned(), now);
    figures.insert("start_cpu_s".to_owned(), Cpu::of(broker.pid)?.total());
    Ok((broker, figures))
}

fn put_start(figures: &mut Figures, start: Start) {
    let mut put = |name: &str, time: Duration| {
        figures.insert(name.to_owned(), time.as_secs_f64() * 1e3);
    };
    put("announced_ms", start.announced);
    put("answered_ms", start.answered);
}

/// What there is to hold.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IdleOptions {
    /// Connections that have asked once and then say nothing
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// Partitions, in ten topics
    #[arg(long, default_value_t = 0)]
    partitions: i32,
    /// How long processor time is watched
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Looks at a broker that has nothing to do.
pub(crate) fn idle(broker: &Broker, options: &IdleOptions) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut wire = Wire::connect(&broker.address)?;
    if options.partitions > 0 {
        let (each, before) = (options.partitions / TOPICS, Cpu::of(broker.pid)?);
        for topic in 0..TOPICS {
            wire.create_topic(&format!("idle-{topic}"), each, None)?;
        }
        let used = Cpu::of(broker.pid)?.since(before).total();
        figures.insert("create_cpu_s".to_owned(), used);
    }
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..options.connections {
        let mut wire = Wire::connect(&broker.address)?;
        wire.greet()?;
        // The reading half has a buffer of its own, which 10,000 of them need not keep.
        open.push(wire.out);
    }
    thread::sleep(SETTLE);
    let before = Cpu::of(broker.pid)?;
    thread::sleep(Duration::from_secs(options.seconds));
    let used = Cpu::of(broker.pid)?.since(before).total();
    let (now, peak) = process::resident_mib(broker.pid)?;
    figures.insert("resident_mib".to_owned(), now);
    figures.insert("peak_mib".to_owned(), peak);
    figures.insert(
        "idle_ms_per_s".to_owned(),
        used * 1e3 / float(options.seconds),
    );
    wire.greet()?;
    drop(open);
    Ok(figures)
}
