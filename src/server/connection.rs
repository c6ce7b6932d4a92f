//! One client's connection: frames in, responses out in the same order, requests worked on concurrently.
//!
//! The reading task cuts frames and starts a handler for each; the writing task sends every response that is ready and
//! not preceded by one that is not, all with one `sendmsg`. What is in flight is bounded, in requests and in bytes: at
//! the bound the reading task stops reading, and TCP tells the client.
//!
//! A connection whose requests are all for partitions of one other shard moves there, between two requests: a call to
//! another shard and its answer cost more than the request itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use glommio::net::TcpStream;

use super::turns::Turns;
use crate::executor::heartbeat::Work;
use crate::storage::notify::Notify;
use crate::vocabulary::ShardId;

/// The most requests of one connection that are worked on at once.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 128;
/// The most bytes of requests of one connection that are worked on at once, beyond one request of any size.
pub const BYTES_IN_FLIGHT_MAX: usize = 16 << 20;
/// The least room that a read offers.
const READ_BYTES_MIN: usize = 64 << 10;
/// A connection that always has data gives way to others after so many bytes.
const READ_BYTES_PER_TURN: usize = 1 << 20;
/// What one `sendmsg` takes at most (Linux's UIO_MAXIOV).
const SLICES_MAX: usize = 1024;

/// What a request comes to.
pub enum Outcome {
    /// These bytes go to the client.
    Respond(Vec<Bytes>),
    /// The client expects no response (a produce with acks 0).
    Silent,
    /// The connection cannot go on; the reason is logged.
    Close(String),
}

/// So many data requests in a row must be for one other shard alone before the connection moves there; twice as many
/// after each move, so that a client that changes its mind does not wander.
const REQUESTS_BEFORE_MOVE: u32 = 16;
/// How often the number doubles at most.
const MOVES_COUNTED_MAX: u32 = 16;

/// Who is at the other end of a connection.
pub struct Client {
    /// Its address and port.
    pub peer: Rc<str>,
    /// The fetch session that it was last told of; 0 for none.
    pub fetch_session: Cell<i32>,
    /// Keeps its produces in their order.
    pub produces: Rc<Turns>,
    gone: Cell<bool>,
    went: Notify,
    /// How often its connection has moved.
    moves: u32,
    /// The shard that its last requests were all for, and how many they were.
    heading: Cell<(Option<ShardId>, u32)>,
}

impl Client {
    fn new(peer: Rc<str>, moves: u32) -> Rc<Client> {
        Rc::new(Client {
            peer,
            fetch_session: Cell::new(0),
            produces: Rc::default(),
            gone: Cell::new(false),
            went: Notify::default(),
            moves,
            heading: Cell::new((None, 0)),
        })
    }

    /// Says that a data request, served on shard `here`, was for partitions of these `owners`, each named once.
    pub fn asked_for(&self, here: ShardId, mut owners: impl Iterator<Item = ShardId>) {
        let Some(owner) = owners.next() else { return };
        let other = (owner != here && owners.next().is_none()).then_some(owner);
        let (heading, count) = self.heading.get();
        let count = if heading == other { count.saturating_add(1) } else { 1 };
        self.heading.set((other, count));
    }

    /// Begins to count anew, because the connection stays where it is.
    fn stay(&self) {
        self.heading.set((None, 0));
    }

    /// The shard that the connection had better be on.
    fn had_better_be_on(&self) -> Option<ShardId> {
        let (heading, count) = self.heading.get();
        let enough = REQUESTS_BEFORE_MOVE << self.moves.min(MOVES_COUNTED_MAX);
        heading.filter(|_| count >= enough)
    }

    /// Resolves when the client sends no more: it has closed its side, or the connection has failed. A handler that may
    /// wait long for other clients stops waiting then.
    pub async fn gone(&self) {
        while !self.gone.get() {
            self.went.notified().await;
        }
    }

    /// A client that is there.
    #[cfg(test)]
    pub(super) fn at(peer: &str) -> Rc<Client> {
        Client::new(peer.into(), 0)
    }

    fn leave(&self) {
        self.gone.set(true);
        self.went.notify();
    }
}

/// What answers requests.
pub trait Service: 'static {
    /// Answers one frame, given without its size. The part before the first wait runs in the order of the frames.
    fn handle(self: Rc<Self>, frame: Bytes, client: Rc<Client>) -> Pin<Box<dyn Future<Output = Outcome>>>;

    /// The largest frame, in bytes (Kafka's `socket.request.max.bytes`).
    fn frame_bytes_max(&self) -> usize;

    /// Resolves when no more requests are to be taken.
    fn stopping(&self) -> &Notify;

    /// Whether no more requests are to be taken.
    fn is_stopping(&self) -> bool;

    /// What counts the requests that are worked on.
    fn work(&self) -> &Rc<Work>;

    /// Whether a connection may move to that shard: not when too many are there.
    fn may_move_to(&self, shard: ShardId) -> bool;
}

/// A connection as it is given to a shard: new, or from another shard between two requests.
pub struct Handover {
    /// The socket.
    pub socket: OwnedFd,
    /// The client's address and port.
    pub peer: SocketAddr,
    /// What was read and is not yet a request.
    pub unread: BytesMut,
    /// How often it has moved.
    pub moves: u32,
}

/// How a connection's time on a shard ends.
pub enum Served {
    /// Either side has closed it.
    Closed,
    /// It goes on, on that shard.
    Moved(ShardId, Handover, Rc<Client>),
}

struct Shared {
    client: Rc<Client>,
    stream: RefCell<TcpStream>,
    /// Responses in request order; `None` while a request is worked on.
    slots: RefCell<VecDeque<Rc<Slot>>>,
    ready: Notify,
    room: Notify,
    bytes_in_flight: Cell<usize>,
    /// Nothing more is read or written.
    closed: Cell<bool>,
    /// Nothing more is read; what is in flight is still answered.
    read_all: Cell<bool>,
    /// Where the connection goes on, and what was read for it.
    moving: RefCell<Option<(ShardId, BytesMut)>>,
}

struct Slot {
    outcome: RefCell<Option<Outcome>>,
    bytes: usize,
}

/// Serves one connection until either side ends it, or it had better be on another shard.
pub async fn serve<S: Service>(connection: Handover, service: Rc<S>) -> Served {
    let Handover { socket, peer: address, unread, moves } = connection;
    let peer: Rc<str> = address.to_string().into();
    // An open connection is work, though it asks for nothing: the executor may park on a reader that has just become
    // runnable, and then nobody else would know that there is a request.
    let _open = service.work().begin();
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor is an open TCP socket that nothing else owns.
    let stream = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
    let client = Client::new(peer.clone(), moves);
    let shared = Rc::new(Shared {
        client: client.clone(),
        stream: RefCell::new(stream),
        slots: RefCell::default(),
        ready: Notify::default(),
        room: Notify::default(),
        bytes_in_flight: Cell::new(0),
        closed: Cell::new(false),
        read_all: Cell::new(false),
        moving: RefCell::default(),
    });
    let reading = shared.clone();
    let (reading_peer, reading_service) = (peer.clone(), service.clone());
    glommio::spawn_local(async move {
        let outcome = reading.read_frames(unread, &reading_service).await;
        match outcome {
            Ok(moving) => *reading.moving.borrow_mut() = moving,
            // Clients go away as they like.
            Err(ReadFault::Io(error)) => tracing::debug!("connection from {reading_peer}: {error}"),
            Err(ReadFault::Frame(reason)) => {
                tracing::warn!("connection from {reading_peer} closed: {reason}");
                reading.closed.set(true);
            }
        }
        reading.read_all.set(true);
        reading.client.leave();
        reading.ready.notify();
    })
    .detach();
    if let Err(reason) = shared.write_responses().await {
        tracing::warn!("connection from {peer} closed: {reason}");
    }
    let moving = shared.moving.take().filter(|_| !shared.closed.get());
    shared.closed.set(true);
    shared.client.leave();
    shared.room.notify();
    if let Some((shard, unread)) = moving {
        // The executor's own descriptor is closed with its stream; the connection lives on in another.
        let socket = shared.stream.borrow().as_raw_fd();
        // SAFETY: the stream is alive, so the descriptor is open for the length of the call.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned();
        match socket {
            Ok(socket) => {
                tracing::debug!("connection from {peer} moves to shard {shard}");
                let handover = Handover { socket, peer: address, unread, moves: moves + 1 };
                return Served::Moved(shard, handover, client);
            }
            Err(error) => tracing::warn!("connection from {peer} closed: it cannot move to shard {shard}: {error}"),
        }
    }
    // Ends the read that may be waiting, so that its task ends too.
    let descriptor = shared.stream.borrow().as_raw_fd();
    // SAFETY: the stream is alive, so the descriptor is open and ours.
    unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) };
    Served::Closed
}

enum ReadFault {
    Io(io::Error),
    Frame(String),
}

impl Shared {
    /// Until nothing more is to be read here; then says where the connection goes on, if it does.
    async fn read_frames<S: Service>(
        self: &Rc<Self>,
        mut buffer: BytesMut,
        service: &Rc<S>,
    ) -> Result<Option<(ShardId, BytesMut)>, ReadFault> {
        // A client that has sent a frame of some size may send such again: room for it is made at once.
        let mut largest_frame = READ_BYTES_MIN;
        let mut read_in_turn = 0;
        loop {
            while let Some(frame) = next_frame(&mut buffer, service.frame_bytes_max())? {
                largest_frame = largest_frame.max(frame.len() + 4);
                self.wait_for_room(frame.len()).await;
                if self.closed.get() || service.is_stopping() {
                    return Ok(None);
                }
                self.start(frame, service);
                if let Some(shard) = self.client.had_better_be_on() {
                    if service.may_move_to(shard) {
                        self.wait_until_answered().await;
                        return Ok(Some((shard, buffer)));
                    }
                    self.client.stay();
                }
            }
            let wanted = match buffer.get(..4) {
                Some(mut size) => 4 + size.get_i32() as usize - buffer.len(),
                None => READ_BYTES_MIN,
            };
            buffer.reserve(wanted.clamp(READ_BYTES_MIN, largest_frame.max(buffer.len())));
            let read = self.read(&mut buffer, service).await.map_err(ReadFault::Io)?;
            if read == 0 {
                return Ok(None);
            }
            read_in_turn += read;
            if read_in_turn >= READ_BYTES_PER_TURN {
                read_in_turn = 0;
                glommio::executor().yield_task_queue_now().await;
            }
        }
    }

    /// Reads what there is into the buffer's spare room; 0 at the end, or when no more is to be read.
    async fn read<S: Service>(&self, buffer: &mut BytesMut, service: &Rc<S>) -> io::Result<usize> {
        match self.receive_now(buffer.spare_capacity_mut()) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            result => {
                let read = result?;
                let len = buffer.len() + read;
                // SAFETY: recv has written that many bytes of the spare room.
                unsafe { buffer.set_len(len) };
                return Ok(read);
            }
        }
        // Waits with little room of its own; the next call takes the rest straight into the buffer.
        let mut first = [0; 4096];
        let reading = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut first));
        let stopped = async {
            while !service.is_stopping() && !self.closed.get() {
                service.stopping().notified().await;
            }
            Ok(0)
        };
        let read = reading.or(stopped).await?;
        buffer.extend_from_slice(&first[..read]);
        Ok(read)
    }

    fn receive_now(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let descriptor = self.stream.borrow().as_raw_fd();
        // SAFETY: the kernel writes at most `room.len()` bytes to `room`, which is borrowed exclusively for the call.
        let read = unsafe { libc::recv(descriptor, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
        if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
    }

    async fn wait_for_room(&self, bytes: usize) {
        loop {
            let requests = self.slots.borrow().len();
            let fits = self.bytes_in_flight.get() + bytes <= BYTES_IN_FLIGHT_MAX || requests == 0;
            if self.closed.get() || (fits && requests < REQUESTS_IN_FLIGHT_MAX) {
                return;
            }
            self.room.notified().await;
        }
    }

    async fn wait_until_answered(&self) {
        while !self.closed.get() && !self.slots.borrow().is_empty() {
            self.room.notified().await;
        }
    }

    fn start<S: Service>(self: &Rc<Self>, frame: Bytes, service: &Rc<S>) {
        let slot = Rc::new(Slot { outcome: RefCell::new(None), bytes: frame.len() });
        self.slots.borrow_mut().push_back(slot.clone());
        self.bytes_in_flight.set(self.bytes_in_flight.get() + frame.len());
        let working = service.work().begin();
        let (shared, service, client) = (self.clone(), service.clone(), self.client.clone());
        glommio::spawn_local(async move {
            let handled = AssertUnwindSafe(async { service.clone().handle(frame, client).await }).catch_unwind().await;
            let outcome = handled.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Outcome::Close(format!("a handler panicked, please report it: {text}"))
            });
            drop(working);
            *slot.outcome.borrow_mut() = Some(outcome);
            shared.ready.notify();
        })
        .detach();
    }

    async fn write_responses(&self) -> Result<(), String> {
        loop {
            let mut slices: VecDeque<Bytes> = VecDeque::new();
            let mut done = Vec::new();
            let mut close = None;
            {
                let mut slots = self.slots.borrow_mut();
                while slots.front().is_some_and(|slot| slot.outcome.borrow().is_some()) {
                    let Some(slot) = slots.pop_front() else { break };
                    match slot.outcome.take() {
                        Some(Outcome::Respond(parts)) => slices.extend(parts),
                        Some(Outcome::Close(reason)) => close = Some(reason),
                        Some(Outcome::Silent) | None => {}
                    }
                    done.push(slot);
                    if close.is_some() || slices.len() >= SLICES_MAX {
                        break;
                    }
                }
            }
            if done.is_empty() {
                if self.closed.get() || (self.read_all.get() && self.slots.borrow().is_empty()) {
                    return Ok(());
                }
                self.ready.notified().await;
                continue;
            }
            self.send(&mut slices).await.map_err(|error| format!("a response could not be sent: {error}"))?;
            let bytes: usize = done.iter().map(|slot| slot.bytes).sum();
            self.bytes_in_flight.set(self.bytes_in_flight.get() - bytes);
            self.room.notify();
            if let Some(reason) = close {
                return Err(reason);
            }
        }
    }

    async fn send(&self, slices: &mut VecDeque<Bytes>) -> io::Result<()> {
        slices.retain(|slice| !slice.is_empty());
        while let Some(first) = slices.front().cloned() {
            let sent = match self.send_now(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Waits for room, and sends a first part as it comes.
                    let piece = first.slice(..first.len().min(64 << 10));
                    poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, &piece)).await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let mut left = sent;
            while left > 0 {
                let front = slices.front_mut().expect("no more was sent than there is");
                let taken = left.min(front.len());
                front.advance(taken);
                left -= taken;
                if front.is_empty() {
                    slices.pop_front();
                }
            }
        }
        Ok(())
    }

    fn send_now(&self, slices: &VecDeque<Bytes>) -> io::Result<usize> {
        let parts: Vec<libc::iovec> = slices
            .iter()
            .take(SLICES_MAX)
            .map(|slice| libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() })
            .collect();
        // SAFETY: all-zero is a valid msghdr: no name, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_ptr().cast_mut();
        message.msg_iovlen = parts.len() as _;
        let descriptor = self.stream.borrow().as_raw_fd();
        // SAFETY: the iovecs point into `slices`, which is borrowed for the whole call; sendmsg only reads from them.
        let sent = unsafe { libc::sendmsg(descriptor, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// Takes the next whole frame off the buffer, without its size.
fn next_frame(buffer: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Bytes>, ReadFault> {
    let Some(mut size) = buffer.get(..4) else { return Ok(None) };
    let size = size.get_i32();
    let len = usize::try_from(size).ok().filter(|&len| len <= frame_bytes_max && len > 0).ok_or_else(|| {
        ReadFault::Frame(format!(
            "a frame of {size} bytes was announced; socket.request.max.bytes is {frame_bytes_max}"
        ))
    })?;
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers a frame with itself, but panics at one that asks for it.
    #[derive(Default)]
    struct Echo {
        stopping: Notify,
        work: Rc<Work>,
    }

    impl Service for Echo {
        fn handle(self: Rc<Self>, frame: Bytes, _: Rc<Client>) -> Pin<Box<dyn Future<Output = Outcome>>> {
            Box::pin(async move {
                assert_ne!(&frame[..], b"panic", "as asked for");
                Outcome::Respond(vec![frame])
            })
        }

        fn frame_bytes_max(&self) -> usize {
            100
        }

        fn stopping(&self) -> &Notify {
            &self.stopping
        }

        fn is_stopping(&self) -> bool {
            false
        }

        fn work(&self) -> &Rc<Work> {
            &self.work
        }

        fn may_move_to(&self, _: ShardId) -> bool {
            false
        }
    }

    #[test]
    fn a_panic_in_a_handler_ends_its_own_connection_only() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut clients =
            [0; 2].map(|_| std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection"));
        let accepted = [0; 2].map(|_| listener.accept().expect("a connection"));
        let serve_all = move || async move {
            let service = Rc::new(Echo::default());
            let connections = accepted.map(|(socket, peer)| {
                let handover = Handover { socket: socket.into(), peer, unread: BytesMut::new(), moves: 0 };
                glommio::spawn_local(serve(handover, service.clone()))
            });
            for connection in connections {
                assert!(matches!(connection.await, Served::Closed));
            }
        };
        let serving = std::thread::spawn(|| executor::run("connections", serve_all));
        clients[0].write_all(b"\0\0\0\x05panic").expect("sent");
        assert_eq!(clients[0].read(&mut [0; 9]).expect("the end"), 0, "the connection is closed without an answer");
        clients[1].write_all(b"\0\0\0\x05hello").expect("sent");
        let mut answer = [0; 5];
        clients[1].read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"hello");
        drop(clients);
        serving.join().expect("a thread").expect("the executor has outlived the panic");
    }
}
