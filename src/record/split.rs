//! Cuts a range of a log, batches end to end, into its batches.

use bytes::Bytes;

use super::header::{BatchError, BatchHeader};

/// Cuts `bytes`, which start at a batch, into whole batches. See [`Batches`].
pub fn split_batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone(), failed: false }
}

/// The whole batches in a range of bytes, each with its header; nothing is copied, and no checksum is looked at.
///
/// It ends before a last batch that is cut short; [`Batches::rest`] then holds what there is of it, and is empty when
/// the range ended with a batch. Bytes that cannot be a batch are given as one error, and end it too.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// What is not yet given: at the end, an incomplete last batch, or all from a broken one on.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        match BatchHeader::parse(&self.rest) {
            Ok(header) if header.total_len() <= self.rest.len() => {
                Some(Ok((header, self.rest.split_to(header.total_len()))))
            }
            Ok(_) | Err(BatchError::CutShort { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BatchBuilder;

    fn three_batches() -> Vec<Bytes> {
        (0..3)
            .map(|i| {
                let mut builder = BatchBuilder::new().base_offset(i);
                builder.append(i, None, Some(&vec![7; i as usize * 100]), &[]);
                builder.build().unwrap()
            })
            .collect()
    }

    #[test]
    fn every_cut_gives_the_whole_batches_before_it() {
        let batches = three_batches();
        let all: Bytes = batches.concat().into();
        for cut in 0..=all.len() {
            let mut split = split_batches(&all.slice(..cut));
            let mut end = 0;
            for (i, batch) in batches.iter().enumerate() {
                if end + batch.len() > cut {
                    break;
                }
                let (header, bytes) = split.next().unwrap().unwrap();
                assert_eq!((header.base_offset, &bytes), (i as i64, batch));
                end += batch.len();
            }
            assert!(split.next().is_none());
            assert_eq!(split.rest(), &all.slice(end..cut));
        }
    }

    #[test]
    fn a_broken_header_is_told_once() {
        let mut all = three_batches().concat();
        let second = three_batches()[0].len();
        all[second + 16] = 1;
        let mut split = split_batches(&all.clone().into());
        assert!(split.next().unwrap().is_ok());
        assert_eq!(split.next(), Some(Err(BatchError::UnsupportedMagic(1))));
        assert_eq!(split.next(), None);
        assert_eq!(split.rest(), &all[second..]);
    }
}
