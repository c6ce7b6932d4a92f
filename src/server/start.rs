//! From a data directory to running shards, and back down again.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::broker::{Broker, Partitions, Settings, directory, metadata_directory, random_id};
use super::connection::{self, Handover, Served};
use super::listener::{self, Control, Controls};
use super::mesh::{Inbox, Mesh, Outboxes, queues};
use crate::disk::lock::{DataDirLock, LockError};
use crate::disk::uring::UringDisk;
use crate::disk::{Disk, DiskError};
use crate::engine::{PARTITIONS_DIRECTORY, TOPICS_DIRECTORY};
use crate::executor::heartbeat::{self, Pulse, Work};
use crate::executor::{self, Executor, ExecutorError};
use crate::metadata::command::CommandError;
use crate::metadata::image::ApplyError;
use crate::metadata::{Command, METADATA_PARTITION, MetadataImage};
use crate::partition::Partition;
use crate::partition::producers::Producers;
use crate::record::{BatchHeader, records, split_batches};
use crate::storage::recovery::{Recovery, RecoveryError, Replay, ShardSeed};
use crate::storage::{Storage, StorageOptions};
use crate::vocabulary::{Offset, PartitionId};

/// How long connections have to end once the broker stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Locked memory that one shard needs, for its rings and buffers.
const LOCKED_BYTES_PER_SHARD: u64 = 1 << 20;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; made when it does not exist.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What clients are told; `None` for the listening address.
    pub advertised: Option<(String, u16)>,
    /// How many shards.
    pub shards: usize,
    /// The engine's bounds.
    pub storage: StorageOptions,
    /// The most open connections.
    pub connections_max: usize,
    /// The rest; its advertised address is filled in.
    pub settings: Settings,
    /// Start although acknowledged records are missing from the journal.
    pub accept_journal_damage: bool,
}

/// Why the broker did not start, in one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or opened.
    #[error("data directory {}: {source}; choose another with --data-dir, or give this user the right to write it", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another corelog; stop that one, or choose another with --data-dir", .0.display())]
    Locked(PathBuf),
    /// A program that uses the engine as a library made it.
    #[error("data directory {} is not a broker's: a program made it with corelog's engine; choose another with --data-dir", .0.display())]
    NotABrokers(PathBuf),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// More shards than cores.
    #[error("--shards {wanted}: there are {cores} cores, and each shard needs one of its own; use 1 to {cores}")]
    Shards {
        /// What was asked for.
        wanted: usize,
        /// How many cores there are.
        cores: usize,
    },
    /// RLIMIT_MEMLOCK.
    #[error("the limit on locked memory is {limit} bytes, {needed} are needed; raise it: ulimit -l {}", needed / 1024)]
    LockedMemory {
        /// The limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// No io_uring.
    #[error(
        "io_uring is not available: {0}; corelog needs Linux 5.8 or newer with kernel.io_uring_disabled = 0, and in a container a seccomp profile that allows io_uring"
    )]
    NoUring(std::io::Error),
    /// An executor did not start.
    #[error("a shard did not start: {0}")]
    Executor(#[from] ExecutorError),
    /// A shard that runs cannot serve.
    #[error("a shard did not start: {0}")]
    Shard(String),
    /// The data directory has no direct I/O.
    #[error(
        "{0}; corelog needs a file system with direct I/O (O_DIRECT), such as ext4 or XFS: choose another place with --data-dir"
    )]
    NoDirectIo(DiskError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The data cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The metadata log does not hold what was written to it.
    #[error("the metadata log is damaged: {0}; restore the data directory from a copy")]
    Metadata(String),
}

impl From<ApplyError> for StartError {
    fn from(error: ApplyError) -> StartError {
        StartError::Metadata(error.to_string())
    }
}

impl From<CommandError> for StartError {
    fn from(error: CommandError) -> StartError {
        StartError::Metadata(error.to_string())
    }
}

/// A broker that runs.
pub struct Running {
    /// Where it listens, with the real port.
    pub address: SocketAddr,
    controls: Vec<Controls>,
    shards: Vec<Executor<Result<(), String>>>,
    listener: Arc<TcpListener>,
    accepting: std::thread::JoinHandle<()>,
    stopped: Arc<AtomicBool>,
    /// Held as long as the broker runs.
    _lock: DataDirLock,
}

/// What recovery rebuilds besides the logs.
struct Recovered {
    image: MetadataImage,
    producers: BTreeMap<PartitionId, Producers>,
}

impl Replay for Recovered {
    fn directory(&self, id: PartitionId) -> Option<PathBuf> {
        if id == METADATA_PARTITION {
            return Some(metadata_directory());
        }
        let topic = self.image.topic_by_id(id.topic_id)?;
        topic.partition(id.index).map(|_| directory(&topic.name, id))
    }

    fn restore(&mut self, id: PartitionId, snapshot: &[u8]) -> Result<(), String> {
        let producers = Producers::restore(snapshot).ok_or("its checkpointed producers are unreadable")?;
        self.producers.insert(id, producers);
        Ok(())
    }

    fn apply(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset) {
        self.producers.entry(id).or_default().appended(header, base_offset, header.max_timestamp);
    }

    fn snapshot(&self, id: PartitionId) -> Bytes {
        self.producers.get(&id).map(Producers::snapshot).unwrap_or_default()
    }
}

/// What goes from recovery to the shards.
struct Found {
    seeds: Vec<ShardSeed>,
    commands: Vec<Command>,
    /// A new cluster's id: all shards apply it, shard 0 writes it to the metadata log before it serves.
    naming: Option<Command>,
    producers: BTreeMap<PartitionId, Producers>,
}

/// Starts the broker. On return it serves.
///
/// # Errors
/// See [`StartError`].
pub fn start(options: Options) -> Result<Running, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if options.shards == 0 || options.shards > cores {
        return Err(StartError::Shards { wanted: options.shards, cores });
    }
    let lock = lock(&options.data_dir)?;
    check_locked_memory(options.shards)?;
    check_uring()?;
    let listener =
        listener::listen(options.listen).map_err(|source| StartError::Listen { address: options.listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: options.listen, source })?;

    let found = {
        let options = options.clone();
        executor::run("recovery", move || async move { recover(&options).await })??
    };
    let mut settings = options.settings.clone();
    (settings.advertised_host, settings.advertised_port) =
        options.advertised.clone().unwrap_or_else(|| (address.ip().to_string(), address.port()));

    let pulses: Vec<Arc<Pulse>> = (0..options.shards).map(|_| Arc::default()).collect();
    let (outboxes, inboxes) = queues::<Broker>(&pulses);
    let open = Arc::new(AtomicUsize::new(0));
    let drained = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    let (ready, readiness) = flume::unbounded();
    let (controls, receivers): (Vec<Controls>, Vec<_>) = pulses.iter().cloned().map(Controls::new).unzip();
    let connections: Arc<[AtomicUsize]> = pulses.iter().map(|_| AtomicUsize::new(0)).collect();
    let mut shards = Vec::new();
    let mut producers = found.producers;
    for (((seed, inbox), receiver), pulse) in found.seeds.into_iter().zip(inboxes).zip(receivers).zip(&pulses) {
        let mine = seed.logs.iter().filter_map(|log| Some((log.id, producers.remove(&log.id)?))).collect();
        let shard = Shard {
            data_dir: options.data_dir.clone(),
            settings: settings.clone(),
            storage: options.storage.clone(),
            commands: found.commands.clone(),
            naming: found.naming.clone(),
            producers: mine,
            shards: options.shards,
            outboxes: outboxes.clone(),
            controls: controls.clone(),
            connections: connections.clone(),
            open: open.clone(),
            drained: drained.clone(),
            pulse: pulse.clone(),
        };
        let ready = ready.clone();
        let index = usize::from(seed.shard.0);
        let name = format!("shard-{index}");
        shards.push(executor::spawn(Some(index), &name, move || shard.run(seed, inbox, receiver, ready))?);
    }
    drop(ready);
    let watching = stopped.clone();
    std::thread::spawn(move || heartbeat::watch(&pulses, &watching));
    for _ in 0..options.shards {
        match readiness.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(StartError::Shard(error)),
            Err(_) => return Err(ExecutorError::Panicked.into()),
        }
    }
    let listener = Arc::new(listener);
    let accepting = {
        let (listener, controls, open) = (listener.clone(), controls.clone(), open.clone());
        std::thread::spawn(move || listener::accept(&listener, &controls, &open, options.connections_max))
    };
    Ok(Running { address, controls, shards, listener, accepting, stopped, _lock: lock })
}

impl Running {
    /// Stops: takes no more connections and requests, answers what is in flight, closes journals and segments.
    ///
    /// # Errors
    /// What a shard could not do; what was acknowledged is in its journal all the same.
    pub fn stop(self) -> Result<(), String> {
        listener::shut_down(&self.listener);
        // The thread ends by itself once the socket is shut down, and has nothing to say.
        let _ended = self.accepting.join();
        for control in &self.controls {
            control.tell(Control::Stop);
        }
        let mut result = Ok(());
        for shard in self.shards {
            match shard.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(error),
                Err(error) => result = Err(error.to_string()),
            }
        }
        self.stopped.store(true, Ordering::Relaxed);
        result
    }
}

fn lock(data_dir: &Path) -> Result<DataDirLock, StartError> {
    let lock = DataDirLock::take(data_dir).map_err(|error| match error {
        LockError::InUse(path) => StartError::Locked(path),
        LockError::Unusable { path, source } => StartError::DataDir { path, source },
    })?;
    if data_dir.join(PARTITIONS_DIRECTORY).is_dir() {
        return Err(StartError::NotABrokers(data_dir.to_path_buf()));
    }
    Ok(lock)
}

fn check_locked_memory(shards: usize) -> Result<(), StartError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the struct that it is given.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    let needed = LOCKED_BYTES_PER_SHARD * shards as u64;
    if read == 0 && limit.rlim_cur < needed {
        return Err(StartError::LockedMemory { limit: limit.rlim_cur, needed });
    }
    Ok(())
}

/// Asks the kernel for a ring, and gives it back.
fn check_uring() -> Result<(), StartError> {
    // The kernel's io_uring_params: 120 bytes, all zero for defaults.
    let mut params = [0u8; 120];
    // SAFETY: io_uring_setup reads and writes 120 bytes at the pointer, and returns a new descriptor or an error.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    if ring < 0 {
        return Err(StartError::NoUring(std::io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was opened above and is nobody else's.
    unsafe { libc::close(ring as i32) };
    Ok(())
}

async fn recover(options: &Options) -> Result<Found, StartError> {
    let disk = UringDisk::start(&options.data_dir).await.map_err(|error| {
        if error.source.raw_os_error() == Some(libc::EINVAL) { StartError::NoDirectIo(error) } else { error.into() }
    })?;
    let mut recovered = Recovered {
        image: MetadataImage::with_config(options.shards, options.settings.config.clone()),
        producers: BTreeMap::new(),
    };
    let segment_bytes = options.storage.segment_bytes;
    let mut recovery =
        Recovery::open(disk.clone(), &options.data_dir, segment_bytes, options.accept_journal_damage).await?;
    recovery.replay(|id| id == METADATA_PARTITION, &mut recovered).await?;
    let mut commands = Vec::new();
    if let Some(log) = recovery.log(METADATA_PARTITION) {
        let damaged = |error: &dyn std::fmt::Display| StartError::Metadata(error.to_string());
        let mut offset = log.start();
        while offset < log.durable().offset {
            let bytes = log.read(&disk, offset, 1 << 20).await.map_err(|error| damaged(&error))?.to_bytes();
            for batch in split_batches(&bytes) {
                let (header, batch) = batch.map_err(|error| damaged(&error))?;
                for record in records(&batch).map_err(|error| damaged(&error))? {
                    let record = record.map_err(|error| damaged(&error))?;
                    let command = Command::decode(&record.value.unwrap_or_default())?;
                    recovered.image.apply(&command)?;
                    commands.push(command);
                }
                offset = header.next_offset();
            }
        }
    }
    recovery.replay(|_| true, &mut recovered).await?;
    // Its name is durable when recovery is finished, before the first append: it says whose the directory is.
    disk.create_dir_all(&options.data_dir.join(TOPICS_DIRECTORY)).await?;
    remove_deleted(&disk, &options.data_dir, &recovered).await?;
    let image = recovered.image.clone();
    let unnamed = image.cluster_id().is_none();
    let naming = unnamed.then(|| Command::SetClusterId { cluster_id: random_id().to_base64() });
    let seeds = recovery.finish(options.shards, |id| image.owner(id), &recovered).await?;
    Ok(Found { seeds, commands, naming, producers: recovered.producers })
}

/// Removes what a deletion that a crash interrupted has left.
async fn remove_deleted(disk: &UringDisk, data_dir: &Path, recovered: &Recovered) -> Result<(), DiskError> {
    let topics = data_dir.join(TOPICS_DIRECTORY);
    for name in disk.list(&topics).await? {
        let id =
            name.len().checked_sub(22).and_then(|at| name.get(at..)).and_then(crate::vocabulary::TopicId::from_base64);
        let Some(id) = id else { continue };
        if id != METADATA_PARTITION.topic_id && recovered.image.topic_by_id(id).is_none() {
            disk.remove_dir_all(&topics.join(name)).await?;
        }
    }
    Ok(())
}

/// What one shard takes along to its thread.
struct Shard {
    data_dir: PathBuf,
    settings: Settings,
    storage: StorageOptions,
    commands: Vec<Command>,
    naming: Option<Command>,
    producers: BTreeMap<PartitionId, Producers>,
    shards: usize,
    outboxes: Outboxes<Broker>,
    controls: Vec<Controls>,
    /// How many connections each shard serves.
    connections: Arc<[AtomicUsize]>,
    /// How many there are in the whole broker, those on their way to a shard too.
    open: Arc<AtomicUsize>,
    drained: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
}

impl Shard {
    async fn run(
        self,
        seed: ShardSeed,
        inbox: Inbox<Broker>,
        control: flume::Receiver<Control>,
        ready: flume::Sender<Result<(), String>>,
    ) -> Result<(), String> {
        let work = Rc::new(Work::new(self.pulse.clone()));
        heartbeat::begin(&work).await;
        let served = self.serve(seed, inbox, control, ready, &work).await;
        heartbeat::end(&work);
        served
    }

    async fn serve(
        self,
        seed: ShardSeed,
        inbox: Inbox<Broker>,
        control: flume::Receiver<Control>,
        ready: flume::Sender<Result<(), String>>,
        work: &Rc<Work>,
    ) -> Result<(), String> {
        let (drained, shards, open) = (self.drained.clone(), self.shards, self.open.clone());
        let controls: Rc<[Controls]> = self.controls.clone().into();
        let starting = work.begin();
        let started = self.start(seed, inbox, work.clone()).await;
        let broker = match started {
            Ok(broker) => broker,
            Err(error) => {
                // Nobody listens when another shard has failed before.
                let _unheard = ready.send(Err(error.clone()));
                return Err(error);
            }
        };
        let _unheard = ready.send(Ok(()));
        drop(ready);
        drop(starting);
        while let Ok(told) = control.recv_async().await {
            work.taken();
            let handover = match told {
                Control::Stop => break,
                Control::Connection(handover) => handover,
                Control::Moved(handover, session) => {
                    if let Some((id, session)) = session {
                        let now = broker.storage.disk().monotonic();
                        broker.fetch_sessions.borrow_mut().adopt(id, session, now);
                    }
                    handover
                }
            };
            let connection = serve_connection(broker.clone(), handover, controls.clone(), open.clone());
            glommio::spawn_local(connection).detach();
        }
        let _stopping = work.begin();
        broker.stop();
        let mut patience = STOP_PATIENCE;
        let pause = Duration::from_millis(2);
        let mine = &broker.connections[broker.mesh.shard().index()];
        while mine.load(Ordering::Relaxed) > 0 && !patience.is_zero() {
            glommio::timer::sleep(pause).await;
            patience = patience.saturating_sub(pause);
        }
        // The other shards' requests may still need this one.
        drained.fetch_add(1, Ordering::SeqCst);
        while drained.load(Ordering::SeqCst) < shards {
            glommio::timer::sleep(pause).await;
        }
        broker.storage.shutdown().await.map_err(|error| error.to_string())
    }

    async fn start(self, seed: ShardSeed, inbox: Inbox<Broker>, work: Rc<Work>) -> Result<Rc<Broker>, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let disk = UringDisk::start(&self.data_dir).await.map_err(|error| failed(&error))?;
        let mut image = MetadataImage::with_config(self.shards, self.settings.config.clone());
        for command in self.commands.iter().chain(&self.naming) {
            image.apply(command).map_err(|error| failed(&error))?;
        }
        let partitions: Partitions = Rc::new(RefCell::new(HashMap::new()));
        let snapshots = {
            let partitions = partitions.clone();
            Rc::new(move |id: PartitionId| {
                let partitions = partitions.borrow();
                partitions.get(&id).map(|partition| partition.producers.borrow().snapshot()).unwrap_or_default()
            })
        };
        let shard = seed.shard;
        let ids: Vec<(PartitionId, PathBuf)> = seed.logs.iter().map(|log| (log.id, log.directory.clone())).collect();
        let (storage, loops) = Storage::start(disk, &self.data_dir, self.storage, seed, snapshots)
            .await
            .map_err(|error| failed(&error))?;
        let mut producers = self.producers;
        for (id, directory) in ids {
            let log = storage.open_log(id, &directory);
            if let Some(topic) = image.topic_by_id(id.topic_id) {
                log.set_rolling(topic.config.rolling);
            }
            let producers = RefCell::new(producers.remove(&id).unwrap_or_default());
            partitions.borrow_mut().insert(id, Rc::new(Partition { log, producers }));
        }
        for future in loops {
            glommio::spawn_local(future).detach();
        }
        let mesh = Rc::new(Mesh::new(shard, self.outboxes, work.clone()));
        let (settings, connections) = (self.settings, self.connections);
        let broker = Broker::new(settings, mesh.clone(), image, storage, partitions, work, connections);
        let broker = Rc::new(broker);
        glommio::spawn_local(mesh.serve(inbox, broker.clone())).detach();
        if let Some(naming) = self.naming.filter(|_| shard.0 == 0) {
            broker.write_command(&naming).await.map_err(|error| failed(&error))?;
        }
        super::groups::run(&broker);
        super::retention::run(&broker);
        super::compaction::run(&broker);
        Ok(broker)
    }
}

/// Serves a connection on this shard until it ends or moves to another one.
async fn serve_connection(broker: Rc<Broker>, handover: Handover, controls: Rc<[Controls]>, open: Arc<AtomicUsize>) {
    let mine = &broker.connections[broker.mesh.shard().index()];
    mine.fetch_add(1, Ordering::Relaxed);
    match connection::serve(handover, broker.clone()).await {
        Served::Closed => {
            open.fetch_sub(1, Ordering::Relaxed);
        }
        Served::Moved(shard, handover, client) => {
            let id = client.fetch_session.get();
            let session = broker.fetch_sessions.borrow_mut().take(id).map(|session| (id, session));
            controls[shard.index()].tell(Control::Moved(handover, session));
        }
    }
    mine.fetch_sub(1, Ordering::Relaxed);
}
