//! Runs the real program, and keeps transcripts of what it writes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// The program with these arguments (split at spaces), in an empty environment.
pub(crate) fn mulgil(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mulgil"));
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("NO_COLOR", "1");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to the end, with `stdin` coming through a pipe.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A program that reads nothing has ended before all is written.
    drop(pipe.write_all(stdin));
    drop(pipe);
    child.wait_with_output().unwrap()
}

/// Commands with their output, as a file to be reviewed.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) text: String,
    /// What differs from run to run, and what stands for it.
    masks: Vec<(String, &'static str)>,
    /// Put behind every command.
    tail: String,
}

impl Transcript {
    pub(crate) fn against(server: &str) -> Self {
        let tail = format!(" --server {server}");
        let address = server.trim_start_matches("http://").to_owned();
        Self {
            masks: vec![(address, "SERVER")],
            tail,
            text: String::new(),
        }
    }

    pub(crate) fn mask(&mut self, text: String, stands: &'static str) {
        self.masks.push((text, stands));
    }

    pub(crate) fn run(&mut self, line: &str) {
        self.run_with(line, b"");
    }

    pub(crate) fn run_with(&mut self, line: &str, stdin: &[u8]) {
        let output = run(&mut mulgil(&format!("{line}{}", self.tail)), stdin);
        let code = output.status.code().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let mut part = format!("$ mulgil {line}\n{out}");
        if !err.is_empty() {
            write!(part, "---- stderr\n{err}").unwrap();
        }
        writeln!(part, "==== exit {code}\n").unwrap();
        for (text, stands) in &self.masks {
            part = part.replace(text, stands);
        }
        self.text.push_str(&part);
    }

    /// Compares with the file of this name; `UPDATE=1` writes it.
    pub(crate) fn check(&self, name: &str) {
        let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        if wanted != self.text {
            let differs = wanted.lines().zip(self.text.lines()).find(|(a, b)| a != b);
            panic!("{path} differs at {differs:?}; run with UPDATE=1 and look at the change");
        }
    }
}

/// Replaces every RFC 3339 time by `TIME`.
pub(crate) fn without_times(text: &str) -> String {
    let shape = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |part: &str| {
        part.len() == shape.len()
            && part
                .chars()
                .zip(shape.chars())
                .all(|(c, s)| c == s || (s == 'd' && c.is_ascii_digit()))
    };
    let mut rest = text;
    let mut out = String::new();
    while let Some(c) = rest.chars().next() {
        let length = if rest.get(..shape.len()).is_some_and(fits) {
            shape.len()
        } else {
            c.len_utf8()
        };
        out.push_str(if length == shape.len() {
            "TIME"
        } else {
            &rest[..length]
        });
        rest = &rest[length..];
    }
    out
}
