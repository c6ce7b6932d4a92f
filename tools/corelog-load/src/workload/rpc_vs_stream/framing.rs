//! What caller and service send each other over TCP. All integers are big-endian.
//!
//! ```text
//! request   length: u32 │ request id: u64 │ order: the rest
//! answer    length: u32 │ request id: u64 │ offset: i64 │ why: the rest, UTF-8
//! ```
//! A length counts what follows it. The offset is that of the order in its partition, and nothing follows it; or it is −1,
//! when the order was not appended, and the rest says why.

use std::io::{ErrorKind, Read};

use anyhow::{Context, bail, ensure};

use crate::orders::ORDER_BYTES_MAX;

/// No frame is longer, without its length.
const FRAME_BYTES_MAX: usize = 8 + ORDER_BYTES_MAX;
/// What is read at once; more memory is only taken as bytes come.
const READ_BYTES: usize = 16 << 10;
/// The offset of an order that was not appended.
const NOT_APPENDED: i64 = -1;

/// Makes `out` a request.
pub fn write_request(out: &mut Vec<u8>, id: u64, order: &[u8]) {
    out.clear();
    let length = u32::try_from(8 + order.len()).expect("options bound the length of orders");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(order);
}

/// The request id and the order of a request's frame.
///
/// # Errors
/// When it is none.
pub fn parse_request(frame: &[u8]) -> anyhow::Result<(u64, &[u8])> {
    let (id, order) = frame.split_first_chunk().context("a request without a request id")?;
    Ok((u64::from_be_bytes(*id), order))
}

/// Makes `out` an answer: the order's offset, or why it was not appended.
pub fn write_answer(out: &mut Vec<u8>, id: u64, outcome: &Result<i64, String>) {
    let (offset, why) = match outcome {
        Ok(offset) => (*offset, ""),
        Err(why) => (NOT_APPENDED, why.as_str()),
    };
    out.clear();
    let length = u32::try_from(16 + why.len()).expect("reasons are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(why.as_bytes());
}

/// The request id and the outcome of an answer's frame.
///
/// # Errors
/// When it is none.
pub fn parse_answer(frame: &[u8]) -> anyhow::Result<(u64, Result<i64, String>)> {
    let (id, rest) = frame.split_first_chunk().context("an answer without a request id")?;
    let (offset, why) = rest.split_first_chunk().context("an answer without an offset")?;
    let outcome = match i64::from_be_bytes(*offset) {
        NOT_APPENDED => Err(String::from_utf8_lossy(why).into_owned()),
        offset if offset >= 0 && why.is_empty() => Ok(offset),
        offset => bail!("an answer with offset {offset} and {} bytes behind it", why.len()),
    };
    Ok((u64::from_be_bytes(*id), outcome))
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Frames {
    memory: Vec<u8>,
    /// How much of the memory holds bytes that came.
    filled: usize,
    /// How much of that has been given out.
    taken: usize,
}

impl Frames {
    /// Reads until a frame is whole: what follows its length. `None` at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream; when it ends within a frame, or claims one longer than any.
    pub fn next(&mut self, stream: &mut impl Read) -> anyhow::Result<Option<&[u8]>> {
        loop {
            let there = &self.memory[self.taken..self.filled];
            if let Some(length) = there.first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                ensure!(length <= FRAME_BYTES_MAX, "a frame that claims {length} bytes");
                if there.len() >= 4 + length {
                    let start = self.taken + 4;
                    self.taken = start + length;
                    return Ok(Some(&self.memory[start..start + length]));
                }
            }
            if self.taken > 0 {
                self.memory.copy_within(self.taken..self.filled, 0);
                (self.filled, self.taken) = (self.filled - self.taken, 0);
            }
            if self.filled == self.memory.len() {
                self.memory.resize((2 * self.filled).max(READ_BYTES), 0);
            }
            match stream.read(&mut self.memory[self.filled..]) {
                Ok(0) if self.filled == 0 => return Ok(None),
                Ok(0) => bail!("the connection was closed within a frame"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes a read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            out[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn request(id: u64, order: &[u8]) -> Vec<u8> {
        let mut out = b"old".to_vec();
        write_request(&mut out, id, order);
        out
    }

    fn answer(id: u64, outcome: &Result<i64, String>) -> Vec<u8> {
        let mut out = b"old".to_vec();
        write_answer(&mut out, id, outcome);
        out
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let orders = [0, 1, 100, READ_BYTES, 3 * READ_BYTES + 7, 5].map(|len| vec![len as u8; len]);
        let sent = orders.iter().zip(7..).flat_map(|(order, id)| request(id, order)).collect::<Vec<u8>>();
        for step in [1, 3, 4096, usize::MAX] {
            let (mut stream, mut frames) = (Trickle(&sent, step), Frames::default());
            for (order, id) in orders.iter().zip(7..) {
                let frame = frames.next(&mut stream).expect("no error").expect("a frame");
                assert_eq!(parse_request(frame).expect("a request"), (id, order.as_slice()));
            }
            assert_eq!(frames.next(&mut stream).expect("no error"), None);
        }
    }

    #[test]
    fn answers_say_where_or_why_not() {
        for outcome in [Ok(0), Ok(i64::MAX), Err(String::new()), Err("the disk is full".to_owned())] {
            assert_eq!(parse_answer(&answer(9, &outcome)[4..]).expect("an answer"), (9, outcome));
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        let sent = request(1, b"order");
        for cut in 1..sent.len() {
            let error = Frames::default().next(&mut &sent[..cut]).expect_err("a cut frame");
            assert_eq!(error.to_string(), "the connection was closed within a frame", "{cut}");
        }
    }

    #[test]
    fn a_length_that_is_too_long_is_an_error_and_takes_no_memory() {
        let mut frames = Frames::default();
        let error = frames.next(&mut &b"GET / HTTP/1.1\r\n"[..]).expect_err("no frame");
        assert_eq!(error.to_string(), "a frame that claims 1195725856 bytes");
        let mut longest = (FRAME_BYTES_MAX as u32).to_be_bytes().to_vec();
        longest.resize(100, 0);
        frames = Frames::default();
        assert!(frames.next(&mut &longest[..]).is_err());
        assert!(frames.memory.len() <= 2 * READ_BYTES, "{} bytes for 100", frames.memory.len());
    }

    #[test]
    fn frames_that_say_nonsense_are_errors() {
        for bad in [&[][..], &[0; 7]] {
            assert!(parse_request(bad).is_err() && parse_answer(bad).is_err(), "{bad:?}");
        }
        assert!(parse_answer(&[0; 15]).is_err());
        assert!(parse_answer(&[0; 17]).is_err(), "an offset, and more");
        let negative = [&[0; 8][..], &(-2i64).to_be_bytes()].concat();
        assert!(parse_answer(&negative).is_err());
        assert_eq!(parse_answer(&[0xff; 18]).expect("an answer").1, Err("\u{fffd}\u{fffd}".to_owned()));
    }
}
