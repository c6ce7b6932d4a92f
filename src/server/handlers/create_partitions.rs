//! CreatePartitions.

use std::rc::Rc;

use crate::metadata::plan;
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use crate::server::broker::{Broker, Change, ChangeError};

pub(super) async fn handle(broker: Rc<Broker>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::new();
    for topic in request.topics {
        let assignment: Option<Vec<Vec<i32>>> =
            topic.assignments.map(|new| new.into_iter().map(|partition| partition.broker_ids).collect());
        let name = topic.name.to_string();
        let made = if request.validate_only {
            let image = broker.image.borrow();
            plan::add_partitions(&image, &name, topic.count, assignment.as_deref(), broker.settings.node_id)
                .map_err(ChangeError::from)
        } else {
            broker.change(Change::AddPartitions(name, topic.count, assignment)).await
        };
        let (error_code, error_message) = match made {
            Ok(_) => (ErrorCode::None, None),
            Err(error) => super::change_error(&error),
        };
        results.push(CreatePartitionsTopicResult { name: topic.name, error_code, error_message });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}
