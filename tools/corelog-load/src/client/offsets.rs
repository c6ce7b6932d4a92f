//! Committed offsets of a group, for a consumer that is no member of it: read and written through the group's
//! coordinator, again and again until it answers.

use std::time::Duration;

use anyhow::{Context, anyhow};
use corelog::protocol::messages::find_coordinator::GROUP;
use corelog::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use corelog::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use corelog::protocol::{ApiKey, ErrorCode, Request};

use super::cluster::Cluster;
use super::control::Control;
use super::retry::{Backoff, Trouble};
use crate::clock;

/// The offsets of a group in one topic.
pub struct CommittedOffsets {
    bootstrap: String,
    group: String,
    topic: String,
    give_up: Duration,
    /// The coordinator, and the versions to speak with it.
    coordinator: Option<Coordinator>,
}

struct Coordinator {
    control: Control,
    commit_version: i16,
    fetch_version: i16,
}

impl CommittedOffsets {
    /// Of `group` in `topic`. It connects when it is asked.
    pub fn new(bootstrap: &str, group: &str, topic: &str, give_up: Duration) -> CommittedOffsets {
        let [bootstrap, group, topic] = [bootstrap, group, topic].map(str::to_owned);
        CommittedOffsets { bootstrap, group, topic, give_up, coordinator: None }
    }

    /// The committed offset of each of the first `partitions` partitions; `None` where there is none.
    ///
    /// # Errors
    /// When the coordinator refuses it, or does not answer until it is given up.
    pub fn fetch(&mut self, partitions: usize) -> anyhow::Result<Vec<Option<i64>>> {
        let topic = OffsetFetchRequestTopic {
            name: self.topic.as_str().into(),
            partition_indexes: (0..partitions as i32).collect(),
        };
        let request = OffsetFetchRequest {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let response = self.until_answered(
            &request,
            |coordinator| coordinator.fetch_version,
            |response| {
                let each =
                    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
                std::iter::once(response.error_code).chain(each).collect()
            },
        )?;
        let mut offsets = vec![None; partitions];
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let place = usize::try_from(partition.partition_index).ok().and_then(|index| offsets.get_mut(index));
            let place = place.context("the coordinator told of a partition that was not asked for")?;
            *place = (partition.committed_offset >= 0).then_some(partition.committed_offset);
        }
        Ok(offsets)
    }

    /// Commits offsets, each of the next record to process, by partition. Returns when they are stored.
    ///
    /// # Errors
    /// When the coordinator refuses it, or does not answer until it is given up.
    pub fn commit(&mut self, offsets: &[(usize, i64)]) -> anyhow::Result<()> {
        let partition = |&(partition, offset): &(usize, i64)| OffsetCommitRequestPartition {
            partition_index: partition as i32,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: self.topic.as_str().into(),
            partitions: offsets.iter().map(partition).collect(),
            ..Default::default()
        };
        let request =
            OffsetCommitRequest { group_id: self.group.as_str().into(), topics: vec![topic], ..Default::default() };
        let expected = offsets.len();
        let response = self.until_answered(
            &request,
            |coordinator| coordinator.commit_version,
            |response| {
                response
                    .topics
                    .iter()
                    .flat_map(|topic| &topic.partitions)
                    .map(|partition| partition.error_code)
                    .collect()
            },
        )?;
        let answered = response.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        anyhow::ensure!(answered == expected, "the coordinator told of {answered} of {expected} committed partitions");
        Ok(())
    }

    /// Asks the coordinator until it answers without an error.
    fn until_answered<R: Request>(
        &mut self,
        request: &R,
        version: impl Fn(&Coordinator) -> i16,
        errors: impl Fn(&R::Response) -> Vec<ErrorCode>,
    ) -> anyhow::Result<R::Response> {
        let mut backoff = Backoff::new(self.give_up);
        loop {
            let began = clock::now();
            let trouble = match self.ask(request, &version) {
                Err(error) => Trouble::Passing(error),
                Ok(response) => match errors(&response).into_iter().find(|code| !code.is_ok()) {
                    None => return Ok(response),
                    Some(code) => Trouble::of(code, anyhow!("{} of group '{}': {}", R::KEY, self.group, code.name())),
                },
            };
            self.coordinator = None;
            match trouble {
                Trouble::Final(error) => return Err(error),
                Trouble::Passing(error) => clock::sleep_until(backoff.failed(began, clock::now(), error)?),
            }
        }
    }

    fn ask<R: Request>(&mut self, request: &R, version: impl Fn(&Coordinator) -> i16) -> anyhow::Result<R::Response> {
        let coordinator = match &mut self.coordinator {
            Some(coordinator) => coordinator,
            none => {
                let mut cluster = Cluster::connect(&self.bootstrap)?;
                let address = cluster.coordinator(&self.group, GROUP)?;
                none.insert(Coordinator {
                    control: Control::connect(address)?,
                    commit_version: cluster.version(ApiKey::OffsetCommit)?,
                    fetch_version: cluster.version(ApiKey::OffsetFetch)?,
                })
            }
        };
        let version = version(coordinator);
        coordinator.control.call(version, request)
    }
}
