//! The plain model that histories are held against: what was sent, what of it was acknowledged, and by which blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use corelog::disk::sim::Random;
use corelog::record::BatchHeader;
use corelog::storage::journal::block::Sequence;
use corelog::storage::recovery::Replay;
use corelog::vocabulary::{Offset, PartitionId, ShardId, TopicId};

pub const PARTITIONS: i32 = 5;
pub const DATA_DIR: &str = "/data";

pub fn partition(index: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([7; 16]), index }
}

pub fn directory(id: PartitionId) -> PathBuf {
    PathBuf::from(format!("topics/t-{}/{}", id.topic_id, id.index))
}

/// What the layer above would keep: per partition, the number of records and a hash of the batches' identities.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Folded(BTreeMap<PartitionId, (i64, u64)>);

impl Folded {
    /// A partition's state.
    pub fn of(&self, id: PartitionId) -> (i64, u64) {
        self.0.get(&id).copied().unwrap_or_default()
    }

    pub fn fold(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset) {
        let (records, hash) = self.0.entry(id).or_default();
        *records += i64::from(header.last_offset_delta) + 1;
        *hash = hash.wrapping_mul(31).wrapping_add(base_offset as u64 ^ u64::from(header.crc));
    }
}

impl Replay for Folded {
    fn directory(&self, id: PartitionId) -> Option<PathBuf> {
        Some(directory(id))
    }

    fn restore(&mut self, id: PartitionId, snapshot: &[u8]) -> Result<(), String> {
        let state = match snapshot.len() {
            0 => (0, 0),
            16 => {
                let word = |at: usize| u64::from_be_bytes(snapshot[at..at + 8].try_into().expect("eight bytes"));
                (word(0) as i64, word(8))
            }
            len => return Err(format!("a snapshot of {len} bytes")),
        };
        self.0.insert(id, state);
        Ok(())
    }

    fn apply(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset) {
        self.fold(id, header, base_offset);
    }

    fn snapshot(&self, id: PartitionId) -> Bytes {
        let (records, hash) = self.of(id);
        [records.to_be_bytes(), hash.to_be_bytes()].concat().into()
    }
}

/// A batch with `records` offsets and a payload that no other batch has.
pub fn batch(random: &mut Random, records: i32) -> Bytes {
    let payload = match random.below(10) {
        0 => 4096 + random.index(12_000),
        1..=3 => 500 + random.index(4000),
        _ => 8 + random.index(200),
    };
    let mut bytes = vec![0; 61 + payload];
    bytes[8..12].copy_from_slice(&((49 + payload) as i32).to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes[35..43].copy_from_slice(&(random.below(1000) as i64).to_be_bytes());
    bytes[57..61].copy_from_slice(&records.to_be_bytes());
    for chunk in bytes[61..].chunks_mut(8) {
        let word = random.bits().to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// The journal block that made something durable: its shard, its number there.
pub type Block = (ShardId, Sequence);

/// A batch that was sent.
#[derive(Clone)]
pub struct Sent {
    pub base_offset: Offset,
    /// As it must be read: with its place.
    pub bytes: Vec<u8>,
    pub acknowledged: bool,
    /// `None` once a recovery has found it: then it is in a segment.
    pub block: Option<Block>,
}

/// A partition.
#[derive(Clone, Default)]
pub struct Modelled {
    /// All that was ever sent, what was deleted too.
    pub sent: Vec<Sent>,
    /// Where the log starts at least: deletions up to here were acknowledged.
    pub start: Offset,
    /// The blocks that made [`Modelled::start`] durable, in this run.
    pub start_blocks: Vec<Block>,
    /// What a reader has seen ends here.
    pub seen: Offset,
    /// Where it starts at most: deletions up to here were asked for.
    pub start_asked: Offset,
}

pub type Model = Rc<RefCell<BTreeMap<i32, Modelled>>>;

/// The batches from the one that holds `offset` on.
pub fn from_offset(sent: &[Sent], offset: Offset) -> impl Iterator<Item = &Sent> {
    let from = sent.partition_point(|batch| batch.base_offset <= offset).saturating_sub(1);
    let is_before =
        move |batch: &&Sent| BatchHeader::parse(&batch.bytes).is_ok_and(|header| header.next_offset() <= offset);
    sent[from..].iter().skip_while(is_before)
}

/// Their bytes, until there are at least so many.
pub fn bytes_of<'a>(batches: impl Iterator<Item = &'a Sent>, at_least: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for batch in batches {
        if bytes.len() >= at_least {
            break;
        }
        bytes.extend_from_slice(&batch.bytes);
    }
    bytes
}

/// Whether `found` is what was sent, byte for byte. With `damage`, but for the batches' leader epochs: the format has
/// them, alone of all, in no checksum and in no order that must hold.
pub fn is_as_sent(found: &[u8], sent: &[u8], damage: bool) -> bool {
    if !damage || found == sent {
        return found == sent;
    }
    let mut masked = found.to_vec();
    let mut at = 0;
    while let (Some(epoch), Some(head)) = (masked.get_mut(at + 12..at + 16), sent.get(at..at + 16)) {
        epoch.copy_from_slice(&head[12..]);
        at += 12 + i32::from_be_bytes(head[8..12].try_into().expect("four bytes")) as usize;
    }
    masked == sent
}

/// What journal blocks prove, told without a look at their watermarks: whoever appends to a block knows what was
/// acknowledged before, and so does the block, which is written later.
#[derive(Default)]
pub struct Proofs {
    acknowledged: BTreeMap<ShardId, Sequence>,
    knows: BTreeMap<Block, Sequence>,
}

impl Proofs {
    pub fn appended(&mut self, (shard, sequence): Block) {
        let acknowledged = self.acknowledged.get(&shard).copied().unwrap_or(0);
        self.knows.insert((shard, sequence), acknowledged);
    }

    pub fn acknowledged(&mut self, (shard, sequence): Block) {
        let last = self.acknowledged.entry(shard).or_default();
        *last = sequence.max(*last);
    }

    /// The last block of the shard that one of these blocks knows to be acknowledged.
    pub fn proven(&self, shard: ShardId, whole: impl Iterator<Item = Sequence>) -> Sequence {
        whole.filter_map(|sequence| self.knows.get(&(shard, sequence)).copied()).max().unwrap_or(0)
    }
}
