//! A broker in this process: recovery, the store, the runtimes, the Kafka listener.
//!
//! This is the wiring and nothing else. The order of a start: the data directory is locked, the log
//! replayed, the writer started, a new leadership synced, and only then does anybody listen.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use mulgil_broker::clock::Clock;
use mulgil_broker::door::{self, DoorFigures, DoorLimits, Hall};
use mulgil_broker::keeper::KeeperOptions;
use mulgil_broker::lane::{LaneOptions, LogHead};
use mulgil_broker::shell::{Broker, CompletionPort, Parts};
use mulgil_broker::start::{self, Found};
use mulgil_kafka::{IdSource, KafkaConnection, KafkaOptions, KafkaShared};
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::recovery::{DamagedRange, Recovered};
use mulgil_log::store::{LocalStore, StoreOptions};
use mulgil_record::ids::TopicId;
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
    let listener = options.kafka.map(bind).transpose()?;
    let kafka = listener
        .as_ref()
        .map(std::net::TcpListener::local_addr)
        .transpose()?;
    let disk = open_disk(&options.data_dir)?;
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

/// The disk of the data directory. With the feature `recording`, `MULGIL_RECORDING` names a file into
/// which it writes down what is done to it, and `MULGIL_PLANTED` a mistake that it makes meanwhile.
fn open_disk(data_dir: &Path) -> anyhow::Result<Arc<dyn Disk>> {
    let disk = RealDisk::open(data_dir)?;
    #[cfg(feature = "recording")]
    if let Some(recording) = std::env::var_os("MULGIL_RECORDING") {
        use mulgil_log::disk::{Planted, RecordingDisk};
        let planted = std::env::var("MULGIL_PLANTED")
            .ok()
            .map(|name| Planted::named(&name).with_context(|| format!("no planted bug is {name}")))
            .transpose()?;
        let disk = RecordingDisk::start(disk, Path::new(&recording))?;
        return Ok(Arc::new(disk.with_planted(planted)));
    }
    Ok(Arc::new(disk))
}

/// How large log chunks grow. With the feature `recording`, `MULGIL_CHUNK_BYTES` may say so: a short
/// recording is to hold the beginning and the end of many.
fn chunk_bytes_max(options: &NodeOptions) -> u32 {
    #[cfg(feature = "recording")]
    if let Some(bytes) = std::env::var("MULGIL_CHUNK_BYTES")
        .ok()
        .and_then(|bytes| bytes.parse().ok())
    {
        return bytes;
    }
    options.lane.chunk_bytes_max
}

/// Says what recovery took out of the log, and what of it can't be read any more.
fn report(recovered: &Recovered, damaged: &[DamagedRange]) {
    for taken in &recovered.quarantined {
        tracing::warn!(
            file = %taken.file, from = taken.from, bytes = taken.bytes, kept_as = %taken.kept_as,
            "bytes were taken out of the log and put into quarantine: {}", taken.why
        );
    }
    for at in &recovered.mended {
        tracing::warn!(%at, "a frame header is damaged; its entries are whole and were used");
    }
    for range in damaged {
        tracing::error!(
            at = %range.at, partition = range.partition, base = range.base, last = range.last,
            "records are damaged on disk; reading them is answered with an error"
        );
    }
}

fn start_broker(
    options: &NodeOptions,
    disk: Arc<dyn Disk>,
) -> anyhow::Result<(Arc<Broker>, Recovered)> {
    let lane_options = LaneOptions {
        partitions_default: options.partitions_default,
        chunk_bytes_max: chunk_bytes_max(options),
        ..options.lane.clone()
    };
    let Found {
        replayer,
        mut recovered,
    } = start::read_back(&disk, &lane_options)?;
    if recovered.cluster == 0 {
        recovered.cluster = random_id();
    }
    let clock = Clock::new(recovered.elapsed_ms);
    report(&recovered, replayer.damaged());
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
