//! The seam between the program and the broker: what [`crate::run`] asks for, in the order in which
//! it asks.
//!
//! ```text
//! Launch::open   takes the lock of the data directory; quick, nothing is read
//!     |          the HTTP listener is bound, /startupz answers
//! Opened::start  takes the Kafka port, recovers, lets connections come
//!     |          addresses.json, "Server startup complete"
//! Running::failed | a signal
//!     |
//! Running::drain finishes what was begun, syncs, leaves the synced mark
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use mulgil_admin::backend::Backend;
use mulgil_admin::catalogue::Code;
use mulgil_admin::gate::Gate;
use mulgil_admin::model::Recovery;
use mulgil_broker::start::Progress;

use mulgil_log::disk::RealDisk;
use mulgil_log::fault::FaultKind;

use crate::backend::LocalBackend;
use crate::cli::Advertise;
use crate::failure::{Failure, Outcome};
use crate::node::{self, Node, NodeOptions, SqsListen};

/// A future on the runtime of the main thread.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a broker is told.
#[derive(Clone, Debug)]
pub(crate) struct BrokerOptions {
    /// It exists; nobody has looked yet whether another process works on it.
    pub(crate) data_dir: PathBuf,
    /// Where the Kafka listener is bound; port 0 is a free one.
    pub(crate) kafka: SocketAddr,
    /// What clients are told, if not the address of the listener.
    pub(crate) advertise: Option<Advertise>,
    /// Where and how the SQS door listens.
    pub(crate) sqs: Option<SqsListen>,
}

/// Makes a broker.
pub(crate) trait Launch {
    /// Takes the lock of the data directory.
    ///
    /// Fails with [`Code::DataDirLocked`] or [`Code::DataDirUnusable`].
    fn open(&self, options: BrokerOptions) -> Outcome<Box<dyn Opened>>;
}

/// A data directory that is ours.
pub(crate) trait Opened {
    /// Recovers and opens the Kafka listener; through [`Gate::watch`] it tells how far it is.
    ///
    /// Fails with [`Code::DataDamaged`], [`Code::CannotListen`] or [`Code::BrokerFailed`].
    fn start(self: Box<Self>, gate: Arc<Gate>) -> Local<'static, Outcome<Box<dyn Running>>>;
}

/// A broker that takes work.
pub(crate) trait Running {
    /// What the admin API works with.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Where the Kafka listener really is.
    fn kafka(&self) -> SocketAddr;

    /// Where the SQS listener really is, if there is one.
    fn sqs(&self) -> Option<SocketAddr>;

    /// Waits until the broker can not go on, for instance after a failed sync.
    fn failed(&mut self) -> Local<'_, Failure>;

    /// Stops: no new connections, open requests are answered, everything is synced.
    fn drain(self: Box<Self>) -> Local<'static, Outcome<()>>;
}

/// The broker of this build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broker;

impl Launch for Broker {
    fn open(&self, options: BrokerOptions) -> Outcome<Box<dyn Opened>> {
        let disk = RealDisk::open(&options.data_dir).map_err(|fault| {
            let code = match fault.kind {
                FaultKind::Fenced => Code::DataDirLocked,
                FaultKind::Unavailable
                | FaultKind::Corrupt
                | FaultKind::Exhausted
                | FaultKind::Fatal => Code::DataDirUnusable,
            };
            Failure::new(code, fault.to_string())
        })?;
        Ok(Box::new(OwnDirectory { disk, options }))
    }
}

/// A data directory that is locked by this process.
struct OwnDirectory {
    disk: RealDisk,
    options: BrokerOptions,
}

impl Opened for OwnDirectory {
    fn start(self: Box<Self>, gate: Arc<Gate>) -> Local<'static, Outcome<Box<dyn Running>>> {
        Box::pin(async move {
            let Self { disk, options } = *self;
            let advertise = options.advertise.clone();
            let node_options = NodeOptions {
                kafka: Some(options.kafka),
                advertised: advertise.map(|a| (a.host, a.port)),
                sqs: options.sqs.clone(),
                ..NodeOptions::default()
            };
            let progress = Arc::<Progress>::default();
            let watched = Arc::clone(&progress);
            gate.watch(Box::new(move || recovery(&watched)));
            // Recovery reads for a while; the HTTP listener answers meanwhile.
            let started = tokio::task::spawn_blocking(move || {
                node::start(node::disk_of(disk)?, &node_options, &progress)
            });
            let node = started.await.map_err(|error| {
                Failure::new(
                    Code::BrokerFailed,
                    format!("the start was broken off: {error}"),
                )
            })??;
            let kafka = node.kafka.unwrap_or(options.kafka);
            let backend = LocalBackend::new(&node);
            if let Some((_, door)) = &node.sqs {
                door.set_moves(Arc::clone(&backend) as _);
            }
            let running: Box<dyn Running> = Box::new(RunningNode {
                kafka,
                node,
                backend,
            });
            Ok(running)
        })
    }
}

fn recovery(progress: &Progress) -> Recovery {
    let reached = progress.reached();
    Recovery {
        phase: reached.phase.word().to_owned(),
        bytes_read: reached.read,
        bytes_total: reached.total,
    }
}

/// A broker that takes work.
struct RunningNode {
    kafka: SocketAddr,
    node: Node,
    backend: Arc<LocalBackend>,
}

impl Running for RunningNode {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as _
    }

    fn sqs(&self) -> Option<SocketAddr> {
        self.node.sqs.as_ref().map(|(address, _)| *address)
    }

    fn kafka(&self) -> SocketAddr {
        self.kafka
    }

    fn failed(&mut self) -> Local<'_, Failure> {
        // When nobody knows what is on disk, the process ends at once, on the writer's thread.
        Box::pin(std::future::pending())
    }

    fn drain(self: Box<Self>) -> Local<'static, Outcome<()>> {
        Box::pin(async move {
            self.node.stop().await;
            Ok(())
        })
    }
}

/// What clients are told to connect to.
pub(crate) fn advertised(bound: SocketAddr, advertise: Option<&Advertise>) -> String {
    match advertise {
        Some(Advertise { host, port }) => Advertise {
            host: host.clone(),
            port: Some(port.unwrap_or(bound.port())),
        }
        .to_string(),
        // Nobody can connect to "all addresses"; on this machine at least, this works.
        None if bound.ip().is_unspecified() => format!("127.0.0.1:{}", bound.port()),
        None => bound.to_string(),
    }
}

impl fmt::Debug for dyn Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("kafka", &self.kafka())
            .finish_non_exhaustive()
    }
}
