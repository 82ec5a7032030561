//! Much data over many partitions: files, memory, write amplification, the start after a kill, and how
//! fast one partition is caught up from the disk, before and after the store was put in order.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::broker::{Broker, Target};
use crate::fetch::Fetcher;
use crate::files;
use crate::fill::{self, FillOptions};
use crate::meter::{float, mib};
use crate::process::{self, Io};
use crate::results::{Figures, median};
use crate::settle;
use crate::wire::Wire;

const TOPIC: &str = "scale";
/// What a start begins comes to rest before memory is looked at.
const REST: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How much, and how it is looked at.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ScaleOptions {
    #[command(flatten)]
    fill: FillOptions,
    /// Partitions that are read, one at a time, for the median; one more is read alone before them
    #[arg(long, default_value_t = 9)]
    sample: i32,
    /// The data is at rest when nothing has changed for so long; retention looks every 10 s
    #[arg(long, default_value_t = 12)]
    quiet_seconds: u64,
    /// Gives up if it is not at rest after so long
    #[arg(long, default_value_t = 3600)]
    settle_seconds: u64,
}

/// Fills, settles, kills, starts and reads.
pub(crate) fn run(
    target: &Target,
    broker: Broker,
    options: &ScaleOptions,
) -> Result<(Broker, Figures)> {
    let mut figures = Figures::new();
    // Old files go only after new ones are there: half as much again, and a pass of regrouping.
    let wanted = options.fill.bytes()?;
    files::need_room(&broker.home, wanted + wanted / 2 + (4 << 30))?;
    let filled = loaded(&broker, options, &mut figures)?;
    say("filled", &figures, &["produced_gb", "produce_mb_per_s"]);
    let sorted = |broker: &Broker| -> Result<u64> {
        let kinds = files::by_kind(&files::below(&broker.home)?);
        Ok(kinds.get("sorted").map_or(0, |sum| sum.bytes))
    };
    figures.insert(
        "unsettled_sorted_gb".to_owned(),
        float(sorted(&broker)?) / 1e9,
    );
    catch_up(&broker, options, "unsettled", &mut figures)?;
    let quiet = Duration::from_secs(options.quiet_seconds);
    let limit = Duration::from_secs(options.settle_seconds);
    let settled = settle::until_at_rest(&broker, quiet, limit)?;
    figures.insert("settle_s".to_owned(), settled.as_secs_f64());
    at_rest(&broker, filled.bytes, &mut figures)?;
    say(
        "at rest",
        &figures,
        &["files", "disk_gb", "write_amplification"],
    );
    let home = broker.home.clone();
    broker.kill();
    files::drop_cached(&home)?;
    if let Some(share) = files::cached_share(&home)? {
        figures.insert("start_cached_share".to_owned(), share);
    }
    let (broker, start) = Broker::start_on(target, &home)?;
    let (now, peak) = process::resident_mib(broker.pid)?;
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("announced_ms", start.announced.as_secs_f64() * 1e3);
    put("answered_ms", start.answered.as_secs_f64() * 1e3);
    put("start_read_mib", mib(Io::of(broker.pid)?.read));
    put("start_resident_mib", now);
    put("start_peak_mib", peak);
    thread::sleep(REST);
    put("started_resident_mib", process::resident_mib(broker.pid)?.0);
    say("started", &figures, &["announced_ms", "start_resident_mib"]);
    catch_up(&broker, options, "settled", &mut figures)?;
    Ok((broker, figures))
}

/// Fills the topic and looks at memory meanwhile.
fn loaded(broker: &Broker, options: &ScaleOptions, figures: &mut Figures) -> Result<fill::Filled> {
    let (pid, stop) = (broker.pid, Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let watch = thread::spawn(move || -> Result<Vec<f64>> {
        let mut resident = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            resident.push(process::resident_mib(pid)?.0);
            thread::sleep(LOOK_EVERY);
        }
        Ok(resident)
    });
    let filled = fill::run(broker, TOPIC, &options.fill);
    stop.store(true, Ordering::Relaxed);
    let resident = watch
        .join()
        .map_err(|_panic| anyhow!("the watch panicked"))?;
    let (filled, resident) = (filled?, resident?);
    let (now, peak) = process::resident_mib(pid)?;
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("produced_gb", float(filled.bytes) / 1e9);
    put(
        "produce_mb_per_s",
        float(filled.bytes) / 1e6 / filled.took.as_secs_f64(),
    );
    put("loaded_resident_mib", median(resident));
    put("loaded_peak_mib", peak);
    put("produced_resident_mib", now);
    Ok(filled)
}

/// Files, memory and what was written, of a broker at rest.
fn at_rest(broker: &Broker, produced: u64, figures: &mut Figures) -> Result<()> {
    let found = files::below(&broker.home)?;
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("files", float(found.len() as u64));
    put(
        "disk_gb",
        float(found.iter().map(|file| file.allocated).sum()) / 1e9,
    );
    for (kind, sum) in files::by_kind(&found) {
        put(&format!("files_{kind}"), float(sum.files));
        put(&format!("files_{kind}_gb"), float(sum.bytes) / 1e9);
    }
    if broker.name() == "mulgil" {
        put("unsealed_log_chunks", float(files::unsealed(&found)?));
        let regrouped = regrouped(&fs::read_to_string(broker.home.with_extension("log"))?);
        put("regroup_passes", float(regrouped.passes));
        put("regroup_read_gb", float(regrouped.read) / 1e9);
        put("regroup_written_gb", float(regrouped.written) / 1e9);
    }
    let written = Io::of(broker.pid)?.written;
    put("written_gb", float(written) / 1e9);
    put("write_amplification", float(written) / float(produced));
    for (thread, bytes) in process::written_by_thread(broker.pid)? {
        // A broker may have hundreds of threads; those that write are few.
        if bytes > 0 {
            put(&format!("written_by_{thread}_gb"), float(bytes) / 1e9);
        }
    }
    let (now, peak) = process::resident_mib(broker.pid)?;
    put("resident_mib", now);
    put("peak_mib", peak);
    Ok(())
}

/// What passes of regrouping have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Regrouped {
    passes: u64,
    read: u64,
    written: u64,
}

/// Adds up what Mulgil's log says of its passes, a JSON object a line.
fn regrouped(log: &str) -> Regrouped {
    let mut all = Regrouped::default();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if line.get("msg").and_then(|said| said.as_str()) == Some("chunks regrouped") {
            let number = |name: &str| line.get(name).and_then(serde_json::Value::as_u64);
            all.passes += 1;
            all.read += number("bytes_read").unwrap_or(0);
            all.written += number("bytes_written").unwrap_or(0);
        }
    }
    all
}

/// Reads partitions from their beginning, each with nothing in the page cache.
fn catch_up(
    broker: &Broker,
    options: &ScaleOptions,
    when: &str,
    figures: &mut Figures,
) -> Result<()> {
    let partitions = options.fill.partitions;
    let sample = options.sample.clamp(0, partitions - 1);
    let ends = Wire::connect(&broker.address)?.ends(TOPIC, partitions)?;
    let (mut rates, mut cached) = (Vec::new(), Vec::new());
    let before = Io::of(broker.pid)?.read;
    let mut bytes = 0;
    for number in 0..=sample {
        // Spread evenly.
        let index = i64::from(number) * i64::from(partitions) / i64::from(sample + 1);
        let end = ends
            .get(usize::try_from(index)?)
            .context("an end for each")?;
        files::drop_cached(&broker.home)?;
        cached.extend(files::cached_share(&broker.home)?);
        let wire = Wire::connect(&broker.address)?;
        let mut fetcher = Fetcher::new(wire, TOPIC, std::iter::once(i32::try_from(index)?));
        let (begin, mut next, mut got) = (Instant::now(), 0, 0);
        while next < *end {
            for part in fetcher.fetch()? {
                (next, got) = (part.to, got + part.bytes);
            }
        }
        rates.push(float(got) / 1e6 / begin.elapsed().as_secs_f64());
        bytes += got;
    }
    let read = Io::of(broker.pid)?.read - before;
    let mut put = |name: &str, value: f64| figures.insert(format!("{when}_{name}"), value);
    put("alone_mb_per_s", rates.first().copied().unwrap_or(f64::NAN));
    let others = rates.get(1..).unwrap_or_default().to_vec();
    if !others.is_empty() {
        put("median_mb_per_s", median(others));
    }
    // At least 1 if all came from the disk; regrouping under way reads too.
    put("read_per_byte", float(read) / float(bytes));
    if !cached.is_empty() {
        put("cached_share", cached.into_iter().fold(0.0, f64::max));
    }
    Ok(())
}

/// A line about what was just done; the whole takes many minutes.
fn say(what: &str, figures: &Figures, names: &[&str]) {
    let some = names.iter().filter_map(|name| {
        let value = figures.get(*name)?;
        Some(format!("{name} {value:.2}"))
    });
    eprintln!("  {what}: {}", some.collect::<Vec<_>>().join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_of_regrouping_add_up() {
        let log = r#"noise
{"level":"info","msg":"chunks regrouped","removed":8,"bytes_read":10,"bytes_written":9}
{"level":"warn","msg":"something else","bytes_read":1000}
{"level":"info","msg":"chunks regrouped","bytes_read":1,"bytes_written":2}
"#;
        let wanted = Regrouped {
            passes: 2,
            read: 11,
            written: 11,
        };
        assert_eq!(regrouped(log), wanted);
    }
}
