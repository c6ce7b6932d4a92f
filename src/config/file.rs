//! The configuration file: TOML with the keys of [the table](super::table), dotted or quoted.
//!
//! ```toml
//! num.partitions = 3
//! log.retention.hours = 24
//! "message.max.bytes" = 2097152
//! listeners = "PLAINTEXT://0.0.0.0:9092"
//!
//! [corelog]
//! shards = 2
//! ```
//!
//! By TOML's own rule a name is either dotted or a table's header: `log.dirs = …` and `[log]` do not go together.
//! A number, a truth value, a text or a list must be one in TOML too. A list may also be a text with commas.

use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, Key, TableLike, Value};

use super::broker::{BrokerConfig, ConfigError, Origin};
use super::table::broker_key;
use super::value::Kind;

/// The longest file that is read: no real one comes near.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How much of a line that is no TOML is quoted, in characters.
const QUOTED_MAX: usize = 60;

/// Reads a configuration file.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn read(path: &Path) -> Result<BrokerConfig, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(format!("{length} bytes are no configuration; at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&text, path)
}

/// Reads the text of a configuration file; `path` is for messages.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str, path: &Path) -> Result<BrokerConfig, ConfigError> {
    let document = Document::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(text.len(), |span| span.start));
        let content: String = text.lines().nth(line - 1).unwrap_or_default().trim().chars().take(QUOTED_MAX).collect();
        let reason = format!("{}: {}", content.escape_debug(), error.message().replace('\n', ", "));
        ConfigError::Syntax { path: path.into(), line, reason }
    })?;
    let mut reading = Reading { text, path: path.into(), config: BrokerConfig::default(), found: Vec::new() };
    reading.collect(document.as_table(), "");
    // By line, so that the first mistake is told first, whatever table it stands in.
    let mut found = std::mem::take(&mut reading.found);
    found.sort_by_key(|(line, ..)| *line);
    for (line, name, item) in found {
        reading.set(line, &name, item)?;
    }
    Ok(reading.config)
}

struct Reading<'a> {
    text: &'a str,
    path: PathBuf,
    config: BrokerConfig,
    /// Line, dotted name, value.
    found: Vec<(usize, String, &'a Item)>,
}

impl<'a> Reading<'a> {
    /// Lists what stands in a table and in those below it.
    fn collect<'b: 'a>(&mut self, table: &'b dyn TableLike, prefix: &str) {
        for (name, item) in table.iter() {
            let key = table.key(name);
            let dotted = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            match item.as_table_like() {
                Some(inner) if !inner.is_empty() => self.collect(inner, &dotted),
                _ => self.found.push((self.line(key, item), dotted, item)),
            }
        }
    }

    fn line(&self, key: Option<&Key>, item: &Item) -> usize {
        let span = key.and_then(Key::span).or_else(|| item.span());
        line_of(self.text, span.map_or(0, |span| span.start))
    }

    fn set(&mut self, line: usize, name: &str, item: &Item) -> Result<(), ConfigError> {
        let origin = Origin::File { path: self.path.clone(), line };
        if let Some(Origin::File { line: first_line, .. }) = self.config.origin(name) {
            let first_line = *first_line;
            let place = BrokerConfig::place_of(name, origin);
            return Err(ConfigError::Duplicate { place, first_line });
        }
        let Some(key) = broker_key(name) else {
            return Err(ConfigError::UnknownKey(BrokerConfig::place_of(name, origin)));
        };
        match text_of(item, key.kind) {
            Some(text) => self.config.set(name, &text, origin),
            None => Err(ConfigError::Value {
                place: BrokerConfig::place_of(name, origin),
                value: format!("a TOML {}", item.type_name()),
                takes: key.takes(),
            }),
        }
    }
}

/// The value as text; `None` when it is not of the key's type.
fn text_of(item: &Item, kind: Kind) -> Option<String> {
    match (kind, item.as_value()?) {
        (Kind::Boolean, Value::Boolean(value)) => Some(value.value().to_string()),
        (Kind::Int | Kind::Long | Kind::Double, Value::Integer(value)) => Some(value.value().to_string()),
        (Kind::Double, Value::Float(value)) => Some(value.value().to_string()),
        (Kind::String | Kind::List, Value::String(value)) => Some(value.value().clone()),
        (Kind::List, Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().filter(|text| !text.contains(',')));
            Some(texts.collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

/// The line, from 1, that a byte stands in.
fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<BrokerConfig, String> {
        parse(text, Path::new("c.toml")).map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> String {
        parsed(text).unwrap_err()
    }

    #[test]
    fn keys_are_dotted_quoted_or_in_tables() {
        let text = "\
# a comment
num.partitions = 3
\"message.max.bytes\" = 2_000_000
log.retention.hours = 24
log.\"retention.minutes\" = 5
auto = { create.topics.enable = false }
listeners = \"PLAINTEXT://127.0.0.1:0\"
log.dirs = [\"/data\"]
log.cleanup.policy = [\"compact\", \"delete\"]
log.cleaner.min.cleanable.ratio = 1

[corelog]
shards = 2
[corelog.journal]
files = 5
";
        let config = parsed(text).unwrap();
        assert_eq!(config.int("num.partitions"), 3);
        assert_eq!(config.int("message.max.bytes"), 2_000_000);
        assert_eq!(config.int("log.retention.hours"), 24);
        assert_eq!(config.int("log.retention.minutes"), 5);
        assert!(!config.boolean("auto.create.topics.enable"));
        assert_eq!(config.listener("listeners").unwrap().port, 0);
        assert_eq!(config.single("log.dirs").as_deref(), Some("/data"));
        assert_eq!(config.value("log.cleanup.policy").unwrap().to_string(), "compact,delete");
        assert_eq!(config.value("log.cleaner.min.cleanable.ratio").unwrap().to_string(), "1.0");
        assert_eq!(config.int("corelog.shards"), 2);
        assert_eq!(config.int("corelog.journal.files"), 5);
        let place = config.place("corelog.journal.files").to_string();
        assert_eq!(place, "c.toml:15: corelog.journal.files");
        assert_eq!(parsed("").unwrap(), BrokerConfig::default());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let unknown = "unknown key; corelog has no such broker setting";
        assert_eq!(refused("# a comment\n\nno_such_key = 1\n"), format!("c.toml:3: no_such_key: {unknown}"));
        assert_eq!(refused("num.partitions = 1\nnum.io.threads = 8"), format!("c.toml:2: num.io.threads: {unknown}"));
        assert_eq!(refused("[a]\n[a.b]\nc = 1"), format!("c.toml:3: a.b.c: {unknown}"));
        assert_eq!(refused("[log]"), format!("c.toml:1: log: {unknown}"));
        assert_eq!(refused("retention.ms = 1"), format!("c.toml:1: retention.ms: {unknown}"));
        assert_eq!(
            refused("\nnum.partitions = 0"),
            "c.toml:2: num.partitions: 0 is not allowed; it takes a whole number from 1 to 10000"
        );
        assert_eq!(
            refused("num.partitions = \"3\""),
            "c.toml:1: num.partitions: a TOML string is not allowed; it takes a whole number from 1 to 10000"
        );
        for (text, key) in [
            ("num.partitions = 3.0", "num.partitions"),
            ("num.partitions = [1]", "num.partitions"),
            ("num.partitions = {}", "num.partitions"),
            ("num.partitions = 99999999999", "num.partitions"),
            ("delete.topic.enable = 1", "delete.topic.enable"),
            ("delete.topic.enable = \"true\"", "delete.topic.enable"),
            ("compression.type = \"zstd\"", "compression.type"),
            ("log.message.timestamp.type = 1979-05-27", "log.message.timestamp.type"),
            ("log.dirs = [\"/a\", \"/b\"]", "log.dirs"),
            ("log.dirs = [\"/a,b\"]", "log.dirs"),
            ("log.dirs = [1]", "log.dirs"),
            ("listeners = \"127.0.0.1:9092\"", "listeners"),
            ("[[num.partitions]]", "num.partitions"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(&format!("c.toml:1: {key}: ")) && error.contains("it takes "), "{error}");
        }
    }

    #[test]
    fn the_first_mistake_in_the_file_is_told() {
        let error = refused("[log]\nretention.hours = 0\n[corelog]\nshards = 0");
        assert!(error.starts_with("c.toml:2: log.retention.hours: 0 "), "{error}");
    }

    #[test]
    fn a_key_that_is_set_twice_is_refused_in_any_spelling() {
        let error = refused("num.partitions = 1\n\n\"num.partitions\" = 2");
        assert_eq!(error, "c.toml:3: num.partitions: the key is set twice, first in line 1");
        let error = refused("\"log.retention.ms\" = 1\n[log]\nretention.ms = 1");
        assert_eq!(error, "c.toml:3: log.retention.ms: the key is set twice, first in line 1");
        let error = refused("num.partitions = 1\nnum.partitions = 2");
        assert_eq!(error, "c.toml:2: num.partitions = 2: duplicate key");
        assert_eq!(refused("log.retention.ms = 1\n[log]"), "c.toml:2: [log]: duplicate key");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        for text in ["a = 1\nnum.partitions 3", "a = 1\nb = \"unclosed", "a = 1\n= 2", "a = 1\n[b"] {
            let error = refused(text);
            assert!(error.starts_with("c.toml:2: ") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let home = tempfile::tempdir().unwrap();
        let absent = home.path().join("absent.toml");
        for path in [absent.as_path(), home.path()] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
        }
        let binary = home.path().join("binary.toml");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&binary), Err(ConfigError::Unreadable { .. })));
        let large = home.path().join("large.toml");
        std::fs::write(&large, vec![b'\n'; (FILE_BYTES_MAX + 1) as usize]).unwrap();
        assert!(matches!(read(&large), Err(ConfigError::Unreadable { .. })));
        let good = home.path().join("good.toml");
        std::fs::write(&good, "node.id = 7").unwrap();
        assert_eq!(read(&good).unwrap().int("node.id"), 7);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic_and_errors_are_one_line(text in "[a-z.=\\[\\]{}\"',#0-9 \n]{0,60}") {
            if let Err(error) = parsed(&text) {
                prop_assert!(error.starts_with("c.toml:") && !error.contains('\n'), "{}", error);
            }
        }
    }
}
