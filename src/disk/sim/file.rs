//! A simulated file: what reads see, what is on the medium, and the changes between the two.
//!
//! Content is kept in pages of [`ALIGNMENT`] bytes, because every write is a whole number of them; a crash tears in
//! sectors of [`SECTOR`] bytes, the least that a device writes as one.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::random::{PPM, Random};
use crate::disk::ALIGNMENT;

/// What a device writes all or not at all, in bytes.
pub const SECTOR: usize = 512;

const SECTORS_PER_PAGE: usize = ALIGNMENT / SECTOR;
const _: () = assert!(ALIGNMENT.is_multiple_of(SECTOR));

/// One page of content.
pub(super) type Page = [u8; ALIGNMENT];

/// How many pages `len` bytes take.
pub(super) fn pages(len: u64) -> u64 {
    len.div_ceil(ALIGNMENT as u64)
}

/// Which of a crash's undecided pieces survive. Drawn once a file, so that a few hundred seeds see nothing lost,
/// everything lost, a torn tail, and salt and pepper.
#[derive(Clone, Copy, Debug)]
pub(super) enum Survival {
    /// Each piece by itself, with this chance in [`PPM`].
    Each(u32),
    /// The first so many, in the order they were written.
    First(u64),
    /// All but the first so many: the newest overtook the older.
    AllButFirst(u64),
}

impl Survival {
    pub(super) fn draw(random: &mut Random, pieces: u64) -> Survival {
        match random.below(8) {
            0 => Survival::Each(0),
            1 => Survival::Each(PPM),
            2 => Survival::Each(PPM / 16),
            3 => Survival::Each(PPM - PPM / 16),
            4 => Survival::First(random.below(pieces + 1)),
            5 => Survival::AllButFirst(random.below(pieces + 1)),
            _ => Survival::Each(PPM / 2),
        }
    }

    /// Whether the piece number `index` survives.
    pub(super) fn keeps(self, index: u64, random: &mut Random) -> bool {
        match self {
            Survival::Each(ppm) => random.chance(ppm),
            Survival::First(count) => index < count,
            Survival::AllButFirst(count) => index >= count,
        }
    }
}

/// A version of a file's content.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// Pages that are not there read as zero.
    pages: BTreeMap<u64, Rc<Page>>,
    /// In bytes.
    pub(super) len: u64,
    /// The first so many pages have space, written or not.
    reserved: u64,
}

impl Image {
    fn page(&self, page: u64) -> Page {
        self.pages.get(&page).map_or([0; ALIGNMENT], |page| **page)
    }

    /// Up to `len` bytes at `position`, fewer at the end.
    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = position.saturating_add(len as u64).min(self.len);
        let mut bytes = Vec::with_capacity(end.saturating_sub(position) as usize);
        let mut at = position;
        while at < end {
            let start = (at % ALIGNMENT as u64) as usize;
            let stop = (end - (at - start as u64)).min(ALIGNMENT as u64) as usize;
            match self.pages.get(&(at / ALIGNMENT as u64)) {
                Some(page) => bytes.extend_from_slice(&page[start..stop]),
                None => bytes.resize(bytes.len() + stop - start, 0),
            }
            at += (stop - start) as u64;
        }
        bytes
    }

    fn resize(&mut self, len: u64) {
        let kept = pages(len);
        drop(self.pages.split_off(&kept));
        self.reserved = self.reserved.min(kept);
        let tail = (len % ALIGNMENT as u64) as usize;
        if tail > 0
            && let Some(page) = self.pages.get_mut(&(len / ALIGNMENT as u64))
        {
            Rc::make_mut(page)[tail..].fill(0);
        }
        self.len = len;
    }

    fn apply(&mut self, kind: &ChangeKind) {
        match kind {
            ChangeKind::Write { first, pages } => {
                for (page, data) in (*first..).zip(pages) {
                    self.pages.insert(page, data.clone());
                }
            }
            ChangeKind::Length(len) => self.resize(*len),
            ChangeKind::Reserve(len) => {
                self.reserved = self.reserved.max(pages(*len));
                self.len = self.len.max(*len);
            }
        }
    }

    /// Replaces those sectors of a page for which `keep` says so.
    fn mix(&mut self, page: u64, data: &Page, mut keep: impl FnMut() -> bool) {
        let mut mixed = self.page(page);
        for sector in 0..SECTORS_PER_PAGE {
            if keep() {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                mixed[range.clone()].copy_from_slice(&data[range]);
            }
        }
        self.pages.insert(page, Rc::new(mixed));
    }

    /// How many of `first..end` have no space yet.
    fn missing(&self, first: u64, end: u64) -> u64 {
        let from = first.max(self.reserved);
        end.saturating_sub(from) - self.pages.range(from..end.max(from)).count() as u64
    }

    fn space(&self) -> u64 {
        (self.reserved + self.pages.range(self.reserved..).count() as u64) * ALIGNMENT as u64
    }
}

#[derive(Clone, Debug)]
enum ChangeKind {
    /// Whole pages; the length is a change of its own.
    Write { first: u64, pages: Vec<Rc<Page>> },
    /// Cuts or extends to exactly so many bytes.
    Length(u64),
    /// Gives space to the first so many bytes and extends to them.
    Reserve(u64),
}

impl ChangeKind {
    fn sectors(&self) -> u64 {
        match self {
            ChangeKind::Write { pages, .. } => (pages.len() * SECTORS_PER_PAGE) as u64,
            ChangeKind::Length(_) | ChangeKind::Reserve(_) => 0,
        }
    }
}

#[derive(Clone, Debug)]
struct Change {
    sequence: u64,
    kind: ChangeKind,
}

/// A file, named or not.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    /// What reads see.
    current: Image,
    /// What no crash can take away, unless a change of `changes` replaces it.
    durable: Image,
    /// Done, and visible, since the last sync that covered them; oldest first.
    changes: Vec<Change>,
    next_sequence: u64,
    /// How many open handles it has.
    pub(super) handles: u64,
}

impl FileState {
    /// A file whose content is durable.
    pub(super) fn durable(bytes: &[u8]) -> FileState {
        let mut file = FileState::default();
        file.write(0, bytes);
        file.change(ChangeKind::Length(bytes.len() as u64));
        file.sync(file.next_sequence);
        file
    }

    fn change(&mut self, kind: ChangeKind) {
        self.current.apply(&kind);
        self.changes.push(Change { sequence: self.next_sequence, kind });
        self.next_sequence += 1;
    }

    /// The sequence that a sync called now covers: all changes below it.
    pub(super) fn sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn len(&self) -> u64 {
        self.current.len
    }

    /// The space that it takes, in bytes.
    pub(super) fn space(&self) -> u64 {
        self.current.space()
    }

    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        self.current.read(position, len)
    }

    /// What a crash leaves when it takes every undecided change away.
    pub(super) fn read_durable(&self) -> Vec<u8> {
        self.durable.read(0, self.durable.len as usize)
    }

    /// Space that a write of so many bytes would newly take, in pages.
    pub(super) fn missing(&self, position: u64, len: u64) -> u64 {
        self.current.missing(position / ALIGNMENT as u64, pages(position + len))
    }

    /// Writes at a multiple of [`ALIGNMENT`]; a last part of a page is padded with zeros beyond the length.
    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let pages = bytes.chunks(ALIGNMENT).map(|chunk| {
            let mut page = [0; ALIGNMENT];
            page[..chunk.len()].copy_from_slice(chunk);
            Rc::new(page)
        });
        self.change(ChangeKind::Write { first: position / ALIGNMENT as u64, pages: pages.collect() });
        let end = position + bytes.len() as u64;
        if end > self.current.len {
            self.change(ChangeKind::Length(end));
        }
    }

    /// A write that failed with an I/O error: each of its sectors may have arrived.
    pub(super) fn write_torn(&mut self, position: u64, bytes: &[u8], random: &mut Random) {
        let survival = Survival::draw(random, (bytes.len() / SECTOR) as u64);
        let mut mixed = self.current.clone();
        let mut index = 0;
        let mut kept_end = position;
        for (page, data) in (position / ALIGNMENT as u64..).zip(bytes.as_chunks::<ALIGNMENT>().0) {
            mixed.mix(page, data, || {
                let kept = survival.keeps(index, random);
                index += 1;
                if kept {
                    // The length grows by whole pages, as it does for a write that went well.
                    kept_end = (page + 1) * ALIGNMENT as u64;
                }
                kept
            });
        }
        mixed.len = mixed.len.max(kept_end);
        let torn = mixed.read(position, (kept_end - position) as usize);
        self.write(position, &torn);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.change(ChangeKind::Length(len));
    }

    pub(super) fn preallocate(&mut self, len: u64) {
        self.change(ChangeKind::Reserve(len));
    }

    /// Makes the changes below `sequence` durable.
    pub(super) fn sync(&mut self, sequence: u64) {
        let covered = self.changes.partition_point(|change| change.sequence < sequence);
        for change in self.changes.drain(..covered) {
            self.durable.apply(&change.kind);
        }
    }

    /// A sync that failed: the data below `sequence` is durable or lost, by sectors, and no later sync brings it back,
    /// though reads still see it. Changes of the length stay undecided.
    pub(super) fn sync_failed(&mut self, sequence: u64, random: &mut Random) {
        let covered = |change: &Change| change.sequence < sequence;
        let sectors = self.changes.iter().filter(|change| covered(change)).map(|change| change.kind.sectors()).sum();
        let survival = Survival::draw(random, sectors);
        let mut index = 0;
        for change in self.changes.iter().filter(|change| covered(change)) {
            keep_sectors(&mut self.durable, &change.kind, survival, &mut index, random);
        }
        self.changes.retain(|change| !covered(change) || !matches!(change.kind, ChangeKind::Write { .. }));
    }

    /// What is there after the power went: a seeded choice for every undecided sector, and one for the length.
    pub(super) fn crashed(&self, random: &mut Random) -> FileState {
        let lengths = self.changes.iter().filter(|change| change.kind.sectors() == 0).count() as u64;
        let survival = Survival::draw(random, self.changes.iter().map(|change| change.kind.sectors()).sum());
        // The length is one number on the medium: it has one of the values that it had since the last sync.
        let mut lengths_kept = match random.below(3) {
            0 => 0,
            1 => lengths,
            _ => random.below(lengths + 1),
        };
        let mut image = self.durable.clone();
        let mut index = 0;
        for change in &self.changes {
            match change.kind {
                ChangeKind::Write { .. } => keep_sectors(&mut image, &change.kind, survival, &mut index, random),
                ChangeKind::Length(_) | ChangeKind::Reserve(_) if lengths_kept > 0 => {
                    image.apply(&change.kind);
                    lengths_kept -= 1;
                }
                ChangeKind::Length(_) | ChangeKind::Reserve(_) => {}
            }
        }
        // Data beyond the length that survived is gone, and must not reappear when the file grows.
        image.resize(image.len);
        FileState {
            current: image.clone(),
            durable: image,
            changes: Vec::new(),
            next_sequence: self.next_sequence,
            handles: 0,
        }
    }

    /// Changes bytes on the medium behind the file's back: in every version that a read could give.
    /// False when they are not all within the file.
    pub(super) fn damage(&mut self, position: u64, len: u64, mut byte: impl FnMut(u64, u8) -> u8) -> bool {
        if position.checked_add(len).is_none_or(|end| end > self.current.len) {
            return false;
        }
        for at in position..position + len {
            let (page, offset) = (at / ALIGNMENT as u64, (at % ALIGNMENT as u64) as usize);
            let mut change = |data: &mut Rc<Page>| {
                let data = Rc::make_mut(data);
                data[offset] = byte(at, data[offset]);
            };
            for image in [&mut self.current, &mut self.durable] {
                change(image.pages.entry(page).or_insert_with(|| Rc::new([0; ALIGNMENT])));
            }
            for pending in &mut self.changes {
                if let ChangeKind::Write { first, pages } = &mut pending.kind
                    && let Some(data) = page.checked_sub(*first).and_then(|index| pages.get_mut(index as usize))
                {
                    change(data);
                }
            }
        }
        true
    }
}

/// Applies those sectors of a write that survive.
fn keep_sectors(image: &mut Image, kind: &ChangeKind, survival: Survival, index: &mut u64, random: &mut Random) {
    let ChangeKind::Write { first, pages } = kind else { return };
    for (page, data) in (*first..).zip(pages) {
        image.mix(page, data, || {
            let kept = survival.keeps(*index, random);
            *index += 1;
            kept
        });
    }
}
