//! `mulgil repair`: what a log that refuses to start would lose, and the loss itself.
//!
//! It works on a data directory, not on a server: while one runs there, its lock refuses this. Without
//! `--yes` nothing is changed before the directory was typed, which only a terminal is asked for.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use mulgil_admin::catalogue::Code;
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::recovery::{self, Lost, Repair, RepairMode};
use serde_json::json;

use super::confirm;
use crate::cli::RepairArgs;
use crate::failure::{Failure, Outcome};
use crate::out::{Cell, Column, Out, Table, View, human};

pub(super) fn repair(args: &RepairArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let disk = open(&args.data_dir)?;
    let dir = args.data_dir.display().to_string();
    let mut out = Out::new(stdout, args.output.style());
    let planned = recovery::repair(&disk, RepairMode::DryRun).map_err(|fault| failed(&fault))?;
    let whole = planned.rewritten.is_empty();
    if whole {
        return out.show(&view(&dir, "whole", &planned));
    }
    if !args.yes {
        out.show(&view(&dir, "damaged", &planned))?;
        let doing = format!("repairing {dir}, of which nothing was changed");
        confirm(&dir, &doing, "repair and lose what is listed")?;
    }
    let done = recovery::repair(&disk, RepairMode::Write).map_err(|fault| failed(&fault))?;
    if args.yes {
        return out.show(&view(&dir, "repaired", &done));
    }
    crate::out::say("Repaired; the damaged bytes are in quarantine.");
    Ok(())
}

/// The directory, which must be there, and which nobody else may have.
fn open(dir: &Path) -> Outcome<Arc<dyn Disk>> {
    let unusable = |why: &str| {
        let what = format!("{}: {why}", dir.display());
        Failure::new(Code::DataDirUnusable, what)
    };
    // Whoever opens one that is not there makes it, and a misspelt name is no empty log.
    let known = fs::metadata(dir).map_err(|error| unusable(&error.to_string()))?;
    if !known.is_dir() {
        return Err(unusable("this is no directory"));
    }
    Ok(Arc::new(
        RealDisk::open(dir).map_err(|fault| failed(&fault))?,
    ))
}

fn failed(fault: &Fault) -> Failure {
    let code = match fault.kind {
        FaultKind::Fenced => Code::DataDirLocked,
        FaultKind::Corrupt => Code::DataDamaged,
        FaultKind::Exhausted => Code::DiskFull,
        FaultKind::Unavailable | FaultKind::Fatal => Code::DataDirUnusable,
    };
    let source = fault.source.as_ref().map(|source| format!(": {source}"));
    Failure::new(code, format!("{fault}{}", source.unwrap_or_default()))
}

fn view(dir: &str, state: &str, repair: &Repair) -> View {
    let columns = ["file", "position", "bytes", "object"].map(Column::new);
    let mut table = Table::new(&columns);
    table.rows.extend(repair.lost.iter().map(row));
    let lost = repair.lost.iter().map(|lost| {
        json!({
            "file": lost.file, "position": lost.at.to_string(), "bytes": lost.bytes,
            "object": lost.what,
        })
    });
    let json = json!({
        "data_dir": dir, "state": state, "rewritten": repair.rewritten,
        "lost": lost.collect::<Vec<_>>(),
    });
    let mut facts = vec![
        ("data_dir".to_owned(), dir.to_owned()),
        ("state".to_owned(), state.to_owned()),
    ];
    if !repair.rewritten.is_empty() {
        facts.push(("rewritten".to_owned(), repair.rewritten.join(", ")));
    }
    View {
        json,
        facts,
        table: if repair.rewritten.is_empty() {
            Table::default()
        } else {
            table
        },
        names: repair.rewritten.clone(),
    }
}

fn row(lost: &Lost) -> Vec<Cell> {
    vec![
        Cell::text(lost.file.as_str()),
        Cell::text(lost.at.to_string()),
        Cell::new(lost.bytes, human::bytes(lost.bytes)),
        Cell::text(lost.what.as_str()),
    ]
}
