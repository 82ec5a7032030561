//! The seam between the program and the broker: what [`crate::run`] asks for, in the order in which
//! it asks.
//!
//! ```text
//! Launch::open   takes the lock of the data directory; quick, nothing is read
//!     |          the HTTP listener is bound, /startupz answers
//! Opened::start  recovers, binds the Kafka listener
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

use crate::cli::Advertise;
use crate::failure::{Failure, Outcome};

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
    /// Recovers and binds the Kafka listener; [`Gate::set_progress`] is told how far it is.
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
        let BrokerOptions {
            data_dir,
            kafka,
            advertise,
        } = options;
        let (data_dir, clients) = (data_dir.display(), advertised(kafka, advertise.as_ref()));
        let detail = format!("this build has no broker for {data_dir} and {clients} in it");
        Err(Failure::new(Code::Unsupported, detail))
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
