//! Kafka's own `kafka-dump-log` reads our segments.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::sent::{self, CODECS};
use super::{CONFIG, fill, stdout};
use crate::harness::{Broker, corelog_log, path_str};
use crate::kafka;

/// A directory with Kafka's jars; `None` without `java`, and without `mvn` where it would have to fetch them.
fn jars() -> Option<PathBuf> {
    let runs = |program: &str| {
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !runs("java") || !(kafka::is_fetched() || runs("mvn")) {
        return None;
    }
    Some(kafka::fetch().expect("Kafka's jars"))
}

#[test]
fn kafka_s_own_tool_reads_our_segments() {
    let Some(jars) = jars() else {
        eprintln!("left out: kafka-dump-log needs java, and mvn the first time");
        return;
    };
    let Some(mut broker) = Broker::start_configured(CONFIG) else { return };
    let (topic, sent) = fill(&broker);
    broker.stop();
    let list = stdout(&corelog_log(&["list", "--data-dir", path_str(broker.data_dir())]));
    let segments = sent::segments(&list, &topic);
    let files: Vec<&str> = segments.iter().map(|segment| path_str(&segment.path)).collect();
    let mut tool = Command::new("java");
    tool.args(["-Xmx256M", "-cp"]).arg(jars.join("*")).arg("org.apache.kafka.tools.DumpLogSegments");
    tool.args(["--deep-iteration", "--print-data-log", "--files", &files.join(",")]);
    let output = tool.output().expect("run java");
    let dump = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{dump}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!dump.contains("isvalid: false") && !dump.contains("Found invalid"), "{dump}");
    let batches = dump.lines().filter(|line| line.starts_with("baseOffset: ")).count();
    let ours = sent::dump_all(&segments).lines().filter(|line| line.contains(", crc ok")).count();
    assert_eq!(batches, ours);
    for codec in CODECS {
        assert!(dump.contains(&format!("compresscodec: {codec}")), "a batch with {codec}");
    }
    // Values may hold line ends: keys tell what there is.
    let seen: Vec<&str> = dump.lines().filter(|line| line.contains("| offset: ")).collect();
    let mut expected = Vec::new();
    for segment in &segments {
        let keys = sent.partition(segment.partition);
        for offset in segment.base..segment.end {
            let key = String::from_utf8(keys[offset as usize].0.clone()).expect("keys are text");
            expected.push((offset, format!(" key: {key} payload: ")));
        }
    }
    assert_eq!(seen.len(), expected.len());
    for (line, (offset, key)) in seen.iter().zip(&expected) {
        assert!(line.starts_with(&format!("| offset: {offset} ")) && line.contains(key), "{line}\nnot {offset} {key}");
    }
}
