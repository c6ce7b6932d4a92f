//! Scales: where on an axis a value lies, and which values stand beside the axis. Plain functions over numbers.
//!
//! Whatever the values, a position is a number from 0 to 1, or there is none.

use super::number::tick;

/// What can be drawn. Beyond that there is no time, no rate and no size; sums and logarithms stay finite.
const DRAWN_MAX: f64 = 1e15;
/// The least that has a place on a logarithmic axis.
const LOG_MIN: f64 = 1e-9;
/// Ticks of a linear axis, about.
const TICKS: f64 = 5.0;
/// Ticks of a logarithmic axis, at most; when 1, 2 and 5 of each decade are more, it has only powers of ten.
const LOG_TICKS_MAX: i32 = 10;
/// The percentiles beside an axis of percentiles.
const PERCENTILES: [f64; 8] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];

/// An axis: from its lower end to its upper end.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    kind: Kind,
    /// The ends, in what `kind` makes of values.
    low: f64,
    high: f64,
    /// What stands beside it.
    pub ticks: Vec<Tick>,
}

/// A value beside an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where, from 0 to 1.
    pub at: f64,
    /// The value.
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
    /// 1/(1−p), logarithmic: each step to the right leaves a tenth.
    Percentile,
}

impl Kind {
    /// What a value is on this axis, when it has a place there.
    fn transformed(self, value: f64) -> Option<f64> {
        match self {
            _ if !is_drawn(value) => None,
            Kind::Linear => Some(value),
            Kind::Log => (value >= LOG_MIN).then(|| value.log10()),
            Kind::Percentile => (value < 100.0).then(|| -(1.0 - value / 100.0).log10()),
        }
    }
}

/// Whether a value has a place on a linear axis.
pub fn is_drawn(value: f64) -> bool {
    (0.0..=DRAWN_MAX).contains(&value)
}

impl Scale {
    /// From 0 to the tick above the highest value.
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Scale {
        let (high, step) = highest_and_step(values);
        let steps = (high / step - 1e-9).ceil();
        Scale::linear_to(steps * step, step)
    }

    /// From 0 to the highest value, without room above.
    pub fn linear_snug(values: impl IntoIterator<Item = f64>) -> Scale {
        let (high, step) = highest_and_step(values);
        Scale::linear_to(high, step)
    }

    fn linear_to(high: f64, step: f64) -> Scale {
        let steps = (high / step + 1e-9).floor() as u32;
        let ticks = (0..=steps).map(|place| f64::from(place) * step);
        let ticks = ticks.map(|value| Tick { at: value / high, label: tick(value, step) }).collect();
        Scale { kind: Kind::Linear, low: 0.0, high, ticks }
    }

    /// Logarithmic, from the 1, 2 or 5 of a decade below the lowest value above 0 to the one above the highest.
    pub fn log(values: impl IntoIterator<Item = f64>) -> Scale {
        let values = values.into_iter().filter(|&value| Kind::Log.transformed(value).is_some());
        let (low, high) =
            values.fold((f64::MAX, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (0.1, 10.0) };
        let (mut first, mut last) = (one_two_five_below(low), one_two_five_below(high));
        if one_two_five(last) < high * (1.0 - 1e-9) {
            last += 1;
        }
        // At least two ticks, one of them on each side.
        if last - first < 2 {
            first -= 1;
            last += 1;
        }
        let ends = (one_two_five(first).log10(), one_two_five(last).log10());
        let is_shown = |place: i32| {
            let decades_between = (last - first) / 3 / LOG_TICKS_MAX + 1;
            last - first < LOG_TICKS_MAX || (place.rem_euclid(3) == 0 && (place.div_euclid(3) % decades_between) == 0)
        };
        let ticks = (first..=last).filter(|&place| is_shown(place)).map(|place| {
            let value = one_two_five(place);
            Tick { at: (value.log10() - ends.0) / (ends.1 - ends.0), label: tick(value, value) }
        });
        Scale { kind: Kind::Log, low: ends.0, high: ends.1, ticks: ticks.collect() }
    }

    /// From 0 % to the highest percentile below 100.
    pub fn percentile(values: impl IntoIterator<Item = f64>) -> Scale {
        /// 99 % is always there.
        const HIGH_MIN: f64 = 2.0;
        let high = values.into_iter().filter_map(|value| Kind::Percentile.transformed(value)).fold(HIGH_MIN, f64::max);
        let places = PERCENTILES.iter().filter_map(|&value| Some((value, Kind::Percentile.transformed(value)?)));
        let ticks = places.filter(|(_, place)| *place <= high * (1.0 + 1e-9));
        let ticks = ticks.map(|(value, place)| Tick { at: (place / high).min(1.0), label: format!("{value} %") });
        Scale { kind: Kind::Percentile, low: 0.0, high, ticks: ticks.collect() }
    }

    /// Where a value lies, from 0 to 1; what is beyond an end lies there.
    pub fn at(&self, value: f64) -> Option<f64> {
        let place = self.kind.transformed(value)?;
        Some(((place - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }
}

fn highest_and_step(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let high = values.into_iter().filter(|&value| is_drawn(value)).fold(0.0, f64::max);
    let high = if high >= LOG_MIN { high } else { 1.0 };
    let least = high / TICKS;
    let below = one_two_five_below(least);
    let step = if one_two_five(below) < least * (1.0 - 1e-9) { one_two_five(below + 1) } else { one_two_five(below) };
    (high, step)
}

/// The numbers …, 0.5, 1, 2, 5, 10, …; 1 has place 0.
fn one_two_five(place: i32) -> f64 {
    [1.0, 2.0, 5.0][place.rem_euclid(3) as usize] * 10f64.powi(place.div_euclid(3))
}

/// The place of the last of them that is not above `value`.
fn one_two_five_below(value: f64) -> i32 {
    let mut place = (value.log10().floor() as i32) * 3;
    while one_two_five(place + 1) <= value * (1.0 + 1e-9) {
        place += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_1_2_5() {
        assert_eq!(labels(&Scale::linear([0.0, 9.1])), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Scale::linear([1_730_000.0])), ["0", "500 k", "1 M", "1.5 M", "2 M"]);
        assert_eq!(labels(&Scale::linear_snug([11.0])), ["0", "5", "10"]);
        assert_eq!(labels(&Scale::log([0.3, 4.0])), ["0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(&Scale::log([0.3, 40.0])), ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(&Scale::log([0.03, 400.0])), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(&Scale::log([1.0])), ["0.5", "1", "2"]);
        assert_eq!(labels(&Scale::percentile([0.0, 99.95, 100.0])), ["50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn ends_and_middles_lie_where_they_should() {
        let linear = Scale::linear([10.0]);
        assert_eq!([0.0, 5.0, 10.0, 99.0].map(|value| linear.at(value)), [0.0, 0.5, 1.0, 1.0].map(Some));
        let log = Scale::log([1.0, 100.0]);
        assert!((log.at(10.0).expect("a place") - 0.5).abs() < 1e-9);
        assert_eq!(log.at(0.0), None, "0 has no place on a logarithmic axis");
        let percentile = Scale::percentile([99.99]);
        assert!((percentile.at(99.0).expect("a place") - 0.5).abs() < 1e-9);
        assert_eq!(percentile.at(100.0), None);
    }

    #[test]
    fn no_value_leads_out_of_the_axis() {
        const HARD: [f64; 12] = [
            0.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            1e-9,
            1e-3,
            1.0,
            1e15,
            100.0,
        ];
        for one in HARD {
            for values in [vec![], vec![one], vec![one, 1.0], vec![1.0, one, 1e15], vec![one, 1e-9]] {
                let linear = [Scale::linear(values.clone()), Scale::linear_snug(values.clone())];
                for scale in linear.into_iter().chain([Scale::log(values.clone()), Scale::percentile(values.clone())]) {
                    assert!(!scale.ticks.is_empty() && scale.ticks.len() <= 30, "{values:?}: {scale:?}");
                    assert!(
                        scale.ticks.iter().all(|tick| (0.0..=1.0 + 1e-9).contains(&tick.at)),
                        "{values:?}: {scale:?}"
                    );
                    for value in HARD {
                        assert!(scale.at(value).is_none_or(|at| (0.0..=1.0).contains(&at)), "{value} on {scale:?}");
                    }
                }
            }
        }
    }
}
