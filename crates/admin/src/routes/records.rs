//! `/api/v1/topics/{name}/records`: publish many as JSON lines, read a page of one partition.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answered, App, Name, json, query};
use crate::backend::{Begin, Publish, Read};
use crate::catalogue::Code;
use crate::limits;
use crate::model::{NewRecord, PublishResult, Published, ReadPage};
use crate::problem::{Problem, Refusal};
use crate::time::Timestamp;

/// About so many bytes of records in one answer.
const READ_BYTES: u32 = 4 * 1024 * 1024;

pub(super) async fn publish(
    State(app): State<App>,
    Name(name): Name,
    request: Request,
) -> Answered {
    let body = app.body(request, "application/x-ndjson").await?;
    let records = lines(&body.bytes)?;
    let results = app.gate.backend()?.publish(&name, records).await?;
    let mut published = Published::default();
    for result in results {
        published.results.push(match result {
            Ok(position) => {
                published.published += 1;
                PublishResult::Published(position)
            }
            Err(refusal) => {
                published.refused += 1;
                PublishResult::Refused {
                    error: Problem::from(refusal),
                }
            }
        });
    }
    let all = published.refused == 0;
    json(
        if all {
            StatusCode::OK
        } else {
            StatusCode::MULTI_STATUS
        },
        &published,
    )
}

fn lines(body: &[u8]) -> Result<Vec<Publish>, Refusal> {
    let malformed = |line: usize, why: &dyn std::fmt::Display| {
        Refusal::new(Code::Malformed, format!("line {}: {why}", line + 1))
    };
    let mut records = Vec::new();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if records.len() == limits::PUBLISH_RECORDS_MAX {
            let most = limits::PUBLISH_RECORDS_MAX;
            return Err(Refusal::new(
                Code::TooLarge,
                format!("{most} records are possible"),
            ));
        }
        let record: NewRecord =
            serde_json::from_slice(line).map_err(|error| malformed(number, &error))?;
        records.push(Publish {
            partition: record.partition,
            key: record.key.map(|key| key.0),
            value: record.value.map(|value| value.0),
            headers: record
                .headers
                .into_iter()
                .map(|h| (h.name, h.value.map(|v| v.0)))
                .collect(),
            timestamp_ms: record.timestamp.map(|timestamp| timestamp.0),
        });
    }
    Ok(records)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    partition: u32,
    from: Option<String>,
    max: Option<u32>,
    wait_ms: Option<u32>,
}

pub(super) async fn read(
    State(app): State<App>,
    Name(name): Name,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answered {
    let wanted = query(wanted)?;
    let from = wanted
        .from
        .as_deref()
        .map_or(Ok(Begin::Earliest), parse_from)?;
    let read = Read {
        partition: wanted.partition,
        from,
        records_max: wanted.max.unwrap_or(100).clamp(1, limits::READ_RECORDS_MAX),
        bytes_max: READ_BYTES,
        wait_ms: wanted.wait_ms.unwrap_or(0).min(limits::READ_WAIT_MS_MAX),
    };
    let part = app.gate.backend()?.read(&name, read).await?;
    let page = ReadPage {
        topic: name,
        partition: wanted.partition,
        start: part.start,
        end: part.end,
        next: part.next,
        records: part.records,
    };
    json(StatusCode::OK, &page)
}

fn parse_from(text: &str) -> Result<Begin, Refusal> {
    match text {
        "earliest" => Ok(Begin::Earliest),
        "latest" => Ok(Begin::Latest),
        _ => None
            .or_else(|| text.parse().ok().map(Begin::Offset))
            .or_else(|| text.parse().ok().map(|Timestamp(ms)| Begin::Time(ms)))
            .ok_or_else(|| {
                let wanted = "from is earliest, latest, an offset or a time";
                Refusal::new(Code::Malformed, format!("{wanted}, not \"{text}\""))
            }),
    }
}
