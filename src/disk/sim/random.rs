//! The simulation's own random numbers: small, seeded, the same on every machine and in every release.

use std::time::Duration;

/// One million: the denominator of every chance in the simulation's options.
pub const PPM: u32 = 1_000_000;

/// A SplitMix64 generator (Steele, Lea and Flood 2014): 64 bits of state, every seed a good one. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `value`.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Random {
    /// The generator of `seed`; the same seed gives the same numbers for ever.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // Multiply-shift: its bias is at most bound / 2^64, which no simulation can see.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// An index of a collection with `len` elements, which must not be empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// True `ppm` times in a [`PPM`]. Draws no number when `ppm` is 0, so a fault that is off changes no history.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(u64::from(PPM)) < u64::from(ppm)
    }

    /// A time in `min..=max`, in whole nanoseconds; `min` when `max` is below it.
    pub fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        let span = max.saturating_sub(min).as_nanos().min(u128::from(u64::MAX - 1)) as u64;
        min + Duration::from_nanos(self.below(span + 1))
    }

    /// An independent generator: what it draws later leaves this one's numbers as they are.
    pub fn fork(&mut self) -> Random {
        Random { state: self.bits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_algorithm() {
        // The reference implementation's first outputs for the seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_value_below_a_bound_is_drawn_and_none_above() {
        let mut random = Random::new(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.index(7)] = true;
        }
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn durations_stay_within_their_bounds_and_reach_both() {
        let mut random = Random::new(2);
        let (min, max) = (Duration::from_nanos(5), Duration::from_nanos(8));
        let drawn: Vec<_> = (0..200).map(|_| random.duration(min, max)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&min), Some(&max)));
        assert_eq!(random.duration(max, min), max);
    }

    #[test]
    fn a_chance_of_zero_and_one_are_certain() {
        let mut random = Random::new(3);
        assert!((0..100).all(|_| !random.chance(0) && random.chance(PPM)));
    }
}
