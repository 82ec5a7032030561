//! The client commands against a server in this process: every output form, every exit code.
//!
//! Transcripts lie in `golden/`; `UPDATE=1` rewrites them, and the change is reviewed like code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a panic"
)]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Kafka has some hundred requests"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

#[path = "support/api.rs"]
mod api;
#[path = "support/kafka.rs"]
mod kafka;
#[path = "../../admin/tests/support/memory.rs"]
mod memory;
#[path = "support/program.rs"]
mod program;
#[path = "client/repair.rs"]
mod repair;

use kafka::Kafka;
use program::{Transcript, mulgil, run, without_times};

const FORMATS: [&str; 7] = ["table", "wide", "json", "jsonl", "yaml", "csv", "name"];

#[test]
fn topics() {
    let mut t = Transcript::against(&api::start(None));
    t.run("topic ls");
    t.run("topic ls -o json");
    t.run("topic create orders -p 2 --set retention.ms=1d --set durability=os");
    t.run("topic create b c -o name");
    for format in FORMATS {
        t.run(&format!("topic ls -o {format}"));
    }
    t.run("topic ls --columns name,id --sort -name --no-headers");
    t.run("topic ls --columns nme");
    for format in FORMATS {
        t.run(&format!("topic describe orders -o {format}"));
    }
    t.run("topic describe nothing");
    t.run("topic describe nothing -o json");
    t.run("topic create orders");
    t.run("topic create orders --idempotent -o name");
    t.run("topic create orders d");
    t.run("topic create e --dry-run -o name");
    t.run("topic describe e");
    t.run("topic create e --set retenton=1");
    t.run("topic create e --set retention_ms=soon");
    t.run("topic create e --set retention_ms");
    t.run("topic create e -p 0");
    t.run("topic alter orders -p 3 --set retention_bytes=1GiB -o jsonl");
    t.run("topic alter orders -p 1");
    t.run("topic alter orders");
    t.run_with("topic delete orders", b"orders\n");
    t.run("topic delete orders b --yes");
    for format in FORMATS {
        t.run(&format!(
            "topic delete c nothing --idempotent --yes -o {format}"
        ));
    }
    t.run("topic delete d nothing --yes");
    t.run("topic delete nothing --yes");
    t.check("topic");
}

#[test]
fn status() {
    let server = api::start(Some("127.0.0.1:9092".parse().unwrap()));
    let mut t = Transcript::against(&server);
    for format in FORMATS {
        t.run(&format!("status -o {format}"));
    }
    // The width of the column follows the port.
    t.text = t
        .text
        .replace("SERVER     ", "SERVER ")
        .replace("     SERVER", " SERVER");
    for length in (1..=8).rev() {
        t.text = t
            .text
            .replace(&format!("SERVER{}", " ".repeat(length)), "SERVER ");
        t.text = t
            .text
            .replace(&format!("ADDRESS{}", " ".repeat(length)), "ADDRESS ");
        t.text = t.text.replace(
            &format!("127.0.0.1:9092{}", " ".repeat(length)),
            "127.0.0.1:9092 ",
        );
    }
    t.check("status");
}

#[test]
fn messages() {
    let kafka = Kafka::start();
    let mut t = Transcript::against(&api::start(Some(kafka.address)));
    t.mask(kafka.address.to_string(), "KAFKA");
    t.run("message pub orders hello -k key -H a=b -H c=d -p 1");
    t.run_with(
        "message pub orders --key-delimiter : -p 0 -o json",
        b"k1:v1\nno key\nk3:\n:v4\n\n",
    );
    t.run_with(
        "message pub orders - -p 0 -z zstd -o csv",
        b"\xff\x00\xfe\nlast",
    );
    t.run_with(
        "message pub orders ignored -p 0 -o name",
        b"standard input is not read\n",
    );
    t.run("message sub orders --to-end -p 0");
    for format in FORMATS {
        t.run(&format!("message sub orders --to-end -p 1 -o {format}"));
        t.run(&format!(
            "message sub orders --to-end -p 0 --from 4 -n 3 -o {format}"
        ));
        t.run(&format!(
            "message sub orders --to-end --from latest -o {format}"
        ));
    }
    t.run("message sub orders --to-end --format %t/%p@%o|%k|%v|%s|%h|%S|%%\\n");
    t.run("message sub orders -n 1 --from 2026-01-01 -p 1 --format %d\\n");
    t.run("message sub orders -n 0 --format %q");
    t.run("message sub orders -n 1 --from soon");
    t.run("message sub orders --to-end --from 99");
    t.run("message sub orders --to-end -p 7");
    t.run("message sub nothing --to-end");
    t.run("message pub nothing hello");
    t.run("message pub orders hello -p 7");
    t.run("message pub orders --file /does/not/exist");
    t.run("message pub orders hello --header x");
    t.run("message pub orders hello --bootstrap 127.0.0.1:1");
    t.text = without_times(&t.text);
    t.check("message");
    let mut t = Transcript::against(&api::start(None));
    t.run("message pub orders hello");
    t.check("message-without-kafka");
}

#[test]
fn a_file_comes_out_as_it_went_in() {
    let kafka = Kafka::start();
    let server = api::start(Some(kafka.address));
    let line = |n: u32| format!("line {n} {}\r\n", "x".repeat(n as usize % 200));
    let text: String = (0..20_000).map(line).collect();
    let path = std::env::temp_dir().join(format!("mulgil-lines-{}", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    kafka.lose_an_answer.store(true, Ordering::Relaxed);
    let file = format!(
        "message pub orders -p 1 -z lz4 --file {} --server {server}",
        path.display()
    );
    let output = run(&mut mulgil(&file), b"");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (records, batches) = kafka.stored(1);
    assert_eq!(records, 20_000);
    assert!(batches > 3, "{batches} batches");
    let read = format!("message sub orders --to-end -p 1 --server {server}");
    let output = run(&mut mulgil(&read), b"");
    assert!(output.stdout == text.as_bytes());
}

#[test]
fn following_ends_with_a_signal_and_130() {
    let kafka = Kafka::start();
    let server = api::start(Some(kafka.address));
    let read = format!("message sub orders --from latest -o json --server {server}");
    let mut child = mulgil(&read).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // Publish until the reader has something; it may not have begun yet.
    let mut first = [0; 1];
    let publish = format!("message pub orders hello --server {server}");
    let feeder = std::thread::spawn(move || {
        while run(&mut mulgil(&publish), b"").status.success() && kafka.stored(0).0 < 20 {}
    });
    out.read_exact(&mut first).unwrap();
    feeder.join().unwrap();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\n]\n"), "the array is closed: {rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// A server that answers every request with these bytes.
fn canned(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _read = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

fn problem(status: &str, code: &str) -> &'static str {
    let number = &status[..3];
    let body = format!(
        r#"{{"type":"t","title":"title","status":{number},"code":"{code}","detail":"detail","hint":"h"}}"#
    );
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    (head + &body).leak()
}

#[test]
fn every_exit_code_is_the_documented_one_in_every_form() {
    for (answer, exit) in [
        (problem("500 x", "MG-5005"), 1),
        (problem("404 x", "MG-1001"), 4),
        (problem("409 x", "MG-1002"), 5),
        (problem("403 x", "MG-2001"), 6),
        (problem("403 x", "MG-8888"), 6),
        (problem("504 x", "MG-3002"), 8),
        (problem("504 x", "MG-8888"), 8),
        (problem("503 x", "MG-5006"), 10),
        (problem("503 x", "MG-8888"), 1),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 1),
        ("HTTP/1.1 502 OK\r\ncontent-length: 4\r\n\r\nlate", 1),
        ("SSH-2.0-OpenSSH_9.0\r\n", 1),
    ] {
        let server = canned(answer);
        for format in FORMATS {
            let line = format!("topic describe a -o {format} --server {server}");
            let output = run(&mut mulgil(&line), b"");
            assert_eq!(output.status.code(), Some(exit), "{line} {answer}");
            assert!(output.stdout.is_empty());
            assert!(output.stderr.starts_with(b"error[MG-"));
        }
    }
    for (line, exit) in [
        ("topic ls --server http://127.0.0.1:1", 7),
        ("topic ls --server https://127.0.0.1", 2),
        ("topic ls --nonsense", 2),
        ("topic l", 2),
        ("topic delete a --server http://127.0.0.1:1", 9),
        ("explain MG-9999", 4),
        ("server --data-dir /tmp/x --kafka 0.0.0.0:0", 9),
        ("server --data-dir /tmp/x --http [::]:0", 9),
        ("server", 2),
    ] {
        let output = run(&mut mulgil(line), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{line}: {stderr}");
    }
}

#[test]
fn the_server_comes_from_the_environment_too() {
    let server = api::start(None);
    let output = run(
        mulgil("topic ls -o json").env("MULGIL_SERVER", &server),
        b"",
    );
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), b"[]\n".as_slice())
    );
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let mut child = mulgil("explain").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_version_tells_what_was_built() {
    let output = run(&mut mulgil("--version"), b"");
    let said = String::from_utf8(output.stdout).unwrap();
    let rest = said.strip_prefix(concat!("mulgil ", env!("CARGO_PKG_VERSION"), " ("));
    let build = rest.and_then(|rest| rest.strip_suffix(")\n")).unwrap();
    assert!(!build.is_empty(), "{said}");
}

#[test]
fn help() {
    let mut t = Transcript::default();
    for line in [
        "",
        "dev",
        "server",
        "topic",
        "topic ls",
        "topic create",
        "topic describe",
        "topic alter",
        "topic add-partitions",
        "topic trim",
        "topic delete",
        "group",
        "group ls",
        "group describe",
        "group lag",
        "group reset",
        "group delete",
        "queue",
        "queue ls",
        "queue create",
        "queue describe",
        "queue alter",
        "queue delete",
        "queue pub",
        "queue receive",
        "queue settle",
        "queue peek",
        "subscription",
        "subscription ls",
        "subscription create",
        "dlq",
        "dlq ls",
        "dlq reasons",
        "message",
        "message pub",
        "message sub",
        "status",
        "repair",
        "explain",
        "completion",
    ] {
        t.run(format!("{line} --help").trim_start());
    }
    t.check("help");
}

#[test]
fn explain() {
    let mut t = Transcript::default();
    t.run("explain mg-1001");
    t.run("explain");
    for format in ["json", "jsonl", "yaml", "csv", "name"] {
        t.run(&format!("explain MG-1001 -o {format}"));
    }
    t.run("explain MG-9999");
    t.check("explain");
}

#[test]
fn completion_scripts_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&mut mulgil(&format!("completion {shell}")), b"");
        assert_eq!(output.status.code(), Some(0));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("describe"),
            "{shell}"
        );
    }
}
