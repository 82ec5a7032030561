//! What each command does: one file each, all of one shape.
//!
//! A command asks the server and builds a [`View`]; the main function decides the exit code from the
//! [`Failure`] alone, so that the output form can never change it.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use mulgil_admin::catalogue::{Code, ENTRIES, Entry};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::{
    Cli, Command, CompletionArgs, ExplainArgs, GroupCommand, MessageCommand, Shell, TopicCommand,
};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::out::{Cell, Column, Out, Table, View};
use crate::{broker, run};

mod bench;
mod dlq;
mod group;
mod lines;
mod progress;
mod publish;
mod queue;
mod repair;
mod status;
mod subscribe;
mod topic;

/// Runs what was asked for, with data going to `stdout`.
pub(crate) fn run(cli: Cli, stdout: &mut dyn Write) -> Outcome<()> {
    match cli.command {
        Command::Dev(args) => run::dev(args, &broker::Broker, stdout),
        Command::Server(args) => run::server(args, &broker::Broker, stdout),
        Command::Topic(command) => match command {
            TopicCommand::Ls(args) => topic::list(&args, stdout),
            TopicCommand::Create(args) => topic::create(&args, stdout),
            TopicCommand::Describe(args) => topic::describe(&args, stdout),
            TopicCommand::Alter(args) => topic::alter(&args, stdout),
            TopicCommand::AddPartitions(args) => topic::add_partitions(&args, stdout),
            TopicCommand::Trim(args) => topic::trim(&args, stdout),
            TopicCommand::Delete(args) => topic::delete(&args, stdout),
        },
        Command::Group(command) => match command {
            GroupCommand::Ls(args) => group::list(&args, stdout),
            GroupCommand::Describe(args) => group::describe(&args, stdout),
            GroupCommand::Lag(args) => group::lag(&args, stdout),
            GroupCommand::Reset(args) => group::reset(&args, stdout),
            GroupCommand::Delete(args) => group::delete(&args, stdout),
        },
        Command::Queue(command) => queue::queue(&command, stdout),
        Command::Subscription(command) => queue::subscription(&command, stdout),
        Command::Dlq(command) => dlq::run(&command, stdout),
        Command::Message(MessageCommand::Pub(args)) => {
            publish::publish(&args, &Interrupt::listen()?, stdout)
        }
        Command::Message(MessageCommand::Sub(args)) => {
            subscribe::subscribe(&args, &Interrupt::listen()?, stdout)
        }
        Command::Bench(command) => bench::run(&command, &Interrupt::listen()?, stdout),
        Command::Status(args) => status::status(&args, stdout),
        Command::Repair(args) => repair::repair(&args, stdout),
        Command::Explain(args) => explain(&args, stdout),
        Command::Completion(args) => completion(&args, stdout),
    }
}

/// A value as JSON. Ours always can be one.
fn json_of(value: &impl Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::new(Code::Internal, error.to_string()))
}

/// Lets `name` be typed, to do `what`. Only a terminal is asked: a script says --yes.
fn confirm(name: &str, doing: &str, what: &str) -> Outcome<()> {
    let refused = |why: &str| Failure::new(Code::NotConfirmed, format!("{doing}: {why}"));
    if !io::stdin().is_terminal() {
        return Err(refused("standard input is no terminal"));
    }
    crate::out::say(&format!("Type \"{name}\" to {what}:"));
    let mut typed = String::new();
    io::stdin()
        .lock()
        .read_line(&mut typed)
        .map_err(|error| refused(&error.to_string()))?;
    if typed.trim() == name {
        Ok(())
    } else {
        Err(refused("something else was typed"))
    }
}

fn explain(args: &ExplainArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let entries: Vec<&Entry> = match &args.code {
        None => ENTRIES.iter().collect(),
        Some(text) => {
            let unknown = |_not| Failure::new(Code::NoSuchEntry, format!("\"{text}\""));
            vec![text.parse::<Code>().map_err(unknown)?.entry()]
        }
    };
    let object = |entry: &&Entry| {
        json!({
            "code": entry.code.to_string(), "title": entry.title, "cause": entry.cause,
            "next": entry.next, "exit": entry.exit, "http": entry.http,
        })
    };
    let mut view = View {
        names: entries.iter().map(|entry| entry.code.to_string()).collect(),
        ..View::default()
    };
    match (&args.code, entries.first()) {
        (Some(_), Some(entry)) => {
            view.json = object(entry);
            let fact = |name: &str, text: &str| (name.to_owned(), text.to_owned());
            view.facts = vec![
                fact("code", &entry.code.to_string()),
                fact("meaning", entry.title),
                fact("cause", entry.cause),
                fact("next", entry.next),
                fact("exit", &entry.exit.to_string()),
            ];
        }
        _ => view.json = entries.iter().map(object).collect(),
    }
    let columns = [
        Column::new("code"),
        Column::new("exit"),
        Column::new("title"),
    ];
    view.table = Table::new(&columns);
    let one =
        args.code.is_some() && args.output.output.unwrap_or_default() != crate::cli::Format::Csv;
    if one {
        view.table = Table::default();
    } else {
        view.table.rows.extend(entries.iter().map(|entry| {
            let code = Cell::text(entry.code.to_string());
            vec![code, Cell::number(entry.exit), Cell::text(entry.title)]
        }));
    }
    Out::new(stdout, args.output.style()).show(&view)
}

fn completion(args: &CompletionArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "mulgil", &mut script);
    let mut out = Out::new(stdout, crate::out::Style::default());
    out.write(&script)?;
    out.flush()
}

/// The Kafka listener: the one that was given, or the one that the server names.
fn bootstrap(api: &Api, given: Option<&str>) -> Outcome<String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let status = api.status()?;
    let kafka = status.listeners.get("kafka");
    let kafka = kafka.ok_or_else(|| Failure::new(Code::NoKafka, api.url().to_owned()))?;
    // A listener on all addresses is where the API is.
    match kafka.address.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            Ok(format!("{}:{}", api.host(), address.port()))
        }
        _ => Ok(kafka.address.clone()),
    }
}
