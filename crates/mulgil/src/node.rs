//! A broker in this process: recovery, the store, the runtimes, the Kafka listener.
//!
//! This is the wiring and nothing else. The order of a start: the data directory is locked, the log
//! replayed, the writer started, a new leadership synced, and only then does anybody listen.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use mulgil_broker::clock::Clock;
use mulgil_broker::door::{self, DoorFigures, DoorLimits, Hall};
use mulgil_broker::keeper::KeeperOptions;
use mulgil_broker::lane::{LaneOptions, LogHead, Replayer};
use mulgil_broker::shell::{Broker, CompletionPort, Parts};
use mulgil_kafka::{IdSource, KafkaConnection, KafkaOptions, KafkaShared};
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::recovery::{self, RecoverFrom, Recovered};
use mulgil_log::store::{LocalStore, StoreOptions};
use mulgil_record::ids::TopicId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// How a broker is to be started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the Kafka door listens; port 0 for a free one.
    pub kafka: Option<SocketAddr>,
    /// Host and port that Kafka's clients are told, if not the listener's own.
    pub advertised: Option<(String, u16)>,
    /// Runtimes that serve sockets; 0 for one a core.
    pub runtimes: usize,
    /// Partitions of a topic whose creator does not say.
    pub partitions_default: u32,
    /// Whether asking for a topic may create it.
    pub auto_create_topics: bool,
    /// The lane's sizes.
    pub lane: LaneOptions,
    /// How the store is kept in order.
    pub keeper: KeeperOptions,
    /// Limits of connections.
    pub limits: DoorLimits,
}

/// A broker that runs.
#[derive(Debug)]
pub struct Node {
    /// The broker itself, to be asked.
    pub broker: Arc<Broker>,
    /// Where the Kafka door really listens.
    pub kafka: Option<SocketAddr>,
    /// Host and port that Kafka's clients are told.
    pub kafka_advertised: Option<(String, u16)>,
    /// Counters of the doors.
    pub figures: Arc<DoorFigures>,
    /// What recovery found.
    pub recovered: Recovered,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Stops in order: no new work, all that was taken synced, connections closed.
    pub async fn stop(self) {
        self.broker.stop().await;
        self.stop.send_replace(true);
        for thread in self.threads {
            // A runtime that panicked has already ended the process.
            let _ended = thread.join();
        }
    }
}

/// Starts a broker.
///
/// # Errors
///
/// The data directory is in use or damaged, or an address cannot be listened on.
pub fn start(options: &NodeOptions) -> anyhow::Result<Node> {
    raise_open_files();
    let listener = options.kafka.map(bind).transpose()?;
    let kafka = listener
        .as_ref()
        .map(std::net::TcpListener::local_addr)
        .transpose()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&options.data_dir)?);
    let (broker, recovered) = start_broker(options, disk)?;
    let figures = Arc::<DoorFigures>::default();
    let (stop, stopped) = watch::channel(false);
    let advertised = kafka.map(|addr| {
        options
            .advertised
            .clone()
            .unwrap_or_else(|| advertised(addr))
    });
    let shared = advertised
        .clone()
        .map(|at| Arc::new(kafka_shared(options, &broker, at, recovered.cluster)));
    let mut threads = Vec::new();
    let mut halls = Vec::new();
    for number in 0..runtimes(options) {
        let (sender, connections) = mpsc::unbounded_channel();
        halls.push(sender);
        let seat = Seat {
            broker: Arc::clone(&broker),
            number: u16::try_from(number).context("too many runtimes")?,
            limits: Arc::new(options.limits.clone()),
            figures: Arc::clone(&figures),
            shared: shared.clone(),
            stopped: stopped.clone(),
        };
        threads.push(spawn(&format!("io-{number}"), move || {
            serve(seat, connections)
        })?);
    }
    let keeper = (Arc::clone(&broker), listener, halls, stopped);
    threads.push(spawn("keeper", move || {
        keep(keeper.0, keeper.1, keeper.2, keeper.3)
    })?);
    Ok(Node {
        broker,
        kafka,
        kafka_advertised: advertised,
        figures,
        recovered,
        stop,
        threads,
    })
}

/// Takes as many open files as the system allows: each connection needs one, and what most systems
/// give at first, 1,024, is a tenth of what a broker may be asked for.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, ..limit }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

fn start_broker(
    options: &NodeOptions,
    disk: Arc<dyn Disk>,
) -> anyhow::Result<(Arc<Broker>, Recovered)> {
    let mut replayer = Replayer::new(LaneOptions {
        partitions_default: options.partitions_default,
        ..options.lane.clone()
    });
    let mut recovered = recovery::recover(&disk, &mut replayer, RecoverFrom::default())?;
    if recovered.cluster == 0 {
        recovered.cluster = random_id();
    }
    let clock = Clock::new(recovered.elapsed_ms);
    let head = LogHead {
        chunk: recovered.next_chunk,
        lsn: recovered.next_lsn,
        incarnation: recovered.incarnation + 1,
        previous_end: recovered.end,
        checkpoint: recovered.checkpoint,
        cluster: recovered.cluster,
    };
    let lane = replayer.finish(head, recovered.clean, clock.now());
    let port = CompletionPort::default();
    let completions = port.clone();
    let complete = Arc::new(move |completion| completions.complete(completion));
    let store = LocalStore::start(disk, StoreOptions::default(), complete)?;
    let on_fatal = Box::new(|fault: &mulgil_log::fault::Fault| {
        tracing::error!(%fault, source = ?fault.source, "the log cannot be written; the process ends");
        std::process::exit(1);
    });
    let parts = Parts {
        lane,
        store: Arc::new(store),
        clock,
        runtimes: runtimes(options),
        keeper: options.keeper,
        on_fatal,
    };
    let broker = Broker::start(parts, &port);
    Ok((broker, recovered))
}

fn runtimes(options: &NodeOptions) -> usize {
    if options.runtimes > 0 {
        return options.runtimes;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn bind(addr: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(addr).with_context(|| {
        format!("the Kafka listener cannot use {addr}: choose another with --kafka")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What clients on this machine can reach a listener by.
fn advertised(addr: SocketAddr) -> (String, u16) {
    let host = if addr.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        addr.ip().to_string()
    };
    (host, addr.port())
}

fn kafka_shared(
    options: &NodeOptions,
    broker: &Arc<Broker>,
    (host, port): (String, u16),
    cluster: u128,
) -> KafkaShared {
    KafkaShared {
        options: KafkaOptions {
            advertised_host: host,
            advertised_port: port,
            cluster_id: format!("{:032x}", cluster),
            partitions_default: options.partitions_default,
            auto_create_topics: options.auto_create_topics,
            ..KafkaOptions::default()
        },
        catalog: Arc::clone(broker) as _,
        ids: Arc::new(RandomIds),
    }
}

/// Ids from the system's source of randomness.
struct RandomIds;

impl IdSource for RandomIds {
    fn topic_id(&self) -> TopicId {
        TopicId(random_id())
    }

    fn fetch_session_id(&self) -> u32 {
        let id = random_id();
        u32::try_from(id & 0x7fff_ffff).unwrap_or(1)
    }
}

fn random_id() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread
        .spawn(run)
        .map_err(|error| anyhow!("thread {name} cannot be started: {error}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a process may have a runtime a core")
}

type Accepted = (std::net::TcpStream, SocketAddr);

/// What a runtime is made of.
struct Seat {
    broker: Arc<Broker>,
    number: u16,
    limits: Arc<DoorLimits>,
    figures: Arc<DoorFigures>,
    shared: Option<Arc<KafkaShared>>,
    stopped: watch::Receiver<bool>,
}

/// One runtime: its connections, and what the broker posts for them.
fn serve(seat: Seat, mut connections: mpsc::UnboundedReceiver<Accepted>) {
    let Seat {
        broker,
        number,
        limits,
        figures,
        shared,
        mut stopped,
    } = seat;
    let hall = Hall::new(broker, number, limits, figures, stopped.clone());
    let local = LocalSet::new();
    local.block_on(&runtime(), async move {
        let deliver = tokio::task::spawn_local(hall.clone().deliver_forever());
        let mut served = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = connections.recv() => accepted,
                _ = stopped.wait_for(|stop| *stop) => None,
            };
            let (Some((stream, peer)), Some(shared)) = (accepted, shared.clone()) else {
                break;
            };
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
                continue;
            };
            let connection = KafkaConnection::new(shared, hall.broker().now());
            served.spawn_local(hall.clone().serve(stream, peer, connection));
            while served.try_join_next().is_some() {}
        }
        // Connections see the stop themselves, and send what they still have for a moment.
        while served.join_next().await.is_some() {}
        deliver.abort();
    });
}

/// The runtime that accepts connections and keeps the lane's time.
fn keep(
    broker: Arc<Broker>,
    listener: Option<std::net::TcpListener>,
    halls: Vec<mpsc::UnboundedSender<Accepted>>,
    mut stopped: watch::Receiver<bool>,
) {
    let local = LocalSet::new();
    local.block_on(&runtime(), async move {
        let ticker = tokio::task::spawn_local(broker.tick_forever());
        match listener.map(TcpListener::from_std) {
            Some(Ok(listener)) => door::accept(listener, halls, stopped).await,
            Some(Err(error)) => tracing::error!(%error, "the listener is unusable"),
            None => {
                let _stop = stopped.wait_for(|stop| *stop).await;
            }
        }
        ticker.abort();
    });
}
