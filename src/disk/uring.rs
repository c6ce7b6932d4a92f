//! Direct I/O on io_uring through glommio.
//!
//! Reads and writes go through the executor's ring. Directory operations are rare and short system calls; they run on
//! glommio's blocking pool or inline where glommio does the same.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::{ALIGNMENT, Disk, DiskBuffer, DiskError, DiskFile, DiskResult, OpenMode};

/// The name of the file that [`UringDisk::start`] opens first.
const PROBE_FILE: &str = ".direct-io-probe";

/// The machine's disk, for one shard. Usable only on a glommio executor, the one that it was started on.
#[derive(Clone)]
pub struct UringDisk {
    started: Instant,
    /// Kept open: glommio decides once per device, on its first file, whether to poll for completions, and gets it
    /// wrong when that file is empty.
    _probe: Rc<DmaFile>,
}

/// A file on [`UringDisk`].
pub struct UringFile {
    file: Option<DmaFile>,
    path: PathBuf,
}

/// A buffer aligned for direct I/O.
pub struct UringBuffer(DmaBuffer);

/// Bytes read from a [`UringFile`].
pub struct UringData(Option<ReadResult>, usize);

impl std::ops::Deref for UringData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |data| &data[..self.1])
    }
}

impl DiskBuffer for UringBuffer {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_bytes_mut()
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |source| DiskError { operation, path, source }
}

/// glommio wraps the system's error in its own type, which loses the error number when converted by `Into`.
fn failed_in_ring(operation: &'static str, path: &Path) -> impl FnOnce(glommio::GlommioError<()>) -> DiskError {
    let path = path.to_path_buf();
    move |error| {
        let source = match error {
            glommio::GlommioError::EnhancedIoError { source, .. } | glommio::GlommioError::IoError(source) => source,
            other => io::Error::other(other.to_string()),
        };
        DiskError { operation, path, source }
    }
}

impl UringDisk {
    /// Opens the disk that holds `data_dir`, which must exist. The first start in a data directory must not run beside
    /// another one.
    ///
    /// # Errors
    /// When the directory's file system has no direct I/O, or the directory is not writable.
    pub async fn start(data_dir: &Path) -> DiskResult<UringDisk> {
        let path = data_dir.join(PROBE_FILE);
        // Written once, by whoever starts first and alone: glommio must never see it empty, and writing it anew beside
        // another shard's start would show it so for a moment.
        if std::fs::metadata(&path).map_or(0, |metadata| metadata.len()) != ALIGNMENT as u64 {
            std::fs::write(&path, [0u8; ALIGNMENT]).map_err(failed("write", &path))?;
        }
        let probe = OpenOptions::new().read(true).dma_open(&path).await.map_err(failed_in_ring("open", &path))?;
        if probe.alignment() > ALIGNMENT as u64 {
            let source = io::Error::other(format!(
                "the device wants direct I/O in multiples of {} bytes, more than the {ALIGNMENT} that corelog's formats have",
                probe.alignment()
            ));
            return Err(DiskError { operation: "open", path, source });
        }
        #[expect(clippy::disallowed_methods, reason = "this is the door that time comes through")]
        let started = Instant::now();
        Ok(UringDisk { started, _probe: Rc::new(probe) })
    }
}

impl Disk for UringDisk {
    type File = UringFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> DiskResult<UringFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(mode == OpenMode::OpenOrCreate)
            .dma_open(path)
            .await
            .map_err(failed_in_ring("open", path))?;
        Ok(UringFile { file: Some(file), path: path.to_path_buf() })
    }

    async fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        std::fs::rename(from, to).map_err(failed("rename", from))
    }

    async fn remove(&self, path: &Path) -> DiskResult<()> {
        let path = path.to_path_buf();
        // To free the blocks of a large file takes milliseconds.
        glommio::executor().spawn_blocking(move || std::fs::remove_file(&path).map_err(failed("remove", &path))).await
    }

    async fn remove_dir_all(&self, path: &Path) -> DiskResult<()> {
        let path = path.to_path_buf();
        let remove = move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed("remove", &path)),
        };
        glommio::executor().spawn_blocking(remove).await
    }

    async fn create_dir_all(&self, path: &Path) -> DiskResult<()> {
        std::fs::create_dir_all(path).map_err(failed("create directory", path))
    }

    async fn list(&self, path: &Path) -> DiskResult<Vec<String>> {
        let entries = match std::fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(failed("list", path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", path))?;
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    async fn sync_dir(&self, path: &Path) -> DiskResult<()> {
        let path = path.to_path_buf();
        glommio::executor()
            .spawn_blocking(move || {
                std::fs::File::open(&path).and_then(|dir| dir.sync_all()).map_err(failed("sync directory", &path))
            })
            .await
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_clock_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the door that time comes through")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    async fn sleep(&self, duration: Duration) {
        glommio::timer::sleep(duration).await;
    }
}

impl UringFile {
    fn file(&self) -> &DmaFile {
        self.file.as_ref().expect("taken only by drop")
    }
}

impl DiskFile for UringFile {
    type Buffer = UringBuffer;
    type Data = UringData;

    fn allocate(&self, len: usize) -> UringBuffer {
        assert!(len > 0 && len.is_multiple_of(ALIGNMENT));
        UringBuffer(self.file().alloc_dma_buffer(len))
    }

    async fn write_at(&self, position: u64, buffer: UringBuffer) -> DiskResult<()> {
        let buffer = Rc::new(buffer.0);
        let len = buffer.len();
        let write = self.file().write_rc_at(buffer.clone(), position);
        let mut written = write.await.map_err(failed_in_ring("write", &self.path))?;
        // A direct write is cut short when the device fails or fills in its middle; writing the rest tells which.
        while written < len {
            let done = written - written % ALIGNMENT;
            let mut rest = self.file().alloc_dma_buffer(len - done);
            rest.as_bytes_mut().copy_from_slice(&buffer.as_bytes()[done..]);
            let more = self.file().write_at(rest, position + done as u64).await;
            let more = more.map_err(failed_in_ring("write", &self.path))?;
            if done + more <= written {
                let source = io::Error::new(io::ErrorKind::WriteZero, format!("wrote {written} of {len} bytes"));
                return Err(DiskError { operation: "write", path: self.path.clone(), source });
            }
            written = done + more;
        }
        Ok(())
    }

    async fn read_at(&self, position: u64, len: usize) -> DiskResult<UringData> {
        assert!(len > 0 && len.is_multiple_of(ALIGNMENT) && position.is_multiple_of(ALIGNMENT as u64));
        let data = self.file().read_at_aligned(position, len).await.map_err(failed_in_ring("read", &self.path))?;
        let read = data.len().min(len);
        // Cut short before the end of the file, it is no end of the file.
        if read < len && position + (read as u64) < self.size().await? {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, format!("read {read} of {len} bytes"));
            return Err(DiskError { operation: "read", path: self.path.clone(), source });
        }
        Ok(UringData(Some(data), read))
    }

    async fn sync_data(&self) -> DiskResult<()> {
        self.file().fdatasync().await.map_err(failed_in_ring("sync", &self.path))
    }

    async fn preallocate(&self, len: u64) -> DiskResult<()> {
        self.file().pre_allocate(len, false).await.map_err(failed_in_ring("preallocate", &self.path))
    }

    async fn set_len(&self, len: u64) -> DiskResult<()> {
        self.file().truncate(len).await.map_err(failed_in_ring("truncate", &self.path))
    }

    async fn size(&self) -> DiskResult<u64> {
        // By the descriptor: the file may have another name by now.
        // SAFETY: the descriptor is open for as long as `self` is borrowed, and what is made of it here never closes it.
        let file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.file().as_raw_fd()) });
        file.metadata().map(|metadata| metadata.len()).map_err(failed("stat", &self.path))
    }
}

impl Drop for UringFile {
    fn drop(&mut self) {
        // glommio closes a dropped file synchronously and complains in its log; closing it in a task does neither.
        if let Some(file) = self.file.take() {
            glommio::spawn_local(async move {
                let _closed = file.close().await;
            })
            .detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Direct I/O needs a real file system: the build's own directory is on one, `/tmp` may be a tmpfs.
    fn on_disk<F: Future<Output = ()> + 'static>(test: impl FnOnce(UringDisk, PathBuf) -> F + Send + 'static) {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a temporary directory");
        let path = dir.path().to_path_buf();
        let run = move || async move {
            let disk = UringDisk::start(&path).await.expect("direct I/O");
            test(disk, path).await;
        };
        crate::executor::run("disk", run).expect("the test's task");
    }

    #[test]
    fn what_was_written_is_read_back_and_reads_stop_at_the_end() {
        on_disk(|disk, dir| async move {
            let path = dir.join("file");
            let file = disk.open(&path, OpenMode::OpenOrCreate).await.unwrap();
            let mut buffer = file.allocate(2 * ALIGNMENT);
            buffer.bytes_mut()[..ALIGNMENT].fill(0);
            buffer.bytes_mut()[ALIGNMENT..].fill(7);
            file.write_at(ALIGNMENT as u64, buffer).await.unwrap();
            file.sync_data().await.unwrap();
            assert_eq!(file.size().await.unwrap(), 3 * ALIGNMENT as u64);

            file.set_len(3 * ALIGNMENT as u64 - 96).await.unwrap();
            let data = file.read_at(ALIGNMENT as u64, 4 * ALIGNMENT).await.unwrap();
            assert_eq!(data.len(), 2 * ALIGNMENT - 96);
            assert!(data[..ALIGNMENT].iter().all(|&byte| byte == 0));
            assert!(data[ALIGNMENT..].iter().all(|&byte| byte == 7));
            assert_eq!(file.read_at(8 * ALIGNMENT as u64, ALIGNMENT).await.unwrap().len(), 0);
        });
    }

    #[test]
    fn preallocated_space_reads_as_zero() {
        on_disk(|disk, dir| async move {
            let file = disk.open(&dir.join("file"), OpenMode::OpenOrCreate).await.unwrap();
            file.preallocate(64 << 10).await.unwrap();
            let data = file.read_at(0, 64 << 10).await.unwrap();
            assert_eq!(data.len(), 64 << 10);
            assert!(data.iter().all(|&byte| byte == 0));
        });
    }

    #[test]
    fn errors_name_the_operation_and_the_file() {
        on_disk(|disk, dir| async move {
            let path = dir.join("absent");
            let error = disk.open(&path, OpenMode::Existing).await.err().expect("there is no such file");
            assert!(error.is_not_found(), "{error}");
            assert!(error.to_string().starts_with(&format!("open {}: ", path.display())), "{error}");
        });
    }

    #[test]
    fn an_open_file_is_read_to_its_end_whatever_its_name_is_now() {
        on_disk(|disk, dir| async move {
            let file = disk.open(&dir.join("before"), OpenMode::OpenOrCreate).await.unwrap();
            let mut buffer = file.allocate(ALIGNMENT);
            buffer.bytes_mut().fill(7);
            file.write_at(0, buffer).await.unwrap();
            file.set_len(100).await.unwrap();
            disk.rename(&dir.join("before"), &dir.join("after")).await.unwrap();
            assert_eq!(file.size().await.unwrap(), 100);
            assert_eq!(file.read_at(0, ALIGNMENT).await.unwrap()[..], [7; 100]);
        });
    }

    #[test]
    fn directories_are_made_listed_and_removed() {
        on_disk(|disk, dir| async move {
            let below = dir.join("a").join("b");
            disk.create_dir_all(&below).await.unwrap();
            for name in ["2", "1"] {
                drop(disk.open(&below.join(name), OpenMode::OpenOrCreate).await.unwrap());
            }
            disk.rename(&below.join("2"), &below.join("3")).await.unwrap();
            disk.sync_dir(&below).await.unwrap();
            assert_eq!(disk.list(&below).await.unwrap(), ["1", "3"]);
            disk.remove(&below.join("1")).await.unwrap();
            assert_eq!(disk.list(&below).await.unwrap(), ["3"]);
            disk.remove_dir_all(&dir.join("a")).await.unwrap();
            disk.remove_dir_all(&dir.join("a")).await.unwrap();
            assert!(disk.list(&below).await.unwrap().is_empty());
        });
    }
}
