//! The socket loop over a real broker and a real socket.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mulgil_broker::connection::{Connection, Hangup, Input, Output};
use mulgil_broker::core::machine::{Elapsed, Now};
use mulgil_broker::door::Hall;
use mulgil_broker::request::{NewProducer, Reply, Request, Ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "support/running.rs"]
#[expect(dead_code, reason = "other tests look at files")]
mod running;

use running::{end, open, runtime, wait};

/// Asks for a producer id with each byte, and says so when it has one.
struct Asking(u64);

impl Connection for Asking {
    fn handle(mut self, input: Input, _: Now, out: &mut Vec<Output>) -> Result<Self, Hangup> {
        match input {
            Input::Received(bytes) => {
                for _ in bytes {
                    let ask = Request::NewProducer(NewProducer { current: None });
                    out.push(Output::Ask(Ticket(self.0), ask));
                    self.0 += 1;
                }
            }
            Input::Answered(_, Reply::NewProducer(Ok(_))) => {
                out.push(Output::Send(Bytes::from_static(b"!")));
            }
            Input::Answered(..) | Input::Drained | Input::DeadlineReached => {}
        }
        Ok(self)
    }

    fn deadline(&self) -> Option<Elapsed> {
        None
    }

    fn is_full(&self) -> bool {
        false
    }

    fn buffered_bytes(&self) -> usize {
        0
    }
}

#[test]
fn what_was_answered_before_a_clean_stop_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        // Nobody delivers: the answers lie in the mailbox when the stop is seen.
        let figures = Arc::<mulgil_broker::door::DoorFigures>::default();
        let hall = Hall::new(
            Arc::clone(&broker),
            0,
            Arc::default(),
            Arc::clone(&figures),
            stopped,
        );
        let client = async {
            client.write_all(b"???").await.unwrap();
            wait("received", || figures.bytes_received.load(Relaxed) == 3).await;
            broker.stop().await;
            stop.send_replace(true);
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            said
        };
        let serve = Box::pin(hall.serve(stream, peer, Asking(0)));
        let (said, ()) = tokio::join!(client, serve);
        assert_eq!(said, "!!!");
    });
    end(broker);
}
