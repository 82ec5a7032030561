//! `/metrics` in Prometheus' text format.
//!
//! Only what has few labels: never a topic, a key or a client. Metrics appear when what they count
//! exists, with the names that stay. `/api/v1/status` tells the same ones, without labels.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Answered, App};
use crate::backend::{
    BrokerCounters, ConnectionCounters, Counters, Histogram, ProcessCounters, ProtocolCounters,
    QueueCounters,
};

pub(super) async fn metrics(State(app): State<App>) -> Answered {
    let counters = app.gate.backend()?.counters().await?;
    let text = render(&app.options.version, &counters);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Writes families: the header once, then samples.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let written = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        written.expect("a string takes all");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if place == 0 { '{' } else { ',' };
            write!(self.0, "{open}{label}=\"{text}\"").expect("a string takes all");
        }
        self.0.push_str(if labels.is_empty() { "" } else { "}" });
        writeln!(self.0, " {value}").expect("a string takes all");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &histogram.buckets {
            let bound = bound.to_string();
            let labels: Vec<_> = labels
                .iter()
                .copied()
                .chain([("le", bound.as_str())])
                .collect();
            self.sample(&bucket, &labels, count);
        }
        let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &all, histogram.count);
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, histogram.count);
    }
}

fn render(version: &str, counters: &Counters) -> String {
    let mut page = Page(String::new());
    page.family("mulgil_build_info", "gauge", "What is running.");
    page.sample("mulgil_build_info", &[("version", version)], 1);
    protocols(&mut page, &counters.protocols);
    requests(&mut page, &counters.protocols);
    page.family(DROPPED, "counter", "Messages given up.");
    for (reason, count) in &counters.messages_dropped {
        page.sample(DROPPED, &[("reason", reason)], count);
    }
    for (name, help, histogram) in HISTOGRAMS {
        page.family(name, "histogram", help);
        page.histogram(name, &[], histogram(counters));
    }
    for (name, kind, help, value) in BROKER {
        page.family(name, kind, help);
        page.sample(name, &[], value(&counters.broker));
    }
    for (name, kind, help, value) in QUEUES {
        if let Some(queues) = &counters.queues {
            page.family(name, kind, help);
            page.sample(name, &[], value(queues));
        }
    }
    for (name, help, value) in PROCESS {
        page.family(name, "gauge", help);
        page.sample(name, &[], value(&counters.process));
    }
    page.family(
        "mulgil_alarm",
        "gauge",
        "Whether something is wrong: 0 or 1.",
    );
    for (name, raised) in &counters.alarms {
        page.sample("mulgil_alarm", &[("name", name)], u8::from(*raised));
    }
    page.0
}

/// The same metrics as one number each: all protocols, reasons and operations together, and of a
/// histogram how many there were.
pub(super) fn totals(counters: &Counters) -> BTreeMap<String, u64> {
    let protocols = &counters.protocols;
    let mut totals = BTreeMap::new();
    let mut put = |name: &str, value: u64| totals.insert(name.to_owned(), value);
    for (name, _, value) in PER_PROTOCOL {
        put(name, protocols.iter().map(value).sum());
    }
    let connections = || protocols.iter().filter_map(|one| one.connections.as_ref());
    for (name, _, _, value) in PER_CONNECTIONS {
        put(name, connections().map(value).sum());
    }
    let closed = connections().flat_map(|one| &one.closed);
    put(CLOSED, closed.map(|(_, count)| count).sum());
    let errors = protocols.iter().flat_map(|one| &one.errors);
    put(ERRORS, errors.map(|(_, count)| count).sum());
    let requests = protocols.iter().flat_map(|one| &one.request_duration);
    let requests = requests.map(|(_, durations)| durations.count).sum();
    put(&format!("{REQUESTS}_count"), requests);
    let dropped = counters.messages_dropped.iter().map(|(_, count)| count);
    put(DROPPED, dropped.sum());
    for (name, _, histogram) in HISTOGRAMS {
        put(&format!("{name}_count"), histogram(counters).count);
    }
    for (name, _, _, value) in BROKER {
        put(name, value(&counters.broker));
    }
    for (name, _, _, value) in QUEUES {
        if let Some(queues) = &counters.queues {
            put(name, value(queues));
        }
    }
    for (name, _, value) in PROCESS {
        put(name, value(&counters.process));
    }
    totals
}

const CLOSED: &str = "mulgil_connections_closed_total";
const ERRORS: &str = "mulgil_errors_total";
const REQUESTS: &str = "mulgil_request_duration_seconds";
const DROPPED: &str = "mulgil_messages_dropped_total";

type Row<T> = (&'static str, &'static str, fn(&T) -> u64);
type KindRow<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);
type HistogramRow = (&'static str, &'static str, fn(&Counters) -> &Histogram);

const HISTOGRAMS: [HistogramRow; 3] = [
    (
        "mulgil_storage_append_duration_seconds",
        "From handing a group of frames to the store until it is written.",
        |c| &c.storage_append,
    ),
    (
        "mulgil_storage_fsync_duration_seconds",
        "Of one sync of the commit log.",
        |c| &c.storage_fsync,
    ),
    (
        "mulgil_storage_group_bytes",
        "Of one group of frames, which share a write and a sync.",
        |c| &c.storage_group,
    ),
];

const PER_PROTOCOL: [Row<ProtocolCounters>; 4] = [
    ("mulgil_messages_published_total", "Messages taken.", |c| {
        c.messages_published
    }),
    (
        "mulgil_messages_delivered_total",
        "Messages handed out, in whole batches.",
        |c| c.messages_delivered,
    ),
    (
        "mulgil_message_bytes_published_total",
        "Bytes of batches of messages taken, compressed ones as they are.",
        |c| c.message_bytes_published,
    ),
    (
        "mulgil_message_bytes_delivered_total",
        "Bytes of batches of messages handed out, compressed ones as they are.",
        |c| c.message_bytes_delivered,
    ),
];

const PER_CONNECTIONS: [KindRow<ConnectionCounters>; 5] = [
    (
        "mulgil_connections",
        "gauge",
        "Connections that are open.",
        |c| c.open,
    ),
    (
        "mulgil_connections_opened_total",
        "counter",
        "Connections that were ever opened.",
        |c| c.opened,
    ),
    (
        "mulgil_connections_refused_total",
        "counter",
        "Connections that were refused because there were too many.",
        |c| c.refused,
    ),
    (
        "mulgil_received_bytes_total",
        "counter",
        "Bytes received from clients.",
        |c| c.received_bytes,
    ),
    (
        "mulgil_sent_bytes_total",
        "counter",
        "Bytes sent to clients.",
        |c| c.sent_bytes,
    ),
];

const PROCESS: [Row<ProcessCounters>; 3] = [
    (
        "process_resident_memory_bytes",
        "Memory that the process takes.",
        |c| c.resident_memory_bytes,
    ),
    (
        "process_open_fds",
        "Files that the process has open.",
        |c| c.open_fds,
    ),
    (
        "process_max_fds",
        "Files that the process may have open.",
        |c| c.max_fds,
    ),
];

#[rustfmt::skip]
const QUEUES: [KindRow<QueueCounters>; 6] = [
    ("mulgil_subscriptions", "gauge", "Subscriptions there are, those of queues among them.", |c| c.subscriptions),
    ("mulgil_messages_available", "gauge", "Messages of subscriptions that anybody may have.", |c| c.available),
    ("mulgil_messages_acquired", "gauge", "Messages of subscriptions that somebody holds.", |c| c.acquired),
    ("mulgil_messages_scheduled", "gauge", "Messages of subscriptions that wait for their time.", |c| c.scheduled),
    ("mulgil_messages_archiving", "gauge", "Messages that are given up, and wait for their dead-letter topic.", |c| c.archiving),
    ("mulgil_oldest_message_age_seconds", "gauge", "Age of the oldest message that a subscription has not settled.", |c| c.oldest_age_seconds),
];

#[rustfmt::skip]
const BROKER: [KindRow<BrokerCounters>; 25] = [
    ("mulgil_topics", "gauge", "Topics there are.", |c| c.topics),
    ("mulgil_partitions", "gauge", "Partitions there are.", |c| c.partitions),
    ("mulgil_consumer_groups", "gauge", "Consumer groups there are.", |c| c.groups),
    ("mulgil_consumer_groups_max", "gauge", "Consumer groups there may be.", |c| c.groups_max),
    ("mulgil_consumer_group_bytes", "gauge", "Bytes of names and committed offsets of consumer groups, with what these take in memory.", |c| c.group_bytes),
    ("mulgil_consumer_group_bytes_max", "gauge", "Bytes that these may be.", |c| c.group_bytes_max),
    ("mulgil_stored_bytes", "gauge", "Bytes of records that are kept.", |c| c.stored_bytes),
    ("mulgil_held_answers", "gauge", "Answers that wait for the disk.", |c| c.held_answers),
    ("mulgil_waiting_reads", "gauge", "Reads that wait for records.", |c| c.waiting_reads),
    ("mulgil_read_queue", "gauge", "Reads that wait for a thread of the read pool.", |c| c.read_queue),
    ("mulgil_cold_reads_total", "counter", "Reads handed to the read pool.", |c| c.cold_reads),
    ("mulgil_tail_bytes", "gauge", "Bytes of frames in memory for readers of the end.", |c| c.tail_bytes),
    ("mulgil_index_bytes", "gauge", "Bytes that the index takes in memory.", |c| c.index_bytes),
    ("mulgil_unsent_bytes", "gauge", "Bytes of answers that wait to be sent.", |c| c.unsent_bytes),
    ("mulgil_chunks", "gauge", "Chunks on disk.", |c| c.chunks),
    ("mulgil_open_chunks", "gauge", "Chunks that are kept open for readers.", |c| c.open_chunks),
    ("mulgil_regroup_passes_total", "counter", "Passes of regrouping.", |c| c.regroup_passes),
    ("mulgil_regroup_read_bytes_total", "counter", "Bytes read by regrouping.", |c| c.regroup_read_bytes),
    ("mulgil_regroup_written_bytes_total", "counter", "Bytes written by regrouping.", |c| c.regroup_written_bytes),
    ("mulgil_checkpoints_total", "counter", "Checkpoints written.", |c| c.checkpoints),
    ("mulgil_quarantine_bytes", "gauge", "Bytes that this start took out of the log.", |c| c.quarantine_bytes),
    ("mulgil_damaged_ranges", "gauge", "Ranges of offsets whose bytes are damaged.", |c| c.damaged_ranges),
    ("mulgil_unreadable_pages_total", "counter", "Pages that the disk did not give back, each time that one was met.", |c| c.unreadable_pages),
    ("mulgil_disk_bytes", "gauge", "Space on the disk of the data directory.", |c| c.disk_bytes),
    ("mulgil_disk_free_bytes", "gauge", "Free space on the disk of the data directory.", |c| c.disk_free_bytes),
];

fn protocols(page: &mut Page, protocols: &[ProtocolCounters]) {
    for (name, help, value) in PER_PROTOCOL {
        page.family(name, "counter", help);
        for one in protocols {
            page.sample(name, &[("protocol", one.protocol)], value(one));
        }
    }
    for (name, kind, help, value) in PER_CONNECTIONS {
        page.family(name, kind, help);
        for (protocol, connections) in of_connections(protocols) {
            page.sample(name, &[("protocol", protocol)], value(connections));
        }
    }
}

fn of_connections(
    protocols: &[ProtocolCounters],
) -> impl Iterator<Item = (&'static str, &ConnectionCounters)> {
    protocols
        .iter()
        .filter_map(|one| Some((one.protocol, one.connections.as_ref()?)))
}

fn requests(page: &mut Page, protocols: &[ProtocolCounters]) {
    page.family(CLOSED, "counter", "Connections that were closed.");
    for (protocol, connections) in of_connections(protocols) {
        for (reason, count) in &connections.closed {
            let labels = [("protocol", protocol), ("reason", reason)];
            page.sample(CLOSED, &labels, count);
        }
    }
    let name = "mulgil_backpressure_seconds_total";
    page.family(
        name,
        "counter",
        "Seconds during which connections were held back.",
    );
    for (protocol, connections) in of_connections(protocols) {
        for (cause, seconds) in &connections.backpressure_seconds {
            page.sample(name, &[("protocol", protocol), ("cause", cause)], seconds);
        }
    }
    page.family(ERRORS, "counter", "Errors that clients were told.");
    for one in protocols {
        for (code, count) in &one.errors {
            page.sample(ERRORS, &[("protocol", one.protocol), ("code", code)], count);
        }
    }
    page.family(
        REQUESTS,
        "histogram",
        "From a request to its answer, waits that it asked for included.",
    );
    for one in protocols {
        for (op, histogram) in &one.request_duration {
            page.histogram(
                REQUESTS,
                &[("protocol", one.protocol), ("op", op)],
                histogram,
            );
        }
    }
}
