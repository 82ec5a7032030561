//! What holds for all batches: how many entries, and by which ids.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fault::{Fault, Kind};
use crate::input::{Parameters, entries, required};

/// Most entries (API reference, all batch actions).
const ENTRIES_MAX: usize = 10;
/// Most entries where the limits are open.
const ENTRIES_OPEN: usize = 1_000;
const ID_MAX: usize = 80;

/// An entry, with its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) id: &'a str,
    pub(super) with: &'a Parameters,
}

/// The entries of a batch; `what` is what the action calls one.
pub(super) fn read<'a>(
    with: &'a Parameters,
    what: &str,
    open: bool,
) -> Result<Vec<Entry<'a>>, Fault> {
    let all = entries(with)?;
    let most = if open { ENTRIES_OPEN } else { ENTRIES_MAX };
    if all.is_empty() {
        let message = format!("There should be at least one {what} in the request.");
        return Err(Fault::new(Kind::EmptyBatchRequest, message));
    }
    if all.len() > most {
        let sent = all.len();
        let message =
            format!("Maximum number of entries per request are {most}. You have sent {sent}.");
        return Err(Fault::new(Kind::TooManyEntriesInBatchRequest, message));
    }
    let mut seen = BTreeSet::new();
    let mut read = Vec::with_capacity(all.len());
    for with in all {
        let id = required(with, "Id")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.len() > ID_MAX || !id.bytes().all(plain) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and \
                underscores. It can be at most 80 letters long.";
            return Err(Fault::new(Kind::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            let message = format!("Id {id} repeated.");
            return Err(Fault::new(Kind::BatchEntryIdsNotDistinct, message));
        }
        read.push(Entry { id, with });
    }
    Ok(read)
}

/// The answer to a batch: entries that went well and those that did not. A list without any is not there,
/// but for the first.
pub(super) fn answer(outcomes: Vec<(&str, Result<Value, Fault>)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(Value::Object(mut told)) => {
                told.insert("Id".to_owned(), id.into());
                successful.push(Value::Object(told));
            }
            Ok(_) => successful.push(json!({ "Id": id })),
            Err(fault) => failed.push(json!({
                "Id": id,
                "SenderFault": fault.kind.status() < 500,
                "Code": fault.kind.code(),
                "Message": fault.message,
            })),
        }
    }
    let mut answer = json!({ "Successful": successful });
    if !failed.is_empty()
        && let Value::Object(all) = &mut answer
    {
        all.insert("Failed".to_owned(), failed.into());
    }
    answer
}
