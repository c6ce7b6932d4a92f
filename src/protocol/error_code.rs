//! Kafka's error codes.

use std::fmt;

use super::decode_error::{DecodeError, DecodeFault};
use super::reader::Reader;
use super::wire::{Version, Wire};
use super::writer::Writer;

macro_rules! error_codes {
    ($( $(#[$meta:meta])* $name:ident = $code:literal $kafka_name:literal; )+) => {
        /// An error code of Kafka 4.3. A code that is not among them is a [`DecodeError`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(i16)]
        pub enum ErrorCode {
            $( $(#[$meta])* $name = $code, )+
        }

        impl ErrorCode {
            /// All of them, by code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),+];

            /// Kafka's name of the error, in capitals.
            pub const fn name(self) -> &'static str {
                match self {
                    $( ErrorCode::$name => $kafka_name, )+
                }
            }

            /// The error with this code; `None` when Kafka 4.3 has none.
            pub const fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $( $code => Some(ErrorCode::$name), )+
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// Something unexpected went wrong in the broker.
    UnknownServerError = -1 "UNKNOWN_SERVER_ERROR";
    /// No error.
    #[default]
    None = 0 "NONE";
    /// The offset is below the log's start or above its end.
    OffsetOutOfRange = 1 "OFFSET_OUT_OF_RANGE";
    /// A batch's checksum or format is wrong.
    CorruptMessage = 2 "CORRUPT_MESSAGE";
    /// The broker has no such topic or partition.
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION";
    /// The fetch size makes no sense.
    InvalidFetchSize = 4 "INVALID_FETCH_SIZE";
    /// The partition has no leader at the moment.
    LeaderNotAvailable = 5 "LEADER_NOT_AVAILABLE";
    /// The broker is not the one that can answer for this partition.
    NotLeaderOrFollower = 6 "NOT_LEADER_OR_FOLLOWER";
    /// The request took longer than its timeout.
    RequestTimedOut = 7 "REQUEST_TIMED_OUT";
    /// The broker cannot be reached.
    BrokerNotAvailable = 8 "BROKER_NOT_AVAILABLE";
    /// The replica cannot serve the partition.
    ReplicaNotAvailable = 9 "REPLICA_NOT_AVAILABLE";
    /// A batch is larger than `max.message.bytes`.
    MessageTooLarge = 10 "MESSAGE_TOO_LARGE";
    /// A newer controller is known.
    StaleControllerEpoch = 11 "STALE_CONTROLLER_EPOCH";
    /// The text beside a committed offset is longer than `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge = 12 "OFFSET_METADATA_TOO_LARGE";
    /// The connection was lost before the answer came.
    NetworkException = 13 "NETWORK_EXCEPTION";
    /// The coordinator is still reading its state.
    CoordinatorLoadInProgress = 14 "COORDINATOR_LOAD_IN_PROGRESS";
    /// There is no coordinator at the moment.
    CoordinatorNotAvailable = 15 "COORDINATOR_NOT_AVAILABLE";
    /// The broker does not coordinate this group or transactional id.
    NotCoordinator = 16 "NOT_COORDINATOR";
    /// The topic's name is not allowed.
    InvalidTopicException = 17 "INVALID_TOPIC_EXCEPTION";
    /// A batch is larger than a segment.
    RecordListTooLarge = 18 "RECORD_LIST_TOO_LARGE";
    /// Too few replicas are in sync; nothing was appended.
    NotEnoughReplicas = 19 "NOT_ENOUGH_REPLICAS";
    /// Too few replicas are in sync; the batch was appended.
    NotEnoughReplicasAfterAppend = 20 "NOT_ENOUGH_REPLICAS_AFTER_APPEND";
    /// `acks` is none of -1, 0 and 1.
    InvalidRequiredAcks = 21 "INVALID_REQUIRED_ACKS";
    /// The generation is not the group's.
    IllegalGeneration = 22 "ILLEGAL_GENERATION";
    /// The member shares no protocol with the group.
    InconsistentGroupProtocol = 23 "INCONSISTENT_GROUP_PROTOCOL";
    /// The group id is not allowed.
    InvalidGroupId = 24 "INVALID_GROUP_ID";
    /// The group has no such member.
    UnknownMemberId = 25 "UNKNOWN_MEMBER_ID";
    /// The session timeout is outside the broker's bounds.
    InvalidSessionTimeout = 26 "INVALID_SESSION_TIMEOUT";
    /// The group is rebalancing: rejoin.
    RebalanceInProgress = 27 "REBALANCE_IN_PROGRESS";
    /// The committed offset takes too much space.
    InvalidCommitOffsetSize = 28 "INVALID_COMMIT_OFFSET_SIZE";
    /// The principal may not do this to the topic.
    TopicAuthorizationFailed = 29 "TOPIC_AUTHORIZATION_FAILED";
    /// The principal may not do this to the group.
    GroupAuthorizationFailed = 30 "GROUP_AUTHORIZATION_FAILED";
    /// The principal may not do this to the cluster.
    ClusterAuthorizationFailed = 31 "CLUSTER_AUTHORIZATION_FAILED";
    /// A record's timestamp is outside the topic's bounds.
    InvalidTimestamp = 32 "INVALID_TIMESTAMP";
    /// The broker does not offer the SASL mechanism.
    UnsupportedSaslMechanism = 33 "UNSUPPORTED_SASL_MECHANISM";
    /// The request does not belong to this state of the authentication.
    IllegalSaslState = 34 "ILLEGAL_SASL_STATE";
    /// The broker does not serve this version of the API.
    UnsupportedVersion = 35 "UNSUPPORTED_VERSION";
    /// A topic of this name exists.
    TopicAlreadyExists = 36 "TOPIC_ALREADY_EXISTS";
    /// The number of partitions is not allowed.
    InvalidPartitions = 37 "INVALID_PARTITIONS";
    /// The replication factor is not possible.
    InvalidReplicationFactor = 38 "INVALID_REPLICATION_FACTOR";
    /// The assignment of replicas is not possible.
    InvalidReplicaAssignment = 39 "INVALID_REPLICA_ASSIGNMENT";
    /// A configuration key or value is not allowed.
    InvalidConfig = 40 "INVALID_CONFIG";
    /// The broker is not the controller.
    NotController = 41 "NOT_CONTROLLER";
    /// The request contradicts itself or the protocol.
    InvalidRequest = 42 "INVALID_REQUEST";
    /// The format of the stored records does not allow it.
    UnsupportedForMessageFormat = 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT";
    /// A policy of the cluster forbids it.
    PolicyViolation = 44 "POLICY_VIOLATION";
    /// The producer's sequence number leaves a gap.
    OutOfOrderSequenceNumber = 45 "OUT_OF_ORDER_SEQUENCE_NUMBER";
    /// The producer's sequence number was appended already.
    DuplicateSequenceNumber = 46 "DUPLICATE_SEQUENCE_NUMBER";
    /// The producer's epoch is older than the one known.
    InvalidProducerEpoch = 47 "INVALID_PRODUCER_EPOCH";
    /// The transaction's state does not allow it.
    InvalidTxnState = 48 "INVALID_TXN_STATE";
    /// The producer id does not belong to the transactional id.
    InvalidProducerIdMapping = 49 "INVALID_PRODUCER_ID_MAPPING";
    /// The timeout is above `transaction.max.timeout.ms`.
    InvalidTransactionTimeout = 50 "INVALID_TRANSACTION_TIMEOUT";
    /// Another change of the same transaction is under way.
    ConcurrentTransactions = 51 "CONCURRENT_TRANSACTIONS";
    /// A newer transaction coordinator is known.
    TransactionCoordinatorFenced = 52 "TRANSACTION_COORDINATOR_FENCED";
    /// The principal may not use the transactional id.
    TransactionalIdAuthorizationFailed = 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
    /// The broker runs without an authorizer.
    SecurityDisabled = 54 "SECURITY_DISABLED";
    /// Not tried, because another operation of the request failed.
    OperationNotAttempted = 55 "OPERATION_NOT_ATTEMPTED";
    /// The disk failed.
    KafkaStorageError = 56 "KAFKA_STORAGE_ERROR";
    /// The broker has no such log directory.
    LogDirNotFound = 57 "LOG_DIR_NOT_FOUND";
    /// The credentials are wrong.
    SaslAuthenticationFailed = 58 "SASL_AUTHENTICATION_FAILED";
    /// Nothing is known about the producer id.
    UnknownProducerId = 59 "UNKNOWN_PRODUCER_ID";
    /// The partition is being reassigned.
    ReassignmentInProgress = 60 "REASSIGNMENT_IN_PROGRESS";
    /// The broker does not use delegation tokens.
    DelegationTokenAuthDisabled = 61 "DELEGATION_TOKEN_AUTH_DISABLED";
    /// There is no such delegation token.
    DelegationTokenNotFound = 62 "DELEGATION_TOKEN_NOT_FOUND";
    /// The delegation token belongs to another principal.
    DelegationTokenOwnerMismatch = 63 "DELEGATION_TOKEN_OWNER_MISMATCH";
    /// The connection may not ask for delegation tokens.
    DelegationTokenRequestNotAllowed = 64 "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED";
    /// The principal may not do this to the delegation token.
    DelegationTokenAuthorizationFailed = 65 "DELEGATION_TOKEN_AUTHORIZATION_FAILED";
    /// The delegation token has expired.
    DelegationTokenExpired = 66 "DELEGATION_TOKEN_EXPIRED";
    /// The type of the principal is not supported.
    InvalidPrincipalType = 67 "INVALID_PRINCIPAL_TYPE";
    /// The group has members.
    NonEmptyGroup = 68 "NON_EMPTY_GROUP";
    /// There is no such group.
    GroupIdNotFound = 69 "GROUP_ID_NOT_FOUND";
    /// There is no such fetch session.
    FetchSessionIdNotFound = 70 "FETCH_SESSION_ID_NOT_FOUND";
    /// The epoch is not the fetch session's next.
    InvalidFetchSessionEpoch = 71 "INVALID_FETCH_SESSION_EPOCH";
    /// The leader has no listener of the name that the request came by.
    ListenerNotFound = 72 "LISTENER_NOT_FOUND";
    /// `delete.topic.enable` is false.
    TopicDeletionDisabled = 73 "TOPIC_DELETION_DISABLED";
    /// The leader epoch is older than the broker's.
    FencedLeaderEpoch = 74 "FENCED_LEADER_EPOCH";
    /// The leader epoch is newer than the broker's.
    UnknownLeaderEpoch = 75 "UNKNOWN_LEADER_EPOCH";
    /// The client's version does not know the compression of the data.
    UnsupportedCompressionType = 76 "UNSUPPORTED_COMPRESSION_TYPE";
    /// The broker's epoch is not its newest.
    StaleBrokerEpoch = 77 "STALE_BROKER_EPOCH";
    /// After an election, the leader does not know its high watermark yet.
    OffsetNotAvailable = 78 "OFFSET_NOT_AVAILABLE";
    /// Join again, with the member id in this answer.
    MemberIdRequired = 79 "MEMBER_ID_REQUIRED";
    /// The preferred leader cannot lead.
    PreferredLeaderNotAvailable = 80 "PREFERRED_LEADER_NOT_AVAILABLE";
    /// The group has `group.max.size` members.
    GroupMaxSizeReached = 81 "GROUP_MAX_SIZE_REACHED";
    /// Another member has taken over the group instance id.
    FencedInstanceId = 82 "FENCED_INSTANCE_ID";
    /// No replica can become the leader.
    EligibleLeadersNotAvailable = 83 "ELIGIBLE_LEADERS_NOT_AVAILABLE";
    /// The partition has the wanted leader already.
    ElectionNotNeeded = 84 "ELECTION_NOT_NEEDED";
    /// The partition is not being reassigned.
    NoReassignmentInProgress = 85 "NO_REASSIGNMENT_IN_PROGRESS";
    /// The group is subscribed to the topic, so its offsets stay.
    GroupSubscribedToTopic = 86 "GROUP_SUBSCRIBED_TO_TOPIC";
    /// A record breaks a rule of the topic or of the format.
    InvalidRecord = 87 "INVALID_RECORD";
    /// A transaction that commits offsets is still open.
    UnstableOffsetCommit = 88 "UNSTABLE_OFFSET_COMMIT";
    /// A quota is used up.
    ThrottlingQuotaExceeded = 89 "THROTTLING_QUOTA_EXCEEDED";
    /// A newer producer uses the same transactional id.
    ProducerFenced = 90 "PRODUCER_FENCED";
    /// There is no such resource.
    ResourceNotFound = 91 "RESOURCE_NOT_FOUND";
    /// The resource is named twice.
    DuplicateResource = 92 "DUPLICATE_RESOURCE";
    /// The new credential does not meet the rules.
    UnacceptableCredential = 93 "UNACCEPTABLE_CREDENTIAL";
    /// The sender and the receiver know different voters.
    InconsistentVoterSet = 94 "INCONSISTENT_VOTER_SET";
    /// The version of the update is wrong.
    InvalidUpdateVersion = 95 "INVALID_UPDATE_VERSION";
    /// A feature's level could not be changed.
    FeatureUpdateFailed = 96 "FEATURE_UPDATE_FAILED";
    /// The principal in a forwarded request cannot be read.
    PrincipalDeserializationFailure = 97 "PRINCIPAL_DESERIALIZATION_FAILURE";
    /// There is no such snapshot.
    SnapshotNotFound = 98 "SNAPSHOT_NOT_FOUND";
    /// The position is not inside the snapshot.
    PositionOutOfRange = 99 "POSITION_OUT_OF_RANGE";
    /// The broker has no topic of this id.
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID";
    /// Another broker of this id is alive.
    DuplicateBrokerRegistration = 101 "DUPLICATE_BROKER_REGISTRATION";
    /// There is no broker of this id.
    BrokerIdNotRegistered = 102 "BROKER_ID_NOT_REGISTERED";
    /// The topic's id and the log's differ.
    InconsistentTopicId = 103 "INCONSISTENT_TOPIC_ID";
    /// The request is for another cluster.
    InconsistentClusterId = 104 "INCONSISTENT_CLUSTER_ID";
    /// Nothing is known about the transactional id.
    TransactionalIdNotFound = 105 "TRANSACTIONAL_ID_NOT_FOUND";
    /// The fetch session mixes topic names and ids.
    FetchSessionTopicIdError = 106 "FETCH_SESSION_TOPIC_ID_ERROR";
    /// The replica may not join the in-sync replicas.
    IneligibleReplica = 107 "INELIGIBLE_REPLICA";
    /// The change moved the leadership.
    NewLeaderElected = 108 "NEW_LEADER_ELECTED";
    /// The offset is in tiered storage only.
    OffsetMovedToTieredStorage = 109 "OFFSET_MOVED_TO_TIERED_STORAGE";
    /// The member's epoch is fenced: rejoin (KIP-848).
    FencedMemberEpoch = 110 "FENCED_MEMBER_EPOCH";
    /// Another member still holds the group instance id.
    UnreleasedInstanceId = 111 "UNRELEASED_INSTANCE_ID";
    /// The group knows no such assignor.
    UnsupportedAssignor = 112 "UNSUPPORTED_ASSIGNOR";
    /// The member's epoch is old: heartbeat first (KIP-848).
    StaleMemberEpoch = 113 "STALE_MEMBER_EPOCH";
    /// The request came by an endpoint for another purpose.
    MismatchedEndpointType = 114 "MISMATCHED_ENDPOINT_TYPE";
    /// The type of the endpoint is not known.
    UnsupportedEndpointType = 115 "UNSUPPORTED_ENDPOINT_TYPE";
    /// There is no controller of this id.
    UnknownControllerId = 116 "UNKNOWN_CONTROLLER_ID";
    /// The telemetry subscription is not the client's.
    UnknownSubscriptionId = 117 "UNKNOWN_SUBSCRIPTION_ID";
    /// The pushed telemetry is too large.
    TelemetryTooLarge = 118 "TELEMETRY_TOO_LARGE";
    /// The controller refuses the registration.
    InvalidRegistration = 119 "INVALID_REGISTRATION";
    /// The transaction has to be aborted; the producer can go on (KIP-890).
    TransactionAbortable = 120 "TRANSACTION_ABORTABLE";
    /// The record's state does not allow the acknowledgement.
    InvalidRecordState = 121 "INVALID_RECORD_STATE";
    /// There is no such share session.
    ShareSessionNotFound = 122 "SHARE_SESSION_NOT_FOUND";
    /// The epoch is not the share session's next.
    InvalidShareSessionEpoch = 123 "INVALID_SHARE_SESSION_EPOCH";
    /// The state's epoch is older than the one known.
    FencedStateEpoch = 124 "FENCED_STATE_EPOCH";
    /// The voter's key is not the replica's.
    InvalidVoterKey = 125 "INVALID_VOTER_KEY";
    /// The voter is one already.
    DuplicateVoter = 126 "DUPLICATE_VOTER";
    /// There is no such voter.
    VoterNotFound = 127 "VOTER_NOT_FOUND";
    /// The regular expression cannot be parsed.
    InvalidRegularExpression = 128 "INVALID_REGULAR_EXPRESSION";
    /// The client should start again from its bootstrap servers.
    RebootstrapRequired = 129 "REBOOTSTRAP_REQUIRED";
    /// The streams topology is not allowed.
    StreamsInvalidTopology = 130 "STREAMS_INVALID_TOPOLOGY";
    /// The epoch of the streams topology is not allowed.
    StreamsInvalidTopologyEpoch = 131 "STREAMS_INVALID_TOPOLOGY_EPOCH";
    /// The streams topology is an old one.
    StreamsTopologyFenced = 132 "STREAMS_TOPOLOGY_FENCED";
    /// The broker holds as many share sessions as it may.
    ShareSessionLimitReached = 133 "SHARE_SESSION_LIMIT_REACHED";
}

impl ErrorCode {
    /// The code on the wire.
    #[inline]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether there is no error.
    #[inline]
    pub const fn is_ok(self) -> bool {
        matches!(self, ErrorCode::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Wire for ErrorCode {
    #[inline]
    fn min_len(_: Version) -> usize {
        2
    }

    #[inline]
    fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
        let code = r.read_i16()?;
        ErrorCode::from_code(code).ok_or_else(|| r.error(DecodeFault::UnknownErrorCode(code)))
    }

    #[inline]
    fn write(&self, w: &mut Writer, _: Version) {
        w.write_i16(self.code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_named_as_kafka_names_them() {
        for (index, &error) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(error.code(), index as i16 - 1);
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
            let camel: String =
                error.name().split('_').map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase())).collect();
            assert_eq!(format!("{error:?}"), camel);
        }
        assert_eq!(ErrorCode::ALL.len(), 135);
        assert_eq!(ErrorCode::from_code(134), None);
        assert_eq!(ErrorCode::default(), ErrorCode::None);
        assert_eq!(ErrorCode::NotLeaderOrFollower.to_string(), "NOT_LEADER_OR_FOLLOWER");
    }
}
