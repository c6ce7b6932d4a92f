//! The names of a simulated disk: directories, and the changes of them that a crash may take away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::file::Survival;
use super::random::Random;

/// A file or a directory, whatever its name; never used again.
pub(super) type NodeId = u64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(NodeId),
    Directory(NodeId),
}

/// Why a path could not be used: the operating system's error number.
pub(super) type Errno = i32;

type Names = BTreeMap<String, Entry>;

#[derive(Clone, Debug, Default)]
struct Directory {
    /// What is seen.
    current: Names,
    /// What no crash can take away.
    durable: Names,
}

/// One name set or removed.
#[derive(Clone, Debug)]
struct Edit {
    directory: NodeId,
    name: String,
    entry: Option<Entry>,
}

/// A create, rename or remove since the last sync of its directory: it survives a crash whole or not at all.
#[derive(Clone, Debug)]
struct Change {
    sequence: u64,
    /// One; a rename has two: the old name's, then the new one's. The last says which directory's sync settles it.
    edits: Vec<Edit>,
    /// The directory that it removes, which is empty on the medium only when all changes within it survive too.
    removes: Option<NodeId>,
}

impl Change {
    /// Whether this cannot survive without the older `other`.
    fn builds_on(&self, other: &Change) -> bool {
        other.edits.iter().any(|theirs| {
            self.removes == Some(theirs.directory)
                || self.edits.iter().any(|mine| mine.directory == theirs.directory && mine.name == theirs.name)
        })
    }
}

/// All names.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    directories: BTreeMap<NodeId, Directory>,
    /// Oldest first.
    changes: Vec<Change>,
    next_sequence: u64,
    next_node: NodeId,
}

const ROOT: NodeId = 0;

/// The names on the way to `path`.
///
/// # Panics
/// On `..` and on names that are not UTF-8, which the engine never uses.
fn parts(path: &Path) -> Vec<&str> {
    path.components()
        .filter_map(|component| match component {
            Component::RootDir | Component::CurDir => None,
            Component::Normal(name) => match name.to_str() {
                Some(name) => Some(name),
                None => panic!("disk contract: {path:?} is not UTF-8"),
            },
            Component::ParentDir | Component::Prefix(_) => panic!("disk contract: {path:?} is not a plain path"),
        })
        .collect()
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            directories: BTreeMap::from([(ROOT, Directory::default())]),
            changes: Vec::new(),
            next_sequence: 0,
            next_node: ROOT + 1,
        }
    }

    /// A fresh id.
    fn node(&mut self) -> NodeId {
        self.next_node += 1;
        self.next_node - 1
    }

    /// The sequence that a sync called now covers: all changes below it.
    pub(super) fn sequence(&self) -> u64 {
        self.next_sequence
    }

    fn entry(&self, directory: NodeId, name: &str) -> Option<Entry> {
        self.directories.get(&directory).and_then(|directory| directory.current.get(name).copied())
    }

    fn walk(&self, parts: &[&str]) -> Result<Entry, Errno> {
        parts.iter().try_fold(Entry::Directory(ROOT), |at, name| match at {
            Entry::File(_) => Err(libc::ENOTDIR),
            Entry::Directory(directory) => self.entry(directory, name).ok_or(libc::ENOENT),
        })
    }

    /// What `path` stands for.
    pub(super) fn find(&self, path: &Path) -> Result<Entry, Errno> {
        self.walk(&parts(path))
    }

    pub(super) fn directory(&self, path: &Path) -> Result<NodeId, Errno> {
        match self.find(path)? {
            Entry::Directory(directory) => Ok(directory),
            Entry::File(_) => Err(libc::ENOTDIR),
        }
    }

    pub(super) fn file(&self, path: &Path) -> Result<NodeId, Errno> {
        match self.find(path)? {
            Entry::File(file) => Ok(file),
            Entry::Directory(_) => Err(libc::EISDIR),
        }
    }

    /// The directory that `path` is in, and its last name.
    fn parent<'a>(&self, path: &'a Path) -> Result<(NodeId, &'a str), Errno> {
        let parts = parts(path);
        let (name, above) = parts.split_last().ok_or(libc::EISDIR)?;
        match self.walk(above)? {
            Entry::Directory(directory) => Ok((directory, name)),
            Entry::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn change(&mut self, edits: Vec<Edit>, removes: Option<NodeId>) {
        for edit in &edits {
            let names = self.directories.get_mut(&edit.directory).map(|directory| &mut directory.current);
            apply(names, edit);
        }
        self.changes.push(Change { sequence: self.next_sequence, edits, removes });
        self.next_sequence += 1;
    }

    /// Makes the name of a new file.
    pub(super) fn create(&mut self, path: &Path) -> Result<NodeId, Errno> {
        let (directory, name) = self.parent(path)?;
        let name = name.to_owned();
        let file = self.node();
        self.change(vec![Edit { directory, name, entry: Some(Entry::File(file)) }], None);
        Ok(file)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<(), Errno> {
        let mut directory = ROOT;
        for name in parts(path) {
            directory = match self.entry(directory, name) {
                Some(Entry::Directory(below)) => below,
                Some(Entry::File(_)) => return Err(libc::EEXIST),
                None => {
                    let below = self.node();
                    self.directories.insert(below, Directory::default());
                    let entry = Some(Entry::Directory(below));
                    self.change(vec![Edit { directory, name: name.to_owned(), entry }], None);
                    below
                }
            };
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), Errno> {
        self.file(path)?;
        let (directory, name) = self.parent(path)?;
        let name = name.to_owned();
        self.change(vec![Edit { directory, name, entry: None }], None);
        Ok(())
    }

    /// Removes bottom-up, one change a name, as the system's tools do.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> Result<(), Errno> {
        let removed = match self.directory(path) {
            Err(libc::ENOENT) => return Ok(()),
            result => result?,
        };
        let (directory, name) = self.parent(path)?;
        let name = name.to_owned();
        self.empty(removed);
        self.change(vec![Edit { directory, name, entry: None }], Some(removed));
        Ok(())
    }

    fn empty(&mut self, directory: NodeId) {
        let names = self.directories.get(&directory).map(|directory| directory.current.clone()).unwrap_or_default();
        for (name, entry) in names {
            let removes = match entry {
                Entry::File(_) => None,
                Entry::Directory(below) => {
                    self.empty(below);
                    Some(below)
                }
            };
            self.change(vec![Edit { directory, name, entry: None }], removes);
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let file = self.file(from)?;
        match self.find(to) {
            Ok(Entry::Directory(_)) => return Err(libc::EISDIR),
            Ok(entry) if entry == Entry::File(file) => return Ok(()),
            Ok(_) | Err(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let ((from_directory, from), (to_directory, to)) = (self.parent(from)?, self.parent(to)?);
        let old = Edit { directory: from_directory, name: from.to_owned(), entry: None };
        let new = Edit { directory: to_directory, name: to.to_owned(), entry: Some(Entry::File(file)) };
        self.change(vec![old, new], None);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<String>, Errno> {
        match self.directory(path) {
            Err(libc::ENOENT) => Ok(Vec::new()),
            result => result.map(|directory| self.names(directory).map(|(name, _)| name.clone()).collect()),
        }
    }

    pub(super) fn names(&self, directory: NodeId) -> impl Iterator<Item = (&String, &Entry)> {
        self.directories.get(&directory).into_iter().flat_map(|directory| &directory.current)
    }

    /// Makes the changes of a directory below `sequence` durable, and what they build on.
    pub(super) fn sync(&mut self, directory: NodeId, sequence: u64) {
        let settles = |change: &Change| {
            change.sequence < sequence && change.edits.last().is_some_and(|edit| edit.directory == directory)
        };
        let mut settled = vec![false; self.changes.len()];
        for (index, change) in self.changes.iter().enumerate().rev() {
            let needed = self.changes[index + 1..]
                .iter()
                .zip(&settled[index + 1..])
                .any(|(newer, settled)| *settled && newer.builds_on(change));
            settled[index] = needed || settles(change);
        }
        self.settle(&settled);
    }

    /// Makes those changes durable for which `chosen` has true, and keeps the others undecided.
    fn settle(&mut self, chosen: &[bool]) {
        let mut chosen = chosen.iter();
        let directories = &mut self.directories;
        self.changes.retain(|change| {
            if chosen.next() != Some(&true) {
                return true;
            }
            for edit in &change.edits {
                apply(directories.get_mut(&edit.directory).map(|directory| &mut directory.durable), edit);
            }
            false
        });
    }

    /// The names after the power went: a seeded choice for every undecided change, none without what it builds on.
    pub(super) fn crashed(&self, random: &mut Random) -> Tree {
        let survival = Survival::draw(random, self.changes.len() as u64);
        let mut kept = Vec::with_capacity(self.changes.len());
        for (index, change) in self.changes.iter().enumerate() {
            let stands = self.changes.iter().zip(&kept).all(|(older, kept)| *kept || !change.builds_on(older));
            kept.push(survival.keeps(index as u64, random) && stands);
        }
        let mut tree = self.clone();
        tree.settle(&kept);
        tree.changes.clear();
        for directory in tree.directories.values_mut() {
            directory.current = directory.durable.clone();
        }
        let reached = tree.reachable();
        tree.directories.retain(|directory, _| reached.contains(directory));
        tree
    }

    /// Every node that a name, a durable name or an undecided change leads to.
    pub(super) fn reachable(&self) -> BTreeSet<NodeId> {
        let mut reached = BTreeSet::new();
        let mut to_do = vec![Entry::Directory(ROOT)];
        to_do.extend(self.changes.iter().flat_map(|change| &change.edits).filter_map(|edit| edit.entry));
        while let Some(entry) = to_do.pop() {
            match entry {
                Entry::File(file) => {
                    reached.insert(file);
                }
                Entry::Directory(directory) if reached.insert(directory) => {
                    if let Some(directory) = self.directories.get(&directory) {
                        to_do.extend(directory.current.values().chain(directory.durable.values()));
                    }
                }
                Entry::Directory(_) => {}
            }
        }
        reached
    }

    /// Forgets the directories that are not in `reached`.
    pub(super) fn forget(&mut self, reached: &BTreeSet<NodeId>) {
        self.directories.retain(|directory, _| reached.contains(directory));
    }

    /// The files that have a name, by path.
    pub(super) fn files(&self) -> BTreeMap<String, NodeId> {
        let mut files = BTreeMap::new();
        let mut to_do = vec![(String::new(), ROOT)];
        while let Some((path, directory)) = to_do.pop() {
            for (name, entry) in self.names(directory) {
                let path = format!("{path}/{name}");
                match entry {
                    Entry::File(file) => {
                        files.insert(path, *file);
                    }
                    Entry::Directory(below) => to_do.push((path, *below)),
                }
            }
        }
        files
    }

    /// Makes every change so far durable, for what a test lays out beforehand.
    pub(super) fn settle_all(&mut self) {
        let all = vec![true; self.changes.len()];
        self.settle(&all);
    }
}

/// Edits a directory's names. A directory that is gone has none: its own removal is part of the history.
fn apply(names: Option<&mut Names>, edit: &Edit) {
    if let Some(names) = names {
        match edit.entry {
            Some(entry) => names.insert(edit.name.clone(), entry),
            None => names.remove(&edit.name),
        };
    }
}
