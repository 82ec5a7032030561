//! `mulgil queue …` and `mulgil subscription …`: over the admin API.

use std::io::Write;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    AlterSubscription, CreateQueue, CreateSubscription, SubscriptionChange, SubscriptionDetail,
    SubscriptionSummary,
};
use mulgil_admin::queues::{Kind, Which};

use super::confirm;
use super::topic::{deleted_view, for_each};
use crate::api::Api;
use crate::cli::{
    Format, NamedArgs, QueueCommand, QueueCreateArgs, RemoteArgs, SubscribeArgs,
    SubscriptionAlterArgs, SubscriptionCommand, SubscriptionDeleteArgs,
};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::out::Out;

mod publish;
mod receive;
mod rewind;
mod settle;
mod view;

pub(super) use receive::{look, shown};
use view::{detail_view, list_view};

pub(super) fn queue(command: &QueueCommand, stdout: &mut dyn Write) -> Outcome<()> {
    let kind = Kind::Queue;
    match command {
        QueueCommand::Ls(remote) => list(kind, None, remote, stdout),
        QueueCommand::Create(args) => create(args, stdout),
        QueueCommand::Describe(args) => describe(kind, args, stdout),
        QueueCommand::Alter(args) => alter(kind, args, stdout),
        QueueCommand::Delete(args) => delete(kind, args, stdout),
        QueueCommand::Purge(args) => rewind::purge(kind, args, stdout),
        QueueCommand::Pause(args) => pause(kind, args, true, stdout),
        QueueCommand::Resume(args) => pause(kind, args, false, stdout),
        QueueCommand::Seek(args) => rewind::seek(kind, args, stdout),
        QueueCommand::Pub(args) => publish::publish(args, &Interrupt::listen()?, stdout),
        QueueCommand::Receive(args) => receive::receive(kind, args, stdout),
        QueueCommand::Settle(args) => settle::settle(kind, args, stdout),
        QueueCommand::Peek(args) => receive::peek(kind, args, stdout),
    }
}

pub(super) fn subscription(command: &SubscriptionCommand, stdout: &mut dyn Write) -> Outcome<()> {
    let kind = Kind::Subscription;
    match command {
        SubscriptionCommand::Ls(args) => list(kind, args.topic.as_deref(), &args.remote, stdout),
        SubscriptionCommand::Create(args) => subscribe(args, stdout),
        SubscriptionCommand::Describe(args) => describe(kind, args, stdout),
        SubscriptionCommand::Alter(args) => alter(kind, args, stdout),
        SubscriptionCommand::Delete(args) => delete(kind, args, stdout),
        SubscriptionCommand::Purge(args) => rewind::purge(kind, args, stdout),
        SubscriptionCommand::Pause(args) => pause(kind, args, true, stdout),
        SubscriptionCommand::Resume(args) => pause(kind, args, false, stdout),
        SubscriptionCommand::Seek(args) => rewind::seek(kind, args, stdout),
        SubscriptionCommand::Receive(args) => receive::receive(kind, args, stdout),
        SubscriptionCommand::Settle(args) => settle::settle(kind, args, stdout),
        SubscriptionCommand::Peek(args) => receive::peek(kind, args, stdout),
    }
}

/// Pages are written as they come where no column has to be aligned.
fn list(
    kind: Kind,
    topic: Option<&str>,
    remote: &RemoteArgs,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let api = remote.api()?;
    let mut style = remote.output.style();
    let streams = matches!(style.format, Format::Jsonl | Format::Name | Format::Csv);
    let mut found = Vec::new();
    each_page(&api, kind, topic, |page, last| {
        found.extend(page);
        if last || (streams && style.sort.is_none()) {
            Out::new(&mut *stdout, style.clone()).show(&list_view(&found)?)?;
            found.clear();
            style.no_headers = true;
        }
        Ok(())
    })
}

/// Does `each` for all pages; the last one is said to be.
pub(super) fn each_page(
    api: &Api,
    kind: Kind,
    topic: Option<&str>,
    mut each: impl FnMut(Vec<SubscriptionSummary>, bool) -> Outcome<()>,
) -> Outcome<()> {
    let mut after = None;
    loop {
        let page = api.subscriptions(kind, topic, after.as_deref())?;
        after = page.next;
        each(page.subscriptions, after.is_none())?;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn create(args: &QueueCreateArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let (settings, topic_settings) = (args.settings.change()?, args.topic.change()?);
    let (created, outcome) = for_each(&args.names, |name| {
        let queue = CreateQueue {
            name: name.clone(),
            settings: settings.clone(),
            topic_settings: topic_settings.clone(),
        };
        match api.create_queue(&queue) {
            Err(failure) if args.idempotent && failure.code == Code::SubscriptionExists => {
                let kind = Kind::Queue;
                Ok(Some(api.subscription(Which { kind, name })?.summary))
            }
            created => Ok(Some(created?.summary)),
        }
    });
    if !created.is_empty() {
        args.remote.out(stdout).show(&list_view(&created)?)?;
    }
    outcome
}

fn subscribe(args: &SubscribeArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let wish = CreateSubscription {
        name: args.name.clone(),
        topic: args.topic.clone(),
        from: args.from,
        filter: args.filter.clone(),
        settings: args.settings.change()?,
    };
    let created = match api.subscribe(&wish) {
        Err(failure) if args.idempotent && failure.code == Code::SubscriptionExists => {
            let (kind, name) = (Kind::Subscription, args.name.as_str());
            let there = api.subscription(Which { kind, name })?;
            if there.summary.topic != args.topic {
                let detail = format!("\"{name}\" reads topic \"{}\"", there.summary.topic);
                return Err(Failure::new(Code::SubscriptionExists, detail));
            }
            there
        }
        created => created?,
    };
    args.remote
        .out(stdout)
        .show(&list_view(&[created.summary])?)
}

fn described(remote: &RemoteArgs, one: &SubscriptionDetail, stdout: &mut dyn Write) -> Outcome<()> {
    remote.out(stdout).show(&detail_view(one)?)
}

fn describe(kind: Kind, args: &NamedArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let which = Which {
        kind,
        name: &args.name,
    };
    described(
        &args.remote,
        &args.remote.api()?.subscription(which)?,
        stdout,
    )
}

fn alter(kind: Kind, args: &SubscriptionAlterArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let settings = args.settings.change()?;
    if settings.is_empty() {
        let detail = "pass what is to be changed, for instance --lock 1m";
        return Err(Failure::new(Code::Usage, detail));
    }
    let which = Which {
        kind,
        name: &args.name,
    };
    let change = AlterSubscription { settings };
    let altered = args.remote.api()?.alter_subscription(which, &change)?;
    described(&args.remote, &altered, stdout)
}

fn pause(kind: Kind, args: &NamedArgs, paused: bool, stdout: &mut dyn Write) -> Outcome<()> {
    let which = Which {
        kind,
        name: &args.name,
    };
    let mut settings = SubscriptionChange::default();
    settings.set("paused", paused);
    let change = AlterSubscription { settings };
    let altered = args.remote.api()?.alter_subscription(which, &change)?;
    described(&args.remote, &altered, stdout)
}

fn delete(kind: Kind, args: &SubscriptionDeleteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    if !args.yes {
        let names = args.names.join(" ");
        let with = match kind {
            Kind::Queue => "with all messages",
            Kind::Subscription => "with all that is known of what it has read",
        };
        let doing = format!("deleting {names} {with}");
        confirm(&names, &doing, &format!("delete {with}"))?;
    }
    let (deleted, outcome) = for_each(&args.names, |name| {
        match api.delete_subscription(Which { kind, name }) {
            Ok(()) => Ok(Some(name.clone())),
            Err(failure) if args.idempotent && failure.code == Code::SubscriptionUnknown => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    });
    if !deleted.is_empty() || outcome.is_ok() {
        args.remote.out(stdout).show(&deleted_view(deleted))?;
    }
    outcome
}
