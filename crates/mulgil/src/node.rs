//! A broker in this process: recovery, the store, the runtimes, the Kafka listener.
//!
//! This is the wiring and nothing else. The order of a start: the data directory is locked, the log
//! replayed, the writer started, a new leadership synced, and only then does anybody listen. The port
//! is taken before, see [`port`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mulgil_admin::catalogue::Code;
use mulgil_broker::clock::Clock;
use mulgil_broker::door::{self, DoorFigures, DoorLimits, Hall};
use mulgil_broker::keeper::KeeperOptions;
use mulgil_broker::lane::{LaneOptions, LogHead};
use mulgil_broker::shell::{Broker, CompletionPort, Parts};
use mulgil_broker::start::{self, Found, Progress};
use mulgil_kafka::{IdSource, KafkaConnection, KafkaFigures, KafkaShared};
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::recovery::{DamagedRange, Recovered};
use mulgil_log::store::{Completion, LocalStore, StoreOptions};
use mulgil_record::ids::TopicId;
use mulgil_sqs::door::{Door, DoorOptions};
use mulgil_sqs::server::Server;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::failure::{Failure, Outcome};

mod doors;
mod port;
#[cfg(test)]
mod tests;

use port::Port;

/// Where and how the SQS door listens.
#[derive(Clone, Debug)]
pub(crate) struct SqsListen {
    /// Where; port 0 for a free one.
    pub(crate) address: SocketAddr,
    /// Names beside loopback and the address that it answers to.
    pub(crate) hosts: Vec<String>,
    /// What the door is told.
    pub(crate) door: DoorOptions,
}

/// How a broker is to be started.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    /// Where the Kafka door listens; port 0 for a free one.
    pub(crate) kafka: Option<SocketAddr>,
    /// Host and port that Kafka's clients are told, if not the listener's own; without a port, that one.
    pub(crate) advertised: Option<(String, Option<u16>)>,
    /// Where and how the SQS door listens.
    pub(crate) sqs: Option<SqsListen>,
    /// Runtimes that serve sockets; 0 for one a core.
    pub(crate) runtimes: u16,
    /// Partitions of a topic whose creator does not say.
    pub(crate) partitions_default: u32,
    /// Whether asking for a topic may create it.
    pub(crate) auto_create_topics: bool,
    /// The lane's sizes.
    pub(crate) lane: LaneOptions,
    /// How the store is kept in order.
    pub(crate) keeper: KeeperOptions,
    /// Limits of connections.
    pub(crate) limits: DoorLimits,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            kafka: None,
            advertised: None,
            sqs: None,
            runtimes: 0,
            partitions_default: 1,
            auto_create_topics: true,
            lane: LaneOptions::default(),
            keeper: KeeperOptions::default(),
            limits: DoorLimits::default(),
        }
    }
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct Node {
    /// The broker itself, to be asked.
    pub(crate) broker: Arc<Broker>,
    /// Where the Kafka door really listens.
    pub(crate) kafka: Option<SocketAddr>,
    /// Where the SQS door really listens, and the door.
    pub(crate) sqs: Option<(SocketAddr, Arc<Door>)>,
    /// Counters of the doors.
    pub(crate) figures: Arc<DoorFigures>,
    /// Counters of the Kafka door.
    pub(crate) kafka_figures: Arc<KafkaFigures>,
    /// What recovery found.
    pub(crate) recovered: Recovered,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Stops in order: no new work, all that was taken synced, connections closed.
    pub(crate) async fn stop(self) {
        self.broker.stop().await;
        self.stop.send_replace(true);
        for thread in self.threads {
            // A runtime that panicked has already ended the process.
            let _ended = thread.join();
        }
    }
}

/// Starts a broker, telling `progress` how far it is.
///
/// # Errors
///
/// The data directory is in use or damaged, or an address cannot be listened on.
pub(crate) fn start(
    disk: Arc<dyn Disk>,
    options: &NodeOptions,
    progress: &Progress,
) -> Outcome<Node> {
    raise_open_files();
    let port = options.kafka.map(|addr| Port::take("--kafka", addr));
    let port = port.transpose()?;
    let sqs_port = options
        .sqs
        .as_ref()
        .map(|sqs| Port::take("--sqs", sqs.address));
    let sqs_port = sqs_port.transpose()?;
    let sqs_addr = sqs_port.as_ref().map(|port| port.addr);
    let kafka = port.as_ref().map(|port| port.addr);
    let (broker, recovered) = start_broker(options, disk, progress)?;
    let figures = Arc::<DoorFigures>::default();
    let kafka_figures = Arc::new(doors::kafka_figures());
    let (stop, stopped) = watch::channel(false);
    let found = (&broker, &recovered);
    let shared = kafka.map(|addr| doors::kafka(options, addr, found, &kafka_figures));
    let sqs_door = options.sqs.as_ref().map(|sqs| doors::sqs(sqs, found));
    let sqs = { options.sqs.as_ref() }
        .zip(sqs_addr.zip(sqs_door.clone()))
        .map(|(sqs, (addr, door))| doors::sqs_server(sqs, addr, door));
    let mut threads = Vec::new();
    let mut halls = Vec::new();
    let mut sqs_halls = Vec::new();
    for number in 0..runtimes(options) {
        let (sender, connections) = mpsc::unbounded_channel();
        halls.push(sender);
        let (sender, sqs_connections) = mpsc::unbounded_channel();
        sqs_halls.push(sender);
        let seat = Seat {
            broker: Arc::clone(&broker),
            number,
            limits: Arc::new(options.limits.clone()),
            figures: Arc::clone(&figures),
            shared: shared.clone(),
            sqs: sqs.clone(),
            stopped: stopped.clone(),
        };
        threads.push(spawn(&format!("io-{number}"), move || {
            serve(seat, connections, sqs_connections);
        })?);
    }
    let listener = port.map(Port::open).transpose()?;
    let sqs_listener = sqs_port.map(Port::open).transpose()?;
    if shared.is_some() {
        let every_ms = options.lane.groups.expiry_check_ms;
        let looks = (Arc::clone(&broker), stopped.clone());
        threads.push(spawn("unread", move || {
            look_for_unread(looks.0, every_ms, looks.1);
        })?);
    }
    let listeners = vec![(listener, halls), (sqs_listener, sqs_halls)];
    let keeper = (Arc::clone(&broker), listeners, stopped);
    threads.push(spawn("accept", move || {
        keep(keeper.0, keeper.1, keeper.2);
    })?);
    Ok(Node {
        broker,
        kafka,
        sqs: sqs_addr.zip(sqs_door),
        figures,
        kafka_figures,
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

/// The disk of the data directory. With the feature `recording`, `MULGIL_RECORDING` names a file into
/// which it writes down what is done to it, and `MULGIL_PLANTED` a mistake that it makes meanwhile.
#[cfg_attr(
    not(feature = "recording"),
    expect(
        clippy::unnecessary_wraps,
        reason = "only a recording can fail to start"
    )
)]
pub(crate) fn disk_of(disk: RealDisk) -> Outcome<Arc<dyn Disk>> {
    #[cfg(feature = "recording")]
    if let Some(recording) = std::env::var_os("MULGIL_RECORDING") {
        use mulgil_log::disk::{Planted, RecordingDisk};
        let unknown = |name: String| Failure::new(Code::Usage, format!("no planted bug is {name}"));
        let planted = std::env::var("MULGIL_PLANTED")
            .ok()
            .map(|name| Planted::named(&name).ok_or_else(|| unknown(name)))
            .transpose()?;
        let disk = RecordingDisk::start(disk, std::path::Path::new(&recording))
            .map_err(|fault| failed(&fault))?;
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

fn start_broker(
    options: &NodeOptions,
    disk: Arc<dyn Disk>,
    progress: &Progress,
) -> Outcome<(Arc<Broker>, Recovered)> {
    let lane_options = LaneOptions {
        partitions_default: options.partitions_default,
        chunk_bytes_max: chunk_bytes_max(options),
        ..options.lane.clone()
    };
    let Found {
        replayer,
        mut recovered,
    } = start::read_back_watched(&disk, &lane_options, progress).map_err(|fault| failed(&fault))?;
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
        secret: random_secret(),
    };
    let lane = replayer.finish(head, clock.now());
    let port = CompletionPort::default();
    let completions = port.clone();
    let (begun, first_sync) = std::sync::mpsc::sync_channel(1);
    let complete = Arc::new(move |completion| {
        let synced = matches!(completion, Completion::Synced { .. });
        completions.complete(completion);
        if synced {
            // Only the first is waited for.
            let _nobody_waits = begun.try_send(());
        }
    });
    let store = LocalStore::start(disk, StoreOptions::default(), complete)
        .map_err(|fault| failed(&fault))?;
    let on_fatal = Box::new(|fault: &Fault| {
        tracing::error!(%fault, source = ?fault.source, "the log cannot be written; the process ends");
        std::process::exit(1);
    });
    let parts = Parts {
        lane,
        store: Arc::new(store),
        clock,
        runtimes: usize::from(runtimes(options)),
        keeper: options.keeper,
        on_fatal,
    };
    let broker = Broker::start(parts, &port);
    if !recovered.quarantined.is_empty() {
        broker.alarms().quarantine.set(true, broker.now().wall);
    }
    // A leadership that anybody has seen must not be begun again after a power cut.
    let _writer_ended = first_sync.recv();
    Ok((broker, recovered))
}

/// Says what recovery found, if it is worth a line.
fn report(recovered: &Recovered, damaged: &[DamagedRange]) {
    let Recovered { copied, clean, .. } = recovered;
    tracing::info!(clean, copied, end = %recovered.end, "log read back");
    for piece in &recovered.quarantined {
        let (file, from, bytes, kept) = (&piece.file, piece.from, piece.bytes, &piece.kept_as);
        tracing::error!(
            file,
            from,
            bytes,
            kept,
            why = piece.why,
            "put into quarantine"
        );
    }
    for at in &recovered.mended {
        tracing::error!(%at, "a frame header was damaged; its entries were whole and are used");
    }
    for range in damaged {
        let (partition, base, last) = (range.partition, range.base, range.last);
        tracing::error!(at = %range.at, partition, base, last, "records are damaged on disk");
    }
}

fn runtimes(options: &NodeOptions) -> u16 {
    if options.runtimes > 0 {
        return options.runtimes;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX - 1)
}

/// Tells damage from other faults of the store.
fn failed(fault: &Fault) -> Failure {
    let code = match fault.kind {
        FaultKind::Corrupt => Code::DataDamaged,
        FaultKind::Exhausted => Code::DiskFull,
        FaultKind::Unavailable | FaultKind::Fenced | FaultKind::Fatal => Code::BrokerFailed,
    };
    let source = fault.source.as_ref().map(|source| format!(": {source}"));
    Failure::new(code, format!("{fault}{}", source.unwrap_or_default()))
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

fn random_secret() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // The few bits of an id that are always the same are not the same ones in both halves.
    high ^ low
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread
        .spawn(run)
        .map_err(|error| Failure::new(Code::BrokerFailed, format!("thread {name}: {error}")))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a process may have a runtime a core")
}

type Accepted = (std::net::TcpStream, SocketAddr);

/// A listener, and the runtimes that its connections go to.
type Listening = (
    Option<std::net::TcpListener>,
    Vec<mpsc::UnboundedSender<Accepted>>,
);

/// What a runtime is made of.
struct Seat {
    broker: Arc<Broker>,
    number: u16,
    limits: Arc<DoorLimits>,
    figures: Arc<DoorFigures>,
    shared: Option<Arc<KafkaShared>>,
    sqs: Option<Arc<Server>>,
    stopped: watch::Receiver<bool>,
}

/// One runtime: its connections, and what the broker posts for them.
fn serve(
    seat: Seat,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    mut sqs_connections: mpsc::UnboundedReceiver<Accepted>,
) {
    let Seat {
        broker,
        number,
        limits,
        figures,
        shared,
        sqs,
        mut stopped,
    } = seat;
    let hall = Hall::new(broker, number, limits, figures, stopped.clone());
    let local = LocalSet::new();
    local.block_on(&runtime(), async move {
        let deliver = tokio::task::spawn_local(hall.clone().deliver_forever());
        let beat = tokio::task::spawn_local(hall.clone().beat_forever());
        let mut served = tokio::task::JoinSet::new();
        loop {
            let (accepted, is_sqs) = tokio::select! {
                Some(accepted) = connections.recv() => (accepted, false),
                Some(accepted) = sqs_connections.recv() => (accepted, true),
                _ = stopped.wait_for(|stop| *stop) => break,
                else => break,
            };
            let (stream, peer) = accepted;
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
                continue;
            };
            if is_sqs {
                if let Some(server) = sqs.clone() {
                    let stopped = stopped.clone();
                    served.spawn_local(async move { server.serve(stream, peer, stopped).await });
                }
            } else if let Some(shared) = shared.clone() {
                let connection = KafkaConnection::new(shared, peer.ip());
                served.spawn_local(hall.clone().serve(stream, peer, connection));
            }
            while served.try_join_next().is_some() {}
        }
        // Connections see the stop themselves, and send what they still have for a moment.
        while served.join_next().await.is_some() {}
        deliver.abort();
        beat.abort();
    });
}

/// Looks from time to time for old offsets of topics that living groups do not read any more. On a thread
/// of its own: what the members of many groups say takes its time to look at.
fn look_for_unread(broker: Arc<Broker>, every_ms: u64, mut stopped: watch::Receiver<bool>) {
    runtime().block_on(async move {
        let look = async {
            loop {
                tokio::time::sleep(Duration::from_millis(every_ms)).await;
                let ask = async |request| broker.ask(request).await;
                if mulgil_kafka::expire_unread(ask, &*broker).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = look => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    });
}

/// The runtime that accepts connections and keeps the lane's time.
fn keep(broker: Arc<Broker>, listeners: Vec<Listening>, mut stopped: watch::Receiver<bool>) {
    let local = LocalSet::new();
    local.block_on(&runtime(), async move {
        let ticker = tokio::task::spawn_local(Arc::clone(&broker).tick_forever());
        // Nobody is served before it is on disk that a new leadership has begun.
        broker.settled().await;
        let mut accepting = tokio::task::JoinSet::new();
        for (listener, halls) in listeners {
            match listener.map(TcpListener::from_std) {
                Some(Ok(listener)) => {
                    accepting.spawn_local(door::accept(listener, halls, stopped.clone()));
                }
                Some(Err(error)) => tracing::error!(%error, "the listener is unusable"),
                None => {}
            }
        }
        let _stop = stopped.wait_for(|stop| *stop).await;
        while accepting.join_next().await.is_some() {}
        ticker.abort();
    });
}
