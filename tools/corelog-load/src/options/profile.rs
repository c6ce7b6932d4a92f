//! Presets: loads with a name, for comparisons. A preset is a part of a command line, which what the user writes comes
//! after, so that it counts more.

use anyhow::{Context, bail};
use clap::ValueEnum;

/// The loads that have a name: 1k and 100b are the bytes of a record, x the records of a batch, p the partitions, f the
/// requests in flight (1 when not named). A producer for each partition, but 8 for 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// produce: one producer with large batches.
    #[value(name = "1k-x1000")]
    Large,
    /// produce: the same on 4 partitions.
    #[value(name = "1k-x1000-4p")]
    LargeOn4,
    /// produce: batches of 100 KiB on 8 partitions.
    #[value(name = "1k-x100-8p")]
    MiddleOn8,
    /// produce: batches of many small records.
    #[value(name = "100b-x1000")]
    Small,
    /// produce: a record a request, each waited for.
    #[value(name = "1k-x1")]
    Single,
    /// produce: the same on 8 partitions.
    #[value(name = "1k-x1-8p")]
    SingleOn8,
    /// produce: a record a request, 16 requests in flight, on 8 partitions.
    #[value(name = "100b-x1-8p-16f")]
    SingleInFlight,
    /// produce: small batches on many partitions.
    #[value(name = "100b-x10-512p-8f")]
    ManyPartitions,
    /// produce: fills a topic with 64 MiB for the profiles of consume.
    #[value(name = "fill-1k")]
    Fill1k,
    /// produce: the same with small records.
    #[value(name = "fill-100b")]
    Fill100b,
    /// consume: one partition over and over, from the broker's or the system's cache.
    #[value(name = "consume-memory")]
    ConsumeMemory,
    /// consume: one partition once.
    #[value(name = "consume-once")]
    ConsumeOnce,
}

impl Profile {
    /// The subcommand that it is for, and its options.
    fn arguments(self) -> (&'static str, &'static str) {
        match self {
            Profile::Large => {
                ("produce", "--record-bytes 1024 --records-per-batch 1000 --producers 1 --partitions 1 --in-flight 1")
            }
            Profile::LargeOn4 => {
                ("produce", "--record-bytes 1024 --records-per-batch 1000 --producers 4 --partitions 4 --in-flight 1")
            }
            Profile::MiddleOn8 => {
                ("produce", "--record-bytes 1024 --records-per-batch 100 --producers 8 --partitions 8 --in-flight 1")
            }
            Profile::Small => {
                ("produce", "--record-bytes 100 --records-per-batch 1000 --producers 1 --partitions 1 --in-flight 1")
            }
            Profile::Single => {
                ("produce", "--record-bytes 1024 --records-per-batch 1 --producers 1 --partitions 1 --in-flight 1")
            }
            Profile::SingleOn8 => {
                ("produce", "--record-bytes 1024 --records-per-batch 1 --producers 8 --partitions 8 --in-flight 1")
            }
            Profile::SingleInFlight => {
                ("produce", "--record-bytes 100 --records-per-batch 1 --producers 8 --partitions 8 --in-flight 16")
            }
            Profile::ManyPartitions => {
                ("produce", "--record-bytes 100 --records-per-batch 10 --producers 8 --partitions 512 --in-flight 8")
            }
            Profile::Fill1k => {
                ("produce", "--record-bytes 1024 --records-per-batch 100 --producers 1 --partitions 1 --records 65536")
            }
            Profile::Fill100b => {
                ("produce", "--record-bytes 100 --records-per-batch 1000 --producers 1 --partitions 1 --records 671088")
            }
            Profile::ConsumeMemory => ("consume", "--again --consumers 1 --duration 10s --warm-up 1s"),
            Profile::ConsumeOnce => ("consume", "--consumers 1"),
        }
    }
}

/// The command line with what its `--profile` stands for before what the user wrote, right behind the subcommand.
///
/// # Errors
/// When there is no such profile, or it is for another subcommand.
pub fn expand(line: &[String]) -> anyhow::Result<Vec<String>> {
    let Some(at) = line.iter().position(|word| word == "--profile" || word.starts_with("--profile=")) else {
        return Ok(line.to_vec());
    };
    let name = match line[at].split_once('=') {
        Some((_, name)) => name,
        None => line.get(at + 1).context("--profile needs a name")?,
    };
    let names = || {
        let known = Profile::value_variants().iter().filter_map(|known| known.to_possible_value());
        known.map(|known| known.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let profile =
        Profile::from_str(name, false).map_err(|_| anyhow::anyhow!("--profile {name}: there are {}", names()))?;
    let (subcommand, arguments) = profile.arguments();
    let place = line.iter().position(|word| word == subcommand).filter(|&place| place > 0 && place < at);
    let Some(place) = place else { bail!("--profile {name} is one of `corelog-load {subcommand}`") };
    let mut expanded = line[..=place].to_vec();
    expanded.extend(arguments.split_whitespace().map(str::to_owned));
    expanded.extend_from_slice(&line[place + 1..]);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Command, CommandLine};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_profile_is_a_command_line() {
        for profile in Profile::value_variants() {
            let name = profile.to_possible_value().expect("a name").get_name().to_owned();
            let (subcommand, _) = profile.arguments();
            let line =
                expand(&words(&format!("corelog-load {subcommand} --profile {name} --topic x"))).expect("a line");
            let parsed = CommandLine::try_parse_from(line).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(matches!(parsed.command, Command::Produce(_) | Command::Consume(_)));
        }
    }

    #[test]
    fn what_the_user_writes_counts_more() {
        let line = words("corelog-load produce --producers 3 --profile=1k-x1000-4p --in-flight 7");
        let expanded = expand(&line).expect("a line");
        let Command::Produce(options) = CommandLine::try_parse_from(expanded).expect("options").command else {
            panic!("another command");
        };
        assert_eq!((options.producer.producers, options.topic.partitions, options.producer.in_flight), (3, Some(4), 7));
    }

    #[test]
    fn an_unknown_profile_and_one_of_another_command_are_refused() {
        for (line, why) in [
            ("corelog-load produce --profile none", "there are 1k-x1000, "),
            ("corelog-load produce --profile", "needs a name"),
            ("corelog-load consume --profile 1k-x1", "`corelog-load produce`"),
        ] {
            let error = expand(&words(line)).expect_err(line).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(expand(&words("corelog-load produce")).expect("a line"), words("corelog-load produce"));
    }
}
