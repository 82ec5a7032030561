//! The comparison with Apache Kafka as tables: the sides of a row below each other, then their ratios.

use std::fmt::Write;

use anyhow::Result;

use super::{COLD, Column, END_TO_END, IDLE, READY, RUNS, figures, values};
use crate::results::{Run, median};

const MOVED: &[Column] = &[
    ("messages/s", "messages_per_s", 0),
    ("MB/s", "mb_per_s", 0),
    ("server CPU s/million", "server_us_per_message", 3),
    ("server CPU s/GB", "server_s_per_gb", 2),
    ("generator CPU s/million", "generator_us_per_message", 3),
    ("generator CPU s/GB", "generator_s_per_gb", 2),
    ("answer p50 µs", "answer_p50_us", 0),
    ("answer p99 µs", "answer_p99_us", 0),
    ("answer p99.9 µs", "answer_p99.9_us", 0),
    ("resident MiB under load", "server_resident_mib", 0),
    ("peak MiB", "server_peak_mib", 0),
    ("data at most GB", "data_peak_gb", 1),
    ("seconds", "seconds", 0),
    ("GB", "moved_gb", 1),
];

const TOOLS: &[Column] = &[
    ("producer messages/s", "produce_messages_per_s", 0),
    ("p50 ms", "produce_p50_ms", 0),
    ("p99 ms", "produce_p99_ms", 0),
    ("p99.9 ms", "produce_p99.9_ms", 0),
    ("server CPU s/million", "produce_server_us_per_message", 3),
    ("producer CPU s/million", "produce_tool_us_per_message", 3),
    ("consumer messages/s", "consume_messages_per_s", 0),
    ("without joining", "consume_joined_messages_per_s", 0),
    ("server CPU s/million", "consume_server_us_per_message", 3),
    ("consumer CPU s/million", "consume_tool_us_per_message", 3),
    ("peak MiB", "server_peak_mib", 0),
];

const SECTIONS: &[(&str, &str, &[Column])] = &[
    ("produce", "Produce", MOVED),
    ("consume", "Consume", MOVED),
    ("e2e", "End to end at a fixed rate", END_TO_END),
    (
        "cold",
        "Publishing while a consumer far behind catches up",
        COLD,
    ),
    ("tools", "Kafka's own performance tools", TOOLS),
    ("ready", "Ready", READY),
    ("idle", "Idle", IDLE),
];

const INTRODUCTION: &str = "\
Made by `cargo xtask bench kafka`; a row's command runs alone with `cargo run -p mulgil-bench --`, and
`--broker kafka:FOLDER` for Kafka. The sides of a row take turns, so that what the machine does meanwhile
falls on all of them; a figure is the median of its last three runs, and the span says how many there are
and how far the first figure lay apart. Durability is Mulgil's `os` and Mulgil's `fsync`, each beside what
Kafka does by default, which leaves writing to the operating system; `flush.messages=1` is Kafka's nearest
to `fsync`. Where no level stands, Mulgil does what it does by default (`fsync`). Ratios are Mulgil over
Kafka: for rates more than 1 is better, for time, memory and CPU less. Kafka's memory has its
heap of 1 GiB, as its start script gives it, and the pages of the index files that it maps.
";

/// Adds the tables, if there is any run of them.
pub(super) fn write(out: &mut String, runs: &[Run]) -> Result<()> {
    for quick in [false, true] {
        let mine = runs.iter().filter(|run| {
            let beside = run.beside.as_ref();
            beside.is_some_and(|beside| beside.quick == quick)
        });
        let mine: Vec<&Run> = mine.collect();
        if mine.is_empty() {
            continue;
        }
        let (label, word) = if quick {
            (", short runs (`--quick`)", "short runs: ")
        } else {
            ("", "")
        };
        writeln!(out, "\n# Beside Apache Kafka{label}\n\n{INTRODUCTION}")?;
        if quick {
            writeln!(
                out,
                "These runs took seconds and show the order of magnitude, nothing finer.\n"
            )?;
        }
        for (kind, title, columns) in SECTIONS {
            let of_kind: Vec<&Run> = mine.iter().copied().filter(|r| r.kind == *kind).collect();
            if !of_kind.is_empty() {
                section(out, &format!("{word}{title}"), &of_kind, columns)?;
            }
        }
    }
    Ok(())
}

fn section(out: &mut String, title: &str, runs: &[&Run], columns: &[Column]) -> Result<()> {
    let titles: Vec<&str> = columns.iter().map(|column| column.0).collect();
    writeln!(out, "## {title}\n")?;
    let titles = titles.join(" | ");
    writeln!(out, "| row | side | built from, date | span | {titles} |")?;
    writeln!(out, "|{}", " --- |".repeat(columns.len() + 4))?;
    for row in in_order(runs, row_of) {
        let of_row: Vec<&Run> = runs.iter().copied().filter(|r| row_of(r) == row).collect();
        // Figures beside another build of Mulgil would be taken from another day.
        let newest = of_row.last().map(|run| mulgil_of(run));
        let of_row: Vec<&Run> = of_row
            .into_iter()
            .filter(|run| Some(mulgil_of(run)) == newest)
            .collect();
        let mut sides = in_order(&of_row, side_of);
        // The order of the first round, whichever side a resumed run began with.
        sides.sort_by_key(|side| (!side.starts_with("mulgil"), *side == "mulgil fsync", *side));
        let last = |side: &str| -> Vec<&Run> {
            let mine = of_row.iter().copied().filter(|run| side_of(run) == side);
            let mine: Vec<&Run> = mine.collect();
            mine.get(mine.len().saturating_sub(RUNS)..)
                .unwrap_or_default()
                .to_vec()
        };
        for side in &sides {
            let runs = last(side);
            let command = runs.last().map_or("", |run| run.command.as_str());
            let head = format!("{row}: `{command}` | {side}");
            figures(out, &head, &runs, columns)?;
        }
        for (ours, theirs) in pairs(&sides) {
            ratio(
                out,
                row,
                (ours, &last(ours)),
                (theirs, &last(theirs)),
                columns,
            )?;
        }
    }
    writeln!(out)?;
    Ok(())
}

fn row_of(run: &Run) -> &str {
    run.beside.as_ref().map_or("", |beside| &beside.row)
}

fn side_of(run: &Run) -> &str {
    run.beside.as_ref().map_or("", |beside| &beside.side)
}

fn mulgil_of(run: &Run) -> &str {
    run.beside.as_ref().map_or("", |beside| &beside.mulgil)
}

/// The names that `runs` have, as they come first.
fn in_order<'a>(runs: &[&'a Run], name: fn(&Run) -> &str) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for run in runs {
        if !seen.contains(&name(run)) {
            seen.push(name(run));
        }
    }
    seen
}

/// Each of ours beside each of theirs, but for the one that syncs nothing beside the one that syncs all.
fn pairs<'a>(sides: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        sides.iter().partition(|side| side.starts_with("mulgil"));
    let all = ours
        .iter()
        .flat_map(|ours| theirs.iter().map(|theirs| (*ours, *theirs)));
    all.filter(|(ours, theirs)| *ours != "mulgil os" || *theirs == "kafka")
        .collect()
}

fn ratio(
    out: &mut String,
    row: &str,
    (ours, our_runs): (&str, &[&Run]),
    (theirs, their_runs): (&str, &[&Run]),
    columns: &[Column],
) -> Result<()> {
    write!(out, "| {row} | **{ours} / {theirs}** | | |")?;
    for (_, name, _) in columns {
        let ratio = median(values(our_runs, name)) / median(values(their_runs, name));
        if ratio.is_finite() {
            // A two-hundredth must not look like nothing.
            let digits = if ratio < 0.1 { 4 } else { 2 };
            write!(out, " {ratio:.digits$} |")?;
        } else {
            write!(out, " |")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Beside, Figures};

    fn run(side: &str, mulgil: &str, quick: bool, rate: f64) -> Run {
        Run {
            kind: "produce".to_owned(),
            broker: "any".to_owned(),
            commit: "1a2b".to_owned(),
            date: "2026-01-01 00:00".to_owned(),
            machine: "a machine".to_owned(),
            command: "produce --partitions 1".to_owned(),
            load_before: 0.1,
            figures: Figures::from([("messages_per_s".to_owned(), rate)]),
            beside: Some(Beside {
                row: "produce-1".to_owned(),
                side: side.to_owned(),
                mulgil: mulgil.to_owned(),
                quick,
            }),
        }
    }

    #[test]
    fn ratios_are_those_of_medians_of_the_newest_build() {
        let runs = [
            run("mulgil os", "old", false, 9000.0),
            run("kafka", "new", false, 100.0),
            run("mulgil os", "new", false, 300.0),
            run("mulgil os", "new", false, 200.0),
            run("mulgil os", "new", false, 250.0),
        ];
        let mut out = String::new();
        write(&mut out, &runs).unwrap();
        assert!(
            out.contains("| produce-1 | **mulgil os / kafka** | | | 2.50 |"),
            "{out}"
        );
        assert!(out.contains("| 3: 200 to 300 | 250 |"), "{out}");
        assert!(!out.contains("9000"), "{out}");
        assert!(!out.contains("short runs"), "{out}");
    }

    #[test]
    fn short_runs_stand_apart_and_say_so() {
        let runs = [
            run("kafka", "new", true, 7.0),
            run("kafka", "new", false, 8.0),
        ];
        let mut out = String::new();
        write(&mut out, &runs).unwrap();
        let (full, short) = out.split_once("(`--quick`)").unwrap();
        assert!(full.contains("| 1: 8 to 8 |") && !full.contains("| 1: 7 to 7 |"));
        assert!(short.contains("## short runs: Produce"));
        assert!(short.contains("| 1: 7 to 7 |") && !short.contains("| 1: 8 to 8 |"));
    }

    #[test]
    fn what_syncs_nothing_is_not_held_against_what_syncs_all() {
        let sides = [
            "mulgil os",
            "mulgil fsync",
            "kafka",
            "kafka flush.messages=1",
        ];
        let pairs = pairs(&sides);
        assert_eq!(pairs.len(), 3);
        assert!(!pairs.contains(&("mulgil os", "kafka flush.messages=1")));
    }
}
