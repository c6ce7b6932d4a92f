//! Numbers, times and commands as a reader wants them.

use crate::report::grouped;

/// A figure with about three digits that count, for a reader who points at it.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => grouped(value.max(0.0).round() as u64),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// A number beside an axis whose ticks are so far apart: no more digits than that needs, and k, M, G for thousands.
pub fn tick(value: f64, step: f64) -> String {
    /// Smaller steps than 10⁻⁹ are told as that.
    const DECIMALS_MAX: f64 = 9.0;
    let (unit, suffix) = match value.abs() {
        size if size >= 1e9 => (1e9, " G"),
        size if size >= 1e6 => (1e6, " M"),
        size if size >= 1e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let decimals = (-(step / unit).log10() + 1e-9).ceil().clamp(0.0, DECIMALS_MAX) as usize;
    let digits = format!("{:.decimals$}", value / unit);
    // 1.0 M beside 1.5 M is 1 M.
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{suffix}")
}

/// Milliseconds since 1970 as a date and a time of day in UTC.
pub fn utc(unix_ms: i64) -> String {
    const DAY_S: i64 = 86_400;
    let seconds = unix_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    // The Gregorian calendar in years that begin in March, so that the leap day is the last. 400 of them are an era of
    // 146,097 days.
    let day_0 = days + 719_468;
    let (era, day_of_era) = (day_0.div_euclid(146_097), day_0.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// An argument as a shell takes it back.
pub fn shell_word(argument: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// Text of at most so many characters; what is left out is marked.
pub fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_count() {
        for (value, text) in
            [(0.0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (123.44, "123.4"), (1_234_567.8, "1,234,568")]
        {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn ticks_have_the_digits_that_their_step_needs() {
        for (value, step, text) in [
            (0.0, 0.5, "0"),
            (0.30000000000000004, 0.1, "0.3"),
            (0.05, 0.05, "0.05"),
            (20.0, 20.0, "20"),
            (1500.0, 500.0, "1.5 k"),
            (1_000_000.0, 500_000.0, "1 M"),
            (200_000.0, 50_000.0, "200 k"),
            (1e-6, 1e-6, "0.000001"),
        ] {
            assert_eq!(tick(value, step), text);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000_000, "2023-11-14 22:13:20 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(ms), text);
        }
        // Whatever a file says.
        for ms in [i64::MIN, i64::MAX] {
            assert!(utc(ms).ends_with("UTC"));
        }
    }

    #[test]
    fn arguments_can_be_pasted() {
        for (argument, word) in
            [("--topic", "--topic"), ("it's", r"'it'\''s'"), ("", "''"), ("a b", "'a b'"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(shell_word(argument), word);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("éé", 2), "éé");
        assert_eq!(shortened("ééé", 2), "é…");
    }
}
