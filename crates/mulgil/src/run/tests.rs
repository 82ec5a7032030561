//! The life of a server, with a broker that is none behind the seam.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use mulgil_admin::backend::Backend;
use mulgil_admin::model::Recovery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::broker::{Local, Opened};
use crate::cli::{AccessKey, MaybeAddress, SqsArgs};

#[path = "../../../admin/tests/support/memory.rs"]
mod memory;

/// A broker that does as it is told.
#[derive(Clone, Default)]
struct Fake {
    locked: bool,
    fails: bool,
    drained: Rc<Cell<bool>>,
    slow: Option<Arc<Slow>>,
}

/// A start that takes its time.
#[derive(Default)]
struct Slow {
    released: Mutex<bool>,
    more: Condvar,
    ended: AtomicBool,
}

impl Slow {
    /// Waits until it is released, or for so long that nobody else can have waited for it.
    fn wait(&self) {
        let released = self.released.lock().unwrap();
        let most = Duration::from_secs(20);
        let waited = self
            .more
            .wait_timeout_while(released, most, |released| !*released);
        drop(waited.unwrap());
        self.ended.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        *self.released.lock().unwrap() = true;
        self.more.notify_all();
    }
}

impl Launch for Fake {
    fn open(&self, options: BrokerOptions) -> Outcome<Box<dyn Opened>> {
        assert!(options.data_dir.is_dir());
        if self.locked {
            let place = options.data_dir.display().to_string();
            return Err(Failure::new(Code::DataDirLocked, place));
        }
        Ok(Box::new(self.clone()))
    }
}

impl Opened for Fake {
    fn start(self: Box<Self>, gate: Arc<Gate>) -> Local<'static, Outcome<Box<dyn Running>>> {
        gate.watch(Box::new(Recovery::default));
        let slow = self.slow.clone();
        let reads = slow.map(|slow| tokio::task::spawn_blocking(move || slow.wait()));
        Box::pin(async move {
            if let Some(reads) = reads {
                reads.await.unwrap();
            }
            Ok(self as Box<dyn Running>)
        })
    }
}

impl Running for Fake {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(memory::Memory::default())
    }

    fn kafka(&self) -> SocketAddr {
        "0.0.0.0:9092".parse().unwrap()
    }

    fn sqs(&self) -> Option<SocketAddr> {
        None
    }

    fn failed(&mut self) -> Local<'_, Failure> {
        if self.fails {
            return Box::pin(async { Failure::new(Code::BrokerFailed, "fsync") });
        }
        Box::pin(std::future::pending())
    }

    fn drain(self: Box<Self>) -> Local<'static, Outcome<()>> {
        self.drained.set(true);
        Box::pin(async { Ok(()) })
    }
}

fn plan(data_dir: &Path) -> Plan {
    let listen = ListenArgs {
        kafka: "0".parse().unwrap(),
        http: "0".parse().unwrap(),
        advertise: None,
        sqs: SqsArgs {
            address: MaybeAddress(None),
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            limits: SqsLimits::Aws,
            keys: Vec::new(),
        },
        http_hosts: Vec::new(),
        allow_anonymous: false,
    };
    Plan {
        data_dir: data_dir.to_owned(),
        listen,
        banner: None,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_server_starts_says_so_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new");
    let addresses = data_dir.join("addresses.json");
    let (ask, interrupt) = Interrupt::never();
    let (fake, mut stdout) = (Fake::default(), Vec::new());
    let user = async {
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(&addresses) {
                break text;
            }
            tokio::task::yield_now().await;
        };
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            text.starts_with("{\"kafka\":\"0.0.0.0:9092\",\"http\":\"127.0.0.1:"),
            "{text}"
        );
        let http = json["http"].as_str().unwrap();
        assert!(get(http, "/readyz").await.starts_with("HTTP/1.1 200"));
        let status = get(http, "/api/v1/status").await;
        assert!(
            status.contains("\"advertised\":\"127.0.0.1:9092\""),
            "{status}"
        );
        ask.send(true).unwrap();
    };
    let outcome = block_on(async {
        tokio::join!(run(plan(&data_dir), &fake, &interrupt, &mut stdout), user).0
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(stdout, b"Server startup complete\n");
    assert!(fake.drained.get());
    assert!(!addresses.exists());
}

#[test]
fn a_locked_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let addresses = dir.path().join("addresses.json");
    std::fs::write(&addresses, "of the other process").unwrap();
    let (_ask, interrupt) = Interrupt::never();
    let fake = Fake {
        locked: true,
        ..Fake::default()
    };
    let outcome = block_on(run(plan(dir.path()), &fake, &interrupt, &mut Vec::new()));
    assert_eq!(outcome.unwrap_err().code, Code::DataDirLocked);
    assert!(addresses.exists());
}

#[test]
fn a_broker_that_fails_ends_the_process_without_a_drain() {
    let dir = tempfile::tempdir().unwrap();
    let (_ask, interrupt) = Interrupt::never();
    let fake = Fake {
        fails: true,
        ..Fake::default()
    };
    let outcome = block_on(run(plan(dir.path()), &fake, &interrupt, &mut Vec::new()));
    assert_eq!(outcome.unwrap_err().code, Code::BrokerFailed);
    assert!(!fake.drained.get());
    assert!(!dir.path().join("addresses.json").exists());
}

#[test]
fn a_signal_ends_a_start_that_takes_long() {
    let dir = tempfile::tempdir().unwrap();
    let (ask, interrupt) = Interrupt::never();
    let slow = Arc::<Slow>::default();
    let fake = Fake {
        slow: Some(Arc::clone(&slow)),
        ..Fake::default()
    };
    ask.send(true).unwrap();
    let mut stdout = Vec::new();
    let outcome = start(plan(dir.path()), &fake, &interrupt, &mut stdout);
    assert_eq!(outcome, Ok(()));
    assert!(!slow.ended.load(Ordering::SeqCst), "nobody waited for it");
    slow.release();
    assert!(stdout.is_empty() && !fake.drained.get());
}

#[test]
fn nothing_listens_beyond_this_machine_unless_that_is_meant() {
    let mut listen = plan(Path::new("/")).listen;
    assert_eq!(check_exposure(&listen), Ok(()));
    for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
        listen.kafka = address.parse().unwrap();
        assert_eq!(check_exposure(&listen).unwrap_err().code, Code::OpenToAll);
    }
    listen.allow_anonymous = true;
    assert_eq!(check_exposure(&listen), Ok(()));
    // Where requests must be signed, anybody may connect.
    let mut listen = plan(Path::new("/")).listen;
    listen.sqs.address = MaybeAddress(Some("0.0.0.0:1".parse().unwrap()));
    assert_eq!(check_exposure(&listen).unwrap_err().code, Code::OpenToAll);
    let secret = "s".to_owned();
    let id = "id".to_owned();
    listen.sqs.keys = vec![AccessKey { id, secret }];
    assert_eq!(check_exposure(&listen), Ok(()));
}
