//! What a record says of itself when its delivery is measured: which run sent it, and when it was meant to be sent.

/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 16;

/// The first bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run, any number that other runs do not have.
    pub run: u64,
    /// When the record was meant to be sent, nanoseconds from the start of the load.
    pub intended_ns: u64,
}

impl Stamp {
    /// Appends the stamp.
    pub fn append(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.run.to_be_bytes());
        out.extend_from_slice(&self.intended_ns.to_be_bytes());
    }

    /// Reads the stamp of a value; `None` when the value is too short for one.
    pub fn read(value: &[u8]) -> Option<Stamp> {
        let (run, rest) = value.split_first_chunk()?;
        let intended_ns = rest.first_chunk()?;
        Some(Stamp { run: u64::from_be_bytes(*run), intended_ns: u64::from_be_bytes(*intended_ns) })
    }
}
