//! Types and bounds of values, and how they are read from text: Kafka's rules (its `ConfigDef`).

use std::fmt;

use super::listener::Listener;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Texts, with commas between them.
    List,
}

impl Kind {
    /// The type's number in DescribeConfigs: Kafka's `ConfigType` (KIP-569).
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
        }
    }
}

/// Which values of its type a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// All.
    All,
    /// Numbers from the first to the second, both included.
    Range(i64, i64),
    /// The first number, or one from the second to the third.
    RangeOr(i64, i64, i64),
    /// Multiples of the first number, from the second to the third.
    Multiple(i64, i64, i64),
    /// Numbers from 0 to 1.
    Fraction,
    /// Finite numbers above 0.
    Positive,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Any of these texts, each at most once; none is allowed too (KIP-1161).
    SomeOf(&'static [&'static str]),
    /// One address of the form `PLAINTEXT://HOST:PORT`.
    Listener,
    /// One directory.
    Directory,
    /// `*`, or pairs of a partition and a broker (KIP-73).
    ThrottledReplicas,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of [`Kind::Int`] or [`Kind::Long`].
    Int(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::String`].
    Text(String),
    /// Of [`Kind::List`].
    List(Vec<String>),
}

impl Value {
    /// Reads a value of this type from text, as Kafka does: blanks around it do not count. `None` when the text is not
    /// of the type, or the value is not allowed.
    pub fn parse(text: &str, kind: Kind, allowed: Allowed) -> Option<Value> {
        let text = text.trim();
        let value = match kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => return None,
            Kind::String => Value::Text(text.into()),
            Kind::Int => Value::Int(text.parse::<i32>().ok()?.into()),
            Kind::Long => Value::Int(text.parse().ok()?),
            Kind::Double => Value::Double(text.parse().ok()?),
            Kind::List if text.is_empty() => Value::List(Vec::new()),
            Kind::List => Value::List(text.split(',').map(|item| item.trim().into()).collect()),
        };
        value.is_allowed(allowed).then_some(value)
    }

    fn is_allowed(&self, allowed: Allowed) -> bool {
        match (allowed, self) {
            (Allowed::All, _) => true,
            (Allowed::Range(min, max), Value::Int(number)) => (min..=max).contains(number),
            (Allowed::RangeOr(other, min, max), Value::Int(number)) => *number == other || (min..=max).contains(number),
            (Allowed::Multiple(of, min, max), Value::Int(number)) => (min..=max).contains(number) && number % of == 0,
            (Allowed::Fraction, Value::Double(number)) => (0.0..=1.0).contains(number),
            (Allowed::Positive, Value::Double(number)) => number.is_finite() && *number > 0.0,
            (Allowed::OneOf(texts), Value::Text(text)) => texts.contains(&text.as_str()),
            (Allowed::SomeOf(texts), Value::List(items)) => {
                items.iter().enumerate().all(|(at, item)| texts.contains(&item.as_str()) && !items[..at].contains(item))
            }
            (Allowed::Listener, Value::List(items)) => {
                matches!(&items[..], [one] if Listener::parse(one).is_some())
            }
            (Allowed::Directory, Value::List(items)) => matches!(&items[..], [one] if !one.is_empty()),
            (Allowed::ThrottledReplicas, Value::List(items)) => {
                items.iter().all(|item| is_replica(item)) || matches!(&items[..], [one] if one == "*")
            }
            _ => false,
        }
    }
}

/// Whether this is a partition and a broker, as in `0:1`.
fn is_replica(text: &str) -> bool {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok();
    text.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

/// As Kafka writes values.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            // With a fraction in any case, and Java's exponent: 1.0, 1.5E308.
            Value::Double(value) => f.write_str(&format!("{value:?}").replace('e', "E")),
            Value::Text(value) => f.write_str(value),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// What a key takes, in words, to be put behind "it takes".
pub fn in_words(kind: Kind, allowed: Allowed) -> String {
    let (lowest, highest) = match kind {
        Kind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    match (kind, allowed) {
        (Kind::Boolean, _) => "true or false".into(),
        (_, Allowed::Range(min, max)) => format!("a whole number from {min} to {max}"),
        (_, Allowed::RangeOr(other, min, max)) => format!("{other}, or a whole number from {min} to {max}"),
        (_, Allowed::Multiple(of, min, max)) => format!("a multiple of {of} from {min} to {max}"),
        (_, Allowed::Fraction) => "a number from 0.0 to 1.0".into(),
        (_, Allowed::Positive) => "a number above 0".into(),
        (_, Allowed::OneOf([only])) => format!("only '{only}' in this version of corelog"),
        (_, Allowed::OneOf(texts)) => format!("one of: {}", texts.join(", ")),
        (_, Allowed::SomeOf(texts)) => format!("a list of: {}; each at most once", texts.join(", ")),
        (_, Allowed::Listener) => "one address of the form PLAINTEXT://HOST:PORT".into(),
        (_, Allowed::Directory) => "one directory, without a comma in its name".into(),
        (_, Allowed::ThrottledReplicas) => "'*', or a list of PARTITION:BROKER".into(),
        (Kind::Int | Kind::Long, Allowed::All) => format!("a whole number from {lowest} to {highest}"),
        (Kind::Double, Allowed::All) => "a number".into(),
        (Kind::List, Allowed::All) => "a list".into(),
        (Kind::String, Allowed::All) => "a text".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn takes(kind: Kind, allowed: Allowed, text: &str) -> bool {
        Value::parse(text, kind, allowed).is_some()
    }

    #[test]
    fn values_are_read_as_kafka_reads_them() {
        let parse = |text, kind| Value::parse(text, kind, Allowed::All).map(|value| value.to_string());
        let some = |text: &str| Some(text.to_string());
        assert_eq!(parse(" TRUE ", Kind::Boolean), some("true"));
        assert_eq!(parse("yes", Kind::Boolean), None);
        assert_eq!(parse(" 5\n", Kind::Int), some("5"));
        assert_eq!(parse("+5", Kind::Int), some("5"));
        assert_eq!(parse("2147483647", Kind::Int), some("2147483647"));
        for text in ["2147483648", "", "5.0", "five", "5 5", "0x5", "5L"] {
            assert_eq!(parse(text, Kind::Int), None, "{text:?}");
        }
        assert_eq!(parse("9223372036854775807", Kind::Long), some("9223372036854775807"));
        assert_eq!(parse("9223372036854775808", Kind::Long), None);
        assert_eq!(parse("1", Kind::Double), some("1.0"));
        assert_eq!(parse("0.50", Kind::Double), some("0.5"));
        assert_eq!(parse("1.7976931348623157e+308", Kind::Double), some("1.7976931348623157E308"));
        for (text, ok) in [("0.1", true), ("1e9", true), ("0", false), ("-1", false), ("inf", false), ("NaN", false)] {
            assert_eq!(takes(Kind::Double, Allowed::Positive, text), ok, "{text}");
        }
        assert_eq!(parse(" a , b,c ", Kind::List), some("a,b,c"));
        assert_eq!(Value::parse("", Kind::List, Allowed::All), Some(Value::List(Vec::new())));
        assert_eq!(parse(" text ", Kind::String), some("text"));
    }

    #[test]
    fn bounds_are_inclusive_and_hold_on_both_sides() {
        for (text, ok) in [("0", false), ("1", true), ("9", true), ("10", false), ("-1", false)] {
            assert_eq!(takes(Kind::Int, Allowed::Range(1, 9), text), ok, "{text}");
            assert_eq!(takes(Kind::Int, Allowed::RangeOr(-1, 1, 9), text), ok || text == "-1", "{text}");
        }
        for (text, ok) in [("4096", true), ("8192", true), ("8193", false), ("12288", false), ("0", false)] {
            assert_eq!(takes(Kind::Long, Allowed::Multiple(4096, 4096, 8192), text), ok, "{text}");
        }
        for (text, ok) in [("0", true), ("1.0", true), ("1.0001", false), ("-0.1", false), ("NaN", false)] {
            assert_eq!(takes(Kind::Double, Allowed::Fraction, text), ok, "{text}");
        }
    }

    #[test]
    fn lists_hold_what_is_allowed_each_once() {
        let policy = Allowed::SomeOf(&["compact", "delete"]);
        for (text, ok) in [
            ("", true),
            ("compact", true),
            ("compact, delete", true),
            ("delete,delete", false),
            ("compact,", false),
            ("Compact", false),
        ] {
            assert_eq!(takes(Kind::List, policy, text), ok, "{text:?}");
        }
        for (text, ok) in [
            ("", true),
            ("*", true),
            ("0:1", true),
            ("0:1,12:3", true),
            ("*,0:1", false),
            ("0:", false),
            ("0:+1", false),
        ] {
            assert_eq!(takes(Kind::List, Allowed::ThrottledReplicas, text), ok, "{text:?}");
        }
        for (text, ok) in [("PLAINTEXT://a:1", true), ("PLAINTEXT://a:1,PLAINTEXT://b:1", false), ("", false)] {
            assert_eq!(takes(Kind::List, Allowed::Listener, text), ok, "{text:?}");
        }
        for (text, ok) in [("/data", true), ("/a,/b", false), ("", false)] {
            assert_eq!(takes(Kind::List, Allowed::Directory, text), ok, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_a_value_or_is_not_and_a_value_reads_back(text in ".{0,20}") {
            for kind in [Kind::Boolean, Kind::String, Kind::Int, Kind::Long, Kind::Double, Kind::List] {
                if let Some(value) = Value::parse(&text, kind, Allowed::All) {
                    let again = Value::parse(&value.to_string(), kind, Allowed::All);
                    prop_assert_eq!(again.map(|again| again.to_string()), Some(value.to_string()));
                }
            }
        }
    }
}
