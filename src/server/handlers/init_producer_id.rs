//! InitProducerId: an id for an idempotent producer (KIP-98, KIP-360).

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::server::broker::Broker;

pub(super) async fn handle(broker: Rc<Broker>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let failed = |error_code| InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() };
    if request.transactional_id.is_some() {
        // Transactions need a coordinator, which there is none of yet: the client is told so, and does not retry.
        return failed(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    // A producer that asks again, with the id that it has, gets a new one: its old sequence numbers are then nobody's.
    match broker.next_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => failed(super::change_error(&error).0),
    }
}
