//! Queues and subscriptions, and records of topics, as the command line asks for them.

use hyper::Method;
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    AlterSubscription, BrowsedPage, CreateQueue, CreateSubscription, NewRecord, Published, Purge,
    Purged, Receive, Received, Redrive, RedriveList, RedriveTask, Redriven, SeekSubscription,
    SettleRecords, Settled, Sought, SubscriptionDetail, SubscriptionPage,
};
use mulgil_admin::queues::{Browse, Kind, Which};

use super::{Api, escaped};
use crate::failure::{Failure, Outcome};

const fn base(kind: Kind) -> &'static str {
    match kind {
        Kind::Subscription => "/api/v1/subscriptions",
        Kind::Queue => "/api/v1/queues",
    }
}

fn path(which: Which<'_>) -> String {
    format!("{}/{}", base(which.kind), escaped(which.name))
}

impl Api {
    /// A page of those behind a name, and of one topic's readers alone.
    pub(crate) fn subscriptions(
        &self,
        kind: Kind,
        topic: Option<&str>,
        after: Option<&str>,
    ) -> Outcome<SubscriptionPage> {
        let part = |name: &str, value: Option<&str>| {
            value.map(|value| format!("&{name}={}", escaped(value)))
        };
        let parts = [part("topic", topic), part("after", after)];
        let parts: String = parts.into_iter().flatten().collect();
        self.get(&format!("{}?limit=1000{parts}", base(kind)))
    }

    pub(crate) fn subscription(&self, which: Which<'_>) -> Outcome<SubscriptionDetail> {
        self.get(&path(which))
    }

    pub(crate) fn create_queue(&self, queue: &CreateQueue) -> Outcome<SubscriptionDetail> {
        self.send(Method::POST, base(Kind::Queue), Some(queue))
    }

    pub(crate) fn subscribe(&self, to: &CreateSubscription) -> Outcome<SubscriptionDetail> {
        self.send(Method::POST, base(Kind::Subscription), Some(to))
    }

    pub(crate) fn alter_subscription(
        &self,
        which: Which<'_>,
        change: &AlterSubscription,
    ) -> Outcome<SubscriptionDetail> {
        self.send(Method::PATCH, &path(which), Some(change))
    }

    pub(crate) fn delete_subscription(&self, which: Which<'_>) -> Outcome<()> {
        self.send::<(), ()>(Method::DELETE, &path(which), None)
    }

    /// Publishes records to a queue, all in one request.
    pub(crate) fn publish_to_queue(&self, name: &str, records: &[NewRecord]) -> Outcome<Published> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)
                .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
            lines.push(b'\n');
        }
        let kind = Kind::Queue;
        let path = format!("{}/records", path(Which { kind, name }));
        self.send_bytes(Method::POST, &path, "application/x-ndjson", lines)
    }

    pub(crate) fn purge(&self, which: Which<'_>, purge: Purge) -> Outcome<Purged> {
        let path = format!("{}/purge", path(which));
        self.send(Method::POST, &path, Some(&purge))
    }

    pub(crate) fn seek(&self, which: Which<'_>, seek: &SeekSubscription) -> Outcome<Sought> {
        let path = format!("{}/seek", path(which));
        self.send(Method::POST, &path, Some(seek))
    }

    pub(crate) fn redrive(&self, which: Which<'_>, redrive: &Redrive) -> Outcome<Redriven> {
        let path = format!("{}/redrive", path(which));
        self.send(Method::POST, &path, Some(redrive))
    }

    pub(crate) fn redrives(&self) -> Outcome<RedriveList> {
        self.get("/api/v1/redrives")
    }

    pub(crate) fn cancel_redrive(&self, id: u64) -> Outcome<RedriveTask> {
        let path = format!("/api/v1/redrives/{id}");
        self.send::<(), _>(Method::DELETE, &path, None)
    }

    pub(crate) fn receive(&self, which: Which<'_>, receive: &Receive) -> Outcome<Received> {
        let path = format!("{}/receive", path(which));
        self.send(Method::POST, &path, Some(receive))
    }

    pub(crate) fn settle(&self, which: Which<'_>, settle: &SettleRecords) -> Outcome<Settled> {
        let path = format!("{}/settle", path(which));
        self.send(Method::POST, &path, Some(settle))
    }

    pub(crate) fn browse(&self, which: Which<'_>, browse: Browse) -> Outcome<BrowsedPage> {
        let Browse {
            partition,
            from,
            records_max,
        } = browse;
        let page = format!("partition={partition}&from={from}&max={records_max}");
        self.get(&format!("{}/records?{page}", path(which)))
    }
}
