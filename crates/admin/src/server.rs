//! The HTTP server: accepts connections, bounds all that a stranger could make grow, and stops gracefully.
//!
//! It runs on the runtime that calls [`serve`], a current-thread one as well as any.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
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
                    serve_connection(stream, peer, router, stop).await;
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

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
        () = tokio::time::sleep(limits::CONNECTION_AGE) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits::CONNECTION_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_cut_off) => return tracing::debug!(%peer, "connection cut off"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}
