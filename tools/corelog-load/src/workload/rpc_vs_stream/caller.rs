//! One caller's thread: a call, its answer, the next call.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, ensure};

use super::framing::{Frames, parse_answer, write_request};
use crate::clock;
use crate::load::Load;
use crate::measure::{Arrival, Recorder};
use crate::payload::Payload;

/// A caller, connected.
pub struct Caller {
    service: TcpStream,
    orders: Payload,
    order_bytes: usize,
    /// Bytes of the batch that the service makes of an order.
    wire_bytes: u64,
    /// Calls that it has to make; `None` for as many as there is time for.
    quota: Option<u64>,
}

impl Caller {
    /// Connects to the service.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn connect(
        service: SocketAddr,
        orders: Payload,
        order_bytes: usize,
        wire_bytes: u64,
        quota: Option<u64>,
    ) -> anyhow::Result<Caller> {
        let service = TcpStream::connect(service).context("connect to the service")?;
        service.set_nodelay(true)?;
        Ok(Caller { service, orders, order_bytes, wire_bytes, quota })
    }

    /// Its own address.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.service.local_addr()?)
    }

    /// Calls until the load is over.
    ///
    /// # Errors
    /// When an order was not appended, or the connection breaks.
    pub fn run(mut self, load: &Load, recorder: &Recorder) -> anyhow::Result<()> {
        clock::sleep_until(load.start());
        let (mut frames, mut order, mut request) = (Frames::default(), Vec::new(), Vec::new());
        for id in 0.. {
            order.clear();
            self.orders.append(&mut order, self.order_bytes);
            let sent = clock::now();
            if load.is_over(sent) || self.quota == Some(id) {
                break;
            }
            write_request(&mut request, id, &order);
            self.service.write_all(&request).context("call the service")?;
            let answer = frames.next(&mut self.service).context("the service's answer")?;
            let (answered, outcome) = parse_answer(answer.context("the service closed the connection")?)?;
            let at = clock::now();
            ensure!(answered == id, "the service answered call {answered}, not {id}");
            if let Err(why) = outcome {
                // Who has been told to stop asks no more why the broker does not answer.
                ensure!(load.is_interrupted(), "{why}");
                break;
            }
            recorder.add([Arrival {
                at,
                from: Some(sent),
                latencies: 1,
                records: 1,
                value_bytes: self.order_bytes as u64,
                wire_bytes: self.wire_bytes,
            }]);
        }
        Ok(())
    }
}
