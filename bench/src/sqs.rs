//! Amazon SQS, as its newest clients speak: AWS JSON over plain connections that are kept.
//!
//! Requests are built once, but for receipt handles, and answers are searched for these and not parsed, so
//! that nearly all of the machine is left to the broker.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::meter::{self, Moment, Moved, float};
use crate::process;
use crate::results::Figures;

/// What is going on in the broker comes to rest before memory is looked at.
const REST: Duration = Duration::from_secs(5);
const HANDLE: &str = "\"ReceiptHandle\":\"";

/// Messages that are sent, received and deleted in turns.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkOptions {
    /// How many queues
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// Connections, each of which sends, receives and deletes in turns
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Messages of one request; one alone is sent and deleted without a batch
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// For how long before that, without being measured
    #[arg(long, default_value_t = 20)]
    before: u64,
}

/// Messages that wait.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WaitingOptions {
    /// How many
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Connections that send them, ten at a time
    #[arg(long, default_value_t = 8)]
    connections: u64,
}

/// A connection.
pub(crate) struct Sqs {
    to: TcpStream,
    from: BufReader<TcpStream>,
    host: String,
    answer: Vec<u8>,
}

impl Sqs {
    pub(crate) fn connect(host: &str) -> Result<Self> {
        let to = TcpStream::connect(host)?;
        to.set_nodelay(true)?;
        let from = BufReader::new(to.try_clone()?);
        Ok(Self {
            to,
            from,
            host: host.to_owned(),
            answer: Vec::new(),
        })
    }

    /// Asks, and gives an answer that is no refusal.
    pub(crate) fn call(&mut self, action: &str, body: &str) -> Result<&str> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.to.write_all(request.as_bytes())?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let status = { line.split(' ').nth(1) }.map(str::to_owned);
        let status = status.context("no status")?;
        let mut length = 0;
        loop {
            line.clear();
            self.from.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        self.answer.resize(length, 0);
        self.from.read_exact(&mut self.answer)?;
        let answer = str::from_utf8(&self.answer)?;
        ensure!(status == "200", "{action}: {status} {answer}");
        Ok(answer)
    }

    /// Creates a queue; its URL.
    fn create(&mut self, name: &str) -> Result<String> {
        let answer = self.call("CreateQueue", &format!("{{\"QueueName\":\"{name}\"}}"))?;
        let answer: serde_json::Value = serde_json::from_str(answer)?;
        let url = answer.get("QueueUrl").and_then(|url| url.as_str());
        Ok(url.context("no URL")?.to_owned())
    }
}

/// The requests for one queue.
struct Requests {
    url: String,
    send: (&'static str, String),
    receive: String,
    batch: usize,
}

impl Requests {
    fn new(url: &str, batch: usize, bytes: usize) -> Self {
        let body = "x".repeat(bytes);
        let send = if batch == 1 {
            let one = format!("{{\"QueueUrl\":\"{url}\",\"MessageBody\":\"{body}\"}}");
            ("SendMessage", one)
        } else {
            let entries =
                (0..batch).map(|id| format!("{{\"Id\":\"{id}\",\"MessageBody\":\"{body}\"}}"));
            let entries: Vec<_> = entries.collect();
            let all = format!(
                "{{\"QueueUrl\":\"{url}\",\"Entries\":[{}]}}",
                entries.join(",")
            );
            ("SendMessageBatch", all)
        };
        Self {
            url: url.to_owned(),
            send,
            receive: format!("{{\"QueueUrl\":\"{url}\",\"MaxNumberOfMessages\":{batch}}}"),
            batch,
        }
    }

    /// Deletes what these handles are for.
    fn delete(&self, handles: &[String]) -> (&'static str, String) {
        let url = &self.url;
        if let ([one], 1) = (handles, self.batch) {
            let body = format!("{{\"QueueUrl\":\"{url}\",\"ReceiptHandle\":\"{one}\"}}");
            return ("DeleteMessage", body);
        }
        let entries = { handles.iter().enumerate() }
            .map(|(id, handle)| format!("{{\"Id\":\"{id}\",\"ReceiptHandle\":\"{handle}\"}}"));
        let entries: Vec<_> = entries.collect();
        let body = format!(
            "{{\"QueueUrl\":\"{url}\",\"Entries\":[{}]}}",
            entries.join(",")
        );
        ("DeleteMessageBatch", body)
    }
}

/// What one connection did.
struct Done {
    messages: u64,
    requests: u64,
    seen: [Histogram<u64>; 3],
}

impl Done {
    fn nothing() -> Result<Self> {
        Ok(Self {
            messages: 0,
            requests: 0,
            seen: [
                meter::histogram()?,
                meter::histogram()?,
                meter::histogram()?,
            ],
        })
    }
}

fn handles(answer: &str) -> Vec<String> {
    let parts = answer.split(HANDLE).skip(1);
    parts
        .filter_map(|part| Some(part.split_once('"')?.0.to_owned()))
        .collect()
}

/// Sends, receives and deletes until `end`.
fn rounds(sqs: &mut Sqs, all: &[Requests], from: usize, end: Instant) -> Result<Done> {
    let mut done = Done::nothing()?;
    for requests in all.iter().cycle().skip(from) {
        if Instant::now() >= end {
            break;
        }
        let begin = Instant::now();
        let (action, body) = &requests.send;
        sqs.call(action, body)?;
        let sent = Instant::now();
        let got = handles(sqs.call("ReceiveMessage", &requests.receive)?);
        let received = Instant::now();
        done.requests += 2;
        if !got.is_empty() {
            let (action, body) = requests.delete(&got);
            sqs.call(action, &body)?;
            done.requests += 1;
            let [_, _, deleted] = &mut done.seen;
            meter::note(deleted, received.elapsed());
        }
        let [sends, receives, _] = &mut done.seen;
        meter::note(sends, sent - begin);
        meter::note(receives, received - sent);
        done.messages += u64::try_from(got.len())?;
    }
    Ok(done)
}

fn together(broker: &Broker, urls: &[String], options: &WorkOptions, seconds: u64) -> Result<Done> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let host = broker.sqs()?;
    let workers = (0..options.connections).map(|number| {
        let all = urls
            .iter()
            .map(|url| Requests::new(url, options.batch, options.bytes));
        let (all, host): (Vec<_>, _) = (all.collect(), host.clone());
        thread::spawn(move || rounds(&mut Sqs::connect(&host)?, &all, number, end))
    });
    let workers: Vec<_> = workers.collect();
    let mut sum = Done::nothing()?;
    for worker in workers {
        let done = worker
            .join()
            .map_err(|_panic| anyhow!("a worker panicked"))??;
        sum.messages += done.messages;
        sum.requests += done.requests;
        for (all, own) in sum.seen.iter_mut().zip(done.seen) {
            all.add(own)?;
        }
    }
    Ok(sum)
}

/// Sends, receives and deletes for a while.
pub(crate) fn work(broker: &Broker, options: &WorkOptions) -> Result<Figures> {
    let mut sqs = Sqs::connect(&broker.sqs()?)?;
    let urls = (0..options.queues).map(|number| sqs.create(&format!("work-{number}")));
    let urls = urls.collect::<Result<Vec<_>>>()?;
    together(broker, &urls, options, options.before)?;
    let before = Moment::take(broker.pid)?;
    let done = together(broker, &urls, options, options.seconds)?;
    let after = Moment::take(broker.pid)?;
    let moved = Moved {
        records: done.messages,
        bytes: done.messages * u64::try_from(options.bytes)?,
        requests: done.requests,
    };
    let mut figures = before.until(after, broker.pid, moved)?;
    for (name, seen) in ["send", "receive", "delete"].into_iter().zip(&done.seen) {
        meter::put_quantiles(&mut figures, name, seen);
    }
    Ok(figures)
}

/// Lets messages wait, and looks at what they cost.
pub(crate) fn waiting(broker: &Broker, options: &WaitingOptions) -> Result<Figures> {
    let host = broker.sqs()?;
    let mut sqs = Sqs::connect(&host)?;
    let url = sqs.create("waiting")?;
    thread::sleep(REST);
    let before = process::resident_mib(broker.pid)?.0;
    let begin = Instant::now();
    let workers = (0..options.connections).map(|number| {
        let (host, requests) = (host.clone(), Requests::new(&url, 10, options.bytes));
        let own = (number..options.messages / 10)
            .step_by(usize::try_from(options.connections).unwrap_or(1));
        thread::spawn(move || -> Result<()> {
            let mut sqs = Sqs::connect(&host)?;
            for _ in own {
                sqs.call(requests.send.0, &requests.send.1)?;
            }
            Ok(())
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        worker
            .join()
            .map_err(|_panic| anyhow!("a worker panicked"))??;
    }
    let took = begin.elapsed().as_secs_f64();
    thread::sleep(REST);
    let (after, peak) = process::resident_mib(broker.pid)?;
    let mut figures = Figures::new();
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("messages_per_s", float(options.messages) / took);
    put(
        "bytes_per_message",
        (after - before) * 1_048_576.0 / float(options.messages),
    );
    put("server_resident_mib", after);
    put("server_peak_mib", peak);
    Ok(figures)
}
