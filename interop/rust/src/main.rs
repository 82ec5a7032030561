//! rdkafka (librdkafka from Rust) against a broker.
//!
//! ```text
//! interop-rust BOOTSTRAP [NAME...]    runs the checks, one line each; exits 1 if one failed
//! interop-rust member BOOTSTRAP TOPIC a member of a group, for a check that kills it
//! ```
//!
//! A check waits for a condition and has a deadline; it never sleeps in the hope that something has
//! happened meanwhile. Topic names carry the time of the run, so the suite can run again and again
//! against one broker.

mod admin;
mod broker;
mod groups;
mod read;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::broker::{Broker, DEADLINE};

/// What a check comes to, once it has run.
type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
/// A check by the name it is reported by.
type Check = (&'static str, for<'a> fn(&'a Broker) -> Outcome<'a>);

/// Makes a table of checks of functions that take the broker, and maybe more.
macro_rules! checks {
    ($($name:literal => $check:ident($($more:expr),*)),* $(,)?) => {
        &[$(($name, |broker| Box::pin($check(broker $(, $more)*)))),*]
    };
}
pub(crate) use checks;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, [bootstrap, topic])) if word == "member" => {
            groups::member(bootstrap, topic).await.map(|()| true)
        }
        Some((bootstrap, names)) => run(bootstrap, names).await,
        None => Err(anyhow::anyhow!("usage: interop-rust BOOTSTRAP [NAME...]")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the checks, or those that are named; gives whether all were good.
async fn run(bootstrap: &str, names: &[String]) -> Result<bool> {
    let broker = Broker::new(bootstrap)?;
    let mut good = true;
    let all = [write::CHECKS, read::CHECKS, groups::CHECKS, admin::CHECKS].concat();
    for (name, check) in all {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let outcome = match tokio::time::timeout(DEADLINE * 2, check(&broker)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no end after {} s", 2 * DEADLINE.as_secs())),
        };
        match outcome {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                println!("FAIL {name}: {}", format!("{error:#}").replace('\n', " "));
                good = false;
            }
        }
    }
    Ok(good)
}

/// Fails unless both are the same.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(wanted: T, got: T, what: &str) -> Result<()> {
    ensure!(wanted == got, "{what}: wanted {wanted:?}, got {got:?}");
    Ok(())
}
