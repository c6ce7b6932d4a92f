//! What one shard of the broker owns: its partitions, its copy of the metadata, its end of the mesh.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::connection::{Client, Outcome, Service};
use super::fetch_sessions::FetchSessions;
use super::groups::{self, Groups};
use super::handlers;
use super::mesh::{Mesh, ShardGone};
use crate::config::{self, BrokerConfig};
use crate::coordinator::GroupSettings;
use crate::disk::Disk;
use crate::disk::uring::UringDisk;
use crate::engine::TOPICS_DIRECTORY;
use crate::executor::heartbeat::Work;
use crate::metadata::plan::{self, PRODUCER_ID_BLOCK};
use crate::metadata::{Command, METADATA_PARTITION, MetadataError, MetadataImage, NewTopic, OFFSETS_TOPIC};
use crate::partition::Partition;
use crate::record::{BatchBuilder, BatchHeader};
use crate::storage::Storage;
use crate::storage::notify::Notify;
use crate::vocabulary::{PartitionId, ProducerId, ShardId, TopicId};

/// What every shard is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker's id (Kafka's `node.id`).
    pub node_id: i32,
    /// The host that clients are told to connect to.
    pub advertised_host: String,
    /// The port that clients are told to connect to.
    pub advertised_port: u16,
    /// Kafka's `num.partitions`.
    pub default_partitions: i32,
    /// Kafka's `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// Kafka's `delete.topic.enable`.
    pub delete_topics: bool,
    /// Kafka's `message.max.bytes`: the broker's own batches keep to it; topics have their own limit.
    pub message_bytes_max: usize,
    /// Kafka's `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Kafka's `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// Kafka's `max.incremental.fetch.session.cache.slots`: the most fetch sessions of the whole broker.
    pub fetch_sessions_max: usize,
    /// Kafka's `offsets.topic.num.partitions`.
    pub offsets_partitions: i32,
    /// Kafka's `offsets.topic.segment.bytes`.
    pub offsets_segment_bytes: i64,
    /// Those of groups and their offsets.
    pub groups: GroupSettings,
    /// All of the above and the rest, as DescribeConfigs tells it; topics have their defaults from it.
    pub config: Arc<BrokerConfig>,
}

impl Settings {
    /// The settings in a configuration. The advertised address is to be filled in.
    pub fn new(config: Arc<BrokerConfig>) -> Settings {
        // The table's bounds keep these within 32 bits.
        let int = |name| config.int(name) as i32;
        Settings {
            node_id: int("node.id"),
            advertised_host: String::new(),
            advertised_port: 0,
            default_partitions: int("num.partitions"),
            auto_create_topics: config.boolean("auto.create.topics.enable"),
            delete_topics: config.boolean("delete.topic.enable"),
            message_bytes_max: config.size("message.max.bytes"),
            request_bytes_max: config.size("socket.request.max.bytes"),
            fetch_bytes_max: config.size("fetch.max.bytes"),
            fetch_sessions_max: config.size("max.incremental.fetch.session.cache.slots"),
            offsets_partitions: int("offsets.topic.num.partitions"),
            offsets_segment_bytes: config.int("offsets.topic.segment.bytes"),
            groups: GroupSettings {
                session_timeout_min_ms: int("group.min.session.timeout.ms"),
                session_timeout_max_ms: int("group.max.session.timeout.ms"),
                initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms"),
                size_max: config.size("group.max.size"),
                offsets_retention_ms: config.int("offsets.retention.minutes") * 60_000,
                offset_metadata_max: config.size("offset.metadata.max.bytes"),
                ..GroupSettings::default()
            },
            config,
        }
    }
}

/// A connection moves to a shard only while that one has at most so many more connections than its own, or this part of
/// its own more: where all want to be on one shard, the others still carry the cost of their sockets.
const CONNECTIONS_MORE_MIN: usize = 2;
/// See [`CONNECTIONS_MORE_MIN`].
const CONNECTIONS_MORE_DIVISOR: usize = 4;

/// The partitions that a shard leads. Shared with the engine, which asks for snapshots.
pub type Partitions = Rc<RefCell<HashMap<PartitionId, Rc<Partition<UringDisk>>>>>;

/// A change of the metadata that a client asks for.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new topic.
    CreateTopic(NewTopic),
    /// The broker's own topic for committed offsets, unless it is there.
    CreateOffsetsTopic,
    /// The end of a topic.
    DeleteTopic(TopicId),
    /// Another configuration of a topic, by name.
    TopicConfig(String, config::topic::Change),
    /// More partitions: topic, new count, brokers of each new one.
    AddPartitions(String, i32, Option<Vec<Vec<i32>>>),
    /// A block of producer ids.
    ProducerIds,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] MetadataError),
    /// It could not be written.
    #[error("the metadata log takes no writes: {0}")]
    NotWritten(String),
}

/// One shard of the broker.
pub struct Broker {
    /// What it was told at start.
    pub settings: Settings,
    /// The way to the other shards.
    pub mesh: Rc<Mesh<Broker>>,
    /// Its copy of the metadata.
    pub image: RefCell<MetadataImage>,
    /// Its engine.
    pub storage: Storage<UringDisk>,
    /// The partitions that it leads and that were used so far.
    pub partitions: Partitions,
    /// The fetch sessions of its connections.
    pub fetch_sessions: RefCell<FetchSessions>,
    /// The groups that it coordinates.
    pub groups: Groups,
    /// One change of the metadata at a time; used on shard 0.
    changing: Cell<bool>,
    changed: Notify,
    /// Producer ids that this shard may give out: the next, and the end.
    producer_ids: Cell<(ProducerId, ProducerId)>,
    stopping: Cell<bool>,
    stop: Notify,
    /// Requests, and calls from other shards, that are worked on.
    work: Rc<Work>,
    /// How many connections each shard serves.
    pub connections: Arc<[AtomicUsize]>,
}

/// The directory of a partition's files, relative to the data directory.
pub fn directory(topic_name: &str, id: PartitionId) -> PathBuf {
    Path::new(TOPICS_DIRECTORY).join(format!("{topic_name}-{}", id.topic_id)).join(id.index.to_string())
}

/// The directory of the metadata log.
pub fn metadata_directory() -> PathBuf {
    directory("__cluster_metadata", METADATA_PARTITION)
}

/// 16 random bytes from the kernel.
pub fn random_id() -> TopicId {
    let mut bytes = [0; 16];
    // SAFETY: the kernel writes at most 16 bytes to the array.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(filled, 16, "getrandom gives up to 256 bytes at once, always");
    TopicId(bytes)
}

impl Broker {
    /// A shard's broker, with the metadata as it stands.
    pub fn new(
        settings: Settings,
        mesh: Rc<Mesh<Broker>>,
        image: MetadataImage,
        storage: Storage<UringDisk>,
        partitions: Partitions,
        work: Rc<Work>,
        connections: Arc<[AtomicUsize]>,
    ) -> Broker {
        let fetch_sessions = RefCell::new(FetchSessions::new(mesh.shard(), mesh.shards(), settings.fetch_sessions_max));
        Broker {
            settings,
            fetch_sessions,
            mesh,
            image: RefCell::new(image),
            storage,
            partitions,
            groups: Groups::default(),
            changing: Cell::new(false),
            changed: Notify::default(),
            producer_ids: Cell::new((0, 0)),
            stopping: Cell::new(false),
            stop: Notify::default(),
            work,
            connections,
        }
    }

    /// Runs `work` on the shard that it belongs to: at once when that is this one.
    pub async fn on<T, F>(
        self: &Rc<Self>,
        shard: ShardId,
        work: impl FnOnce(Rc<Broker>) -> F + Send + 'static,
    ) -> Result<T, ShardGone>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        if shard == self.mesh.shard() {
            return Ok(work(self.clone()).await);
        }
        self.mesh.call(shard, work).await
    }

    /// A partition that this shard leads; `None` when it does not exist or belongs to another shard.
    pub fn partition(&self, id: PartitionId) -> Option<Rc<Partition<UringDisk>>> {
        if let Some(partition) = self.partitions.borrow().get(&id) {
            return Some(partition.clone());
        }
        let image = self.image.borrow();
        let topic = image.topic_by_id(id.topic_id)?;
        let (_, owner) = topic.partition(id.index)?;
        if owner != self.mesh.shard() {
            return None;
        }
        let log = self.storage.open_log(id, &directory(&topic.name, id));
        log.set_rolling(topic.config.rolling);
        let partition = Rc::new(Partition { log, producers: RefCell::default() });
        self.partitions.borrow_mut().insert(id, partition.clone());
        Some(partition)
    }

    /// Changes the metadata, from any shard: on return every shard has applied the change.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change(self: &Rc<Self>, change: Change) -> Result<Command, ChangeError> {
        let made = self.on(ShardId(0), move |broker| async move { broker.change_here(change).await }).await;
        made.unwrap_or_else(|gone| Err(ChangeError::NotWritten(gone.to_string())))
    }

    /// On shard 0: plans, writes, applies, and has the other shards apply, one change after the other.
    async fn change_here(self: &Rc<Self>, change: Change) -> Result<Command, ChangeError> {
        while self.changing.replace(true) {
            self.changed.notified().await;
        }
        let result = self.change_alone(change).await;
        self.changing.set(false);
        self.changed.notify();
        result
    }

    async fn change_alone(self: &Rc<Self>, change: Change) -> Result<Command, ChangeError> {
        let command = self.plan(change)?;
        self.write_command(&command).await?;
        self.apply(&command).await;
        let others = (1..self.mesh.shards() as u16).map(|shard| {
            let command = command.clone();
            self.mesh.call(ShardId(shard), move |broker| async move { broker.apply(&command).await })
        });
        // All are sent before the first is waited for.
        for applied in others.collect::<Vec<_>>() {
            applied.await.map_err(|gone| ChangeError::NotWritten(gone.to_string()))?;
        }
        Ok(command)
    }

    /// On shard 0: writes a command to the metadata log; on return it is durable.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn write_command(&self, command: &Command) -> Result<(), ChangeError> {
        let not_written = |error: &dyn std::fmt::Display| ChangeError::NotWritten(error.to_string());
        let mut builder = BatchBuilder::new();
        builder.append(self.storage.disk().wall_clock_ms(), None, Some(&command.encode()), &[]);
        let batch = builder.build().map_err(|error| not_written(&error))?;
        let header = BatchHeader::parse(&batch).map_err(|error| not_written(&error))?;
        let log = self.storage.open_log(METADATA_PARTITION, &metadata_directory());
        // A topic that is deleted gives a full disk room: that must find its way into the log.
        log.set_makes_room();
        let appended = self.storage.append(&log, batch, &header, 0).map_err(|error| not_written(&error))?;
        appended.commit.durable().await.map_err(|error| not_written(&error))
    }

    fn plan(&self, change: Change) -> Result<Command, MetadataError> {
        let image = self.image.borrow();
        let node_id = self.settings.node_id;
        match change {
            Change::CreateTopic(topic) => {
                plan::create_topic(&image, &topic, random_id(), self.settings.default_partitions, node_id)
            }
            Change::CreateOffsetsTopic => match image.topic(OFFSETS_TOPIC) {
                Some(_) => Err(MetadataError::TopicExists(OFFSETS_TOPIC.into())),
                None => {
                    let (partitions, segment_bytes) =
                        (self.settings.offsets_partitions, self.settings.offsets_segment_bytes);
                    Ok(plan::create_offsets_topic(random_id(), partitions, segment_bytes))
                }
            },
            Change::DeleteTopic(id) => plan::delete_topic(image.topic_by_id(id).map(|topic| &**topic)),
            Change::TopicConfig(name, change) => plan::alter_topic_config(&image, &name, &change),
            Change::AddPartitions(name, count, assignment) => {
                plan::add_partitions(&image, &name, count, assignment.as_deref(), node_id)
            }
            Change::ProducerIds => Ok(plan::allocate_producer_ids(&image).1),
        }
    }

    async fn apply(self: &Rc<Self>, command: &Command) {
        let deleted = match command {
            Command::DeleteTopic { id } => self.image.borrow().topic_by_id(*id).map(|topic| topic.name.clone()),
            _ => None,
        };
        let gone: Vec<PartitionId> = match command {
            Command::DeleteTopic { id } => {
                let image = self.image.borrow();
                let topic = image.topic_by_id(*id);
                let ids = topic.into_iter().flat_map(|topic| {
                    (0..topic.partition_count()).map(|index| PartitionId { topic_id: topic.id, index })
                });
                ids.collect()
            }
            _ => Vec::new(),
        };
        if let Err(error) = self.image.borrow_mut().apply(command) {
            // The command was planned on an equal image: the shards' images have come apart, and guessing is worse.
            tracing::error!("{error}");
            std::process::abort();
        }
        if let Some(topic) = deleted {
            groups::load::topic_deleted(self, &topic);
        }
        if let Command::SetTopicConfig { id, .. } = command {
            self.configure_partitions(*id);
        }
        for id in gone {
            self.partitions.borrow_mut().remove(&id);
            if let Err(error) = self.storage.delete_log(id).await {
                tracing::error!("partition {id} is deleted, its files are not: {error}");
            }
        }
    }

    /// Has this shard's partitions of a topic go by its present configuration.
    fn configure_partitions(&self, topic_id: TopicId) {
        let image = self.image.borrow();
        let Some(topic) = image.topic_by_id(topic_id) else { return };
        for (id, partition) in self.partitions.borrow().iter() {
            if id.topic_id == topic_id {
                partition.log.set_rolling(topic.config.rolling);
            }
        }
    }

    /// The next producer id, never given before.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn next_producer_id(self: &Rc<Self>) -> Result<ProducerId, ChangeError> {
        loop {
            let (next, end) = self.producer_ids.get();
            if next < end {
                self.producer_ids.set((next + 1, end));
                return Ok(next);
            }
            if let Command::AllocateProducerIds { first, .. } = self.change(Change::ProducerIds).await? {
                self.producer_ids.set((first, first + PRODUCER_ID_BLOCK));
            }
        }
    }

    /// Takes no more requests.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.stop.notify();
        self.groups.stop();
    }
}

impl Service for Broker {
    fn handle(self: Rc<Self>, frame: Bytes, client: Rc<Client>) -> Pin<Box<dyn Future<Output = Outcome>>> {
        Box::pin(handlers::handle(self, frame, client))
    }

    fn frame_bytes_max(&self) -> usize {
        self.settings.request_bytes_max
    }

    fn stopping(&self) -> &Notify {
        &self.stop
    }

    fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    fn work(&self) -> &Rc<Work> {
        &self.work
    }

    fn may_move_to(&self, shard: ShardId) -> bool {
        let count = |shard: ShardId| self.connections[shard.index()].load(Ordering::Relaxed);
        let (here, there) = (count(self.mesh.shard()), count(shard));
        there <= here + (here / CONNECTIONS_MORE_DIVISOR).max(CONNECTIONS_MORE_MIN)
    }
}
