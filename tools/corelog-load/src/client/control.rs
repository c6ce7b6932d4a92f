//! A connection with one request at a time, for all that is not measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, ensure};
use corelog::protocol::{KafkaString, Reader, Request, Writer};

use super::{ANSWER_BYTES_MAX, ANSWER_DEADLINE, CLIENT_ID, CONNECT_DEADLINE, frame, parse_answer};

/// Connects, with TCP_NODELAY.
///
/// # Errors
/// Those of the sockets.
pub fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_DEADLINE)
        .with_context(|| format!("no broker answers at {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The connection.
pub struct Control {
    stream: TcpStream,
    correlation: i32,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Control> {
        let stream = connect(address)?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
        Ok(Control { stream, correlation: 0 })
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// Those of the sockets, and a response that is none.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.correlation = self.correlation.wrapping_add(1);
        let sent = frame(version, self.correlation, request)?.into_bytes();
        let body = self.exchange(&sent).with_context(|| format!("{} was not answered", R::KEY))?;
        let (correlation, response) = parse_answer::<R>(version, body.into())?;
        ensure!(correlation == self.correlation, "the broker answered another request than {}", R::KEY);
        Ok(response)
    }

    /// Sends a request of an API that the broker's codec has not, in a version without tagged fields, and waits for its
    /// response. The response's body.
    ///
    /// # Errors
    /// Those of the sockets, and a response that is none.
    pub fn call_encoded(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer)) -> anyhow::Result<Reader> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut w = Writer::new();
        w.begin_frame();
        w.write_i16(key);
        w.write_i16(version);
        w.write_i32(self.correlation);
        w.write_nullable_string(Some(&KafkaString::from_static(CLIENT_ID)), false);
        body(&mut w);
        w.end_frame()?;
        let answer = self.exchange(&w.finish().into_bytes())?;
        let mut r = Reader::new(answer.into());
        ensure!(r.read_i32()? == self.correlation, "the broker answered another request");
        Ok(r)
    }

    fn exchange(&mut self, sent: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.stream.write_all(sent)?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(explained)?;
        let size = u32::from_be_bytes(size) as usize;
        ensure!(size <= ANSWER_BYTES_MAX, "what listens there is no Kafka broker: its answer claims {size} bytes");
        let mut body = Vec::new();
        (&self.stream).take(size as u64).read_to_end(&mut body)?;
        ensure!(body.len() == size, "the broker closed the connection");
        Ok(body)
    }
}

fn explained(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => anyhow::anyhow!("the broker closed the connection"),
        ErrorKind::WouldBlock => anyhow::anyhow!("nothing came for {} s", ANSWER_DEADLINE.as_secs()),
        _ => error.into(),
    }
}
