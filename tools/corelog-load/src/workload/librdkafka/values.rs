//! The values that a producer sends round and round: they are made before the load starts, so that the load is the
//! client's and not the generator's.

use std::ops::Range;

use crate::payload::{Payload, PayloadKind};
use crate::sizes::{SizeKind, Sizes};
use crate::stamp::{STAMP_BYTES, Stamp};

/// Bytes of the values that a producer keeps, about.
const KEPT_BYTES: usize = 16 << 20;
/// Values that it keeps.
const KEPT_MIN: usize = 4;
const KEPT_MAX: usize = 100_000;

/// The values.
pub struct Values {
    kept: Vec<u8>,
    /// Where each lies.
    places: Vec<Range<usize>>,
    turn: usize,
    stamped_by: Option<u64>,
    stamp: Vec<u8>,
}

impl Values {
    /// Values for producer `index`, each of which begins with a stamp of a run when there is one.
    ///
    /// # Errors
    /// When the payload cannot be had.
    pub fn new(payload: &PayloadKind, index: u64, sizes: SizeKind, stamped_by: Option<u64>) -> anyhow::Result<Values> {
        let mut payload = Payload::open(payload, index)?;
        let mut sizes = Sizes::new(sizes, index.wrapping_add(1));
        let (mut kept, mut places) = (Vec::new(), Vec::new());
        while places.len() < KEPT_MIN || (places.len() < KEPT_MAX && kept.len() < KEPT_BYTES) {
            let (start, bytes) = (kept.len(), sizes.draw());
            // Stamps take the first bytes; the text begins behind.
            let stamp_bytes = stamped_by.map_or(0, |_| STAMP_BYTES.min(bytes));
            kept.resize(start + stamp_bytes, 0);
            payload.append(&mut kept, bytes - stamp_bytes);
            places.push(start..kept.len());
        }
        Ok(Values { kept, places, turn: 0, stamped_by, stamp: Vec::new() })
    }

    /// The next value, for a record that is meant to be sent `intended_ns` after the start. The same until
    /// [`Values::advance`].
    pub fn next(&mut self, intended_ns: u64) -> &[u8] {
        let value = &mut self.kept[self.places[self.turn].clone()];
        if let Some(run) = self.stamped_by {
            self.stamp.clear();
            Stamp { run, intended_ns }.append(&mut self.stamp);
            for (place, byte) in value.iter_mut().zip(&self.stamp) {
                *place = *byte;
            }
        }
        value
    }

    /// Goes on to the next value.
    pub fn advance(&mut self) {
        self.turn = (self.turn + 1) % self.places.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_length_and_come_round() {
        let mut values = Values::new(&PayloadKind::Seed(1), 0, SizeKind::Fixed(6 << 20), None).expect("values");
        let mut seen = Vec::new();
        for _ in 0..KEPT_MIN {
            seen.push(values.next(0).to_vec());
            values.advance();
        }
        assert!(seen.iter().all(|value| value.len() == 6 << 20));
        assert!(seen[0] != seen[1] && values.next(0) == seen[0]);
    }

    #[test]
    fn stamps_stand_in_front_and_the_text_behind() {
        let plain =
            Values::new(&PayloadKind::Seed(1), 0, SizeKind::Fixed(24), None).expect("values").next(0)[..24].to_vec();
        let mut values = Values::new(&PayloadKind::Seed(1), 0, SizeKind::Fixed(40), Some(9)).expect("values");
        let value = values.next(77).to_vec();
        assert_eq!(Stamp::read(&value), Some(Stamp { run: 9, intended_ns: 77 }));
        assert_eq!(value[STAMP_BYTES..], plain);
        assert_eq!(Values::new(&PayloadKind::Seed(1), 0, SizeKind::Fixed(0), None).expect("values").next(0), b"");
    }
}
