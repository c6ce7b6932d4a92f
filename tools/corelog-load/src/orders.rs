//! Orders of a shop, as services send them to each other: a line of JSON of a given length, from random bits.

use std::io::Write;

use crate::random::Random;

/// The shortest order: all fields, and nothing to fill the rest with.
pub const ORDER_BYTES_MIN: usize = 97;
/// The longest order that a call carries.
pub const ORDER_BYTES_MAX: usize = 16 << 20;

/// The field that fills an order up, around its text.
const NOTE: (&[u8], &[u8]) = (br#","note":""#, br#"""#);
/// When the first order was placed, milliseconds since 1970-01-01 UTC.
const FIRST_MS: u64 = 1_700_000_000_000;
/// Orders of different streams have different numbers as long as no stream has more than so many.
const STREAM_ORDERS: u64 = 1_000_000;
/// Numbers are from here to ten times this, so that all of them are of one length.
const FIRST_ORDER: u64 = 1_000_000_000;

/// Makes orders. Their order ids and times rise.
#[derive(Clone, Debug)]
pub struct Orders {
    made: u64,
    first: u64,
    placed_ms: u64,
}

impl Orders {
    /// Makes the orders of a stream, whose ids begin elsewhere than those of other streams.
    pub fn new(stream: u64) -> Orders {
        let first = stream.wrapping_mul(STREAM_ORDERS);
        Orders { made: 0, first, placed_ms: FIRST_MS }
    }

    /// Appends the next order, of exactly `len` bytes: from [`ORDER_BYTES_MIN`] on valid JSON, below that the beginning of
    /// it.
    pub fn append(&mut self, random: &mut Random, out: &mut Vec<u8>, len: usize) {
        let end = out.len() + len;
        let order = FIRST_ORDER + self.first.wrapping_add(self.made) % (9 * FIRST_ORDER);
        self.made += 1;
        self.placed_ms += random.below(3);
        write!(
            out,
            r#"{{"order":{order},"customer":{},"item":{},"quantity":{},"price":{}.{:02},"at":{}"#,
            100_000 + random.below(900_000),
            10_000 + random.below(90_000),
            1 + random.below(9),
            10 + random.below(90),
            random.below(100),
            self.placed_ms
        )
        .expect("a vector takes any text");
        let rest = end.saturating_sub(out.len() + 1);
        if let Some(text) = rest.checked_sub(NOTE.0.len() + NOTE.1.len()) {
            out.extend_from_slice(NOTE.0);
            // Letters only: nothing that JSON would have to escape.
            out.extend((0..text).map(|_| b'a' + random.below(26) as u8));
            out.extend_from_slice(NOTE.1);
        } else {
            out.resize(out.len() + rest, b' ');
        }
        out.push(b'}');
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn orders(stream: u64, len: usize, count: usize) -> Vec<Vec<u8>> {
        let (mut orders, mut random) = (Orders::new(stream), Random::new(5));
        let one = |_| {
            let mut out = b"before".to_vec();
            orders.append(&mut random, &mut out, len);
            out.split_off(6)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn orders_are_json_of_the_length_that_was_asked_for() {
        for len in (ORDER_BYTES_MIN..ORDER_BYTES_MIN + 30).chain([1000]) {
            let mut last = 0;
            for order in orders(3, len, 50) {
                assert_eq!(order.len(), len);
                let json: Value = serde_json::from_slice(&order).expect("JSON");
                for field in ["customer", "item", "quantity", "price", "at"] {
                    assert!(json[field].as_f64() >= Some(1.0), "{field} in {json}");
                }
                let id = json["order"].as_u64().expect("an id");
                assert!(id > last);
                last = id;
            }
        }
    }

    #[test]
    fn a_shorter_order_is_the_beginning_of_one() {
        for (short, whole) in orders(0, 50, 3).iter().zip(orders(0, ORDER_BYTES_MIN, 3)) {
            assert_eq!(short[..], whole[..50]);
        }
    }

    #[test]
    fn streams_have_orders_of_their_own() {
        assert_eq!(orders(1, 100, 9), orders(1, 100, 9));
        assert!(orders(1, 100, 9).iter().all(|order| !orders(2, 100, 9).contains(order)));
    }
}
