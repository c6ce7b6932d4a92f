//! DeleteTopics (key 20): deletes topics.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::TopicId;

api!(DeleteTopics, DeleteTopicsRequest, DeleteTopicsResponse);

schema! {
    /// Which topics to delete.
    pub struct DeleteTopicsRequest {
        /// The topics, by name or by id.
        topics: Vec<DeleteTopicState> [6..],
        /// The topics' names.
        topic_names: Vec<KafkaString> [..=5],
        /// How long to wait for it, in milliseconds.
        timeout_ms: i32,
    }

    /// A topic to delete.
    pub struct DeleteTopicState {
        /// The topic's name; null when given by id.
        name: Option<KafkaString> [6..] = None,
        /// The topic's id; zero when given by name.
        topic_id: TopicId [6..],
    }

    /// What became of it.
    pub struct DeleteTopicsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by topic.
        responses: Vec<DeletableTopicResult>,
    }

    /// What became of a topic.
    pub struct DeletableTopicResult {
        /// The topic's name; null for an id that is not known.
        name: Option<KafkaString> [.., null 6..] = Some(KafkaString::default()),
        /// The topic's id.
        topic_id: TopicId [6..],
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> [5..] = None,
    }
}
