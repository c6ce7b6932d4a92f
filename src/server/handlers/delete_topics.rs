//! DeleteTopics.

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::server::broker::{Broker, Change};

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let wanted = if version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    if !broker.settings.delete_topics {
        let error_code = if version >= 3 { ErrorCode::TopicDeletionDisabled } else { ErrorCode::InvalidRequest };
        let refused = wanted.into_iter().map(|topic| DeletableTopicResult {
            name: topic.name,
            topic_id: topic.topic_id,
            error_code,
            error_message: Some("Topic deletion is disabled.".into()),
        });
        return DeleteTopicsResponse { responses: refused.collect(), ..Default::default() };
    }
    let mut responses = Vec::new();
    for topic in wanted {
        let by_id = topic.name.is_none();
        let found = super::find_topic(&broker, topic.name.as_deref().unwrap_or_default(), topic.topic_id, by_id);
        let (error_code, error_message, topic_id) = match found {
            Err(code) => (code, Some("there is no such topic".into()), topic.topic_id),
            Ok(found) => match broker.change(Change::DeleteTopic(found.id)).await {
                Ok(_) => (ErrorCode::None, None, found.id),
                Err(error) => {
                    let (code, message) = super::change_error(&error);
                    (code, message, found.id)
                }
            },
        };
        responses.push(DeletableTopicResult { name: topic.name, topic_id, error_code, error_message });
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}
