//! The admin API over the backend in memory, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use mulgil_admin::gate::Gate;
use mulgil_admin::model::{Listener, Listeners};
use mulgil_admin::server::{Options, serve};
use mulgil_admin::time::Timestamp;
use tokio::sync::watch;

use crate::memory::{Memory, NOON};

/// Starts it, with `kafka` as the Kafka listener that it names, and gives its address.
pub(crate) fn start(kafka: Option<SocketAddr>) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tell.send(address).unwrap();
            let mut options = Options::new("1.2.3", "/data", || Timestamp(NOON.0 + 90_500));
            options.started = NOON;
            let gate = Arc::new(Gate::default());
            let listener_of = |address: SocketAddr| Listener {
                address: address.to_string(),
                advertised: address.to_string(),
            };
            let mut listeners = Listeners::from([("http".to_owned(), listener_of(address))]);
            listeners.extend(kafka.map(|kafka| ("kafka".to_owned(), listener_of(kafka))));
            gate.open(Arc::new(Memory::default()), listeners);
            let (_stop, stopped) = watch::channel(false);
            serve(listener, gate, options, stopped).await;
        });
    });
    format!("http://{}", told.recv().unwrap())
}
