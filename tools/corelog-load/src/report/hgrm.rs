//! The text format of HdrHistogram's percentile distributions (`.hgrm`), which its plotter and other tools read.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Lines for each halving of what is left to 100 %, as HdrHistogram's own tools have it.
const POINTS: u32 = 5;
const NS_PER_MS: f64 = 1e6;

/// The distribution of a histogram of nanoseconds, in milliseconds.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut line = |value: f64, quantile: f64, count: u64| {
        let rest = if quantile < 1.0 { format!(" {:>14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
        writeln!(text, "{value:>12.3} {quantile:>14.12} {count:>10}{rest}").expect("a string takes any text");
    };
    let mut count = 0;
    for step in histogram.iter_quantiles(POINTS) {
        count += step.count_since_last_iteration();
        line(step.value_iterated_to() as f64 / NS_PER_MS, step.quantile_iterated_to(), count);
    }
    let [mean, deviation] = [histogram.mean(), histogram.stdev()].map(|ns| ns / NS_PER_MS);
    let (max, total) = (histogram.max() as f64 / NS_PER_MS, histogram.len());
    let (buckets, sub_buckets) = (histogram.buckets(), histogram.distinct_values() / usize::from(histogram.buckets()));
    text.push_str(&format!(
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n\
         #[Max     = {max:>12.3}, Total count    = {total:>12}]\n\
         #[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_rise_to_all_values() {
        let mut histogram = Histogram::new(3).expect("a histogram");
        for us in 1..=10_000u64 {
            histogram.record(us * 1000).expect("a latency");
        }
        let text = hgrm(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|field| field.parse().expect("a number")).collect())
            .collect();
        assert!(rows.len() > 20 && rows.is_sorted());
        let last = rows.last().expect("rows");
        assert_eq!((last[1], last[2], last.len()), (1.0, 10_000.0, 3));
        assert!((last[0] - 10.0).abs() < 0.01, "{last:?}");
        let median = rows.iter().find(|row| row[1] >= 0.5).expect("a median");
        assert!((median[0] - 5.0).abs() < 0.01 && (median[3] - 2.0).abs() < 0.01, "{median:?}");
        assert!(text.contains("Total count    =        10000]"));
    }
}
