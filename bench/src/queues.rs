//! Queues: what idle ones cost, what many waiting messages cost, and what working them off costs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use serde_json::{Value, json};

use crate::broker::{Broker, Target};
use crate::meter::{self, Moment, Moved, float};
use crate::process;
use crate::rest_api::Api;
use crate::results::Figures;
use crate::wire::{Wire, topic_name};

const PRODUCE_VERSION: i16 = 9;
/// What is going on in the broker comes to rest before memory is looked at.
const REST: Duration = Duration::from_secs(3);
/// Before and behind a purge, for what others feel of it.
const AROUND: Duration = Duration::from_millis(250);
/// Longer than retention, and with it reclaiming, looks apart.
const RECLAIMED: Duration = Duration::from_secs(12);

/// Idle queues.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IdleOptions {
    /// How many
    #[arg(long, default_value_t = 50_000)]
    queues: u32,
    /// Connections that create them
    #[arg(long, default_value_t = 32)]
    connections: u32,
}

/// What messages that wait ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Waiting {
    /// Nothing
    #[default]
    Plain,
    /// One of ten priorities each, by turns
    Priority,
    /// One of a thousand keys each, by turns
    Key,
    /// Some time within the next 24 hours each
    Delay,
}

/// Many messages that wait.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WaitingOptions {
    /// How many
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// What they ask for
    #[arg(long, value_enum, default_value_t)]
    kind: Waiting,
    /// Messages of one batch
    #[arg(long, default_value_t = 1_000)]
    batch_records: u32,
}

/// Queues that are filled and worked off.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkOptions {
    /// How many queues
    #[arg(long, default_value_t = 1)]
    queues: u32,
    /// Connections, each of which publishes, receives and settles in turns
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Messages of one request
    #[arg(long, default_value_t = 100)]
    records: u32,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Runs `each` for the numbers below `count`, shared by so many connections.
fn share(
    broker: &Broker,
    count: u32,
    connections: u32,
    each: fn(&mut Api, u32) -> Result<()>,
) -> Result<()> {
    let workers = (0..connections).map(|first| {
        let home = broker.home.clone();
        thread::spawn(move || -> Result<()> {
            let mut api = Api::of(&home)?;
            let own = (first..count).step_by(usize::try_from(connections)?);
            own.into_iter()
                .try_for_each(|number| each(&mut api, number))
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        worker
            .join()
            .map_err(|_panic| anyhow!("a worker panicked"))??;
    }
    Ok(())
}

/// Creates queues, and looks at what they cost.
pub(crate) fn idle(
    target: &Target,
    broker: Broker,
    options: &IdleOptions,
) -> Result<(Broker, Figures)> {
    let mut figures = Figures::new();
    thread::sleep(REST);
    let before = process::resident_mib(broker.pid)?.0;
    let begin = Instant::now();
    share(
        &broker,
        options.queues,
        options.connections,
        |api, number| {
            let queue = json!({"name": format!("queue-{number}")}).to_string();
            api.call("POST", "/api/v1/queues", &queue).map(drop)
        },
    )?;
    let took = begin.elapsed().as_secs_f64();
    let count = f64::from(options.queues);
    figures.insert("created_per_s".to_owned(), count / took);
    thread::sleep(RECLAIMED);
    let after = process::resident_mib(broker.pid)?.0;
    let (broker, _) = again(target, broker, &mut figures)?;
    thread::sleep(RECLAIMED);
    let started = process::resident_mib(broker.pid)?.0;
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("kib_per_queue", (after - before) * 1024.0 / count);
    put("started_kib_per_queue", (started - before) * 1024.0 / count);
    Ok((broker, figures))
}

/// Kills the broker and starts it again.
fn again(target: &Target, broker: Broker, figures: &mut Figures) -> Result<(Broker, f64)> {
    let home = broker.home.clone();
    broker.kill();
    let (broker, start) = Broker::start_on(target, &home)?;
    let ms = start.answered.as_secs_f64() * 1e3;
    figures.insert("start_ms".to_owned(), ms);
    Ok((broker, ms))
}

/// A batch whose messages ask for something.
fn batch(kind: Waiting, first: u64, records: u32) -> Bytes {
    // Retention looks at what records say of their age.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
    let mut builder = BatchBuilder::new(Codec::None, now);
    for number in (first..).take(records as usize) {
        let key = format!("key-{}", number % 1_000);
        let header = match kind {
            Waiting::Plain | Waiting::Key => None,
            Waiting::Priority => Some(("mulgil.priority", (number % 10).to_string())),
            Waiting::Delay => {
                // Spread as chance would, over a day.
                let ms = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 86_400_000;
                Some(("mulgil.delay", (ms + 600_000).to_string()))
            }
        };
        let header = header.as_ref();
        let header = header.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        builder.push(
            now,
            Some(key.as_bytes()),
            Some(b"sixteen bytes xx"),
            header.as_slice(),
        );
    }
    builder.finish().bytes
}

fn produce(wire: &mut Wire, topic: &str, records: Bytes) -> Result<()> {
    let part = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records));
    let data = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![part]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![data]);
    let answer = wire.call(&request, PRODUCE_VERSION)?;
    let part = answer.responses.into_iter().next();
    let part = part.and_then(|topic| topic.partition_responses.into_iter().next());
    let part = part.context("an answer about no partition")?;
    ensure!(
        part.error_code == 0,
        "error {} {:?}",
        part.error_code,
        part.error_message
    );
    Ok(())
}

fn counts(api: &mut Api, name: &str) -> Result<u64> {
    let queue = api.call("GET", &format!("/api/v1/queues/{name}"), "")?;
    let count = |field: &str| queue.get(field).and_then(Value::as_u64).unwrap_or(0);
    Ok(count("available") + count("scheduled"))
}

/// Lets many messages wait, and looks at what they cost; then lets them go.
pub(crate) fn waiting(
    target: &Target,
    broker: Broker,
    options: &WaitingOptions,
) -> Result<(Broker, Figures)> {
    let mut figures = Figures::new();
    let mut api = Api::of(&broker.home)?;
    let order = match options.kind {
        Waiting::Plain | Waiting::Delay => "fifo",
        Waiting::Priority => "priority",
        Waiting::Key => "key",
    };
    let queue = json!({"name": "waiting", "settings": {"order": order}});
    api.call("POST", "/api/v1/queues", &queue.to_string())?;
    let queue = json!({"name": "beside"});
    api.call("POST", "/api/v1/queues", &queue.to_string())?;
    let mut wire = Wire::connect(&broker.address)?;
    thread::sleep(REST);
    let before = process::resident_mib(broker.pid)?.0;
    let begin = Instant::now();
    let mut sent = 0;
    while sent < options.records {
        let bytes = batch(options.kind, sent, options.batch_records);
        produce(&mut wire, "waiting", bytes)?;
        sent += u64::from(options.batch_records);
    }
    let took = begin.elapsed().as_secs_f64();
    figures.insert("published_per_s".to_owned(), float(sent) / took);
    thread::sleep(RECLAIMED);
    let (after, peak) = process::resident_mib(broker.pid)?;
    // The one from before has been idle for too long.
    let mut api = Api::of(&broker.home)?;
    let described = api.call("GET", "/api/v1/queues/waiting", "")?;
    let machine = described.pointer("/partition_details/0/memory_bytes");
    let machine = machine.and_then(Value::as_u64).unwrap_or(0);
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("machine_bytes_per_message", float(machine) / float(sent));
    put(
        "resident_bytes_per_message",
        (after - before) * 1_048_576.0 / float(sent),
    );
    put("peak_mib", peak);
    let (broker, _) = again(target, broker, &mut figures)?;
    let mut api = Api::of(&broker.home)?;
    let there = counts(&mut api, "waiting")?;
    ensure!(there == sent, "{there} of {sent} wait after the start");
    let quiet = beside(&broker, || {
        thread::sleep(REST);
        Ok(())
    })?;
    let mut purge = Duration::ZERO;
    let purging = beside(&broker, || {
        thread::sleep(AROUND);
        let begin = Instant::now();
        let purged = api.call("POST", "/api/v1/queues/waiting/purge", "{}")?;
        purge = begin.elapsed();
        thread::sleep(AROUND);
        ensure!(
            purged.get("purged") == Some(&json!(sent)),
            "purged: {purged}"
        );
        Ok(())
    })?;
    figures.insert("purge_ms".to_owned(), purge.as_secs_f64() * 1e3);
    meter::put_quantiles(&mut figures, "quiet", &quiet);
    meter::put_quantiles(&mut figures, "purging", &purging);
    Ok((broker, figures))
}

/// Does something while somebody else publishes one message after the other; how long these took.
fn beside(broker: &Broker, what: impl FnOnce() -> Result<()>) -> Result<Histogram<u64>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, home) = (Arc::clone(&stop), broker.home.clone());
    let other = thread::spawn(move || -> Result<Histogram<u64>> {
        let (mut api, mut seen) = (Api::of(&home)?, meter::histogram()?);
        while !stopped.load(Ordering::Relaxed) {
            let begin = Instant::now();
            api.call(
                "POST",
                "/api/v1/queues/beside/records",
                "{\"value\":\"x\"}\n",
            )?;
            meter::note(&mut seen, begin.elapsed());
        }
        Ok(seen)
    });
    let done = what();
    stop.store(true, Ordering::Relaxed);
    let seen = other
        .join()
        .map_err(|_panic| anyhow!("the other panicked"))??;
    done?;
    Ok(seen)
}

/// Fills queues and works them off for a while.
pub(crate) fn work(broker: &Broker, options: &WorkOptions) -> Result<Figures> {
    let names = (0..options.queues).map(|number| format!("work-{number}"));
    let names: Arc<[String]> = names.collect();
    let mut api = Api::of(&broker.home)?;
    for name in names.iter() {
        api.call("POST", "/api/v1/queues", &json!({"name": name}).to_string())?;
    }
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let before = Moment::take(broker.pid)?;
    let workers = (0..options.connections).map(|number| {
        let (names, home, records) = (Arc::clone(&names), broker.home.clone(), options.records);
        thread::spawn(move || -> Result<(u64, Histogram<u64>)> {
            let mut api = Api::of(&home)?;
            let (mut done, mut seen) = (0, meter::histogram()?);
            let own = names.iter().cycle().skip(usize::try_from(number)?);
            for name in own {
                if Instant::now() >= end {
                    break;
                }
                let begin = Instant::now();
                done += one_round(&mut api, name, records)?;
                meter::note(&mut seen, begin.elapsed());
            }
            Ok((done, seen))
        })
    });
    let workers: Vec<_> = workers.collect();
    let (mut records, mut rounds) = (0, meter::histogram()?);
    for worker in workers {
        let joined = worker
            .join()
            .map_err(|_panic| anyhow!("a worker panicked"))?;
        let (done, seen) = joined?;
        records += done;
        rounds.add(seen)?;
    }
    let after = Moment::take(broker.pid)?;
    let moved = Moved {
        records,
        bytes: records * 16,
        requests: rounds.len() * 3,
    };
    let mut figures = before.until(after, broker.pid, moved)?;
    meter::put_quantiles(&mut figures, "round", &rounds);
    Ok(figures)
}

/// Publishes, receives and accepts; how many messages.
fn one_round(api: &mut Api, name: &str, records: u32) -> Result<u64> {
    let lines = "{\"value\":\"sixteen bytes xx\"}\n".repeat(records as usize);
    api.call("POST", &format!("/api/v1/queues/{name}/records"), &lines)?;
    let wish = json!({"records_max": records, "wait_ms": 1_000}).to_string();
    let received = api.call("POST", &format!("/api/v1/queues/{name}/receive"), &wish)?;
    let got = received.get("records").and_then(Value::as_array);
    let got = got.context("no records")?;
    if got.is_empty() {
        return Ok(0);
    }
    let mut body = "{\"settlements\":[".to_owned();
    for (at, one) in got.iter().enumerate() {
        let receipt = one.get("receipt").context("no receipt")?;
        let comma = if at == 0 { "" } else { "," };
        write!(
            body,
            "{comma}{{\"receipt\":{receipt},\"outcome\":\"accept\"}}"
        )?;
    }
    body.push_str("]}");
    api.call("POST", &format!("/api/v1/queues/{name}/settle"), &body)?;
    Ok(u64::try_from(got.len())?)
}
