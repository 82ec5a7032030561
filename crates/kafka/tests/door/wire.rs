//! Golden transcripts of whole conversations, byte by byte: `tests/wire/*.txt`.
//!
//! A script has requests above each `----` and what came of them below. `UPDATE=1` writes what comes
//! of them into the file. A request is `KEY VERSION [WORD]`, made by `samples`.
//!
//! ```text
//! > Metadata 12
//! ----
//! in   0000002f ...
//! ask  CreateTopics(...)
//! out  0000004a ...
//! says MetadataResponse { ... }
//! ```

use std::fmt::Write;
use std::path::PathBuf;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use mulgil_record::ids::TopicId;

use crate::client::{answers, show};
use crate::driver::Driver;
use crate::samples::sample;
use crate::versions::broker;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn request(line: &str, id: TopicId) -> (ApiKey, i16, Bytes) {
    let (key, version) = line.split_once(' ').expect("a key and a version");
    let key = ApiKey::iter()
        .find(|k| format!("{k:?}") == key)
        .expect("a key");
    let version = version.parse().expect("a version");
    (key, version, sample(key, version, 7, id))
}

fn play(script: &str) -> String {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(out, "{line}").unwrap();
        }
        let Some(line) = line.strip_prefix("> ") else {
            continue;
        };
        writeln!(out, "> {line}\n----").unwrap();
        let (key, version, bytes) = request(line, id);
        writeln!(out, "in   {}", hex(&bytes)).unwrap();
        driver.receive(bytes);
        while let Some((ticket, asked)) = driver.asked.first() {
            writeln!(out, "ask  {} {asked:?}", ticket.0).unwrap();
            driver.answer_at(0);
        }
        driver.input(mulgil_broker::connection::Input::Drained);
        let sent = driver.sent();
        writeln!(out, "out  {}", hex(&sent)).unwrap();
        for answer in answers(sent) {
            writeln!(out, "says {}", show(key, version, &answer).1).unwrap();
        }
        if let Some(hangup) = &driver.hangup {
            writeln!(out, "end  {}", hangup.why).unwrap();
        }
    }
    out
}

#[test]
fn conversations_are_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = play(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, played).unwrap();
        } else {
            assert!(
                played == script,
                "{} has changed; UPDATE=1 shows how",
                path.display()
            );
        }
    }
}
