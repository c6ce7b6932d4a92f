//! Topics' names and policies: the metadata log replayed as far as it can be read.

use std::sync::Arc;

use bytes::Bytes;

use super::batches::BatchWalk;
use super::data_dir::{self, DataDir};
use super::{OfflineError, Source};
use crate::config::BrokerConfig;
use crate::metadata::command::CommandError;
use crate::metadata::{Command, METADATA_PARTITION, MetadataImage};
use crate::record::{BatchHeader, records};
use crate::storage::log::LogPosition;
use crate::vocabulary::TopicId;

/// What the metadata log says, or why it cannot be read.
pub(super) fn read(
    data_dir: &DataDir,
    end: LogPosition,
    journal: &[Bytes],
) -> Result<Result<MetadataImage, String>, OfflineError> {
    let mut image = MetadataImage::with_config(1, Arc::new(BrokerConfig::default()));
    let mut next = 0;
    let topics = data_dir.topics()?;
    if let Some(topic) = topics.items.iter().find(|topic| topic.id == METADATA_PARTITION.topic_id) {
        let partition = topic.path.join(METADATA_PARTITION.index.to_string());
        for segment in data_dir::segments(&partition)?.items {
            if segment.base_offset >= end.offset {
                break;
            }
            let source = Source::open(&segment.log)?;
            let limit = if segment.base_offset == end.segment { end.bytes } else { source.len };
            let mut walk = BatchWalk::new(&source, 0, limit, true);
            while let Some(found) = walk.next()? {
                let Some(batch) = found.ok().filter(|batch| batch.crc_matches) else {
                    return Ok(Err(format!("{} is damaged", segment.log.display())));
                };
                if let Err(error) = apply(&mut image, &batch.read(&source)?) {
                    return error.into_refusal(&segment.log);
                }
                next = batch.header.next_offset();
            }
        }
    }
    if next < end.offset {
        return Ok(Err("records of the metadata log are missing".to_owned()));
    }
    for batch in journal {
        let Ok(header) = BatchHeader::parse(batch) else { return Ok(Err("the journal's entry is no batch".into())) };
        if header.base_offset < next {
            continue;
        }
        if let Err(error) = apply(&mut image, batch) {
            return error.into_refusal(&data_dir.path);
        }
        next = header.next_offset();
    }
    Ok(Ok(image))
}

/// The topics that a batch of the metadata log makes, as far as it can be read.
pub(super) fn created(batch: &Bytes) -> Vec<(TopicId, String)> {
    let commands = records(batch).into_iter().flatten().map_while(Result::ok);
    let commands = commands.filter_map(|record| Command::decode(&record.value.unwrap_or_default()).ok());
    let named = commands.filter_map(|command| match command {
        Command::CreateTopic { id, name, .. } => Some((id, name)),
        _ => None,
    });
    named.collect()
}

/// Why a batch of the metadata log does not add up.
enum Unfit {
    /// A newer corelog's.
    Version(CommandError),
    Other(String),
}

impl Unfit {
    fn into_refusal<T>(self, path: &std::path::Path) -> Result<Result<T, String>, OfflineError> {
        match self {
            Unfit::Version(error) => Err(OfflineError::refused(path, error.to_string())),
            Unfit::Other(what) => Ok(Err(what)),
        }
    }
}

fn apply(image: &mut MetadataImage, batch: &Bytes) -> Result<(), Unfit> {
    let other = |error: &dyn std::fmt::Display| Unfit::Other(error.to_string());
    for record in records(batch).map_err(|error| other(&error))? {
        let record = record.map_err(|error| other(&error))?;
        let command = match Command::decode(&record.value.unwrap_or_default()) {
            Ok(command) => command,
            Err(error @ CommandError::UnknownVersion(_)) => return Err(Unfit::Version(error)),
            Err(error) => return Err(other(&error)),
        };
        image.apply(&command).map_err(|error| other(&error))?;
    }
    Ok(())
}
