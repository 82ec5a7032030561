//! `mulgil bench`: how fast a server is, over the protocol that its clients speak.
//!
//! A load that is light itself, so that the server is what is measured: values are made once, and
//! batches are sent without looking into them. With a rate, a latency counts from the time at which a
//! message was due, so that a server that stalls is charged with everything that it held up.

use std::io::Write;
use std::path::Path;

use mulgil_admin::catalogue::Code;

use self::report::Hdr;
use crate::api::Api;
use crate::cli::{BenchCommand, BenchTopicArgs, KafkaBench};
use crate::clock;
use crate::commands::bootstrap;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::out::{Out, complain};
use crate::wire::{Cluster, Fault, create_topic, delete_topic};

mod e2e;
mod load;
mod publish;
mod read;
mod report;
mod shared;
#[cfg(test)]
mod tests;

/// How often a topic is looked for that was created a moment ago: a cluster may take its time.
const LOOKS: u32 = 50;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Measures, and shows what came out.
pub(super) fn run(
    command: &BenchCommand,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let BenchCommand::Kafka(command) = command;
    interrupt.politely();
    let hdr = |path: Option<&Path>| path.map(Hdr::create).transpose();
    let (report, output, hdr) = match command {
        KafkaBench::Pub(args) => {
            let hdr = hdr(args.hdr.as_deref())?;
            (publish::publish(args, interrupt)?, &args.output, hdr)
        }
        KafkaBench::Sub(args) => (read::read(args, interrupt)?, &args.output, None),
        KafkaBench::E2e(args) => {
            let hdr = hdr(args.hdr.as_deref())?;
            (e2e::end_to_end(args, interrupt)?, &args.output, hdr)
        }
    };
    if let Some(hdr) = hdr {
        hdr.write(&report)?;
    }
    Out::new(stdout, output.style()).show(&report.view())?;
    if interrupt.asked() {
        let detail = "the figures are of the time until then";
        return Err(Failure::new(Code::Interrupted, detail));
    }
    report.complete()
}

/// A topic that is there for the time of a run.
#[derive(Debug)]
struct Topic {
    bootstrap: String,
    name: String,
    /// Whether it goes at the end.
    ours: bool,
}

impl Topic {
    /// Creates the topic if there is none.
    fn prepare(args: &BenchTopicArgs) -> Outcome<Self> {
        let api = Api::new(&args.kafka.connect.server)?;
        let bootstrap = bootstrap(&api, args.kafka.bootstrap.as_deref())?;
        let partitions = i32::try_from(args.partitions).unwrap_or(i32::MAX);
        let created = create_topic(&bootstrap, &args.topic, partitions)?;
        let topic = Self {
            bootstrap,
            name: args.topic.clone(),
            ours: created && !args.keep,
        };
        if created {
            topic.open()?;
        }
        Ok(topic)
    }

    /// A client's view of it.
    fn open(&self) -> Result<Cluster, Fault> {
        let mut looks = 1;
        loop {
            match Cluster::open(&self.bootstrap, &self.name) {
                Err(fault) if looks < LOOKS && fault.passes() => looks += 1,
                done => return done,
            }
            clock::pause(LOOK_EVERY);
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if self.ours
            && let Err(fault) = delete_topic(&self.bootstrap, &self.name)
        {
            complain(&fault.into());
        }
    }
}
