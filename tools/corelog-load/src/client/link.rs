//! A measured connection: non-blocking, many requests on their way, nothing copied that is large.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use corelog::protocol::Encoded;

use super::{ANSWER_BYTES_MAX, control};

/// Segments that one system call sends, at most.
const SEGMENTS_MAX: usize = 64;
/// What is read at once when no larger answer is expected.
const READ_BYTES: usize = 64 << 10;
/// An answer from this size on is lent and not copied.
const LENT_BYTES_MIN: usize = 32 << 10;

/// The connection.
pub struct Link {
    address: SocketAddr,
    stream: TcpStream,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Memory for answers; all of it is initialised.
    memory: BytesMut,
    /// How much of it holds bytes that came.
    filled: usize,
    /// How much of that has been given out.
    taken: usize,
    /// The memory of the last answer that was lent; used again when the answer is dropped.
    lent: Option<Bytes>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Link> {
        let stream = control::connect(address)?;
        stream.set_nonblocking(true)?;
        Ok(Link {
            address,
            stream,
            queue: VecDeque::new(),
            queued_bytes: 0,
            memory: BytesMut::zeroed(READ_BYTES),
            filled: 0,
            taken: 0,
            lent: None,
        })
    }

    /// The socket, to wait for.
    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Bytes that wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Adds a frame to what is to be sent.
    pub fn push(&mut self, frame: Encoded) {
        self.queued_bytes += frame.len;
        self.queue.extend(frame.segments);
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
            let count = self.queue.len().min(SEGMENTS_MAX);
            for (slice, segment) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(segment);
            }
            match self.stream.write_vectored(&slices[..count]) {
                Ok(sent) => self.sent(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("the connection to {} broke", self.address));
                }
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut count: usize) {
        self.queued_bytes -= count;
        while let Some(first) = self.queue.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.queue.pop_front();
        }
    }

    /// Reads what is there, up to the room in memory: at least the rest of the next answer.
    ///
    /// # Errors
    /// When the connection is broken, or closed by the broker.
    pub fn fill(&mut self) -> anyhow::Result<()> {
        self.make_room()?;
        match self.stream.read(&mut self.memory[self.filled..]) {
            Ok(0) => bail!("the broker at {} closed the connection", self.address),
            Ok(count) => self.filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).with_context(|| format!("the connection to {} broke", self.address)),
        }
        Ok(())
    }

    fn make_room(&mut self) -> anyhow::Result<()> {
        if self.memory.is_empty() {
            let recycled = self.lent.take().and_then(|lent| lent.try_into_mut().ok());
            self.memory = recycled.unwrap_or_else(|| BytesMut::zeroed(READ_BYTES));
        }
        if self.taken > 0 {
            self.memory.copy_within(self.taken..self.filled, 0);
            (self.filled, self.taken) = (self.filled - self.taken, 0);
        }
        let needed = match self.frame_bytes()? {
            Some(frame_bytes) => frame_bytes.max(self.filled + 1),
            None => READ_BYTES,
        };
        if self.memory.len() < needed {
            self.memory.resize(needed, 0);
        }
        Ok(())
    }

    /// Bytes of the next answer with its size, when the size has come.
    fn frame_bytes(&self) -> anyhow::Result<Option<usize>> {
        let Some(size) = self.memory[self.taken..self.filled].first_chunk() else { return Ok(None) };
        let size = u32::from_be_bytes(*size) as usize;
        ensure!(size <= ANSWER_BYTES_MAX, "{} sent an answer that claims {size} bytes", self.address);
        Ok(Some(4 + size))
    }

    /// Takes the next whole answer, without its size. A large one should be dropped before the next [`Link::fill`], which
    /// then uses its memory again.
    ///
    /// # Errors
    /// When an answer claims to be longer than any can be.
    pub fn next_answer(&mut self) -> anyhow::Result<Option<Bytes>> {
        let Some(frame_bytes) = self.frame_bytes()? else { return Ok(None) };
        if self.filled - self.taken < frame_bytes {
            return Ok(None);
        }
        let (start, end) = (self.taken + 4, self.taken + frame_bytes);
        self.taken = end;
        if frame_bytes < LENT_BYTES_MIN || end < self.filled {
            return Ok(Some(Bytes::copy_from_slice(&self.memory[start..end])));
        }
        let whole = std::mem::take(&mut self.memory).freeze();
        (self.filled, self.taken) = (0, 0);
        let answer = whole.slice(start..end);
        self.lent = Some(whole);
        Ok(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let link = Link::connect(listener.local_addr().expect("an address")).expect("a link");
        (link, listener.accept().expect("a connection").0)
    }

    fn next_answer(link: &mut Link) -> Bytes {
        loop {
            if let Some(answer) = link.next_answer().expect("an answer") {
                return answer;
            }
            link.fill().expect("filled");
        }
    }

    #[test]
    fn answers_of_any_size_come_whole_and_in_order() {
        let (mut link, mut peer) = pair();
        let sizes = [0, 1, 5, LENT_BYTES_MIN - 5, LENT_BYTES_MIN, 300_000, 3, READ_BYTES, 1 << 20, 2, 2];
        let body = |index: usize, size: usize| -> Vec<u8> { (0..size).map(|at| (at * 7 + index) as u8).collect() };
        let writer = std::thread::spawn(move || {
            for (index, size) in sizes.into_iter().enumerate() {
                let frame = [&(size as u32).to_be_bytes()[..], &body(index, size)].concat();
                peer.write_all(&frame).expect("written");
            }
            peer
        });
        for (index, size) in sizes.into_iter().enumerate() {
            assert!(next_answer(&mut link) == body(index, size), "answer {index}");
        }
        drop(writer.join().expect("the writer"));
        let error = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            link.fill().err()
        });
        assert!(error.expect("the end of the connection").to_string().ends_with("closed the connection"));
    }

    #[test]
    fn what_the_socket_does_not_take_at_once_is_sent_later() {
        let (mut link, mut peer) = pair();
        let segments: Vec<Bytes> = (0..200u8).map(|index| vec![index; 40_000].into()).collect();
        let expected = segments.concat();
        for segment in segments {
            link.push(Encoded { len: segment.len(), segments: vec![segment] });
        }
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; 200 * 40_000];
            peer.read_exact(&mut all).expect("everything");
            all
        });
        while link.queued_bytes() > 0 {
            link.flush().expect("sent");
        }
        assert!(reader.join().expect("the reader") == expected);
    }

    #[test]
    fn an_answer_that_claims_too_much_is_an_error() {
        let (mut link, mut peer) = pair();
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n").expect("written");
        let error = loop {
            if let Err(error) = link.fill().and_then(|()| link.next_answer()) {
                break error;
            }
        };
        assert!(error.to_string().contains("claims"), "{error}");
    }
}
