//! Bugs to put into the engine, one at a time, so that a test can show that the histories of `tests/history` find them.
//!
//! They exist only with the cargo feature `mutations`, which no default has and only `tests/engine_mutations.rs` uses.
//! Without it `is` is a constant `false`. With it, all are off until a thread asks for one.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A block is acknowledged when it is written, before its fdatasync.
    AcknowledgesBeforeSync,
    /// Blocks carry no durable watermark.
    WritesNoWatermark,
    /// The first block after a restart has a number that was given before.
    ReusesASequence,
    /// A journal file is used again although no checkpoint covers it.
    ReleasesWithoutCheckpoint,
    /// A journal file is used again although segments lack what it has.
    ReleasesWithoutFlush,
    /// Recovery leaves out the last block.
    DropsTheLastBlock,
    /// Recovery appends an entry twice.
    ReplaysTwice,
    /// Where a log starts is raised in memory only.
    ForgetsLogStarts,
    /// Readers see what is appended and not durable.
    ReadsAboveDurable,
    /// What is not written to its segment is dropped from memory.
    EvictsUnwritten,
    /// A failed fdatasync of the journal counts as one that went well.
    IgnoresFailedJournalSyncs,
    /// A failed fdatasync of a segment counts as one that went well.
    IgnoresFailedSegmentSyncs,
    /// The directory of a new segment is not synced.
    SyncsNoDirectory,
    /// Batches read from segments are not held against their checksums.
    ChecksNoChecksum,
    /// Batches read from segments are not held against their offsets.
    ChecksNoOrder,
    /// A journal file's first block may be on disk before its header.
    SyncsNoFileHeader,
    /// A checkpoint takes the place of the one before it without an fdatasync.
    SyncsNoCheckpoint,
    /// A checkpoint does not wait for what its snapshots cover.
    CheckpointsPhantoms,
    /// Appends are refused for ever once the disk was full.
    StaysFull,
    /// A full disk counts as a failed one.
    FencesOnFull,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Mutation; 20] = [
        Mutation::AcknowledgesBeforeSync,
        Mutation::WritesNoWatermark,
        Mutation::ReusesASequence,
        Mutation::ReleasesWithoutCheckpoint,
        Mutation::ReleasesWithoutFlush,
        Mutation::DropsTheLastBlock,
        Mutation::ReplaysTwice,
        Mutation::ForgetsLogStarts,
        Mutation::ReadsAboveDurable,
        Mutation::EvictsUnwritten,
        Mutation::IgnoresFailedJournalSyncs,
        Mutation::IgnoresFailedSegmentSyncs,
        Mutation::SyncsNoDirectory,
        Mutation::ChecksNoChecksum,
        Mutation::ChecksNoOrder,
        Mutation::SyncsNoFileHeader,
        Mutation::SyncsNoCheckpoint,
        Mutation::CheckpointsPhantoms,
        Mutation::StaysFull,
        Mutation::FencesOnFull,
    ];
}

/// Whether the engine has this bug.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(super) const fn is(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use active::activate;
#[cfg(feature = "mutations")]
pub(super) use active::is;

#[cfg(feature = "mutations")]
mod active {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Gives the engines of this thread a bug, or none.
    pub fn activate(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }

    /// Whether the engine has this bug.
    pub(in crate::storage) fn is(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }
}
