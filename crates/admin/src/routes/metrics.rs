//! `/metrics` in Prometheus' text format.
//!
//! Only what has few labels: never a topic, a key or a client. Metrics appear when what they count
//! exists, with the names that stay.

use std::fmt::{Display, Write as _};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Answered, App};
use crate::backend::{Counters, Histogram, ProtocolCounters};

pub(super) async fn metrics(State(app): State<App>) -> Answered {
    let counters = app.gate.backend()?.counters();
    let text = render(&app.options.version, &counters);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Writes families: the header once, then samples.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let written = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        written.expect("a string takes all");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
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
    for (name, help, histogram) in [
        (
            "mulgil_storage_append_duration_seconds",
            "From handing a frame to the store until it is written.",
            &counters.storage_append,
        ),
        (
            "mulgil_storage_fsync_duration_seconds",
            "Of one sync of the commit log.",
            &counters.storage_fsync,
        ),
    ] {
        page.family(name, "histogram", help);
        page.histogram(name, &[], histogram);
    }
    for (name, help, value) in [
        ("mulgil_topics", "Topics there are.", counters.topics),
        (
            "mulgil_partitions",
            "Partitions there are.",
            counters.partitions,
        ),
        (
            "mulgil_stored_bytes",
            "Bytes of records that are kept.",
            counters.stored_bytes,
        ),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
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

type Field = fn(&ProtocolCounters) -> u64;

const PER_PROTOCOL: [(&str, &str, &str, Field); 6] = [
    (
        "mulgil_messages_published_total",
        "counter",
        "Messages taken.",
        |c| c.messages_published,
    ),
    (
        "mulgil_messages_delivered_total",
        "counter",
        "Messages handed out.",
        |c| c.messages_delivered,
    ),
    (
        "mulgil_message_bytes_published_total",
        "counter",
        "Bytes of keys, values and headers of messages taken.",
        |c| c.message_bytes_published,
    ),
    (
        "mulgil_message_bytes_delivered_total",
        "counter",
        "Bytes of keys, values and headers of messages handed out.",
        |c| c.message_bytes_delivered,
    ),
    (
        "mulgil_connections",
        "gauge",
        "Connections that are open.",
        |c| c.connections,
    ),
    (
        "mulgil_connections_opened_total",
        "counter",
        "Connections that were ever opened.",
        |c| c.connections_opened,
    ),
];

fn protocols(page: &mut Page, protocols: &[ProtocolCounters]) {
    for (name, kind, help, value) in PER_PROTOCOL {
        page.family(name, kind, help);
        for one in protocols {
            page.sample(name, &[("protocol", one.protocol)], value(one));
        }
    }
}

fn requests(page: &mut Page, protocols: &[ProtocolCounters]) {
    let name = "mulgil_connections_closed_total";
    page.family(name, "counter", "Connections that were closed.");
    for one in protocols {
        for (reason, count) in &one.connections_closed {
            page.sample(
                name,
                &[("protocol", one.protocol), ("reason", reason)],
                count,
            );
        }
    }
    let name = "mulgil_backpressure_seconds_total";
    page.family(
        name,
        "counter",
        "Seconds during which connections were held back.",
    );
    for one in protocols {
        for (cause, seconds) in &one.backpressure_seconds {
            page.sample(
                name,
                &[("protocol", one.protocol), ("cause", cause)],
                seconds,
            );
        }
    }
    let name = "mulgil_request_duration_seconds";
    page.family(name, "histogram", "From a request to its answer.");
    for one in protocols {
        for (op, histogram) in &one.request_duration {
            page.histogram(name, &[("protocol", one.protocol), ("op", op)], histogram);
        }
    }
}
