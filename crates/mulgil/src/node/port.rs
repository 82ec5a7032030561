//! A port that is taken before anybody may come, and opened when the broker is there.
//!
//! A socket that is bound and does not listen has its port, so that a port that is taken already is
//! found out before a long recovery. Who connects meanwhile is refused at once, and tries again or
//! elsewhere, as with a broker that is not there. A socket that listened would let clients connect
//! and then wait for answers, up to their request timeouts, with nothing to tell them why.

use std::io;
use std::net::{SocketAddr, TcpListener};

use mulgil_admin::catalogue::Code;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::failure::{Failure, Outcome};

/// Connections that may wait to be accepted; the system has a limit of its own above it.
const BACKLOG: i32 = 1_024;

/// A port that nobody can connect to yet.
#[derive(Debug)]
pub(super) struct Port {
    socket: TcpListener,
    /// By which option, and what it asks for.
    wanted: (&'static str, SocketAddr),
    /// Where it is, with the real port.
    pub(super) addr: SocketAddr,
}

impl Port {
    /// Takes the port of `wanted`; 0 is a free one.
    pub(super) fn take(option: &'static str, wanted: SocketAddr) -> Outcome<Self> {
        let asked = (option, wanted);
        let failed = |error: io::Error| cannot_listen(asked, &error);
        let socket = bound(wanted).map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            wanted: asked,
            addr,
        })
    }

    /// Lets connections come.
    pub(super) fn open(self) -> Outcome<TcpListener> {
        let opened = listen(&self.socket, BACKLOG);
        opened.map_err(|error| cannot_listen(self.wanted, &error.into()))?;
        Ok(self.socket)
    }
}

fn bound(wanted: SocketAddr) -> io::Result<TcpListener> {
    let family = match wanted {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of the broker before may linger on the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &wanted)?;
    Ok(TcpListener::from(socket))
}

fn cannot_listen((option, wanted): (&str, SocketAddr), error: &io::Error) -> Failure {
    Failure::new(Code::CannotListen, format!("{option} {wanted}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_refuses_until_it_is_opened() {
        for wanted in ["127.0.0.1:0", "[::1]:0"] {
            let port = Port::take("--kafka", wanted.parse().unwrap()).unwrap();
            let addr = port.addr;
            assert_ne!(addr.port(), 0);
            let refused = TcpStream::connect(addr).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = port.open().unwrap();
            drop(TcpStream::connect(addr).unwrap());
            drop(listener);
        }
    }

    #[test]
    fn a_port_that_is_taken_is_found_out_at_once() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = Port::take("--kafka", other.local_addr().unwrap()).unwrap_err();
        assert_eq!(failure.code, Code::CannotListen);
    }
}
