//! The files that are open, and the indexes in memory: a bounded number of them, whatever the number of partitions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::Segment;
use crate::disk::Disk;

/// The segments of one shard whose files are open. Which of them is closed for another the clock algorithm says: the
/// one that was opened first, unless it was used since it was last looked at (Corbató, 1968).
pub struct OpenFiles<D: Disk> {
    max: usize,
    open: RefCell<VecDeque<Weak<Segment<D>>>>,
}

impl<D: Disk> OpenFiles<D> {
    /// At most `max` of them, and at least one.
    pub fn new(max: usize) -> Rc<OpenFiles<D>> {
        Rc::new(OpenFiles { max: max.max(1), open: RefCell::default() })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.borrow().iter().filter(|segment| segment.upgrade().is_some_and(|one| one.has_open_file())).count()
    }

    /// A segment has opened its file: another one may have to close its own.
    pub(super) fn opened(&self, segment: Weak<Segment<D>>) {
        let mut open = self.open.borrow_mut();
        open.push_back(segment);
        while open.len() > self.max {
            let Some(oldest) = open.pop_front() else { return };
            // A segment that is gone has closed it.
            let Some(segment) = oldest.upgrade() else { continue };
            if segment.is_pinned() {
                // It goes with its readers, and there are few of these.
                continue;
            }
            if segment.take_used() {
                open.push_back(oldest);
            } else {
                segment.release();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::disk::sim::{SimDisk, SimExecutor, SimOptions};
    use crate::storage::segment::Home;

    #[test]
    fn what_was_not_used_is_closed_first_and_opens_again() {
        let executor = SimExecutor::new(1);
        let disk = SimDisk::new(&executor.clock(), 1, SimOptions::default());
        let files = OpenFiles::new(3);
        let home = Home::new(PathBuf::from("/data"), &files, false);
        let segments: Vec<_> = (0..5).map(|base| Segment::new(&home, base)).collect();
        let use_it = |index: usize| drop(executor.run_until(segments[index].file(&disk)).expect("a file"));
        let open = || segments.iter().map(|segment| segment.has_open_file()).collect::<Vec<_>>();
        for index in [0, 1, 2, 0] {
            use_it(index);
        }
        assert_eq!(open(), [true, true, true, false, false]);
        use_it(3);
        assert_eq!((files.count(), open()), (3, vec![true, false, true, true, false]), "0 was used again");
        use_it(1);
        use_it(4);
        assert_eq!(files.count(), 3);
        assert!(segments[4].has_open_file() && segments[1].has_open_file());
    }
}
