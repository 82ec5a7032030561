//! The listener over a real socket: what is too large, too many or too old.

#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mulgil_admin::gate::Gate;
use mulgil_admin::server::{Options, serve};
use mulgil_admin::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

fn start(connections_max: usize) -> Server {
    let (stop, stopped) = watch::channel(false);
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let mut options = Options::new("1.2.3", "/data", || Timestamp(0));
            options.connections_max = connections_max;
            serve(listener, Arc::new(Gate::default()), options, stopped).await;
        });
    });
    Server {
        address: told.recv().unwrap(),
        stop,
        thread,
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn end(self) {
        self.stop.send(true).unwrap();
        self.thread.join().unwrap();
    }
}

fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = start(4);
    let mut stream = server.connect();
    assert!(ask(&mut stream, LIVE).starts_with("HTTP/1.1 200"));
    assert!(ask(&mut stream, LIVE).starts_with("HTTP/1.1 200"));
    server.end();
}

#[test]
fn requests_without_a_sane_host_are_refused() {
    let server = start(4);
    for request in [
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let answer = ask(&mut server.connect(), request);
        assert!(answer.contains(" 403 "), "{request}{answer}");
        assert!(answer.contains("MG-2001"), "{answer}");
    }
    server.end();
}

#[test]
fn headers_are_limited_in_size_and_number() {
    let server = start(4);
    let long = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: x\r\n".repeat(200)
    );
    for request in [long, many] {
        let answer = ask(&mut server.connect(), &request);
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    }
    server.end();
}

#[test]
fn above_the_limit_connections_wait_for_a_place() {
    let server = start(1);
    let mut first = server.connect();
    assert!(ask(&mut first, LIVE).starts_with("HTTP/1.1 200"));
    let mut second = server.connect();
    second
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert_eq!(ask(&mut second, LIVE), "");
    drop(first);
    second
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(ask(&mut second, "").starts_with("HTTP/1.1 200"));
    server.end();
}

#[test]
fn a_stop_ends_idle_connections_at_once() {
    let server = start(4);
    let mut stream = server.connect();
    assert!(ask(&mut stream, LIVE).starts_with("HTTP/1.1 200"));
    server.end();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}
