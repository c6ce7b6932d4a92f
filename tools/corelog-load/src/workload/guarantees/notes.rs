//! What a client did, kept where its death cannot reach it: files to which a client appends a note for each step.
//!
//! | file | a note for | written |
//! | --- | --- | --- |
//! | `sent` | a batch | **before** it is handed to the connection: it may be there of a batch that never left |
//! | `acknowledged` | a batch | **after** its acknowledgement came: it may be missing of a batch that was acknowledged |
//! | `results` | records that were processed | it **is** the processing: what is not noted was not processed |
//!
//! So `sent` has too much rather than too little, and `acknowledged` too little rather than too much: whoever sends
//! again all that is in the one and not in the other sends everything that may be missing.
//!
//! A killed process leaves everything that it handed to the kernel, so nothing is synced: these files are to outlive
//! clients, not the machine. A note, all integers big-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | CRC-32C of all that follows |
//! | 4..8 | the partition |
//! | 8..16, 16..24 | the first record's number, and the one behind the last |
//! | 24..32 | the first record's offset; 0 in `sent` and `acknowledged` |
//! | 32..40 | the offset to go on at; 0 in `sent` and `acknowledged` |
//! | 40..64 | zeros |
//!
//! A note is whole or it is none: one that was cut short, or does not match its checksum, ends the file, and is removed
//! when the next client opens it. The offset beside the result is what makes exactly-once of it: both are there or none.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Context;

const NOTE_BYTES: usize = 64;
const CRC_BYTES: usize = 4;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The partition.
    pub partition: u32,
    /// The records' numbers.
    pub sequences: Range<u64>,
    /// The offset of the first one, when it was read.
    pub offset: i64,
    /// The offset to go on at behind them.
    pub next_offset: i64,
}

impl Note {
    fn encode(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        bytes[4..8].copy_from_slice(&self.partition.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequences.start.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequences.end.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.next_offset.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_BYTES..]);
        bytes[..CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; NOTE_BYTES]) -> Option<Note> {
        let (crc, rest) = bytes.split_first_chunk()?;
        let (partition, fields) = rest.split_first_chunk()?;
        let (start, fields) = fields.split_first_chunk()?;
        let (end, fields) = fields.split_first_chunk()?;
        let (offset, fields) = fields.split_first_chunk()?;
        let next_offset = fields.first_chunk()?;
        (u32::from_be_bytes(*crc) == crc32c::crc32c(rest)).then(|| Note {
            partition: u32::from_be_bytes(*partition),
            sequences: u64::from_be_bytes(*start)..u64::from_be_bytes(*end),
            offset: i64::from_be_bytes(*offset),
            next_offset: i64::from_be_bytes(*next_offset),
        })
    }
}

/// The notes at the start of `bytes`, up to the first that is none.
fn decode_all(bytes: &[u8]) -> Vec<Note> {
    bytes.as_chunks().0.iter().map_while(Note::decode).collect()
}

/// A file to append to.
#[derive(Debug)]
pub struct Notes {
    file: File,
}

impl Notes {
    /// Opens a file, or creates it, and reads what earlier clients noted. A note that a kill cut short is removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> anyhow::Result<(Notes, Vec<Note>)> {
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let notes = decode_all(&bytes);
            file.set_len((notes.len() * NOTE_BYTES) as u64)?;
            Ok::<_, std::io::Error>((Notes { file }, notes))
        };
        open().with_context(|| format!("open {}", path.display()))
    }

    /// Appends a note, in one call of the system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn append(&mut self, note: &Note) -> anyhow::Result<()> {
        self.file.write_all(&note.encode()).context("note what was done")
    }
}

/// A file that another process appends to.
#[derive(Debug)]
pub struct NotesReader {
    file: Option<File>,
    path: std::path::PathBuf,
    read_bytes: u64,
}

impl NotesReader {
    /// Of a file that may not be there yet.
    pub fn new(path: &Path) -> NotesReader {
        NotesReader { file: None, path: path.to_owned(), read_bytes: 0 }
    }

    /// The notes that came since the last time.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn take(&mut self) -> anyhow::Result<Vec<Note>> {
        let mut take = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => match File::open(&self.path) {
                    Ok(file) => none.insert(file),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(error),
                },
            };
            file.seek(SeekFrom::Start(self.read_bytes))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let notes = decode_all(&bytes);
            self.read_bytes += (notes.len() * NOTE_BYTES) as u64;
            Ok(notes)
        };
        take().with_context(|| format!("read {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(first: u64) -> Note {
        Note { partition: 7, sequences: first..first + 10, offset: 1 << 40, next_offset: (1 << 40) + 10 }
    }

    #[test]
    fn notes_come_back_and_one_that_was_cut_short_never_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sent");
        let mut reader = NotesReader::new(&path);
        assert_eq!(reader.take().expect("nothing"), []);
        let (mut notes, earlier) = Notes::open(&path).expect("a file");
        assert_eq!(earlier, []);
        notes.append(&note(0)).expect("noted");
        notes.append(&note(10)).expect("noted");
        assert_eq!(reader.take().expect("notes"), [note(0), note(10)]);
        for cut in [1, 30, NOTE_BYTES - 1] {
            let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
            file.write_all(&note(99).encode()[..cut]).expect("a part");
            assert_eq!(reader.take().expect("nothing"), []);
            assert_eq!(Notes::open(&path).expect("the file").1, [note(0), note(10)], "cut at {cut}");
        }
        let (mut notes, _) = Notes::open(&path).expect("the file");
        notes.append(&note(20)).expect("noted");
        assert_eq!(reader.take().expect("notes"), [note(20)]);
    }

    #[test]
    fn any_flipped_bit_makes_it_none() {
        let mut bytes = note(5).encode();
        assert_eq!(Note::decode(&bytes), Some(note(5)));
        for bit in 0..NOTE_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Note::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
