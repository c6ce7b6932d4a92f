//! The service that is called: a thread for each connection, which serves one call after the other.
//!
//! It is a service as simple as services of this kind are: what a call costs is its two ways over TCP, the work (one
//! durable append), and the thread switches between.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::Context;

use super::append::Append;
use super::framing::{Frames, parse_request, write_answer};
use crate::load::Load;

/// Where callers connect to.
pub struct Listener(TcpListener);

/// A connection of a caller, and what its calls are served with.
pub struct Service {
    caller: TcpStream,
    append: Append,
}

impl Listener {
    /// Listens on a free port of this machine, which others do not reach.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn open() -> anyhow::Result<Listener> {
        Ok(Listener(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on 127.0.0.1")?))
    }

    /// Its address.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.0.local_addr()?)
    }

    /// Takes the connection of the caller at `address`, who has connected.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn accept(&self, address: SocketAddr, append: Append) -> anyhow::Result<Service> {
        loop {
            let (caller, from) = self.0.accept().context("accept a caller")?;
            // Anybody on this machine may knock.
            if from == address {
                caller.set_nodelay(true)?;
                return Ok(Service { caller, append });
            }
        }
    }
}

impl Service {
    /// Serves until the caller hangs up, or an order could not be appended: the answer says so.
    ///
    /// # Errors
    /// When the caller's connection breaks, or what comes is no request.
    pub fn run(mut self, load: &Load) -> anyhow::Result<()> {
        let (mut frames, mut answer) = (Frames::default(), Vec::new());
        while let Some(frame) = frames.next(&mut self.caller).context("a caller's connection")? {
            let (id, order) = parse_request(frame)?;
            let outcome = self.append.append(order, load).map_err(|error| format!("{error:#}"));
            write_answer(&mut answer, id, &outcome);
            self.caller.write_all(&answer).context("a caller's connection")?;
            if outcome.is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_caller_that_was_meant_is_taken() {
        let listener = Listener::open().expect("a port");
        let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
        let leaders = vec![broker.local_addr().expect("an address")];
        let topic = crate::client::cluster::Topic { name: "t".to_owned(), leaders };
        let manner = super::super::append::Manner {
            version: 9,
            acks: crate::options::Acks::All,
            compression: corelog::record::Compression::None,
        };
        let append = Append::open(&topic, 0, manner, None).expect("connected");
        let address = listener.address().expect("an address");
        let _stranger = TcpStream::connect(address).expect("connected");
        let caller = TcpStream::connect(address).expect("connected");
        let own = caller.local_addr().expect("an address");
        let service = listener.accept(own, append).expect("a service");
        assert_eq!(service.caller.peer_addr().expect("an address"), own);
    }
}
