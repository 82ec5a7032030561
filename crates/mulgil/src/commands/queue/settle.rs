//! What came of messages, by their receipts.

use std::io::{self, Write};

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Outcome as Settling, SettleRecords, SettleResult, Settlement};
use mulgil_admin::queues::{Kind, Which};
use serde_json::Value;

use crate::api::Api;
use crate::cli::SettleArgs;
use crate::commands::json_of;
use crate::failure::{Failure, Outcome};
use crate::out::{Cell, Column, Table, View, complain};

/// So many go in one request.
const AT_ONCE: usize = 1_000;
/// Lines of standard input are receipts, and those are short.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) fn settle(kind: Kind, args: &SettleArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let outcome = args.outcome.outcome()?;
    let receipts = receipts(&args.receipts)?;
    let api = args.remote.api()?;
    let which = Which {
        kind,
        name: &args.name,
    };
    let (results, outcome) = settle_all(&api, which, &receipts, &outcome)?;
    args.remote.out(stdout).show(&view(&results)?)?;
    outcome
}

/// Those of the command line; for - those of standard input, a line each.
fn receipts(given: &[String]) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for one in given {
        if one != "-" {
            all.push(one.clone());
            continue;
        }
        let input = io::Read::take(io::stdin().lock(), INPUT_BYTES_MAX + 1);
        let text = io::read_to_string(input)
            .map_err(|why| Failure::new(Code::FileUnusable, format!("standard input: {why}")))?;
        if text.len() as u64 > INPUT_BYTES_MAX {
            let detail = format!("standard input has more than {INPUT_BYTES_MAX} bytes");
            return Err(Failure::new(Code::Usage, detail));
        }
        let lines = text.lines().map(str::trim);
        all.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(all)
}

/// Settles all of them, some at a time, and says how it went as a whole.
pub(super) fn settle_all(
    api: &Api,
    which: Which<'_>,
    receipts: &[String],
    outcome: &Settling,
) -> Outcome<(Vec<SettleResult>, Outcome<()>)> {
    let mut results = Vec::new();
    for some in receipts.chunks(AT_ONCE) {
        let settlements = some.iter().map(|receipt| Settlement {
            receipt: receipt.clone(),
            outcome: outcome.clone(),
        });
        let settle = SettleRecords {
            settlements: settlements.collect(),
        };
        match api.settle(which, &settle) {
            Ok(settled) => results.extend(settled.results),
            // What was settled before is told all the same.
            Err(failure) if !results.is_empty() => {
                complain(&failure);
                let detail = format!("{} of {} were asked for", results.len(), receipts.len());
                return Ok((results, Err(Failure::new(Code::PartlyDone, detail))));
            }
            Err(failure) => return Err(failure),
        }
    }
    let whole = whole(&results);
    Ok((results, whole))
}

fn whole(results: &[SettleResult]) -> Outcome<()> {
    let mut failures: Vec<_> = { results.iter() }
        .filter_map(|one| {
            let mut failure = Failure::from(one.error.clone()?);
            failure.detail = format!("{}: {}", one.receipt, failure.detail);
            Some(failure)
        })
        .collect();
    let refused = failures.len();
    let Some(last) = failures.pop() else {
        return Ok(());
    };
    failures.iter().for_each(complain);
    if refused == results.len() {
        return Err(last);
    }
    complain(&last);
    let detail = format!("{} of {}", results.len() - refused, results.len());
    Err(Failure::new(Code::PartlyDone, detail))
}

fn view(results: &[SettleResult]) -> Outcome<View> {
    let mut table = Table::new(&["receipt", "settled", "error"].map(Column::new));
    table.rows.extend(results.iter().map(|one| {
        let error = match &one.error {
            None => Cell::new(Value::Null, ""),
            Some(problem) => Cell::text(format!("{}: {}", problem.code, problem.detail)),
        };
        let settled = one.error.is_none();
        let word = if settled { "yes" } else { "no" };
        vec![
            Cell::text(one.receipt.as_str()),
            Cell::new(settled, word),
            error,
        ]
    }));
    let settled = results.iter().filter(|one| one.error.is_none());
    Ok(View {
        json: json_of(&results)?,
        table,
        names: settled.map(|one| one.receipt.clone()).collect(),
        ..View::default()
    })
}
