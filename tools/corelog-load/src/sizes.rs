//! How large values are.

use std::str::FromStr;

use crate::random::Random;

/// No value is larger than the largest message that a broker could take.
const BYTES_MAX: usize = 1 << 30;
/// What of a log-normal distribution lies above so many times its 99th percentile is cut off: a load that lasts longer
/// must not end by one record that no broker takes.
const TAIL_MAX: f64 = 4.0;
/// How many standard deviations the 99th percentile of a normal distribution lies above its median.
const P99_DEVIATIONS: f64 = 2.326_347_874;

/// How sizes are drawn, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeKind {
    /// All the same.
    Fixed(usize),
    /// Each size from the first to the second, both included, is as likely as the others.
    Uniform(usize, usize),
    /// Many small values and few large ones: a log-normal distribution with this median and 99th percentile, cut off at
    /// four times the latter.
    LogNormal(usize, usize),
}

impl SizeKind {
    /// The smallest size that can be drawn.
    pub fn min(self) -> usize {
        match self {
            SizeKind::Fixed(bytes) | SizeKind::Uniform(bytes, _) => bytes,
            SizeKind::LogNormal(..) => 1,
        }
    }

    /// The largest size that can be drawn.
    pub fn max(self) -> usize {
        match self {
            SizeKind::Fixed(bytes) | SizeKind::Uniform(_, bytes) => bytes,
            SizeKind::LogNormal(_, p99) => (p99 as f64 * TAIL_MAX) as usize,
        }
    }
}

impl FromStr for SizeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<SizeKind, String> {
        let size = |text: &str| match text.parse::<usize>() {
            Ok(bytes) if bytes <= BYTES_MAX => Ok(bytes),
            _ => Err(format!("'{text}' is no number of bytes up to {BYTES_MAX}")),
        };
        let pair = |text: &str| match text.split_once(':') {
            Some((low, high)) => match (size(low)?, size(high)?) {
                (low, high) if low <= high => Ok((low, high)),
                (low, high) => Err(format!("{low} is more than {high}")),
            },
            None => Err(format!("'{text}' is not two numbers with a colon between")),
        };
        match text.split_once(':') {
            None => size(text).map(SizeKind::Fixed),
            Some(("uniform", bounds)) => pair(bounds).map(|(min, max)| SizeKind::Uniform(min, max)),
            Some(("lognormal", shape)) => match pair(shape)? {
                (0, _) => Err("the median of a log-normal distribution is above 0".to_owned()),
                (_, p99) if p99 > BYTES_MAX / 4 => Err(format!("'{p99}' is more than {}", BYTES_MAX / 4)),
                (median, p99) => Ok(SizeKind::LogNormal(median, p99)),
            },
            _ => Err("it is N, uniform:MIN:MAX or lognormal:MEDIAN:P99".to_owned()),
        }
    }
}

/// Draws sizes.
#[derive(Clone, Debug)]
pub struct Sizes {
    kind: SizeKind,
    random: Random,
}

impl Sizes {
    /// Draws as `kind` says, from a seed.
    pub fn new(kind: SizeKind, seed: u64) -> Sizes {
        Sizes { kind, random: Random::new(seed) }
    }

    /// The next size, bytes.
    pub fn draw(&mut self) -> usize {
        match self.kind {
            SizeKind::Fixed(bytes) => bytes,
            SizeKind::Uniform(min, max) => min + self.random.below((max - min) as u64 + 1) as usize,
            SizeKind::LogNormal(median, p99) => {
                let deviation = (p99 as f64 / median as f64).ln() / P99_DEVIATIONS;
                let size = median as f64 * (deviation * self.normal()).exp();
                (size.round() as usize).clamp(1, self.kind.max())
            }
        }
    }

    /// From the standard normal distribution (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.random.unit(), self.random.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(kind: SizeKind) -> Vec<usize> {
        let mut sizes = Sizes::new(kind, 7);
        let mut all: Vec<usize> = (0..100_000).map(|_| sizes.draw()).collect();
        all.sort_unstable();
        assert!(all[0] >= kind.min() && all[all.len() - 1] <= kind.max(), "{kind:?}");
        all
    }

    #[test]
    fn sizes_are_spread_as_asked() {
        assert!(drawn(SizeKind::Fixed(9)).iter().all(|&size| size == 9));
        let uniform = drawn(SizeKind::Uniform(100, 300));
        assert_eq!((uniform[0], uniform[99_999]), (100, 300));
        assert!((198..=202).contains(&uniform[50_000]), "{}", uniform[50_000]);
        let skewed = drawn(SizeKind::LogNormal(500, 20_000));
        assert!((480..=520).contains(&skewed[50_000]), "{}", skewed[50_000]);
        assert!((18_000..=22_000).contains(&skewed[99_000]), "{}", skewed[99_000]);
    }

    #[test]
    fn the_command_line_is_understood_or_refused() {
        assert_eq!("1024".parse(), Ok(SizeKind::Fixed(1024)));
        assert_eq!("uniform:10:20".parse(), Ok(SizeKind::Uniform(10, 20)));
        assert_eq!("lognormal:500:20000".parse(), Ok(SizeKind::LogNormal(500, 20_000)));
        for bad in ["", "x", "-1", "uniform:5", "uniform:5:4", "lognormal:0:5", "normal:1:2", "9999999999"] {
            assert!(bad.parse::<SizeKind>().is_err(), "{bad}");
        }
    }
}
