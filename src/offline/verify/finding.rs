//! What `verify` says, a line each.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::vocabulary::{Offset, PartitionIndex};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something that was written, and that may be needed, is not there as it was written.
    Damage,
    /// What a crash may leave, what is made anew by itself, or what is not corelog's.
    Note,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or directory.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub position: Option<u64>,
    /// The topic's name and the partition.
    pub partition: Option<(String, PartitionIndex)>,
    /// The first and the last offset affected, as far as they are known.
    pub offsets: Option<(Offset, Offset)>,
    /// What it means.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, file: &Path, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding {
            severity,
            file: file.to_path_buf(),
            position: None,
            partition: None,
            offsets: None,
            what: what.into(),
            todo: todo.into(),
        }
    }

    pub(super) fn damage(file: &Path, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding::new(Severity::Damage, file, what, todo)
    }

    pub(super) fn note(file: &Path, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, file, what, todo)
    }

    pub(super) fn at(mut self, position: u64) -> Finding {
        self.position = Some(position);
        self
    }

    pub(super) fn of(mut self, topic: &str, partition: PartitionIndex) -> Finding {
        self.partition = Some((topic.to_owned(), partition));
        self
    }

    /// Affects `first` up to, but not, `end`; nothing when there is nothing between.
    pub(super) fn offsets(mut self, first: Offset, end: Offset) -> Finding {
        self.offsets = (first < end).then(|| (first, end - 1));
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damage => "damage",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        if let Some((topic, partition)) = &self.partition {
            write!(f, ", topic {topic} partition {partition}")?;
        }
        match self.offsets {
            Some((first, last)) if first == last => write!(f, ", offset {first}")?,
            Some((first, last)) => write!(f, ", offsets {first} to {last}")?,
            None => {}
        }
        write!(f, ": {}; {}", self.what, self.todo)
    }
}

/// What was looked at, and how much of it is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Partitions with files, or with records in the journal.
    pub partitions: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Whole batches in them.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Journal blocks that recovery would replay.
    pub journal_blocks: u64,
    /// Findings that are damage.
    pub damage: u64,
    /// Findings that are not.
    pub notes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.damage {
            0 => "clean".to_owned(),
            1 => "1 finding of damage".to_owned(),
            count => format!("{count} findings of damage"),
        };
        write!(
            f,
            "{verdict}: {} partitions, {} segments, {} batches, {} records, {} bytes; {} journal blocks to replay",
            self.partitions, self.segments, self.batches, self.records, self.bytes, self.journal_blocks
        )?;
        match self.notes {
            0 => Ok(()),
            1 => write!(f, "; 1 note"),
            count => write!(f, "; {count} notes"),
        }
    }
}
