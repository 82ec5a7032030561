//! What an operator sees: figures, alarms, health.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mulgil_admin::backend::{
    BrokerCounters, ConnectionCounters, Counters, Histogram, ProcessCounters, ProtocolCounters,
};
use mulgil_admin::model::{Alarm, Broker as BrokerModel, Check, Disk};
use mulgil_broker::figures::{Alarm as Raised, Counted};
use mulgil_log::disk::unreadable_pages;
use mulgil_sqs::figures::SqsFigures;

use super::{LocalBackend, timestamp};

/// A store that has not answered for so long can not be called writable. A sync takes milliseconds,
/// on a bad disk a second.
const STORE_SILENT_MAX: Duration = Duration::from_secs(10);

const MICROSECONDS: f64 = 1e6;

impl LocalBackend {
    pub(super) fn model(&self) -> BrokerModel {
        let mut model = BrokerModel {
            connections: self.figures.open.load(Ordering::Relaxed) as u64,
            disk: self.broker.space().ok().map(|space| Disk {
                total_bytes: space.total,
                free_bytes: space.free,
            }),
            alarms: self.alarms(),
            ..BrokerModel::default()
        };
        let catalog = self.broker.catalog();
        for topic in catalog.topics.values() {
            let summary = self.detail(topic).summary;
            model.topics += 1;
            model.partitions += u64::from(summary.partitions);
            model.records += summary.records;
            model.bytes += summary.bytes;
        }
        model
    }

    /// All alarms that there are: name, what is wrong, what to do.
    fn all_alarms(&self) -> [(&'static str, &Raised, String, &'static str); 4] {
        let alarms = self.broker.alarms();
        let (pieces, bytes) = (self.quarantined, self.quarantined_bytes);
        let held = self.broker.figures().groups;
        let of_groups = format!(
            "{} of {} consumer groups, {} of {} bytes of names and offsets: what would be more is refused",
            held.groups, held.groups_max, held.bytes, held.bytes_max
        );
        [
            (
                "disk_full",
                &alarms.disk_full,
                "appends are refused".to_owned(),
                "make room, or lower retention",
            ),
            (
                "groups_full",
                &alarms.groups_full,
                of_groups,
                "delete groups that nobody needs: mulgil group ls, mulgil group delete",
            ),
            (
                "quarantine",
                &alarms.quarantine,
                format!("{pieces} pieces of the log are in quarantine, {bytes} bytes"),
                "see quarantine/ in the data directory, and the log",
            ),
            (
                "clock_stepped",
                &alarms.clock_stepped,
                "the wall clock was set by more than an hour: retention and expiry wait".to_owned(),
                "set the clock right, or restart the broker",
            ),
        ]
    }

    fn alarms(&self) -> Vec<Alarm> {
        let raised = self.all_alarms().into_iter();
        let raised = raised.filter_map(|(name, alarm, reason, hint)| {
            let since = alarm.since()?;
            Some(Alarm {
                name: name.to_owned(),
                since: timestamp(since.0),
                reason,
                hint: hint.to_owned(),
            })
        });
        raised.collect()
    }

    /// Whether the threads turn. Waits for none of them.
    pub(super) fn alive(&self) -> Vec<Check> {
        let turning = self.broker.turning().into_iter();
        turning
            .map(|turning| Check {
                name: turning.name.to_owned(),
                ok: turning.dead.is_none(),
                reason: turning.dead,
            })
            .collect()
    }

    /// Whether work can be taken.
    pub(super) fn checks(&self) -> Vec<Check> {
        let check = |name: &str, reason: Option<String>| Check {
            name: name.to_owned(),
            ok: reason.is_none(),
            reason,
        };
        let full = self.broker.alarms().disk_full.is_raised();
        let silent = self.broker.store_busy_for();
        let silent = silent.filter(|silent| *silent > STORE_SILENT_MAX);
        let storage = match silent {
            Some(silent) => Some(format!(
                "the log has not been written for {} s",
                silent.as_secs()
            )),
            None => full.then(|| "the disk is full".to_owned()),
        };
        let stopping = self.broker.is_stopping();
        vec![
            check("storage", storage),
            check(
                "running",
                stopping.then(|| "the broker is stopping".to_owned()),
            ),
        ]
    }

    pub(super) fn counted(&self) -> Counters {
        let store = self.broker.store_figures();
        let dropped = self.broker.figures().dropped;
        let all = self.all_alarms();
        Counters {
            protocols: self.protocol_counters(),
            messages_dropped: vec![("retention", dropped.retention), ("trim", dropped.trim)],
            storage_append: seconds(&store.append.counted()),
            storage_fsync: seconds(&store.sync.counted()),
            storage_group: histogram(&store.group.counted(), 1.0),
            broker: self.broker_counters(),
            queues: None,
            process: process_counters(),
            alarms: all
                .map(|(name, alarm, ..)| (name, alarm.is_raised()))
                .into(),
        }
    }

    fn kafka_counters(&self) -> ProtocolCounters {
        let (doors, kafka) = (&self.figures, &self.kafka);
        let (published, delivered) = (kafka.published(), kafka.delivered());
        let load = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::Relaxed) as u64;
        let closed = doors.closed().map(|(ending, count)| (ending.word(), count));
        let held = doors.held_ms().map(|(why, ms)| {
            let seconds = Duration::from_millis(ms).as_secs_f64();
            (why.word(), seconds)
        });
        let requests = kafka.requests();
        ProtocolCounters {
            protocol: "kafka",
            messages_published: published.count,
            messages_delivered: delivered.count,
            message_bytes_published: published.bytes,
            message_bytes_delivered: delivered.bytes,
            connections: Some(ConnectionCounters {
                open: load(&doors.open),
                opened: load(&doors.opened),
                refused: load(&doors.refused),
                received_bytes: load(&doors.bytes_received),
                sent_bytes: load(&doors.bytes_sent),
                closed: closed.collect(),
                backpressure_seconds: held.collect(),
            }),
            errors: kafka.errors().collect(),
            request_duration: requests
                .map(|(op, counted)| (op, seconds(&counted)))
                .collect(),
        }
    }

    fn protocol_counters(&self) -> Vec<ProtocolCounters> {
        let always = [self.kafka_counters(), self.own_counters()];
        let sqs = self.sqs.as_deref().map(sqs_counters);
        always.into_iter().chain(sqs).collect()
    }

    fn own_counters(&self) -> ProtocolCounters {
        let own = &self.own;
        ProtocolCounters {
            protocol: "http",
            messages_published: own.published.load(Ordering::Relaxed),
            messages_delivered: own.delivered.load(Ordering::Relaxed),
            message_bytes_published: own.published_bytes.load(Ordering::Relaxed),
            message_bytes_delivered: own.delivered_bytes.load(Ordering::Relaxed),
            ..ProtocolCounters::default()
        }
    }

    fn broker_counters(&self) -> BrokerCounters {
        let model = self.model();
        let (lane, pool) = (self.broker.figures(), self.broker.pool_figures());
        let keeper = self.broker.keeper_figures();
        let disk = model.disk.unwrap_or(Disk {
            total_bytes: 0,
            free_bytes: 0,
        });
        BrokerCounters {
            topics: model.topics,
            partitions: model.partitions,
            groups: lane.groups.groups as u64,
            groups_max: lane.groups.groups_max as u64,
            group_bytes: lane.groups.bytes as u64,
            group_bytes_max: lane.groups.bytes_max as u64,
            stored_bytes: model.bytes,
            held_answers: lane.held_answers as u64,
            waiting_reads: lane.waiting_reads as u64,
            read_queue: pool.waiting as u64,
            cold_reads: pool.submitted,
            tail_bytes: lane.tail_bytes as u64,
            index_bytes: lane.index_bytes as u64,
            unsent_bytes: self.broker.unsent_bytes() as u64,
            chunks: lane.chunks as u64,
            open_chunks: pool.open_chunks as u64,
            regroup_passes: keeper.regroup_passes.load(Ordering::Relaxed),
            regroup_read_bytes: keeper.regroup_read_bytes.load(Ordering::Relaxed),
            regroup_written_bytes: keeper.regroup_written_bytes.load(Ordering::Relaxed),
            checkpoints: keeper.checkpoints.load(Ordering::Relaxed),
            quarantine_bytes: self.quarantined_bytes,
            damaged_ranges: lane.damaged_ranges as u64,
            unreadable_pages: unreadable_pages(),
            disk_bytes: disk.total_bytes,
            disk_free_bytes: disk.free_bytes,
        }
    }
}

fn sqs_counters(figures: &SqsFigures) -> ProtocolCounters {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let errors = figures.errors().into_iter();
    let requests = figures.requests();
    ProtocolCounters {
        protocol: "sqs",
        messages_published: load(&figures.sent),
        messages_delivered: load(&figures.received),
        message_bytes_published: load(&figures.sent_bytes),
        message_bytes_delivered: load(&figures.received_bytes),
        connections: Some(ConnectionCounters {
            open: load(&figures.open),
            opened: load(&figures.opened),
            refused: load(&figures.refused),
            ..ConnectionCounters::default()
        }),
        errors: errors
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        request_duration: requests
            .map(|(action, counted)| (action.to_owned(), seconds(&counted)))
            .collect(),
    }
}

fn seconds(counted: &Counted) -> Histogram {
    histogram(counted, MICROSECONDS)
}

fn histogram(counted: &Counted, unit: f64) -> Histogram {
    let buckets = counted.buckets.iter();
    Histogram {
        buckets: buckets
            .map(|(bound, count)| (*bound as f64 / unit, *count))
            .collect(),
        count: counted.count,
        sum: counted.sum as f64 / unit,
    }
}

/// What the system says of this process; what it does not say stays 0.
fn process_counters() -> ProcessCounters {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    ProcessCounters {
        resident_memory_bytes: resident.unwrap_or(0_u64) << 10,
        open_fds: open as u64,
        max_fds: limit.current.unwrap_or(0),
    }
}
