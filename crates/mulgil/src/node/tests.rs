//! A start that takes its time, seen from outside.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};

use mulgil_broker::group::{
    Claim, Command, CommitOffsets, Effect, Generation, GroupName, GroupReply, GroupRequest, Join,
    MemberId, Offered, OffsetEntry, OffsetKey, Sync, Waiter,
};
use mulgil_broker::request::{CreateTopic, CreateTopics, Reply, Request};
use mulgil_broker::start::Phase;
use mulgil_log::disk::{DiskFile, MemDisk, Space};
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_record::ids::Offset;

use super::*;

/// A disk that opens no file while the log is replayed, until it is told to.
#[derive(Debug)]
struct Slow {
    disk: Arc<dyn Disk>,
    progress: Arc<Progress>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk for Slow {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.progress.reached().phase == Phase::Log {
            let (released, more) = &*self.released;
            let waited = more.wait_while(released.lock().unwrap(), |released| !*released);
            drop(waited.unwrap());
        }
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

fn stop(node: Node) {
    runtime().block_on(node.stop());
}

#[test]
fn nobody_is_let_in_before_the_log_is_read_and_progress_is_told() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new(1));
    let progress = Arc::<Progress>::default();
    let options = NodeOptions {
        runtimes: 1,
        ..NodeOptions::default()
    };
    stop(start(Arc::clone(&disk), &options, &progress).unwrap());
    let reached = progress.reached();
    assert_eq!(reached.phase, Phase::Finishing);

    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let progress = Arc::<Progress>::default();
    let released = Arc::<(Mutex<bool>, Condvar)>::default();
    let slow = Slow {
        disk,
        progress: Arc::clone(&progress),
        released: Arc::clone(&released),
    };
    let options = NodeOptions {
        kafka: Some(addr),
        ..options
    };
    let watched = Arc::clone(&progress);
    let starting = std::thread::spawn(move || start(Arc::new(slow), &options, &watched));
    while progress.reached().phase != Phase::Log {
        std::thread::yield_now();
    }
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(!starting.is_finished());

    *released.0.lock().unwrap() = true;
    released.1.notify_all();
    let node = starting.join().unwrap().unwrap();
    assert_eq!(node.kafka, Some(addr));
    drop(TcpStream::connect(addr).unwrap());
    let reached = progress.reached();
    assert!(reached.total > 0, "{reached:?}");
    assert_eq!(reached.read, reached.total);
    stop(node);
}

/// Asks a group to do something, and says what came of it.
async fn group(broker: &Broker, command: Command) -> Effect {
    let group = GroupName::from("g");
    let request = Request::Group(GroupRequest::Command { group, command });
    match broker.ask(request).await {
        Some(Reply::Group(GroupReply::Done(effect))) => effect,
        other => panic!("{other:?}"),
    }
}

/// What is committed, by topic.
async fn committed(broker: &Broker) -> Vec<TopicId> {
    let group = GroupName::from("g");
    let request = Request::Group(GroupRequest::Offsets { group, keys: None });
    let Some(Reply::Group(GroupReply::Offsets(found))) = broker.ask(request).await else {
        panic!("no answer of a group");
    };
    found.iter().map(|(key, _)| key.topic).collect()
}

/// A group of one consumer that reads topic `read`.
async fn living_group(broker: &Broker) {
    let id = MemberId::from("m");
    let metadata = b"\0\0\0\0\0\x01\0\x04read\0\0\0\0";
    let join = Join {
        waiter: Waiter(0),
        member: None,
        new_member: id.clone(),
        require_known_member: false,
        instance: None,
        client_id: "c".into(),
        client_host: "h".into(),
        protocol_type: "consumer".into(),
        offered: vec![Offered {
            name: "range".into(),
            metadata: metadata[..].into(),
        }],
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        can_skip_assignment: true,
    };
    group(broker, Command::Join(Box::new(join))).await;
    let sync = Sync {
        waiter: Waiter(0),
        claim: Claim {
            member: id,
            instance: None,
            generation: Generation(1),
        },
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    group(broker, Command::Sync(Box::new(sync))).await;
}

#[test]
fn offsets_of_a_topic_that_a_living_group_does_not_read_expire() {
    let mut options = NodeOptions {
        runtimes: 1,
        kafka: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..NodeOptions::default()
    };
    options.lane.groups.initial_delay_ms = 0;
    options.lane.groups.offsets_retention_ms = 1;
    options.lane.groups.expiry_check_ms = 10;
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new(1));
    let node = start(disk, &options, &Progress::default()).unwrap();
    let broker = Arc::clone(&node.broker);
    runtime().block_on(async {
        let topic = |name, id| CreateTopic {
            name: TopicName::in_default(name),
            partitions: Some(1),
            settings: TopicSettings::default(),
            id: TopicId(id),
        };
        let create = CreateTopics {
            topics: vec![topic("read", 1), topic("old", 2)],
            validate_only: false,
        };
        broker.ask(Request::CreateTopics(create)).await.unwrap();
        living_group(&broker).await;
        let entry = |topic| OffsetEntry {
            key: OffsetKey {
                topic: TopicId(topic),
                partition: 0,
            },
            offset: Offset(5),
            leader_epoch: None,
            metadata: "".into(),
            retention_ms: None,
        };
        let commit = CommitOffsets {
            member: Some(MemberId::from("m")),
            instance: None,
            generation: Generation(1),
            entries: vec![entry(1), entry(2)],
        };
        group(&broker, Command::CommitOffsets(Box::new(commit))).await;
        let gone = async {
            while committed(&broker).await.contains(&TopicId(2)) {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
        gone.expect("somebody looks");
        assert_eq!(committed(&broker).await, [TopicId(1)]);
    });
    stop(node);
}
