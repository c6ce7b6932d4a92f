//! InitProducerId (key 22): gives out producer ids (KIP-98).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{ProducerEpoch, ProducerId};

api!(InitProducerId, InitProducerIdRequest, InitProducerIdResponse);

schema! {
    /// Who needs a producer id.
    pub struct InitProducerIdRequest {
        /// The transactional id; null for a producer that is only idempotent.
        transactional_id: Option<KafkaString> = Some(KafkaString::default()),
        /// How long its transactions may stay open, in milliseconds; without a transactional id, of no meaning.
        transaction_timeout_ms: i32,
        /// The producer id that it has, to raise its epoch; -1 for none (KIP-360).
        producer_id: ProducerId [3..] = -1,
        /// The epoch that it has; -1 for none.
        producer_epoch: ProducerEpoch [3..] = -1,
    }

    /// The producer id.
    pub struct InitProducerIdResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The error, if any.
        error_code: ErrorCode,
        /// The producer id; -1 with an error.
        producer_id: ProducerId = -1,
        /// The epoch.
        producer_epoch: ProducerEpoch,
    }
}
