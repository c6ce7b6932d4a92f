//! Where the uncleaned part of a log begins, kept in its directory (Kafka's `cleaner-offset-checkpoint`).
//!
//! It saves work after a restart and is not needed for anything else: when it is missing or damaged, all of the log is
//! looked at again. It is written after what it says has become durable, so it never says too much.
//!
//! | `clean-point` file | bytes | |
//! | --- | --- | --- |
//! | magic | 8 | [`MAGIC`] |
//! | version | 2 | [`VERSION`] |
//! | reserved | 2 | zero |
//! | offset | 8 | the first one that is not cleaned |
//! | crc32c | 4 | over everything before it |

use std::path::Path;

use crate::disk::{ALIGNMENT, Disk, DiskBuffer, DiskFile, DiskResult, OpenMode};
use crate::vocabulary::Offset;

/// The first bytes of the file.
pub const MAGIC: [u8; 8] = *b"corelogK";
/// The version of this format.
pub const VERSION: u16 = 1;

const NAME: &str = "clean-point";
const TEMPORARY_NAME: &str = "clean-point.new";
const LEN: usize = 24;

const _: () = assert!(LEN <= ALIGNMENT);

fn encode(offset: Offset) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..20].copy_from_slice(&offset.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let bytes = bytes.first_chunk::<LEN>()?;
    let offset = Offset::from_be_bytes(*bytes[12..20].first_chunk()?);
    (*bytes == encode(offset)).then_some(offset)
}

/// Keeps the offset.
///
/// # Errors
/// Those of the disk.
pub async fn write<D: Disk>(disk: &D, directory: &Path, offset: Offset) -> DiskResult<()> {
    let temporary = directory.join(TEMPORARY_NAME);
    let file = disk.open(&temporary, OpenMode::OpenOrCreate).await?;
    let mut buffer = file.allocate(ALIGNMENT);
    buffer.bytes_mut().fill(0);
    buffer.bytes_mut()[..LEN].copy_from_slice(&encode(offset));
    file.write_at(0, buffer).await?;
    file.sync_data().await?;
    drop(file);
    disk.rename(&temporary, &directory.join(NAME)).await
}

/// The offset, if one is kept.
///
/// # Errors
/// Those of the disk.
pub async fn read<D: Disk>(disk: &D, directory: &Path) -> DiskResult<Option<Offset>> {
    let file = match disk.open(&directory.join(NAME), OpenMode::Existing).await {
        Err(error) if error.is_not_found() => return Ok(None),
        result => result?,
    };
    Ok(decode(&file.read_at(0, ALIGNMENT).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{SimDisk, SimExecutor, SimOptions};

    #[test]
    fn it_reads_back_and_a_flipped_bit_is_seen() {
        let executor = SimExecutor::new(1);
        let disk = SimDisk::new(&executor.clock(), 1, SimOptions::default());
        let directory = Path::new("/d");
        disk.install_dir(directory).unwrap();
        executor.run_until(async {
            assert_eq!(read(&disk, directory).await.unwrap(), None);
            for offset in [7, 1 << 40] {
                write(&disk, directory, offset).await.unwrap();
                assert_eq!(read(&disk, directory).await.unwrap(), Some(offset));
            }
        });
        for bit in 0..LEN * 8 {
            let mut bytes = encode(99);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None);
        }
        assert_eq!(decode(&encode(99)[..LEN - 1]), None);
    }
}
