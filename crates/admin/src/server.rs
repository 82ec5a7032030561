//! The HTTP server: accepts connections, bounds all that a stranger could make grow, and stops gracefully.
//!
//! It runs on the runtime that calls [`serve`], a current-thread one as well as any.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use mulgil_http::connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::gate::Gate;
use crate::guard::Hosts;
use crate::limits;
use crate::routes;
use crate::time::Timestamp;

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names beside loopback that it answers to.
    pub hosts: Hosts,
    /// The version that it reports.
    pub version: String,
    /// The data directory that it reports.
    pub data_dir: String,
    /// When the process was started.
    pub started: Timestamp,
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// Connections at one time.
    pub connections_max: usize,
}

impl Options {
    /// Options with the default limits.
    #[must_use]
    pub fn new(version: &str, data_dir: &str, now: fn() -> Timestamp) -> Self {
        Self {
            hosts: Hosts::default(),
            version: version.to_owned(),
            data_dir: data_dir.to_owned(),
            started: now(),
            now,
            connections_max: limits::CONNECTIONS_MAX,
        }
    }
}

/// Serves the API on `listener` until `stop` turns true; then waits shortly for open requests.
///
/// Above the limit of connections the next ones wait in the backlog of the operating system. A
/// connection that sends no request in time loses its place.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<Gate>,
    options: Options,
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let router = routes::router(gate, options);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_done) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    let service = TowerToHyperService::new(router);
                    connection::serve(stream, peer, service, limits::CONNECTION, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: it passes, and asking at once would burn the CPU.
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// Returns once a stop is asked for, or nobody is left who could ask.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
