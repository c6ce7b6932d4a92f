//! The broker's versions, the topic and who leads its partitions.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use corelog::protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest};
use corelog::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use corelog::protocol::messages::delete_topics::DeleteTopicsRequest;
use corelog::protocol::messages::find_coordinator::FindCoordinatorRequest;
use corelog::protocol::messages::init_producer_id::InitProducerIdRequest;
use corelog::protocol::messages::list_offsets::{
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use corelog::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use corelog::protocol::{ApiKey, ErrorCode, Request};

use super::control::Control;
use crate::clock;

/// The last versions that name topics, and one group or key; later ones have ids or lists instead, or change nothing that
/// matters here.
const NEWEST: &[(ApiKey, i16)] = &[
    (ApiKey::Produce, 12),
    (ApiKey::Fetch, 12),
    (ApiKey::ListOffsets, 7),
    (ApiKey::Metadata, 12),
    (ApiKey::OffsetCommit, 8),
    (ApiKey::OffsetFetch, 7),
    (ApiKey::FindCoordinator, 3),
    (ApiKey::CreateTopics, 7),
    (ApiKey::InitProducerId, 4),
    (ApiKey::DeleteTopics, 5),
];
/// How long a new topic, or a broker that has just started, may take until it serves.
const LEADERS_DEADLINE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Kafka's errors that pass while leaders and coordinators come up: there the same is asked again.
const PASSING_ERRORS: &[ErrorCode] = &[
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotCoordinator,
];

/// Asks until the answer is none that passes, or the deadline has passed; the last answer then.
fn until_settled<T>(mut ask: impl FnMut() -> anyhow::Result<(ErrorCode, T)>) -> anyhow::Result<(ErrorCode, T)> {
    let end = clock::now() + LEADERS_DEADLINE;
    loop {
        let (error, answer) = ask()?;
        if !PASSING_ERRORS.contains(&error) || clock::now() > end {
            return Ok((error, answer));
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// A topic as it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The address of each partition's leader, by partition.
    pub leaders: Vec<SocketAddr>,
}

/// The connection to a cluster, through one of its brokers.
pub struct Cluster {
    control: Control,
    address: SocketAddr,
    versions: Vec<ApiVersion>,
}

impl Cluster {
    /// Connects to the first of the comma-separated `bootstrap` addresses that answers, and asks for its versions.
    ///
    /// # Errors
    /// When none is a broker.
    pub fn connect(bootstrap: &str) -> anyhow::Result<Cluster> {
        let mut last = None;
        for name in bootstrap.split(',').map(str::trim) {
            let addresses = name.to_socket_addrs();
            let addresses = addresses.with_context(|| format!("--bootstrap {name} is no HOST:PORT that is known"))?;
            for address in addresses {
                match Control::connect(address).and_then(|control| Cluster::greet(control, address)) {
                    Ok(cluster) => return Ok(cluster),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("--bootstrap {bootstrap} names no broker")))
    }

    fn greet(mut control: Control, address: SocketAddr) -> anyhow::Result<Cluster> {
        // Version 0, which every broker answers.
        let response = control.call(0, &ApiVersionsRequest::default())?;
        ensure!(response.error_code.is_ok(), "ApiVersions: {}", response.error_code.name());
        Ok(Cluster { control, address, versions: response.api_keys })
    }

    /// The broker that was connected to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The APIs that it serves, and in which versions.
    pub fn versions(&self) -> &[ApiVersion] {
        &self.versions
    }

    /// The version of an API that this client speaks with the broker: the newest that both know.
    ///
    /// # Errors
    /// When there is none.
    pub fn version(&self, key: ApiKey) -> anyhow::Result<i16> {
        let served = self.versions.iter().find(|served| served.api_key == key.code());
        let served = served.with_context(|| format!("the broker does not serve {key}"))?;
        let newest =
            NEWEST.iter().find(|(known, _)| *known == key).map_or(*key.versions().end(), |(_, newest)| *newest);
        let version = served.max_version.min(newest);
        ensure!(
            version >= served.min_version && key.supports(version),
            "the broker serves {key} in versions {} to {}, this client speaks {} to {newest}",
            served.min_version,
            served.max_version,
            key.versions().start()
        );
        Ok(version)
    }

    fn call<R: Request>(&mut self, request: &R) -> anyhow::Result<R::Response> {
        let version = self.version(R::KEY)?;
        self.control.call(version, request)
    }

    fn metadata(&mut self, topic: &str) -> anyhow::Result<MetadataResponse> {
        let topic = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        self.call(&MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        })
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// When this one does not tell.
    pub fn brokers(&mut self) -> anyhow::Result<usize> {
        let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        Ok(self.call(&none)?.brokers.len())
    }

    /// The topic, which must exist.
    ///
    /// # Errors
    /// When it does not, or a partition has no leader.
    pub fn topic(&mut self, name: &str) -> anyhow::Result<Topic> {
        match self.find_topic(name)? {
            Some(topic) => Ok(topic),
            None => bail!("topic '{name}' does not exist"),
        }
    }

    /// The topic; created, with `partitions` (1 when not told) and `replicas`, when it does not exist.
    ///
    /// # Errors
    /// When it cannot be created, or has another number of partitions than asked for.
    pub fn topic_or_create(&mut self, name: &str, partitions: Option<u32>, replicas: i16) -> anyhow::Result<Topic> {
        if let Some(topic) = self.find_topic(name)? {
            if let Some(partitions) = partitions {
                let there = topic.leaders.len();
                ensure!(
                    there == partitions as usize,
                    "topic '{name}' exists with {there} partitions, not the {partitions} of --partitions"
                );
            }
            return Ok(topic);
        }
        let num_partitions = i32::try_from(partitions.unwrap_or(1)).context("that many partitions")?;
        let topic =
            CreatableTopic { name: name.into(), num_partitions, replication_factor: replicas, ..Default::default() };
        let response = self.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let result = response.topics.first().context("an empty answer to CreateTopics")?;
        // Somebody else may have been faster.
        if !matches!(result.error_code, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
            let message = result.error_message.as_deref().unwrap_or_default();
            bail!("topic '{name}' cannot be created: {} {message}", result.error_code.name());
        }
        let end = clock::now() + LEADERS_DEADLINE;
        let created = loop {
            match self.find_topic(name) {
                Ok(Some(topic)) if topic.leaders.len() == num_partitions as usize => break topic,
                Ok(_) if clock::now() > end => bail!("topic '{name}' was created and is not there"),
                Err(error) if clock::now() > end => return Err(error),
                _ => std::thread::sleep(POLL_EVERY),
            }
        };
        // The metadata may name leaders that do not know it yet; one that tells an offset serves.
        self.offsets(&created, LATEST_TIMESTAMP)?;
        Ok(created)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the broker refuses, or the topic does not exist.
    pub fn delete_topic(&mut self, name: &str) -> anyhow::Result<()> {
        let request = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 30_000, ..Default::default() };
        let response = self.call(&request)?;
        let result = response.responses.first().context("an empty answer to DeleteTopics")?;
        ensure!(result.error_code.is_ok(), "topic '{name}' cannot be deleted: {}", result.error_code.name());
        Ok(())
    }

    /// The topic; `None` when it does not exist.
    fn find_topic(&mut self, name: &str) -> anyhow::Result<Option<Topic>> {
        let metadata = self.metadata(name)?;
        let found = metadata.topics.first().context("an empty answer to Metadata")?;
        match found.error_code {
            ErrorCode::None => {}
            ErrorCode::UnknownTopicOrPartition => return Ok(None),
            error => bail!("topic '{name}': {}", error.name()),
        }
        let mut leaders: Vec<Option<SocketAddr>> = vec![None; found.partitions.len()];
        for partition in &found.partitions {
            let index = partition.partition_index;
            let leader = metadata.brokers.iter().find(|broker| broker.node_id == partition.leader_id);
            let leader = leader.with_context(|| format!("partition {index} of topic '{name}' has no leader"))?;
            let host = (leader.host.as_str(), u16::try_from(leader.port)?);
            let resolve = || format!("the broker tells clients to connect to {}:{}", leader.host, leader.port);
            let address = host.to_socket_addrs().with_context(resolve)?.next().with_context(resolve)?;
            *leaders.get_mut(usize::try_from(index)?).context("partitions that leave one out")? = Some(address);
        }
        let leaders: Option<Vec<SocketAddr>> = leaders.into_iter().collect();
        let leaders = leaders.context("the metadata names a partition twice")?;
        Ok(Some(Topic { name: name.to_owned(), leaders }))
    }

    /// A producer id and its epoch.
    ///
    /// # Errors
    /// When the broker gives none.
    pub fn producer_id(&mut self) -> anyhow::Result<(i64, i16)> {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let (error, response) = until_settled(|| {
            let response = self.call(&request)?;
            Ok((response.error_code, response))
        })?;
        ensure!(error.is_ok(), "InitProducerId: {}", error.name());
        Ok((response.producer_id, response.producer_epoch))
    }

    /// The coordinator of a group or a transactional id; `kind` says of which, as in
    /// [`find_coordinator`](corelog::protocol::messages::find_coordinator).
    ///
    /// # Errors
    /// When there is none.
    pub fn coordinator(&mut self, key: &str, kind: i8) -> anyhow::Result<SocketAddr> {
        let request = FindCoordinatorRequest { key: key.into(), key_type: kind, ..Default::default() };
        let (error, response) = until_settled(|| {
            let response = self.call(&request)?;
            Ok((response.error_code, response))
        })?;
        ensure!(error.is_ok(), "the coordinator of '{key}': {}", error.name());
        let (host, port) = (response.host.as_str(), u16::try_from(response.port)?);
        let resolve = || format!("the coordinator of '{key}' is said to be at {host}:{port}");
        (host, port).to_socket_addrs().with_context(resolve)?.next().with_context(resolve)
    }

    /// An offset of each of the topic's partitions: the one that `timestamp` stands for, as in
    /// [`list_offsets`](corelog::protocol::messages::list_offsets).
    ///
    /// # Errors
    /// When a partition's leader does not tell it.
    pub fn offsets(&mut self, topic: &Topic, timestamp: i64) -> anyhow::Result<Vec<i64>> {
        let version = self.version(ApiKey::ListOffsets)?;
        let mut offsets = vec![None; topic.leaders.len()];
        for (address, partitions) in by_leader(topic, 0..topic.leaders.len()) {
            let wanted = |&index: &usize| ListOffsetsPartition {
                partition_index: index as i32,
                timestamp,
                ..Default::default()
            };
            let wanted = partitions.iter().map(wanted).collect();
            let asked = ListOffsetsTopic { name: topic.name.as_str().into(), partitions: wanted };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![asked], ..Default::default() };
            let mut leader = Control::connect(address)?;
            let (_, response) = until_settled(|| {
                let response = leader.call(version, &request)?;
                let mut errors = response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
                Ok((errors.find(|error| PASSING_ERRORS.contains(error)).unwrap_or_default(), response))
            })?;
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let index = partition.partition_index;
                let error = partition.error_code;
                ensure!(error.is_ok(), "offsets of partition {index} of '{}': {}", topic.name, error.name());
                *offsets.get_mut(usize::try_from(index)?).context("a partition that was not asked for")? =
                    Some(partition.offset);
            }
        }
        offsets.into_iter().collect::<Option<_>>().context("an answer to ListOffsets that leaves partitions out")
    }
}

/// The partitions by the leader that has them, leaders in the order of their first partition.
pub fn by_leader(topic: &Topic, partitions: impl IntoIterator<Item = usize>) -> Vec<(SocketAddr, Vec<usize>)> {
    let mut leaders: Vec<(SocketAddr, Vec<usize>)> = Vec::new();
    for index in partitions {
        let address = topic.leaders[index];
        match leaders.iter_mut().find(|(known, _)| *known == address) {
            Some((_, partitions)) => partitions.push(index),
            None => leaders.push((address, vec![index])),
        }
    }
    leaders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again_and_what_stays_is_not() {
        let mut answers = [ErrorCode::LeaderNotAvailable, ErrorCode::NotCoordinator, ErrorCode::None].into_iter();
        let settled = until_settled(|| Ok((answers.next().expect("an answer"), answers.len())));
        assert_eq!(settled.expect("an answer"), (ErrorCode::None, 0));
        let mut answers = [ErrorCode::TopicAuthorizationFailed, ErrorCode::None].into_iter();
        let settled = until_settled(|| Ok((answers.next().expect("an answer"), answers.len())));
        assert_eq!(settled.expect("an answer"), (ErrorCode::TopicAuthorizationFailed, 1));
    }

    #[test]
    fn partitions_are_grouped_by_their_leader() {
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let topic = Topic { name: "t".to_owned(), leaders: vec![a, b, a, b, a] };
        assert_eq!(by_leader(&topic, 0..5), [(a, vec![0, 2, 4]), (b, vec![1, 3])]);
        assert_eq!(by_leader(&topic, [3]), [(b, vec![3])]);
    }
}
