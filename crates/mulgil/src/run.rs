//! Runs a server from the first check to the exit: settings, log, listeners, signals.
//!
//! The broker itself is behind [`crate::broker`]. Everything here runs on one thread; the order is
//! the promise:
//!
//! ```text
//! settings are sane -> lock -> HTTP listener -> Kafka port -> recovery -> Kafka listener
//!   -> addresses.json -> "Server startup complete" on standard output
//!   -> signal -> not ready -> drain -> addresses.json goes -> exit 0
//! ```
//!
//! A second signal ends the process at once, see [`crate::interrupt`].

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mulgil_admin::catalogue::Code;
use mulgil_admin::gate::Gate;
use mulgil_admin::guard::Hosts;
use mulgil_admin::model::{Listener, Listeners};
use mulgil_admin::server::{self, Options};
use mulgil_sqs::door::{DoorOptions, Limits};
use mulgil_sqs::names::Owner;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broker::{BrokerOptions, Launch, Running, advertised};
use crate::cli::{DevArgs, ListenArgs, ServerArgs, SqsLimits};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::node::SqsListen;
use crate::out::say;

mod addresses;
mod logging;
mod progress;

use addresses::Addresses;

/// What a test waits for, and what people see.
const COMPLETE: &[u8] = b"Server startup complete\n";

/// `mulgil dev`.
pub(crate) fn dev(args: DevArgs, launch: &dyn Launch, stdout: &mut dyn Write) -> Outcome<()> {
    // Somebody sits in front of it, who wants to know why nothing happens.
    logging::start(&args.log, "warn,mulgil::run::progress=info")?;
    // Removed when it goes out of scope, after the broker.
    let ephemeral = if args.ephemeral {
        Some(temporary()?)
    } else {
        None
    };
    let data_dir = match (&ephemeral, args.data_dir) {
        (Some(directory), _) => directory.path().to_owned(),
        (None, Some(given)) => given,
        (None, None) => state_dir()?.join("mulgil-dev"),
    };
    let plan = Plan {
        data_dir,
        listen: args.listen,
        banner: Some(args.ephemeral),
    };
    start(plan, launch, &Interrupt::listen()?, stdout)
}

/// `mulgil server`.
pub(crate) fn server(args: ServerArgs, launch: &dyn Launch, stdout: &mut dyn Write) -> Outcome<()> {
    logging::start(&args.log, "info")?;
    let plan = Plan {
        data_dir: args.data_dir,
        listen: args.listen,
        banner: None,
    };
    start(plan, launch, &Interrupt::listen()?, stdout)
}

/// What is to be run.
#[derive(Debug)]
struct Plan {
    data_dir: PathBuf,
    listen: ListenArgs,
    /// `dev` says what it does; true if the data goes at the end.
    banner: Option<bool>,
}

fn temporary() -> Outcome<tempfile::TempDir> {
    let made = tempfile::Builder::new().prefix("mulgil-dev-").tempdir();
    made.map_err(|error| Failure::new(Code::DataDirUnusable, format!("temporary: {error}")))
}

/// The user's directory for what programs keep (XDG base directories).
fn state_dir() -> Outcome<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".local").join("state"));
    absolute("XDG_STATE_HOME").or_else(home).ok_or_else(|| {
        let detail = "neither XDG_STATE_HOME nor HOME is set; pass --data-dir or --ephemeral";
        Failure::new(Code::DataDirUnusable, detail)
    })
}

fn start(
    plan: Plan,
    launch: &dyn Launch,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    interrupt.politely();
    check_exposure(&plan.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let outcome = runtime.block_on(run(plan, launch, interrupt, stdout));
    // A start that a signal broke off reads on in its thread, for minutes perhaps. The end of the process
    // ends it, as a kill at any moment may.
    runtime.shutdown_background();
    outcome
}

/// Nothing listens beyond this machine unless somebody said that this is meant.
fn check_exposure(listen: &ListenArgs) -> Outcome<()> {
    let sqs = listen.sqs.address.0.filter(|_| listen.sqs.keys.is_empty());
    let always = [("--kafka", listen.kafka.0), ("--http", listen.http.0)];
    let all = always.into_iter().chain(sqs.map(|sqs| ("--sqs", sqs.0)));
    for (name, address) in all {
        if !address.ip().is_loopback() && !listen.allow_anonymous {
            return Err(Failure::new(Code::OpenToAll, format!("{name} {address}")));
        }
    }
    Ok(())
}

async fn run(
    plan: Plan,
    launch: &dyn Launch,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let data_dir = data_dir(&plan.data_dir)?;
    let listen = plan.listen;
    let opened = launch.open(BrokerOptions {
        data_dir: data_dir.clone(),
        kafka: listen.kafka.0,
        advertise: listen.advertise.clone(),
        sqs: sqs_listen(&listen),
    })?;
    // The lock is ours: what an earlier process left there is not true any more.
    let addresses = Addresses::new(&data_dir);
    addresses.remove();
    let gate = Arc::new(Gate::default());
    let http = Http::start(&listen, &data_dir, &gate).await?;
    let mut running = tokio::select! {
        running = opened.start(Arc::clone(&gate)) => running?,
        () = interrupt.wait() => return Ok(()),
        () = progress::show_forever(&gate) => unreachable!("it shows until it is dropped"),
    };
    let bound = Bound {
        kafka: running.kafka(),
        http: http.address,
        sqs: running.sqs(),
    };
    gate.open(running.backend(), listeners(bound, &listen));
    addresses.write(bound)?;
    if let Some(ephemeral) = plan.banner {
        say(&banner(bound, &data_dir, ephemeral));
    }
    let kafka = bound.kafka;
    let sqs = bound
        .sqs
        .map_or_else(|| "none".to_owned(), |sqs| sqs.to_string());
    tracing::info!(%kafka, http = %bound.http, sqs, data_dir = %data_dir.display(), "started");
    let told = stdout.write_all(COMPLETE).and_then(|()| stdout.flush());
    if let Err(error) = told {
        tracing::warn!(%error, "nobody reads standard output");
    }
    let outcome = until_the_end(&gate, running.as_mut(), interrupt).await;
    addresses.remove();
    // After a failure nothing is finished first: what is not on disk must not be acknowledged.
    outcome?;
    running.drain().await?;
    http.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for a signal, or for the broker to fail.
async fn until_the_end(
    gate: &Gate,
    running: &mut dyn Running,
    interrupt: &Interrupt,
) -> Outcome<()> {
    tokio::select! {
        () = interrupt.wait() => {}
        failure = running.failed() => return Err(failure),
    }
    tracing::info!("stopping; a second signal ends at once");
    gate.drain();
    Ok(())
}

/// Makes the data directory, for this user alone, and gives its whole path.
fn data_dir(path: &Path) -> Outcome<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error: std::io::Error| {
        Failure::new(
            Code::DataDirUnusable,
            format!("{}: {error}", path.display()),
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    path.canonicalize().map_err(failed)
}

/// The HTTP listener, which runs beside the broker.
struct Http {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Http {
    async fn start(listen: &ListenArgs, data_dir: &Path, gate: &Arc<Gate>) -> Outcome<Self> {
        let wanted = listen.http.0;
        let failed = |error: std::io::Error| {
            Failure::new(Code::CannotListen, format!("--http {wanted}: {error}"))
        };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let version = env!("CARGO_PKG_VERSION");
        let mut options = Options::new(version, &data_dir.display().to_string(), clock::wall);
        // An address that was asked for by number is a configured one.
        let own = Some(address.ip())
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string());
        options.hosts = Hosts::new(listen.http_hosts.iter().cloned().chain(own));
        let (stop, stopped) = watch::channel(false);
        let serving = server::serve(listener, Arc::clone(gate), options, stopped);
        Ok(Self {
            address,
            stop,
            task: tokio::spawn(serving),
        })
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the HTTP listener failed");
        }
    }
}

/// How the SQS door is to listen.
fn sqs_listen(listen: &ListenArgs) -> Option<SqsListen> {
    let address = listen.sqs.address.0?;
    let keys = listen.sqs.keys.iter();
    Some(SqsListen {
        address: address.0,
        hosts: listen.http_hosts.clone(),
        door: DoorOptions {
            owner: Owner {
                account: listen.sqs.account.clone(),
                region: listen.sqs.region.clone(),
            },
            limits: match listen.sqs.limits {
                SqsLimits::Aws => Limits::Aws,
                SqsLimits::Open => Limits::Open,
            },
            keys: keys
                .map(|key| (key.id.clone(), key.secret.clone()))
                .collect(),
        },
    })
}

/// Where the listeners really are.
#[derive(Clone, Copy, Debug)]
struct Bound {
    kafka: SocketAddr,
    http: SocketAddr,
    sqs: Option<SocketAddr>,
}

fn listeners(bound: Bound, listen: &ListenArgs) -> Listeners {
    let Bound { kafka, http, sqs } = bound;
    let kafka = Listener {
        address: kafka.to_string(),
        advertised: advertised(kafka, listen.advertise.as_ref()),
    };
    let http = Listener {
        address: http.to_string(),
        advertised: advertised(http, None),
    };
    let mut all = Listeners::from([("kafka".to_owned(), kafka), ("http".to_owned(), http)]);
    if let Some(sqs) = sqs {
        let sqs = Listener {
            address: sqs.to_string(),
            advertised: advertised(sqs, None),
        };
        all.insert("sqs".to_owned(), sqs);
    }
    all
}

fn banner(bound: Bound, data_dir: &Path, ephemeral: bool) -> String {
    let Bound { kafka, http, sqs } = bound;
    let sqs = sqs.map_or_else(String::new, |sqs| format!("\n  sqs    http://{sqs}"));
    let server = match http.to_string().as_str() {
        "127.0.0.1:15672" => String::new(),
        other => format!(" --server http://{other}"),
    };
    let fate = if ephemeral {
        "removed at the end"
    } else {
        "kept"
    };
    format!(
        "Mulgil {version} for development. Only this machine can reach it, and nobody has to sign in.\n\
         \n  kafka  {kafka}\n  http   http://{http}{sqs}\n  data   {data} ({fate})\n\
         \n  mulgil topic create orders{server}\
         \n  mulgil message pub orders 'hello'{server}\
         \n  mulgil message sub orders{server}\
         \n  echo '{{\"id\":1}}' | kcat -P -b {kafka} -t orders; kcat -C -b {kafka} -t orders -e\
         \n  mulgil status{server}\n",
        version = env!("CARGO_PKG_VERSION"),
        data = data_dir.display(),
    )
}

#[cfg(test)]
mod tests;
