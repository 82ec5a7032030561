//! The results as tables: a table a kind, a row a command and broker, medians of the last three runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::results::{self, Run, median};

mod compare;

/// How many runs a row is made of.
const RUNS: usize = 3;

/// A run in which the host gave more of the processors' time than this to others is kept in the
/// results and stands in no row: it tells what the host did, not what the broker can. Runs of a
/// comparison stay, since both brokers had the same host.
const STOLEN_LIMIT: f64 = 0.2;

/// A column: its title, the figure, and how many digits behind the point.
type Column = (&'static str, &'static str, usize);

const RATES: &[Column] = &[
    ("messages/s", "messages_per_s", 0),
    ("MB/s", "mb_per_s", 0),
    ("server µs/message", "server_us_per_message", 3),
    ("server µs/request", "server_us_per_request", 1),
    ("server s/GB", "server_s_per_gb", 2),
    ("server cores", "server_cores", 2),
    ("of it system", "server_system_share", 2),
    ("generator cores", "generator_cores", 2),
    ("server peak MiB", "server_peak_mib", 0),
    ("answer p50 µs", "answer_p50_us", 0),
    ("answer p99 µs", "answer_p99_us", 0),
];

const END_TO_END: &[Column] = &[
    ("messages/s", "messages_per_s", 0),
    ("end to end p50 µs", "end_to_end_p50_us", 0),
    ("p99 µs", "end_to_end_p99_us", 0),
    ("p99.9 µs", "end_to_end_p99.9_us", 0),
    ("answer p50 µs", "answer_p50_us", 0),
    ("p99 µs", "answer_p99_us", 0),
    ("p99.9 µs", "answer_p99.9_us", 0),
    ("generator late p50 µs", "generator_late_p50_us", 0),
    ("p99 µs", "generator_late_p99_us", 0),
    ("server µs/message", "server_us_per_message", 1),
];

const LATENCY: &[Column] = &[
    ("answer p50 µs", "answer_p50_us", 0),
    ("p99 µs", "answer_p99_us", 0),
    ("growing file p50 µs", "disk_growing_p50_us", 0),
    ("p99 µs", "disk_growing_p99_us", 0),
    ("filled file p50 µs", "disk_filled_p50_us", 0),
    ("p99 µs", "disk_filled_p99_us", 0),
    ("server µs/message", "server_us_per_message", 0),
];

const READY: &[Column] = &[
    ("announced ms", "announced_ms", 1),
    ("first answer ms", "answered_ms", 1),
    ("CPU s", "start_cpu_s", 2),
    ("resident MiB", "resident_mib", 1),
];

const IDLE: &[Column] = &[
    ("resident MiB", "resident_mib", 1),
    ("peak MiB", "peak_mib", 1),
    ("CPU ms/s", "idle_ms_per_s", 1),
];

const SCALE: &[Column] = &[
    ("produced GB", "produced_gb", 1),
    ("produced MB/s", "produce_mb_per_s", 0),
    ("files", "files", 0),
    ("on disk GB", "disk_gb", 1),
    ("written per byte", "write_amplification", 2),
    ("of it regrouped GB", "regroup_written_gb", 1),
    ("at rest after s", "settle_s", 0),
    ("peak MiB", "loaded_peak_mib", 0),
    ("resident MiB at rest", "resident_mib", 0),
    ("announced ms", "announced_ms", 0),
    ("first answer ms", "answered_ms", 0),
    ("resident MiB then", "start_resident_mib", 0),
    (
        "one partition, before regrouping MB/s",
        "unsettled_alone_mb_per_s",
        1,
    ),
    ("median of several", "unsettled_median_mb_per_s", 1),
    ("one partition, at rest MB/s", "settled_alone_mb_per_s", 1),
    ("median of several", "settled_median_mb_per_s", 1),
    ("read per byte", "settled_read_per_byte", 2),
];

const COLD: &[Column] = &[
    ("undisturbed p50 µs", "undisturbed_p50_us", 0),
    ("p99 µs", "undisturbed_p99_us", 0),
    ("p99.9 µs", "undisturbed_p99.9_us", 0),
    ("beside limited reader p50 µs", "limited_p50_us", 0),
    ("p99 µs", "limited_p99_us", 0),
    ("p99.9 µs", "limited_p99.9_us", 0),
    ("p99 ratio", "limited_p99_ratio", 2),
    ("its MB/s", "limited_mb_per_s", 0),
    ("disk alone p99 µs", "disk_undisturbed_p99_us", 0),
    ("beside bare reader p99 µs", "disk_limited_p99_us", 0),
    ("its p99 ratio", "disk_limited_p99_ratio", 2),
    ("fetched per byte", "limited_read_per_byte", 2),
    ("beside unlimited reader p50 µs", "unlimited_p50_us", 0),
    ("p99 µs", "unlimited_p99_us", 0),
    ("p99.9 µs", "unlimited_p99.9_us", 0),
    ("p99 ratio", "unlimited_p99_ratio", 2),
    ("its MB/s", "unlimited_mb_per_s", 0),
    ("fetched per byte", "unlimited_read_per_byte", 2),
];

const QUEUES_IDLE: &[Column] = &[
    ("created/s", "created_per_s", 0),
    ("KiB/queue", "kib_per_queue", 2),
    ("start ms", "start_ms", 0),
    ("KiB/queue behind it", "started_kib_per_queue", 2),
];

const QUEUES_WAITING: &[Column] = &[
    ("published/s", "published_per_s", 0),
    ("machine bytes/message", "machine_bytes_per_message", 3),
    ("resident bytes/message", "resident_bytes_per_message", 2),
    ("peak MiB", "peak_mib", 0),
    ("start ms", "start_ms", 0),
    ("purge ms", "purge_ms", 1),
    ("others meanwhile p50 µs", "purging_p50_us", 0),
    ("p99 µs", "purging_p99_us", 0),
    ("others at rest p50 µs", "quiet_p50_us", 0),
    ("p99 µs", "quiet_p99_us", 0),
];

const QUEUES_WORK: &[Column] = &[
    ("messages/s", "messages_per_s", 0),
    ("server µs/message", "server_us_per_message", 2),
    ("server cores", "server_cores", 2),
    ("generator cores", "generator_cores", 2),
    ("round p50 µs", "round_p50_us", 0),
    ("p99 µs", "round_p99_us", 0),
    ("server peak MiB", "server_peak_mib", 0),
];

const SQS_WORK: &[Column] = &[
    ("messages/s", "messages_per_s", 0),
    ("server µs/message", "server_us_per_message", 1),
    ("server µs/request", "server_us_per_request", 1),
    ("server cores", "server_cores", 2),
    ("generator cores", "generator_cores", 2),
    ("send p50 µs", "send_p50_us", 0),
    ("p99 µs", "send_p99_us", 0),
    ("receive p50 µs", "receive_p50_us", 0),
    ("p99 µs", "receive_p99_us", 0),
    ("delete p50 µs", "delete_p50_us", 0),
    ("p99 µs", "delete_p99_us", 0),
    ("server peak MiB", "server_peak_mib", 0),
];

const SQS_WAITING: &[Column] = &[
    ("sent/s", "messages_per_s", 0),
    ("memory bytes/message", "bytes_per_message", 0),
    ("resident MiB", "server_resident_mib", 0),
    ("peak MiB", "server_peak_mib", 0),
];

const SECTIONS: &[(&str, &str, &[Column])] = &[
    ("produce", "Produce, as fast as it goes", RATES),
    ("consume", "Consume from the beginning", RATES),
    ("e2e", "End to end at a fixed rate", END_TO_END),
    (
        "latency",
        "One message in flight, beside the disk's own write and fdatasync",
        LATENCY,
    ),
    (
        "ready",
        "From the start of the program to the first answer",
        READY,
    ),
    ("idle", "At rest", IDLE),
    ("scale", "Much data over many partitions", SCALE),
    (
        "cold",
        "Publishing beside a reader of old data that is not in the page cache",
        COLD,
    ),
    ("queues-idle", "Idle queues", QUEUES_IDLE),
    (
        "queues-waiting",
        "Messages that wait in one queue, of 16 bytes and a key of 7",
        QUEUES_WAITING,
    ),
    (
        "queues-work",
        "Queues worked off over the HTTP API: publish, receive and accept in turns",
        QUEUES_WORK,
    ),
    (
        "sqs-work",
        "Amazon SQS: send, receive and delete in turns, messages of 100 bytes, 8 connections; Mulgil synced, ElasticMQ in memory",
        SQS_WORK,
    ),
    (
        "sqs-waiting",
        "Amazon SQS: a million messages of 100 bytes that wait",
        SQS_WAITING,
    ),
];

const INTRODUCTION: &str = "\
# Figures

Made by `cargo run -p mulgil-bench -- table` and `... -- render` out of `bench/results.jsonl`; a row's
command stands in its first column, after `cargo run -p mulgil-bench --`. Broker and generator share the
machine, which did nothing else. A figure is the median of the last three runs of a row, or of as many as
there are: the number before the colon in its span says how many, the rest how far the first figure lay
apart. Batches are built once and repeated, a batch a request, over plain sockets. MB are 10^6 bytes of
batches; a consumer's request asks for up to 50 MiB, as Kafka's own does. Durability is `fsync` where the
command does not say otherwise: an answer leaves when the batch is on disk.

The machine is a virtual one, and its disk has other users that cannot be seen from inside: the same bare
write and `fdatasync` took 86 µs in one minute and 25 ms in another (99th percentile), and the rate of
synced writing halved for minutes. So a latency is worth what the disk's own of the same run is worth, and
a ratio more than a number. Where a row has one run, nothing says how far runs scatter. Runs of eight to
ten seconds say nothing of what a disk does when its own cache is full. Once a run has written some
gigabytes, the host may also take up to half of the processors' time away for minutes: such runs are kept
in `bench/results.jsonl` with that share, and stand in no row.
";

/// Reads the results and writes the tables.
pub(crate) fn write(results: &Path, into: &Path) -> Result<()> {
    let runs = results::read(results)?;
    std::fs::write(into, render(&runs)?)?;
    Ok(())
}

fn render(runs: &[Run]) -> Result<String> {
    let mut out = INTRODUCTION.to_owned();
    for (kind, title, columns) in SECTIONS {
        let mut rows: BTreeMap<(usize, &str), Vec<&Run>> = BTreeMap::new();
        let mut order: Vec<&str> = Vec::new();
        let own = runs.iter().filter(|run| run.beside.is_none());
        let own = own.filter(|run| !robbed(run));
        for run in own.filter(|run| run.kind == *kind) {
            let place = order.iter().position(|seen| *seen == run.command);
            let place = place.unwrap_or_else(|| {
                order.push(&run.command);
                order.len() - 1
            });
            rows.entry((place, &run.broker)).or_default().push(run);
        }
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "\n## {title}\n")?;
        let titles: Vec<&str> = columns.iter().map(|column| column.0).collect();
        writeln!(
            out,
            "| row | broker | commit, date | span | {} |",
            titles.join(" | ")
        )?;
        writeln!(out, "|{}", " --- |".repeat(columns.len() + 4))?;
        for ((_, broker), runs) in rows {
            let last = runs
                .get(runs.len().saturating_sub(RUNS)..)
                .unwrap_or_default();
            row(&mut out, broker, last, columns)?;
        }
    }
    compare::write(&mut out, runs)?;
    let mut machines: Vec<&str> = runs.iter().map(|run| run.machine.as_str()).collect();
    machines.sort_unstable();
    machines.dedup();
    writeln!(out, "\nMachines: {}.", machines.join("; "))?;
    let busy: Vec<f64> = runs.iter().map(|run| run.load_before).collect();
    let most = busy.iter().copied().fold(0.0, f64::max);
    let middle = median(busy);
    write!(out, "Load average before a run, with the runs before it: ")?;
    writeln!(out, "median {middle:.1}, at most {most:.1}.")?;
    let all: Vec<&Run> = runs.iter().collect();
    let stolen = values(&all, "stolen_share");
    if !stolen.is_empty() {
        let most = stolen.iter().copied().fold(0.0, f64::max) * 100.0;
        let count = stolen.len();
        let middle = median(stolen) * 100.0;
        write!(
            out,
            "Processor time that the host gave to others during a run ({count} runs tell): "
        )?;
        writeln!(out, "median {middle:.1} %, at most {most:.1} %.")?;
        let own = runs.iter().filter(|run| run.beside.is_none());
        let left = own.filter(|run| robbed(run)).count();
        let limit = STOLEN_LIMIT * 100.0;
        writeln!(
            out,
            "Left out of the rows, since it was more than {limit:.0} %: {left} runs."
        )?;
    }
    Ok(out)
}

fn robbed(run: &Run) -> bool {
    let share = run.figures.get("stolen_share");
    share.is_some_and(|share| *share > STOLEN_LIMIT)
}

fn row(out: &mut String, broker: &str, runs: &[&Run], columns: &[Column]) -> Result<()> {
    let Some(newest) = runs.last() else {
        return Ok(());
    };
    let head = format!("`{}` | {broker}", newest.command);
    figures(out, &head, runs, columns)
}

/// A line: what it is, commit and date, how far the runs lie apart, and the medians.
fn figures(out: &mut String, head: &str, runs: &[&Run], columns: &[Column]) -> Result<()> {
    let Some(newest) = runs.last() else {
        return Ok(());
    };
    let (commit, date) = (&newest.commit, &newest.date);
    let (_, first, digits) = columns.first().copied().unwrap_or_default();
    let least = values(runs, first)
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let most = values(runs, first).into_iter().fold(0.0, f64::max);
    let count = runs.len();
    write!(out, "| {head} | {commit}, {date} | ")?;
    write!(out, "{count}: {least:.digits$} to {most:.digits$} |")?;
    for (_, name, digits) in columns {
        let middle = median(values(runs, name));
        if middle.is_nan() {
            write!(out, " |")?;
        } else {
            write!(out, " {middle:.digits$} |")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

fn values(runs: &[&Run], name: &str) -> Vec<f64> {
    runs.iter()
        .filter_map(|run| run.figures.get(name).copied())
        .collect()
}
