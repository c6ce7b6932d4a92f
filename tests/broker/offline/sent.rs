//! What was produced, and the same as the tool and the broker tell it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rdkafka::message::{Header, OwnedHeaders};

use crate::client::{Producer, Seen};
use crate::harness::{Broker, corelog_log, path_str};

/// Kafka's codecs.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A record's key and value.
pub type Content = (Vec<u8>, Vec<u8>);

/// The records of a partition, in order.
pub type Records = Vec<Content>;

/// What was acknowledged, by partition and offset.
#[derive(Default)]
pub struct Sent(BTreeMap<i32, BTreeMap<i64, Content>>);

impl Sent {
    /// Sends `count` records to each partition, with a key, a header and a value of `bytes` that compresses little.
    #[expect(clippy::too_many_arguments, reason = "a test's table of what to send")]
    pub fn produce(
        &mut self,
        broker: &Broker,
        topic: &str,
        partitions: i32,
        codec: &str,
        round: usize,
        count: usize,
        bytes: usize,
    ) {
        let settings = [("enable.idempotence", "true"), ("compression.type", codec), ("linger.ms", "2")];
        let producer = Producer::new(broker.bootstrap(), topic, &settings);
        let records: Records = (0..count * partitions as usize)
            .map(|id| (format!("key\t{round} {id}").into_bytes(), noise((round * 1000 + id) as u64, bytes)))
            .collect();
        for (id, (key, value)) in records.iter().enumerate() {
            let headers = OwnedHeaders::new().insert(Header { key: "codec", value: Some(codec) });
            let record = producer.record(id, value).key(&key[..]).headers(headers);
            producer.send(record.partition(id as i32 % partitions));
        }
        for ack in producer.finish() {
            let earlier = self.0.entry(ack.partition).or_default().insert(ack.offset, records[ack.id].clone());
            assert_eq!(earlier, None, "one record an offset");
        }
    }

    /// What one partition holds; offsets have no gap.
    pub fn partition(&self, partition: i32) -> Records {
        let records = &self.0[&partition];
        assert!(records.keys().copied().eq(0..records.len() as i64));
        records.values().cloned().collect()
    }

    /// The lines that `dump --records` has for them, without timestamps.
    pub fn as_dumped(&self, partition: i32) -> Vec<String> {
        let records = self.partition(partition).into_iter().enumerate();
        let line = |(offset, (key, value)): (usize, Content)| {
            format!("offset {offset} key \"{}\" value \"{}\"", key.escape_ascii(), value.escape_ascii())
        };
        records.map(line).collect()
    }
}

/// Half random letters, half dots.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = |at: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if at % 100 < 50 { b'.' } else { state as u8 }
    };
    (0..bytes).map(&mut byte).collect()
}

/// What a consumer saw, as it was sent.
pub fn as_sent(seen: &[Seen]) -> Records {
    seen.iter().map(|seen| (seen.key.clone().unwrap_or_default(), seen.value.clone().unwrap_or_default())).collect()
}

/// A segment as `list` tells it.
pub struct Segment {
    pub partition: i32,
    pub path: PathBuf,
    pub base: i64,
    pub end: i64,
    pub records: i64,
    pub index: String,
    /// Whether bytes follow the last batch.
    pub spare: bool,
}

/// The segments of a topic in the output of `list`.
pub fn segments(list: &str, topic: &str) -> Vec<Segment> {
    let own = list.lines().skip_while(|line| !line.starts_with(&format!("topic {topic} id "))).skip(1);
    let mut partition = -1;
    let mut found = Vec::new();
    for line in own.take_while(|line| line.starts_with(' ')) {
        let words: Vec<&str> = line.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
        let after = |name: &str| words[words.iter().position(|word| *word == name).expect("the word is there") + 1];
        let before = |name: &str| words[words.iter().position(|word| *word == name).expect("the word is there") - 1];
        match words[0] {
            "partition" => partition = words[1].parse().expect("a partition"),
            "segment" => found.push(Segment {
                partition,
                path: words[1].into(),
                base: words[4].parse().expect("a base offset"),
                end: words[7].parse().expect("an end offset"),
                records: before("records").parse().expect("a count"),
                index: after("index").to_owned(),
                spare: words.contains(&"behind"),
            }),
            other => panic!("an unexpected line: {other}"),
        }
    }
    found
}

/// The records' lines of a dump, without timestamps and headers.
pub fn dumped_records(dump: &str) -> Vec<String> {
    let records = dump.lines().filter_map(|line| line.strip_prefix("  offset "));
    let without_time = |line: &str| {
        let (offset, rest) = line.split_once(" timestamp ").expect("a timestamp");
        let (_, rest) = rest.split_once(" key ").expect("a key");
        let (rest, header) = rest.rsplit_once(" header ").expect("a header");
        assert!(header.starts_with("\"codec\"=\""), "{header}");
        format!("offset {offset} key {rest}")
    };
    records.map(without_time).collect()
}

/// The dumps of these segments, without records, in one.
pub fn dump_all(segments: &[Segment]) -> String {
    let mut args = vec!["dump"];
    args.extend(segments.iter().map(|segment| path_str(&segment.path)));
    String::from_utf8(corelog_log(&args).stdout).expect("UTF-8")
}
