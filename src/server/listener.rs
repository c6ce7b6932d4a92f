//! The listener: blocking accepts on a thread of its own, because glommio's accept loses connections when it is
//! cancelled. Each connection goes to the next shard.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::Handover;
use super::fetch_sessions::Session;
use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What a shard is told from outside.
pub enum Control {
    /// Serve this new connection.
    Connection(Handover),
    /// Go on serving this connection, with its fetch session if it has one.
    Moved(Handover, Option<(i32, Session)>),
    /// Answer what is in flight, then stop.
    Stop,
}

/// Where a shard is told so.
#[derive(Clone)]
pub struct Controls {
    sender: flume::Sender<Control>,
    pulse: Arc<Pulse>,
}

impl Controls {
    /// A way to tell the shard that has this pulse, and where it hears. The shard marks each as taken.
    pub fn new(pulse: Arc<Pulse>) -> (Controls, flume::Receiver<Control>) {
        let (sender, receiver) = flume::unbounded();
        (Controls { sender, pulse }, receiver)
    }

    /// Tells the shard. One that has stopped takes nothing, and what it was given is dropped: a connection closes.
    pub fn tell(&self, control: Control) {
        if self.sender.send(control).is_ok() {
            self.pulse.sent();
        }
    }
}

/// Opens the listening socket.
///
/// # Errors
/// Those of the system: the address is in use, is not this machine's, or needs rights.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Deals connections to the shards until the socket is shut down. At `connections_max` open ones, more are closed.
pub fn accept(listener: &TcpListener, shards: &[Controls], open: &Arc<AtomicUsize>, connections_max: usize) {
    let mut next = 0;
    loop {
        let (socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // The client gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                tracing::error!("no connection can be accepted: {error}; raise the limit on open files");
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            }
            Err(error) => {
                tracing::error!("the listener failed: {error}");
                return;
            }
        };
        if open.load(Ordering::Relaxed) >= connections_max {
            tracing::warn!("connection from {peer} closed: {connections_max} are open (max.connections)");
            continue;
        }
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!("connection from {peer}: {error}");
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        shards[next % shards.len()].tell(Control::Connection(Handover {
            socket: socket.into(),
            peer,
            unread: BytesMut::new(),
            moves: 0,
        }));
        next += 1;
    }
}

/// Ends [`accept`].
pub fn shut_down(listener: &TcpListener) {
    // SAFETY: the listener is alive, so the descriptor is open.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
}
use crate::executor::heartbeat::Pulse;
